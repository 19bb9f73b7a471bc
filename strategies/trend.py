"""Trend follower: enter with the trend on a break-out or pull-back, or on a reversal inside a range.

Stop, partial and target rest at the venue from the moment the entry fills; the stop moves to break-even and
then trails. With `exit: channel` it also leaves once a close lies beyond the channel of the last bars. The rules are
section 6 of docs/execution.md.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from bot.conditions import WhenParameters
from bot.costs import CostParameters, entry_pays
from bot.errors import Misconfigured
from bot.gate import allows
from bot.indicators import (
    ATR,
    EMA,
    LONG_RING,
    RSI,
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
from bot.parameters import Fraction, Number, Timeframe
from bot.strategy import (
    Event,
    Strategy,
    Variation,
    affordable,
    enter,
    lots_for,
    order_ticks,
    tighter,
    too_small,
    watch_nothing,
    whole_down,
    whole_ms,
)
from bot.times import DAY, HOUR

ENTRY, STOP, TARGET, PARTIAL, EXIT = range(5)
YEAR = 365 * DAY
LONGEST_CHANNEL = 400


class TrendDirection(StrEnum):
    """Which trends to follow."""

    BOTH = "both"
    LONG = "long"
    SHORT = "short"


class TrendEntry(StrEnum):
    """What may make an entry; in the order in which they are looked for."""

    BREAKOUT = "breakout"
    PULLBACK = "pullback"
    RSI = "rsi"


class TrendExit(StrEnum):
    """What ends a trade besides stop and target: nothing, or a close beyond the channel of the last bars."""

    ATR = "atr"
    CHANNEL = "channel"


class TrendSizing(StrEnum):
    """What makes the size: the loss at the stop, or the yearly volatility of what is held."""

    RISK = "risk"
    VOLATILITY_TARGET = "volatility_target"


LONG, SHORT = list(TrendDirection).index(TrendDirection.LONG), list(TrendDirection).index(TrendDirection.SHORT)


class Kind(IntEnum):
    """What made an entry; the index into the strategy's `entries`."""

    BREAK_OUT = 0
    PULL_BACK = 1
    REVERSAL = 2


# Kernels see an enumeration as its index, and a choice of several as a bit for each.
BREAK_OUTS, PULL_BACKS, REVERSALS = (1 << list(TrendEntry).index(one) for one in TrendEntry)
CHANNEL, VOLATILITY_TARGET = (
    list(TrendExit).index(TrendExit.CHANNEL),
    list(TrendSizing).index(TrendSizing.VOLATILITY_TARGET),
)


PHASE_STOPS = ("sideways_stop", "weak_stop", "strong_stop")
PHASE_TARGETS = ("sideways_target", "weak_target", "strong_target")


def _or_none(value: Any) -> Any:
    """Take `none` for 0."""
    return 0.0 if isinstance(value, str) and value.strip().lower() == "none" else value


def _words(value: Any) -> Any:
    """Take one word, or words with commas between, for a list of them."""
    return [one.strip() for one in value.split(",")] if isinstance(value, str) else value


NumberOrNone = Annotated[Number, BeforeValidator(_or_none)]
FractionOrNone = Annotated[Fraction, BeforeValidator(_or_none)]
Entries = Annotated[tuple[TrendEntry, ...], BeforeValidator(_words)]


