"""The figures of one run as plain numbers, for who compares many: those of its result, and alpha and beta."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.metrics import daily_returns
from backtesting.portfolio_result import PortfolioResult
from search.portfolio_score import score_portfolio
from search.score import scored
from search.window import held_equally_over

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtesting.result import BacktestResult

    Values = NDArray[np.float64]

AGAINST_THE_PAIR = ("beta", "alpha_pct", "information_ratio")
OF_THE_RESULT = (
    *("total_return_pct", "annualised_return_pct", "benchmark_return_pct", "max_drawdown_pct", "profit_factor"),
    *("sharpe", "sortino", "trades", "open_trades", "fees", "funding", "mean_exposure_pct", "average_r"),
)


def run_figures(run_id: str, result: BacktestResult | PortfolioResult) -> dict[str, Any]:
    """Figures that JSON takes; None where one is undefined.

    `winrate` is the share of closed trades with a profit, per cent; `rr` the mean profit of those over the mean loss of
    the others.
    """
    metrics, outcome = result.metrics, result.recording.outcome.name.lower()
    _, score = daily_of(result)
    win, loss = metrics.average_win, metrics.average_loss
    own = {name: getattr(metrics, name) for name in OF_THE_RESULT}
    return {
        "run_id": run_id,
        "from": metrics.start,
        "to": metrics.end,
        "outcome": outcome,
        "winrate": metrics.win_rate_pct,
        "rr": win / -loss if win is not None and loss else None,
        **own,
        **{name: None if np.isnan(score[name]) else float(score[name]) for name in AGAINST_THE_PAIR},
    }


def daily_of(result: BacktestResult | PortfolioResult) -> tuple[tuple[Values, Values], Any]:
    """Daily returns of a run and of its pairs held, (d,) each, and its score."""
    if isinstance(result, PortfolioResult):
        held = held_equally_over([one.prepared for one in result.recording.recordings], result.ts)
        score, daily = score_portfolio(result, held)
        return (daily, held[: len(daily)]), score
    prepared, first = result.recording.prepared, result.first
    score, daily = scored(result.recording, first)
    pair = daily_returns(prepared.close[first:], prepared.candles.ts[first:], float(prepared.open[first]))
    return (daily[: len(pair)], pair), score
