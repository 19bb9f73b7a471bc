"""Bars of any length from one second, rolled up from files of single trades."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from backtesting.tables import Table, read_table
from bot.candles import Candles, bar_name
from bot.errors import Misconfigured
from bot.times import DAY, HOUR
from services.market_data.columns import column, times

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_SILENCE = HOUR  # ms without a trade; a longer one is taken for missing data
EARLIEST_MS = 1e12  # no number of a trade's other columns is as large as a time in ms
PRICES, QUANTITIES = ("price",), ("qty", "quantity", "size", "volume", "amount")
TIMES = ("ts", "timestamp", "transacttime", "time", "createdtime", "datetime", "date")
# Without a header, as Binance's archives are: number, price, quantity, …, and the time in one of these columns.
UNNAMED_TIMES = ("column 5", "column 6")
MARKS = {"side", "isbuyermaker", "qty", "size", "tickdirection", "aggtradeid", "tradeid", "trdmatchid"}


@dataclass(frozen=True)
class TradeBars:
    """Bars from trades: how many trades made them, how many bars had none, and how many ends were left out."""

    candles: Candles
    trades: int
    silent: int
    cut: int


def is_trades(columns: list[str]) -> bool:
    """Whether columns are those of single trades: a price and a quantity or side, and no open or close."""
    plain = {one.lower().replace("_", "") for one in columns}
    return "price" in plain and bool(plain & MARKS) and not plain & {"open", "close", "high", "low"}


def read_trades(path: Path) -> pl.DataFrame:
    """Trades of a file by time, and in its order within one time: ts (ms), price, qty.

    Read are archives of Binance (trades, aggTrades) and Bybit, and tables whose columns say what they are. Raises
    Misconfigured naming the file, and what is wrong with it.
    """
    table = read_table(path)
    try:
        trades = _trades(table)
    except Misconfigured as error:
        raise Misconfigured(f"{path}: {error}") from None
    steps = trades["ts"].diff().sign().sum()
    if steps < 0:  # newest first, as some archives are
        trades = trades.reverse()
    return trades.sort("ts", maintain_order=True)


def _trades(table: Table) -> pl.DataFrame:
    """Pick time, price and quantity out; raises Misconfigured when a row lacks one."""
    named = table.frame if table.named else _named(table.frame)
    symbols = {one.lower(): one for one in named.columns}.get("symbol")
    if symbols is not None and named[symbols].n_unique() > 1:
        raise Misconfigured(f"it holds {named[symbols].n_unique()} symbols; give a file for each.")
    trades = pl.DataFrame(
        {
            "ts": times(column(named, "ts", TIMES)),
            "price": column(named, "price", PRICES).cast(pl.Float64, strict=False),
            "qty": column(named, "qty", QUANTITIES).cast(pl.Float64, strict=False),
        }
    )
    if not trades.height:
        raise Misconfigured("it holds no trades; give another.")
    good = (pl.col("price") > 0) & pl.col("price").is_finite() & (pl.col("qty") >= 0) & pl.col("qty").is_finite()
    bad = trades.with_row_index().filter(~(good & pl.col("ts").is_not_null()).fill_null(value=False))
    if bad.height:
        told = f"{bad.height} of {trades.height} rows have no usable time, price or quantity"
        raise Misconfigured(f"{told}, the first is row {bad['index'][0]}; mend the file.")
    return trades


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """Name the columns of a file without a header; raises Misconfigured when none can be the time."""
    found = [one for one in UNNAMED_TIMES if one in frame.columns and frame.height]
    at = next(
        (one for one in found if (pl.Series([frame[one][0]]).cast(pl.Float64, strict=False) > EARLIEST_MS).any()), None
    )
    if at is None:
        raise Misconfigured("it has no header and is no archive of Binance; name its columns ts, price and qty.")
    return frame.select(pl.col(at).alias("ts"), pl.col("column 2").alias("price"), pl.col("column 3").alias("qty"))


def roll_trades(trades: pl.DataFrame, bar_ms: int) -> TradeBars:
    """Roll trades by time up into bars of `bar_ms`.

    A bar without a trade, up to an hour of them, has the last price and volume 0; a longer silence stays a gap.
    The file may hold only a part of its first and last bar: they are left out unless they begin or end a day, as
    archives do. Raises Misconfigured for a length that does not divide a day, and where no whole bar is left.
    """
    if bar_ms < 1000 or bar_ms % 1000 or DAY % bar_ms:
        raise Misconfigured(
            f"bar length {bar_ms / 1000:g} s does not divide a day in whole seconds; give 1s, 5s or 1m."
        )
    price = pl.col("price")
    bars = trades.group_by((pl.col("ts") // bar_ms * bar_ms).alias("ts"), maintain_order=True).agg(
        price.first().alias("open"),
        price.max().alias("high"),
        price.min().alias("low"),
        price.last().alias("close"),
        pl.col("qty").sum().alias("volume"),
    )
    first = 0 if bars["ts"][0] % DAY == 0 else 1
    last = bars.height if (bars["ts"][-1] + bar_ms) % DAY == 0 else bars.height - 1
    cut, bars = first + bars.height - last, bars[first:last]
    if not bars.height:
        raise Misconfigured(f"the trades fill no whole bar of {bar_name(bar_ms)}; give more of them or shorter bars.")
    whole, silent = _without_silence(bars, bar_ms)
    values = {name: whole[name].to_numpy() for name in ("ts", "open", "high", "low", "close", "volume")}
    return TradeBars(Candles(**values, bar_ms=bar_ms), trades.height, silent, cut)


def _without_silence(bars: pl.DataFrame, bar_ms: int) -> tuple[pl.DataFrame, int]:
    """Add the bars in which nobody traded; how many they are."""
    ts = bars["ts"].to_numpy()
    steps = np.diff(ts)
    starts = np.flatnonzero((steps > bar_ms) & (steps <= max(LONGEST_SILENCE, bar_ms)))
    missing = [np.arange(ts[i] + bar_ms, ts[i + 1], bar_ms) for i in starts]
    if not missing:
        return bars, 0
    empty = pl.DataFrame({"ts": np.concatenate(missing)})
    close = pl.col("close").forward_fill()
    whole = pl.concat([bars, empty], how="diagonal").sort("ts").with_columns(close)
    flat = [pl.col(name).fill_null(pl.col("close")) for name in ("open", "high", "low")]
    return whole.with_columns(*flat, pl.col("volume").fill_null(0.0)), empty.height


def read_bars(path: Path, bar_ms: int) -> TradeBars:
    """Bars of a file of trades; raises Misconfigured."""
    trades = read_trades(path)
    try:
        return roll_trades(trades, bar_ms)
    except Misconfigured as error:
        raise Misconfigured(f"{path}: {error}") from None
