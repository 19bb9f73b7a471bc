"""Pictures of single trades: the candles around one as they were, and with all that the trade was. By matplotlib.

The original shows nothing but candles up to the end of the trade's surroundings; the annotated one adds entry, exit,
stop, target, zones and regime. Dates are written by hand: matplotlib's own take longer than all the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from backtesting.reports.charts import GAIN, INK, LOSS, MUTED, STOP
from backtesting.reports.labels import label
from bot.candles import iso
from bot.times import MINUTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from backtesting.portfolio_result import ZoneSpan

SIZE = (7.3, 4.1)  # inches: 803 pixels wide
MOST_CANDLES = 140
LEAST_BARS = 60  # of the surroundings
TIMEFRAMES = (1, 5, 15, 30, 60, 240, 1440, 10_080)  # minutes
ZONE_COLOURS = {"liquidity": "#64748b", "demand": GAIN, "supply": LOSS}
TARGET = "#2563eb"
TAG_HEIGHT = 0.055  # of the price range
# A span in which a price stood: from, to (ms), price.
PriceSpan = tuple[int, int, float]


@dataclass(frozen=True)
class PicturedTrade:
    """What a picture of a trade shows. Times are epoch ms, prices quote currency."""

    trade_id: int
    pair: str
    side: str
    entry: tuple[int, float]
    leave: tuple[int, float] | None  # None while it is open
    reason: str = ""
    pnl: float = 0.0
    r_multiple: float | None = None
    stops: tuple[PriceSpan, ...] = ()
    targets: tuple[PriceSpan, ...] = ()
    zones: tuple[ZoneSpan, ...] = ()
    regime: str = ""


def surroundings(candles: pl.DataFrame, start: int, end: int | None) -> pl.DataFrame:
    """Candles from before a trade to after it, rolled up so far that a picture can show them: ts, o, h, l, c."""
    ts = candles["ts"].to_numpy()
    bar = int(np.diff(ts[:100]).min()) if len(ts) > 1 else MINUTE
    last = int(ts[-1]) if end is None else end
    room = max((last - start) // 3, LEAST_BARS * bar // 2)
    first, after = np.searchsorted(ts, [start - room, last + room + bar])
    shown = candles[int(first) : int(after)]
    span = last - start + 2 * room
    lengths = [bar, *(minutes * MINUTE for minutes in TIMEFRAMES if minutes * MINUTE > bar)]
    length = next((one for one in lengths if span / one <= MOST_CANDLES), lengths[-1])
    if length == bar:
        return shown
    bucket = (pl.col("ts") // length * length).alias("ts")
    return shown.group_by(bucket, maintain_order=True).agg(
        pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last()
    )


def trade_picture(trade: PicturedTrade, around: pl.DataFrame, *, annotated: bool) -> Figure:
    """Draw the candles around a trade; `annotated` with all that the trade was."""
    figure = Figure(figsize=SIZE)
    axes = figure.add_axes((0.02, 0.11, 0.8, 0.79))
    _draw_bars(axes, around)
    if annotated:
        _widen(axes, trade)
        _draw_trade(axes, trade)
        said = _title(trade)
    else:
        said = f"{trade.pair}, trade {trade.trade_id}"
    axes.set_title(said, loc="left", fontsize=9.5, color=INK)
    _quiet_axes(axes, around, annotated=annotated)
    return figure


def _title(trade: PicturedTrade) -> str:
    parts = [f"{trade.pair}, trade {trade.trade_id}: {trade.side}"]
    if trade.leave is None:
        parts.append(f"still open, {trade.pnl:+,.2f} so far")
    else:
        gained = "" if trade.r_multiple is None else f", {trade.r_multiple:+.2f} R"
        parts.append(f"{label(trade.reason)}, {trade.pnl:+,.2f}{gained}")
    if trade.regime:
        parts.append(f"regime {label(trade.regime)}")
    return "  ·  ".join(parts)


def _draw_bars(axes: Axes, around: pl.DataFrame) -> None:
    ts = around["ts"].to_numpy().astype(np.float64)
    length = float(np.diff(ts).min()) if len(ts) > 1 else float(MINUTE)
    when = ts + length / 2
    open_, high, low, close = (around[name].to_numpy() for name in ("open", "high", "low", "close"))
    colours = np.where(close >= open_, GAIN, LOSS).tolist()
    width = min(4.5, 330.0 / max(len(ts), 1))
    for bottom, top, line in ((low, high, 0.7), (open_, close, width)):
        lines = np.stack([np.stack([when, bottom], 1), np.stack([when, top], 1)], 1)
        axes.add_collection(LineCollection(list(lines), colors=colours, linewidths=line, alpha=0.75), autolim=False)
    room = (float(high.max()) - float(low.min())) * 0.06 or float(high.max()) * 0.01
    axes.set_xlim(ts[0], ts[-1] + length)
    axes.set_ylim(float(low.min()) - room, float(high.max()) + room)


def _widen(axes: Axes, trade: PicturedTrade) -> None:
    """Make room for stop and target, where they lie near enough to let the candles be seen."""
    low, high = axes.get_ylim()
    room = high - low
    for _, _, price in (*trade.stops, *trade.targets):
        low, high = min(low, max(price - room * 0.06, low - room)), max(high, min(price + room * 0.06, high + room))
    axes.set_ylim(low, high)


def _draw_trade(axes: Axes, trade: PicturedTrade) -> None:
    left, right = axes.get_xlim()
    for zone in trade.zones:
        start, end = max(zone.born, left), min(zone.died, right)
        colour = ZONE_COLOURS[zone.kind]
        height = zone.top - zone.bottom
        axes.add_patch(Rectangle((start, zone.bottom), end - start, height, color=colour, alpha=0.09, linewidth=0))
    tags = [(trade.entry[1], "entry", INK)]
    for spans, colour, name in ((trade.stops, STOP, "stop"), (trade.targets, TARGET, "target")):
        lines = [[(max(a, left), price), (min(b, right), price)] for a, b, price in spans if b > left and a < right]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=1.2, linestyles="--"), autolim=False)
        tags += [(spans[-1][2], name, colour)] if lines else []
    direction = 1 if trade.side == "long" else -1
    _mark(axes, trade.entry, "^" if direction > 0 else "v", INK)
    if trade.leave is not None:
        colour = GAIN if trade.pnl > 0 else LOSS
        _mark(axes, trade.leave, "X", colour)
        axes.plot([trade.entry[0], trade.leave[0]], [trade.entry[1], trade.leave[1]], ":", color=colour, linewidth=1.1)
        tags.append((trade.leave[1], "exit", colour))
    _write_tags(axes, tags)


def _mark(axes: Axes, at: tuple[int, float], marker: str, colour: str) -> None:
    axes.plot(*at, marker=marker, color=colour, markersize=8, markeredgecolor="white", markeredgewidth=0.8, zorder=5)


def _write_tags(axes: Axes, tags: list[tuple[float, str, str]]) -> None:
    """Write prices and what they are at the right edge, each beside its place and none over another."""
    low, high = axes.get_ylim()
    least, place = (high - low) * TAG_HEIGHT, -np.inf
    for price, name, colour in sorted(tags):
        if not low <= price <= high:
            continue
        place = max(price, place + least)
        said = f" {name} {price:,.6g}"
        axes.text(1.0, place, said, transform=axes.get_yaxis_transform(), fontsize=8, color=colour, va="center")


def _quiet_axes(axes: Axes, around: pl.DataFrame, *, annotated: bool) -> None:
    """Five times below, three prices on the right where no tags stand there, and no frame around."""
    ts: NDArray[np.int64] = around["ts"].to_numpy()
    at = ts[np.linspace(0, len(ts) - 1, 7).astype(int)[1:-1]]
    days = len({iso(int(one))[:10] for one in at}) > 1
    axes.set_xticks(at, [iso(int(one))[5:16].replace("T", " ") if days else iso(int(one))[11:16] for one in at])
    if annotated:
        axes.set_yticks([])
    else:
        low, high = axes.get_ylim()
        at_prices = np.linspace(low, high, 5)[1:-1]
        axes.set_yticks(at_prices, [f"{price:,.6g}" for price in at_prices])
        axes.yaxis.tick_right()
    axes.tick_params(labelsize=8, colors=MUTED, length=2)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.text(0.0, -0.11, iso(int(ts[0]))[:10], transform=axes.transAxes, fontsize=8, color=MUTED, va="center")