class TrendParameters(WhenParameters, CostParameters):
    """Everything the trend follower can be told."""

    section = "trend"

    timeframe: Timeframe = Field("4h", description="length of a signal bar")
    warmup_bars: int = Field(60, ge=0, le=100_000, description="signal bars seen before the first entry, bars")
    min_stop_costs: Number = Field(8.0, ge=0, le=1000, description="least distance to the stop, round-trip costs")
    direction: TrendDirection = Field(TrendDirection.BOTH, description="both, long or short; spot is always long")
    fast_period: int = Field(20, ge=2, le=1000, description="fast EMA, signal bars")
    slow_period: int = Field(50, ge=2, le=2000, description="slow EMA, signal bars")
    sideways: Fraction = Field(0.005, ge=0, le=1, description="EMA divergence under which it is sideways, fraction")
    strong: Fraction = Field(0.02, ge=0, le=1, description="EMA divergence from which it is strong, fraction")
    max_atr: Fraction = Field(
        0.05, gt=0, le=1, description="ATR / price of 1h above which nothing opens, fraction; by the root of the time"
    )
    entries: Entries = Field(
        (TrendEntry.BREAKOUT,), min_length=1, description="what may enter: breakout, pullback, rsi"
    )
    pullback: Fraction = Field(0.01, ge=0, le=1, description="how near EMA20 a pull-back comes, fraction")
    range_bars: int = Field(15, ge=2, le=LONGEST_CHANNEL, description="bars a break-out must exceed, signal bars")
    breakout_volume: Number = Field(0.0, ge=0, le=100, description="volume of a break-out / mean, ratio")
    trend_confirmation_bars: int = Field(1, ge=1, le=1000, description="closes on the right side of EMA50, bars")
    sizing: TrendSizing = Field(
        TrendSizing.VOLATILITY_TARGET, description="risk (loss at the stop) or volatility_target"
    )
    volatility_target: Fraction = Field(
        0.4, gt=0, le=10, description="sizing: yearly volatility of the position, fraction of target"
    )
    volatility_bars: int = Field(30, ge=2, le=1000, description="mean of the squared returns, signal bars")
    risk_per_trade: Fraction = Field(0.01, gt=0, le=1, description="loss at the stop, fraction of target")
    stop: Number | None = Field(2.5, gt=0, le=50, description="stop in every phase, ATRs; null: by phase")
    target: NumberOrNone | None = Field(
        0.0, ge=0, le=50, description="target in every phase, ATRs; none: no target; null: by phase"
    )
    sideways_stop: Number = Field(0.7, gt=0, le=50, description="stop in a sideways phase, ATRs")
    sideways_target: Number = Field(1.2, gt=0, le=50, description="target in a sideways phase, ATRs")
    weak_stop: Number = Field(1.0, gt=0, le=50, description="stop in a weak trend, ATRs")
    weak_target: Number = Field(1.8, gt=0, le=50, description="target in a weak trend, ATRs")
    strong_stop: Number = Field(1.0, gt=0, le=50, description="stop in a strong trend, ATRs")
    strong_target: Number = Field(2.5, gt=0, le=50, description="target in a strong trend, ATRs")
    partial_at: FractionOrNone = Field(
        0.0, ge=0, lt=1, description="way to the target where half is closed, fraction; none: nowhere"
    )
    break_even_at: NumberOrNone = Field(
        0.0, ge=0, le=50, description="profit that moves the stop to break-even, ATRs; none: never"
    )
    trail_from: Number = Field(1.5, ge=0, le=50, description="profit from which the stop trails, ATRs")
    trail_distance: NumberOrNone = Field(
        0.0, ge=0, le=50, description="distance of the trailing stop, ATRs; none: it does not trail"
    )
    exit: TrendExit = Field(TrendExit.CHANNEL, description="atr, or channel: also leave at a close beyond the channel")
    exit_channel_bars: int = Field(15, ge=2, le=LONGEST_CHANNEL, description="channel whose far side ends it, bars")
    max_days: Number = Field(0.0, ge=0, le=10_000, description="time after which a trade is left, days; 0: none")

    @classmethod
    def presets(cls) -> dict[str, dict[str, Any]]:
        """Classic: the defaults of version 0.1. Wide: room, and no target. Channel: break-out of 20 days, long."""
        classic: dict[str, Any] = {
            "timeframe": "1h",
            "warmup_bars": 200,
            "min_stop_costs": 0.0,
            "entries": list(TrendEntry),
            "range_bars": 20,
            "breakout_volume": 1.5,
            "trend_confirmation_bars": 3,
            "sizing": TrendSizing.RISK,
            "stop": None,
            "target": None,
            "partial_at": 0.7,
            "break_even_at": 1.0,
            "trail_distance": 0.5,
            "exit": TrendExit.ATR,
            "exit_channel_bars": 10,
        }
        wide = {"entries": [TrendEntry.BREAKOUT], "target": 0.0, "partial_at": 0.0, "break_even_at": 0.0}
        return {
            "classic": classic,
            "wide": {
                **classic,
                **wide,
                "timeframe": "4h",
                "stop": 2.5,
                "trail_distance": 3.0,
                "trail_from": 0.0,
                "min_stop_costs": 8.0,
            },
            "channel": {
                "timeframe": "1d",
                "direction": TrendDirection.LONG,
                "range_bars": 20,
                "exit_channel_bars": 10,
            },
        }

    @model_validator(mode="before")
    @classmethod
    def _phases_are_meant(cls, values: Any) -> Any:
        """Take a stop or target by phase, or a partial on the way to one, for a trade that ends by phase."""
        if not isinstance(values, dict):
            return values
        by_phase = {"stop": PHASE_STOPS, "target": (*PHASE_TARGETS, "partial_at")}
        meant = {name: None for name, of in by_phase.items() if any(_or_none(values.get(one)) for one in of)}
        return {**meant, **values}

    @model_validator(mode="after")
    def _partial_has_a_way(self) -> Self:
        if self.target == 0 and self.partial_at > 0:
            raise ValueError(
                f"partial_at ({self.partial_at:g}) is a share of the way to the target and target is none; set "
                "partial_at: none, or give a target"
            )
        return self


