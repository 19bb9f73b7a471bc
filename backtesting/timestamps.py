"""Times as files write them, to epoch milliseconds: numbers of any unit, dates and texts; naive ones are UTC."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from bot.candles import EARLIEST_MS, LATEST_MS, iso, to_ms
from bot.errors import Misconfigured

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE = 2000
UNREADABLE = -1
UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds", "dates")
# Numbers that are dates written without marks: their smallest, largest, and form.
DIGITS = (
    (19_000_101, 21_001_231, "%Y%m%d"),
    (190_001_010_000, 210_012_312_359, "%Y%m%d%H%M"),
    (19_000_101_000_000, 21_001_231_235_959, "%Y%m%d%H%M%S"),
)
DAYS = ("%Y-%m-%d", "%Y%m%d", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y", "%b %d, %Y")
CLOCKS = ("%H:%M:%S%.f", "%H:%M", "%H:%M:%S%.f%z", "%H:%M%z", "%I:%M:%S %p", "%I:%M %p", "%H%M%S", "%H%M")
FORMATS = (*(f"{day} {clock}" for day, clock in product(DAYS, CLOCKS)), *DAYS)


def times(column: pl.Series) -> tuple[NDArray[np.int64], list[str]]:
    """Epoch ms (n,) of numbers, dates, datetimes or text, -1 where it cannot be read; and what a person should know.

    Raises Misconfigured when the unit of numbers changes more than once.
    """
    if column.dtype.is_temporal():
        return _ms(column.cast(pl.Datetime("ms"))), []
    if column.dtype == pl.String:
        numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
        if numbers.null_count() > column.null_count() + len(column) // 2:
            return _of_text(column), []
        column = numbers
    return _of_numbers(column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy())


def _ms(moments: pl.Series) -> NDArray[np.int64]:
    return moments.cast(pl.Int64).fill_null(UNREADABLE).to_numpy().astype(np.int64)


def _of_numbers(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], list[str]]:
    ts = to_ms(values)
    units = np.searchsorted([1e11, 1e14, 1e17], np.abs(values), side="right")
    for least, most, form in DIGITS:
        dates = (values >= least) & (values <= most)
        if dates.any():
            text = pl.Series(values[dates].astype(np.int64)).cast(pl.String)
            ts[dates] = _ms(
                text.str.to_datetime(form, time_unit="ms", strict=False) if form != "%Y%m%d" else _day(text)
            )
            units[dates] = UNITS.index("dates")
    sure = np.flatnonzero((ts >= EARLIEST_MS) & (ts < LATEST_MS))
    changes = sure[1:][np.diff(units[sure]) != 0]
    if len(changes) > 1:
        raise Misconfigured(
            f"the times' unit changes {len(changes)} times, first at row {changes[0]} ({iso(int(ts[changes[0]]))}); "
            "bring them to one unit, or check which column is the time."
        )
    if not len(changes):
        return ts, []
    row = int(changes[0])
    before = units[sure[np.searchsorted(sure, row) - 1]]
    return ts, [f"times change from {UNITS[before]} to {UNITS[units[row]]} at row {row} ({iso(int(ts[row]))})"]


def _day(text: pl.Series) -> pl.Series:
    return text.str.to_date("%Y%m%d", strict=False).cast(pl.Datetime("ms"))


def _of_text(column: pl.Series) -> NDArray[np.int64]:
    text = (
        column.str.strip_chars()
        .str.replace(r"^(\d{1,4})[./](\d{1,2})[./](\d{1,4})", "$1-$2-$3")
        .str.replace(r"^(\S+)T(\d)", "$1 $2")
        .str.replace(r"(\d)\s*(Z|UTC|GMT)$", "$1")
        .str.replace(r"(?i) (\d{1,2})[- ]?([AP]M)$", " $1:00 $2")
    )
    if text.str.contains(r"[-+]\d\d$").any():  # an offset in hours alone
        text = text.str.replace(r":(\d\d[\d.]*)([-+]\d\d)$", ":$1${2}00")
    known = text.drop_nulls()
    sample = known if len(known) <= 2 * SAMPLE else pl.concat([known.head(SAMPLE), known.tail(SAMPLE)])
    read = {form: sample.len() - _parsed(sample, form).null_count() for form in FORMATS}
    most = max(read.values(), default=0)
    if most == 0:
        return np.full(len(text), UNREADABLE, np.int64)
    best = [form for form, count in read.items() if count == most]
    return _ms(max((_parsed(text, form) for form in best), key=_regularity))


def _parsed(text: pl.Series, form: str) -> pl.Series:
    if form in DAYS:
        return text.str.to_date(form, strict=False).cast(pl.Datetime("ms"))
    moments = text.str.to_datetime(form, time_unit="ms", strict=False)
    return moments.dt.replace_time_zone(None) if form.endswith("%z") else moments


def _regularity(moments: pl.Series) -> tuple[int, int]:
    """How many are read, and how many steps between them are the usual one: tells 01/02 of January from February."""
    read = moments.drop_nulls()
    steps = read.diff().value_counts()["count"] if len(read) else pl.Series([0])
    return len(read), int(steps.max())  # type: ignore[arg-type]
