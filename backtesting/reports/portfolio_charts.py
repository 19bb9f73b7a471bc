"""Pictures of what a portfolio did with its pairs: capital targets, correlation. By matplotlib, without pyplot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from backtesting.reports.charts import INK, dates, time_axis
from backtesting.reports.labels import MODE_COLOURS, STRATEGY_COLOURS
from coordinator.vocabulary import DecisionKind

if TYPE_CHECKING:
    from backtesting.portfolio_result import PortfolioResult

REST = "#e5e7eb"
WHITE_FROM = 0.7  # of a correlation, whose colour is dark from there on


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
        colours = [
            *(STRATEGY_COLOURS[index % len(STRATEGY_COLOURS)] for index in range(len(result.recording.pairs))),
            REST,
        ]
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
    left.set_xticks(range(len(pairs)), pairs, rotation=90, fontsize=8)
    left.set_yticks(range(len(pairs)), pairs, fontsize=8)
    for (i, j), value in np.ndenumerate(table):
        if not np.isnan(value):
            colour = "white" if abs(value) > WHITE_FROM else "black"
            left.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=9 if len(pairs) < 9 else 6, color=colour)
    left.set_title("Correlation of hourly returns", loc="left", fontsize=11)
    decisions = result.decisions(DecisionKind.MODE)
    known = decisions[~np.isnan(decisions["z"])]
    if len(known):
        right.step(dates(known["ts"]), known["z"] * 100.0, where="post", color=INK, linewidth=1.0)
    for start, end, names in result.mode_spans():
        if "stress" in names.split("+"):
            right.axvspan(*dates(np.array([start, end])), color=MODE_COLOURS["stress"], alpha=0.4, linewidth=0)
    right.set_ylim(0, 100)
    right.set_xlim(*dates(result.ts[[0, -1]]))
    right.set_title("Stress periods; share of highly correlated pairs at changes of mode, %", loc="left", fontsize=11)
    time_axis(right)
    return figure
