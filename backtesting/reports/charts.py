"""The pictures of a run: equity, drawdown, months, candles with fills and levels, trades. By matplotlib.

Figures are made without pyplot, so drawing keeps no state and needs no screen. Long series are thinned to their
extremes, which changes nothing that an eye could see.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import matplotlib.dates
import numpy as np
import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bot.times import DAY, MINUTE

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from backtesting.result import BacktestResult

GAIN, LOSS, INK, MUTED, STOP = "#16a34a", "#dc2626", "#1e3a5f", "#9aa5b1", "#d97706"
CANDLES, POINTS, MARKS, SEGMENTS = 360, 1500, 2500, 1500
TIMEFRAMES = (1, 5, 15, 30, 60, 240, 1440, 10_080)  # minutes
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def charts(result: BacktestResult) -> dict[str, Callable[[], Figure]]:
    """Every picture by the name of its file; each is drawn when called."""
    return {
        "equity": partial(equity_chart, result),
        "drawdown": partial(drawdown_chart, result),
        "monthly": partial(monthly_chart, result),
        "candles": partial(candles_chart, result),
        "trades": partial(trades_chart, result),
        "trades_by_month": partial(trades_by_month_chart, result),
    }


def png(figure: Figure) -> bytes:
    """A figure as PNG; the same figure gives the same bytes."""
    from io import BytesIO  # noqa: PLC0415

    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def plot(result: BacktestResult) -> Figure:
    """Equity, drawdown and price with fills in one figure, for notebooks."""
    figure = Figure(figsize=(11, 10), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1.4, 4])
    _draw_equity(top, result)
    _draw_drawdown(middle, result)
    _draw_candles(bottom, result)
    return figure


def equity_chart(result: BacktestResult) -> Figure:
    """Equity against buy and hold."""
    figure, axes = _one(3.6)
    _draw_equity(axes, result)
    return figure


def drawdown_chart(result: BacktestResult) -> Figure:
    """Per cent under the highest equity so far."""
    figure, axes = _one(2.4)
    _draw_drawdown(axes, result)
    return figure


def monthly_chart(result: BacktestResult) -> Figure:
    """Heat map of monthly returns, a row per year."""
    months = result.document.returns_by_month
    years = sorted({name[:4] for name in months})
    grid = np.full((len(years), 12), np.nan)
    for name, value in months.items():
        grid[years.index(name[:4]), int(name[5:]) - 1] = value
    figure, axes = _one(1.1 + 0.42 * len(years))
    most = max(float(np.nanmax(np.abs(grid))), 0.1)
    axes.imshow(grid, cmap="RdYlGn", vmin=-1.7 * most, vmax=1.7 * most, aspect="auto")
    axes.set_xticks(range(12), MONTHS)
    axes.set_yticks(range(len(years)), years)
    for (row, column), value in np.ndenumerate(grid):
        if not np.isnan(value):
            axes.text(column, row, f"{value:+.1f} %", ha="center", va="center", fontsize=8.5)
    axes.set_title("Return by month", loc="left", fontsize=11)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def candles_chart(result: BacktestResult) -> Figure:
    """Candles with fills, levels and stops."""
    figure, axes = _one(5.0)
    _draw_candles(axes, result)
    return figure


def trades_chart(result: BacktestResult) -> Figure:
    """Distribution of the closed trades' profits, per cent of the entry."""
    profits = closed_trades(result)["pnl_pct"].to_numpy()
    figure, axes = _one(3.0)
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


def trades_by_month_chart(result: BacktestResult) -> Figure:
    """Profit and number of the trades that closed in each month."""
    months = (
        closed_trades(result)
        .group_by(pl.from_epoch("exit_time", "ms").dt.strftime("%Y-%m").alias("month"))
        .agg(pl.col("pnl").sum(), pl.len())
        .sort("month")
    )
    figure, axes = _one(3.0)
    axes.set_title("Profit of closed trades by month of exit, and their number", loc="left", fontsize=11)
    profit, count = months["pnl"].to_list(), months["len"].to_list()
    bars = axes.bar(months["month"].to_list(), profit, color=[GAIN if p >= 0 else LOSS for p in profit], width=0.6)
    axes.bar_label(bars, [str(n) for n in count], fontsize=8.5, padding=2)
    axes.margins(x=max(0.02, 0.4 - 0.05 * len(profit)), y=0.15)
    axes.tick_params(axis="x", rotation=0 if len(profit) < 13 else 60)
    axes.axhline(0, color=INK, linewidth=0.8)
    return figure


def closed_trades(result: BacktestResult) -> pl.DataFrame:
    """Trades that have ended."""
    return result.trades.filter(pl.col("exit_time").is_not_null())


