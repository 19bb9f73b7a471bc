"""The same decisions on recorded time: simulated exchange, simulator, figures, reports.

from backtesting import plot, simulate, write_report, write_run
result = simulate({"strategy": "grid", "pair": "BTCUSDT"}, "candles.csv")
result.metrics, result.fills, result.trades, result.equity
plot(result); write_report(result, "report.html"); write_run(result, "run")

from backtesting import simulate_portfolio
result = simulate_portfolio({"strategy": "auto", "pairs": ["A", "B"]}, {"A": "a.csv", "B": "b.csv"})
result.metrics, result.figures, result.pair_figures
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backtesting.portfolio_run import simulate_portfolio as simulate_portfolio
    from backtesting.reports.pictures import plot as plot
    from backtesting.reports.run_directory import write_report as write_report
    from backtesting.reports.run_directory import write_run as write_run
    from backtesting.run import simulate as simulate

__all__ = ["plot", "simulate", "simulate_portfolio", "write_report", "write_run"]


def __getattr__(name: str) -> Any:
    """Load the simulator and the reports when they are asked for: reading candles needs neither."""
    if name == "simulate":
        from backtesting.run import simulate  # noqa: PLC0415

        return simulate
    if name == "simulate_portfolio":
        from backtesting.portfolio_run import simulate_portfolio  # noqa: PLC0415

        return simulate_portfolio
    if name == "plot":
        from backtesting.reports.pictures import plot  # noqa: PLC0415

        return plot
    if name in ("write_report", "write_run"):
        from backtesting.reports import run_directory  # noqa: PLC0415

        return getattr(run_directory, name)
    raise AttributeError(name)
