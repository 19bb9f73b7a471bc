"""Pictures of a run's account: equity, drawdown, months, trades; and what every picture is made with. By matplotlib.

Figures are made without pyplot, so drawing keeps no state and needs no screen. Long series are thinned to their
extremes, which changes nothing that an eye could see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.dates
import numpy as np
import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from backtesting.reports.labels import FULL_COLOUR, MODE_COLOURS, MONTHS
from bot.times import DAY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from backtesting.reports.run_view import RunView


GAIN, LOSS, INK, MUTED, STOP = "#16a34a", "#dc2626", "#1e3a5f", "#9aa5b1", "#d97706"
POINTS = 1500


def png(figure: Figure) -> bytes:
    """A figure as PNG; the same figure gives the same bytes."""
    from io import BytesIO  # noqa: PLC0415

    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def equity_chart(view: RunView) -> Figure:
    """Equity against buy and hold."""
    figure, axes = framed(3.6)
    draw_equity(axes, view)
    return figure


def drawdown_chart(view: RunView) -> Figure:
    """Per cent under the highest equity so far."""
    figure, axes = framed(2.4)
    draw_drawdown(axes, view)
    return figure


def monthly_chart(view: RunView) -> Figure:
    """Heat map of monthly returns, a row per year."""
    months = view.document.returns_by_month
    years = sorted({name[:4] for name in months})
    grid = np.full((len(years), 12), np.nan)
    for name, value in months.items():
        grid[years.index(name[:4]), int(name[5:]) - 1] = value
    figure, axes = framed(1.1 + 0.42 * len(years))
    axes.imshow(grid, cmap="RdYlGn", vmin=-1.7 * FULL_COLOUR, vmax=1.7 * FULL_COLOUR, aspect="auto")
    axes.set_xticks(range(12), MONTHS)
    axes.set_yticks(range(len(years)), years)
    for (row, column), value in np.ndenumerate(grid):
        if not np.isnan(value):
            axes.text(column, row, f"{value:+.1f} %", ha="center", va="center", fontsize=8.5)
    axes.set_title("Return by month", loc="left", fontsize=11)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def trades_chart(view: RunView) -> Figure:
    """Distribution of the closed trades' profits, per cent of the entry."""
    profits = closed_trades(view)["pnl_pct"].to_numpy()
    figure, axes = framed(3.0)
    axes.set_title(f"Closed trades: {len(profits)}", loc="left", fontsize=11)
    axes.set_xlabel("profit after fees, % of entry value", fontsize=9)
    if len(profits):
        low, high = min(float(profits.min()), 0.0), max(float(profits.max()), 0.0)
        step = max((high - low) / 40, 1e-9)
        edges = np.arange(np.floor(low / step), np.ceil(high / step) + 1.5) * step
        counts, _ = np.histogram(profits, edges)
        colours = [GAIN if left >= -step / 2 else LOSS for left in edges[:-1]]
        axes.bar(edges[:-1], counts, width=step * 0.9, align="edge", color=colours)
        axes.axvline(float(profits.mean()), color=INK, linewidth=1.2, linestyle="--", label="mean")
        axes.legend(frameon=False, fontsize=9)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def trades_by_month_chart(view: RunView) -> Figure:
    """Profit and number of the trades that closed in each month."""
    months = view.document.trades_by_month
    figure, axes = framed(3.0)
    axes.set_title("Profit of closed trades by month of exit, and their number", loc="left", fontsize=11)
    profit, count = [one.profit for one in months.values()], [one.trades for one in months.values()]
    bars = axes.bar(list(months), profit, color=[GAIN if p >= 0 else LOSS for p in profit], width=0.6)
    axes.bar_label(bars, [str(n) for n in count], fontsize=8.5, padding=2)
    axes.margins(x=max(0.02, 0.4 - 0.05 * len(profit)), y=0.15)
    axes.tick_params(axis="x", rotation=0 if len(profit) < 13 else 60)
    axes.axhline(0, color=INK, linewidth=0.8)
    return figure


def closed_trades(view: RunView) -> pl.DataFrame:
    """Trades that have ended."""
    return view.trades.filter(pl.col("exit_time").is_not_null())


def thinned(values: NDArray[np.float64], points: int = POINTS) -> NDArray[np.int64]:
    """Indices of at most about `points` values, lowest and highest of each stretch among them, ends included."""
    if len(values) <= points:
        return np.arange(len(values))
    stretch = -(-2 * len(values) // points)
    whole = len(values) // stretch * stretch
    blocks = values[:whole].reshape(-1, stretch)
    starts = np.arange(0, whole, stretch)
    chosen = np.concatenate([starts + blocks.argmin(1), starts + blocks.argmax(1), [0, len(values) - 1]])
    return np.unique(chosen)


def framed(height: float) -> tuple[Figure, Axes]:
    """One picture of one drawing."""
    figure = Figure(figsize=(11, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    return figure, axes


def dates(ts: Any) -> NDArray[np.float64]:
    """Epoch ms as matplotlib's days."""
    return np.asarray(ts, np.float64) / DAY


def time_axis(axes: Axes) -> None:
    """Give the axes dates and a quiet frame."""
    locator = matplotlib.dates.AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    formatter = matplotlib.dates.ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01)


def draw_equity(axes: Axes, view: RunView) -> None:
    """Draw equity against buy and hold, with the risk modes behind them."""
    for start, end, names in view.portfolio.mode_spans() if view.portfolio else []:
        for name in names.split("+"):
            if name != "normal":
                colour = MODE_COLOURS.get(name, MUTED)
                axes.axvspan(*dates(np.array([start, end])), color=colour, alpha=0.3, linewidth=0)
    for values, label, colour, width in (
        (view.benchmark, "buy and hold", MUTED, 1.0),
        (view.equity, view.document.strategy, INK, 1.6),
    ):
        at = thinned(values)
        axes.plot(dates(view.ts[at]), values[at], color=colour, linewidth=width, label=label)
    axes.axhline(view.document.metrics.initial_capital, color=MUTED, linewidth=0.7, linestyle=":")
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if abs(value) >= 100 else f"{value:g}")
    )
    axes.legend(frameon=False, fontsize=9, loc="best")
    behind = "; risk modes behind it" if view.portfolio else ""
    axes.set_title(f"Equity, {view.currency}{behind}", loc="left", fontsize=11)
    time_axis(axes)


def draw_drawdown(axes: Axes, view: RunView) -> None:
    """Draw the per cent of equity under its high so far."""
    values = view.drawdown
    at = thinned(values)
    when = dates(view.ts[at])
    axes.fill_between(when, values[at], 0.0, color=LOSS, alpha=0.25, linewidth=0)
    axes.plot(when, values[at], color=LOSS, linewidth=0.9)
    axes.set_title("Drawdown, % of the highest equity so far", loc="left", fontsize=11)
    time_axis(axes)
