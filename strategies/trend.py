"""Trend follower: enter with the trend on a break-out or pull-back, or on a reversal inside a range.

Stop, partial and target rest at the venue from the moment the entry fills; the stop moves to break-even and
then trails. The rules are section 6 of docs/execution.md.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

import numpy as np
from pydantic import Field

from bot.errors import Misconfigured
from bot.indicators import (
    ATR,
    EMA,
    RING,
    RSI,
    WINDOW,
    atr_update,
    ema_update,
    ring_highest,
    ring_lowest,
    ring_mean,
    ring_push,
    rsi_update,
)
from bot.instrument import Instrument, Market
from bot.kernel import Record, kernel
from bot.order import WHOLE_POSITION, OrderKind, Signal, clear_order, clear_orders, set_order
from bot.parameters import Fraction, Number, Parameters
from bot.strategy import (
    Event,
    Strategy,
    Variation,
    affordable,
    away,
    enter,
    lots_for,
    tighter,
    too_small,
    watch_nothing,
    whole_down,
)

ENTRY, STOP, TARGET, PARTIAL = range(4)


class TrendDirection(StrEnum):
    """Which trends to follow."""

    BOTH = "both"
    LONG = "long"
    SHORT = "short"


LONG, SHORT = list(TrendDirection).index(TrendDirection.LONG), list(TrendDirection).index(TrendDirection.SHORT)


class Kind(IntEnum):
    """What made an entry; the index into the strategy's `entries`."""

    BREAK_OUT = 0
    PULL_BACK = 1
    REVERSAL = 2


class TrendParameters(Parameters):
    """Everything the trend follower can be told."""

    direction: TrendDirection = Field(TrendDirection.BOTH, description="both, long or short; spot is always long")
    fast_period: int = Field(20, ge=2, le=1000, description="fast EMA, signal bars")
    slow_period: int = Field(50, ge=2, le=2000, description="slow EMA, signal bars")
    sideways: Fraction = Field(0.005, ge=0, le=1, description="EMA divergence under which it is sideways, fraction")
    strong: Fraction = Field(0.02, ge=0, le=1, description="EMA divergence from which it is strong, fraction")
    max_atr: Fraction = Field(0.05, gt=0, le=1, description="ATR / price above which nothing opens, fraction")
    pullback: Fraction = Field(0.01, ge=0, le=1, description="how near EMA20 a pull-back comes, fraction")
    range_bars: int = Field(20, ge=2, le=WINDOW - 1, description="bars a break-out must exceed, signal bars")
    breakout_volume: Number = Field(1.5, ge=0, le=100, description="volume of a break-out / mean, ratio")
    trend_confirmation_bars: int = Field(3, ge=1, le=1000, description="closes on the right side of EMA50, bars")
    risk_per_trade: Fraction = Field(0.01, gt=0, le=1, description="loss at the stop, fraction of target")
    sideways_stop: Number = Field(0.7, gt=0, le=50, description="stop in a sideways phase, ATRs")
    sideways_target: Number = Field(1.2, gt=0, le=50, description="target in a sideways phase, ATRs")
    weak_stop: Number = Field(1.0, gt=0, le=50, description="stop in a weak trend, ATRs")
    weak_target: Number = Field(1.8, gt=0, le=50, description="target in a weak trend, ATRs")
    strong_stop: Number = Field(1.0, gt=0, le=50, description="stop in a strong trend, ATRs")
    strong_target: Number = Field(2.5, gt=0, le=50, description="target in a strong trend, ATRs")
    partial_at: Fraction = Field(0.7, gt=0, lt=1, description="way to the target where half leaves, fraction")
    break_even_at: Number = Field(1.0, gt=0, le=50, description="profit that moves the stop to break-even, ATRs")
    trail_from: Number = Field(1.5, gt=0, le=50, description="profit from which the stop trails, ATRs")
    trail_distance: Number = Field(0.5, gt=0, le=50, description="distance of the trailing stop, ATRs")


STATE = np.dtype(
    [
        ("fast", EMA),
        ("slow", EMA),
        ("rsi", RSI),
        ("atr", ATR),
        ("highs", RING),
        ("lows", RING),
        ("volumes", RING),
        ("above", "i8"),  # closes in a row above the slow EMA
        ("below", "i8"),
        ("losses", "i8"),  # losing trades in a row
        ("in_trade", "b1"),
        ("partial_done", "b1"),
        ("direction", "i8"),
        ("entered_at", "i8"),  # ms
        ("entry", "f8"),  # first fill's price, quote currency
        ("entered_lots", "i8"),
        ("unit", "f8"),  # ATR at the signal, quote currency
        ("stop_units", "f8"),
        ("target_units", "f8"),
        ("stop", "i8"),  # ticks
        ("target", "i8"),
        ("partial", "i8"),
        ("best", "f8"),
        ("result_before", "f8"),  # realised - fees when the trade began
    ],
    align=True,
)


