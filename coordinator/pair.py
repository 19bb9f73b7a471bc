"""The pair's step: strategy, filter, directive and phase joined into one `decide` with a strategy's signature.

Every event of a pair comes through here, live and in simulation. Bars and fills reach the strategy that runs;
the others only learn from bars, so that any of them can take over warm. Afterwards the phase, the pair's own
orders and the gate make the table of wishes fit the directive, whatever the order of events was.
"""

from __future__ import annotations

import numpy as np

from bot.kernel import Record, kernel, unowned
from bot.order import WHOLE_POSITION, OrderKind, Side, Signal, want, withdraw, withdraw_all
from bot.strategy import Event, away, equity_now, watch_nothing, whole_down
from bot.trade import TRADE, book_trade
from coordinator.features import FEATURES, features_update
from coordinator.gate import (
    entry_reserve,
    pass_entries,
    position_notional,
    position_reserve,
    resting,
    shelve_entries,
    withdraw_farthest,
)
from coordinator.phase import Phase, Trigger, advance, can
from coordinator.vocabulary import DIRECTIVE, NOBODY, NOTE, Answer, Family, Note, Pause, note
from filters import smc as filter_
from filters.smc import Action
from filters.zones import zones_quiet
from strategies import dca, grid, trend

NOTES = 64
RECENT = 30
HOUR, DAY, MINUTE = 3_600_000, 86_400_000, 60_000
ONE_HOUR, FOUR_HOURS = 0, 1
NEVER = np.iinfo(np.int64).max
OWN = 3  # slots of the pair itself, behind the strategy's: stop, target, closing order

OUTCOME = np.dtype([("ts", "i8"), ("profit", "f8")])

STATE = np.dtype(
    [
        ("phase", "i8"),
        ("family", "i8"),  # strategy that runs, or whose position this is
        ("variant", "i8"),
        ("directive", DIRECTIVE),
        ("features", FEATURES),
        ("smc", filter_.SMC),
        ("verdict", filter_.VERDICT),
        ("grid", grid.STATE),
        ("dca", dca.STATE),
        ("trend", trend.STATE),
        ("signal_bars", "i8", (len(Family),)),
        ("watch_above", "f8"),  # the running strategy's band
        ("watch_below", "f8"),
        ("wake_above", "f8"),  # the same with the day's loss, but without the zones
        ("wake_below", "f8"),
        ("enhanced", "b1"),  # the filter gave the standing grid its full size
        ("started", "b1"),
        ("acted", "b1"),  # more than zones has changed since the driver last looked
        ("day", "i8"),
        ("day_equity", "f8"),
        ("losing", "i8"),  # losing trades in a row
        ("paused_until", "i8"),  # ms
        ("pause", "i8"),
        ("drain_start", "i8"),  # ms
        ("drain_stop", "i8"),  # ticks; 0 for none. A halt that holds uses it too
        ("drain_target", "i8"),
        ("answered", "i8"),
        ("trimmed", "i8"),  # number of the last trim and withdrawal obeyed
        ("withdrawn", "i8"),
        ("blocked", "b1"),
        ("hour", "i8"),
        ("hour_close", "f8"),
        ("parts", TRADE, (grid.MAX_LEVELS + 1,)),
        ("closed", TRADE, (grid.MAX_LEVELS + 1,)),
        ("outcomes", OUTCOME, (RECENT,)),
        ("outcome_count", "i8"),
        ("noted", "i8"),  # notes not yet taken
        ("notes", NOTE, (NOTES,)),
    ],
    align=True,
)


