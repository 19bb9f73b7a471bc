"""Pictures of a pair: candles with fills, resting orders and zones, and the ribbons of `auto` below. By matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from backtesting.reports.charts import GAIN, LOSS, MUTED, STOP, dates, framed, time_axis
from backtesting.reports.labels import MODE_COLOURS, REGIME_COLOURS, label, strategy_colours
from bot.times import MINUTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from backtesting.portfolio_result import PortfolioResult
    from backtesting.reports.run_view import RunView
    from backtesting.result import BacktestResult

CANDLES, MARKS, SEGMENTS, ZONES = 360, 2500, 1500, 160
TIMEFRAMES = (1, 5, 15, 30, 60, 240, 1440, 10_080)  # minutes


def pair_chart(view: RunView, pair: str) -> Figure:
    """Candles with all that was ordered and filled; of `auto` with its regimes and strategies below."""
    if view.portfolio is None or view.portfolio.config.algorithm.alone is not None:
        figure, axes = framed(5.0)
        draw_candles(axes, view.singles[pair])
        return figure
    return _with_ribbons(view.portfolio, view.singles[pair])


def _with_ribbons(result: PortfolioResult, single: BacktestResult) -> Figure:
    index = result.recording.pairs.index(single.config.pair)
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    top, regimes, strategies = figure.subplots(3, 1, sharex=True, height_ratios=[10, 1, 1])
    _draw_zones(top, result, index)
    draw_candles(top, single)
    spans, colours = result.strategy_spans(index), strategy_colours(result.config.algorithm.roster.names)
    _draw_ribbon(regimes, result.regime_spans(index), REGIME_COLOURS, "regime")
    _draw_ribbon(strategies, spans, colours, "strategy")
    for start, end, names in result.mode_spans():
        if "halt" in names.split("+"):
            strategies.axvspan(*dates(np.array([start, end])), color=MODE_COLOURS["halt"], linewidth=0)
    seen = {name for _, _, name in (*spans, *result.regime_spans(index))}
    used = [
        Patch(color=colour, label=label(name)) for name, colour in (REGIME_COLOURS | colours).items() if name in seen
    ]
    strategies.legend(handles=used, frameon=False, fontsize=8, ncols=6, loc="upper center", bbox_to_anchor=(0.5, -0.6))
    time_axis(strategies)
    return figure


def draw_candles(axes: Axes, single: BacktestResult) -> None:
    """Draw candles, resting orders and fills of a pair."""
    rolled, minutes = _rolled(single, CANDLES)
    when = dates(rolled["ts"].to_numpy()) + minutes / 2880
    low, high = rolled["low"].to_numpy(), rolled["high"].to_numpy()
    open_, close = rolled["open"].to_numpy(), rolled["close"].to_numpy()
    colours = np.where(close >= open_, GAIN, LOSS).tolist()
    _draw_levels(axes, single)
    for bottom, top, width in ((low, high, 0.6), (open_, close, 2.0)):
        lines = np.stack([np.stack([when, bottom], 1), np.stack([when, top], 1)], 1)
        axes.add_collection(LineCollection(list(lines), colors=colours, linewidths=width, alpha=0.7))
    _draw_fills(axes, single)
    room = (float(high.max()) - float(low.min())) * 0.04 or float(high.max()) * 0.01
    axes.set_xlim(when[0] - minutes / 1440, when[-1] + minutes / 1440)
    axes.set_ylim(float(low.min()) - room, float(high.max()) + room)
    axes.set_title(f"{single.config.pair}: candles, fills and resting orders", loc="left", fontsize=11)
    time_axis(axes)


def _rolled(result: BacktestResult, most: int) -> tuple[pl.DataFrame, int]:
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


def _draw_ribbon(axes: Axes, spans: list[tuple[int, int, str]], colours: dict[str, str], label: str) -> None:
    for start, end, name in spans:
        left, right = dates(np.array([start, end]))
        axes.add_patch(Rectangle((left, 0), right - left, 1, color=colours.get(name, MUTED), linewidth=0))
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    axes.spines[:].set_visible(False)


def _draw_zones(axes: Axes, result: PortfolioResult, index: int) -> None:
    """Draw the zones that lived longest: demand green, supply red, liquidity grey."""
    for zone in result.zones(index, ZONES):
        left, right = dates(np.array([zone.born, zone.died]))
        colour = {"liquidity": "#64748b", "demand": GAIN, "supply": LOSS}[zone.kind]
        area = Rectangle(
            (left, zone.bottom), right - left, zone.top - zone.bottom, color=colour, alpha=0.10, linewidth=0
        )
        axes.add_patch(area)
