"""Capital targets: weight x regime confidence x performance, scaled to the pool, capped per pair and strategy."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from bot.kernel import Record, kernel
from bot.strategy import whole_ms
from bot.times import DAY, HOUR
from coordinator.vocabulary import NO_STRATEGY, Cap


class Performance(StrEnum):
    """How a pair is judged: by the money of the last days, or in steps by its last closed trades."""

    MONEY = "money"
    CLASSIC = "classic"


class PerformanceMeasure(StrEnum):
    """What closed trades are judged by."""

    PROFIT_FACTOR = "profit_factor"
    WIN_RATE = "win_rate"


CLASSIC = list(Performance).index(Performance.CLASSIC)
UNPROVEN = 0.8  # performance of a pair of which too little is known
KEPT_DAYS = 128
MOST_PERFORMANCE_DAYS = 120
WIN_RATE = list(PerformanceMeasure).index(PerformanceMeasure.WIN_RATE)

# A pair at the beginning of a day of UTC.
DAY_MARK = np.dtype(
    [
        ("day", "i8"),  # since the epoch
        ("ts", "i8"),  # ms
        ("equity", "f8"),  # what the pair had added to the account, open positions marked
        ("capital", "f8"),  # target x time so far, quote currency x ms
    ]
)
ALLOCATION = np.dtype(
    [
        ("weight", "f8"),  # of the configuration, normalised over the pairs that live
        ("confidence", "f8"),
        ("performance", "f8"),
        ("raw", "f8"),
        ("target", "f8"),  # quote currency
        ("cap", "i8"),
        ("zero_since", "i8"),  # ms: when performance fell to zero, 0 while it has not
        ("shrink", "f8"),  # share left after overcommitment, 1 when there is none
        ("capital", "f8"),  # target x time up to `counted_at`, quote currency x ms
        ("counted_at", "i8"),  # ms
        ("judged_at", "i8"),  # ms: when performance moved last; 0: never
        ("marks", DAY_MARK, (KEPT_DAYS,)),  # by number of the day
    ]
)


@kernel
def regime_confidence(adx: float) -> float:
    """How much a regime is to be trusted by its ADX: 1.0 above 40, 0.8 above 30, 0.5 above 20, else 0.7."""
    if adx > 40.0:
        return 1.0
    if adx > 30.0:
        return 0.8
    return 0.5 if adx > 20.0 else 0.7


@kernel
def measured(params: Record, trades: int, wins: int, gains: float, losses: float) -> float:
    """Performance factor of the trades that count: 0.8 under 10 of them, else 1.2, 1.0, 0.6 or 0."""
    if trades < params.least_trades:
        return UNPROVEN
    if params.performance_measure == WIN_RATE:
        share = wins / trades
        if share > 0.60:
            return 1.2
        return 1.0 if share > 0.40 else 0.6 if share > 0.25 else 0.0
    if gains > 1.5 * losses:
        return 1.2
    return 1.0 if gains > losses else 0.6 if gains > 0.7 * losses else 0.0


@kernel
def keep_mark(allocation: Record, equity: float, now: int) -> None:
    """Count the target of the time since the last call, and remember how a day begins; `equity` as in a report."""
    if allocation.counted_at > 0:
        allocation.capital += allocation.target * (now - allocation.counted_at)
    allocation.counted_at = now
    day = now // DAY
    mark = allocation.marks[day % KEPT_DAYS]
    if mark.day != day:
        mark.day, mark.ts, mark.equity, mark.capital = day, now, equity, allocation.capital


@kernel
def by_money(params: Record, allocation: Record, report: Record, now: int) -> float:
    """Performance factor of the profit of the last days, open positions marked, as a share of the mean target.

    0.8 without profit or with too few closed trades; `performance_span` more or less gives the most and the least.
    """
    if report.trades < params.least_trades:
        return UNPROVEN
    today = now // DAY
    day = today - int(np.ceil(params.performance_days))
    while day < today and allocation.marks[day % KEPT_DAYS].day != day:
        day += 1
    mark = allocation.marks[day % KEPT_DAYS]
    capital = allocation.capital - mark.capital
    if mark.day != day or capital <= 0.0:
        return UNPROVEN
    profit = (report.equity - mark.equity) * (now - mark.ts) / capital
    share = min(max(profit / params.performance_span, -1.0), 1.0)
    return UNPROVEN + share * (
        params.performance_most - UNPROVEN if share > 0.0 else UNPROVEN - params.performance_least
    )


@kernel
def _moved(params: Record, allocation: Record, wanted: float, now: int) -> float:
    """Move performance towards `wanted`, as far as the time since the last move allows."""
    held, step = allocation.performance, params.performance_step * (now - allocation.judged_at) / DAY
    if allocation.judged_at == 0:
        held, step = UNPROVEN, 0.0
    allocation.judged_at = now
    return min(max(wanted, held - step), held + step)


@kernel
def performance(params: Record, allocation: Record, report: Record, now: int) -> float:
    """Performance factor: by money, moving by `performance_step` a day at most; or classic.

    In classic steps a pair at zero comes back on probation after `probation_hours`.
    """
    if params.performance != CLASSIC:
        return _moved(params, allocation, by_money(params, allocation, report, now), now)
    factor = measured(params, report.trades, report.wins, report.gains, report.losses)
    if factor > 0.0:
        allocation.zero_since = 0
        return factor
    if allocation.zero_since == 0:
        allocation.zero_since = now
    rested = now - allocation.zero_since >= whole_ms(params.probation_hours, HOUR)
    return params.probation if rested else 0.0


@kernel
def allocate(params: Record, pool: float, reports: Record, routes: Record, allocations: Record, now: int) -> None:
    """Set raw share, target (quote currency) and binding cap of every pair; the targets never exceed the pool.

    Pairs that do not live, or whose strategy is cash, get nothing.
    """
    n, living, weights, raws = len(reports), 0, 0.0, 0.0
    for i in range(n):
        if reports[i].alive:
            living += 1
            weights += params.weights[i]
    for i in range(n):
        allocation, report = allocations[i], reports[i]
        allocation.weight = params.weights[i] / weights if report.alive and weights > 0.0 else 0.0
        allocation.confidence = regime_confidence(report.adx)
        allocation.performance = performance(params, allocation, report, now)
        trades = report.alive and routes[i].family != NO_STRATEGY
        allocation.raw = allocation.weight * allocation.confidence * allocation.performance if trades else 0.0
        allocation.cap = Cap.NONE
        raws += allocation.raw
    scale = pool / max(raws, 1.0)
    pair_cap = max(params.pair_cap, 1.0 / max(living, 1)) * pool
    family_cap = max(params.strategy_cap, 1.0 / max(living, 1)) * pool
    for i in range(n):
        _give(allocations[i], allocations[i].raw * scale, pair_cap)
    _cap_families(params, routes, allocations, family_cap)
    if params.fill_pool:
        _pour(params, pool, pair_cap, family_cap, routes, allocations)


@kernel
def share_out(params: Record, capital: float, reports: Record, allocations: Record) -> None:
    """Give every pair its fixed share of the capital, by its weight among those that may be open at once."""
    for i in range(len(allocations)):
        allocation = allocations[i]
        allocation.weight = allocation.raw = params.weights[i] / params.open_weights
        allocation.confidence, allocation.performance, allocation.cap = 1.0, 1.0, Cap.NONE
        target = allocation.weight * capital
        allocation.target = target if reports[i].alive else 0.0


@kernel
def _give(allocation: Record, desired: float, pair_cap: float) -> None:
    allocation.target = min(desired, pair_cap)
    if desired > pair_cap:
        allocation.cap = Cap.PAIR


@kernel
def _given(routes: Record, allocations: Record, family: int) -> float:
    """Sum of the targets of a family."""
    total = 0.0
    for i in range(len(allocations)):
        if routes[i].family == family:
            total += allocations[i].target
    return total


@kernel
def _cap_families(params: Record, routes: Record, allocations: Record, family_cap: float) -> None:
    """Scale down the pairs of a strategy that together have too much."""
    for family in range(len(params.timeframes)):
        total = _given(routes, allocations, family)
        if total > family_cap * (1.0 + 1e-12):
            for i in range(len(allocations)):
                if routes[i].family == family:
                    allocations[i].target *= family_cap / total
                    allocations[i].cap = Cap.STRATEGY


@kernel
def _pour(params: Record, pool: float, pair_cap: float, family_cap: float, routes: Record, allocations: Record) -> None:
    """Pour what the caps took over those that no cap binds, by their raw share, until none is left or all are full."""
    for _ in range(len(allocations)):
        left, open_raw = pool, 0.0
        for i in range(len(allocations)):
            left -= allocations[i].target
            if allocations[i].cap == Cap.NONE:
                open_raw += allocations[i].raw
        if left <= 1e-9 * pool or open_raw <= 0.0:
            return
        for i in range(len(allocations)):
            if allocations[i].cap == Cap.NONE:
                _give(allocations[i], allocations[i].target + left * allocations[i].raw / open_raw, pair_cap)
        _cap_families(params, routes, allocations, family_cap)