@kernel
def decide(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """One event of the pair's life."""
    kind = event.kind
    if not state.started:
        _begin(pair, state)
    if kind == Event.FILL:
        _on_fill(pair, params, state, slots, event)
    elif kind == Event.SIGNAL:
        _on_signal(pair, params, state, slots, event)
    elif kind == Event.BASE:
        if not _on_base(pair, params, state, slots, event):
            _watch(pair, params, state)
            return
    elif kind == Event.REFUSED and event.execution.slot < len(slots) - OWN:
        tell(pair, params, state, slots, event, Event.REFUSED, state.family)
    state.acted = True
    _new_day(pair, state)
    _follow_directive(pair, params, state, slots, event)
    _pause(pair, params, state)
    _wish_own(pair, state, slots)
    _pass(pair, params, state, slots, event)
    _watch(pair, params, state)


@kernel
def _begin(pair: Record, state: Record) -> None:
    state.started = True
    state.family = NOBODY
    state.directive.family = NOBODY
    state.day = pair.time // DAY
    pair.coordinated = True
    watch_nothing(pair)
    state.watch_above, state.watch_below = pair.watch_above, pair.watch_below


@kernel
def jot(pair: Record, state: Record, kind: int) -> Record:
    """Begin a note of this pair."""
    entry = note(state.notes, state.noted, pair.time, NOBODY, kind)
    state.noted += 1
    return entry


@kernel
def strategy_slots(slots: Record) -> Record:
    """The strategy's part of the table."""
    return unowned(slots[: len(slots) - OWN])


@kernel
def tell(pair: Record, params: Record, state: Record, slots: Record, event: Record, kind: int, family: int) -> None:
    """Let one strategy decide on the event, as `kind`, with its variant's parameters."""
    wishes = strategy_slots(slots)
    event.kind = kind
    variant = state.variant
    if family == Family.GRID:
        grid.decide(pair, params.grid[variant], state.grid, wishes, event)
    elif family == Family.DCA:
        dca.decide(pair, params.dca[variant], state.dca, wishes, event)
    elif family == Family.TREND:
        trend.decide(pair, params.trend[variant], state.trend, wishes, event)
    if family == state.family:
        state.watch_above, state.watch_below = pair.watch_above, pair.watch_below


@kernel
def may_rest(state: Record) -> bool:
    """Whether entries may rest at all."""
    return state.phase == Phase.RUNNING


@kernel
def may_open(pair: Record, params: Record, state: Record) -> bool:
    """Whether new entries are allowed."""
    directive = state.directive
    warm = state.family >= 0 and state.signal_bars[max(state.family, 0)] >= params.warmups[max(state.family, 0)]
    return may_rest(state) and warm and not directive.blocked and pair.target > 0.0


# Bars


@kernel
def _on_signal(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """A longer bar closed: the filter, the features and every strategy that waits for this length learn from it."""
    length, bar = event.timeframe, event.bar
    if length == HOUR:
        state.hour, state.hour_close = bar.ts // HOUR, bar.close
    if params.smc.enabled:
        if length == HOUR:
            filter_.smc_bar(params.smc, state.smc, ONE_HOUR, bar, pair.time)
        elif length == 4 * HOUR:
            filter_.smc_bar(params.smc, state.smc, FOUR_HOURS, bar, pair.time)
        _note_zones(pair, state)
    if length == params.regime_timeframe:
        features_update(state.features, bar, bar.ts + length)
    _adopt_variant(pair, state, slots)
    for family in range(len(params.timeframes)):
        if length == params.timeframes[family]:
            state.signal_bars[family] += 1
            pair.signal_bars = state.signal_bars[family]
            pair.may_enter = family == state.family and may_open(pair, params, state)
            tell(pair, params, state, slots, event, Event.SIGNAL, family)
    pair.may_enter = may_open(pair, params, state)
    if pair.range_asked:
        _judge_range(pair, params, state, slots, event)


@kernel
def _note_zones(pair: Record, state: Record) -> None:
    """Note the births and deaths of zones."""
    table = state.smc.zones
    for index in range(min(table.entries, len(table.journal))):
        zone = table.journal[index]
        entry = jot(pair, state, Note.ZONE)
        entry.a, entry.b, entry.c = zone.kind, zone.way, zone.timeframe
        entry.x, entry.y, entry.z = zone.bottom, zone.top, zone.quality
        entry.w, entry.v = float(zone.born), float(zone.died)
    table.entries = 0


@kernel
def _adopt_variant(pair: Record, state: Record, slots: Record) -> None:
    """Take another variant of the running strategy: a grid at once, since it counts only when next laid."""
    directive = state.directive
    if state.family == NOBODY or directive.family != state.family or directive.variant == state.variant:
        return
    if state.family != Family.GRID and (pair.ledger.position != 0 or _wishes(slots)):
        return
    entry = jot(pair, state, Note.VARIANT)
    entry.a, entry.b, entry.c = state.family, directive.variant, state.variant
    state.variant = directive.variant


@kernel
def _wishes(slots: Record) -> bool:
    """Whether the strategy wishes anything."""
    for index in range(len(slots) - OWN):
        if slots[index].wanted or slots[index].shelved:
            return True
    return False


@kernel
def _on_base(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> bool:
    """A base bar closed: zones are visited, and the strategy that runs looks at it. False: zones were all it meant."""
    bar = event.bar
    matters = bar.high >= state.wake_above or bar.low <= state.wake_below or pair.time >= pair.wake_at
    _visit_zones(pair, params, state, bar.high, bar.low)
    if matters and state.family != NOBODY:
        pair.may_enter = may_open(pair, params, state)
        tell(pair, params, state, slots, event, Event.BASE, state.family)
    return matters


@kernel
def _visit_zones(pair: Record, params: Record, state: Record, high: float, low: float) -> None:
    if params.smc.enabled and not zones_quiet(state.smc.zones, high, low):
        filter_.smc_touch(params.smc, state.smc, high, low, pair.time)
        _note_zones(pair, state)


@kernel
def pass_zones(pair: Record, params: Record, state: Record, high: float, low: float) -> None:
    """Do what `decide` does on a base bar that matters to zones alone; a driver may take this shorter way."""
    _visit_zones(pair, params, state, high, low)
    _watch_zones(pair, params, state)


# Fills


@kernel
def _on_fill(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Book the trade and let the strategy answer; what the pair's own orders take, it hears of too."""
    fill = event.execution
    closed = book_trade(state.parts, fill, pair.instrument.tick_value, state.closed)
    for index in range(closed):
        _book_outcome(state, state.closed[index], fill.ts)
    pair.may_enter = may_open(pair, params, state)
    if state.family != NOBODY:
        tell(pair, params, state, slots, event, Event.FILL, state.family)


@kernel
def _book_outcome(state: Record, trade: Record, ts: int) -> None:
    """Remember a closed trade's profit (without funding) for the pair's performance and its run of losses."""
    profit = trade.side * (trade.exit_value - trade.entry_value) - trade.fees
    outcome = state.outcomes[state.outcome_count % RECENT]
    outcome.ts, outcome.profit = ts, profit
    state.outcome_count += 1
    state.losing = state.losing + 1 if profit < 0.0 else 0


# The directive and the phase


@kernel
def _follow_directive(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Move the phase until it agrees with the directive and the position."""
    directive = state.directive
    variant = directive.variant if state.family == NOBODY else state.variant
    size = params.sizes[state.family, variant] if state.family != NOBODY else 1.0
    pair.target = directive.target * directive.multiplier * size
    if directive.halted and state.phase != Phase.HALTED:
        advance(state, Trigger.HALT)
        state.answered = Answer.WAITING
    if state.phase == Phase.HALTED:
        if directive.halted:
            _obey_answer(pair, params, state, slots)
            return
        advance(state, Trigger.RESUME)
        state.drain_stop = state.drain_target = 0
    if directive.blocked != state.blocked:
        state.blocked = directive.blocked
        entry = jot(pair, state, Note.BLOCKED)
        entry.a, entry.c = int(directive.blocked), state.family
    _obey_once(pair, state, slots)
    _leave_or_start(pair, params, state, slots, event)


@kernel
def _leave_or_start(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Drain what is not called for, close what took too long, start what is."""
    directive, position = state.directive, pair.ledger.position
    if (state.phase == Phase.DRAINING or state.phase == Phase.CLOSING) and position == 0:  # noqa: PLR1714
        entry = jot(pair, state, Note.FLAT)
        entry.x = (pair.time - state.drain_start) / MINUTE
        advance(state, Trigger.FLAT)
        state.drain_stop = state.drain_target = 0
    if state.phase == Phase.DRAINING and pair.time - state.drain_start >= params.transition_hours * HOUR:
        advance(state, Trigger.DEADLINE)
        entry = jot(pair, state, Note.CLOSING)
        entry.x, entry.y = pair.price, position_notional(pair)
    if state.family != directive.family:
        if position != 0 and can(state, Trigger.SWITCH):
            _drain(pair, params, state, slots, event)
        elif position == 0 and can(state, Trigger.LEAVE):
            _dismiss(pair, params, state, slots, event)
            advance(state, Trigger.LEAVE)
            if directive.family == NOBODY:
                entry = jot(pair, state, Note.START)
                entry.a = NOBODY
    if state.phase == Phase.IDLE:
        orphan = position != 0 and (state.family == NOBODY or state.family != directive.family)
        if orphan:
            _drain(pair, params, state, slots, event)
        elif directive.family != NOBODY:
            _start(pair, params, state, slots, event)


@kernel
def _start(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Begin with the strategy that is called for; after a halt it may find its own position again."""
    directive = state.directive
    if state.family != directive.family:
        _dismiss(pair, params, state, slots, event)
        state.family, state.variant = directive.family, directive.variant
        state.enhanced = False
    advance(state, Trigger.START)
    pair.target = directive.target * directive.multiplier * params.sizes[state.family, state.variant]
    entry = jot(pair, state, Note.START)
    entry.a, entry.b, entry.x = state.family, state.variant, pair.target


@kernel
def _dismiss(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Let the strategy forget what it was about; its indicators stay."""
    if state.family != NOBODY:
        tell(pair, params, state, slots, event, Event.RESET, state.family)
    withdraw_all(strategy_slots(slots))
    state.family = NOBODY
    watch_nothing(pair)
    state.watch_above, state.watch_below = pair.watch_above, pair.watch_below


@kernel
def _present_stop(slots: Record, way: int) -> int:
    """Ticks of the tightest stop that rests for a position of this side; 0 for none, -1 when it leaves already."""
    found = 0
    for index in range(len(slots)):
        slot = slots[index]
        if not slot.wanted or slot.side == way or slot.signal <= Signal.GRID_COUNTER:
            continue
        if slot.kind == OrderKind.MARKET:
            return -1
        if slot.kind == OrderKind.STOP and (found == 0 or (slot.price - found) * way > 0):
            found = slot.price
    return found


@kernel
def _tighter(first: int, second: int, way: int) -> int:
    """Tighter of two stops of a position of this side, ticks; 0 is none."""
    if first <= 0 or second <= 0:
        return max(first, second)
    return max(first, second) if way > 0 else min(first, second)


@kernel
def _drain(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Begin a transition: entries vanish, the position gets a stop and a target around the mark."""
    way = 1 if pair.ledger.position > 0 else -1
    present, family, atr = _present_stop(slots, way), state.family, state.features.atr.value
    _dismiss(pair, params, state, slots, event)
    advance(state, Trigger.SWITCH)
    state.drain_start = pair.time
    stop = pair.price - way * params.transition_stop * atr
    target = pair.price + way * params.transition_target * atr
    state.drain_stop = _tighter(max(away(pair, -way, stop, True), 0), max(present, 0), way)
    state.drain_target = max(away(pair, -way, target, False), 1)
    entry = jot(pair, state, Note.TRANSITION)
    entry.a, entry.b, entry.x, entry.y = family, state.directive.family, pair.price, position_notional(pair) * way
    tick = pair.instrument.tick_size
    entry.z, entry.w = state.drain_stop * tick, state.drain_target * tick
    if present < 0 or atr <= 0.0 or state.drain_stop <= 0:
        advance(state, Trigger.DEADLINE)


@kernel
def _obey_answer(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Do once what the operator, or the time without an answer, has decided on a halted pair."""
    answer, position = state.directive.answer, pair.ledger.position
    if answer == state.answered:
        return
    state.answered = answer
    if position == 0:
        return
    way, lots = 1 if position > 0 else -1, abs(position)
    if answer == Answer.HOLD:
        atr, price = state.features.atr.value, pair.price
        stop = _tighter(away(pair, -way, price - way * params.hold_stop * atr, True), _present_stop(slots, way), way)
        if (price / pair.instrument.tick_size - stop) * way <= 0.0:
            stop = away(pair, -way, price - way * 0.25 * atr, True)
        state.drain_stop = max(stop, 1)
    elif answer == Answer.CLOSE_ALL:
        _leave(pair, slots, lots)
    elif answer == Answer.REDUCE_50:
        _leave(pair, slots, _at_least_minimum(pair, whole_down(lots / 2.0), lots))


@kernel
def _at_least_minimum(pair: Record, lots: int, held: int) -> int:
    """Lots of a reduction: all of them when either half would be under the venue's minimum."""
    instrument = pair.instrument
    least = max(instrument.min_quantity, 1)
    value = instrument.lot_size * pair.price
    for part in (lots, held - lots):
        if part < least or part * value < instrument.min_notional:
            return held
    return lots


@kernel
def _leave(pair: Record, slots: Record, lots: int) -> None:
    """Wish to leave `lots` of the position at the market."""
    side = Side.SELL if pair.ledger.position > 0 else Side.BUY
    want(slots, len(slots) - 1, side, OrderKind.MARKET, 0, lots, Signal.EXIT_TRANSITION, WHOLE_POSITION)


@kernel
def _obey_once(pair: Record, state: Record, slots: Record) -> None:
    """Trim the position or withdraw far entries, once for each number given."""
    directive = state.directive
    if directive.trim_id != state.trimmed:
        state.trimmed = directive.trim_id
        held = position_reserve(pair)
        if held > directive.trim_to and pair.ledger.position != 0 and state.phase <= Phase.PAUSED:
            lots = abs(pair.ledger.position)
            over = _at_least_minimum(pair, whole_down(lots * (1.0 - directive.trim_to / held)), lots)
            if over >= max(pair.instrument.min_quantity, 1):
                _leave(pair, slots, over)
                entry = jot(pair, state, Note.TRIM)
                entry.x, entry.y = held, float(over)
    if directive.withdraw_id != state.withdrawn:
        state.withdrawn = directive.withdraw_id
        count = withdraw_farthest(pair, strategy_slots(slots), directive.withdraw)
        entry = jot(pair, state, Note.WITHDRAWN)
        entry.a, entry.x = count, directive.withdraw


# Limits of the pair


@kernel
def _new_day(pair: Record, state: Record) -> None:
    """Open a new day at midnight UTC with the equity of the moment."""
    day = pair.time // DAY
    if day != state.day:
        state.day = day
        state.day_equity = equity_now(pair)


@kernel
def _pause(pair: Record, params: Record, state: Record) -> None:
    """Pause on the day's loss, on losing trades, and when told; end the pause when its time has come."""
    directive = state.directive
    loss = state.day_equity - equity_now(pair)
    midnight = (pair.time // DAY + 1) * DAY
    if directive.target > 0.0 and loss > params.pair_day_loss * directive.target and state.paused_until < midnight:
        state.paused_until, state.pause = midnight, Pause.DAY_LOSS
        entry = jot(pair, state, Note.PAUSE)
        entry.a, entry.b, entry.x = Pause.DAY_LOSS, midnight, loss / directive.target
    if state.losing >= params.losing_trades:
        until = pair.time + int(params.losing_pause_hours * HOUR)
        entry = jot(pair, state, Note.PAUSE)
        entry.a, entry.b, entry.x = Pause.LOSING_TRADES, until, float(state.losing)
        state.losing = 0
        if until > state.paused_until:
            state.paused_until, state.pause = until, Pause.LOSING_TRADES
    paused = directive.paused or pair.time < state.paused_until
    if paused and state.phase == Phase.RUNNING:
        advance(state, Trigger.PAUSE)
    elif not paused and state.phase == Phase.PAUSED:
        advance(state, Trigger.UNPAUSE)
        jot(pair, state, Note.UNPAUSE)


# The table of wishes


@kernel
def _wish_own(pair: Record, state: Record, slots: Record) -> None:
    """The pair's own orders: stop and target of a transition or a hold, and the closing order."""
    position, first = pair.ledger.position, len(slots) - OWN
    way = 1 if position > 0 else -1
    lots = abs(position)
    draining = state.phase == Phase.DRAINING or state.phase == Phase.CLOSING  # noqa: PLR1714
    covered = lots if draining or (state.phase == Phase.HALTED and state.drain_stop > 0) else 0
    signal = Signal.EXIT_TRANSITION if draining else Signal.EXIT_SL
    want(
        slots,
        first,
        -way,
        OrderKind.STOP,
        state.drain_stop,
        covered if state.drain_stop > 0 else 0,
        signal,
        WHOLE_POSITION,
    )
    aimed = lots if (draining or state.phase == Phase.HALTED) and state.drain_target > 0 else 0
    want(slots, first + 1, -way, OrderKind.LIMIT, state.drain_target, aimed, Signal.EXIT_TRANSITION, WHOLE_POSITION)
    if state.phase == Phase.CLOSING:
        _leave(pair, slots, lots)
    elif slots[first + 2].wanted and (lots == 0 or slots[first + 2].side == way):
        withdraw(slots, first + 2)


@kernel
def _pass(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Judge new entries by the filter, then let rest what permission, capital and exposure allow."""
    wishes = strategy_slots(slots)
    pair.may_enter = may_open(pair, params, state)
    if not may_rest(state):
        dropped = shelve_entries(wishes)
        if dropped >= 0:
            _refuse(pair, params, state, slots, event, dropped)
        return
    if params.smc.enabled and state.family != Family.GRID:  # a grid is judged whole, when it is laid
        _judge_entries(pair, params, state, slots, event)
    directive = state.directive
    for _ in range(len(wishes)):
        refused = pass_entries(pair, wishes, pair.may_enter, directive.target, directive.exposure_limit)
        if refused < 0:
            return
        _refuse(pair, params, state, slots, event, refused)


@kernel
def _refuse(pair: Record, params: Record, state: Record, slots: Record, event: Record, index: int) -> None:
    """Tell the strategy that an entry was refused; it is withdrawn already."""
    event.execution.slot = index
    event.execution.generation = slots[index].generation
    tell(pair, params, state, slots, event, Event.REFUSED, state.family)


@kernel
def _judge_range(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Ask the filter about a grid that was laid, and tell the grid how much of its size it may use."""
    pair.range_asked = False
    state.enhanced = False
    if not params.smc.enabled:
        return
    verdict = state.verdict
    filter_.judge_range(params.smc, state.smc, verdict, pair.range_lower, pair.range_upper)
    state.enhanced = verdict.action == Action.ENHANCED
    pair.range_share = verdict.multiplier
    _note_verdict(pair, state, 0, pair.range_lower, pair.range_upper)
    tell(pair, params, state, slots, event, Event.VERDICT, Family.GRID)


@kernel
def _judge_entries(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Ask the filter about every new entry of the whole position; a safety order is halved at most."""
    for index in range(len(slots) - OWN):
        slot = slots[index]
        if not slot.wanted or slot.signal != Signal.ENTRY or slot.part != WHOLE_POSITION or slot.judged:
            continue
        slot.judged = True
        price = pair.price if slot.kind == OrderKind.MARKET else slot.price * pair.instrument.tick_size
        filter_.judge_entry(params.smc, state.smc, state.verdict, slot.side, price)
        _note_verdict(pair, state, slot.side, price, 0.0)
        share = state.verdict.multiplier
        safety = state.family == Family.DCA and slot.entry > 0
        if safety and share <= 0.0:
            share = params.smc.neutral_size
        lots = whole_down(slot.quantity * share)
        instrument = pair.instrument
        small = lots < max(instrument.min_quantity, 1) or lots * instrument.lot_size * price < instrument.min_notional
        if not small:
            slot.quantity = lots
        elif not safety:
            withdraw(slots, index)
            _refuse(pair, params, state, slots, event, index)


@kernel
def _note_verdict(pair: Record, state: Record, side: int, price: float, upper: float) -> None:
    verdict = state.verdict
    entry = jot(pair, state, Note.VERDICT)
    entry.a, entry.b, entry.c = verdict.action, verdict.reason, side
    entry.x, entry.y, entry.z, entry.w = verdict.confidence, verdict.multiplier, price, upper
    entry.v = float(state.family)


@kernel
def _watch(pair: Record, params: Record, state: Record) -> None:
    """Say which base bars matter: the strategy's, those that visit or leave a zone, the day's loss, and deadlines."""
    above, below = state.watch_above, state.watch_below
    pair.wake_at = (pair.time // DAY + 1) * DAY
    if state.phase == Phase.PAUSED and state.paused_until > pair.time:
        pair.wake_at = min(pair.wake_at, state.paused_until)
    if state.phase == Phase.DRAINING:
        pair.wake_at = min(pair.wake_at, state.drain_start + int(params.transition_hours * HOUR))
    position = pair.ledger.position
    if position != 0 and state.directive.target > 0.0 and state.paused_until < (pair.time // DAY + 1) * DAY:
        floor = state.day_equity - params.pair_day_loss * state.directive.target - pair.ledger.cash
        price = floor / (position * pair.instrument.lot_size)
        if position > 0:
            below = max(below, price * (1.0 + 1e-9))
        else:
            above = min(above, price * (1.0 - 1e-9))
    state.wake_above, state.wake_below = above, below
    _watch_zones(pair, params, state)


@kernel
def _watch_zones(pair: Record, params: Record, state: Record) -> None:
    """Add the prices at which zones are visited and left to those that wake the pair anyway."""
    above, below = state.wake_above, state.wake_below
    pair.left_above, pair.left_below = np.inf, -np.inf
    if params.smc.enabled:
        zones = state.smc.zones
        above, below = min(above, zones.untouched_above), max(below, zones.untouched_below)
        pair.left_above, pair.left_below = zones.visited_top, zones.visited_bottom
    pair.watch_above, pair.watch_below = above, below


@kernel
def fill_report(pair: Record, params: Record, state: Record, slots: Record, report: Record) -> None:
    """Tell the portfolio how the pair stands."""
    features, wishes = state.features, strategy_slots(slots)
    entries = resting(pair, wishes)
    report.time = pair.time
    report.equity = equity_now(pair)
    report.resting = entries
    report.exposure = position_notional(pair) + entries
    report.entries_reserved = entry_reserve(pair, entries)
    report.reserved = position_reserve(pair) + report.entries_reserved
    report.regime_bars, report.regime_end = features.count, features.end
    report.close, report.adx, report.atr = features.close, features.adx.value, features.atr.value
    report.fast, report.slow = features.fast.value, features.slow.value
    report.hour, report.hour_close = state.hour, state.hour_close
    report.family, report.enhanced = state.family, state.enhanced
    _fill_performance(params, state, pair.time, report)


@kernel
def _fill_performance(params: Record, state: Record, now: int, report: Record) -> None:
    """Sum the last closed trades that are young enough."""
    report.trades = report.wins = 0
    report.gains = report.losses = 0.0
    oldest = now - int(params.performance_days * DAY)
    for index in range(min(state.outcome_count, RECENT)):
        outcome = state.outcomes[index]
        if outcome.ts < oldest:
            continue
        report.trades += 1
        if outcome.profit > 0.0:
            report.wins += 1
            report.gains += outcome.profit
        else:
            report.losses -= outcome.profit
