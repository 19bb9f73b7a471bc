"""Every picture of a run by name, whatever kind of run it is, and one of all for notebooks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from backtesting.reports.candle_charts import draw_candles, pair_chart
from backtesting.reports.charts import (
    draw_drawdown,
    draw_equity,
    drawdown_chart,
    equity_chart,
    monthly_chart,
    trades_by_month_chart,
    trades_chart,
)
from backtesting.reports.portfolio_charts import allocation_chart, correlation_chart
from backtesting.reports.run_view import view_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from backtesting.portfolio_result import PortfolioResult
    from backtesting.reports.run_view import RunView
    from backtesting.result import BacktestResult

SHOWN_PAIRS = 12


def pictures(view: RunView) -> dict[str, Callable[[], Figure]]:
    """Every picture by the name of its file; each is drawn when called."""
    made: dict[str, Callable[[], Figure]] = {
        "equity": partial(equity_chart, view),
        "drawdown": partial(drawdown_chart, view),
        "monthly": partial(monthly_chart, view),
        "trades": partial(trades_chart, view),
        "trades_by_month": partial(trades_by_month_chart, view),
    }
    for pair in view.pairs[:SHOWN_PAIRS]:
        made[f"pair_{pair}" if view.portfolio else "candles"] = partial(pair_chart, view, pair)
    if view.portfolio is not None:
        made["allocation"] = partial(allocation_chart, view.portfolio)
        if len(view.pairs) > 1:
            made["correlation"] = partial(correlation_chart, view.portfolio)
    return made


def plot(result: BacktestResult | PortfolioResult) -> Figure:
    """Equity, drawdown, and the price of each pair with its fills in one figure, for notebooks."""
    view = view_of(result)
    shown = view.pairs[:SHOWN_PAIRS]
    figure = Figure(figsize=(11, 6 + 4 * len(shown)), layout="constrained")
    top, middle, *others = figure.subplots(2 + len(shown), 1, sharex=True, height_ratios=[3, 1.4, *[4] * len(shown)])
    draw_equity(top, view)
    draw_drawdown(middle, view)
    for axes, pair in zip(others, shown, strict=True):
        draw_candles(axes, view.singles[pair])
    return figure
