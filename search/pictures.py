"""The pictures of a search: what its axes do to the objective, and the equity of a walk-forward. By matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from backtesting.reports.charts import GAIN, INK, LOSS, MUTED, dates, time_axis
from bot.times import DAY
from search.axes import short_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from search.monte_carlo import MonteCarlo
    from search.stress import Stressed
    from search.sweep import Sweep
    from search.walk_forward import WalkForward

DRAWN = 400  # variants of the parallel coordinates, evenly over the ranks
COLOURS = "viridis"
MOST_LABELS = 12


def parallel(found: Sweep) -> Figure:
    """Draw variants as lines over the axes, coloured by the rank of their objective, the best on top."""
    lattice, count = found.space.lattice, len(found.numbers)
    rows = np.unique(np.linspace(0, count - 1, min(count, DRAWN)).astype(int))[::-1]
    digits = lattice.digits(found.numbers[rows])
    shares = digits / np.maximum(np.array(lattice.sizes) - 1, 1)
    noise = np.random.default_rng(0).uniform(-0.012, 0.012, shares.shape)  # or lines would hide each other
    figure, axes = _figure(4.2)
    from matplotlib import colormaps  # noqa: PLC0415, slow to load and asked here alone

    colours = colormaps[COLOURS](1.0 - rows / max(count - 1, 1))
    across = np.arange(len(lattice.sizes))
    for line, colour in zip(shares + noise, colours, strict=True):
        axes.plot(across, line, color=colour, linewidth=0.7, alpha=0.5)
    axes.plot(across, shares[-1], color=LOSS, linewidth=2.2, label="best in sample")
    for place, axis in enumerate(found.space.axes):
        axes.axvline(place, color=MUTED, linewidth=0.8)
        for end, value in ((0, axis.values[0]), (1, axis.values[-1])):
            axes.annotate(_short(value), (place, end), (0, -12 if end == 0 else 5), textcoords="offset points",
                          ha="center", fontsize=8)  # fmt: skip
    axes.set_xticks(across, [short_key(axis.key) for axis in found.space.axes], fontsize=9)
    axes.set_yticks([])
    axes.set_ylim(-0.12, 1.12)
    axes.margins(x=0.06)
    axes.set_title(
        f"Variants in sample, by rank of {found.space.objective.metrics[0].text}: bright is better", loc="left"
    )
    axes.legend(loc="upper right", frameon=False, fontsize=8)
    return figure


def heat(found: Sweep, first: str, second: str) -> Figure:
    """Draw the best objective in sample for each pair of values of two axes."""
    frame = found.heat_map(first, second)
    values = frame.drop(first).to_numpy().astype(float)
    figure, axes = _figure(4.2, 6.5)
    image = axes.imshow(values, origin="lower", aspect="auto", cmap=COLOURS)
    figure.colorbar(image, ax=axes)
    _labels(axes, frame.columns[1:], "x")
    _labels(axes, [_short(one) for one in frame[first].to_list()], "y")
    axes.set_xlabel(short_key(second))
    axes.set_ylabel(short_key(first))
    axes.set_title(f"Best {found.space.objective.metrics[0].text} in sample", loc="left", fontsize=10)
    return figure


def important(found: Sweep) -> Figure:
    """Draw the share of the ranks' variance that each axis explains."""
    shares = dict(sorted(found.importance.items(), key=lambda one: one[1]))
    figure, axes = _figure(max(1.2 + 0.35 * len(shares), 2.5), 6.5)
    names = [short_key(key) for key in shares]
    axes.barh(names, [100.0 * share for share in shares.values()], color=INK)
    axes.set_xlabel("share of the variance of ranks in sample, %")
    axes.set_title("What the axes matter, each by itself", loc="left", fontsize=10)
    return figure


