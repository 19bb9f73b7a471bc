"""The pictures of a run of the whole algorithm. By matplotlib, without pyplot."""

from __future__ import annotations

from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from backtesting.reports.charts import GAIN, INK, LOSS, MUTED, dates, rolled_candles, thinned, time_axis
from bot.times import MINUTE
from coordinator.vocabulary import DecisionKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from backtesting.portfolio_result import PortfolioResult
    from backtesting.reports.comparison import ComparedRun

REGIMES = {
    "unknown": "#e5e7eb",
    "tight_range": "#93c5fd",
    "wide_range": "#3b82f6",
    "quiet_transition": "#fde68a",
    "volatile_transition": "#f59e0b",
    "bull_trend": "#4ade80",
    "bear_trend": "#f87171",
}
CASH, DRAINING = "#e5e7eb", "#475569"
MODES = {"reduced": "#fde047", "stress": "#fb923c", "drawdown": "#c084fc", "halt": "#ef4444"}
COLOURS = (INK, "#6366f1", "#14b8a6", "#f97316", "#db2777", "#65a30d", "#0891b2", "#7c3aed")
CANDLES, ZONES, SHOWN_PAIRS = 360, 160, 12


def charts(result: PortfolioResult) -> dict[str, Callable[[], Figure]]:
    """Every picture by the name of its file; each is drawn when called."""
    pictures: dict[str, Callable[[], Figure]] = {
        "equity": partial(equity_chart, result),
        "allocation": partial(allocation_chart, result),
    }
    if len(result.recording.pairs) > 1:
        pictures["correlation"] = partial(correlation_chart, result)
    for index, pair in enumerate(result.recording.pairs[:SHOWN_PAIRS]):
        pictures[f"pair_{pair}"] = partial(pair_chart, result, index)
    return pictures


def equity_chart(result: PortfolioResult) -> Figure:
    """Equity with the risk modes behind it, and drawdown beneath."""
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.2])
    equity, ts = result.equity, result.ts
    at = thinned(equity)
    seen = set()
    for start, end, names in result.mode_spans():
        for name in names.split("+"):
            if name in MODES:
                seen.add(name)
                top.axvspan(*dates(np.array([start, end])), color=MODES[name], alpha=0.35, linewidth=0)
    top.plot(dates(ts[at]), equity[at], color=INK, linewidth=1.4)
    top.axhline(result.config.deposits, color=MUTED, linewidth=0.7, linestyle=":")
    top.set_title("Equity, quote currency; risk modes behind it", loc="left", fontsize=11)
    handles = [Patch(color=MODES[name], alpha=0.5, label=name) for name in MODES if name in seen]
    if handles:
        top.legend(handles=handles, frameon=False, fontsize=9)
    under = (equity / np.maximum.accumulate(np.maximum(equity, result.config.deposits)) - 1.0) * 100.0
    at = thinned(under)
    bottom.fill_between(dates(ts[at]), under[at], 0.0, color=LOSS, alpha=0.3, linewidth=0)
    bottom.set_title("Under water, %", loc="left", fontsize=11)
    for axes in (top, bottom):
        time_axis(axes)
    return figure


