"""The loop over many pairs on one clock: each pair's bars through its own step, then the portfolio's step.

At every time all pairs that have a bar are played before the portfolio looks, so their order does not matter. What
stirs nobody is passed over, which is quiet_bars.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from backtesting.exchange import Outcome, World, band, close_out, move, refresh_band, trade_bar
from backtesting.loop import begin_bar, end_bar, pay_funding, write_change, write_desired_orders
from backtesting.quiet_bars import (
    NEVER,
    fast_forward,
    heat,
    mark_reports,
    scan,
    take_decisions,
    value_all,
    visit,
)
from bot.kernel import Record, kernel, template, unowned
from bot.ledger import imbalance
from bot.rollup import BAR
from bot.strategy import Decide, Event, needs_evaluation
from coordinator.pair import fill_report
from coordinator.pair_state import MOST_DECISIONS
from coordinator.portfolio import PortfolioState, begin, differs, limit, places_change, step, value_account

if TYPE_CHECKING:
    from coordinator.roster import TakeInputs

# A longer bar of a pair and the base bar (index into the flat arrays) that completes it. The inputs of strategies that
# have some stand behind it.
CLOSING: np.dtype[Any] = np.dtype([("end", "i8"), ("timeframe", "i8"), ("bar", BAR)])
# What the loop leaves besides the lists: how far it came and how it ended.
TALLY = np.dtype(
    [
        ("fills", "i8"),
        ("changes", "i8"),
        ("desired_orders", "i8"),
        ("decisions", "i8"),
        ("times", "i8"),
        ("outcome", "i8"),
        ("pair", "i8"),  # whose step did not end
        ("clock", "i8"),  # ms: the time that comes next
        ("free", "f8"),  # what the pairs leave of the account for others, quote currency
        ("reserved", "f8"),  # by all pairs, quote currency
        ("begun", "b1"),
        ("played", "i8"),  # bars that were not passed over
        ("stepped", "i8"),  # times the portfolio's step was called for
    ],
    align=True,
)


class Cursors(NamedTuple):
    """Where each of n pairs is: arrays (n,) int64."""

    bar: Any  # the next bar
    closing: Any  # the next signal bar that closes
    payment: Any  # of funding, the next
    due: Any  # the bar at which something other than the price is due
    stop: Any  # bars before it are quiet
    present: Any  # 1 where it has a bar now


# The pair's kernel, and what a longer bar brings besides: `specialise` binds them.
decide = cast("Decide", None)
take_inputs = cast("TakeInputs", None)


@kernel
def fills_needed(slots: int) -> int:
    """Room for the fills of one pair in one bar, `slots` being its orders."""
    return 2 * (64 + 8 * slots)


@kernel
def has_room(tally: Record, n: int, slots: int, fills: int, changes: int, desired_orders: int, decisions: int) -> bool:
    """Whether lists of these lengths have room for whatever may happen at one time of the clock."""
    return (
        tally.fills + n * fills_needed(slots) <= fills
        and tally.changes + 2 * n <= changes  # twice where the account is liquidated
        and tally.desired_orders + n * slots <= desired_orders
        and tally.decisions + 3 * n * MOST_DECISIONS + 64 <= decisions
    )


@template
def portfolio_loop(  # noqa: C901, PLR0912, PLR0915, the one loop: what it calls is elsewhere
    bars: Record,
    bounds: Record,
    closings: Record,
    closing_bounds: Record,
    payments: Record,
    payment_bounds: Record,
    settings_: Record,
    params_: Record,
    portfolio_state: PortfolioState,
    pairs: Record,
    states: Record,
    slots: Record,
    events: Record,
    runs: Record,
    cursors: Cursors,
    quiet: Record,
    tallies: Record,
    fills: Record,
    changes: Record,
    desired_orders: Record,
    shown: Record,
    decisions: Record,
    equities: Record,
    until: int,
) -> None:
    """Run n pairs over one clock until `until` (ms), the end, or until a list might overflow; call again to go on.

    Shapes: bars of all pairs, pair p's at bounds[p]:bounds[p + 1], prices in ticks; closings and payments
    likewise by their bounds, with their `end` and `bar` as indices into the bars; slots, shown (n, s); cursors (n,)
    and quiet, QUIET (n,), are scratch; equities: room for every time of the clock; names with a trailing
    underscore and tallies are arrays of one.
    """
    bars, bounds, pairs, states, runs = unowned(bars), unowned(bounds), unowned(pairs), unowned(states), unowned(runs)
    equities, closings, payments = unowned(equities), unowned(closings), unowned(payments)
    n, params, settings, tally = len(pairs), params_[0], settings_[0], tallies[0]
    quiet, closing_bounds, payment_bounds = unowned(quiet), unowned(closing_bounds), unowned(payment_bounds)
    slots, shown, events = unowned(slots), unowned(shown), unowned(events)
    fills, changes, desired_orders, decisions = (
        unowned(fills),
        unowned(changes),
        unowned(desired_orders),
        unowned(decisions),
    )
    reports, directives = unowned(portfolio_state.reports), unowned(portfolio_state.directives)
    portfolio_state = (
        PortfolioState(  # the same portfolio over arrays that are not counted: counting would cost more than looking
            *(
                portfolio_state.portfolio,
                unowned(portfolio_state.regimes),
                unowned(portfolio_state.routes),
                unowned(portfolio_state.allocations),
            ),
            *(
                unowned(portfolio_state.histories),
                unowned(portfolio_state.groups),
                unowned(portfolio_state.group_sums),
                reports,
                directives,
            ),
            unowned(portfolio_state.decisions),
        )
    )
    cursor, closing, payment = unowned(cursors.bar), unowned(cursors.closing), unowned(cursors.payment)
    due, stop, present = unowned(cursors.due), unowned(cursors.stop), unowned(cursors.present)
    bar_ms = pairs[0].bar_ms
    if not tally.begun:
        tally.begun = True
        cursor[:], closing[:], payment[:] = bounds[:-1], closing_bounds[:-1], payment_bounds[:-1]
        begin(params, portfolio_state, settings.capital)
        tally.clock = earliest(bars, cursor, bounds)
        for p in range(n):
            pairs[p].coordinated = not params.solo
            pairs[p].shared = n > 1 or not params.solo
            runs[p].up = -np.inf  # no band is known yet
            due[p] = present[p] = 0  # the first bar is played
            stop[p] = tally.clock
    while tally.clock < until and tally.outcome == Outcome.COMPLETE:
        if not has_room(tally, n, slots.shape[1], len(fills), len(changes), len(desired_orders), len(decisions)):
            return
        busy = visit(bars, bounds, cursor, stop, present, due, quiet, params, pairs, states, runs, decisions, tally)
        moved = tally.clock >= settings.start and places_change(params, portfolio_state)
        if not (busy or moved) and fast_forward(
            bars,
            cursor,
            stop,
            present,
            quiet,
            equities,
            params,
            portfolio_state.portfolio,
            settings,
            tally,
            bar_ms,
            until,
        ):
            continue
        clock = tally.clock
        others, now, active = tally.free, clock + bar_ms, 0
        closed = limited = False
        for p in range(n):
            i, row = cursor[p], quiet[p]
            if not present[p]:
                if i == bounds[p + 1]:
                    reports[p].alive = False
                continue
            active += 1
            cursor[p] = i + 1
            if stop[p] != clock:
                continue
            pair, run = pairs[p], runs[p]
            tally.played += 1
            if not limited:
                limited = True
                mark_reports(quiet, reports)
                limit(params, portfolio_state)
            states[p].directive.exposure_limit = directives[p].exposure_limit
            states[p].directive.others = directives[p].others
            run.fills, run.changes, run.desired_orders = tally.fills, tally.changes, tally.desired_orders
            pair.credit = settings.capital + others - row.free
            world = World(pair, params, states[p], slots[p], events[0], run, settings, fills)
            cash, position = pair.ledger.cash, pair.ledger.position
            closing[p], payment[p] = play(
                *(world, p, i, bars[i]),
                *(closings, closing[p], closing_bounds[p + 1], payments, payment[p], payment_bounds[p + 1]),
                i + 1 == bounds[p + 1],
            )
            due[p] = min(
                next_due(closings, closing[p], closing_bounds[p + 1], payments, payment[p], payment_bounds[p + 1]),
                bounds[p + 1] - 1,
            )
            reports[p].alive = True  # that no bar follows is known only when one is due
            if states[p].acted or run.outcome != Outcome.COMPLETE:  # a liquidation asks nobody
                states[p].acted = False
                fill_report(pair, params, states[p], reports[p])
            closed = closed or reports[p].regime_bars != portfolio_state.regimes[p].bars
            if run.outcome != Outcome.COMPLETE:
                tally.outcome, tally.pair = run.outcome, p
            if pair.ledger.cash != cash or pair.ledger.position != position:
                write_change(changes, pair.ledger, run, p)
            take_decisions(states[p], p, decisions, tally)
            if settings.keep_desired_orders:
                write_desired_orders(world.slots, run, desired_orders, shown[p], p)
            tally.fills, tally.changes, tally.desired_orders = run.fills, run.changes, run.desired_orders
            heat(row, pair, run, states[p], reports[p])
            stop[p] = scan(row, bars, i + 1, due[p], now, bar_ms)
        if active == 0:
            tally.clock = earliest(bars, cursor, bounds)
            continue
        closed = closed or places_change(params, portfolio_state)
        # Only now: what a pair decides must not know another's close.
        equity, exposure, worst, maintenance = value_all(bars, cursor, present, quiet, settings.capital, tally)
        if clock >= settings.start and value_account(
            params, portfolio_state.portfolio, equity, exposure, tally.reserved, closed, now
        ):
            tally.stepped += 1
            mark_reports(quiet, reports)
            step(params, portfolio_state, now)
            take_portfolio_decisions(portfolio_state, decisions, tally)
            tally.reserved = 0.0
            for p in range(n):
                pair, at = pairs[p], cursor[p] - 1
                if at >= bounds[p] and differs(states[p].directive, directives[p]):
                    states[p].directive = directives[p]
                    pair.time, pair.price = now, bars[at].close * pair.instrument.tick_size
                    world = World(pair, params, states[p], slots[p], events[0], runs[p], settings, fills)
                    direct(world, bars[at].close)
                    states[p].acted = False
                    fill_report(pair, params, states[p], reports[p])
                    take_decisions(states[p], p, decisions, tally)
                    heat(quiet[p], pair, runs[p], states[p], reports[p])
                    if present[p]:
                        stop[p] = scan(quiet[p], bars, at + 1, due[p], now, bar_ms)
                tally.reserved += quiet[p].reserved
        if tally.outcome == Outcome.COMPLETE and maintenance > 0.0 and worst <= maintenance and pairs[0].shared:
            tally.outcome = Outcome.LIQUIDATED
            share = way_to_nothing(bars, cursor, present, pairs, settings.capital)
            left, equity = account_at(bars, cursor, present, pairs, settings.capital, share), 0.0
            for p in range(n):
                if pairs[p].ledger.position != 0:
                    world = World(pairs[p], params, states[p], slots[p], events[0], runs[p], settings, fills)
                    liquidate_pair(world, bars, cursor[p] - 1, present[p], share, left, changes, p, tally)
                    left = 0.0
        elif tally.outcome == Outcome.COMPLETE and equity <= 0.0:
            tally.outcome = Outcome.RUINED
        equities[tally.times] = equity
        tally.times += 1
        tally.clock = now
    for p in range(n):
        last = max(cursor[p] - 1, bounds[p])
        runs[p].bars = cursor[p] - bounds[p]
        runs[p].imbalance = imbalance(pairs[p].ledger, bars[last].close, pairs[p].instrument.tick_value)


@kernel
def way_price(bar: Record, position: int, present: int, share: float) -> float:
    """Price (whole ticks) after this share of the way from a bar's opening to its worst price for a position."""
    begin, worst = bar.close, bar.close
    if present:
        begin, worst = bar.open, bar.low if position > 0 else bar.high
    price = begin + share * (worst - begin)
    return max(np.ceil(price) if position > 0 else np.floor(price), 1.0)


