"""Monte Carlo: what else might have come of a run, with its trades in another order, and on other candles like these.

Trades are drawn in blocks, as many as there were, so that runs of losses stay together. Candles are drawn by whole
days, in blocks too, the same ones for every pair, and the same decisions are played on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.metrics import last_worth, profits
from backtesting.portfolio_result import PortfolioResult
from backtesting.portfolio_run import simulate_portfolio
from backtesting.run import simulate
from backtesting.trades import trades_of
from bot.candles import Candles
from bot.errors import Misconfigured
from bot.times import DAY
from coordinator.config import PortfolioConfig
from search.chance import resampled_days

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from backtesting.result import BacktestResult
    from coordinator.config import BacktestConfig
    from search.window import MarketHistory

    Values = NDArray[np.float64]

LEAST_TRADES, LEAST_DAYS = 10, 10
PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class Drawn:
    """What came of draws: total return and deepest drawdown of each, % (draws,)."""

    returned: Values
    drawdown: Values

    @property
    def lost(self) -> float:
        """Share of the draws that ended with a loss."""
        return float(np.mean(self.returned < 0.0))

    def rows(self) -> dict[str, dict[str, float]]:
        """Percentiles of both, by their names."""
        parts = {"total_return_pct": self.returned, "max_drawdown_pct": self.drawdown}
        return {
            name: {f"p{one}": float(np.percentile(values, one)) for one in PERCENTILES}
            for name, values in parts.items()
        }


@dataclass(frozen=True)
class MonteCarlo:
    """A run, and what else might have come of it; None where there is too little to draw from."""

    returned: float  # of the run itself, %
    drawdown: float
    trades: Drawn | None
    candles: Drawn | None

    @property
    def words(self) -> list[str]:
        """What it comes to, in sentences."""
        told = [f"The run returned {self.returned:,.1f} % with a drawdown of {self.drawdown:,.1f} %."]
        for drawn, how in (
            (self.trades, "with its trades drawn anew, in blocks"),
            (self.candles, "on candles drawn anew, in blocks of days"),
        ):
            if drawn is None:
                told.append(f"There is too little to say what would come of it {how}.")
                continue
            low, high = np.percentile(drawn.returned, (5, 95)).tolist()
            deep = float(np.percentile(drawn.drawdown, 95))
            told.append(
                f"Nine in ten times {how} it returns between {low:,.1f} % and {high:,.1f} %; it loses in "
                f"{drawn.lost:.0%}, and one in twenty has a drawdown of {deep:,.1f} % or more."
            )
        return told


def play(config: BacktestConfig | PortfolioConfig, market: MarketHistory) -> BacktestResult | PortfolioResult:
    """Play a config on a market; raises Misconfigured where it cannot work on it."""
    if isinstance(config, PortfolioConfig):
        return simulate_portfolio(config, market.candles, fetched=market.fetched, funding=market.funding)
    fetched, funding = market.fetched.get(config.pair), market.funding.get(config.pair)
    return simulate(config, market.candles[config.pair], fetched=fetched, funding=funding)


def monte_carlo(
    config: BacktestConfig | PortfolioConfig,
    market: MarketHistory,
    *,
    draws: int = 1000,
    tapes: int = 100,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> MonteCarlo:
    """Draw the trades of a config's run `draws` times, and play it on `tapes` drawn from its candles.

    `progress` hears the share that is done. Raises Misconfigured where it cannot work on these candles.
    """
    result = play(config, market)
    metrics = result.metrics
    trades = redrawn_trades(trade_profits(result), metrics.initial_capital, draws, seed)
    returned, drawdown = [], []
    for tape in range(tapes):
        other = play(result.config, redrawn(result.config, market, seed * 1_000_003 + tape)).metrics
        returned.append(other.total_return_pct)
        drawdown.append(other.max_drawdown_pct)
        if progress is not None:
            progress((tape + 1) / tapes)
    candles = Drawn(np.array(returned), np.array(drawdown)) if tapes else None
    return MonteCarlo(metrics.total_return_pct, metrics.max_drawdown_pct, trades, candles)


def trade_profits(result: BacktestResult | PortfolioResult) -> Values:
    """Profit of each trade, quote currency (k,), in the order of exits; what is still open comes last, as it stands."""
    if isinstance(result, PortfolioResult):
        return result.trades[1]
    return profits(trades_of(result.recording), last_worth(result.recording))


def redrawn_trades(profit: Values, capital: float, draws: int, seed: int) -> Drawn | None:
    """Draw as many trades as there were, in blocks, each of which makes what it made; None of fewer than ten."""
    if len(profit) < LEAST_TRADES:
        return None
    returned, drawdown = np.empty(draws), np.empty(draws)
    at_once = max(2_000_000 // len(profit), 1)
    for first in range(0, draws, at_once):
        part = slice(first, min(first + at_once, draws))
        drawn = resampled_days(len(profit), part.stop - part.start, seed + first)
        equity = capital + np.cumsum(profit[drawn], axis=1)
        equity[np.logical_or.accumulate(equity <= 0.0, axis=1)] = 0.0  # what is lost is lost
        high = np.maximum.accumulate(np.maximum(equity, capital), axis=1)
        returned[part] = (equity[:, -1] / capital - 1.0) * 100.0
        drawdown[part] = np.minimum(np.max(1.0 - equity / high, axis=1), 1.0) * 100.0
    return Drawn(returned, drawdown)


def redrawn(config: BacktestConfig | PortfolioConfig, market: MarketHistory, seed: int) -> MarketHistory:
    """Draw other candles for a config as it was played: days of its period, in blocks, the same ones for every pair.

    Those before its period stay as they are, for its warm-up. Funding is that of the same times.
    """
    start = config.start
    whole = {pair: candles.between(None, config.end) for pair, candles in market.candles.items()}
    first = max(int(one.ts[0]) for one in whole.values()) if start is None else start
    days = _whole_days(whole, first)
    if len(days) < LEAST_DAYS:
        raise Misconfigured(
            f"candles: {len(days)} days are there without a gap for all pairs; a Monte Carlo draws from {LEAST_DAYS} "
            "or more, take a longer period."
        )
    drawn = resampled_days(len(days), 1, seed)[0]
    made = {pair: _redrawn(candles, days, drawn, tick_of(config, pair)) for pair, candles in whole.items()}
    return type(market)(made, market.fetched, market.funding)


def tick_of(config: BacktestConfig | PortfolioConfig, pair: str) -> float:
    """Tick of a pair in a config as it was played, quote currency."""
    fields = config.instruments[pair] if isinstance(config, PortfolioConfig) else config.instrument or {}
    return float(fields["tick_size"])


def on_ticks(prices: Values, tick: float) -> Values:
    """Prices at the nearest tick, one at least."""
    return np.asarray(np.maximum(np.round(prices / tick), 1.0) * tick)


def _whole_days(whole: Mapping[str, Candles], first: int) -> NDArray[np.int64]:
    """UTC days from a time on that have all their bars for every pair, ascending."""
    common: NDArray[np.int64] | None = None
    for candles in whole.values():
        day, count = np.unique(candles.ts // DAY, return_counts=True)
        full = day[(count == DAY // candles.bar_ms) & (day * DAY >= max(first, int(candles.ts[0]) + 1))]
        common = full if common is None else np.intersect1d(common, full)
    assert common is not None
    return common


def _redrawn(candles: Candles, days: NDArray[np.int64], drawn: NDArray[np.int64], tick: float) -> Candles:
    """Put drawn days behind what comes before the first of them, each going on from the last price."""
    count = DAY // candles.bar_ms
    begin = int(np.searchsorted(candles.ts, int(days[0]) * DAY))
    starts = np.searchsorted(candles.ts, days[drawn] * DAY)
    rows = (starts[:, None] + np.arange(count)).ravel()
    moves = candles.close[starts + count - 1] / candles.close[starts - 1]  # of a whole day, from the close before it
    level = candles.close[begin - 1] * np.concatenate(([1.0], np.cumprod(moves)[:-1]))
    scale = np.repeat(level / candles.close[starts - 1], count)
    before = candles.rows(slice(0, begin))
    prices: dict[str, Any] = {
        name: np.concatenate((getattr(before, name), on_ticks(getattr(candles, name)[rows] * scale, tick)))
        for name in ("open", "high", "low", "close")
    }
    ts = int(days[0]) * DAY + candles.bar_ms * np.arange(len(rows), dtype=np.int64)
    volume = np.concatenate((before.volume, candles.volume[rows] / scale))  # the same money
    return Candles(ts=np.concatenate((before.ts, ts)), volume=volume, bar_ms=candles.bar_ms, **prices)
