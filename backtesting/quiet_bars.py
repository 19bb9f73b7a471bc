"""Bars in which nothing happens: how far they reach, what they are worth, and what ends them.

Every pair knows how far its own bars are quiet (`scan`), and a bar that only visits zones is passed by (`visit`). While
all are quiet and the account keeps inside the equity range in which the portfolio does nothing, the clock goes on by
marks alone (`fast_forward`). What that needs to know of a pair lies beside each other in one record, QUIET.
"""

from __future__ import annotations

import numpy as np

from backtesting.exchange import band
from bot.kernel import Record, fetch, inlined, kernel
from coordinator.gate import margin_rate
from coordinator.pair import pass_zones
from coordinator.portfolio import quiet_equity_range

NEVER = np.iinfo(np.int64).max
AHEAD = 64  # bars that are asked of the memory while one is played
FARTHEST = 240  # bars that are scanned ahead at once: a directive may make all of it vain
# What a quiet bar needs to know of a pair, beside each other.
QUIET = np.dtype(
    [
        ("up", "f8"),  # the band, ticks
        ("down", "f8"),
        ("over", "f8"),
        ("under", "f8"),
        ("wake", "f8"),  # ms
        ("held", "f8"),  # quote currency a tick
        ("cash", "f8"),
        ("entries", "f8"),  # notional of those that rest
        ("reserved", "f8"),
        ("margin", "f8"),  # rate
        ("maintenance", "f8"),  # rate
        ("equity", "f8"),  # this and the next two are what it adds to the sums
        ("exposure", "f8"),
        ("free", "f8"),
        ("firm_up", "f8"),  # the band without the zones
        ("firm_down", "f8"),
    ],
    align=True,
)


@inlined
def visit(
    bars: Record,
    bounds: Record,
    cursor: Record,
    stop: Record,
    present: Record,
    due: Record,
    quiet: Record,
    params: Record,
    pairs: Record,
    states: Record,
    runs: Record,
    decisions: Record,
    tally: Record,
) -> bool:
    """See which pairs have a bar at the clock; where it matters to zones alone, let them be visited.

    True when some pair's bar is to be played.
    """
    clock, stirs = tally.clock, False
    for p in range(len(pairs)):
        i, row = cursor[p], quiet[p]
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
        take_decisions(states[p], p, decisions, tally)
        band(pair, run)
        row.up, row.down, row.over, row.under = run.up, run.down, run.over, run.under
        stop[p] = scan(row, bars, i + 1, due[p], now, pair.bar_ms)
    return stirs


@kernel
def firm(row: Record, bar: Record, due: bool, now: int) -> bool:
    """Whether a bar, prices in ticks, reaches no order of the pair and wakes nobody, unless it be a zone."""
    return not (bar.high >= row.firm_up or bar.low <= row.firm_down or due or now >= row.wake)


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
    up, down, over, under, awake = row.up, row.down, row.over, row.under, row.wake - bar_ms
    for j in range(i, min(due, i + FARTHEST)):
        bar = bars[j]
        if bar.ts != ts or ts >= awake:
            break
        if bar.high >= up or bar.low <= down or bar.low > over or bar.high < under:
            break
        ts += bar_ms
    return ts


@inlined
def fast_forward(
    bars: Record,
    cursor: Record,
    stop: Record,
    present: Record,
    quiet: Record,
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
        low, high, calm = quiet_equity_range(params, portfolio, tally.reserved)
        end = min(end, calm - bar_ms)
    end = min(end, horizon(stop, present))
    if clock >= end:
        return False
    steps, at = (end - clock + bar_ms - 1) // bar_ms, tally.times
    coming = equities[at : at + steps]
    least, most = mark_ahead(bars, cursor, present, quiet, coming, settings.capital)
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
            if quiet[p].held != 0.0:
                value(quiet[p], quiet[p].held * bars[cursor[p] - 1].close)
        exposure += quiet[p].exposure
        free += quiet[p].free
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
    quiet: Record,
    equities: Record,
    capital: float,
) -> tuple[float, float]:
    """Value the account at each coming close, between two equities; the least is -inf when ruin is thinkable."""
    steps, least, most, maintenance = len(equities), capital, capital, 0.0
    equities[:] = capital
    for p in range(len(cursor)):
        held, cash, i = quiet[p].held, quiet[p].cash, cursor[p]
        if held == 0.0 or not present[p]:
            worst = best = quiet[p].equity
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
            maintenance += abs(held) * top * quiet[p].maintenance
        least += worst
        most += best
    if maintenance > 0.0 and least <= maintenance:
        least = -np.inf
    return least, most


@inlined
def value_all(
    bars: Record, cursor: Record, present: Record, quiet: Record, capital: float, tally: Record
) -> tuple[float, float, float, float]:
    """Value the account: equity and exposure at the closes, equity and maintenance margin at each bar's worst price."""
    equity, exposure, ill, maintenance = capital, 0.0, 0.0, 0.0
    tally.reserved = tally.free = 0.0
    for p in range(len(quiet)):
        row = quiet[p]
        held = row.held
        if held != 0.0 and present[p]:
            bar = bars[cursor[p] - 1]
            worth, worst = held * bar.close, held * (bar.low if held > 0.0 else bar.high)
            value(row, worth)
            ill += min(worst - worth, 0.0)
            maintenance += abs(worst) * row.maintenance
        equity += row.equity
        exposure += row.exposure
        tally.reserved += row.reserved
        tally.free += row.free
    return equity, exposure, equity + ill, maintenance


@inlined
def value(row: Record, worth: float) -> None:
    """Mark a position that is worth this, quote currency."""
    row.equity = row.cash + worth
    row.exposure = abs(worth) + row.entries
    row.free = row.equity - abs(worth) * row.margin


@inlined
def heat(row: Record, pair: Record, run: Record, state: Record, report: Record) -> None:
    """Lay out beside each other what a quiet bar of this pair needs."""
    instrument = pair.instrument
    tick = instrument.tick_size
    row.up, row.down, row.over, row.under, row.wake = run.up, run.down, run.over, run.under, float(pair.wake_at)
    row.firm_up = min(run.order_up, state.wake_above / tick * (1.0 - 1e-12))
    row.firm_down = max(run.order_down, state.wake_below / tick * (1.0 + 1e-12))
    if run.up == -np.inf:  # every bar is asked about
        row.firm_up = -np.inf
    row.held = pair.ledger.position * instrument.tick_value
    row.cash, row.entries, row.reserved = pair.ledger.cash, report.entries_notional, report.reserved
    row.margin = margin_rate(instrument)
    row.maintenance = instrument.maintenance_margin if instrument.linear else 0.0
    row.equity, row.exposure = report.equity, report.exposure
    row.free = report.equity - abs(row.held) * pair.price / tick * row.margin


@kernel
def mark_reports(quiet: Record, reports: Record) -> None:
    """Bring equity and exposure of every report up to the last marks."""
    for p in range(len(reports)):
        reports[p].equity, reports[p].exposure = quiet[p].equity, quiet[p].exposure


@kernel
def take_decisions(state: Record, p: int, decisions: Record, tally: Record) -> None:
    """Take a pair's notes down."""
    for k in range(min(state.decided, len(state.decisions))):
        decisions[tally.decisions] = state.decisions[k]
        decisions[tally.decisions].pair = p
        tally.decisions += 1
    state.decided = 0