@kernel
def account_at(bars: Record, cursor: Record, present: Record, pairs: Record, capital: float, share: float) -> float:
    """Equity of the account after this share of the way of every pair that is held."""
    whole = capital
    for p in range(len(pairs)):
        ledger = pairs[p].ledger
        whole += ledger.cash
        if ledger.position != 0:
            price = way_price(bars[cursor[p] - 1], ledger.position, present[p], share)
            whole += ledger.position * price * pairs[p].instrument.tick_value
    return whole


@kernel
def way_to_nothing(bars: Record, cursor: Record, present: Record, pairs: Record, capital: float) -> float:
    """Share of the way to the worst prices that leaves the account nothing; all of it where something is left."""
    begin = account_at(bars, cursor, present, pairs, capital, 0.0)
    end = account_at(bars, cursor, present, pairs, capital, 1.0)
    if end >= 0.0:
        return 1.0
    return max(begin, 0.0) / (begin - end) if begin > end else 0.0


@kernel
def liquidate_pair(
    world: World, bars: Record, at: int, present: int, share: float, left: float, changes: Record, p: int, tally: Record
) -> None:
    """Close a pair of a liquidated account; `left` of the account's money goes as fee."""
    pair, run = world.pair, world.run
    run.fills, run.changes = tally.fills, tally.changes
    begin_bar(world, at, bars[at].ts, bars[at].volume)
    world.event.execution.pair = p
    close_out(world, way_price(bars[at], pair.ledger.position, present, share), left)
    write_change(changes, pair.ledger, run, p)
    tally.fills, tally.changes = run.fills, run.changes


