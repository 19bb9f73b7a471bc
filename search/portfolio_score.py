"""The score of a run on several pairs, or of the whole algorithm: as `search.score`, in one compiled pass a pair.

`backtesting.portfolio_result` defines the figures, and both must agree.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.exchange import Outcome
from backtesting.metrics import YEAR_DAYS
from backtesting.trades import match, matching
from bot.kernel import Record, kernel, specialise, template, unowned
from bot.order import Signal
from bot.record import new_records
from bot.times import DAY
from search.score import SCORE, next_day, no_excursions, profits_of, returns, score_daily, score_profits, score_returns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtesting.portfolio_result import PortfolioResult

# What the pairs of a run come to together.
TOTALS = np.dtype([("closed", "i8"), ("wins", "i8"), ("won", "f8"), ("lost", "f8"), ("transition_cost", "f8")])


def score_portfolio(result: PortfolioResult, held: NDArray[np.float64]) -> tuple[Any, NDArray[np.float64]]:
    """Score of a run on several pairs, and its daily returns (d,), which those of its pairs held equally explain."""
    ts, equity, recordings = result.ts, result.equity, result.recording.recordings
    exposure, totals, scores = _zeros(len(ts)), new_records(TOTALS, 1), new_records(SCORE, 1)
    score = scores[0]
    for one in recordings:
        ledger, tape = one.pair.ledger, (one.prepared.candles.ts, one.prepared.closes, one.prepared.candles.bar_ms)
        _pair_scorer()(ts, exposure, *tape, one.changes, one.bars, *matching(one), totals)
        score.fees += ledger.fees
        score.funding += ledger.funding
        score.turnover += ledger.turnover
        score.fills += len(one.fills)
        score.refused_for_costs += one.pair.costs.refused
    score.liquidated = result.recording.outcome is not Outcome.COMPLETE
    closes = np.empty(len(held) + 2)
    days = _account_scorer()(ts, equity, exposure, result.bar_ms, result.config.deposits, held, totals, scores, closes)
    _left.exposure = exposure
    return score, closes[:days]


_left = threading.local()  # what the last score of a thread left: zeros, in memory that is there


def _zeros(count: int) -> NDArray[np.float64]:
    """Zeros (count,), the same again for one score after the other: new memory would take as long as the score."""
    kept: NDArray[np.float64] | None = _left.__dict__.pop("exposure", None)
    return kept if kept is not None and len(kept) == count else np.zeros(count)


@cache
def _pair_scorer() -> Any:
    return specialise(score_pair, "portfolio", excursions=no_excursions)


@cache
def _account_scorer() -> Any:
    return specialise(score_clock, "portfolio")


@template
def score_pair(
    clock: Record,
    exposure: Record,
    ts: Record,
    close: Record,
    bar_ms: int,
    changes: Record,
    bars: int,
    fills: Record,
    funding_bars: Record,
    funding: Record,
    high: Record,
    low: Record,
    last: int,
    tick_value: float,
    parts: Record,
    closed: Record,
    trades: Record,
    totals: Record,
) -> None:
    """Add a pair's worth at each time of the clock to `exposure` (t,), and its trades to `totals`, an array of one.

    `ts` and `close` (n,), one every `bar_ms` at most, of which `bars` were played, prices in ticks; `changes` of CHANGE
    (c,); `fills` to `trades`: what `match` is given.
    """
    clock, exposure, ts, close = unowned(clock), unowned(exposure), unowned(ts), unowned(close)
    changes, fills = unowned(changes), unowned(fills)
    parts, closed, trades = unowned(parts), unowned(closed), unowned(trades)
    add_worth(clock, exposure, ts, close, bar_ms, changes, bars, tick_value)
    count = match(fills, funding_bars, funding, high, low, last, tick_value, parts, closed, trades)
    total = totals[0]
    count, wins, won, lost = profits_of(trades[:count])
    total.closed += count
    total.wins += wins
    total.won += won
    total.lost += lost
    for k in range(len(fills)):
        if fills[k].signal == Signal.EXIT_TRANSITION:
            total.transition_cost += fills[k].fee + fills[k].slippage


@kernel
def add_worth(
    clock: Record,
    exposure: Record,
    ts: Record,
    close: Record,
    bar_ms: int,
    changes: Record,
    bars: int,
    tick_value: float,
) -> None:
    """Add what a pair holds, at its last close up to each time of the clock (t,), without its sign."""
    begin = 0
    for c in range(len(changes)):
        i, position = changes[c].bar, changes[c].position
        end = min(changes[c + 1].bar, bars) if c + 1 < len(changes) else bars
        if position == 0 or i >= end:
            continue
        begin = first_from(clock, begin, ts[i])
        until = first_from(clock, begin, ts[end]) if end < bars else len(clock)
        if until > begin and same_times(clock[begin:until], ts[i:end], bar_ms):
            add_closes(exposure[begin:until], close[i:end], float(position), tick_value)
            continue
        for k in range(begin, until):
            while i + 1 < end and ts[i + 1] <= clock[k]:
                i += 1
            exposure[k] += abs(position * close[i] * tick_value)


@kernel
def first_from(clock: Record, k: int, ts: int) -> int:
    """Index of the first time (t,) from index `k` on that is `ts` or later, soon found where it is near."""
    low, step = k - 1, 1
    while low + step < len(clock) and clock[low + step] < ts:
        low += step
        step *= 2
    high = min(low + step, len(clock))
    while high - low > 1:
        middle = (low + high) // 2
        if clock[middle] < ts:
            low = middle
        else:
            high = middle
    return high


@kernel
def same_times(first: Record, second: Record, bar_ms: int) -> bool:
    """Whether both are the same times (k,), one every `bar_ms`, than which they are never closer."""
    k = len(first) - 1
    return (
        len(second) == k + 1
        and first[0] == second[0]
        and first[k] == first[0] + k * bar_ms
        and second[k] == second[0] + k * bar_ms
    )


@kernel
def add_closes(exposure: Record, close: Record, position: float, tick_value: float) -> None:
    """Add a position's worth, without its sign, at these closes (k,)."""
    for i in range(len(exposure)):  # by itself: several at a time
        exposure[i] += abs(position * close[i] * tick_value)