def both_parts(found: Sweep) -> Figure:
    """Draw the equity of the best and of its pair, in sample and held out."""
    figure, axes = _figure(4.0)
    starts = (found.start, found.split)
    for part, (own, pair, start) in enumerate(zip(found.best_days, found.pair_days, starts, strict=True)):
        at = dates(start // DAY * DAY + DAY * np.arange(len(own) + 1))
        for days, colour, name in ((pair, MUTED, "its pair"), (own, GAIN if part else INK, "best variant")):
            where = ("in sample", "held out")[part]
            axes.plot(at, _grown(days), color=colour, linewidth=1.4, label=f"{name}, {where}")
    axes.axvline(dates(np.array([found.split]))[0], color=LOSS, linewidth=1.0, linestyle="--")
    axes.set_ylabel("%")
    axes.set_title("Return of the best, chosen before the dashed line; both parts begin with fresh money", loc="left")
    axes.legend(frameon=False, fontsize=8)
    time_axis(axes)
    return figure


def joined_equity(found: WalkForward) -> Figure:
    """Draw the equity of the joined windows and of the pair."""
    figure, axes = _figure(4.2)
    at = dates(found.folds[0].test[0] + DAY * np.arange(len(found.days) + 1))
    axes.plot(at, _grown(found.pair_days), color=MUTED, linewidth=1.2, label="its pair")
    axes.plot(at, _grown(found.days), color=GAIN, linewidth=1.6, label="out of sample")
    for fold in found.folds[1:]:
        axes.axvline(dates(np.array([fold.test[0]]))[0], color=MUTED, linewidth=0.6, linestyle=":")
    axes.set_ylabel("%")
    axes.set_title("Return out of sample, windows joined at the dotted lines", loc="left")
    axes.legend(frameon=False, fontsize=8)
    time_axis(axes)
    return figure


def efficiency(found: WalkForward) -> Figure:
    """Draw what the winner of each window earned in sample and out of sample, % a year."""
    figure, axes = _figure(3.4)
    across = np.arange(len(found.folds))
    for shift, colour, name, values in (
        (-0.2, MUTED, "in sample", [fold.train_days.mean() for fold in found.folds]),
        (0.2, GAIN, "out of sample", [fold.days.mean() for fold in found.folds]),
    ):
        axes.bar(across + shift, 36500.0 * np.array(values), 0.38, color=colour, label=name)
    axes.axhline(0.0, color=INK, linewidth=0.8)
    axes.set_xticks(across, [str(place + 1) for place in across])
    axes.set_xlabel("window")
    axes.set_ylabel("mean daily return, % a year")
    axes.legend(frameon=False, fontsize=8)
    return figure


def drawn(found: MonteCarlo) -> Figure:
    """Draw how return and drawdown are spread over the draws, and where the run itself lies."""
    parts = [(one, name) for one, name in ((found.trades, "trades"), (found.candles, "candles")) if one is not None]
    figure = Figure(figsize=(11.0, 2.9 * max(len(parts), 1)), layout="constrained")
    rows = figure.subplots(max(len(parts), 1), 2, squeeze=False)
    for row, (one, name) in zip(rows, parts, strict=False):
        for axes, values, own, label in (
            (row[0], one.returned, found.returned, "return"),
            (row[1], one.drawdown, found.drawdown, "drawdown"),
        ):
            axes.hist(values, bins=40, color=INK)
            axes.axvline(own, color=LOSS, linewidth=1.6, label="the run itself")
            axes.set_title(f"{label} with {name} drawn anew, %", loc="left", fontsize=10)
            axes.set_yticks([])
            axes.legend(frameon=False, fontsize=8)
    return figure


def stressed(found: Sequence[Stressed]) -> Figure:
    """Draw return and drawdown of each scenario that could be played."""
    figures = [(one.name, one.figures) for one in found if one.figures is not None]
    figure, axes = _figure(max(1.0 + 0.5 * len(figures), 2.5))
    down = np.arange(len(figures))[::-1]
    returned = np.array([figures["total_return_pct"] for _, figures in figures])
    axes.barh(down + 0.2, returned, 0.38, color=[GAIN if one >= 0.0 else LOSS for one in returned], label="return")
    axes.barh(down - 0.2, [-figures["max_drawdown_pct"] for _, figures in figures], 0.38, color=MUTED, label="drawdown")
    axes.axvline(0.0, color=INK, linewidth=0.8)
    axes.set_yticks(down, [name for name, _ in figures])
    axes.set_xlabel("%")
    axes.legend(frameon=False, fontsize=8)
    return figure


def both_alphas(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw the alpha of each pair of a pipeline in sample, and held out with the interval of nine in ten resamples."""
    known = [row for row in rows if row["alpha_held_out"] is not None]
    figure, axes = _figure(max(1.4 + 0.28 * len(known), 2.2), 8.0)
    down = np.arange(len(known))[::-1]
    held = [row["alpha_held_out"] for row in known]
    inside = [row["in_sample"]["alpha_pct"] for row in known]
    axes.hlines(down, [one["low"] for one in held], [one["high"] for one in held], color=GAIN, linewidth=2.0, alpha=0.5)
    axes.plot(inside, down, "o", color=MUTED, label="in sample, which has chosen it")
    axes.plot([one["value"] for one in held], down, "o", color=GAIN, label="held out, with nine in ten resamples")
    axes.axvline(0.0, color=INK, linewidth=0.8)
    axes.set_yticks(down, [row["symbol"] for row in known])
    axes.set_xlabel("alpha, % a year")
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def _grown(days: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate(([0.0], (np.cumprod(1.0 + days) - 1.0) * 100.0))


def _labels(axes: Axes, values: list[str], way: str) -> None:
    step = -(-len(values) // MOST_LABELS)
    at = np.arange(0, len(values), step)
    put = axes.set_xticks if way == "x" else axes.set_yticks
    put(at, [_short(values[one]) for one in at], fontsize=8)


def _short(value: Any) -> str:
    try:
        return f"{float(value):.4g}"
    except (TypeError, ValueError):
        return str(value)[:18]


def _figure(height: float, width: float = 11.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes
