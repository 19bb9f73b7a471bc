"""Pictures for a phone: the day of a pair with its orders and fills, and the equity of an account."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coordinator.bot_status import PairOrders

WIDTH, HEIGHT, DPI = 8.0, 4.5, 100
GROUND, INK, GRID = "#131722", "#d1d4dc", "#2a2e39"
UP, DOWN, LINE = "#26a69a", "#ef5350", "#5b9cf6"
BARS = 144  # candles of a picture


class Draw:
    """Draws; each call takes its own figure, from any thread."""

    def equity(self, marks: Sequence[dict[str, Any]]) -> bytes:
        """The worth of an account over its marks."""
        figure, axes = _empty()
        times = [_time(one["at"]) for one in marks]
        values = np.array([one["equity"] for one in marks])
        axes.plot(times, values, color=LINE, linewidth=1.6)
        axes.fill_between(times, values, values.min(), color=LINE, alpha=0.15)
        axes.set_title(f"{values[-1]:,.2f}  ({values[-1] - values[0]:+,.2f})", color=INK, loc="left")
        return _png(figure)

    def chart(self, pair: str, bars: Any, orders: PairOrders, fills: Sequence[dict[str, Any]]) -> bytes:
        """Candles, what rests at the exchange, and what has filled; `bars` is BAR (n,)."""
        figure, axes = _empty()
        candles = _gathered(bars)
        if candles is not None:
            _candles(axes, *candles)
            low, high = float(candles[3].min()), float(candles[2].max())
            _levels(axes, orders, low - (high - low), high + (high - low))
            _fills(axes, fills, int(bars["ts"][0]))
        axes.set_title(pair, color=INK, loc="left")
        return _png(figure)


def _empty() -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor=GROUND, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=GROUND)
    axes.grid(color=GRID, linewidth=0.6)
    axes.tick_params(colors=INK, labelsize=9)
    axes.yaxis.tick_right()
    axes.yaxis.set_major_formatter(lambda value, _at: f"{value:,.6g}")
    for spine in axes.spines.values():
        spine.set_color(GRID)
    figure.autofmt_xdate(rotation=0, ha="center")
    return figure, axes


def _gathered(bars: Any) -> tuple[Any, ...] | None:
    """Times, opens, highs, lows and closes of at most `BARS` candles."""
    if not len(bars):
        return None
    size = -(-len(bars) // BARS)
    first = len(bars) % size
    groups = [bars[:first]] if first else []
    groups += [bars[at : at + size] for at in range(first, len(bars), size)]
    times = np.array([_time(int(one["ts"][0])) for one in groups])
    columns = [
        np.array([one["open"][0] for one in groups]),
        np.array([one["high"].max() for one in groups]),
        np.array([one["low"].min() for one in groups]),
        np.array([one["close"][-1] for one in groups]),
    ]
    return (times, *columns)


def _candles(axes: Any, times: Any, opens: Any, highs: Any, lows: Any, closes: Any) -> None:
    colours = np.where(closes >= opens, UP, DOWN)
    axes.vlines(times, lows, highs, colors=colours, linewidth=0.8)
    axes.vlines(times, opens, closes, colors=colours, linewidth=3.2)


def _levels(axes: Any, orders: PairOrders, low: float, high: float) -> None:
    for one in orders["open"]:
        if low <= one["price"] <= high:
            colour = UP if one["side"] == "buy" else DOWN
            axes.axhline(one["price"], color=colour, linewidth=0.9, linestyle=(0, (4, 3)))
    if orders["stop"] and low <= orders["stop"] <= high:
        axes.axhline(orders["stop"], color="#f7a600", linewidth=1.2)


def _fills(axes: Any, fills: Sequence[dict[str, Any]], since: int) -> None:
    for side, marker, colour in (("buy", "^", UP), ("sell", "v", DOWN)):
        own = [one for one in fills if one["side"] == side and one["at"] >= since]
        if own:
            times = [_time(one["at"]) for one in own]
            axes.scatter(
                times, [one["price"] for one in own], marker=marker, s=46, color=colour, edgecolors=INK, zorder=5
            )


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", facecolor=GROUND)
    return out.getvalue()