@template
def score_clock(
    clock: Record,
    equity: Record,
    exposure: Record,
    bar_ms: int,
    initial: float,
    held: Record,
    totals: Record,
    scores: Record,
    closes: Record,
) -> int:
    """Write the figures of an account over its clock (t,), and its daily returns into `closes`; returns their number.

    `equity` (t,) at each close, quote currency; `exposure` (t,), which is made to zeros; `held` (d,): daily returns
    of the pairs held equally; `totals` and `scores`: arrays of one.
    """
    clock, equity, exposure = unowned(clock), unowned(equity), unowned(exposure)
    score, total = scores[0], totals[0]
    days = follow_account(clock, equity, exposure, bar_ms, initial, score, closes)
    years = (clock[-1] + bar_ms - clock[0]) / (YEAR_DAYS * DAY)
    score_returns(closes[: days + 1], years, score)
    own = returns(closes[: days + 1])
    score_daily(own, held[:days], score)
    score_profits(total.closed, total.wins, total.won, total.lost, score)
    score.transition_cost = total.transition_cost
    closes[:days] = own
    return days


@kernel
def follow_account(
    clock: Record, equity: Record, exposure: Record, bar_ms: int, initial: float, score: Record, closes: Record
) -> int:
    """Write drawdown, coverage and exposure into `score`, and equity at the end of each UTC day from index 1 on.

    `exposure` (t,) is made to zeros.
    """
    high, low, depth = initial, initial, 0.0
    covered, shares, most = 0, 0.0, 0.0
    day, k, n = 0, 0, len(clock)
    closes[0] = initial
    while k < n:
        end = next_day(clock, k, n, bar_ms)
        high, low, depth = follow_equity(equity[k:end], high, low, depth)
        held, share, largest = take_shares(exposure[k:end], equity[k:end])
        covered, shares, most = covered + held, shares + share, max(most, largest)
        day, k = day + 1, end
        closes[day] = equity[k - 1]
    score.max_drawdown_pct = min(max(depth, 1.0 - low / high), 1.0) * 100.0
    score.coverage_pct = covered / n * 100.0
    score.mean_exposure_pct = shares / n * 100.0
    score.max_exposure_pct = most * 100.0
    return day


@kernel
def follow_equity(equity: Record, high: float, low: float, depth: float) -> tuple[float, float, float]:
    """Follow equity (k,) from its high so far, its low since then and the deepest drawdown before that high."""
    highest, lowest = extremes(equity)
    if highest <= high:
        return high, min(low, lowest), depth
    for i in range(len(equity)):
        if equity[i] > high:
            depth = max(depth, 1.0 - low / high)
            high = low = equity[i]
        low = min(low, equity[i])
    return high, low, depth


@kernel
def extremes(values: Record) -> tuple[float, float]:
    """Highest and lowest of values (k,), four at a time: each waits for the one before it."""
    a = b = c = d = e = f = g = h = values[0]
    whole = len(values) // 4 * 4
    for i in range(0, whole, 4):
        first, second, third, fourth = values[i], values[i + 1], values[i + 2], values[i + 3]
        a, b, c, d = max(a, first), max(b, second), max(c, third), max(d, fourth)
        e, f, g, h = min(e, first), min(f, second), min(g, third), min(h, fourth)
    for i in range(whole, len(values)):
        a, e = max(a, values[i]), min(e, values[i])
    return max(a, b, c, d), min(e, f, g, h)


@kernel
def take_shares(exposure: Record, equity: Record) -> tuple[int, float, float]:
    """Number of times (k,) with exposure, and the sum and the largest of exposure / equity; leaves zeros."""
    covered = 0
    for i in range(len(exposure)):  # each of these by itself: several at a time
        covered += exposure[i] > 0.0
    if covered == 0:
        return 0, 0.0, 0.0
    for i in range(len(exposure)):
        exposure[i] = exposure[i] / equity[i] if equity[i] > 0.0 else 0.0
    a = b = c = d = 0.0
    whole = len(exposure) // 4 * 4
    for i in range(0, whole, 4):
        a, b, c, d = a + exposure[i], b + exposure[i + 1], c + exposure[i + 2], d + exposure[i + 3]
    for i in range(whole, len(exposure)):
        a += exposure[i]
    most, _ = extremes(exposure)
    exposure[:] = 0.0
    return covered, (a + b) + (c + d), most
