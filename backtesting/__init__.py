"""The same decisions on recorded time: simulated exchange, simulator, figures, reports.

from backtesting import simulate
result = simulate({"strategy": "grid", "pair": "BTCUSDT"}, "candles.csv")
result.metrics, result.fills, result.trades, result.equity
result.report("report.html"); result.plot()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backtesting.run import simulate as simulate

__all__ = ["simulate"]


def __getattr__(name: str) -> Any:
    """Load the simulator when it is asked for: reading candles needs no compiler."""
    if name == "simulate":
        from backtesting.run import simulate  # noqa: PLC0415

        return simulate
    raise AttributeError(name)
