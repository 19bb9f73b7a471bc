"""Differences of two moving averages over one tape, each average computed once for all conditions that have it.

What is said is what `Condition.sides` says, to the last bit: APO is the difference of two EMAs. An EMA follows from its
value at the bar before and from the price alone, so two that began at different bars, and have become equal, stay so.
A condition's averages begin at its own anchors, one for each calendar block; where they have met the shared ones these
are read instead. A condition whose averages do not meet them in time is left.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bot.inputs import talib_function
from bot.record import read_only

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from bot.conditions import Condition
    from bot.inputs import ByColumn

    Values = NDArray[np.float64]
    Mask = NDArray[np.bool_]
    # A calendar block: its place among all bars, and the bars from its anchor to its end.
    Block = tuple[slice, ByColumn]

MEMORY = 64_000_000  # bytes of averages that are remembered
EMA = 1  # TA-Lib's number of this kind of average
AT_ONCE = 16_384  # bars that are compared together: few enough to stay in the processor's cache


class Averages:
    """The averages over the bars of one tape."""

    def __init__(self, count: int) -> None:
        """`count`: bars in all."""
        self.count = count
        # By period and `anchored`, None of the shared ones; what was read last is last.
        self._known: dict[tuple[int, tuple[int, int] | None], Values] = {}
        self._bytes = 0  # of all of these
        self._lock = threading.Lock()

    def sides(
        self, condition: Condition, blocks: Sequence[Block], anchored: tuple[int, int]
    ) -> tuple[Mask, Mask] | None:
        """Whether a condition has its upper side and whether its lower one, at each bar, (n,); None where it is left.

        `blocks`: those that have their history; `anchored`: how far before them their anchors are, bars and ms.
        """
        periods, rule, before = periods_of(condition), condition.rule, anchored[0]
        if periods is None or not blocks:
            return None
        shared = [self._once((one, None), partial(self._over_all, one, blocks)) for one in periods]
        own = [self._once((one, anchored), partial(at_beginnings, one, blocks, before)) for one in periods]
        if not all(have_met(*both, blocks) for both in zip(own, shared, strict=True)):
            return None
        against = float(rule.against)
        above, below = compared(shared[0], shared[1], against)
        first = own[0] - own[1]
        now_above, now_below = first[:, 1:] > against, first[:, 1:] < against
        if rule.kind == "cross":
            above, below = begun(above), begun(below)
            now_above &= first[:, :-1] <= against
            now_below &= first[:, :-1] >= against
        for mask, now in ((above, now_above), (below, now_below)):
            mask[: blocks[0][0].start] = False  # without history
            for (place, _), values in zip(blocks, now, strict=True):
                end = min(place.start + before, place.stop)
                mask[place.start : end] = values[: end - place.start]
        return above, below

    def _over_all(self, period: int, blocks: Sequence[Block]) -> Values:
        """An EMA at every bar, (n,), anchored as these blocks are; NaN elsewhere."""
        found = np.empty(self.count)
        found[: blocks[0][0].start] = np.nan
        ema = average(period)
        for place, bars in blocks:
            found[place] = ema(bars)[place.start - place.stop :]
        return found

    def _once(self, key: tuple[int, tuple[int, int] | None], compute: Callable[[], Values]) -> Values:
        """What was computed under a key, or compute it."""
        with self._lock:
            found = self._known.pop(key, None)
            if found is not None:
                self._known[key] = found
                return found
        made: Values = read_only(compute())
        with self._lock:
            if key not in self._known:  # another thread may have been faster
                self._known[key] = made
                self._bytes += made.nbytes
            while self._bytes > MEMORY and len(self._known) > 1:
                self._bytes -= self._known.pop(next(iter(self._known))).nbytes
        return made


def periods_of(condition: Condition) -> tuple[int, int] | None:
    """Periods of the EMAs whose difference a condition holds against a number, the shorter first; None for another."""
    rule, parameters = condition.rule, dict(condition.parameters)
    held = rule.kind in ("state", "cross") and not isinstance(rule.against, str)
    if condition.indicator != "APO" or parameters["matype"] != EMA or not held:
        return None
    first, second = sorted((int(parameters["fastperiod"]), int(parameters["slowperiod"])))
    return first, second


def average(period: int) -> Callable[[ByColumn], Values]:
    """Exponential moving average of closes (n,), as TA-Lib computes it."""
    return talib_function("EMA", (("timeperiod", period),)).values


def at_beginnings(period: int, blocks: Sequence[Block], before: int) -> Values:
    """An EMA at the bar before each block and at its first `before` bars, (blocks, before + 1); NaN where none is."""
    found, ema = np.full((len(blocks), before + 1), np.nan), average(period)
    for row, (place, bars) in zip(found, blocks, strict=True):
        first = len(bars) - (place.stop - place.start) - 1  # -1 where a block has no bar before it
        values = ema(bars.part(0, first + 1 + before))[max(first, 0) :]
        row[int(first < 0) :][: len(values)] = values
    return found


def have_met(own: Values, shared: Values, blocks: Sequence[Block]) -> bool:
    """Whether averages `at_beginnings` (blocks, before + 1) equal the shared ones (n,) where they end."""
    before = own.shape[1] - 1
    longer = [row for row, (place, _) in enumerate(blocks) if place.stop - place.start > before]
    last = [blocks[row][0].start + before - 1 for row in longer]
    return np.array_equal(own[longer, -1], shared[last])


def compared(first: Values, second: Values, against: float) -> tuple[Mask, Mask]:
    """Whether the difference of these (n,) is above a number, and whether it is below, (n,) each."""
    above, below = np.empty(len(first), np.bool_), np.empty(len(first), np.bool_)
    for begin in range(0, len(first), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        difference = first[part] - second[part]
        np.greater(difference, against, out=above[part])
        np.less(difference, against, out=below[part])
    return above, below


def begun(mask: Mask) -> Mask:
    """Whether a mask (n,) holds at a bar and did not at the one before."""
    found = np.zeros(len(mask), np.bool_)
    np.greater(mask[1:], mask[:-1], out=found[1:])
    return found
