"""The portfolio's step: reports of all pairs in, directives out. The master loop's whole judgement.

`value_account` is the cheap half of an evaluation: it values the account, moves the modes and says whether anything
calls for `step`, which routes, allocates and answers; `quiet_equity_range` is the equity range in which `value_account`
would change nothing. `limit` shares the room for entries and is made before a pair decides.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bot.kernel import Record, inlined, kernel
from bot.strategy import whole_ms
from bot.times import DAY, HOUR
from coordinator.allocation import allocate, keep_mark, share_out
from coordinator.capital_phase import PHASE, at_work
from coordinator.correlation import group, history_push, stress
from coordinator.regime import Regime, classify, confirm
from coordinator.risk import (
    RISK,
    answer,
    day_loss,
    drawdown,
    drawdown_factor,
    exposure_cap,
    mark,
    modes,
    note_high,
    note_stress,
    played_answer,
    played_resume,
    quiet_equities,
    recent_drawdown,
    size_multiplier,
)
from coordinator.router import forbids, reroute
from coordinator.vocabulary import NO_PAIR, NO_STRATEGY, Cap, DecisionKind, begin_decision

LEAST = 1e-9  # quote currency: without equity nothing is calm

PORTFOLIO = np.dtype(
    [
        ("risk", RISK),
        ("deposits", "f8"),  # quote currency
        ("transfers_at", "i8"),  # ms: the venue's transfers up to here are among them
        ("hour", "i8"),  # last hour used for correlation, and day for groups
        ("group_day", "i8"),
        ("first_day", "i8"),
        ("modes", "i8"),  # as last recorded
        ("next_rebalance", "i8"),  # ms
        ("allocated", "f8"),  # equity at the last allocation
        ("sequence", "i8"),
        ("overcommitted", "b1"),
        ("overcommitments", "i8"),
        ("least", "i8"),  # least important pair with resting entries
        ("exposure", "f8"),
        ("decided", "i8"),
        ("urged", "b1"),  # the operator has spoken: step at the next evaluation
        ("investment", "f8"),  # capital to be added at the next step, or taken out, quote currency
        ("invested", "f8"),  # what was so far
        ("opened", "f8"),  # deposits when the bot began, quote currency
        ("phase", PHASE),  # of the capital
    ],
    align=True,
)


class PortfolioState(NamedTuple):
    """Everything the portfolio's step touches: one record, and arrays (n,) with one record per pair."""

    portfolio: Record
    regimes: Record
    routes: Record
    allocations: Record
    histories: Record
    groups: Record  # int64: number of each pair's correlation group
    group_sums: Record  # float64 (n, 2): exposure and targets of each group
    reports: Record
    directives: Record
    decisions: Record


@kernel
def begin(params: Record, portfolio_state: PortfolioState, deposits: float) -> None:
    """Set an empty portfolio up: nothing routed, everything flat."""
    portfolio_state.portfolio.deposits = portfolio_state.portfolio.opened = deposits
    for i in range(len(portfolio_state.reports)):
        portfolio_state.routes[i].family = portfolio_state.directives[i].family = portfolio_state.reports[i].family = (
            NO_STRATEGY
        )
        portfolio_state.allocations[i].shrink = 1.0
        portfolio_state.groups[i] = (
            params.groups[i] if params.grouped and params.groups[i] >= 0 else _alone(params, portfolio_state, i)
        )


@kernel
def _alone(params: Record, portfolio_state: PortfolioState, index: int) -> int:
    """Number of a group of its own, behind those of the configured groups."""
    if not params.grouped:
        return index
    number = 0
    for i in range(len(portfolio_state.reports)):
        number = max(number, params.groups[i] + 1)
    for i in range(index):
        number += int(params.groups[i] < 0)
    return number


@kernel
def value_account(
    params: Record, portfolio: Record, equity: float, exposure: float, reserved: float, closed: bool, now: int
) -> bool:
    """Value the account by the sums over its pairs; True when `step` is called for.

    `equity` holds the deposits too; `closed` says that some pair has completed a regime bar since the last step, or
    that a place among the open pairs changes hands.
    """
    portfolio.exposure = exposure
    begins = mark(params, portfolio.risk, equity, now)
    moved = abs(equity - portfolio.allocated) > params.rebalance_change * portfolio.allocated
    due = now >= portfolio.next_rebalance or now // HOUR != portfolio.hour
    over = (reserved > params.overcommitted * equity) or portfolio.overcommitted
    return (
        begins
        or closed
        or moved
        or due
        or over
        or portfolio.risk.halted
        or modes(portfolio.risk) != portfolio.modes
        or portfolio.urged
    )


