"""The same decisions on recorded time: simulated exchange, simulator, figures, reports.

from backtesting import simulate
result = simulate(strategy="grid", pair="BTCUSDT", candles="candles.csv", grid={"levels": 20})
result.metrics, result.trades, result.fills, result.equity     # figures, and Polars frames
result.plot(); result.write_report("report.html"); result.write_run("run")
simulate(strategy="auto", pairs=["A", "B"], candles={"A": "a.csv", "B": frame}, start=datetime(2024, 2, 1))

docs/notebook.ipynb shows it at work. `plot`, `write_report` and `write_run` take a result's `run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backtesting.notebook import simulate as simulate
    from backtesting.portfolio_run import simulate_portfolio as simulate_portfolio
    from backtesting.reports.pictures import plot as plot
    from backtesting.reports.run_directory import write_report as write_report
    from backtesting.reports.run_directory import write_run as write_run

__all__ = ["plot", "simulate", "simulate_portfolio", "write_report", "write_run"]


def __getattr__(name: str) -> Any:
    """Load the simulator and the reports when they are asked for: reading candles needs neither."""
    if name == "simulate":
        from backtesting.notebook import simulate  # noqa: PLC0415

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
