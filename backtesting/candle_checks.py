"""Faults of candles, by kind and row, and their repair, change by change. Nothing is dropped silently."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from bot.candles import EARLIEST_MS, Candles, grid_offset, iso
from bot.errors import BadCandles
from bot.times import DAY

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRICES = ("open", "high", "low", "close")
FEW = 0.03  # share of the rows that may be faulty in a file that is read rightly
JUMP, SPIKE = 0.5, 3.0  # change across a gap, and multiple of the neighbours, that are worth a look
NOT_A_PRICE, NOT_POSITIVE = "a price is not a finite number", "a price is zero or negative"
CROSSED, OUTSIDE = "high lies under low", "open or close lies outside low and high"
NO_VOLUME, NEGATIVE = "volume is not a finite number", "volume is negative"
EARLY, LATE, OFF_GRID = "time is before 2009", "time is after tomorrow", "time is not on the grid of the bars"
AGAIN, BACK = "same time as the row before", "earlier than the row before"
OffGrid = Literal["drop", "align"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What is wrong with some rows, or was changed in them: their numbers from 0 (n,) and times (n,), ms."""

    what: str
    rows: NDArray[np.int64]
    ts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        """Kind, count and a few examples."""
        told = ", ".join(f"row {row} ({iso(max(int(ts), 0))})" for row, ts in zip(self.rows[:3], self.ts, strict=False))
        return f"{len(self)} {'row' if len(self) == 1 else 'rows'}: {self.what}: {told}{', …' if len(self) > 3 else ''}"

    def lines(self) -> list[tuple[int, str]]:
        """Every row's number and sentence."""
        return [
            (row, f"row {row} ({iso(max(ts, 0))}): {self.what}")
            for row, ts in zip(self.rows.tolist(), self.ts.tolist(), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class CandleGap:
    """Bars missing between two rows: the first missing time (ms) and how many."""

    ts: int
    bars: int


def faults(candles: Candles, now_ms: int | None = None) -> list[Rows]:
    """Faulty rows by kind, the kind of the first row first; gaps are no faults. `now_ms` bounds the times."""
    found = [
        Rows(reason, np.flatnonzero(rows), candles.ts[rows])
        for reason, rows in _bad_rows(candles, now_ms).items()
        if rows.any()
    ]
    return sorted(found, key=lambda one: (one.rows[0], one.what))


def gaps(candles: Candles) -> list[CandleGap]:
    """Gaps between ascending rows."""
    steps = np.diff(candles.ts)
    return [
        CandleGap(int(candles.ts[row]) + candles.bar_ms, int(steps[row] // candles.bar_ms) - 1)
        for row in np.flatnonzero(steps > candles.bar_ms)
    ]


def check(candles: Candles, now_ms: int | None = None) -> None:
    """Raise BadCandles for the first fault, with how many more there are and the remedy."""
    found = faults(candles, now_ms)
    if not found:
        return
    first = found[0].lines()[0][1]
    others = sum(len(one) for one in found) - 1
    more = f" and {others} more faults" if others else ""
    raise BadCandles(f"candles: {first}{more}; mend the file, or import it with --repair, which says what it changes.")


def too_many(bad: int, rows: int) -> bool:
    """Whether so many rows are at fault that the file is misread, not damaged."""
    return bad > max(2, FEW * rows) or bad == rows > 0


def misread(candles: Candles) -> list[Rows]:
    """Faults that more than a few rows have because their columns are others, the most frequent first; else none."""
    kinds = (NOT_A_PRICE, NOT_POSITIVE, CROSSED, OUTSIDE, NO_VOLUME, NEGATIVE)
    found = [one for one in faults(candles) if one.what in kinds]
    bad = len(np.unique(np.concatenate([one.rows for one in found]))) if found else 0
    return sorted(found, key=len, reverse=True) if too_many(bad, len(candles)) else []


def wrong_times(ts: NDArray[np.int64], now_ms: int | None) -> NDArray[np.bool_]:
    """Mask (n,) of times before 2009 or after tomorrow."""
    latest = np.iinfo(np.int64).max if now_ms is None else now_ms + DAY
    return (ts < EARLIEST_MS) | (ts > latest)


def off_grid(candles: Candles) -> NDArray[np.bool_]:
    """Mask (n,) of times that are not a whole number of bars from the others."""
    return np.asarray((candles.ts - grid_offset(candles.ts, candles.bar_ms)) % candles.bar_ms != 0)


def suspicious(candles: Candles) -> list[str]:
    """Sentences on sound rows that may still be wrong: jumps over a gap, and spikes."""
    said = []
    ts, before, after = candles.ts, candles.close[:-1], candles.open[1:]
    jump = (np.diff(ts) > candles.bar_ms) & (np.abs(after / before - 1.0) > JUMP)
    if jump.any():
        row = int(np.flatnonzero(jump)[0])
        said.append(
            f"the price jumps over {JUMP:.0%} across {_counted(jump, 'gap')}, first from {before[row]:g} to "
            f"{after[row]:g} at {iso(int(ts[row + 1]))}; look whether it is one coin"
        )
    high, low = candles.high, candles.low
    spike = high[1:-1] / SPIKE > np.maximum(high[:-2], high[2:])
    spike |= low[1:-1] < np.minimum(low[:-2], low[2:]) / SPIKE
    if spike.any():
        row = int(np.flatnonzero(spike)[0]) + 1
        said.append(
            f"{_counted(spike, 'spike')} over {SPIKE:g} times the bars beside, first from {low[row]:g} to "
            f"{high[row]:g} at {iso(int(ts[row]))}; orders would fill at prices that may never have been"
        )
    return said


def _counted(mask: NDArray[np.bool_], what: str) -> str:
    count = int(mask.sum())
    return f"{count} {what}{'' if count == 1 else 's'}"


def _bad_rows(candles: Candles, now_ms: int | None) -> dict[str, NDArray[np.bool_]]:
    """Reason to mask (n,)."""
    prices = [getattr(candles, name) for name in PRICES]
    finite = np.logical_and.reduce([np.isfinite(one) for one in prices])
    steps = np.diff(candles.ts, prepend=candles.ts[0] - candles.bar_ms if len(candles) else 0)
    late = wrong_times(candles.ts, now_ms)
    early = late & (candles.ts < EARLIEST_MS)
    with np.errstate(invalid="ignore"):
        outside = np.maximum(candles.open, candles.close) > candles.high
        outside |= np.minimum(candles.open, candles.close) < candles.low
        crossed = candles.high < candles.low
        return {
            NOT_A_PRICE: ~finite,
            NOT_POSITIVE: finite & np.logical_or.reduce([one <= 0 for one in prices]),
            CROSSED: finite & crossed,
            OUTSIDE: finite & outside & ~crossed,
            NO_VOLUME: ~np.isfinite(candles.volume),
            NEGATIVE: candles.volume < 0,
            EARLY: early,
            LATE: late & ~early,
            OFF_GRID: off_grid(candles),
            AGAIN: steps == 0,
            BACK: steps < 0,
        }


def put_on_grid(candles: Candles, how: OffGrid) -> tuple[Candles, list[Rows]]:
    """Leave out the rows off the grid, or move each back to the opening of the bar it lies in; and say which."""
    changes: list[Rows] = []
    strays = off_grid(candles)
    if how == "drop":
        _note(changes, candles, strays, f"dropped, {OFF_GRID}")
        return candles.rows(~strays), changes
    _note(changes, candles, strays, "moved back to the opening of its bar")
    offset = grid_offset(candles.ts, candles.bar_ms)
    ts = np.where(strays, (candles.ts - offset) // candles.bar_ms * candles.bar_ms + offset, candles.ts)
    return replace(candles, ts=ts), changes


def repair(candles: Candles, now_ms: int | None = None) -> tuple[Candles, list[Rows]]:
    """Make candles tradable and say each change by kind and row; missing bars are never invented.

    Rows without a usable time or price go, rows are sorted, of several with one time the last stays, high and low are
    widened to hold open and close, an unusable volume becomes 0.
    """
    changes: list[Rows] = []
    bad = _bad_rows(candles, now_ms)
    dropped = np.zeros(len(candles), np.bool_)
    for reason in (NOT_A_PRICE, NOT_POSITIVE, EARLY, LATE, OFF_GRID):
        _note(changes, candles, bad[reason] & ~dropped, f"dropped, {reason}")
        dropped |= bad[reason]
    numbers = np.flatnonzero(~dropped)
    candles = candles.rows(~dropped)
    late = np.diff(candles.ts, prepend=candles.ts[:1]) < 0
    _note(changes, candles, late, "moved to its place in time", numbers)
    order = np.argsort(candles.ts, kind="stable")
    candles, numbers = candles.rows(order), numbers[order]
    again = np.append(candles.ts[1:] == candles.ts[:-1], [False] * bool(len(candles)))
    _note(changes, candles, again, "dropped, a later row has the same time", numbers)
    candles, numbers = candles.rows(~again), numbers[~again]
    high = np.maximum.reduce([candles.open, candles.high, candles.low, candles.close])
    low = np.minimum.reduce([candles.open, candles.high, candles.low, candles.close])
    widened = (high != candles.high) | (low != candles.low)
    _note(changes, candles, widened, "high and low widened to hold all four prices", numbers)
    silent = ~np.isfinite(candles.volume) | (candles.volume < 0)
    _note(changes, candles, silent, "volume set to 0", numbers)
    volume = np.where(silent, 0.0, candles.volume)
    return Candles(candles.ts, candles.open, high, low, candles.close, volume, candles.bar_ms), changes


def _note(
    changes: list[Rows],
    candles: Candles,
    rows: NDArray[np.bool_],
    what: str,
    numbers: NDArray[np.int64] | None = None,
) -> None:
    """Add the marked rows, by their numbers in the original."""
    at = np.flatnonzero(rows)
    if len(at):
        changes.append(Rows(what, at if numbers is None else numbers[at], candles.ts[at]))
