"""DCA: buy a base order when the evidence agrees, average down on a fixed ladder, leave at a small profit.

One deal at a time: a base order at market, a ladder of resting safety orders, a take profit that follows the
average, a stop that rests at the venue. The loss of the full ladder is known before the deal opens and fits
the risk budget. The rules are section 5 of docs/execution.md.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from bot.costs import CostParameters, check_distance, entry_pays, round_trip_of
from bot.errors import Misconfigured
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
from bot.instrument import Instrument, Market
from bot.kernel import Record, kernel
from bot.order import WHOLE_POSITION, OrderKind, Signal, clear_order, clear_orders, set_order
from bot.parameters import Fraction, Number
from bot.strategy import (
    Event,
    JudgedAs,
    Strategy,
    Variation,
    affordable,
    away,
    enter,
    lots_for,
    watch_nothing,
    whole_ms,
)

MAX_SAFETY_ORDERS = 30
FEW_SAFETY_ORDERS = 3
BARS = 20  # of the Bollinger bands and of the lowest low
WEIGHTS = 9.0  # TREND 3, PRICE 2, INDICATORS 2, RISK 1, TIMING 1


class DcaDirection(StrEnum):
    """Which way a deal bets."""

    LONG = "long"
    SHORT = "short"


SHORT = list(DcaDirection).index(DcaDirection.SHORT)


class DcaParameters(CostParameters):
    """Everything a DCA deal can be told."""

    direction: DcaDirection = Field(DcaDirection.LONG, description="long or short; spot is always long")
    confluence: Fraction = Field(0.6, ge=0, le=1, description="share of the evidence that opens a deal, fraction")
    min_confirmations: int = Field(1, ge=1, le=100, description="signal bars in a row that must agree, bars")
    adx_min: Number = Field(20.0, ge=0, le=100, description="ADX from which a trend counts, points")
    price_zone: Fraction = Field(0.02, ge=0, le=1, description="how near the 20-bar extreme, fraction of price")
    rsi_limit: Number = Field(35.0, ge=0, le=100, description="RSI under which it is oversold, points")
    band_tolerance: Fraction = Field(0.02, ge=0, le=1, description="how near the Bollinger band, fraction")
    volume_ratio: Number = Field(1.2, ge=0, le=100, description="volume of 24 h / daily mean that counts, ratio")
    spike: Fraction = Field(0.03, gt=0, le=1, description="a bar that moves more opens no deal, fraction")
    deal_cooldown_seconds: Number = Field(120.0, ge=0, le=1e8, description="pause after a deal, seconds")
    max_safety_orders: int = Field(5, ge=0, le=MAX_SAFETY_ORDERS, description="safety orders in the ladder")
    safety_ratio: Number = Field(1.0, gt=0, le=100, description="first safety order / base order, ratio")
    step: Fraction = Field(0.015, gt=0, lt=1, description="distance to the first safety order, fraction of price")
    step_multiplier: Number = Field(1.0, gt=0, le=10, description="growth of the distance per order, ratio")
    volume_multiplier: Number = Field(1.0, gt=0, le=10, description="growth of the size per order, ratio")
    stop_loss: Fraction = Field(0.10, gt=0, lt=1, description="stop under the base price, fraction")
    take_profit: Fraction = Field(0.015, gt=0, le=10, description="target over the average, fraction")
    trailing: bool = Field(False, description="leave by a trailing stop instead of a fixed target")
    trail_activation: Fraction = Field(0.015, gt=0, le=10, description="profit that arms the trail, fraction")
    trail_distance: Fraction = Field(0.008, gt=0, lt=1, description="trail under the best price, fraction")
    risk_budget: Fraction = Field(0.02, gt=0, le=1, description="loss of the full ladder at its stop, of target")
    min_target_costs: Number = Field(1.5, ge=0, le=1000, description="least distance to the target, round-trip costs")
    min_stop_costs: Number = Field(1.5, ge=0, le=1000, description="least distance to the stop, round-trip costs")

    @classmethod
    def presets(cls) -> dict[str, dict[str, Any]]:
        """Conservative, moderate, aggressive: how little evidence and how deep a ladder."""
        names = ("confluence", "max_safety_orders", "take_profit", "stop_loss", "deal_cooldown_seconds")
        return {
            "conservative": dict(zip(names, (0.7, 3, 0.020, 0.08, 300.0), strict=True)),
            "moderate": dict(zip(names, (0.6, 5, 0.015, 0.10, 120.0), strict=True)),
            "aggressive": dict(zip(names, (0.5, 7, 0.010, 0.12, 60.0), strict=True)),
        }

    @model_validator(mode="after")
    def _ladder_ends_before_its_stop(self) -> Self:
        deepest = sum(self.step * self.step_multiplier**k for k in range(self.max_safety_orders))
        if deepest >= self.stop_loss:
            raise ValueError(
                f"stop_loss ({self.stop_loss:g}) must lie beyond the last safety order ({deepest:g} from the base); "
                "raise it, or lower step, step_multiplier or max_safety_orders"
            )
        return self


STATE = np.dtype(
    [
        ("fast", EMA),
        ("slow", EMA),
        ("rsi", RSI),
        ("adx", ADX),
        ("bands", BOLLINGER),
        ("extremes", RING),
        ("volume", VOLUME),
        ("score", "f8"),
        ("confirmations", "i8"),
        ("in_deal", "b1"),
        ("ladder_laid", "b1"),
        ("armed", "b1"),
        ("unit", "f8"),  # notional of weight 1, quote currency
        ("stop", "i8"),  # ticks
        ("best", "f8"),  # price since armed
        ("last_entry", "i8"),  # ms: opening of the bar of the last entry fill
        ("deal_end", "i8"),  # ms
    ],
    align=True,
)


@kernel
def decide(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """One event of the deal's life."""
    if event.kind == Event.FILL:
        _on_fill(pair, params, state, slots, event.execution)
    elif event.kind == Event.SIGNAL:
        _on_signal(pair, params, state, slots, event.bar)
    elif event.kind == Event.BASE:
        if params.trailing and pair.ledger.position != 0:
            _trail(pair, params, state, slots, event.bar)
    elif event.kind == Event.RESET:
        clear_orders(slots)
        state.in_deal = False
    elif event.kind == Event.REFUSED and event.execution.slot == 0 and pair.ledger.position == 0:
        state.in_deal = False
    _watch(pair, params, state)