@kernel
def quiet_equity_range(params: Record, portfolio: Record, reserved: float) -> tuple[float, float, int]:
    """Equities from which to which, and time (ms) before which, `value_account` would only take note of the equity.

    That holds while `reserved` stays and no regime bar closes. Limits but the high itself stand in by a hair, so that
    what lies near them is evaluated.
    """
    risk = portfolio.risk
    if risk.halted or portfolio.overcommitted or portfolio.urged or modes(risk) != portfolio.modes:
        return np.inf, -np.inf, 0
    allocated, change = portfolio.allocated, params.rebalance_change
    low, high = quiet_equities(params, risk)
    low = max(low, allocated * (1.0 - change), reserved / params.overcommitted)
    high = min(high, allocated * (1.0 + change))
    until = min(portfolio.next_rebalance, (portfolio.hour + 1) * HOUR)
    return max(low * (1.0 + 1e-9), LEAST), min(high * (1.0 - 1e-9), risk.recent_high), until


@inlined
def limit(params: Record, portfolio_state: PortfolioState) -> None:
    """Set every pair's exposure limit: the room under the cap, and under each group's, shared by the targets."""
    if params.fixed_shares:
        _tell_others(portfolio_state)
    equity, exposure = portfolio_state.portfolio.risk.equity, portfolio_state.portfolio.exposure
    reports, allocations, groups, sums = (
        portfolio_state.reports,
        portfolio_state.allocations,
        portfolio_state.groups,
        portfolio_state.group_sums,
    )
    n = len(reports)
    pool, cap = equity * (1.0 - params.reserve), exposure_cap(params, portfolio_state.portfolio.risk)
    if cap == np.inf:
        for i in range(n):
            portfolio_state.directives[i].exposure_limit = np.inf
        return
    working = at_work(portfolio_state.portfolio)
    room = max(working * cap * equity - exposure, 0.0)
    targets = 0.0
    for i in range(n):
        targets += allocations[i].target
        sums[i, 0] = sums[i, 1] = 0.0
    for i in range(n):
        sums[groups[i], 0] += reports[i].exposure
        sums[groups[i], 1] += allocations[i].target
    for i in range(n):
        target = allocations[i].target
        own = room * target / targets if targets > 0.0 else 0.0
        of_group, exposed = sums[groups[i], 1], sums[groups[i], 0]
        if of_group > target or exposed > reports[i].exposure:  # somebody else is in it
            group_room = max(working * params.group_exposure * pool - exposed, 0.0)
            own = min(own, group_room * target / of_group) if of_group > 0.0 else 0.0
        portfolio_state.directives[i].exposure_limit = reports[i].exposure + own


@kernel
def _tell_others(portfolio_state: PortfolioState) -> None:
    """Tell every pair what the account holds outside it, by the reports as they are; a pair knows its own better."""
    reports, directives, n = portfolio_state.reports, portfolio_state.directives, len(portfolio_state.reports)
    before, behind = portfolio_state.portfolio.deposits, 0.0
    for i in range(n):
        directives[i].others = before
        before += reports[i].equity
    for i in range(n - 1, -1, -1):
        directives[i].others += behind
        behind += reports[i].equity


@inlined
def step(params: Record, portfolio_state: PortfolioState, now: int) -> None:
    """Regimes, routes, correlation, halt, allocation, and a directive for every pair."""
    portfolio = portfolio_state.portfolio
    portfolio.urged = False
    _invest(params, portfolio_state, now)
    _hourly(params, portfolio_state, now)
    switched = False
    for i in range(len(portfolio_state.reports)):
        if portfolio_state.reports[i].alive and _evaluate_pair(params, portfolio_state, i, now):
            switched = True
    _halt(params, portfolio_state, now)
    changed = _record_modes(params, portfolio_state, now)
    risk = portfolio.risk
    moved = abs(risk.equity - portfolio.allocated) > params.rebalance_change * portfolio.allocated
    regular = now >= portfolio.next_rebalance
    if regular or switched or moved or changed:
        _rebalance(params, portfolio_state, now, regular)
    _overcommitted(params, portfolio_state, now)
    _share_places(params, portfolio_state, now)
    _direct(params, portfolio_state, now)
    limit(params, portfolio_state)


@inlined
def record_decision(portfolio_state: PortfolioState, now: int, pair: int, kind: int) -> Record:
    """Begin a decision of the portfolio about a pair."""
    entry = begin_decision(portfolio_state.decisions, portfolio_state.portfolio.decided, now, pair, kind)
    portfolio_state.portfolio.decided += 1
    return entry


