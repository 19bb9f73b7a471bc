"""The compiled steps as entry points for callers that are not compiled: one event of a pair, or of the portfolio.

The universal simulator calls the same kernels inside its own loop; what each of these does around them is what
`portfolio_loop` does around them, and the parity test holds the two to each other.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import Any, cast

import numpy as np

from bot.instrument import ON_GRID
from bot.kernel import Record, kernel, specialise, template
from bot.ledger import book_fill, book_funding
from bot.order import OrderKind, is_exit, stops_position
from bot.rollup import rollup_update
from bot.strategy import Decide, Event, needs_evaluation
from coordinator import pair as pair_step
from coordinator.pair import fill_report
from coordinator.portfolio import PortfolioState, limit, places_change, step, value_account
from coordinator.roster import Roster

# The pair's kernel: `specialise` binds it.
decide = cast("Decide", None)


@kernel
def value_report(pair: Record, report: Record) -> None:
    """Value the pair at its last price, as the portfolio's sums do at every close."""
    held = pair.ledger.position * pair.instrument.tick_value
    ticks = pair.price / pair.instrument.tick_size
    worth = held * (np.rint(ticks) if abs(ticks - np.rint(ticks)) < ON_GRID else ticks)
    report.equity = pair.ledger.cash + worth
    report.exposure = abs(worth) + report.entries_notional
    report.position, report.price = pair.ledger.position, pair.price
    report.settled = pair.ledger.realised - pair.ledger.fees + pair.ledger.funding
    report.cost = pair.ledger.cost


@kernel
def _tell_standing(pair: Record, state: Record, slots: Record, report: Record) -> None:
    """Add to the report what people want to see."""
    value_report(pair, report)
    report.phase, report.entries, report.exits = state.phase, 0, 0
    report.refused_for_costs = pair.costs.refused
    for index in range(len(slots)):
        if slots[index].active and is_exit(slots[index].signal):
            report.exits += 1
        elif slots[index].active:
            report.entries += 1


@template
def dispatch_bars(
    pairs: Record,
    params: Record,
    states: Record,
    slots: Record,
    events: Record,
    rollups: Record,
    timeframes: Record,
    reports: Record,
    bars: Record,
    paid: bool,
) -> bool:
    """Take closed base bars (n,), prices in quote currency, in order; whether anything was decided.

    Shapes: pairs, params, states, events, reports of one; slots (s,); rollups (m,) with timeframes (m,) ms ascending.
    `paid`: funding was booked since the last bar.
    """
    pair, state, event, acted = pairs[0], states[0], events[0], False
    for i in range(len(bars)):
        bar = bars[i]
        pair.time, pair.price = bar.ts + pair.bar_ms, bar.close
        if paid or needs_evaluation(pair, bar):
            event.bar = bar
            event.kind = Event.BASE
            decide(pair, params[0], state, slots, event)
        for k in range(len(timeframes)):
            if rollup_update(rollups[k], bar, pair.bar_ms, timeframes[k]):
                event.bar = rollups[k].bar
                event.timeframe = timeframes[k]
                event.kind = Event.SIGNAL
                decide(pair, params[0], state, slots, event)
        paid = False
        if state.acted:
            state.acted, acted = False, True
            fill_report(pair, params[0], state, reports[0])
    _tell_standing(pair, state, slots, reports[0])
    return acted


@template
def play_fill(pairs: Record, params: Record, states: Record, slots: Record, events: Record, current: bool) -> None:
    """Book the execution in `events[0].execution` and let the pair answer it.

    `current`: the order is the one its slot holds now, which shrinks by what was filled.
    """
    pair, event = pairs[0], events[0]
    record, instrument = event.execution, pairs[0].instrument
    if current:
        slot = slots[record.slot]
        if slot.kind == OrderKind.STOP:
            if stops_position(slot):
                slot.quantity = abs(pair.ledger.position)
            slot.kind = OrderKind.MARKET
        record.kind = slot.kind
        slot.quantity -= record.quantity
        slot.active = slot.quantity > 0
    price = float(record.price)
    record.realised = book_fill(pair.ledger, record.side, price, record.quantity, instrument.tick_value, record.fee)
    record.position = pair.ledger.position
    pair.ledger.slippage += record.slippage
    pair.price = price * instrument.tick_size
    event.kind = Event.FILL
    decide(pair, params[0], states[0], slots, event)