@kernel
def earliest(bars: Record, cursor: Record, bounds: Record) -> int:
    """Find the first time of the clock."""
    first = NEVER
    for p in range(len(cursor)):
        if cursor[p] < bounds[p + 1]:
            first = min(first, bars[cursor[p]].ts)
    return first


@kernel
def next_due(closings: Record, closing: int, closing_end: int, payments: Record, payment: int, payment_end: int) -> int:
    """Find the next bar that completes a longer one or pays funding."""
    due = NEVER
    if closing < closing_end:
        due = min(due, closings[closing].end)
    if payment < payment_end:
        due = min(due, payments[payment].bar)
    return due


@template
def play(
    world: World,
    p: int,
    i: int,
    ticks: Record,
    closings: Record,
    closing: int,
    closing_end: int,
    payments: Record,
    payment: int,
    payment_end: int,
    last: bool,
) -> tuple[int, int]:
    """One bar of one pair, its `last` or not: funding, path, close, longer bars; returns next closing and payment."""
    pair, run, event, tick = world.pair, world.run, world.event, world.pair.instrument.tick_size
    open_, high, low, close = ticks.open, ticks.high, ticks.low, ticks.close
    begin_bar(world, i, ticks.ts, ticks.volume)
    event.execution.pair = p
    due, rate = payment, 0.0
    while payment < payment_end and payments[payment].bar == i:
        rate += payments[payment].rate
        payment += 1
    paid = payment > due and pay_funding(world, open_, rate)
    if paid:  # money has moved, and with it what the strategy and the day's loss wait for
        pair.wake_at = 0
    if ticks.volume > 0.0 and (high >= run.up or low <= run.down):
        trade_bar(world, open_, high, low, close)
    end_bar(world, close)
    if run.outcome != Outcome.COMPLETE:
        return closing, payment
    bar = event.bar
    bar.ts, bar.volume = ticks.ts, ticks.volume
    bar.open, bar.high, bar.low, bar.close = open_ * tick, high * tick, low * tick, close * tick
    if paid or needs_evaluation(pair, bar):
        event.kind = Event.BASE
        decide(pair, world.params, world.state, world.slots, event)
    while closing < closing_end and closings[closing].end == i:
        event.bar = closings[closing].bar
        take_inputs(event, closings[closing])
        event.timeframe = closings[closing].timeframe
        event.kind = Event.SIGNAL
        decide(pair, world.params, world.state, world.slots, event)
        closing += 1
    if world.state.acted or run.up == -np.inf:
        refresh_band(world, close)
    else:
        band(pair, run)
    if world.settings.fill_at_close and ticks.volume > 0.0 and not last:
        move(world, close, close)
    return closing, payment


@template
def direct(world: World, close: float) -> None:
    """Let a pair follow its new directive."""
    world.event.kind = Event.DIRECTIVE
    decide(world.pair, world.params, world.state, world.slots, world.event)
    refresh_band(world, close)


@kernel
def take_portfolio_decisions(portfolio_state: PortfolioState, decisions: Record, tally: Record) -> None:
    """Take the portfolio's notes down."""
    for k in range(min(portfolio_state.portfolio.decided, len(portfolio_state.decisions))):
        decisions[tally.decisions] = portfolio_state.decisions[k]
        tally.decisions += 1
    portfolio_state.portfolio.decided = 0