def rolled_candles(result: BacktestResult, most: int) -> tuple[pl.DataFrame, int]:
    """Candles of the shortest usual timeframe that needs at most `most` of them, and its minutes."""
    candles = result.candles
    span = (candles["ts"][-1] - candles["ts"][0]) / MINUTE + 1
    minutes = next((one for one in TIMEFRAMES if span / one <= most), TIMEFRAMES[-1])
    bucket = (pl.col("ts") // (minutes * MINUTE) * (minutes * MINUTE)).alias("ts")
    rolled = candles.group_by(bucket, maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )
    return rolled, minutes


def drawdown(result: BacktestResult) -> NDArray[np.float64]:
    """Per cent of equity under its high so far (n,), zero or negative."""
    equity = result.equity["equity"].to_numpy()
    high = np.maximum.accumulate(np.maximum(equity, result.metrics.initial_capital))
    return np.asarray((equity / high - 1.0) * 100.0, np.float64)


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


def _one(height: float) -> tuple[Figure, Axes]:
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


def _draw_equity(axes: Axes, result: BacktestResult) -> None:
    frame = result.equity
    ts = frame["ts"].to_numpy()
    for name, label, colour, width in (
        ("benchmark", "buy and hold", MUTED, 1.0),
        ("equity", result.document.strategy, INK, 1.6),
    ):
        values = frame[name].to_numpy()
        at = thinned(values)
        axes.plot(dates(ts[at]), values[at], color=colour, linewidth=width, label=label)
    axes.axhline(result.metrics.initial_capital, color=MUTED, linewidth=0.7, linestyle=":")
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if abs(value) >= 100 else f"{value:g}")
    )
    axes.legend(frameon=False, fontsize=9, loc="best")
    axes.set_title("Equity, quote currency", loc="left", fontsize=11)
    time_axis(axes)


def _draw_drawdown(axes: Axes, result: BacktestResult) -> None:
    values = drawdown(result)
    at = thinned(values)
    when = dates(result.equity["ts"].to_numpy()[at])
    axes.fill_between(when, values[at], 0.0, color=LOSS, alpha=0.25, linewidth=0)
    axes.plot(when, values[at], color=LOSS, linewidth=0.9)
    axes.set_title("Under water, % of the highest equity so far", loc="left", fontsize=11)
    time_axis(axes)


def _draw_candles(axes: Axes, result: BacktestResult) -> None:
    rolled, minutes = rolled_candles(result, CANDLES)
    when = dates(rolled["ts"].to_numpy()) + minutes / 2880
    low, high = rolled["low"].to_numpy(), rolled["high"].to_numpy()
    open_, close = rolled["open"].to_numpy(), rolled["close"].to_numpy()
    colours = np.where(close >= open_, GAIN, LOSS).tolist()
    wicks = np.stack([np.stack([when, low], 1), np.stack([when, high], 1)], 1)
    bodies = np.stack([np.stack([when, open_], 1), np.stack([when, close], 1)], 1)
    _draw_levels(axes, result)
    axes.add_collection(LineCollection(list(wicks), colors=colours, linewidths=0.6, alpha=0.7))
    axes.add_collection(LineCollection(list(bodies), colors=colours, linewidths=2.0, alpha=0.7))
    _draw_fills(axes, result)
    room = (float(high.max()) - float(low.min())) * 0.04 or float(high.max()) * 0.01
    axes.set_xlim(when[0] - minutes / 1440, when[-1] + minutes / 1440)
    axes.set_ylim(float(low.min()) - room, float(high.max()) + room)
    axes.set_title(f"{result.document.pair}: candles, fills, levels and stops", loc="left", fontsize=11)
    time_axis(axes)


def _draw_levels(axes: Axes, result: BacktestResult) -> None:
    levels = result.levels.tail(SEGMENTS)
    for kind, colour, style in (("limit", "#64748b", "-"), ("stop", STOP, "--")):
        chosen = levels.filter(pl.col("kind") == kind)
        left, right = dates(chosen["ts_from"].to_numpy()), dates(chosen["ts_to"].to_numpy())
        price = chosen["price"].to_numpy()
        segments = np.stack([np.stack([left, price], 1), np.stack([right, price], 1)], 1)
        axes.add_collection(LineCollection(list(segments), colors=colour, linewidths=0.5, alpha=0.35, linestyles=style))


def _draw_fills(axes: Axes, result: BacktestResult) -> None:
    fills = result.fills.tail(MARKS)
    size = 26 if len(fills) < 300 else 9
    for side, colour, marker in (("buy", "#0f766e", "^"), ("sell", "#9d174d", "v")):
        chosen = fills.filter(pl.col("side") == side)
        when = dates(chosen["ts"].to_numpy())
        axes.scatter(
            when,
            chosen["price"].to_numpy(),
            s=size,
            c=colour,
            marker=marker,
            label=side,
            zorder=3,
            linewidths=0,
        )
    if len(fills):
        axes.legend(frameon=False, fontsize=9, loc="upper left")
