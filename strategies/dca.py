"""DCA: buy a base order when the evidence agrees, average down on a fixed ladder, leave at a small profit.

One deal at a time: a base order at market, a ladder of resting safety orders, a take profit that follows the
average, a stop that rests at the venue. The loss of the full ladder is known before the deal opens and fits
the risk budget. The rules are section 5 of docs/execution.md; each option is shown in docs/dca.md.
"""

from __future__ import annotations

import numpy as np

from bot.costs import entry_pays
from bot.gate import allows
from bot.kernel import Record, kernel
from bot.order import WHOLE_POSITION, OrderKind, Signal, clear_order, clear_orders, set_order
from bot.strategy import (
    Event,
    JudgedAs,
    Strategy,
    Variation,
    affordable,
    average_entry,
    enter,
    lots_for,
    order_ticks,
    watch_nothing,
    whole_down,
    whole_ms,
    whole_up,
)
from bot.times import DAY
from strategies.dca_parameters import AT_MARKET, FROM_BASE, SHORT, DcaParameters, check
from strategies.dca_start import START, count_deal, starts, take_evidence, uncount_deal

FEW_SAFETY_ORDERS = 3

STATE = np.dtype(
    [
        *START,
        ("gate", "i8"),  # directions that `when` lets in, as bot/gate.py has them
        ("in_deal", "b1"),
        ("ladder_laid", "b1"),
        ("armed", "b1"),
        ("overdue", "b1"),  # older than it may become: it is closed
        ("unit", "f8"),  # notional of weight 1, quote currency
        ("base_price", "f8"),  # price of the base order, quote currency; 0 before it has filled
        ("next_safety", "i8"),  # number of the safety order that waits to rest; 0: none does
        ("taken", "i8"),  # lots of this deal that have left by take profits
        ("opened", "i8"),  # ms: close at which the deal was decided
        ("stop", "i8"),  # ticks
        ("best", "f8"),  # price since armed
        ("last_entry", "i8"),  # ms: opening of the bar of the last entry fill
        ("deal_end", "i8"),  # ms
        ("result_before", "f8"),  # what the pair had realised before this deal, quote currency
        ("profits", "f8"),  # sum of the deals that gained, quote currency
        ("losses", "f8"),  # of those that lost
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
        _forget(state)
    elif event.kind == Event.REFUSED and event.execution.slot == 0 and pair.ledger.position == 0 and state.in_deal:
        uncount_deal(state)
        _forget(state)
    _watch(pair, params, state)


@kernel
def _side_of_deal(pair: Record, params: Record) -> int:
    """Side of the deal that stands, signed; the parameters may have another by now."""
    return _way(pair, params) if pair.ledger.position == 0 else 1 if pair.ledger.position > 0 else -1


@kernel
def _way(pair: Record, params: Record) -> int:
    """Side of the entries of a new deal, signed."""
    return -1 if params.direction == SHORT and pair.instrument.linear else 1


@kernel
def _on_signal(pair: Record, params: Record, state: Record, slots: Record, bar: Record) -> None:
    direction = _way(pair, params)
    take_evidence(pair, params, state, bar, direction)
    rested = pair.time >= state.deal_end + whole_ms(params.deal_cooldown_seconds, 1000)
    idle = not state.in_deal and pair.ledger.position == 0 and rested and allows(state.gate, direction)
    if starts(pair, params, state, bar, idle):
        _open(pair, params, state, slots, direction)
    elif state.in_deal and pair.ledger.position != 0 and not state.overdue:
        _check_age(pair, params, state, slots, _side_of_deal(pair, params))


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
    state.unit *= _reinvested(pair, params, state)
    lots = lots_for(pair, state.unit, reference)
    if lots == 0 or not _pays(pair, params):
        return
    slot = enter(pair, slots, 0, direction, OrderKind.MARKET, 0, lots, WHOLE_POSITION)
    slot.stop = order_ticks(pair, -direction, stop, True)
    _forget(state)
    state.in_deal = True
    state.opened = pair.time
    state.result_before = _result(pair)
    count_deal(pair, state)


@kernel
def _forget(state: Record) -> None:
    """No deal stands any more."""
    state.in_deal = state.ladder_laid = state.armed = state.overdue = False
    state.base_price = 0.0
    state.next_safety = state.taken = 0


@kernel
def _result(pair: Record) -> float:
    """What the pair has realised after fees and funding, quote currency."""
    return pair.ledger.realised - pair.ledger.fees + pair.ledger.funding


@kernel
def _reinvested(pair: Record, params: Record, state: Record) -> float:
    """Factor on the sizes by what earlier deals have gained and lost, never more than the money there is.

    The target holds losses beyond all profits already. A coordinator's holds the profits too.
    """
    if (params.reinvest_pct == 0.0 and params.risk_reduction_pct == 0.0) or pair.target <= 0.0:
        return 1.0
    net = state.profits - state.losses
    asked = (params.reinvest_pct * state.profits - params.risk_reduction_pct * state.losses) / 100.0
    change = min(net, asked) - min(net, 0.0)
    if pair.coordinated:
        change = min(change, 0.0)
    return max(1.0 + change / pair.target, 0.0)


@kernel
def _pays(pair: Record, params: Record) -> bool:
    """Whether target and stop lie far enough for what a deal costs."""
    if params.trailing:
        least = (1.0 + params.trail_activation) * (1.0 - params.trail_distance) - 1.0
        return entry_pays(pair, params, OrderKind.MARKET, least, OrderKind.STOP, params.stop_loss)
    return entry_pays(pair, params, OrderKind.MARKET, params.target_at[0], OrderKind.LIMIT, params.stop_loss)


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
    direction = _side_of_deal(pair, params)
    if pair.ledger.position == 0:
        _end(pair, state, slots, fill.ts)
        return
    if not state.in_deal:
        _take_late(pair, params, state, fill, direction)
    if fill.signal == Signal.ENTRY:
        state.last_entry = fill.ts
        if not state.ladder_laid:
            state.ladder_laid, state.next_safety = True, 1
            state.base_price = fill.price * pair.instrument.tick_size
            state.stop = order_ticks(pair, -direction, state.base_price * (1.0 - direction * params.stop_loss), True)
        _lay_ladder(pair, params, state, slots, direction)
    else:
        if fill.signal == Signal.EXIT_TP:
            state.taken += fill.quantity
        _clear_entries(params, state, slots)
    _set_exits(pair, params, state, slots, direction)


@kernel
def _take_late(pair: Record, params: Record, state: Record, fill: Record, direction: int) -> None:
    """Take an entry that filled as its deal ended for a deal that is over its time already: it is only closed."""
    _forget(state)
    state.in_deal = state.ladder_laid = state.overdue = True
    state.opened = pair.time
    state.base_price = fill.price * pair.instrument.tick_size
    state.result_before = _result(pair) + fill.fee
    state.stop = order_ticks(pair, -direction, state.base_price * (1.0 - direction * params.stop_loss), True)


@kernel
def _end(pair: Record, state: Record, slots: Record, ts: int) -> None:
    """Clear every order and add up what the deal has brought; the pause starts at `ts`."""
    clear_orders(slots)
    if state.base_price > 0.0:
        result = _result(pair) - state.result_before
        state.profits += max(result, 0.0)
        state.losses += max(-result, 0.0)
    state.deal_end = ts
    _forget(state)


@kernel
def _lay_ladder(pair: Record, params: Record, state: Record, slots: Record, direction: int) -> None:
    """Let the safety orders rest that wait, nearest first, as many at once as may."""
    if state.next_safety == 0:
        return
    resting = 0
    for index in range(1, params.max_safety_orders + 1):
        if slots[index].active or slots[index].suspended:
            resting += 1
    while state.next_safety <= params.max_safety_orders and resting < params.max_active_safety_orders:
        order = state.next_safety
        state.next_safety += 1
        price, weight = _rung(params, state.base_price, direction, order)
        ticks = order_ticks(pair, direction, price, False)
        if state.armed and (ticks - state.stop) * direction <= 0:
            continue
        lots = lots_for(pair, state.unit * weight, ticks * pair.instrument.tick_size)
        slot = enter(pair, slots, order, direction, OrderKind.LIMIT, ticks, lots, WHOLE_POSITION)
        slot.stop = state.stop
        slot.entry = 1
        if slot.active:
            resting += 1
    if state.next_safety > params.max_safety_orders:
        state.next_safety = 0


@kernel
def _clear_entries(params: Record, state: Record, slots: Record) -> None:
    state.next_safety = 0
    for index in range(_first_exit(params, slots)):
        clear_order(slots, index)


@kernel
def _break_even(pair: Record, direction: int) -> float:
    """Price at which the fees of both ways are earned, quote currency."""
    return average_entry(pair) * (1.0 + direction * 2.0 * max(pair.instrument.taker_fee, 0.0))


# Exits: the stop is the last slot, the nearest take profit the one before it, the farther ones before that.


@kernel
def _first_exit(params: Record, slots: Record) -> int:
    """Slot of the farthest take profit."""
    return len(slots) - 1 - params.target_count


@kernel
def _set_exits(pair: Record, params: Record, state: Record, slots: Record, direction: int) -> None:
    lots, take, stop = abs(pair.ledger.position), len(slots) - 2, len(slots) - 1
    for index in range(1, take):  # after a restart with other parameters some may lie where none belongs now
        if slots[index].active and slots[index].reduce_only and (state.overdue or index < _first_exit(params, slots)):
            clear_order(slots, index)
    if state.overdue and params.deadline_exit == AT_MARKET:
        signal = Signal.EXIT_TP if (pair.price - average_entry(pair)) * direction > 0.0 else Signal.EXIT_SL
        set_order(slots, take, -direction, OrderKind.MARKET, 0, lots, signal, WHOLE_POSITION)
    elif state.overdue:
        price = order_ticks(pair, -direction, _break_even(pair, direction), False)
        set_order(slots, take, -direction, OrderKind.LIMIT, price, lots, Signal.EXIT_TP, WHOLE_POSITION)
    elif not params.trailing:
        first = _set_targets(pair, params, state, slots, direction)
        if params.break_even and state.taken >= first:
            even = order_ticks(pair, -direction, _break_even(pair, direction), True)
            state.stop = max(state.stop, even) if direction > 0 else min(state.stop, even)
    beyond = (state.stop * pair.instrument.tick_size - average_entry(pair)) * direction > 0.0
    signal = Signal.EXIT_TP if state.armed and beyond else Signal.EXIT_SL
    set_order(slots, stop, -direction, OrderKind.STOP, state.stop, lots, signal, WHOLE_POSITION)


@kernel
def _set_targets(pair: Record, params: Record, state: Record, slots: Record, direction: int) -> int:
    """Set every take profit for its share of the deal that has not left yet; returns the lots of the first.

    A part under the venue's minimum joins the next one, and a rest under it the one before.
    """
    total, before, first, take = abs(pair.ledger.position) + state.taken, 0, 0, len(slots) - 2
    base = state.base_price if params.take_profit_from == FROM_BASE and state.base_price > 0.0 else average_entry(pair)
    for number in range(params.target_count):
        price = order_ticks(pair, -direction, base * (1.0 + direction * params.target_at[number]), False)
        upto = total
        if number < params.target_count - 1:
            upto = whole_down(total * params.target_upto[number])
            least = _least(pair, price)
            if upto - before < least:
                upto = before
            elif total - upto < least:
                upto = total
        lots = max(upto - max(before, state.taken), 0)
        set_order(slots, take - number, -direction, OrderKind.LIMIT, price, lots, Signal.EXIT_TP, WHOLE_POSITION)
        before = upto
        if first == 0:
            first = upto
    return first


@kernel
def _least(pair: Record, price: int) -> int:
    """Fewest lots that the venue takes at a price in ticks."""
    instrument = pair.instrument
    worth = max(price, 1) * instrument.tick_value
    return max(instrument.min_quantity, 1, whole_up(instrument.min_notional / worth))


@kernel
def _check_age(pair: Record, params: Record, state: Record, slots: Record, direction: int) -> None:
    """Close a deal that is older than it may become: no entry rests any more, and the exits are other ones."""
    if state.opened == 0:  # opened before its time was kept
        state.opened = pair.time
    if np.isnan(params.max_deal_days) or pair.time - state.opened < whole_ms(params.max_deal_days, DAY):
        return
    state.overdue = True
    _clear_entries(params, state, slots)
    _set_exits(pair, params, state, slots, direction)


@kernel
def _trail(pair: Record, params: Record, state: Record, slots: Record, bar: Record) -> None:
    """Follow the best price; only bars that opened after the last entry's can tell what came after it."""
    if bar.ts <= state.last_entry:
        return
    direction = _side_of_deal(pair, params)
    best = bar.high if direction > 0 else bar.low
    if state.armed:
        state.best = max(state.best, best) if direction > 0 else min(state.best, best)
    else:
        activation = average_entry(pair) * (1.0 + direction * params.trail_activation)
        if (best - activation) * direction < 0.0:
            return
        state.armed = True
        state.best = best
    trail = order_ticks(pair, -direction, state.best * (1.0 - direction * params.trail_distance), True)
    state.stop = max(state.stop, trail) if direction > 0 else min(state.stop, trail)
    _follow_stop(state, slots, direction)
    _set_exits(pair, params, state, slots, direction)


@kernel
def _follow_stop(state: Record, slots: Record, direction: int) -> None:
    """Give safety orders the stop as it is now; those beyond it could fill only after it, and are cancelled."""
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
    direction = _side_of_deal(pair, params)
    level = state.best if state.armed else average_entry(pair) * (1.0 + direction * params.trail_activation)
    if direction > 0:
        pair.watch_above = level
    else:
        pair.watch_below = level


def slots(parameters: DcaParameters) -> int:
    """Count the orders: base order, ladder, take profits, stop."""
    return parameters.max_safety_orders + 2 + parameters.target_count


def _few(parameters: DcaParameters) -> DcaParameters:
    """Keep few safety orders."""
    return parameters.changed(max_safety_orders=min(parameters.max_safety_orders, FEW_SAFETY_ORDERS))


def roles(count: int) -> tuple[str, ...]:
    """Name the slots of a table of `count`: the exits are its last, and farther targets have the names before them."""
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
