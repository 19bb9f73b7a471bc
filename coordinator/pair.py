"""The pair's step: strategy, filter, directive and phase joined into one `decide` with a strategy's signature.

Every event of a pair comes through here, live and in simulation. Bars and fills reach the strategy that runs;
the others only learn from bars, so that any of them can take over warm. Afterwards the phase, the pair's own
orders and the gate make the table of desired orders fit the directive, whatever the order of events was.
"""

from __future__ import annotations

import numpy as np

from bot.kernel import Record, kernel, template
from bot.strategy import Event, JudgedAs, equity_now, watch_nothing, whole_ms
from bot.times import DAY, HOUR
from bot.trade import book_trade
from coordinator.desired_orders import judge_range, let_pass, set_own
from coordinator.features import features_update
from coordinator.gate import entry_reserve, position_notional, position_reserve
from coordinator.lifecycle import apply_directive, guard_external_position
from coordinator.outcomes import book_outcome, sum_outcomes
from coordinator.pair_state import OWN, may_open, record_decision, tell
from coordinator.phase import Phase, Trigger, advance
from coordinator.vocabulary import NO_STRATEGY, DecisionKind, Pause
from filters import smc as filter_
from filters.zones import zones_quiet

ONE_HOUR, FOUR_HOURS = 0, 1


