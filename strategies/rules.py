"""Rules: enters and exits, at the market or by TWAP, by conditions on indicators written as configuration.

The conditions are combined to one column, computed by the driver; the kernel reads LONG, SHORT or nothing of it at each
signal bar. It keeps its own accounts: equity, safe (profit that is never used again) and available. A reversal leaves
first and opens when it has left. What they are is docs/rules.md.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from bot.candles import bar_name
from bot.conditions import CONFLICT, WhenInput, WhenParameters
from bot.costs import CostParameters, check_distance, round_trip_of
from bot.errors import Misconfigured
from bot.instrument import Instrument
from bot.kernel import Record, kernel
from bot.order import WHOLE_POSITION, OrderKind, Signal, clear_order, clear_orders, is_exit, set_order
from bot.parameters import Fraction, Number
from bot.rollup import bucket_start
from bot.strategy import (
    Event,
    Strategy,
    average_entry,
    carried,
    enter,
    lots_for,
    order_ticks,
    watch_everything,
    watch_nothing,
)
from bot.times import MINUTE
from bot.twap import TWAP, twap_end, twap_start, twap_step

EXIT, STOP, TARGET, ENTRY = range(4)


class RulesDirection(StrEnum):
    """What LONG and SHORT may do: open, or only close what is open."""

    LONG_ONLY = "long_only"
    SHORT_ONLY = "short_only"
    LONG_SHORT = "long_short"


class Sizing(StrEnum):
    """How much of the money an entry uses."""

    ALL_IN = "all_in"  # all that is available
    FIXED_QUOTE = "fixed_quote"  # `quote`, each time
    COMPOUND = "compound"  # `quote` and all that was won or lost since
    COMPOUND_PROFIT_LOCK = "compound_profit_lock"  # the same without the locked share of every profit


class StopTrigger(StrEnum):
    """What sets off stop and target: the close of a signal bar, or any price."""

    CLOSE = "close"
    INTRABAR = "intrabar"


class ExecutionAlgorithm(StrEnum):
    """How an order is traded: at once, or in slices over a time."""

    MARKET = "market"
    TWAP = "twap"


LONG_ONLY = list(RulesDirection).index(RulesDirection.LONG_ONLY)
SHORT_ONLY = list(RulesDirection).index(RulesDirection.SHORT_ONLY)
FIXED_QUOTE = list(Sizing).index(Sizing.FIXED_QUOTE)
COMPOUND = list(Sizing).index(Sizing.COMPOUND)
PROFIT_LOCK = list(Sizing).index(Sizing.COMPOUND_PROFIT_LOCK)
AT_CLOSE = list(StopTrigger).index(StopTrigger.CLOSE)
BY_TWAP = list(ExecutionAlgorithm).index(ExecutionAlgorithm.TWAP)


class RulesParameters(WhenParameters, CostParameters):
    """Everything that rules can be told."""

    section = "rules"
    gates = False

    warmup_bars: int = Field(0, ge=0, le=100_000, description="signal bars seen before the first entry, bars")
    direction: RulesDirection = Field(RulesDirection.LONG_ONLY, description="long_only, short_only or long_short")
    sizing: Sizing = Field(
        Sizing.ALL_IN, description="all_in, fixed_quote, compound or compound_profit_lock: money of an entry"
    )
    quote: Number | None = Field(None, gt=0, le=1e12, description="first entry's money, the capital if left out, quote")
    safe_profit_percent: Number = Field(50.0, ge=0, le=100, description="compound_profit_lock: locked, % of a profit")
    reserve: Fraction = Field(0.002, ge=0, lt=1, description="kept for the price to move until the fill, fraction")
    stop: Fraction | None = Field(None, gt=0, lt=1, description="stop from the average entry, fraction; or none")
    target: Fraction | None = Field(None, gt=0, le=100, description="target from the average entry, fraction; or none")
    min_target_costs: Number = Field(1.5, ge=0, le=1000, description="least distance to the target, round-trip costs")
    min_stop_costs: Number = Field(1.5, ge=0, le=1000, description="least distance to the stop, round-trip costs")
    trigger: StopTrigger = Field(StopTrigger.INTRABAR, description="close of a signal bar, or intrabar: resting orders")

    enter_by: ExecutionAlgorithm = Field(ExecutionAlgorithm.MARKET, description="market, or twap: entries in slices")
    leave_by: ExecutionAlgorithm = Field(
        ExecutionAlgorithm.MARKET, description="market, or twap: exits by a signal in slices"
    )
    twap_slices: int = Field(5, ge=2, le=100, description="slices of a TWAP")
    twap_minutes: int = Field(60, ge=2, le=10_080, description="duration of a TWAP, minutes")
    twap_limit: Fraction | None = Field(
        None, ge=0, lt=1, description="worst price of a TWAP, from the price at its start, fraction; or none"
    )

    @model_validator(mode="after")
    def _twap_works(self) -> Self:
        if not self.slices:
            for name in ("twap_slices", "twap_minutes", "twap_limit"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(
                        f"{name} is {getattr(self, name):g} but nothing goes by TWAP; set enter_by or leave_by to twap"
                    )
        elif self.twap_minutes < self.twap_slices:
            raise ValueError(
                f"twap_minutes is {self.twap_minutes}, too short for {self.twap_slices} slices a minute apart; "
                "raise it or lower twap_slices"
            )
        return self

    @property
    def slices(self) -> int:
        """Slices of an entry or exit that goes by TWAP; 0 where none does."""
        by_twap = ExecutionAlgorithm.TWAP in (self.enter_by, self.leave_by)
        return self.twap_slices if by_twap else 0

    @model_validator(mode="after")
    def _sizes_and_targets_fit(self) -> Self:
        if self.sizing is Sizing.FIXED_QUOTE and self.quote is None:
            raise ValueError("sizing is fixed_quote but quote is missing; say how much an entry uses")
        if self.direction is RulesDirection.SHORT_ONLY and self.target is not None and self.target >= 1:
            raise ValueError(f"target is {self.target:g}, which no fall can reach; give less than 1")
        return self

    def check_candles(self, bar_ms: int) -> None:
        """Refuse a TWAP whose slices are nearer to each other than base bars of this length (ms)."""
        least = self.slices * bar_ms
        if self.twap_minutes * MINUTE < least:
            raise Misconfigured(
                f"rules.twap_minutes is {self.twap_minutes}, too short for {self.slices} slices of base bars of "
                f"{bar_name(bar_ms)}; give at least {least // MINUTE}, or lower rules.twap_slices."
            )

    @property
    def sells_short(self) -> bool:
        """Whether it may hold less than nothing, which on spot can only be simulated."""
        return self.direction is not RulesDirection.LONG_ONLY

    @property
    def reinvests(self) -> bool:
        """Whether a single strategy sizes by the present equity unless the config says otherwise."""
        return self.sizing is not Sizing.FIXED_QUOTE


STATE = np.dtype(
    [
        ("started", "b1"),
        ("capital", "f8"),  # full target when it began, without what was invested since, quote currency
        ("most", "f8"),  # target at the last bar that said LONG or SHORT: the most that an entry uses
        ("result_before", "f8"),  # realised - fees + funding of the ledger when it began
        ("traded", "f8"),  # the same when the present trade began
        ("safe", "f8"),  # locked profit, quote currency
        ("turn", "i8"),  # direction to open as soon as the exit has filled; 0 for none
        ("stop", "i8"),  # ticks; 0 for none
        ("target", "i8"),
        ("conflicting_signals", "i8"),  # bars on which LONG and SHORT held at once
        ("plan", TWAP),  # of the entry or exit that goes by TWAP
    ],
    align=True,
)


@kernel
def decide(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """One event of the trade's life."""
    if event.kind == Event.SIGNAL:
        _on_signal(pair, params, state, slots, event.inputs.signal)
    elif event.kind == Event.FILL:
        _on_fill(pair, params, state, slots, event.execution.slot)
    elif event.kind == Event.BASE:
        if state.plan.total > 0:
            _follow_plan(pair, params, state, slots)
        if pair.ledger.position != 0 and params.trigger == AT_CLOSE:
            _on_close(pair, params, state, slots, event.bar)
    elif event.kind == Event.RESET:
        clear_orders(slots)
        state.turn = state.plan.total = 0
    _watch(pair, params, state)


