"""The same decisions on recorded time: simulated exchange, simulator, figures, reports.

from backtesting import simulate
result = simulate({"strategy": "grid", "pair": "BTCUSDT"}, "candles.csv")
result.metrics, result.fills, result.trades, result.equity
result.report("report.html"); result.plot()

from backtesting import simulate_portfolio
result = simulate_portfolio({"strategy": "auto", "pairs": ["A", "B"]}, {"A": "a.csv", "B": "b.csv"})
result.metrics, result.figures, result.pair_figures
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backtesting.portfolio_run import simulate_portfolio as simulate_portfolio
    from backtesting.run import simulate as simulate

__all__ = ["simulate", "simulate_portfolio"]


def __getattr__(name: str) -> Any:
    """Load the simulator when it is asked for: reading candles needs no compiler."""
    if name == "simulate":
        from backtesting.run import simulate  # noqa: PLC0415

        return simulate
    if name == "simulate_portfolio":
        from backtesting.portfolio_run import simulate_portfolio  # noqa: PLC0415

        return simulate_portfolio
    raise AttributeError(name)