@template
def decide(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """One event of the pair's life."""
    kind = event.kind
    if not state.started:
        _begin(pair, state)
    # While its entries are suspended a lone strategy sets them all the same, so that they are there afterwards.
    pair.coordinated = not params.solo or state.phase != Phase.RUNNING
    if kind == Event.FILL or kind == Event.REFUSED:  # noqa: PLR1714, the driver has changed an order
        slots[0].version += 1
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
    elif kind == Event.FOREIGN:
        _on_foreign(pair, params, state, slots, event)
    state.acted = True
    _new_day(pair, state)
    apply_directive(pair, params, state, slots, event)
    _record_costs(pair, state)
    _pause(pair, params, state)
    set_own(pair, params, state, slots)
    let_pass(pair, params, state, slots, event)
    _watch(pair, params, state)


@kernel
def _begin(pair: Record, state: Record) -> None:
    state.started = True
    state.family = NO_STRATEGY
    if state.directive.sequence == 0:  # else a directive came before anything else
        state.directive.family = NO_STRATEGY
    state.day = pair.time // DAY
    watch_nothing(pair)
    state.watch_above, state.watch_below = pair.watch_above, pair.watch_below


# Bars


@template
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
        features_update(state.features, bar, bar.ts + length, pair.instrument.tick_size)
    _adopt_variant(pair, params, state, slots)
    for family in range(len(params.timeframes)):
        if length == params.timeframes[family] and (family == params.pinned or not params.solo):
            state.signal_bars[family] += 1
            pair.signal_bars = state.signal_bars[family]
            if params.fixed_shares and family == state.family:
                _take_share(pair, params, state.directive)
            pair.may_enter = family == state.family and may_open(pair, params, state)
            tell(pair, params, state, slots, event, Event.SIGNAL, family)
    pair.may_enter = may_open(pair, params, state)
    if pair.range_asked:
        judge_range(pair, params, state, slots, event)


@kernel
def _take_share(pair: Record, params: Record, directive: Record) -> None:
    """Give a pair its fixed share of the account, by the equity of the moment and by what was invested since."""
    capital = min(directive.others + equity_now(pair), params.capital + directive.invested)
    pair.target, pair.multiplier = directive.share * capital * directive.multiplier, directive.multiplier
    pair.invested = directive.share * directive.invested


@kernel
def _note_zones(pair: Record, state: Record) -> None:
    """Record the births and deaths of zones."""
    table = state.smc.zones
    for index in range(min(table.entries, len(table.journal))):
        zone = table.journal[index]
        entry = record_decision(pair, state, DecisionKind.ZONE)
        entry.a, entry.b, entry.c = zone.kind, zone.direction, zone.timeframe
        entry.x, entry.y, entry.z = zone.bottom, zone.top, zone.quality
        entry.w, entry.v = float(zone.born), float(zone.died)
    table.entries = 0


@kernel
def _record_costs(pair: Record, state: Record) -> None:
    """Record what was not done because it would not have paid for its costs."""
    costs = pair.costs
    if costs.refused == state.costs_recorded:
        return
    state.costs_recorded = costs.refused
    entry = record_decision(pair, state, DecisionKind.COSTS)
    entry.a, entry.b, entry.c = costs.rule, costs.refused, state.family
    entry.x, entry.y, entry.z = costs.distance, costs.least, costs.cost


@kernel
def _adopt_variant(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Take another variant of the running strategy: a range's at once, since it counts only when next laid."""
    directive = state.directive
    if state.family == NO_STRATEGY or directive.family != state.family or directive.variant == state.variant:
        return
    laid_later = params.judged_as[state.family] == JudgedAs.RANGE
    if not laid_later and (pair.ledger.position != 0 or _desired_orders(slots)):
        return
    entry = record_decision(pair, state, DecisionKind.VARIANT)
    entry.a, entry.b, entry.c = state.family, directive.variant, state.variant
    state.variant = directive.variant


@kernel
def _desired_orders(slots: Record) -> bool:
    """Whether the strategy desires any order."""
    for index in range(len(slots) - OWN):
        if slots[index].active or slots[index].suspended:
            return True
    return False


@template
def _on_base(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> bool:
    """A base bar closed: zones are visited, and the strategy that runs looks at it. False: zones were all it meant."""
    bar = event.bar
    matters = bar.high >= state.wake_above or bar.low <= state.wake_below or pair.time >= pair.wake_at
    _visit_zones(pair, params, state, bar.high, bar.low)
    if matters and state.family != NO_STRATEGY:
        if params.fixed_shares and pair.target <= 0.0:  # no signal bar has closed yet
            _take_share(pair, params, state.directive)
        pair.may_enter = may_open(pair, params, state)
        tell(pair, params, state, slots, event, Event.BASE, state.family)
        if pair.range_asked:  # a grid that did not wait for a longer bar
            judge_range(pair, params, state, slots, event)
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


@template
def _on_fill(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Book the trade and let the strategy answer; what the pair's own orders take, it hears of too."""
    fill = event.execution
    closed = book_trade(state.parts, fill, pair.instrument.tick_value, state.closed)
    for index in range(closed):
        book_outcome(state.outcomes, state.closed[index], fill.ts)
    pair.may_enter = may_open(pair, params, state)
    if state.family != NO_STRATEGY:
        tell(pair, params, state, slots, event, Event.FILL, state.family)


@template
def _on_foreign(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Lots that nobody here asked for: the position is no strategy's any more."""
    book_trade(state.parts, event.execution, pair.instrument.tick_value, state.closed)
    guard_external_position(pair, params, state, slots, event)


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
        entry = record_decision(pair, state, DecisionKind.PAUSE)
        entry.a, entry.b, entry.x = Pause.DAY_LOSS, midnight, loss / directive.target
    if state.outcomes.losing >= params.losing_trades:
        until = pair.time + whole_ms(params.losing_pause_hours, HOUR)
        entry = record_decision(pair, state, DecisionKind.PAUSE)
        entry.a, entry.b, entry.x = Pause.LOSING_TRADES, until, float(state.outcomes.losing)
        state.outcomes.losing = 0
        if until > state.paused_until:
            state.paused_until, state.pause = until, Pause.LOSING_TRADES
    paused = directive.paused or pair.time < state.paused_until
    if paused and state.phase == Phase.RUNNING:
        advance(state, Trigger.PAUSE)
    elif not paused and state.phase == Phase.PAUSED:
        advance(state, Trigger.UNPAUSE)
        record_decision(pair, state, DecisionKind.UNPAUSE)


@kernel
def _watch(pair: Record, params: Record, state: Record) -> None:
    """Say which base bars matter: the strategy's, those that visit or leave a zone, the day's loss, and deadlines."""
    above, below = state.watch_above, state.watch_below
    pair.wake_at = (pair.time // DAY + 1) * DAY
    if state.phase == Phase.PAUSED and state.paused_until > pair.time:
        pair.wake_at = min(pair.wake_at, state.paused_until)
    if state.asked != 0:  # an entry at the market asks for a place until the next bar
        pair.wake_at = min(pair.wake_at, pair.time + 1)
    if state.phase == Phase.DRAINING:
        pair.wake_at = min(pair.wake_at, state.drain_start + whole_ms(params.transition_hours, HOUR))
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
def fill_report(pair: Record, params: Record, state: Record, report: Record) -> None:
    """Tell the portfolio how the pair stands."""
    features, entries = state.features, state.entries_notional
    report.time = pair.time
    report.equity = equity_now(pair)
    report.entries_notional = entries
    report.exposure = position_notional(pair) + entries
    report.entries_reserved = entry_reserve(pair, entries)
    report.reserved = position_reserve(pair) + report.entries_reserved
    report.regime_bars, report.regime_end = features.count, features.end
    report.close, report.adx, report.atr = features.close, features.adx.value, features.atr.value
    report.fast, report.slow = features.fast.value, features.slow.value
    report.hour, report.hour_close = state.hour, state.hour_close
    report.family, report.enhanced = state.family, state.enhanced
    report.holds, report.asks = pair.ledger.position != 0, state.asks or entries > 0.0
    outcomes = state.outcomes
    sum_outcomes(outcomes, whole_ms(params.performance_days, DAY), pair.time)
    report.trades, report.wins = outcomes.trades, outcomes.wins
    report.gains, report.losses = outcomes.gains, outcomes.losses