@kernel
def _result(pair: Record) -> float:
    """Money won since the ledger began, without what an open position is worth; quote currency."""
    return pair.ledger.realised - pair.ledger.fees + pair.ledger.funding


@kernel
def _on_signal(pair: Record, params: Record, state: Record, slots: Record, signal: float) -> None:
    if not state.started and pair.target > 0.0:  # while a bot only warms up there is none
        state.started, state.capital = True, pair.target / _multiplier(pair) - pair.invested
        state.result_before = state.traded = _result(pair)
    if signal == CONFLICT:
        state.conflicting_signals += 1
    if signal != 1.0 and signal != -1.0:  # noqa: PLR1714, kernels compare numbers
        return
    state.most = pair.target
    said, position = int(signal), pair.ledger.position
    opens = opens_by(params, said)
    if state.plan.side * said < 0:
        _end_entry(state, slots)
    if position == 0 and opens:
        _open(pair, params, state, slots, said)
    elif position * said < 0:
        state.turn = said if opens else 0
        _exit_by_signal(pair, params, state, slots)
    elif position * said > 0 and (_exits_by_plan(state) or _rests(slots[EXIT])):
        _stay(pair, params, state, slots)


@kernel
def opens_by(params: Record, direction: int) -> bool:
    """Whether a signal of this direction may open a position; if not it only closes the other one."""
    return bool(params.direction != SHORT_ONLY if direction > 0 else params.direction != LONG_ONLY)


