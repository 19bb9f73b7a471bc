"""The score of a run: the figures that a search ranks and filters by, in one compiled pass over its bars and fills.

`backtesting.metrics` defines those that it has, and both must agree. What it does not have is how much of the daily
returns the pair itself explains: beta, alpha and information ratio. NaN means: too little to say.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.exchange import Outcome
from backtesting.metrics import LARGEST_FACTOR, LEAST_DAYS, YEAR_DAYS, Metrics
from backtesting.trades import match, matching
from bot.kernel import Record, kernel, specialise, template, unowned
from bot.record import new_records
from bot.times import DAY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtesting.simulator import Recording

OWN = {
    "return_over_max_drawdown": "total return / max drawdown; undefined without a drawdown",
    "coverage_pct": "share of bars that closed with a position",
    "worst_day_pct": "smallest return of a UTC day",
    "liquidated": "1 where the account was liquidated or its equity reached zero, else 0",
    "beta": "slope of daily returns on those of the pair itself: how long the run was; from 30 days",
    "alpha_pct": "mean daily return - beta x that of the pair, x 365: what being long or short did not earn",
    "transition_cost": "auto: fees and slippage of the orders of transitions and trims; else 0, quote currency",
    "information_ratio": "alpha / standard deviation of the daily returns that beta does not explain, x sqrt(365)",
}
NAMES = (
    *("total_return_pct", "annualised_return_pct", "max_drawdown_pct", "return_over_max_drawdown", "profit_factor"),
    *("sharpe", "sortino", "trades", "win_rate_pct", "fees", "funding", "turnover", "coverage_pct"),
    *("mean_exposure_pct", "max_exposure_pct", "worst_day_pct", "liquidated"),
    *("beta", "alpha_pct", "information_ratio", "refused_for_costs", "fills", "transition_cost"),
)
SCORE = np.dtype([(name, "f8") for name in NAMES])
# Unit and definition of each figure, one line.
DESCRIPTIONS = {
    name: (OWN.get(name) or str(Metrics.model_fields[name].description)) + (", %" if name.endswith("_pct") else "")
    for name in NAMES
}
DUST = 1e-12  # a standard deviation of daily returns below it is rounding


def score_of(recording: Recording, first: int) -> Any:
    """Score of a run whose period begins at bar `first`, one record of SCORE."""
    return scored(recording, first)[0]


def scored(recording: Recording, first: int) -> tuple[Any, NDArray[np.float64]]:
    """Score of such a run, and its daily returns: of each UTC day with bars, then zeros, one for each day there is."""
    prepared, scores = recording.prepared, new_records(SCORE, 1)
    ts = prepared.candles.ts
    daily = np.zeros(ts[-1] // DAY - ts[first] // DAY + 1)
    _scorer()(
        *(ts, prepared.open, prepared.close, recording.changes, first, prepared.candles.bar_ms),
        *(recording.pair, int(recording.outcome), *matching(recording), scores, daily),
    )
    return scores[0], daily


@cache
def _scorer() -> Any:
    return specialise(score_run, "score", excursions=no_excursions)


@kernel
def no_excursions(trade: Record, high: Record, low: Record, last: int, tick_value: float) -> None:
    """Leave MAE and MFE alone: no figure of a score needs them, and they read every bar of every trade."""


@template
def score_run(
    ts: Record,
    open_: Record,
    close: Record,
    changes: Record,
    first: int,
    bar_ms: int,
    traded: Record,
    outcome: int,
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
    scores: Record,
    daily: Record,
) -> None:
    """Write the figures of a run into `scores`, an array of one, and its daily returns into `daily`.

    `ts`, `open_`, `close` (n,), prices in ticks; `changes` of CHANGE (c,); `traded`: the PAIR at the end; `fills` to
    `trades`: what `match` is given.
    """
    ts, open_, close, changes, fills = unowned(ts), unowned(open_), unowned(close), unowned(changes), unowned(fills)
    parts, closed, trades = unowned(parts), unowned(closed), unowned(trades)
    score = scores[0]
    score.fills, score.liquidated = len(fills), outcome != Outcome.COMPLETE
    score_account(ts, open_, close, changes, first, bar_ms, traded, last, tick_value, score, daily)
    count = match(fills, funding_bars, funding, high, low, last, tick_value, parts, closed, trades)
    score_trades(trades[:count], score)


@kernel
def score_account(
    ts: Record,
    open_: Record,
    close: Record,
    changes: Record,
    first: int,
    bar_ms: int,
    traded: Record,
    last: int,
    tick_value: float,
    score: Record,
    daily: Record,
) -> None:
    """Write what follows from the account alone, without its fills: all but trades, fills and how it ended."""
    ledger = traded.ledger
    score.fees, score.funding, score.turnover = ledger.fees, ledger.funding, ledger.turnover
    score.refused_for_costs = traded.costs.refused
    days = ts[last] // DAY - ts[first] // DAY + 2
    equity, pair = np.empty(days), np.empty(days)  # at midnights; the first values are those of the beginning
    equity[0], pair[0] = ledger.deposits, open_[first]
    count = follow(ts, close, changes, first, last + 1, bar_ms, tick_value, equity, pair, score)
    years = (ts[last] + bar_ms - ts[first]) / (YEAR_DAYS * DAY)
    score_returns(equity[: count + 1], years, score)
    own = returns(equity[: count + 1])
    daily[:count] = own
    score_daily(own, returns(pair[: count + 1]), score)


@kernel
def follow(
    ts: Record,
    close: Record,
    changes: Record,
    first: int,
    bars: int,
    bar_ms: int,
    tick_value: float,
    equity: Record,
    pair: Record,
    score: Record,
) -> int:
    """Follow equity over the bars of a run, between changes of cash and position; returns the number of days.

    Writes drawdown and exposure into `score`, and what each UTC day closed at into `equity` (quote currency) and `pair`
    (ticks), from index 1 on.
    """
    cash, position, change = equity[0], 0, 0
    reached = (equity[0], equity[0], 0.0, 0.0, 0.0)
    covered, day, i, midnight = 0, 0, first, first
    shares = np.empty(DAY // bar_ms + 1)  # of equity, at the bars between two changes in a day
    while i < bars:
        while change < len(changes) and changes[change].bar <= i:
            cash, position = changes[change].cash, changes[change].position
            change += 1
        if i == midnight:
            midnight = next_day(ts, i, bars, bar_ms)
        end = min(midnight, changes[change].bar) if change < len(changes) else midnight
        if position == 0:
            reached = hold(close[end - 1 : end], cash, 0.0, tick_value, shares, reached)
        else:
            reached = hold(close[i:end], cash, float(position), tick_value, shares, reached)
            covered += end - i
        i = end
        if i == midnight:
            day += 1
            equity[day], pair[day] = cash + position * close[i - 1] * tick_value, close[i - 1]
    high, low, depth, exposure, most = reached
    score.max_drawdown_pct = min(max(depth, 1.0 - low / high), 1.0) * 100.0
    score.coverage_pct = covered / (bars - first) * 100.0
    score.mean_exposure_pct = exposure / (bars - first) * 100.0
    score.max_exposure_pct = most * 100.0
    return day


@kernel
def next_day(ts: Record, i: int, bars: int, bar_ms: int) -> int:
    """Index of the first bar of a later UTC day than that of bar `i`; `bars` where there is none."""
    midnight, most = (ts[i] // DAY + 1) * DAY, DAY // bar_ms + 1
    low, high = i, min(i + most, bars)  # bars cannot be closer than `bar_ms`: no day has more of them
    if ts[high - 1] < midnight:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if ts[middle] < midnight:
            low = middle
        else:
            high = middle
    return high


@kernel
def hold(
    close: Record,
    cash: float,
    position: float,
    tick_value: float,
    shares: Record,
    reached: tuple[float, float, float, float, float],
) -> tuple[float, float, float, float, float]:
    """Hold a position over bars with these closes (k,); `shares` has room for as many numbers.

    Takes and returns the high of equity so far, its low since then, the deepest drawdown before that high, and the sum
    and the largest of |position| x close / equity.
    """
    high, low, depth, exposure, most = reached
    for i in range(len(close)):  # by itself: several divisions at a time, which are what the whole score waits for
        equity = cash + position * close[i] * tick_value
        shares[i] = abs(position * close[i] * tick_value) / equity if equity > 0.0 else 0.0
    for i in range(len(close)):
        equity = cash + position * close[i] * tick_value
        if equity > high:
            depth = max(depth, 1.0 - low / high)
            high = low = equity
        low = min(low, equity)
        exposure += shares[i]
        most = max(most, shares[i])
    return high, low, depth, exposure, most


@kernel
def score_returns(equity: Record, years: float, score: Record) -> None:
    """Write total and annualised return, and return over drawdown, of equity (d + 1,) from the capital to the end."""
    gained = equity[-1] / equity[0]
    score.total_return_pct = (gained - 1.0) * 100.0
    score.annualised_return_pct = score.return_over_max_drawdown = np.nan
    if years * YEAR_DAYS >= LEAST_DAYS:
        score.annualised_return_pct = (max(gained, 0.0) ** (1.0 / years) - 1.0) * 100.0
    if score.max_drawdown_pct > 0.0:
        score.return_over_max_drawdown = score.total_return_pct / score.max_drawdown_pct


@kernel
def returns(values: Record) -> Record:
    """Relative changes (d,) of values (d + 1,); none from a value of zero or less."""
    changes = np.zeros(len(values) - 1)
    for k in range(len(changes)):
        if values[k] > 0.0:
            changes[k] = values[k + 1] / values[k] - 1.0
    return changes


@kernel
def score_daily(own: Record, pair: Record, score: Record) -> None:
    """Write worst day, Sharpe, Sortino, beta, alpha and information ratio from daily returns (d,) of equity and pair.

    own = alpha + beta x pair + residual by least squares. The information ratio is that of Grinold and Kahn, "Active
    Portfolio Management" (2000), chapter 5: annualised alpha over annualised residual risk, here with the d - 2 degrees
    of freedom of the regression. Of excess over the pair it would be a rank of beta again. (Treynor and Black, 1973,
    call it the appraisal ratio.)
    """
    score.worst_day_pct = np.min(own) * 100.0
    score.sharpe = score.sortino = score.beta = score.alpha_pct = score.information_ratio = np.nan
    days = len(own)
    if days < LEAST_DAYS:
        return
    mean, mean_of_pair = np.mean(own), np.mean(pair)
    spread = np.sqrt(np.sum((own - mean) ** 2) / (days - 1))
    downside = np.sqrt(np.mean(np.minimum(own, 0.0) ** 2))
    if spread > 0.0:
        score.sharpe = mean / spread * YEAR_DAYS**0.5
    if downside > 0.0:
        score.sortino = mean / downside * YEAR_DAYS**0.5
    variation = np.sum((pair - mean_of_pair) ** 2)
    if variation == 0.0:
        return
    beta = np.sum((own - mean) * (pair - mean_of_pair)) / variation
    alpha = mean - beta * mean_of_pair
    residual = np.sqrt(np.sum((own - alpha - beta * pair) ** 2) / (days - 2))
    score.beta, score.alpha_pct = beta, alpha * YEAR_DAYS * 100.0
    if residual > DUST:
        score.information_ratio = alpha / residual * YEAR_DAYS**0.5


@kernel
def score_trades(trades: Record, score: Record) -> None:
    """Write count, win rate and profit factor of the closed ones among trades (k,) of TRADE."""
    closed, wins, won, lost = profits_of(trades)
    score_profits(closed, wins, won, lost, score)


@kernel
def profits_of(trades: Record) -> tuple[int, int, float, float]:
    """Count the closed ones among trades (k,) of TRADE and those with a profit, and add up profits and losses."""
    closed, wins, won, lost = 0, 0, 0.0, 0.0
    for k in range(len(trades)):
        trade = trades[k]
        if trade.held == 0:
            profit = trade.side * (trade.exit_value - trade.entry_value) - trade.fees + trade.funding
            closed += 1
            wins += profit > 0.0
            won += max(profit, 0.0)
            lost -= min(profit, 0.0)
    return closed, wins, won, lost


@kernel
def score_profits(closed: int, wins: int, won: float, lost: float, score: Record) -> None:
    """Write count, win rate and profit factor of closed trades: how many won, and what was won and lost."""
    score.trades = closed
    score.win_rate_pct = wins / closed * 100.0 if closed > 0 else np.nan
    score.profit_factor = np.nan
    if lost > 0.0:
        score.profit_factor = min(won / lost, LARGEST_FACTOR)
    elif won > 0.0:
        score.profit_factor = LARGEST_FACTOR