@inlined
def _invest(params: Record, portfolio_state: PortfolioState, now: int) -> None:
    """Take the capital in that was added, or let go of what was taken out, and share it out anew."""
    portfolio = portfolio_state.portfolio
    if portfolio.investment == 0.0:
        return
    portfolio.invested += portfolio.investment
    entry = record_decision(portfolio_state, now, NO_PAIR, DecisionKind.INVESTMENT)
    entry.x, entry.y, entry.z = portfolio.investment, params.capital + portfolio.invested, portfolio.risk.equity
    portfolio.investment = portfolio.allocated = 0.0


@inlined
def _hourly(params: Record, portfolio_state: PortfolioState, now: int) -> None:
    """Take in the closes of the hour, and with a new hour the stress share, with a new day the groups."""
    portfolio, hour = portfolio_state.portfolio, now // HOUR
    for i in range(len(portfolio_state.reports)):
        report, history = portfolio_state.reports[i], portfolio_state.histories[i]
        if report.hour > history.hour and report.hour_close > 0.0:
            history_push(history, report.hour, report.hour_close)
    if hour == portfolio.hour:
        return
    portfolio.hour = hour
    note_high(portfolio.risk)
    _keep_marks(portfolio_state, now)
    share, mean = stress(portfolio_state.histories, hour - 1, params, portfolio_state.group_sums[:, 0])
    note_stress(params, portfolio.risk, share, mean, hour)
    # What 30 days say changes slowly: every midnight while they fill up, then every week.
    day = now // DAY
    portfolio.first_day = portfolio.first_day if portfolio.first_day > 0 else day
    if day != portfolio.group_day and not params.grouped and (day - portfolio.first_day <= 30 or day % 7 == 0):
        portfolio.group_day = day
        group(portfolio_state.histories, hour - 1, params, portfolio_state.groups, portfolio_state.group_sums)


@inlined
def _keep_marks(portfolio_state: PortfolioState, now: int) -> None:
    for i in range(len(portfolio_state.reports)):
        keep_mark(portfolio_state.allocations[i], portfolio_state.reports[i].equity, now)


@inlined
def _evaluate_pair(params: Record, portfolio_state: PortfolioState, i: int, now: int) -> bool:
    """Classify a pair's newest regime bar, confirm, route; True when another strategy is called for."""
    report, regime, route = portfolio_state.reports[i], portfolio_state.regimes[i], portfolio_state.routes[i]
    if params.solo:
        switched = route.family != params.pinned
        route.family = params.pinned
        return switched
    if report.regime_bars != regime.bars:
        regime.bars = report.regime_bars
        if report.regime_bars >= params.warmup_bars:
            _classify(params, portfolio_state, i, now)
    if regime.confirmed == Regime.UNKNOWN:
        return False
    return reroute(params, route, regime, report.enhanced, now)


@inlined
def _classify(params: Record, portfolio_state: PortfolioState, i: int, now: int) -> None:
    report, regime = portfolio_state.reports[i], portfolio_state.regimes[i]
    atr_pct = 100.0 * report.atr / report.close
    before, count = regime.confirmed, regime.count
    candidate = classify(params, before, report.adx, atr_pct, report.fast, report.slow)
    if confirm(params, regime, candidate, now):
        entry = record_decision(portfolio_state, now, i, DecisionKind.REGIME)
        entry.a, entry.b = candidate, before
    elif regime.count > 0 or count > 0:
        entry = record_decision(portfolio_state, now, i, DecisionKind.CANDIDATE)
        entry.a, entry.b, entry.c = candidate, regime.count, before
    else:
        return
    entry.x, entry.y, entry.z = report.adx, atr_pct, report.fast / report.slow - 1.0


@inlined
def _halt(params: Record, portfolio_state: PortfolioState, now: int) -> None:
    """Record a halt that begins, take the simulated operator's answer, and resume when its time has come."""
    risk = portfolio_state.portfolio.risk
    if risk.halted and not portfolio_state.portfolio.modes & 8:
        entry = record_decision(portfolio_state, now, NO_PAIR, DecisionKind.HALT)
        entry.x, entry.y, entry.z = day_loss(risk), drawdown(risk), risk.equity
    if answer(params, risk, played_answer(params, risk), now):
        entry = record_decision(portfolio_state, now, NO_PAIR, DecisionKind.ANSWER)
        entry.a = risk.answer
    if played_resume(params, risk, now):
        entry = record_decision(portfolio_state, now, NO_PAIR, DecisionKind.RESUME)
        entry.x = risk.equity


