"""The candle store: Parquet, one file per venue, market, symbol, bar length and month.

    <data dir>/candles/<venue>/<market>/<symbol>/<bar>/<YYYY-MM>.parquet

Writing merges with what is there and replaces a file whole. Generated candles live under the venue `synth`, so
that nobody takes them for a market.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from backtesting.candle_checks import CandleGap, check, gaps
from backtesting.candles import from_frame, to_frame
from bot.candles import COLUMNS, Candles, bar_name, iso
from bot.errors import Misconfigured
from bot.times import DAY, HOUR, MINUTE, SECOND, WEEK
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


class CandleStore:
    """Candles under `data_dir`."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir, self.root = data_dir, data_dir / "candles"

    def write(self, venue: str, market: str, symbol: str, candles: Candles) -> tuple[SeriesName, int]:
        """Merge checked candles into the store; returns the series and how many bars were new.

        A bar that is there already takes the new values. Raises BadCandles when they are faulty, and Misconfigured
        when the stored bars begin at other times.
        """
        check(candles)
        series = SeriesName(venue, market, symbol, bar_name(candles.bar_ms))
        self._folder(series).mkdir(parents=True, exist_ok=True)
        with locked(self._folder(series) / ".lock"):  # a download may go on beside a collector
            return series, self._merge(series, candles)

    def _merge(self, series: SeriesName, candles: Candles) -> int:
        self._refuse_other_grid(series, candles)
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

    def difference(self, venue: str, market: str, symbol: str, candles: Candles) -> Difference:
        """Compare checked candles with what is stored of them."""
        series = SeriesName(venue, market, symbol, bar_name(candles.bar_ms))
        if not self._months(series) or not len(candles):
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

    def _refuse_other_grid(self, series: SeriesName, candles: Candles) -> None:
        stored = self._months(series)
        if not stored or not len(candles):
            return
        before = int(pl.read_parquet(stored[0], columns=["ts"], n_rows=1).item()) % candles.bar_ms
        if int(candles.ts[0]) % candles.bar_ms != before:
            raise Misconfigured(
                f"{series.symbol} ({series.venue} {series.market} {series.bar}): these bars begin at "
                f"{iso(int(candles.ts[0]))[11:16]} UTC and those stored at {iso(before)[11:16]}; import them as "
                "another symbol with --symbol."
            )

    def read(self, series: SeriesName, start_ms: int | None = None, end_ms: int | None = None) -> Candles:
        """Bars that open in [start_ms, end_ms); raises Misconfigured when the series is unknown."""
        paths = self._months(series)
        if not paths:
            known = ", ".join(sorted({f"{s.symbol} ({s.venue} {s.market})" for s in self.series()})[:8])
            raise Misconfigured(
                f"pair {series.symbol} has no candles for {series.venue} {series.market}; import or download them"
                + (f", or choose one of: {known}." if known else ", or run `traderagent data synth`.")
            )
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
            self.read(series)  # which says what there is
        return int(pl.read_parquet(months[-1], columns=["ts"])["ts"][-1]) + bar_length_of(series.bar)

    def series(self) -> list[SeriesName]:
        """Everything that is stored, sorted."""
        folders = {path.parent for path in self.root.glob("*/*/*/*/*.parquet") if MONTH_FILE.fullmatch(path.name)}
        return sorted(SeriesName(*folder.relative_to(self.root).parts) for folder in folders)

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