@kernel
def _way(pair: Record, params: Record) -> int:
    """Side of the entries, signed."""
    return -1 if params.direction == SHORT and pair.instrument.linear else 1


@kernel
def _on_signal(pair: Record, params: Record, state: Record, slots: Record, bar: Record) -> None:
    direction = _way(pair, params)
    ema_update(state.fast, bar.close, 12)
    ema_update(state.slow, bar.close, 26)
    rsi_update(state.rsi, bar.close, 14)
    adx_update(state.adx, bar.high, bar.low, bar.close, 14, pair.instrument.tick_size)
    bollinger_update(state.bands, bar.close, BARS)
    ring_push(state.extremes, bar.low if direction > 0 else bar.high)
    volume_update(state.volume, bar.ts, bar.volume)
    state.score = _score(params, state, bar.close, direction)
    idle = not state.in_deal and pair.ledger.position == 0
    rested = pair.time >= state.deal_end + whole_ms(params.deal_cooldown_seconds, 1000)
    calm = abs(bar.close / bar.open - 1.0) <= params.spike
    if pair.may_enter and idle and rested and calm and state.score >= params.confluence - 1e-9:
        state.confirmations += 1
    else:
        state.confirmations = 0
    if state.confirmations >= params.min_confirmations:
        state.confirmations = 0
        _open(pair, params, state, slots, direction)


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
def _open(pair: Record, params: Record, state: Record, slots: Record, direction: int) -> None:
    """Size the ladder so that its loss down to the stop fits the budget, and set the base order."""
    reference = pair.price
    stop = reference * (1.0 - direction * params.stop_loss)
    weights, loss_share = 1.0, direction * (reference - stop) / reference
    for order in range(1, params.max_safety_orders + 1):
        price, weight = _rung(params, reference, direction, order)
        weights += weight
        loss_share += weight * direction * (price - stop) / price
    state.unit = min(affordable(pair) / weights, params.risk_budget * pair.target / loss_share)
    lots = lots_for(pair, state.unit, reference)
    if lots == 0 or not _pays(pair, params):
        return
    slot = enter(pair, slots, 0, direction, OrderKind.MARKET, 0, lots, WHOLE_POSITION)
    slot.stop = away(pair, -direction, stop, True)
    state.in_deal = True
    state.ladder_laid = False
    state.armed = False