@kernel
def decide(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """One event of the trade's life."""
    if event.kind == Event.FILL:
        _on_fill(pair, params, state, slots, event.execution)
    elif event.kind == Event.SIGNAL:
        _on_signal(pair, params, state, slots, event.bar)
    elif event.kind == Event.BASE and pair.ledger.position != 0:
        _on_base(pair, params, state, slots, event.bar)
    elif event.kind == Event.RESET:
        clear_orders(slots)
        state.in_trade = False
    _watch(pair, params, state)


@kernel
def _on_signal(pair: Record, params: Record, state: Record, slots: Record, bar: Record) -> None:
    before = state.rsi.value
    ema_update(state.fast, bar.close, params.fast_period)
    ema_update(state.slow, bar.close, params.slow_period)
    rsi_update(state.rsi, bar.close, 14)
    atr_update(state.atr, bar.high, bar.low, bar.close, 14)
    state.above = state.above + 1 if bar.close > state.slow.value else 0
    state.below = state.below + 1 if bar.close < state.slow.value else 0
    calm = 0.0 < state.atr.value <= params.max_atr * bar.close
    if pair.may_enter and calm and pair.ledger.position == 0 and not slots[ENTRY].active:
        _look_for_entry(pair, params, state, slots, bar, before)
    ring_push(state.highs, bar.high)
    ring_push(state.lows, bar.low)
    ring_push(state.volumes, bar.volume)


@kernel
def _look_for_entry(pair: Record, params: Record, state: Record, slots: Record, bar: Record, rsi_before: float) -> None:
    divergence = abs(state.fast.value - state.slow.value) / state.slow.value
    sideways = divergence < params.sideways
    for direction in (1, -1):
        if direction < 0 and (params.direction == LONG or not pair.instrument.linear):
            continue
        if direction > 0 and params.direction == SHORT and pair.instrument.linear:
            continue
        kind = _kind_of_entry(params, state, bar, rsi_before, direction, sideways)
        if kind >= 0:
            _enter(pair, params, state, slots, direction, kind, sideways, divergence >= params.strong)
            return


@kernel
def _kind_of_entry(
    params: Record, state: Record, bar: Record, rsi_before: float, direction: int, sideways: bool
) -> int:
    """Kind of the first entry that this bar allows, -1 if none."""
    confirmed = (state.above if direction > 0 else state.below) >= params.trend_confirmation_bars
    if direction > 0:
        outside = bar.close > ring_highest(state.highs, params.range_bars)
        touched = bar.low <= state.fast.value * (1.0 + params.pullback)
        left = rsi_before < 30.0 and state.rsi.value >= 30.0
    else:
        outside = bar.close < ring_lowest(state.lows, params.range_bars)
        touched = bar.high >= state.fast.value * (1.0 - params.pullback)
        left = rsi_before > 70.0 and state.rsi.value <= 70.0
    loud = bar.volume >= params.breakout_volume * ring_mean(state.volumes, params.range_bars)
    if confirmed and outside and loud and state.highs.count >= params.range_bars:
        return Kind.BREAK_OUT
    with_trend = (state.fast.value - state.slow.value) * direction > 0.0
    back = (bar.close - state.fast.value) * direction > 0.0 and (bar.close - bar.open) * direction > 0.0
    if not sideways and confirmed and with_trend and touched and back:
        return Kind.PULL_BACK
    if sideways and left and state.rsi.count > 14:
        return Kind.REVERSAL
    return -1


@kernel
def _enter(
    pair: Record,
    params: Record,
    state: Record,
    slots: Record,
    direction: int,
    kind: int,
    sideways: bool,
    strong: bool,
) -> None:
    """Set the entry, sized so that its stop costs `risk_per_trade` of the target."""
    stop, target = params.weak_stop, params.weak_target
    if sideways:
        stop, target = params.sideways_stop, params.sideways_target
    elif strong:
        stop, target = params.strong_stop, params.strong_target
    unit = state.atr.value
    if pair.price - direction * stop * unit <= 0.0 or pair.price + direction * target * unit <= 0.0:
        return
    risk = params.risk_per_trade * pair.target * (0.5 if state.losses >= 3 else 1.0)
    notional = min(affordable(pair), risk * pair.price / (stop * unit))
    lots = lots_for(pair, notional, pair.price)
    slot = enter(pair, slots, ENTRY, direction, OrderKind.MARKET, 0, lots, WHOLE_POSITION)
    slot.entry = kind
    slot.stop = away(pair, -direction, pair.price - direction * stop * unit, True)
    state.direction, state.unit, state.stop_units, state.target_units = direction, unit, stop, target
    state.in_trade = False
    state.result_before = pair.ledger.realised - pair.ledger.fees


@kernel
def _on_fill(pair: Record, params: Record, state: Record, slots: Record, fill: Record) -> None:
    if pair.ledger.position == 0:
        clear_orders(slots)
        state.in_trade = False
        lost = pair.ledger.realised - pair.ledger.fees < state.result_before
        state.losses = state.losses + 1 if lost else 0
        return
    if not state.in_trade:
        _set_exits(pair, params, state, fill)
    if fill.slot == ENTRY:
        state.entered_lots += fill.quantity
    else:
        clear_order(slots, ENTRY)
    if fill.slot == PARTIAL and not slots[PARTIAL].active:
        state.partial_done = True
    _set_exit_orders(pair, state, slots)


@kernel
def _set_exits(pair: Record, params: Record, state: Record, fill: Record) -> None:
    direction, unit = state.direction, state.unit
    entry = fill.price * pair.instrument.tick_size
    state.in_trade = True
    state.partial_done = False
    state.entered_at = fill.ts
    state.entry = entry
    state.entered_lots = 0
    state.best = entry
    state.stop = away(pair, -direction, entry - direction * state.stop_units * unit, True)
    state.target = away(pair, -direction, entry + direction * state.target_units * unit, False)
    state.partial = away(pair, -direction, entry + direction * params.partial_at * state.target_units * unit, False)


@kernel
def _set_exit_orders(pair: Record, state: Record, slots: Record) -> None:
    lots, direction = abs(pair.ledger.position), state.direction
    half = 0
    if not state.partial_done:
        filled = state.entered_lots - lots
        half = whole_down(state.entered_lots / 2.0) - filled
        if lots - half < pair.instrument.min_quantity or too_small(pair, half, pair.price):
            half = 0
    half = max(min(half, lots), 0)
    set_order(slots, STOP, -direction, OrderKind.STOP, state.stop, lots, _stop_signal(pair, state), WHOLE_POSITION)
    set_order(slots, TARGET, -direction, OrderKind.LIMIT, state.target, lots - half, Signal.EXIT_TP, WHOLE_POSITION)
    set_order(slots, PARTIAL, -direction, OrderKind.LIMIT, state.partial, half, Signal.EXIT_TP, WHOLE_POSITION)


@kernel
def _stop_signal(pair: Record, state: Record) -> int:
    """A stop beyond the entry takes profit, one short of it takes a loss."""
    gained = (state.stop * pair.instrument.tick_size - state.entry) * state.direction > 0.0
    return Signal.EXIT_TP if gained else Signal.EXIT_SL


@kernel
def _on_base(pair: Record, params: Record, state: Record, slots: Record, bar: Record) -> None:
    """Move the stop to break-even, then behind the best price; it never moves back."""
    if bar.ts < state.entered_at or not state.in_trade:
        return
    direction = state.direction
    extreme = bar.high if direction > 0 else bar.low
    state.best = max(state.best, extreme) if direction > 0 else min(state.best, extreme)
    profit = (state.best - state.entry) * direction
    stop = state.stop
    if profit >= params.break_even_at * state.unit:
        even = state.entry * (1.0 + direction * 2.0 * pair.instrument.taker_fee)
        stop = tighter(stop, away(pair, -direction, even, True), direction)
    if profit >= params.trail_from * state.unit:
        trail = state.best - direction * params.trail_distance * state.unit
        stop = tighter(stop, away(pair, -direction, trail, True), direction)
    if stop != state.stop:
        state.stop = stop
        _set_exit_orders(pair, state, slots)


@kernel
def _watch(pair: Record, params: Record, state: Record) -> None:
    """Ask for base bars that make a new best price beyond the next milestone."""
    watch_nothing(pair)
    if pair.ledger.position == 0 or not state.in_trade:
        return
    even = state.entry + state.direction * params.break_even_at * state.unit
    trail = state.entry + state.direction * params.trail_from * state.unit
    if state.direction > 0:
        reached = state.best >= even
        pair.watch_above = max(state.best, min(trail, even) if not reached else trail)
    else:
        reached = state.best <= even
        pair.watch_below = min(state.best, max(trail, even) if not reached else trail)


def check(parameters: TrendParameters, instrument: Instrument, capital: float, price: float, leverage: float) -> None:
    """Refuse what cannot follow or cannot be placed; raises Misconfigured."""
    if parameters.fast_period >= parameters.slow_period:
        raise Misconfigured(
            f"trend.fast_period ({parameters.fast_period}) must be shorter than trend.slow_period "
            f"({parameters.slow_period}); lower the one or raise the other."
        )
    if parameters.direction is TrendDirection.SHORT and instrument.market is Market.SPOT:
        raise Misconfigured("trend.direction is short but spot cannot be sold short; use long, or market: linear.")
    least = instrument.smallest_order(price)
    if capital * leverage < least:
        raise Misconfigured(
            f"capital {capital:g} is under the venue's smallest order of {least:.4g}; raise the capital."
        )


def slots(_parameters: TrendParameters) -> int:
    """Count the orders: entry, stop, target, partial."""
    return 4


def roles(count: int) -> tuple[str, ...]:
    """Name the slots of a table of `count`: the first four are used."""
    return ("entry", "stop", "target", "partial", *(f"spare/{k}" for k in range(4, count)))


STRATEGY = Strategy(
    name="trend",
    version=1,
    parameters=TrendParameters,
    state=STATE,
    slots=slots,
    decide=decide,
    entries=("break-out", "pull-back", "reversal"),
    check=check,
    variations=(
        Variation("long", lambda parameters: parameters.changed(direction=TrendDirection.LONG)),
        Variation("short", lambda parameters: parameters.changed(direction=TrendDirection.SHORT)),
    ),
    own_stop=True,
    roles=roles,
)
