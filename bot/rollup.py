"""Higher timeframes from base bars: closed and complete buckets only.

The simulator runs this kernel ahead over the whole array, the live bot bar by bar; it is the same kernel.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.kernel import Record, kernel, specialise, template
from bot.times import DAY, HOUR, MINUTE, WEEK

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BAR = np.dtype([("ts", "i8"), ("open", "f8"), ("high", "f8"), ("low", "f8"), ("close", "f8"), ("volume", "f8")])
ROLLUP = np.dtype([("bar", BAR), ("bars", "i8"), ("incomplete", "i8")])

TIMEFRAMES = {
    "1m": MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "30m": 30 * MINUTE,
    "1h": HOUR,
    "2h": 2 * HOUR,
    "4h": 4 * HOUR,
    "6h": 6 * HOUR,
    "8h": 8 * HOUR,
    "12h": 12 * HOUR,
    "1d": DAY,
    "3d": 3 * DAY,
    "1w": WEEK,
}
MONDAY = 4 * DAY  # the epoch was a Thursday


@kernel
def bucket_start(ts: int, timeframe_ms: int) -> int:
    """Opening (ms) of the bucket that holds `ts`: aligned to the epoch, weeks to Monday, 00:00 UTC."""
    origin = MONDAY if timeframe_ms % WEEK == 0 else 0
    return ts - (ts - origin) % timeframe_ms


@kernel
def rollup_update(rollup: Record, bar: Record, bar_ms: int, timeframe_ms: int) -> bool:
    """Add one closed base bar; True when it completes a bucket, whose bar is then `rollup.bar`.

    Buckets are aligned as `bucket_start` says. One with a missing base bar is never returned, only counted in
    `rollup.incomplete`.
    """
    start = bucket_start(bar.ts, timeframe_ms)
    whole = rollup.bar
    if rollup.bars == 0 or start != whole.ts:
        if 0 < rollup.bars < timeframe_ms // bar_ms:
            rollup.incomplete += 1
        whole.ts = start
        whole.open = bar.open
        whole.high = bar.high
        whole.low = bar.low
        whole.volume = 0.0
        rollup.bars = 0
    whole.high = max(whole.high, bar.high)
    whole.low = min(whole.low, bar.low)
    whole.close = bar.close
    whole.volume += bar.volume
    rollup.bars += 1
    return rollup.bars == timeframe_ms // bar_ms


def roll_up(rollups: Any, bases: Any, bar_ms: int, timeframe_ms: int) -> tuple[Any, NDArray[np.int64]]:
    """Add closed base bars, BAR (n,), to the bucket that forms in `rollups`, ROLLUP (1,).

    Returns the complete bars, BAR (m,), and the index of the base bar that completes each, (m,).
    """
    bars = np.zeros(len(bases) * bar_ms // timeframe_ms + 2, BAR)
    ends = np.zeros(len(bars), np.int64)
    count = _compiled_roll()(bases, bar_ms, timeframe_ms, rollups, bars, ends)
    return bars[:count].copy(), ends[:count].copy()


@template
def roll(bases: Record, bar_ms: int, timeframe_ms: int, rollups: Record, bars: Record, ends: Record) -> int:
    """Run the streaming roll-up over (n,) base bars; fills `bars` and `ends`, returns how many."""
    count = 0
    for i in range(len(bases)):
        if rollup_update(rollups[0], bases[i], bar_ms, timeframe_ms):
            bars[count] = rollups[0].bar
            ends[count] = i
            count += 1
    return count


@cache
def _compiled_roll() -> Callable[..., int]:
    compiled: Callable[..., int] = specialise(roll, "bars")
    return compiled