@kernel
def _pays(pair: Record, params: Record) -> bool:
    """Whether target and stop lie far enough for what a deal costs."""
    if params.trailing:
        least = (1.0 + params.trail_activation) * (1.0 - params.trail_distance) - 1.0
        return entry_pays(pair, params, OrderKind.MARKET, least, OrderKind.STOP, params.stop_loss)
    return entry_pays(pair, params, OrderKind.MARKET, params.take_profit, OrderKind.LIMIT, params.stop_loss)


@kernel
def _rung(params: Record, reference: float, direction: int, order: int) -> tuple[float, float]:
    """Price and weight of safety order `order`, counted from 1."""
    distance, step = 0.0, params.step
    weight = params.safety_ratio
    for _ in range(order - 1):
        distance += step
        step *= params.step_multiplier
        weight *= params.volume_multiplier
    return reference * (1.0 - direction * (distance + step)), weight


@kernel
def _on_fill(pair: Record, params: Record, state: Record, slots: Record, fill: Record) -> None:
    direction = _way(pair, params)
    if pair.ledger.position == 0:
        clear_orders(slots)
        state.in_deal = False
        state.deal_end = fill.ts
        return
    if fill.signal == Signal.ENTRY:
        state.last_entry = fill.ts
        if not state.ladder_laid:
            _lay_ladder(pair, params, state, slots, fill.price * pair.instrument.tick_size, direction)
    else:
        for index in range(len(slots) - 2):
            clear_order(slots, index)
    _set_exits(pair, params, state, slots, direction)


@kernel
def _lay_ladder(pair: Record, params: Record, state: Record, slots: Record, base: float, direction: int) -> None:
    state.ladder_laid = True
    state.stop = away(pair, -direction, base * (1.0 - direction * params.stop_loss), True)
    for order in range(1, params.max_safety_orders + 1):
        price, weight = _rung(params, base, direction, order)
        ticks = away(pair, direction, price, False)
        lots = lots_for(pair, state.unit * weight, ticks * pair.instrument.tick_size)
        slot = enter(pair, slots, order, direction, OrderKind.LIMIT, ticks, lots, WHOLE_POSITION)
        slot.stop = state.stop
        slot.entry = 1


@kernel
def _average(pair: Record) -> float:
    """Average price of the position, quote currency."""
    return pair.ledger.cost / (pair.ledger.position * pair.instrument.lot_size)


@kernel
def _set_exits(pair: Record, params: Record, state: Record, slots: Record, direction: int) -> None:
    lots = abs(pair.ledger.position)
    take, stop = len(slots) - 2, len(slots) - 1
    if not params.trailing:
        price = away(pair, -direction, _average(pair) * (1.0 + direction * params.take_profit), False)
        set_order(slots, take, -direction, OrderKind.LIMIT, price, lots, Signal.EXIT_TP, WHOLE_POSITION)
    beyond = (state.stop * pair.instrument.tick_size - _average(pair)) * direction > 0.0
    signal = Signal.EXIT_TP if state.armed and beyond else Signal.EXIT_SL
    set_order(slots, stop, -direction, OrderKind.STOP, state.stop, lots, signal, WHOLE_POSITION)