@template
def play_foreign(pairs: Record, params: Record, states: Record, slots: Record, events: Record) -> None:
    """Book the execution in `events[0].execution`, which nobody here asked for and which adds to the position."""
    pair, event = pairs[0], events[0]
    record, instrument = event.execution, pairs[0].instrument
    record.realised = book_fill(
        pair.ledger, record.side, float(record.price), record.quantity, instrument.tick_value, record.fee
    )
    record.position = pair.ledger.position
    pair.price = record.price * instrument.tick_size
    event.kind = Event.FOREIGN
    decide(pair, params[0], states[0], slots, event)


@template
def play_refusal(pairs: Record, params: Record, states: Record, slots: Record, events: Record, index: int) -> None:
    """Clear the order that the venue will not have, and tell the pair."""
    event = events[0]
    slots[index].active = False
    event.kind = Event.REFUSED
    event.execution.slot = index
    event.execution.generation = slots[index].generation
    event.execution.ts = pairs[0].time
    decide(pairs[0], params[0], states[0], slots, event)


@template
def play_directive(
    pairs: Record, params: Record, states: Record, slots: Record, events: Record, reports: Record, given: Record
) -> None:
    """Let the pair follow `given` (a directive, in an array of one), and report."""
    pair, state, event = pairs[0], states[0], events[0]
    state.directive = given[0]
    event.kind = Event.DIRECTIVE
    decide(pair, params[0], state, slots, event)
    state.acted = False
    fill_report(pair, params[0], state, reports[0])
    _tell_standing(pair, state, slots, reports[0])


class PairEventKind(IntEnum):
    """What `dispatch_event` is told of."""

    BARS = 0
    FILL = 1
    REFUSAL = 2
    DIRECTIVE = 3
    FUNDING = 4
    FOREIGN = 5


@template
def dispatch_event(
    event_kind: int,
    pairs: Record,
    params: Record,
    states: Record,
    slots: Record,
    events: Record,
    rollups: Record,
    timeframes: Record,
    reports: Record,
    bars: Record,
    given: Record,
    index: int,
    amount: float,
) -> bool:
    """One thing that happened to a pair, in one function because each of its own would be compiled for itself.

    Shapes: pairs, params, states, events, reports and given (a directive) of one; slots (s,); rollups (m,) with
    timeframes (m,) ms ascending; bars (n,). `index`: whether money has moved since the last bar (BARS), whether the
    slot holds this very order (FILL), or the slot (REFUSAL); `amount`: funding received, quote currency.
    """
    if event_kind == PairEventKind.BARS:
        return dispatch_bars(pairs, params, states, slots, events, rollups, timeframes, reports, bars, index > 0)
    if event_kind == PairEventKind.FILL:
        play_fill(pairs, params, states, slots, events, index > 0)
    elif event_kind == PairEventKind.REFUSAL:
        play_refusal(pairs, params, states, slots, events, index)
    elif event_kind == PairEventKind.DIRECTIVE:
        play_directive(pairs, params, states, slots, events, reports, given)
    elif event_kind == PairEventKind.FOREIGN:
        play_foreign(pairs, params, states, slots, events)
    elif event_kind == PairEventKind.FUNDING:
        book_funding(pairs[0].ledger, amount)
        pairs[0].wake_at = 0
    return True


@template
def evaluate(params: Record, portfolio_state: PortfolioState, now: int) -> bool:
    """One evaluation of the portfolio over its reports; whether the directives were written anew."""
    equity, exposure, reserved, closed = portfolio_state.portfolio.deposits, 0.0, 0.0, False
    for i in range(len(portfolio_state.reports)):
        report = portfolio_state.reports[i]
        equity += report.equity
        exposure += report.exposure
        reserved += report.reserved
        closed = closed or report.regime_bars != portfolio_state.regimes[i].bars
    closed = closed or places_change(params[0], portfolio_state)
    if not value_account(params[0], portfolio_state.portfolio, equity, exposure, reserved, closed, now):
        return False
    step(params[0], portfolio_state, now)
    return True


@template
def evaluate_or_share(params: Record, portfolio_state: PortfolioState, now: int, evaluated: bool) -> bool:
    """Evaluate the portfolio by its reports; or, once `evaluated`, share the room for entries until the next time."""
    if evaluated:
        limit(params[0], portfolio_state)
        return False
    return evaluate(params, portfolio_state, now)


@cache
def compiled_dispatch(roster: Roster) -> Any:
    """Compile the pair's entry point for a roster, once per process, on disk once per source."""
    bindings = {"decide": pair_step.decide, "dispatch": roster.dispatch()}
    return specialise(dispatch_event, f"live_{roster.code_name}", inlined=False, **bindings)


@cache
def compiled_portfolio(roster: Roster) -> Any:
    """Compile the portfolio's entry point, which reads a roster's parameters."""
    return specialise(evaluate_or_share, f"live_{roster.code_name}", inlined=False)
