"""The pair's desired orders: its own, the filter's verdict on new entries, and which of them may rest."""

from __future__ import annotations

import numpy as np

from bot.kernel import Record, kernel, template
from bot.order import WHOLE_POSITION, OrderKind, Signal, clear_order, set_order
from bot.strategy import Event, JudgedAs, average_entry, guard_price, order_ticks, protect, too_small, whole_down
from coordinator.gate import ASKS_AT_MARKET, ASKS_NOT, ASKS_RESTING, drop_asking, pass_entries, suspend_entries
from coordinator.lifecycle import exit_at_market
from coordinator.pair_state import OWN, may_open, may_rest, record_decision, strategy_slots, tell, waits_for_place
from coordinator.phase import Phase
from coordinator.vocabulary import NO_STRATEGY, DecisionKind
from filters import smc as filter_
from filters.smc import Verdict


@kernel
def set_own(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """The pair's own orders: stop and target of a transition or a hold, and the closing order."""
    position, first = pair.ledger.position, len(slots) - OWN
    direction = 1 if position > 0 else -1
    lots = abs(position)
    draining = state.phase == Phase.DRAINING or state.phase == Phase.CLOSING  # noqa: PLR1714
    stop = state.drain_stop if draining or state.phase == Phase.HALTED else 0
    if position == 0:
        state.guard_stop = 0
    elif stop <= 0 and state.family == NO_STRATEGY:
        stop = _guard(pair, params, state, direction)
    if stop <= 0 and state.family != NO_STRATEGY and params.own_stop[state.family] == 0:
        protect(pair, slots, first, params.protective_stop)
    else:
        signal = Signal.EXIT_TRANSITION if draining else Signal.EXIT_SL
        set_order(slots, first, -direction, OrderKind.STOP, stop, lots if stop > 0 else 0, signal, WHOLE_POSITION)
    aimed = lots if (draining or state.phase == Phase.HALTED) and state.drain_target > 0 else 0
    set_order(
        slots, first + 1, -direction, OrderKind.LIMIT, state.drain_target, aimed, Signal.EXIT_TRANSITION, WHOLE_POSITION
    )
    if state.phase == Phase.CLOSING:
        exit_at_market(pair, slots, lots)
    elif slots[first + 2].active and (lots == 0 or slots[first + 2].side == direction):
        clear_order(slots, first + 2)


@kernel
def _guard(pair: Record, params: Record, state: Record, direction: int) -> int:
    """Stop of a position that no strategy owns: `protective_stop` from its average, or from the price if that is worse.

    It stands where it was first found until the position is flat or other hands have changed it.
    """
    if state.guard_stop == 0:
        guard = guard_price(pair.ledger.position, average_entry(pair), pair.price, params.protective_stop)
        state.guard_stop = max(order_ticks(pair, -direction, guard, True), 1)
    return state.guard_stop


@template
def let_pass(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Judge new entries by the filter, then let rest what permission, capital and exposure allow."""
    pair.may_enter = may_open(pair, params, state)
    full = waits_for_place(pair, state)
    same = state.rested == may_rest(state) and state.full == full
    if state.gated == slots[0].version and same and not state.waiting:
        return
    state.rested, state.full, state.waiting = may_rest(state), full, False
    _gate(pair, params, state, slots, event)
    state.gated = slots[0].version


@template
def _gate(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Go through the whole table of desired orders."""
    desired_orders = strategy_slots(slots)
    if not state.rested:
        state.entries_notional, state.asks, state.asked = 0.0, False, 0
        dropped = suspend_entries(pair, desired_orders)
        if dropped >= 0:
            _refuse(pair, params, state, slots, event, dropped)
        return
    _drop_late(pair, params, state, desired_orders, event)
    if params.smc.enabled and params.judged_as[state.family] != JudgedAs.RANGE:  # that was judged when it was laid
        _judge_entries(pair, params, state, slots, event)
    directive = state.directive
    target = np.inf if params.fixed_shares else directive.target
    for _ in range(len(desired_orders)):
        refused, state.entries_notional, state.waiting, asks = pass_entries(
            pair, desired_orders, pair.may_enter or params.solo, target, directive.exposure_limit, state.full
        )
        if refused < 0:
            _note_asking(pair, state, asks)
            return
        _refuse(pair, params, state, slots, event, refused)


@template
def _drop_late(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Drop the entries at the market that have asked for a place since before this bar: their moment has passed."""
    if state.asked == 0 or pair.time <= state.asked:
        return
    state.asked = 0
    while True:
        dropped = drop_asking(slots)
        if dropped < 0:
            return
        _record_full(pair, state, slots[dropped].side)
        _refuse(pair, params, state, slots, event, dropped)


@kernel
def _note_asking(pair: Record, state: Record, asks: int) -> None:
    """Remember what asks for a place, and since when it does at the market."""
    if asks == ASKS_RESTING and not state.asks:
        _record_full(pair, state, 0)
    state.asks = asks != ASKS_NOT
    if asks != ASKS_AT_MARKET:
        state.asked = 0
    elif state.asked == 0:
        state.asked = pair.time


@kernel
def _record_full(pair: Record, state: Record, side: int) -> None:
    entry = record_decision(pair, state, DecisionKind.FULL)
    entry.a, entry.c, entry.x = side, state.family, pair.price


@template
def _refuse(pair: Record, params: Record, state: Record, slots: Record, event: Record, index: int) -> None:
    """Tell the strategy that an entry was refused; it is cancelled already."""
    event.execution.slot = index
    event.execution.generation = slots[index].generation
    tell(pair, params, state, slots, event, Event.REFUSED, state.family)


@template
def judge_range(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Ask the filter about a grid that was laid, and tell the grid how much of its size it may use."""
    pair.range_asked = False
    state.enhanced = False
    if not params.smc.enabled:
        return
    verdict = state.verdict
    filter_.judge_range(params.smc, state.smc, verdict, pair.range_lower, pair.range_upper)
    state.enhanced = verdict.action == Verdict.ENHANCED
    pair.range_share = verdict.multiplier
    _record_verdict(pair, state, 0, pair.range_lower, pair.range_upper)
    tell(pair, params, state, slots, event, Event.VERDICT, state.family)


@template
def _judge_entries(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Ask the filter about every new entry of the whole position; a safety order is halved at most."""
    for index in range(len(slots) - OWN):
        slot = slots[index]
        if not slot.active or slot.signal != Signal.ENTRY or slot.part != WHOLE_POSITION or slot.filtered:
            continue
        slot.filtered = True
        price = pair.price if slot.kind == OrderKind.MARKET else slot.price * pair.instrument.tick_size
        filter_.judge_entry(params.smc, state.smc, state.verdict, slot.side, price)
        _record_verdict(pair, state, slot.side, price, 0.0)
        share = state.verdict.multiplier
        safety = params.judged_as[state.family] == JudgedAs.LADDER and slot.entry > 0
        if safety and share <= 0.0:
            share = params.smc.neutral_size
        lots = whole_down(slot.quantity * share)
        if not too_small(pair, lots, price):
            slot.quantity = lots
        elif not safety:
            clear_order(slots, index)
            _refuse(pair, params, state, slots, event, index)


@kernel
def _record_verdict(pair: Record, state: Record, side: int, price: float, upper: float) -> None:
    verdict = state.verdict
    entry = record_decision(pair, state, DecisionKind.VERDICT)
    entry.a, entry.b, entry.c = verdict.action, verdict.reason, side
    entry.x, entry.y, entry.z, entry.w = verdict.confidence, verdict.multiplier, price, upper
    entry.v = float(state.family)
