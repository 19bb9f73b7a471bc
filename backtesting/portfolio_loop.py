"""The loop over many pairs on one clock: each pair's bars through its own step, then the portfolio's step.

At every time all pairs that have a bar are played before the portfolio looks, so their order does not matter. What
stirs nobody is passed over: every pair knows how far its own bars are quiet (`scan`), and while all are and the account
keeps inside the corridor in which the portfolio does nothing, the clock glides on by marks alone (`glide`).
"""

from __future__ import annotations

import numpy as np

from backtesting.exchange import Outcome, World, band, survey, trade_bar
from backtesting.loop import begin_bar, end_bar, pay_funding, write_change, write_wishes
from bot.kernel import Record, fetch, inlined, kernel, template, unowned
from bot.ledger import imbalance
from bot.rollup import BAR
from bot.strategy import Event, stirred
from coordinator.gate import margin_rate
from coordinator.pair import decide, fill_report, pass_zones
from coordinator.pair_state import NOTES
from coordinator.portfolio import Desk, begin, corridor, differs, limit, look, step

# A longer bar of a pair and the base bar (index into the flat arrays) that completes it.
CLOSING = np.dtype([("end", "i8"), ("timeframe", "i8"), ("bar", BAR)])
# What the loop leaves besides the lists: how far it came and how it ended.
TALLY = np.dtype(
    [
        ("fills", "i8"),
        ("changes", "i8"),
        ("wishes", "i8"),
        ("notes", "i8"),
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
NEVER = np.iinfo(np.int64).max
PLACES = 6  # rows of `places`, one column per pair
AHEAD = 64  # bars that are asked of the memory while one is played
FARTHEST = 240  # bars that are scanned ahead at once: a directive may make all of it vain
# What a quiet bar needs to know of a pair, beside each other: the band, the position, and what it adds to the sums.
UP, DOWN, OVER, UNDER, WAKE, HELD, CASH, RESTING, RESERVED, MARGIN, MAINTENANCE, EQUITY, EXPOSURE, FREE = range(14)
FIRM_UP, FIRM_DOWN = 14, 15  # the band without the zones
HOT = 16


@kernel
def fills_needed(slots: int) -> int:
    """Room for the fills of one pair in one bar, `slots` being its wishes."""
    return 2 * (64 + 8 * slots)


@kernel
def has_room(tally: Record, n: int, slots: int, fills: int, changes: int, wishes: int, notes: int) -> bool:
    """Whether lists of these lengths have room for whatever may happen at one time of the clock."""
    return (
        tally.fills + n * fills_needed(slots) <= fills
        and tally.changes + n <= changes
        and tally.wishes + n * slots <= wishes
        and tally.notes + 3 * n * NOTES + 64 <= notes
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
    desk: Desk,
    pairs: Record,
    states: Record,
    slots: Record,
    events: Record,
    runs: Record,
    places: Record,
    hot: Record,
    tallies: Record,
    fills: Record,
    changes: Record,
    wishes: Record,
    shown: Record,
    notes: Record,
    equities: Record,
    until: int,
) -> None:
    """Run n pairs over one clock until `until` (ms), the end, or until a list might overflow; call again to go on.

    Shapes: bars of all pairs, pair p's at bounds[p]:bounds[p + 1], prices in ticks; closings and payments
    likewise by their bounds, with `end` and payment as indices into the bars; slots, shown (n, s); places (PLACES, n)
    int64 and hot (n, HOT) are scratch; equities: room for every time of the clock; names with a trailing underscore
    and tallies are arrays of one.
    """
    bars, bounds, pairs, states, runs = unowned(bars), unowned(bounds), unowned(pairs), unowned(states), unowned(runs)
    equities, closings, payments = unowned(equities), unowned(closings), unowned(payments)
    n, params, settings, tally = len(pairs), params_[0], settings_[0], tallies[0]
    hot, closing_bounds, payment_bounds = unowned(hot), unowned(closing_bounds), unowned(payment_bounds)
    slots, shown, events = unowned(slots), unowned(shown), unowned(events)
    fills, changes, wishes, notes = unowned(fills), unowned(changes), unowned(wishes), unowned(notes)
    reports, directives = unowned(desk.reports), unowned(desk.directives)
    desk = Desk(  # the same desk over arrays that are not counted: counting would cost more than looking
        *(desk.portfolio, unowned(desk.regimes), unowned(desk.routes), unowned(desk.allocations)),
        *(unowned(desk.histories), unowned(desk.groups), unowned(desk.group_sums), reports, directives),
        unowned(desk.notes),
    )
    cursor, closing, payment, due = unowned(places[0]), unowned(places[1]), unowned(places[2]), unowned(places[3])
    stop, present = unowned(places[4]), unowned(places[5])
    bar_ms = pairs[0].bar_ms
    if not tally.begun:
        tally.begun = True
        cursor[:], closing[:], payment[:] = bounds[:-1], closing_bounds[:-1], payment_bounds[:-1]
        begin(params, desk, settings.capital)
        tally.clock = earliest(bars, cursor, bounds)
        for p in range(n):
            pairs[p].coordinated = True
            runs[p].surveyed = -1
            due[p] = present[p] = 0  # the first bar is played
            stop[p] = tally.clock
    while tally.clock < until and tally.outcome == Outcome.COMPLETE:
        if not has_room(tally, n, slots.shape[1], len(fills), len(changes), len(wishes), len(notes)):
            return
        busy = visit(bars, bounds, cursor, stop, present, due, hot, params, pairs, states, runs, notes, tally)
        if not busy and glide(
            bars, cursor, stop, present, hot, equities, params, desk.portfolio, settings, tally, bar_ms, until
        ):
            continue
        clock = tally.clock
        others, now, active = tally.free, clock + bar_ms, 0
        closed = limited = False
        for p in range(n):
            i, row = cursor[p], hot[p]
            if not present[p]:
                continue
            active += 1
            cursor[p] = i + 1
            if stop[p] != clock:
                continue
            pair, run = pairs[p], runs[p]
            tally.played += 1
            if not limited:
                limited = True
                mark_reports(hot, reports)
                limit(params, desk)
            states[p].directive.exposure_limit = directives[p].exposure_limit
            run.fills, run.changes, run.wishes = tally.fills, tally.changes, tally.wishes
            pair.credit = settings.capital + others - row[FREE]
            world = World(pair, params, states[p], slots[p], events[0], run, settings, fills)
            cash, position = pair.ledger.cash, pair.ledger.position
            closing[p], payment[p] = play(
                *(world, p, i, bars[i]),
                *(closings, closing[p], closing_bounds[p + 1], payments, payment[p], payment_bounds[p + 1]),
            )
            due[p] = min(
                next_due(closings, closing[p], closing_bounds[p + 1], payments, payment[p], payment_bounds[p + 1]),
                bounds[p + 1] - 1,
            )
            reports[p].alive = i + 1 < bounds[p + 1]
            if states[p].acted:
                states[p].acted = False
                fill_report(pair, params, states[p], reports[p])
            closed = closed or reports[p].regime_bars != desk.regimes[p].bars
            if run.outcome != Outcome.COMPLETE:
                tally.outcome, tally.pair = run.outcome, p
            if pair.ledger.cash != cash or pair.ledger.position != position:
                write_change(changes, pair.ledger, run, p)
            take_notes(states[p], p, notes, tally)
            if settings.keep_wishes:
                write_wishes(world.slots, run, wishes, shown[p], p)
            tally.fills, tally.changes, tally.wishes = run.fills, run.changes, run.wishes
            heat(row, pair, run, states[p], reports[p])
            stop[p] = scan(row, bars, i + 1, due[p], now, bar_ms)
        if active == 0:
            tally.clock = earliest(bars, cursor, bounds)
            continue
        # Only now: what a pair decides must not know another's close.
        equity, exposure, worst, maintenance = value_all(bars, cursor, present, hot, settings.capital, tally)
        if clock >= settings.start and look(params, desk.portfolio, equity, exposure, tally.reserved, closed, now):
            tally.stepped += 1
            mark_reports(hot, reports)
            step(params, desk, now)
            take_portfolio_notes(desk, notes, tally)
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
                    take_notes(states[p], p, notes, tally)
                    heat(hot[p], pair, runs[p], states[p], reports[p])
                    if present[p]:
                        stop[p] = scan(hot[p], bars, at + 1, due[p], now, bar_ms)
                tally.reserved += hot[p, RESERVED]
        equities[tally.times] = equity
        tally.times += 1
        if tally.outcome == Outcome.COMPLETE and equity <= 0.0:
            tally.outcome = Outcome.RUINED
        elif tally.outcome == Outcome.COMPLETE and maintenance > 0.0 and worst <= maintenance:
            tally.outcome = Outcome.LIQUIDATED
        tally.clock = now
    for p in range(n):
        last = max(cursor[p] - 1, bounds[p])
        runs[p].bars = cursor[p] - bounds[p]
        runs[p].imbalance = imbalance(pairs[p].ledger, bars[last].close, pairs[p].instrument.tick_value)


@inlined
def visit(
    bars: Record,
    bounds: Record,
    cursor: Record,
    stop: Record,
    present: Record,
    due: Record,
    hot: Record,
    params: Record,
    pairs: Record,
    states: Record,
    runs: Record,
    notes: Record,
    tally: Record,
) -> bool:
    """See which pairs have a bar at the clock; where it matters to zones alone, let them be visited.

    True when some pair's bar is to be played.
    """
    clock, stirs = tally.clock, False
    for p in range(len(pairs)):
        i, row = cursor[p], hot[p]
        if stop[p] != clock or not arrive(bars, i, bounds[p + 1], clock, stop, present, p):
            continue
        for k in range(i + 1, i + AHEAD):
            fetch(bars, k)
        bar, pair, run = bars[i], pairs[p], runs[p]
        now, tick = clock + pair.bar_ms, pair.instrument.tick_size
        if not firm(row, bar, i >= due[p], now):
            stirs = True
            continue
        pair.time = now
        pass_zones(pair, params, states[p], bar.high * tick, bar.low * tick)
        take_notes(states[p], p, notes, tally)
        band(pair, run)
        row[UP], row[DOWN], row[OVER], row[UNDER] = run.up, run.down, run.over, run.under
        stop[p] = scan(row, bars, i + 1, due[p], now, pair.bar_ms)
    return stirs


@kernel
def firm(row: Record, bar: Record, due: bool, now: int) -> bool:
    """Whether a bar, prices in ticks, reaches no order of the pair and wakes nobody, unless it be a zone."""
    return not (bar.high >= row[FIRM_UP] or bar.low <= row[FIRM_DOWN] or due or now >= row[WAKE])


@inlined
def arrive(bars: Record, i: int, end: int, clock: int, stop: Record, present: Record, p: int) -> bool:
    """Whether pair `p` has its bar `i` at the clock where its quiet bars ended; if not, it is absent until the next."""
    present[p] = i < end and bars[i].ts == clock
    if not present[p]:
        stop[p] = bars[i].ts if i < end else NEVER
    return bool(present[p])


@inlined
def scan(row: Record, bars: Record, i: int, due: int, ts: int, bar_ms: int) -> int:
    """Find the time, `ts` being bar i's, of the first bar that is not quiet, is due, or is missing."""
    up, down, over, under, awake = row[UP], row[DOWN], row[OVER], row[UNDER], row[WAKE] - bar_ms
    for j in range(i, min(due, i + FARTHEST)):
        bar = bars[j]
        if bar.ts != ts or ts >= awake:
            break
        if bar.high >= up or bar.low <= down or bar.low > over or bar.high < under:
            break
        ts += bar_ms
    return ts


@inlined
def glide(
    bars: Record,
    cursor: Record,
    stop: Record,
    present: Record,
    hot: Record,
    equities: Record,
    params: Record,
    portfolio: Record,
    settings: Record,
    tally: Record,
    bar_ms: int,
    until: int,
) -> bool:
    """Let the clock go on, marking what is held, to the first time that may stir a pair or the portfolio.

    False when the portfolio is to look at the time where it stands then.
    """
    n, clock, end = len(cursor), tally.clock, until
    low, high = -np.inf, np.inf
    if clock < settings.start:
        end = min(end, settings.start)
    else:
        low, high, calm = corridor(params, portfolio, tally.reserved)
        end = min(end, calm - bar_ms)
    end = min(end, horizon(stop, present))
    if clock >= end:
        return False
    steps, at = (end - clock + bar_ms - 1) // bar_ms, tally.times
    coming = equities[at : at + steps]
    least, most = mark_ahead(bars, cursor, present, hot, coming, settings.capital)
    done, exposure, free = steps, 0.0, 0.0
    if not (low <= least and most <= high):
        done = 0
        while done < steps and low <= coming[done] <= high:
            done += 1
    if done == 0 or least == -np.inf:
        return False
    for p in range(n):
        if present[p]:
            cursor[p] += done
            if hot[p, HELD] != 0.0:
                value(hot[p], hot[p, HELD] * bars[cursor[p] - 1].close)
        exposure += hot[p, EXPOSURE]
        free += hot[p, FREE]
    tally.times, tally.clock, tally.free = at + done, clock + done * bar_ms, free
    if clock >= settings.start:
        portfolio.risk.equity, portfolio.exposure = equities[at + done - 1], exposure
    return done == steps


@inlined
def horizon(stop: Record, present: Record) -> int:
    """Find the first time at which some pair's quiet bars end; 0 when no pair has a bar now."""
    first, there = NEVER, False
    for p in range(len(stop)):
        first = min(first, stop[p])
        there = there or bool(present[p])
    return first if there else 0


@inlined
def mark_ahead(
    bars: Record,
    cursor: Record,
    present: Record,
    hot: Record,
    equities: Record,
    capital: float,
) -> tuple[float, float]:
    """Value the account at each coming close, between two equities; the least is -inf when ruin is thinkable."""
    steps, least, most, maintenance = len(equities), capital, capital, 0.0
    equities[:] = capital
    for p in range(len(cursor)):
        held, cash, i = hot[p, HELD], hot[p, CASH], cursor[p]
        if held == 0.0 or not present[p]:
            worst = best = hot[p, EQUITY]
            for k in range(steps):
                equities[k] += best
        else:
            coming = bars[i : i + steps]
            bottom, top = coming[0].low, coming[0].high
            for k in range(steps):
                bar = coming[k]
                equities[k] += cash + held * bar.close
                bottom, top = min(bottom, bar.low), max(top, bar.high)
            worst, best = cash + held * bottom, cash + held * top
            if held < 0.0:
                worst, best = best, worst
            maintenance += abs(held) * top * hot[p, MAINTENANCE]
        least += worst
        most += best
    if maintenance > 0.0 and least <= maintenance:
        least = -np.inf
    return least, most


@inlined
def value_all(
    bars: Record, cursor: Record, present: Record, hot: Record, capital: float, tally: Record
) -> tuple[float, float, float, float]:
    """Value the account: equity and exposure at the closes, equity and maintenance margin at each bar's worst price."""
    equity, exposure, ill, maintenance = capital, 0.0, 0.0, 0.0
    tally.reserved = tally.free = 0.0
    for p in range(len(hot)):
        row = hot[p]
        held = row[HELD]
        if held != 0.0 and present[p]:
            bar = bars[cursor[p] - 1]
            worth, worst = held * bar.close, held * (bar.low if held > 0.0 else bar.high)
            value(row, worth)
            ill += min(worst - worth, 0.0)
            maintenance += abs(worst) * row[MAINTENANCE]
        equity += row[EQUITY]
        exposure += row[EXPOSURE]
        tally.reserved += row[RESERVED]
        tally.free += row[FREE]
    return equity, exposure, equity + ill, maintenance


@inlined
def value(row: Record, worth: float) -> None:
    """Mark a position that is worth this, quote currency."""
    row[EQUITY] = row[CASH] + worth
    row[EXPOSURE] = abs(worth) + row[RESTING]
    row[FREE] = row[EQUITY] - abs(worth) * row[MARGIN]


@inlined
def heat(row: Record, pair: Record, run: Record, state: Record, report: Record) -> None:
    """Lay out beside each other what a quiet bar of this pair needs."""
    instrument = pair.instrument
    tick = instrument.tick_size
    row[UP], row[DOWN], row[OVER], row[UNDER], row[WAKE] = run.up, run.down, run.over, run.under, float(pair.wake_at)
    row[FIRM_UP] = min(run.order_up, state.wake_above / tick * (1.0 - 1e-12))
    row[FIRM_DOWN] = max(run.order_down, state.wake_below / tick * (1.0 + 1e-12))
    if run.up == -np.inf:  # every bar is asked about
        row[FIRM_UP] = -np.inf
    row[HELD] = pair.ledger.position * instrument.tick_value
    row[CASH], row[RESTING], row[RESERVED] = pair.ledger.cash, report.resting, report.reserved
    row[MARGIN] = margin_rate(instrument)
    row[MAINTENANCE] = instrument.maintenance_margin if instrument.linear else 0.0
    row[EQUITY], row[EXPOSURE], row[FREE] = report.equity, report.exposure, pair.ledger.cash


@kernel
def mark_reports(hot: Record, reports: Record) -> None:
    """Bring equity and exposure of every report up to the last marks."""
    for p in range(len(reports)):
        reports[p].equity, reports[p].exposure = hot[p, EQUITY], hot[p, EXPOSURE]


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
        due = min(due, payments[payment])
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
) -> tuple[int, int]:
    """One bar of one pair: funding, path, close, longer bars; returns the next closing and payment."""
    pair, run, event, tick = world.pair, world.run, world.event, world.pair.instrument.tick_size
    open_, high, low, close = ticks.open, ticks.high, ticks.low, ticks.close
    begin_bar(world, i, ticks.ts, ticks.volume)
    event.execution.pair = p
    due = payment
    while payment < payment_end and payments[payment] == i:
        payment += 1
    paid = payment > due and pay_funding(world, open_, payment - due)
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
    if paid or stirred(pair, bar):
        event.kind = Event.BASE
        decide(pair, world.params, world.state, world.slots, event)
    while closing < closing_end and closings[closing].end == i:
        event.bar = closings[closing].bar
        event.timeframe = closings[closing].timeframe
        event.kind = Event.SIGNAL
        decide(pair, world.params, world.state, world.slots, event)
        closing += 1
    if world.state.acted or run.up == -np.inf:
        survey(world, close)
    else:
        band(pair, run)
    return closing, payment


@template
def direct(world: World, close: float) -> None:
    """Let a pair follow its new directive."""
    world.event.kind = Event.DIRECTIVE
    decide(world.pair, world.params, world.state, world.slots, world.event)
    survey(world, close)


@kernel
def take_notes(state: Record, p: int, notes: Record, tally: Record) -> None:
    """Take a pair's notes down."""
    for k in range(min(state.noted, len(state.notes))):
        notes[tally.notes] = state.notes[k]
        notes[tally.notes].pair = p
        tally.notes += 1
    state.noted = 0


@kernel
def take_portfolio_notes(desk: Desk, notes: Record, tally: Record) -> None:
    """Take the portfolio's notes down."""
    for k in range(min(desk.portfolio.noted, len(desk.notes))):
        notes[tally.notes] = desk.notes[k]
        tally.notes += 1
    desk.portfolio.noted = 0