STATE = np.dtype(
    [
        ("fast", EMA),
        ("slow", EMA),
        ("rsi", RSI),
        ("atr", ATR),
        ("highs", LONG_RING),
        ("lows", LONG_RING),
        ("volumes", LONG_RING),
        ("gate", "i8"),  # directions that `when` lets in, as bot/gate.py has them
        ("variance", EMA),  # of the signal bars' returns
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
        ("target_units", "f8"),  # 0: no target
        ("channel", "f8"),  # far side of the channel at the signal, quote currency; 0: none
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
    if state.atr.count > 0:
        moved = bar.close / state.atr.previous - 1.0
        ema_update(state.variance, moved * moved, params.volatility_bars)
    ema_update(state.fast, bar.close, params.fast_period)
    ema_update(state.slow, bar.close, params.slow_period)
    rsi_update(state.rsi, bar.close, 14)
    atr_update(state.atr, bar.high, bar.low, bar.close, 14)
    state.above = state.above + 1 if bar.close > state.slow.value else 0
    state.below = state.below + 1 if bar.close < state.slow.value else 0
    limit = params.max_atr * np.sqrt(params.timeframe / HOUR)
    calm = 0.0 < state.atr.value <= limit * bar.close
    if pair.may_enter and calm and pair.ledger.position == 0 and not slots[ENTRY].active:
        _look_for_entry(pair, params, state, slots, bar, before)
    elif pair.ledger.position != 0 and state.in_trade and _is_over(pair, params, state, bar):
        _exit(pair, state, slots)
    ring_push(state.highs, bar.high)
    ring_push(state.lows, bar.low)
    ring_push(state.volumes, bar.volume)


@kernel
def _is_over(pair: Record, params: Record, state: Record, bar: Record) -> bool:
    """Whether a trade ends at this close: beyond its channel, or too old."""
    if params.max_days > 0.0 and pair.time - state.entered_at >= whole_ms(params.max_days, DAY):
        return True
    side = _far_side(params, state, state.direction)
    return side > 0.0 and (bar.close - side) * state.direction < 0.0


@kernel
def _far_side(params: Record, state: Record, direction: int) -> float:
    """Lowest low (short: highest high) of the bars before this one, quote currency; 0 without a channel."""
    if params.exit != CHANNEL or state.highs.count < params.exit_channel_bars:
        return 0.0
    if direction > 0:
        return ring_lowest(state.lows, params.exit_channel_bars)
    return ring_highest(state.highs, params.exit_channel_bars)


@kernel
def _exit(pair: Record, state: Record, slots: Record) -> None:
    """Set an order to leave the position at the market; the stop rests until it is flat."""
    gained = (pair.price - state.entry) * state.direction > 0.0
    signal = Signal.EXIT_TP if gained else Signal.EXIT_SL
    lots = abs(pair.ledger.position)
    set_order(slots, EXIT, -state.direction, OrderKind.MARKET, 0, lots, signal, WHOLE_POSITION)


@kernel
def _look_for_entry(pair: Record, params: Record, state: Record, slots: Record, bar: Record, rsi_before: float) -> None:
    divergence = abs(state.fast.value - state.slow.value) / state.slow.value
    sideways = divergence < params.sideways
    for direction in (1, -1):
        if direction < 0 and (params.direction == LONG or not pair.instrument.linear):
            continue
        if direction > 0 and params.direction == SHORT and pair.instrument.linear:
            continue
        if not allows(state.gate, direction):
            continue
        kind = _kind_of_entry(params, state, bar, rsi_before, direction, sideways)
        if kind >= 0:
            _choose_distances(params, state, direction, sideways, divergence >= params.strong)
            _enter(pair, params, state, slots, kind)
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
    if params.entries & BREAK_OUTS and confirmed and outside and loud and state.highs.count >= params.range_bars:
        return Kind.BREAK_OUT
    with_trend = (state.fast.value - state.slow.value) * direction > 0.0
    back = (bar.close - state.fast.value) * direction > 0.0 and (bar.close - bar.open) * direction > 0.0
    if params.entries & PULL_BACKS and not sideways and confirmed and with_trend and touched and back:
        return Kind.PULL_BACK
    if params.entries & REVERSALS and sideways and left and state.rsi.count > 14:
        return Kind.REVERSAL
    return -1


@kernel
def _choose_distances(params: Record, state: Record, direction: int, sideways: bool, strong: bool) -> None:
    """Choose the exits of a trade that is to be entered, by its phase where nothing else is said."""
    stop, target = params.weak_stop, params.weak_target
    if sideways:
        stop, target = params.sideways_stop, params.sideways_target
    elif strong:
        stop, target = params.strong_stop, params.strong_target
    state.direction, state.unit = direction, state.atr.value
    state.stop_units = stop if np.isnan(params.stop) else params.stop
    state.target_units = target if np.isnan(params.target) else params.target
    state.channel = _far_side(params, state, direction)


@kernel
def _enter(pair: Record, params: Record, state: Record, slots: Record, kind: int) -> None:
    """Set the entry, sized by the loss at its stop or by what it moves in a year."""
    direction, price = state.direction, pair.price
    distance, way = state.stop_units * state.unit, state.target_units * state.unit
    if state.channel > 0.0:
        distance = max(distance, (price - state.channel) * direction)
    if price - direction * distance <= 0.0 or price + direction * way <= 0.0:
        return
    target = way / price if way > 0.0 else np.inf
    if not entry_pays(pair, params, OrderKind.MARKET, target, OrderKind.LIMIT, distance / price):
        return
    notional = min(affordable(pair), _notional(pair, params, state, distance))
    lots = lots_for(pair, notional, price)
    slot = enter(pair, slots, ENTRY, direction, OrderKind.MARKET, 0, lots, WHOLE_POSITION)
    slot.entry = kind
    slot.stop = order_ticks(pair, -direction, price - direction * distance, True)
    state.in_trade = False
    state.result_before = pair.ledger.realised - pair.ledger.fees


@kernel
def _notional(pair: Record, params: Record, state: Record, distance: float) -> float:
    """Notional that the sizing asks for with a stop `distance` away, both quote currency."""
    if params.sizing == VOLATILITY_TARGET and state.variance.count < params.volatility_bars:
        return 0.0  # too few returns to know it by
    if params.sizing == VOLATILITY_TARGET:
        yearly = np.sqrt(state.variance.value * (YEAR / params.timeframe))
        return pair.target * params.volatility_target / yearly if yearly > 0.0 else 0.0
    risk = params.risk_per_trade * pair.target * (0.5 if state.losses >= 3 else 1.0)
    return risk * pair.price / distance


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
    stop = entry - direction * state.stop_units * unit
    if state.channel > 0.0:
        stop = min(stop, state.channel) if direction > 0 else max(stop, state.channel)
    state.stop = order_ticks(pair, -direction, stop, True)
    state.target = state.partial = 0
    if state.target_units > 0.0:
        state.target = order_ticks(pair, -direction, entry + direction * state.target_units * unit, False)
    if state.target_units > 0.0 and params.partial_at > 0.0:
        state.partial = order_ticks(
            pair, -direction, entry + direction * params.partial_at * state.target_units * unit, False
        )


@kernel
def _set_exit_orders(pair: Record, state: Record, slots: Record) -> None:
    lots, direction = abs(pair.ledger.position), state.direction
    half = 0
    if not state.partial_done and state.partial > 0:
        filled = state.entered_lots - lots
        half = whole_down(state.entered_lots / 2.0) - filled
        if lots - half < pair.instrument.min_quantity or too_small(pair, half, pair.price):
            half = 0
    half = max(min(half, lots), 0)
    set_order(slots, STOP, -direction, OrderKind.STOP, state.stop, lots, _stop_signal(pair, state), WHOLE_POSITION)
    set_order(slots, TARGET, -direction, OrderKind.LIMIT, state.target, lots - half, Signal.EXIT_TP, WHOLE_POSITION)
    set_order(slots, PARTIAL, -direction, OrderKind.LIMIT, state.partial, half, Signal.EXIT_TP, WHOLE_POSITION)
    closing = slots[EXIT]
    if closing.active:
        set_order(slots, EXIT, -direction, OrderKind.MARKET, 0, lots, closing.signal, WHOLE_POSITION)


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
    if params.break_even_at > 0.0 and profit >= params.break_even_at * state.unit:
        even = state.entry * (1.0 + direction * 2.0 * pair.instrument.taker_fee)
        stop = tighter(stop, order_ticks(pair, -direction, even, True), direction)
    if params.trail_distance > 0.0 and profit >= params.trail_from * state.unit:
        trail = state.best - direction * params.trail_distance * state.unit
        stop = tighter(stop, order_ticks(pair, -direction, trail, True), direction)
    if stop != state.stop:
        state.stop = stop
        _set_exit_orders(pair, state, slots)


@kernel
def _watch(pair: Record, params: Record, state: Record) -> None:
    """Ask for base bars that make a new best price beyond the next milestone."""
    watch_nothing(pair)
    if pair.ledger.position == 0 or not state.in_trade:
        return
    direction, best = state.direction, (state.best - state.entry) * state.direction
    milestone = np.inf
    if params.trail_distance > 0.0:
        milestone = max(params.trail_from * state.unit, best)
    if params.break_even_at > 0.0 and best < params.break_even_at * state.unit:
        milestone = min(milestone, params.break_even_at * state.unit)
    if direction > 0:
        pair.watch_above = state.entry + milestone
    else:
        pair.watch_below = state.entry - milestone


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
    """Count the orders: entry, stop, target, partial, and the exit at the market."""
    return 5


def roles(count: int) -> tuple[str, ...]:
    """Name the slots of a table of `count`: the first five are used; one of an older version may have four."""
    own = ("entry", "stop", "target", "partial", "leave")
    return (*own, *(f"spare/{k}" for k in range(len(own), count)))[:count]


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