def allocation_chart(result: PortfolioResult) -> Figure:
    """Capital targets of the pairs over time, stacked, with what is left as reserve."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    axes = figure.subplots()
    decisions = result.decisions(DecisionKind.ALLOCATION)
    times = np.unique(decisions["ts"])
    allocations = result.allocations
    if len(times):
        equity = np.array(allocations.equity)
        shares = np.array([allocations.targets[pair] for pair in result.recording.pairs]) / np.maximum(equity, 1e-9)
        rest = np.maximum(1.0 - shares.sum(axis=0), 0.0)
        names = [*result.recording.pairs, "reserve and cash"]
        colours = [*(COLOURS[index % len(COLOURS)] for index in range(len(result.recording.pairs))), "#e5e7eb"]
        stacked = np.vstack([shares, rest]) * 100.0
        axes.stackplot(dates(times), stacked, labels=names, colors=colours, step="post", linewidth=0, alpha=0.85)
        axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=min(6, len(names)))
    axes.set_ylim(0, 100)
    axes.set_title("Capital targets, % of equity", loc="left", fontsize=11)
    time_axis(axes)
    return figure


def correlation_chart(result: PortfolioResult) -> Figure:
    """Correlation of hourly returns, and when the portfolio was in STRESS."""
    pairs, table = result.recording.pairs, result.correlations
    figure = Figure(figsize=(11, 1.6 + 0.36 * max(len(pairs), 4)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.4])
    left.imshow(table, cmap="RdYlBu_r", vmin=-1, vmax=1)
    left.set_xticks(range(len(pairs)), pairs, rotation=90, fontsize=7)
    left.set_yticks(range(len(pairs)), pairs, fontsize=7)
    for (i, j), value in np.ndenumerate(table):
        if not np.isnan(value):
            left.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6)
    left.set_title("Correlation of hourly returns", loc="left", fontsize=11)
    decisions = result.decisions(DecisionKind.MODE)
    known = decisions[~np.isnan(decisions["z"])]
    if len(known):
        right.step(dates(known["ts"]), known["z"] * 100.0, where="post", color=INK, linewidth=1.0)
    for start, end, names in result.mode_spans():
        if "stress" in names.split("+"):
            right.axvspan(*dates(np.array([start, end])), color=MODES["stress"], alpha=0.4, linewidth=0)
    right.set_ylim(0, 100)
    right.set_xlim(*dates(result.ts[[0, -1]]))
    right.set_title("Stress periods; share of highly correlated pairs at changes of mode, %", loc="left", fontsize=11)
    time_axis(right)
    return figure


def strategy_colours(result: PortfolioResult) -> dict[str, str]:
    """Colour of everything that a pair can be about."""
    names = result.config.algorithm.roster.names
    return {"cash": CASH, **dict(zip(names, cycle(COLOURS[1:]), strict=False)), "draining": DRAINING}


def pair_chart(result: PortfolioResult, index: int) -> Figure:
    """Candles with fills and zones, regime and strategy ribbons under them."""
    pair = result.recording.pairs[index]
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    top, regimes, strategies = figure.subplots(3, 1, sharex=True, height_ratios=[10, 1, 1])
    _candles(top, result, index)
    _ribbon(regimes, result.regime_spans(index), REGIMES, "regime")
    colours = strategy_colours(result)
    _ribbon(strategies, result.strategy_spans(index), colours, "strategy")
    for start, end, names in result.mode_spans():
        if "halt" in names.split("+"):
            strategies.axvspan(*dates(np.array([start, end])), color=MODES["halt"], linewidth=0)
    top.set_title(f"{pair}: candles, fills, and the zones where they lived", loc="left", fontsize=11)
    used = [
        Patch(color=REGIMES[n], label=n.replace("_", " ")) for n in REGIMES if n in _names(result.regime_spans(index))
    ]
    used += [Patch(color=colours[n], label=n) for n in colours if n in _names(result.strategy_spans(index))]
    strategies.legend(handles=used, frameon=False, fontsize=8, ncols=6, loc="upper center", bbox_to_anchor=(0.5, -0.6))
    time_axis(strategies)
    return figure


def _names(spans: list[tuple[int, int, str]]) -> set[str]:
    return {name for _, _, name in spans}


def _ribbon(axes: Axes, spans: list[tuple[int, int, str]], colours: dict[str, str], label: str) -> None:
    for start, end, name in spans:
        left, right = dates(np.array([start, end]))
        axes.add_patch(Rectangle((left, 0), right - left, 1, color=colours.get(name, MUTED), linewidth=0))
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    axes.spines[:].set_visible(False)


def _candles(axes: Axes, result: PortfolioResult, index: int) -> None:
    one = result.of_pair(result.recording.pairs[index])
    rolled, minutes = rolled_candles(one, CANDLES)
    when = dates(rolled["ts"].to_numpy()) + minutes / 2880
    low, high = rolled["low"].to_numpy(), rolled["high"].to_numpy()
    open_, close = rolled["open"].to_numpy(), rolled["close"].to_numpy()
    colours = np.where(close >= open_, GAIN, LOSS).tolist()
    _zones(axes, result, index, int(rolled["ts"].to_numpy()[-1]) + minutes * MINUTE)
    for bottom, top, width in ((low, high, 0.6), (open_, close, 2.0)):
        lines = np.stack([np.stack([when, bottom], 1), np.stack([when, top], 1)], 1)
        axes.add_collection(LineCollection(list(lines), colors=colours, linewidths=width, alpha=0.7))
    fills = one.fills.tail(2500)
    for side, colour, marker in (("buy", "#0f766e", "^"), ("sell", "#9d174d", "v")):
        chosen = fills.filter(fills["side"] == side)
        place = dates(chosen["ts"].to_numpy())
        axes.scatter(
            place, chosen["price"].to_numpy(), s=9, c=colour, marker=marker, label=side, zorder=3, linewidths=0
        )
    if len(fills):
        axes.legend(frameon=False, fontsize=9, loc="upper left")
    room = (float(high.max()) - float(low.min())) * 0.04 or float(high.max()) * 0.01
    axes.set_xlim(when[0], when[-1])
    axes.set_ylim(float(low.min()) - room, float(high.max()) + room)
    time_axis(axes)


def _zones(axes: Axes, result: PortfolioResult, index: int, end: int) -> None:
    """Draw the zones that lived longest: demand green, supply red, liquidity grey."""
    lived: dict[tuple[Any, ...], tuple[int, int, int, float, float]] = {}
    for one in result.decisions(DecisionKind.ZONE, pair=index):
        key = (int(one["a"]), int(one["b"]), int(one["c"]), float(one["w"]), float(one["x"]))
        died = int(one["v"]) or end
        lived[key] = (int(one["a"]), int(one["b"]), died, float(one["x"]), float(one["y"]))
    longest = sorted(lived.items(), key=lambda item: item[0][3] - item[1][2])[:ZONES]
    for (_, _, _, born, _), (kind, direction, died, bottom, top) in longest:
        left, right = dates(np.array([int(born), died]))
        colour = "#64748b" if kind == 2 else GAIN if direction > 0 else LOSS
        axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, color=colour, alpha=0.10, linewidth=0))


def compare_chart(runs: list[ComparedRun]) -> Figure:
    """Equity of every run of a comparison, in per cent of the capital."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots()
    for index, one in enumerate(runs):
        share = one.equity / one.equity[0] * 100.0 - 100.0
        at = thinned(share)
        width = 2.0 if one.name == "auto" else 1.2
        axes.plot(dates(one.ts[at]), share[at], color=COLOURS[index % len(COLOURS)], linewidth=width, label=one.name)
    axes.axhline(0.0, color=MUTED, linewidth=0.7, linestyle=":")
    axes.legend(frameon=False, fontsize=9)
    axes.set_title("Return, %", loc="left", fontsize=11)
    time_axis(axes)
    return figure
