"""Faults of candles, by row and reason, and their repair, change by change. Nothing is dropped silently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bot.candles import Candles, iso
from bot.errors import BadCandles

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Fault:
    """One row that cannot be believed, counted from 0, its time (ms) and the reason."""

    row: int
    ts: int
    reason: str

    def __str__(self) -> str:
        return f"row {self.row} ({iso(max(self.ts, 0))}): {self.reason}"


@dataclass(frozen=True, slots=True)
class Gap:
    """Bars missing between two rows: the first missing time (ms) and how many."""

    ts: int
    bars: int


def faults(candles: Candles) -> list[Fault]:
    """Every fault of every row, in order of the rows; gaps are no faults."""
    found: list[Fault] = []
    for reason, rows in _bad_rows(candles).items():
        found += [Fault(int(row), int(candles.ts[row]), reason) for row in np.flatnonzero(rows)]
    return sorted(found, key=lambda fault: (fault.row, fault.reason))


def gaps(candles: Candles) -> list[Gap]:
    """Gaps between ascending rows."""
    steps = np.diff(candles.ts)
    return [
        Gap(int(candles.ts[row]) + candles.bar_ms, int(steps[row] // candles.bar_ms) - 1)
        for row in np.flatnonzero(steps > candles.bar_ms)
    ]


def check(candles: Candles) -> None:
    """Raise BadCandles for the first fault, with how many more there are and the remedy."""
    if not any(rows.any() for rows in _bad_rows(candles).values()):
        return
    found = faults(candles)
    more = f" and {len(found) - 1} more faults" if len(found) > 1 else ""
    raise BadCandles(
        f"candles: {found[0]}{more}; mend the file, or import it with --repair, which says what it changes."
    )


def _bad_rows(candles: Candles) -> dict[str, NDArray[np.bool_]]:
    """Reason to mask (n,)."""
    prices = np.stack([getattr(candles, name) for name in PRICES])
    finite = np.isfinite(prices).all(axis=0)
    steps = np.diff(candles.ts, prepend=candles.ts[0] - candles.bar_ms if len(candles) else 0)
    with np.errstate(invalid="ignore"):
        outside = np.maximum(candles.open, candles.close) > candles.high
        outside |= np.minimum(candles.open, candles.close) < candles.low
        crossed = candles.high < candles.low
        return {
            "a price is not a finite number": ~finite,
            "a price is zero or negative": finite & (prices <= 0).any(axis=0),
            "high lies under low": finite & crossed,
            "open or close lies outside low and high": finite & outside & ~crossed,
            "volume is not a finite number": ~np.isfinite(candles.volume),
            "volume is negative": candles.volume < 0,
            "time is before 1970": candles.ts < 0,
            "time is not a multiple of the bar's length": candles.ts % candles.bar_ms != 0,
            "same time as the row before": steps == 0,
            "earlier than the row before": steps < 0,
        }


def repair(candles: Candles) -> tuple[Candles, list[str]]:
    """Make candles tradable and say each change in a sentence; missing bars are never invented.

    Rows without a usable time or price go, rows are sorted, of several with one time the last stays, high and
    low are widened to hold open and close, an unusable volume becomes 0.
    """
    changes: list[str] = []
    bad = _bad_rows(candles)
    dropped = np.zeros(len(candles), np.bool_)
    for reason in (
        "a price is not a finite number",
        "a price is zero or negative",
        "time is before 1970",
        "time is not a multiple of the bar's length",
    ):
        rows = bad[reason] & ~dropped
        changes += _said(candles, rows, f"dropped, {reason}")
        dropped |= rows
    numbers = np.flatnonzero(~dropped)
    candles = candles.rows(~dropped)
    late = np.diff(candles.ts, prepend=candles.ts[:1]) < 0
    changes += _said(candles, late, "moved to its place in time", numbers)
    order = np.argsort(candles.ts, kind="stable")
    candles, numbers = candles.rows(order), numbers[order]
    again = np.append(candles.ts[1:] == candles.ts[:-1], [False] * bool(len(candles)))
    changes += _said(candles, again, "dropped, a later row has the same time", numbers)
    candles, numbers = candles.rows(~again), numbers[~again]
    high = np.maximum.reduce([candles.open, candles.high, candles.low, candles.close])
    low = np.minimum.reduce([candles.open, candles.high, candles.low, candles.close])
    widened = (high != candles.high) | (low != candles.low)
    changes += _said(candles, widened, "high and low widened to hold all four prices", numbers)
    silent = ~np.isfinite(candles.volume) | (candles.volume < 0)
    changes += _said(candles, silent, "volume set to 0", numbers)
    volume = np.where(silent, 0.0, candles.volume)
    return Candles(candles.ts, candles.open, high, low, candles.close, volume, candles.bar_ms), changes


def _said(candles: Candles, rows: NDArray[np.bool_], what: str, numbers: NDArray[np.int64] | None = None) -> list[str]:
    """Sentences for the marked rows, by their numbers in the original."""
    return [
        f"row {row if numbers is None else numbers[row]} ({iso(max(int(candles.ts[row]), 0))}): {what}"
        for row in np.flatnonzero(rows)
    ]
