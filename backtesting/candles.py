"""Candles from a frame or a file, and back to a frame.

Reading changes and drops no row, and turns only a file that is newest first: `backtesting.candle_checks` judges and
repairs. A file whose layout is misread is refused, with the layout that would fit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtesting.candle_checks import misread, too_many, wrong_times
from backtesting.layouts import KNOWN_NAMES, ORDERS, USUAL, best_order, named_columns, numbers, ordered_columns
from backtesting.tables import Table, read_table
from backtesting.timestamps import UNREADABLE, times
from bot.candles import COLUMNS, Candles, bar_length, bar_name, grid_offset, iso
from bot.errors import Misconfigured, cut
from bot.times import DAY, HOUR

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Reading:
    """Candles of a file, rows in order of time where they came newest first, and what a person should know."""

    candles: Candles
    notices: tuple[str, ...] = ()


def to_frame(candles: Candles) -> pl.DataFrame:
    """Columns ts, open, high, low, close, volume."""
    return pl.DataFrame({name: getattr(candles, name) for name in COLUMNS})


def from_frame(frame: Any, bar_ms: int | None = None) -> Candles:
    """Candles from a Polars or pandas frame, rows as they are; `bar_ms` where one or two rows cannot tell it.

    Raises Misconfigured naming a column that could not be recognised.
    """
    if not isinstance(frame, pl.DataFrame):
        frame = _from_pandas(frame)
    found = named_columns(frame)
    ts, _ = times(found["ts"])
    return _candles(found, ts, bar_ms or bar_length(ts))


def read_candles(path: str | Path, bar_ms: int | None = None) -> Candles:
    """Candles from a CSV (with or without header), Parquet, Feather or JSON file, packed or not.

    Raises Misconfigured when the file is missing, unreadable, misread or of another kind.
    """
    path = Path(path)
    try:
        return candles_of(read_table(path), named_ms=bar_ms).candles
    except Misconfigured as error:
        text = str(error)
        raise Misconfigured(cut(text if str(path) in text else f"{path}: {text}", 600)) from None


def candles_of(
    table: Table, named_ms: int | None = None, volume: float | None = None, now_ms: int | None = None
) -> Reading:
    """Read candles from a table: columns, numbers, times and the length of bars.

    `named_ms` is the length of a bar that the file's name tells, `volume` that of every bar where the table has none,
    `now_ms` bounds its times. Raises Misconfigured for a table that is no candles or whose layout is misread.
    """
    notices = list(table.notices)
    if table.named:
        found = named_columns(table.frame, volume)
    else:
        found, order = ordered_columns(table.frame)
        if order != USUAL:
            notices.append(f"it has no header; its columns are in {order} order: {', '.join(ORDERS[order])}")
    ts, said = times(found["ts"])
    notices += said
    _refuse_times(ts, now_ms)
    candles = _candles(found, ts, bar_length(ts, named_ms))
    if len(ts) > 1 and np.all(np.diff(ts) <= 0):
        candles = candles.rows(slice(None, None, -1))
    _refuse_misread(candles, table)
    offset = grid_offset(candles.ts, candles.bar_ms)
    if offset % DAY:
        notices.append(f"its bars of {bar_name(candles.bar_ms)} begin at {offset % DAY // HOUR:02}:00 UTC")
    return Reading(candles, tuple(notices))


def _candles(found: pl.DataFrame, ts: NDArray[np.int64], bar_ms: int) -> Candles:
    return Candles(ts=ts, bar_ms=bar_ms, **{name: numbers(found[name]) for name in COLUMNS[1:]})


def _refuse_times(ts: NDArray[np.int64], now_ms: int | None) -> None:
    """Raise Misconfigured where the time column is none: more than a few rows lie outside any market's years."""
    outside = wrong_times(ts, now_ms)
    if not too_many(int(outside.sum()), len(ts)):
        return
    first = int(ts[np.flatnonzero(outside)[0]])
    told = "cannot be read" if first == UNREADABLE else f"are times such as {iso(max(first, 0))}"
    raise Misconfigured(
        f"{outside.sum()} of {len(ts)} rows have times before 2009 or after tomorrow ({told}); name the right column "
        "ts, or write the times as epoch numbers or 2024-03-05T12:00."
    )


def _refuse_misread(candles: Candles, table: Table) -> None:
    """Raise Misconfigured where more than a few rows cannot be candles, with the order of columns that would fit."""
    reasons = misread(candles)
    if not reasons:
        return
    fitting, _ = best_order(table.frame) if table.frame.width >= len(COLUMNS) else (None, {})
    remedy = (
        f"they fit {fitting} order ({', '.join(ORDERS[fitting])}): correct the header"
        if fitting
        else "no known column order fits them: correct the header, or the file"
    )
    worst = reasons[0]
    raise Misconfigured(f"its columns are misread, for in {len(worst)} of {len(candles)} rows {worst.what}; {remedy}.")


def _from_pandas(frame: Any) -> pl.DataFrame:
    if not hasattr(frame, "columns") or not hasattr(frame, "reset_index"):
        raise Misconfigured(f"candles are a {type(frame).__name__}; give a Polars or pandas frame, or a file's path.")
    columns = [re.sub("[^a-z]", "", str(column).lower()) for column in frame.columns]
    if not set(columns) & set(KNOWN_NAMES["ts"]):
        frame = frame.rename_axis("ts").reset_index()
    dates = {column: frame[column].dt.as_unit("ms") for column in frame.columns if frame[column].dtype.kind == "M"}
    values = {column: dates[column].astype("int64") if column in dates else frame[column] for column in frame.columns}
    return pl.DataFrame({str(column): values[column].to_numpy() for column in frame.columns})
