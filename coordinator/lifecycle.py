"""Life of a pair: moves its phase until it agrees with the portfolio's directive and with the position.

The directive names the strategy to run (its index in the roster is the `family`, one of its parameter sets the
`variant`; NO_STRATEGY is none), the capital, and whether the pair is blocked, paused or halted. A transition to another
strategy drains: entries are cleared, and the position gets a stop and a target until it is flat or the time is over.
A decision record has fields a to z, whose meaning for each kind stands in `vocabulary.DecisionKind`.
"""

from __future__ import annotations

import numpy as np

from bot.costs import CostRule, pays
from bot.kernel import Record, kernel, template
from bot.order import WHOLE_POSITION, OrderKind, Side, Signal, clear_orders, set_order
from bot.strategy import Event, order_ticks, tighter, too_small, watch_nothing, whole_down, whole_ms
from bot.times import HOUR, MINUTE
from coordinator.gate import cancel_farthest, position_notional, position_reserve
from coordinator.pair_state import record_decision, strategy_slots, tell
from coordinator.phase import Phase, Trigger, advance, can
from coordinator.vocabulary import NO_STRATEGY, DecisionKind, HaltAnswer


@template
def apply_directive(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Move the phase until it agrees with the directive and the position."""
    directive = state.directive
    variant = directive.variant if state.family == NO_STRATEGY else state.variant
    size = params.sizes[state.family, variant] if state.family != NO_STRATEGY else 1.0
    if not params.fixed_shares:  # with fixed shares the target is computed when a signal bar closes
        pair.target, pair.multiplier = directive.target * directive.multiplier * size, directive.multiplier
    if directive.halted and state.phase != Phase.HALTED:
        advance(state, Trigger.HALT)
        state.answered = HaltAnswer.WAITING
    if state.disowned and (pair.ledger.position == 0 or not directive.paused):
        state.disowned = False
    if state.phase == Phase.HALTED:
        if directive.halted:
            _apply_halt_answer(pair, params, state, slots)
            _follow_once(pair, state, slots)
            return
        advance(state, Trigger.RESUME)
        state.drain_stop = state.drain_target = 0
    if directive.blocked != state.blocked:
        state.blocked = directive.blocked
        entry = record_decision(pair, state, DecisionKind.BLOCKED)
        entry.a, entry.c = int(directive.blocked), state.family
    _follow_once(pair, state, slots)
    if not state.disowned:
        _switch_or_start(pair, params, state, slots, event)


@kernel
def _end_transition(pair: Record, params: Record, state: Record) -> None:
    """Become idle once a draining or closing position is flat; close one at the market whose time to drain is over."""
    if (state.phase == Phase.DRAINING or state.phase == Phase.CLOSING) and pair.ledger.position == 0:  # noqa: PLR1714
        entry = record_decision(pair, state, DecisionKind.FLAT)
        entry.x = (pair.time - state.drain_start) / MINUTE
        advance(state, Trigger.FLAT)
        state.drain_stop = state.drain_target = 0
    if state.phase == Phase.DRAINING and pair.time - state.drain_start >= whole_ms(params.transition_hours, HOUR):
        advance(state, Trigger.DEADLINE)
        entry = record_decision(pair, state, DecisionKind.CLOSING)
        entry.x, entry.y = pair.price, position_notional(pair)


@template
def _switch_or_start(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Drain or dismiss a strategy that the directive does not name, and start the one it names."""
    directive, position = state.directive, pair.ledger.position
    _end_transition(pair, params, state)
    if state.family in (NO_STRATEGY, directive.family):
        state.stays = False
    if state.family != directive.family:
        if position != 0 and can(state, Trigger.SWITCH):
            if not _stays_for_costs(pair, params, state, slots):
                _drain(pair, params, state, slots, event)
        elif position == 0 and can(state, Trigger.DISMISS):
            _dismiss(pair, params, state, slots, event)
            advance(state, Trigger.DISMISS)
            if directive.family == NO_STRATEGY:
                entry = record_decision(pair, state, DecisionKind.START)
                entry.a = NO_STRATEGY
    if state.phase == Phase.IDLE:
        orphan = position != 0 and (state.family == NO_STRATEGY or state.family != directive.family)
        if orphan:
            _drain(pair, params, state, slots, event)
        elif directive.family != NO_STRATEGY:
            _start(pair, params, state, slots, event)


@kernel
def _stays_for_costs(pair: Record, params: Record, state: Record, slots: Record) -> bool:
    """Whether a transition waits: the directive does not force it, and closing costs more than staying risks."""
    direction = 1 if pair.ledger.position > 0 else -1
    stop, mark = _present_stop(slots, pair.ledger.position), pair.price / pair.instrument.tick_size
    risk = (mark - stop) * direction / mark if stop > 0 else params.protective_stop
    closing = max(pair.instrument.taker_fee, 0.0) + params.expected_slippage
    waits = stop >= 0 and not state.directive.forced and risk < params.transition_costs * closing
    if waits and not state.stays:
        pays(pair, CostRule.TRANSITION, risk, params.transition_costs, closing)
    state.stays = waits
    return waits


@template
def _start(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Begin with the strategy that is called for; after a halt it may find its own position again."""
    directive = state.directive
    if state.family != directive.family:
        _dismiss(pair, params, state, slots, event)
        state.family, state.variant = directive.family, directive.variant
        state.enhanced = False
    advance(state, Trigger.START)
    if params.at_once[state.family]:  # every price matters until it says at the next base bar which do
        state.watch_above, state.watch_below = -np.inf, np.inf
    if not params.fixed_shares:
        pair.target = directive.target * directive.multiplier * params.sizes[state.family, state.variant]
    entry = record_decision(pair, state, DecisionKind.START)
    entry.a, entry.b, entry.x = state.family, state.variant, directive.target if params.fixed_shares else pair.target


@template
def _dismiss(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Unassign the strategy: reset it, clear its orders and its watch band; its indicators stay."""
    if state.family != NO_STRATEGY:
        tell(pair, params, state, slots, event, Event.RESET, state.family)
    clear_orders(strategy_slots(slots))
    state.family = NO_STRATEGY
    state.stays = False
    watch_nothing(pair)
    state.watch_above, state.watch_below = pair.watch_above, pair.watch_below


@template
def guard_external_position(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Keep a position that was changed from outside under a stop alone, paused until the operator resumes the pair."""
    direction = 1 if pair.ledger.position > 0 else -1
    present = _present_stop(slots, pair.ledger.position)
    _dismiss(pair, params, state, slots, event)
    clear_orders(slots)
    state.drain_stop = state.drain_target = 0
    on_its_side = present > 0 and (pair.price / pair.instrument.tick_size - present) * direction > 0.0
    state.guard_stop = present if on_its_side else 0  # a stop never loosens
    if can(state, Trigger.DISMISS):
        advance(state, Trigger.DISMISS)
    elif can(state, Trigger.FLAT):
        advance(state, Trigger.FLAT)
    state.disowned = True
    state.directive.paused = True


@kernel
def _present_stop(slots: Record, position: int) -> int:
    """Ticks of the tightest stop of a position (lots); 0 for none, -1 if all of it is being closed at the market."""
    found, direction = 0, 1 if position > 0 else -1
    for index in range(len(slots)):
        slot = slots[index]
        if not slot.active or slot.side == direction or slot.signal <= Signal.GRID_COUNTER:
            continue
        if slot.kind == OrderKind.MARKET and slot.quantity >= abs(position):
            return -1
        if slot.kind == OrderKind.STOP and (found == 0 or (slot.price - found) * direction > 0):
            found = slot.price
    return found


@template
def _drain(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Begin a transition: clear entries, and give the position a stop and a target around the price."""
    direction = 1 if pair.ledger.position > 0 else -1
    present, family, atr = _present_stop(slots, pair.ledger.position), state.family, state.features.atr.value
    _dismiss(pair, params, state, slots, event)
    advance(state, Trigger.SWITCH)
    state.drain_start = pair.time
    stop = pair.price - direction * params.transition_stop * atr
    target = pair.price + direction * params.transition_target * atr
    state.drain_stop = tighter(max(order_ticks(pair, -direction, stop, True), 0), max(present, 0), direction)
    state.drain_target = max(order_ticks(pair, -direction, target, False), 1)
    entry = record_decision(pair, state, DecisionKind.TRANSITION)
    entry.a, entry.b, entry.x, entry.y = family, state.directive.family, pair.price, position_notional(pair) * direction
    tick = pair.instrument.tick_size
    entry.z, entry.w = state.drain_stop * tick, state.drain_target * tick
    if present < 0 or atr <= 0.0 or state.drain_stop <= 0:
        advance(state, Trigger.DEADLINE)


@kernel
def _apply_halt_answer(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Apply once what the operator decided on a halted pair, or what applies when nobody answers in time."""
    answer, position = state.directive.answer, pair.ledger.position
    if answer == HaltAnswer.CLOSE_ALL and position != 0:  # also what an entry on its way has filled since
        state.answered = answer
        exit_at_market(pair, slots, abs(position))
        return
    if answer == state.answered:
        return
    state.answered = answer
    if position == 0:
        return
    direction, lots = 1 if position > 0 else -1, abs(position)
    if answer == HaltAnswer.HOLD:
        atr, price = state.features.atr.value, pair.price
        if atr <= 0.0:  # no regime bars yet
            atr = params.protective_stop * price / params.hold_stop
        limit = order_ticks(pair, -direction, price - direction * params.hold_stop * atr, True)
        stop = tighter(limit, _present_stop(slots, pair.ledger.position), direction)
        if (price / pair.instrument.tick_size - stop) * direction <= 0.0:
            stop = order_ticks(pair, -direction, price - direction * 0.25 * atr, True)
        state.drain_stop = max(stop, 1)
    elif answer == HaltAnswer.REDUCE_50:
        exit_at_market(pair, slots, _at_least_minimum(pair, whole_down(lots / 2.0), lots))


@kernel
def _at_least_minimum(pair: Record, lots: int, held: int) -> int:
    """Lots of a reduction: all of them when either half would be under the venue's minimum."""
    if too_small(pair, lots, pair.price) or too_small(pair, held - lots, pair.price):
        return held
    return lots


@kernel
def exit_at_market(pair: Record, slots: Record, lots: int) -> None:
    """Set an order that closes `lots` of the position at the market, also after a halt or for a trim."""
    side = Side.SELL if pair.ledger.position > 0 else Side.BUY
    set_order(slots, len(slots) - 1, side, OrderKind.MARKET, 0, lots, Signal.EXIT_TRANSITION, WHOLE_POSITION)


@kernel
def _follow_once(pair: Record, state: Record, slots: Record) -> None:
    """Trim the position or cancel the farthest entries, once for each request number of the directive."""
    directive = state.directive
    if directive.trim_id != state.trimmed:
        state.trimmed = directive.trim_id
        held = position_reserve(pair)
        may = state.phase <= Phase.PAUSED or directive.trim_to <= 0.0  # the operator closes it in any phase
        if may and held > directive.trim_to and pair.ledger.position != 0:
            lots = abs(pair.ledger.position)
            over = whole_down(lots * (1.0 - directive.trim_to / held))
            if over == lots or not too_small(pair, over, pair.price):  # else it waits for a later trim
                over = lots if too_small(pair, lots - over, pair.price) else over
                exit_at_market(pair, slots, over)
                entry = record_decision(pair, state, DecisionKind.TRIM)
                entry.x, entry.y = held, float(over)
    if directive.withdraw_id != state.withdrawn:
        state.withdrawn = directive.withdraw_id
        count = cancel_farthest(pair, strategy_slots(slots), directive.withdraw)
        entry = record_decision(pair, state, DecisionKind.WITHDRAWN)
        entry.a, entry.x = count, directive.withdraw