@kernel
def _rests(slot: Record) -> bool:
    """Whether a slot holds a limit: of exits, one that was left behind by a TWAP."""
    return slot.active and slot.kind == OrderKind.LIMIT


@kernel
def _exits_by_plan(state: Record) -> bool:
    """Whether a TWAP exits."""
    return state.plan.total > 0 and is_exit(state.plan.signal)


@kernel
def _end_entry(state: Record, slots: Record) -> None:
    """End an entry by TWAP, if one runs."""
    if not is_exit(state.plan.signal):
        twap_end(slots, state.plan, ENTRY)


@kernel
def _stay(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Keep what a TWAP has not left yet: the signal says the position's direction again."""
    state.turn = state.plan.total = 0
    clear_order(slots, EXIT)
    _set_exits(pair, params, state, slots)


@kernel
def _follow_plan(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Hand over the slice that has come due, and leave to the target what no exit takes."""
    twap_step(pair, slots, state.plan, EXIT if is_exit(state.plan.signal) else ENTRY)
    if pair.ledger.position != 0:
        _set_exits(pair, params, state, slots)


@kernel
def _twap(pair: Record, params: Record, state: Record, slots: Record, side: int, lots: int, signal: int) -> None:
    """Start an entry or exit by TWAP."""
    slot = EXIT if is_exit(signal) else ENTRY
    duration, limit = params.twap_minutes * MINUTE, _worst_price(pair, params, side)
    twap_start(pair, slots, state.plan, slot, side, lots, params.twap_slices, duration, limit, signal)


@kernel
def _worst_price(pair: Record, params: Record, side: int) -> int:
    """Limit price of a TWAP that starts now, ticks; 0 for none."""
    if not params.twap_limit >= 0.0:  # NaN where there is none
        return 0
    return max(order_ticks(pair, side, pair.price * (1.0 + side * params.twap_limit), False), 1)


@kernel
def _exit_by_signal(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Exit at the market or by TWAP; one that runs goes on, and a limit that it left behind is set anew."""
    position = pair.ledger.position
    if params.leave_by != BY_TWAP:
        _exit(pair, slots)
    elif state.plan.total == 0 and (not slots[EXIT].active or _rests(slots[EXIT])):
        _twap(pair, params, state, slots, -1 if position > 0 else 1, abs(position), _exit_signal(pair))
        _set_exits(pair, params, state, slots)


@kernel
def _exit_signal(pair: Record) -> int:
    """Signal of an exit at the present price: with profit or without."""
    gained = (pair.price - average_entry(pair)) * pair.ledger.position > 0.0
    return Signal.EXIT_TP if gained else Signal.EXIT_SL


@kernel
def _exit(pair: Record, slots: Record) -> None:
    """Exit at the market, with profit or without."""
    position = pair.ledger.position
    side, signal = -1 if position > 0 else 1, _exit_signal(pair)
    set_order(slots, EXIT, side, OrderKind.MARKET, 0, abs(position), signal, WHOLE_POSITION)


@kernel
def _open(pair: Record, params: Record, state: Record, slots: Record, direction: int) -> None:
    """Enter with the money that the sizing gives, at the market or by TWAP."""
    if not pair.may_enter or slots[ENTRY].active or state.plan.total > 0:
        return
    by_twap, price = params.enter_by == BY_TWAP, pair.price
    if by_twap:
        price = max(price, _worst_price(pair, params, direction) * pair.instrument.tick_size)
    lots = entry_lots(pair, params, state, price)
    if by_twap:
        _twap(pair, params, state, slots, direction, lots, Signal.ENTRY)
    else:
        enter(pair, slots, ENTRY, direction, OrderKind.MARKET, 0, lots, WHOLE_POSITION)
    state.traded = _result(pair)


@kernel
def entry_lots(pair: Record, params: Record, state: Record, price: float) -> int:
    """Whole lots of an entry at `price` (quote currency) with the money that the sizing gives."""
    money = min(_money(pair, params, state) * _multiplier(pair), state.most) * (1.0 - params.reserve)
    return lots_for(pair, max(carried(pair, money), 0.0), price)


@kernel
def _multiplier(pair: Record) -> float:
    """Factor on sizes by the modes of the account."""
    return pair.multiplier if pair.multiplier > 0.0 else 1.0


@kernel
def _money(pair: Record, params: Record, state: Record) -> float:
    """Money of an entry by the accounts: equity, of which safe is locked, and the rest available; quote currency."""
    won = _result(pair) - state.result_before
    capital = state.capital + pair.invested
    available = capital + won - state.safe
    quote = capital if np.isnan(params.quote) else params.quote
    if params.sizing == FIXED_QUOTE:
        return min(quote, available)
    if params.sizing == COMPOUND or params.sizing == PROFIT_LOCK:  # noqa: PLR1714, kernels compare numbers
        return min(quote + won - state.safe, available)
    return available


@kernel
def _on_fill(pair: Record, params: Record, state: Record, slots: Record, slot: int) -> None:
    position = pair.ledger.position
    if slot != ENTRY:  # a stop or target is leaving
        _end_entry(state, slots)
    if position != 0:
        _set_exits(pair, params, state, slots)
        return
    clear_orders(slots)
    state.stop = state.target = state.plan.total = 0
    settle_profit(pair, params, state)
    turn, state.turn = state.turn, 0
    if turn != 0:
        _open(pair, params, state, slots, turn)


@kernel
def settle_profit(pair: Record, params: Record, state: Record) -> None:
    """Lock the share of what the trade that has ended won that is never used again."""
    profit = _result(pair) - state.traded
    state.traded = _result(pair)
    if params.sizing == PROFIT_LOCK and profit > 0.0:
        state.safe += profit * params.safe_profit_percent / 100.0


@kernel
def _set_exits(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Find stop and target from the average entry; where any price sets them off they rest."""
    position, average = pair.ledger.position, average_entry(pair)
    direction, lots = 1 if position > 0 else -1, abs(position)
    state.stop = state.target = 0
    if params.stop > 0.0:  # NaN where there is none
        state.stop = max(order_ticks(pair, -direction, average * (1.0 - direction * params.stop), True), 1)
    if params.target > 0.0:
        state.target = order_ticks(pair, -direction, average * (1.0 + direction * params.target), False)
    resting = 0 if params.trigger == AT_CLOSE else lots
    set_order(slots, STOP, -direction, OrderKind.STOP, state.stop, resting, Signal.EXIT_SL, WHOLE_POSITION)
    if _rests(slots[EXIT]):  # the two limits together leave the position, once
        resting = max(resting - slots[EXIT].quantity, 0)
    set_order(slots, TARGET, -direction, OrderKind.LIMIT, state.target, resting, Signal.EXIT_TP, WHOLE_POSITION)
    if slots[EXIT].active and not _rests(slots[EXIT]) and not _exits_by_plan(state):
        _exit(pair, slots)


@kernel
def _on_close(pair: Record, params: Record, state: Record, slots: Record, bar: Record) -> None:
    """At the close of a signal bar: leave at the stop, else at the target."""
    end = bar.ts + pair.bar_ms
    if bucket_start(end, params.timeframe) != end:
        return
    direction, tick = 1 if pair.ledger.position > 0 else -1, pair.instrument.tick_size
    stopped = state.stop > 0 and (bar.close - state.stop * tick) * direction <= 0.0
    reached = state.target > 0 and (bar.close - state.target * tick) * direction >= 0.0
    if stopped or reached:
        _end_entry(state, slots)
        state.plan.total = 0
        _exit(pair, slots)


@kernel
def _watch(pair: Record, params: Record, state: Record) -> None:
    """Ask for base bars only while a TWAP runs, or a close may set off stop or target."""
    watch_nothing(pair)
    if state.plan.total > 0:
        watch_everything(pair)
        return
    if params.trigger != AT_CLOSE or pair.ledger.position == 0:
        return
    tick = pair.instrument.tick_size
    lower, upper = (state.stop, state.target) if pair.ledger.position > 0 else (state.target, state.stop)
    if upper > 0:
        pair.watch_above = upper * tick
    if lower > 0:
        pair.watch_below = lower * tick


def check(parameters: RulesParameters, instrument: Instrument, capital: float, price: float, leverage: float) -> None:
    """Refuse what cannot be placed or would not pay for its costs; raises Misconfigured."""
    least, money = instrument.smallest_order(price), capital if parameters.quote is None else parameters.quote
    if money * leverage < least:
        place = "capital" if parameters.quote is None else "rules.quote"
        raise Misconfigured(f"{place} {money:g} is under the venue's smallest order of {least:.4g}; raise it.")
    if parameters.slices and money * leverage / parameters.slices < least:
        raise Misconfigured(
            f"rules.twap_slices is {parameters.slices}, but a slice of {money * leverage / parameters.slices:.4g} is "
            f"under the venue's smallest order of {least:.4g}; lower it, or raise the capital."
        )
    resting = OrderKind.MARKET if parameters.trigger is StopTrigger.CLOSE else OrderKind.LIMIT
    for name, leave in (("target", resting), ("stop", OrderKind.STOP)):
        distance, multiple = getattr(parameters, name), f"min_{name}_costs"
        if distance is not None:
            costs = round_trip_of(instrument, OrderKind.MARKET, leave, parameters.expected_slippage)
            check_distance(f"rules.{name}", distance, f"rules.{multiple}", getattr(parameters, multiple), costs)


def inputs(parameters: RulesParameters) -> dict[str, WhenInput]:
    """Declare the one column that decides."""
    return {"signal": parameters.combined()}


def slots(_parameters: RulesParameters) -> int:
    """Count the orders: exit, stop, target, entry."""
    return 4


def roles(count: int) -> tuple[str, ...]:
    """Name the slots of a table of `count`: the first four are used."""
    return ("exit", "stop", "target", "entry", *(f"spare/{k}" for k in range(4, count)))


STRATEGY = Strategy(
    name="rules",
    version=1,
    parameters=RulesParameters,
    state=STATE,
    slots=slots,
    decide=decide,
    entries=("signal",),
    check=check,
    inputs=inputs,
    roles=roles,
    counters=("conflicting_signals",),
    heeds="signal",
)
