"""The candle store: what every one of them does, and the one of Parquet files, one a month.

    <data dir>/candles/<venue>/<market>/<symbol>/<bar>/<YYYY-MM>.parquet

Writing merges with what is there and replaces a file whole. Generated candles live under the venue `synth`, so
that nobody takes them for a market. The other store is in `clickhouse_store`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from backtesting.candle_checks import CandleGap, check, gaps
from backtesting.candles import from_frame, to_frame
from bot.candles import COLUMNS, Candles, bar_name, iso
from bot.errors import Misconfigured, TradingError
from bot.times import DAY, HOUR, MINUTE, SECOND, WEEK
from services.market_data.canonical import Receipt
from services.processes import locked
from services.whole_file import put_in_place

MONTH_FILE = re.compile(r"(\d{4}-\d{2})\.parquet")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SYNTHETIC = "synth"


@dataclass(frozen=True, order=True)
class SeriesName:
    """Names one row of bars in the store."""

    venue: str
    market: str
    symbol: str
    bar: str = "1m"

    def __post_init__(self) -> None:
        for part, value in (("exchange", self.venue), ("market", self.market), ("symbol", self.symbol)):
            if not NAME.fullmatch(value):
                raise Misconfigured(f"{part} {value!r} is no name; use letters, digits, dot, dash and underscore.")


@dataclass(frozen=True)
class Coverage:
    """What the store holds of a series: times in ms, `last` being the opening of the last bar."""

    series: SeriesName
    first: int
    last: int
    bars: int
    gaps: list[CandleGap]


@dataclass(frozen=True)
class Difference:
    """How many bars the store lacks, has alike and has otherwise, and the time of the first of the last, ms."""

    new: int
    equal: int
    changed: int
    first_changed: int | None = None


def bar_length_of(name: str) -> int:
    """Length in ms of a bar's name."""
    return int(name[:-1]) * {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}[name[-1]]


def bar_length(name: str) -> int:
    """Length in ms of a bar that a user named; raises Misconfigured."""
    if not re.fullmatch(r"[1-9]\d{0,4}[smhd]", name):
        raise Misconfigured(f"bar {name[:200]!r} is no length; write it like 1s, 5s, 1m or 1h.")
    return bar_length_of(name)


class StoreUnreachable(TradingError):
    """The store does not answer; what was to be stored waits."""


class StoredCandles(ABC):
    """What a store of candles does, whatever it is made of."""

    @abstractmethod
    def write(self, venue: str, market: str, symbol: str, candles: Candles) -> tuple[SeriesName, int]:
        """Merge checked candles into the store; returns the series and how many bars were new.

        A bar that is there already takes the new values. Raises BadCandles when they are faulty, Misconfigured when
        the stored bars begin at other times, and StoreUnreachable.
        """

    @abstractmethod
    def keep(self, series: SeriesName, minutes: Sequence[Receipt], received: Sequence[Receipt]) -> None:
        """Store canonical minutes of a collector, and the rows of which they were made; raises StoreUnreachable."""

    @abstractmethod
    def read(self, series: SeriesName, start_ms: int | None = None, end_ms: int | None = None) -> Candles:
        """Bars that open in [start_ms, end_ms); raises Misconfigured when the series is unknown."""

    @abstractmethod
    def holds(self, series: SeriesName) -> bool:
        """Whether a series has any bars."""

    @abstractmethod
    def end(self, series: SeriesName) -> int:
        """Time until which a series has bars, ms; raises Misconfigured when it is unknown."""

    @abstractmethod
    def series(self) -> list[SeriesName]:
        """Everything that is stored, sorted."""

    def difference(self, venue: str, market: str, symbol: str, candles: Candles) -> Difference:
        """Compare checked candles with what is stored of them."""
        series = SeriesName(venue, market, symbol, bar_name(candles.bar_ms))
        if not len(candles) or not self.holds(series):
            return Difference(len(candles), 0, 0)
        held = self.read(series, int(candles.ts[0]), int(candles.ts[-1]) + 1)
        at = np.searchsorted(held.ts, candles.ts)
        known = np.isin(candles.ts, held.ts)
        same = known.copy()
        for name in COLUMNS[1:]:
            same[known] &= getattr(held, name)[at[known]] == getattr(candles, name)[known]
        changed = np.flatnonzero(known & ~same)
        first = int(candles.ts[changed[0]]) if len(changed) else None
        return Difference(int((~known).sum()), int(same.sum()), len(changed), first)

    def finest(self, venue: str, market: str, symbol: str) -> SeriesName:
        """The series with the shortest bars of a pair; with none stored, the one-minute series.

        Bars under a minute, which usually cover little, are taken where there are no others.
        """
        bars = [s.bar for s in self.series() if (s.venue, s.market, s.symbol) == (venue, market, symbol)]
        lengths = {bar: bar_length_of(bar) for bar in bars}
        return SeriesName(
            venue, market, symbol, min(bars, key=lambda b: (lengths[b] < MINUTE, lengths[b]), default="1m")
        )

    def coverage(self, series: SeriesName) -> Coverage:
        """First and last bar, number and gaps of a series."""
        candles = self.read(series)
        return Coverage(series, int(candles.ts[0]), int(candles.ts[-1]), len(candles), gaps(candles))

    def unknown(self, series: SeriesName) -> Misconfigured:
        """Say that a series has no bars, and what there is."""
        known = ", ".join(sorted({f"{s.symbol} ({s.venue} {s.market})" for s in self.series()})[:8])
        return Misconfigured(
            f"pair {series.symbol} has no candles for {series.venue} {series.market}; import or download them"
            + (f", or choose one of: {known}." if known else ", or run `traderagent data synth`.")
        )


def refuse_other_grid(series: SeriesName, candles: Candles, stored: int | None) -> None:
    """Raise Misconfigured for bars that begin at other times than a stored one, which opens at `stored`, ms."""
    if stored is None or not len(candles) or int(candles.ts[0]) % candles.bar_ms == stored % candles.bar_ms:
        return
    raise Misconfigured(
        f"{series.symbol} ({series.venue} {series.market} {series.bar}): these bars begin at "
        f"{iso(int(candles.ts[0]))[11:16]} UTC and those stored at {iso(stored % candles.bar_ms)[11:16]}; import them "
        "as another symbol with --symbol."
    )


def minutes_of(receipts: Sequence[Receipt]) -> Candles:
    """Candles of canonical minutes, ascending."""
    columns = np.array([(one.ts, *one.values) for one in receipts], np.float64).T
    values = dict(zip(COLUMNS[1:], columns[1:], strict=True))
    return Candles(ts=columns[0].astype(np.int64), bar_ms=MINUTE, **values)


class CandleStore(StoredCandles):
    """Candles in Parquet files under `data_dir`."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir, self.root = data_dir, data_dir / "candles"

    def write(self, venue: str, market: str, symbol: str, candles: Candles) -> tuple[SeriesName, int]:
        """Merge checked candles into the files."""
        check(candles)
        series = SeriesName(venue, market, symbol, bar_name(candles.bar_ms))
        self._folder(series).mkdir(parents=True, exist_ok=True)
        with locked(self._folder(series) / ".lock"):  # a download may go on beside a collector
            return series, self._merge(series, candles)

    def keep(self, series: SeriesName, minutes: Sequence[Receipt], received: Sequence[Receipt]) -> None:  # noqa: ARG002
        """Store the minutes; the rows of which they were made are in files of their own."""
        if minutes:
            self.write(series.venue, series.market, series.symbol, minutes_of(minutes))

    def _merge(self, series: SeriesName, candles: Candles) -> int:
        refuse_other_grid(series, candles, self._opening(series))
        folder = self._folder(series)
        months = pl.from_epoch(pl.Series(candles.ts), "ms").dt.strftime("%Y-%m")
        new = 0
        for (month,), rows in to_frame(candles).with_columns(month=months).group_by("month", maintain_order=True):
            path, fresh = folder / f"{month}.parquet", rows.drop("month")
            before = pl.read_parquet(path) if path.exists() else fresh.clear()
            merged = pl.concat([before, fresh]).unique("ts", keep="last", maintain_order=True).sort("ts")
            new += merged.height - before.height
            partial = path.with_suffix(".partial")
            merged.write_parquet(partial, compression="zstd")
            put_in_place(partial, path)
        return new

    def _opening(self, series: SeriesName) -> int | None:
        """Opening of a stored bar, ms; None where there is none."""
        stored = self._months(series)
        return int(pl.read_parquet(stored[0], columns=["ts"], n_rows=1).item()) if stored else None

    def read(self, series: SeriesName, start_ms: int | None = None, end_ms: int | None = None) -> Candles:
        """Bars that open in [start_ms, end_ms); raises Misconfigured when the series is unknown."""
        paths = self._months(series)
        if not paths:
            raise self.unknown(series)
        chosen = [path for path in paths if _overlaps(path, start_ms, end_ms)] or paths[:1]
        frame = pl.concat([pl.read_parquet(path) for path in chosen])
        return from_frame(frame, bar_length_of(series.bar)).between(start_ms, end_ms)

    def holds(self, series: SeriesName) -> bool:
        """Whether a series has any bars."""
        return bool(self._months(series))

    def end(self, series: SeriesName) -> int:
        """Time until which a series has bars, ms; raises Misconfigured when it is unknown."""
        months = self._months(series)
        if not months:
            raise self.unknown(series)
        return int(pl.read_parquet(months[-1], columns=["ts"])["ts"][-1]) + bar_length_of(series.bar)

    def series(self) -> list[SeriesName]:
        """Everything that is stored, sorted."""
        folders = {path.parent for path in self.root.glob("*/*/*/*/*.parquet") if MONTH_FILE.fullmatch(path.name)}
        return sorted(SeriesName(*folder.relative_to(self.root).parts) for folder in folders)

    def _folder(self, series: SeriesName) -> Path:
        return self.root / series.venue / series.market / series.symbol / series.bar

    def _months(self, series: SeriesName) -> list[Path]:
        folder = self._folder(series)
        return sorted(path for path in folder.glob("*.parquet") if MONTH_FILE.fullmatch(path.name))


def _overlaps(path: Path, start_ms: int | None, end_ms: int | None) -> bool:
    month = np.datetime64(path.stem, "M")
    first = int(month.astype("datetime64[ms]").astype(np.int64))
    after = int((month + 1).astype("datetime64[ms]").astype(np.int64))
    return (end_ms is None or first < end_ms) and (start_ms is None or after > start_ms)
