"""The funding store: settlements of perpetual contracts, Parquet, one file per venue, market and symbol.

    <data dir>/funding/<venue>/<market>/<symbol>.parquet        columns ts (int64, ms UTC), rate (float64)

Writing merges with what is there and replaces a file whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from backtesting.funding import FundingHistory
from backtesting.tables import Table, read_table
from bot.candles import iso
from bot.errors import Misconfigured
from bot.times import MINUTE
from services.market_data.columns import column, times
from services.market_data.store import SeriesName
from services.whole_file import made_folder, put_in_place

TIMES = ("ts", "fundingratetimestamp", "fundingtime", "calctime", "timestamp", "time", "date", "datetime")
RATES = ("rate", "fundingrate", "lastfundingrate", "realizedrate")
FREQTRADE_RATE = "open"  # freqtrade keeps rates as candles


@dataclass(frozen=True)
class Written:
    """How many settlements were new, equal to stored ones, and changed."""

    new: int
    equal: int
    changed: int


class FundingStore:
    """Funding histories under `data_dir`."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir / "funding"

    def write(self, series: SeriesName, history: FundingHistory, *, replace: bool = False) -> Written:
        """Merge settlements into the store; raises Misconfigured where stored ones would change without `replace`."""
        path, before = self._path(series), self.read(series)
        before = before or FundingHistory(np.zeros(0, np.int64), np.zeros(0))
        held, at = np.isin(history.ts, before.ts), np.searchsorted(before.ts, history.ts)
        changed = held.copy()
        changed[held] = before.rate[at[held]] != history.rate[held]
        written = Written(int((~held).sum()), int((held & ~changed).sum()), int(changed.sum()))
        if written.changed and not replace:
            first = np.flatnonzero(changed)[0]
            raise Misconfigured(
                f"funding of {series.symbol}: {written.changed} stored rates would change, the first of "
                f"{iso(int(history.ts[first]))} from {before.rate[at[first]]:g} to {history.rate[first]:g}; "
                "give --replace to take the new ones."
            )
        kept = ~np.isin(before.ts, history.ts)
        ts, rate = (np.concatenate([getattr(before, n)[kept], getattr(history, n)]) for n in ("ts", "rate"))
        made_folder(path.parent)
        partial = path.with_suffix(".partial")
        pl.DataFrame({"ts": ts, "rate": rate}).sort("ts").write_parquet(partial, compression="zstd")
        put_in_place(partial, path)
        return written

    def read(self, series: SeriesName) -> FundingHistory | None:
        """Every stored settlement of a pair, whatever the series' bars; None where there is none."""
        path = self._path(series)
        if not path.exists():
            return None
        frame = pl.read_parquet(path)
        return FundingHistory(frame["ts"].to_numpy(), frame["rate"].to_numpy())

    def series(self) -> list[SeriesName]:
        """Every pair that has a history, sorted."""
        return sorted(SeriesName(path.parts[-3], path.parts[-2], path.stem) for path in self.root.glob("*/*/*.parquet"))

    def _path(self, series: SeriesName) -> Path:
        return self.root / series.venue / series.market / f"{series.symbol}.parquet"


def has_rates(columns: list[str]) -> bool:
    """Whether columns are those of funding rates, by the name that exchanges give these."""
    return any("fundingrate" in re.sub(r"[^a-z]", "", one.lower()) for one in columns)


def read_funding(path: Path) -> FundingHistory:
    """Settlements of a file of our own shape, of freqtrade, Binance, Bybit or ccxt; times are rounded to minutes.

    Equal rows are taken once. Raises Misconfigured naming the file, and what is wrong with it.
    """
    table = read_table(path)
    try:
        return _history(table, (*RATES, FREQTRADE_RATE) if "funding" in path.name.lower() else RATES)
    except Misconfigured as error:
        raise Misconfigured(f"{path}: {error}") from None


def _history(table: Table, rates: tuple[str, ...]) -> FundingHistory:
    """Pick times and rates out; raises Misconfigured when a row lacks one."""
    frame = table.frame
    if not table.named:
        raise Misconfigured("it has no header; name its columns ts and rate.")
    rounded = (times(column(frame, "ts", TIMES)) + MINUTE // 2) // MINUTE * MINUTE
    whole = pl.DataFrame({"ts": rounded, "rate": column(frame, "rate", rates).cast(pl.Float64, strict=False)})
    bad = whole.with_row_index().filter(pl.any_horizontal(pl.col("ts", "rate").is_null()))
    if bad.height:
        told = f"{bad.height} of {whole.height} rows have no time or no rate, the first is row {bad['index'][0]}"
        raise Misconfigured(f"{told}; mend the file.")
    whole = whole.unique().sort("ts")
    return FundingHistory(whole["ts"].to_numpy(), whole["rate"].to_numpy())