@inlined
def _record_modes(params: Record, portfolio_state: PortfolioState, now: int) -> bool:
    """Record a change of modes; True when there is one."""
    portfolio, risk = portfolio_state.portfolio, portfolio_state.portfolio.risk
    present = modes(risk)
    if present == portfolio.modes:
        return False
    entry = record_decision(portfolio_state, now, NO_PAIR, DecisionKind.MODE)
    entry.a, entry.b = portfolio.modes, present
    entry.x, entry.y, entry.z = day_loss(risk), recent_drawdown(risk), risk.stress_share
    entry.w = size_multiplier(params, risk)
    portfolio.modes = present
    return True


@inlined
def _rebalance(params: Record, portfolio_state: PortfolioState, now: int, regular: bool) -> None:
    """Allocate the pool anew; in DRAWDOWN the targets shrink and positions are trimmed to them."""
    portfolio, risk = portfolio_state.portfolio, portfolio_state.portfolio.risk
    if regular:
        period = whole_ms(params.rebalance_hours, HOUR)
        portfolio.next_rebalance = (now // period + 1) * period
    portfolio.allocated = risk.equity
    _keep_marks(portfolio_state, now)
    _share_capital(params, portfolio_state, now)
    factor = drawdown_factor(params, risk)
    for i in range(len(portfolio_state.reports)):
        allocation, directive = portfolio_state.allocations[i], portfolio_state.directives[i]
        if regular and not portfolio.overcommitted:
            allocation.shrink = 1.0
        elif regular and i == portfolio.least:
            allocation.shrink *= 0.75
        if allocation.shrink < 1.0:
            allocation.target *= allocation.shrink
            allocation.cap = Cap.OVERCOMMITTED
        if factor < 1.0:
            allocation.target *= factor
            allocation.cap = Cap.DRAWDOWN
        if portfolio.phase.trim or (factor < 1.0 and regular and not risk.halted):
            directive.trim_id += 1
            directive.trim_to = allocation.target
        if portfolio_state.reports[i].alive and (regular or allocation.target != directive.target):
            entry = record_decision(portfolio_state, now, i, DecisionKind.ALLOCATION)
            entry.a, entry.b, entry.c = allocation.cap, portfolio_state.routes[i].family, portfolio_state.groups[i]
            entry.x, entry.y, entry.v = allocation.target, allocation.raw, risk.equity
            entry.z, entry.w = allocation.confidence, allocation.performance
    portfolio.phase.trim = False


@inlined
def _share_capital(params: Record, portfolio_state: PortfolioState, now: int) -> None:
    """Set every pair's target, of the share of the capital that is at work."""
    portfolio, allocations = portfolio_state.portfolio, portfolio_state.allocations
    equity, working = max(portfolio.risk.equity, 0.0), at_work(portfolio)
    if params.fixed_shares:
        capital = params.capital + portfolio.invested
        share_out(params, min(equity, capital), portfolio_state.reports, allocations)
    else:
        pool = equity * (1.0 - params.reserve)
        allocate(params, pool, portfolio_state.reports, portfolio_state.routes, allocations, now)
    if working < 1.0:
        for i in range(len(allocations)):
            allocations[i].target *= working
            allocations[i].cap = Cap.PHASE


@inlined
def _invested(params: Record, portfolio: Record) -> float:
    """What was invested since the bot began, less the capital that its phase holds back.

    Of an endless capital, whose share the phase lessens: what was deposited, in units of the share.
    """
    working, capital = at_work(portfolio), params.capital + portfolio.invested
    if capital == np.inf:
        return portfolio.deposits - portfolio.opened / working
    return working * capital - params.capital if working < 1.0 else portfolio.invested


@inlined
def _overcommitted(params: Record, portfolio_state: PortfolioState, now: int) -> None:
    """Reserved beyond the limit: cancel far entries of the least important pair, and shrink its target."""
    portfolio, reports = portfolio_state.portfolio, portfolio_state.reports
    reserved, least = 0.0, -1
    for i in range(len(reports)):
        reserved += reports[i].reserved
        if reports[i].entries_reserved > 0.0 and (
            least < 0 or portfolio_state.allocations[i].raw < portfolio_state.allocations[least].raw
        ):
            least = i
    portfolio.least = least
    excess = reserved - params.overcommitted * portfolio.risk.equity
    if (excess > 0.0) != portfolio.overcommitted:
        portfolio.overcommitted = excess > 0.0
        portfolio.overcommitments += int(excess > 0.0)
        entry = record_decision(portfolio_state, now, NO_PAIR, DecisionKind.OVERCOMMITTED)
        entry.a, entry.x, entry.y = int(excess > 0.0), reserved, params.overcommitted * portfolio.risk.equity
    if excess > 0.0 and least >= 0:
        directive = portfolio_state.directives[least]
        directive.withdraw_id += 1
        directive.withdraw = min(excess, reports[least].entries_reserved)


@kernel
def places_change(params: Record, portfolio_state: PortfolioState) -> bool:
    """Whether a place among the pairs that may be open is to be given, or given back."""
    reports, directives = portfolio_state.reports, portfolio_state.directives
    if not params.max_open_pairs < len(reports):  # none is NaN
        return False
    free, kept, asking = int(params.max_open_pairs), 0, False
    for i in range(len(reports)):
        report, full = reports[i], directives[i].full
        asks = report.alive and report.asks
        if report.holds:
            if full:
                return True
            free -= 1
        elif full:
            asking = asking or asks
        elif asks:
            kept += 1
        else:
            return True
    return kept > max(free, 0) or (asking and free > kept)


@inlined
def _share_places(params: Record, portfolio_state: PortfolioState, now: int) -> None:
    """Let as many pairs be open as may: those with a position, those whose entries rest, then those that ask.

    Of these the one that has been without a place for longest comes first.
    """
    reports, directives = portfolio_state.reports, portfolio_state.directives
    limited = params.max_open_pairs < len(reports)
    free = int(params.max_open_pairs) if limited else len(reports)
    for i in range(len(reports)):
        free -= int(reports[i].holds)
    for i in range(len(reports)):
        if limited and not reports[i].holds and not directives[i].full:
            stays = reports[i].alive and reports[i].asks and free > 0
            free -= int(stays)
            if not stays:
                directives[i].full, portfolio_state.routes[i].place_lost = True, now
        elif not limited or reports[i].holds:
            directives[i].full = False
    while limited and free > 0:
        first = _first_asking(portfolio_state)
        if first < 0:
            return
        directives[first].full = False
        free -= 1


@kernel
def _first_asking(portfolio_state: PortfolioState) -> int:
    """Pair that asks for a place and has been without one for longest; -1 for none."""
    reports, directives, routes = portfolio_state.reports, portfolio_state.directives, portfolio_state.routes
    first = -1
    for i in range(len(reports)):
        asks = directives[i].full and reports[i].alive and reports[i].asks and not reports[i].holds
        if asks and (first < 0 or routes[i].place_lost < routes[first].place_lost):
            first = i
    return first


@inlined
def _direct(params: Record, portfolio_state: PortfolioState, now: int) -> None:
    """Write every pair's directive."""
    portfolio, risk = portfolio_state.portfolio, portfolio_state.portfolio.risk
    portfolio.sequence += 1
    factor = drawdown_factor(params, risk)
    # Targets hold the DRAWDOWN cut already, shares do not.
    cut = 1.0 if params.fixed_shares else factor
    multiplier = size_multiplier(params, risk) / cut if cut > 0.0 else 0.0
    # A capital that is a number is lessened by its phase in `invested`; an endless one by its share.
    invested = _invested(params, portfolio)
    working = at_work(portfolio) if params.capital == np.inf else 1.0
    for i in range(len(portfolio_state.reports)):
        directive, route, report = portfolio_state.directives[i], portfolio_state.routes[i], portfolio_state.reports[i]
        stale = now - report.regime_end > 2 * params.regime_timeframe and not params.solo
        directive.sequence = portfolio.sequence
        directive.family, directive.variant = route.family, route.variant
        directive.target = portfolio_state.allocations[i].target
        directive.share = portfolio_state.allocations[i].weight * working if params.fixed_shares else 0.0
        directive.invested = invested
        directive.multiplier = multiplier
        directive.blocked = route.blocked
        confirmed = portfolio_state.regimes[i].confirmed
        directive.forced = forbids(params, confirmed, report.family, report.enhanced)
        directive.paused = route.held_off != 0 or (route.family != NO_STRATEGY and (stale or not report.alive))
        directive.halted, directive.answer = risk.halted, risk.answer


@kernel
def differs(held: Record, given: Record) -> bool:
    """Whether a directive says something new; its number and the exposure limit alone do not."""
    return (
        held.family != given.family
        or held.variant != given.variant
        or held.target != given.target
        or held.share != given.share
        or held.invested != given.invested
        or held.multiplier != given.multiplier
        or held.blocked != given.blocked
        or held.full != given.full
        or held.forced != given.forced
        or held.paused != given.paused
        or held.halted != given.halted
        or held.answer != given.answer
        or held.trim_id != given.trim_id
        or held.withdraw_id != given.withdraw_id
    )
