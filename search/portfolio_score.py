"""The score of a run on several pairs, or of the whole algorithm: as `search.score`, in one compiled pass a pair.

`backtesting.portfolio_result` defines the figures, and both must agree.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.exchange import Outcome
from backtesting.metrics import YEAR_DAYS
from backtesting.trades import match, matching
from bot.kernel import Record, kernel, specialise, template
from bot.order import Signal
from bot.record import new_records
from bot.times import DAY
from search.score import SCORE, no_excursions, profits_of, returns, score_daily, score_profits, score_returns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtesting.portfolio_result import PortfolioResult

# What the pairs of a run come to together.
TOTALS = np.dtype([("closed", "i8"), ("wins", "i8"), ("won", "f8"), ("lost", "f8"), ("transition_cost", "f8")])


def score_portfolio(result: PortfolioResult, held: NDArray[np.float64]) -> tuple[Any, NDArray[np.float64]]:
    """Score of a run on several pairs, and its daily returns (d,), which those of its pairs held equally explain."""
    ts, equity, recordings = result.ts, result.equity, result.recording.recordings
    exposure, totals, scores = np.zeros(len(ts)), new_records(TOTALS, 1), new_records(SCORE, 1)
    score = scores[0]
    for one in recordings:
        candles, ledger = one.prepared.candles, one.pair.ledger
        _pair_scorer()(ts, exposure, candles.ts, one.prepared.close, one.changes, one.bars, *matching(one), totals)
        score.fees += ledger.fees
        score.funding += ledger.funding
        score.turnover += ledger.turnover
        score.fills += len(one.fills)
        score.refused_for_costs += one.pair.costs.refused
    score.liquidated = result.recording.outcome is not Outcome.COMPLETE
    closes = np.empty(len(held) + 2)
    days = _account_scorer()(ts, equity, exposure, result.bar_ms, result.config.deposits, held, totals, scores, closes)
    return score, closes[:days]


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

    `ts` and `close` (n,), of which `bars` were played, prices in ticks; `changes` of CHANGE (c,); `fills` to `trades`:
    what `match` is given.
    """
    add_worth(clock, exposure, ts, close, changes, bars, tick_value)
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
    clock: Record, exposure: Record, ts: Record, close: Record, changes: Record, bars: int, tick_value: float
) -> None:
    """Add what a pair holds, at its last close up to each time of the clock (t,), without its sign."""
    for c in range(len(changes)):
        i, position = changes[c].bar, changes[c].position
        end = min(changes[c + 1].bar, bars) if c + 1 < len(changes) else bars
        if position == 0 or i >= end:
            continue
        until = np.searchsorted(clock, ts[end]) if end < bars else len(clock)
        for k in range(np.searchsorted(clock, ts[i]), until):
            while i + 1 < end and ts[i + 1] <= clock[k]:
                i += 1
            exposure[k] += abs(position * close[i] * tick_value)


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

    `equity` (t,) at each close, quote currency; `exposure` (t,), of which shares of equity are made; `held` (d,): daily
    returns of the pairs held equally; `totals` and `scores`: arrays of one.
    """
    score, total = scores[0], totals[0]
    days = follow_account(clock, equity, exposure, initial, score, closes)
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
    clock: Record, equity: Record, exposure: Record, initial: float, score: Record, closes: Record
) -> int:
    """Write drawdown, coverage and exposure into `score`, and equity at the end of each UTC day from index 1 on."""
    covered, n = 0, len(clock)
    for k in range(n):  # by itself: several divisions at a time
        covered += exposure[k] > 0.0
        exposure[k] = exposure[k] / equity[k] if equity[k] > 0.0 else 0.0
    high, low, depth, shares, most = initial, initial, 0.0, 0.0, 0.0
    day, midnight, closes[0] = 1, (clock[0] // DAY + 1) * DAY, initial
    for k in range(n):
        if clock[k] >= midnight:
            day += 1
            midnight = (clock[k] // DAY + 1) * DAY
        closes[day] = equity[k]
        if equity[k] > high:
            depth = max(depth, 1.0 - low / high)
            high = low = equity[k]
        low = min(low, equity[k])
        shares += exposure[k]
        most = max(most, exposure[k])
    score.max_drawdown_pct = min(max(depth, 1.0 - low / high), 1.0) * 100.0
    score.coverage_pct = covered / n * 100.0
    score.mean_exposure_pct = shares / n * 100.0
    score.max_exposure_pct = most * 100.0
    return day
