"""When a DCA deal opens: the evidence of the signal bars, and the conditions under which it counts.

Every signal bar is taken in, whatever the condition, so that another one can be chosen while a bot runs.
"""

from __future__ import annotations

from typing import Any

from bot.indicators import (
    ADX,
    BOLLINGER,
    EMA,
    RING,
    RSI,
    VOLUME,
    adx_update,
    bollinger_update,
    ema_update,
    ring_highest,
    ring_lowest,
    ring_push,
    rsi_update,
    volume_update,
)
from bot.kernel import Record, kernel
from bot.strategy import whole_ms
from bot.times import DAY, HOUR
from strategies.dca_parameters import IMMEDIATELY, PRICE_WINDOW, SCHEDULE, SIGNAL

BARS = 20  # of the Bollinger bands and of the lowest low
WEIGHTS = 9.0  # TREND 3, PRICE 2, INDICATORS 2, RISK 1, TIMING 1

# Part of the strategy's state.
START: list[Any] = [
    ("fast", EMA),
    ("slow", EMA),
    ("rsi", RSI),
    ("adx", ADX),
    ("bands", BOLLINGER),
    ("extremes", RING),
    ("volume", VOLUME),
    ("score", "f8"),
    ("confirmations", "i8"),
    ("next_start", "i8"),  # ms: of the schedule; 0 before it is known
    ("visited", "b1"),  # a deal has opened since the price came into the window
    ("deals", "i8"),  # deals opened
    ("day", "i8"),  # UTC day of the last one
    ("day_deals", "i8"),  # deals opened on it
]


@kernel
def take_evidence(pair: Record, params: Record, state: Record, bar: Record, direction: int) -> None:
    """Update indicators and score by a signal bar."""
    ema_update(state.fast, bar.close, 12)
    ema_update(state.slow, bar.close, 26)
    rsi_update(state.rsi, bar.close, 14)
    adx_update(state.adx, bar.high, bar.low, bar.close, 14, pair.instrument.tick_size)
    bollinger_update(state.bands, bar.close, BARS)
    ring_push(state.extremes, bar.low if direction > 0 else bar.high)
    volume_update(state.volume, bar.ts, bar.volume)
    state.score = _score(params, state, bar.close, direction)


@kernel
def _score(params: Record, state: Record, close: float, direction: int) -> float:
    """Weights that pass / all weights, RISK and TIMING counted as passed: they block elsewhere."""
    passed = 2.0
    if (state.slow.value - state.fast.value) * direction > 0.0 and state.adx.value >= params.adx_min:
        passed += 3.0
    if direction > 0:
        near = close <= ring_lowest(state.extremes, BARS) * (1.0 + params.price_zone)
        oversold = state.rsi.value < params.rsi_limit
        band = (state.bands.middle - 2.0 * state.bands.deviation) * (1.0 + params.band_tolerance)
        outside = close <= band
    else:
        near = close >= ring_highest(state.extremes, BARS) * (1.0 - params.price_zone)
        oversold = state.rsi.value > 100.0 - params.rsi_limit
        band = (state.bands.middle + 2.0 * state.bands.deviation) * (1.0 - params.band_tolerance)
        outside = close >= band
    if near:
        passed += 2.0
    thirds = 0.0
    if oversold:
        thirds += 1.0
    if outside:
        thirds += 1.0
    if state.volume.ratio >= params.volume_ratio:
        thirds += 1.0
    return (passed + 2.0 * thirds / 3.0) / WEIGHTS


@kernel
def starts(pair: Record, params: Record, state: Record, bar: Record, idle: bool) -> bool:
    """Whether a deal is to open at the close of this signal bar.

    `idle`: none stands, the last has rested and the gate is open. Conditions that follow time or price move on with
    every bar, also while no deal may open.
    """
    inside = not (bar.close < params.entry_above or bar.close > params.entry_below)  # a bound that is NaN holds nothing
    due = _due(pair, params, state)
    if not inside:
        state.visited = False
    may = pair.may_enter and idle and inside and not _used_up(pair, params, state)
    if params.start == IMMEDIATELY or params.start == SIGNAL:  # noqa: PLR1714
        return may
    if params.start == SCHEDULE:
        return may and due
    if params.start == PRICE_WINDOW:
        return may and not state.visited
    return _confirmed(params, state, bar, may)


@kernel
def _confirmed(params: Record, state: Record, bar: Record, may: bool) -> bool:
    """Whether the evidence has held on enough bars in a row; the count then starts again."""
    calm = abs(bar.close / bar.open - 1.0) <= params.spike
    if may and calm and state.score >= params.confluence - 1e-9:
        state.confirmations += 1
    else:
        state.confirmations = 0
    if state.confirmations < params.min_confirmations:
        return False
    state.confirmations = 0
    return True


@kernel
def _due(pair: Record, params: Record, state: Record) -> bool:
    """Whether a scheduled time has passed since the last signal bar; the first one seen waits for the next time."""
    if params.start != SCHEDULE:
        state.next_start = 0
        return False
    every = max(whole_ms(params.schedule_hours, HOUR), 1)
    offset = whole_ms(params.schedule_offset_hours, HOUR)
    coming = offset + ((pair.time - offset) // every + 1) * every
    due = state.next_start != 0 and pair.time >= state.next_start
    state.next_start = coming if due or state.next_start == 0 else min(state.next_start, coming)
    return due


@kernel
def _used_up(pair: Record, params: Record, state: Record) -> bool:
    """Whether as many deals have opened as may, today or ever; a limit that is NaN is none."""
    today = state.day_deals if pair.time // DAY == state.day else 0
    return state.deals >= params.stop_after_deals or today >= params.max_deals_per_day


@kernel
def count_deal(pair: Record, state: Record) -> None:
    """Count a deal that opens."""
    if pair.time // DAY != state.day:
        state.day = pair.time // DAY
        state.day_deals = 0
    state.deals += 1
    state.day_deals += 1
    state.visited = True


@kernel
def uncount_deal(state: Record) -> None:
    """Take back the last deal counted: its base order was refused."""
    state.deals -= 1
    state.day_deals -= 1
    state.visited = False