@kernel
def _trail(pair: Record, params: Record, state: Record, slots: Record, bar: Record) -> None:
    """Follow the best price; only bars that opened after the last entry's can tell what came after it."""
    if bar.ts <= state.last_entry:
        return
    direction = _way(pair, params)
    best = bar.high if direction > 0 else bar.low
    if state.armed:
        state.best = max(state.best, best) if direction > 0 else min(state.best, best)
    else:
        activation = _average(pair) * (1.0 + direction * params.trail_activation)
        if (best - activation) * direction < 0.0:
            return
        state.armed = True
        state.best = best
    trail = away(pair, -direction, state.best * (1.0 - direction * params.trail_distance), True)
    state.stop = max(state.stop, trail) if direction > 0 else min(state.stop, trail)
    _follow_stop(state, slots, direction)
    _set_exits(pair, params, state, slots, direction)


@kernel
def _follow_stop(state: Record, slots: Record, direction: int) -> None:
    """Give safety orders the stop as it is now; those beyond it could fill only after it, and are withdrawn."""
    for index in range(1, len(slots) - 2):
        slot = slots[index]
        if (slot.price - state.stop) * direction <= 0:
            clear_order(slots, index)
        slot.stop = state.stop


@kernel
def _watch(pair: Record, params: Record, state: Record) -> None:
    """Ask for the base bars that could arm or move the trail."""
    watch_nothing(pair)
    if not params.trailing or pair.ledger.position == 0:
        return
    direction = _way(pair, params)
    level = state.best if state.armed else _average(pair) * (1.0 + direction * params.trail_activation)
    if direction > 0:
        pair.watch_above = level
    else:
        pair.watch_below = level


def check(parameters: DcaParameters, instrument: Instrument, capital: float, price: float, leverage: float) -> None:
    """Refuse a ladder whose base order the venue would not take; raises Misconfigured."""
    if parameters.direction is DcaDirection.SHORT and instrument.market is Market.SPOT:
        raise Misconfigured("dca.direction is short but spot cannot be sold short; use long, or market: linear.")
    weights = 1.0 + sum(
        parameters.safety_ratio * parameters.volume_multiplier**k for k in range(parameters.max_safety_orders)
    )
    least = instrument.smallest_order(price)
    if capital * leverage / weights < least:
        raise Misconfigured(
            f"capital {capital:g} gives a base order of {capital * leverage / weights:.4g}, under the venue's minimum "
            f"of {least:.4g}; raise the capital or lower dca.max_safety_orders."
        )
    _check_costs(parameters, instrument)


def _check_costs(parameters: DcaParameters, instrument: Instrument) -> None:
    place, target, leave = "dca.take_profit", parameters.take_profit, OrderKind.LIMIT
    if parameters.trailing:
        place = "dca.trail_activation less dca.trail_distance"
        target = (1.0 + parameters.trail_activation) * (1.0 - parameters.trail_distance) - 1.0
        leave = OrderKind.STOP
    for where, distance, multiple, out in (
        (place, target, "min_target_costs", leave),
        ("dca.stop_loss", parameters.stop_loss, "min_stop_costs", OrderKind.STOP),
    ):
        costs = round_trip_of(instrument, OrderKind.MARKET, out, parameters.expected_slippage)
        check_distance(where, distance, f"dca.{multiple}", getattr(parameters, multiple), costs)


def slots(parameters: DcaParameters) -> int:
    """Count the orders: base order, ladder, take profit, stop."""
    return parameters.max_safety_orders + 3


def _few(parameters: DcaParameters) -> DcaParameters:
    """Keep few safety orders."""
    return parameters.changed(max_safety_orders=min(parameters.max_safety_orders, FEW_SAFETY_ORDERS))


def roles(count: int) -> tuple[str, ...]:
    """Name the slots of a table of `count`: the exits are its last two."""
    return ("base", *(f"safety/{k}" for k in range(1, count - 2)), "take", "stop")


STRATEGY = Strategy(
    name="dca",
    version=1,
    parameters=DcaParameters,
    state=STATE,
    slots=slots,
    decide=decide,
    entries=("base", "safety"),
    check=check,
    judged_as=JudgedAs.LADDER,
    variations=(Variation("cautious", _few, 0.5), Variation("accumulate", _few, 0.5)),
    own_stop=True,
    roles=roles,
)
