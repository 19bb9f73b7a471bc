"""Runs side by side: the figures that a comparison shows, and what they say in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.reports.labels import COMPARED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtesting.metrics import Metrics
    from backtesting.portfolio_result import PortfolioResult


@dataclass(frozen=True)
class ComparedRun:
    """One run of a comparison: its strategy, its equity on a clock (ms; quote currency), and its figures."""

    name: str
    ts: NDArray[np.int64]
    equity: NDArray[np.float64]
    figures: dict[str, Any]


def compared_run(result: PortfolioResult) -> ComparedRun:
    """Take from a run what a comparison shows."""
    return ComparedRun(result.document.strategy, result.ts, result.equity, figures_of(result.metrics))


def figures_of(metrics: Metrics) -> dict[str, Any]:
    """The figures that a comparison shows."""
    return {name: getattr(metrics, name) for name in COMPARED}


def verdict(runs: list[ComparedRun]) -> str:
    """What a comparison says, in words that follow from its numbers."""
    ranked = sorted(runs, key=lambda one: -one.figures["total_return_pct"])
    best, worst = ranked[0], ranked[-1]
    held = best.figures["benchmark_return_pct"]
    calm = min(runs, key=lambda one: one.figures["max_drawdown_pct"])
    words = (
        f"{best.name} did best with {best.figures['total_return_pct']:+.2f} %, {worst.name} worst with "
        f"{worst.figures['total_return_pct']:+.2f} %; holding all pairs in equal parts gave {held:+.2f} %."
    )
    words += f" The smallest drawdown had {calm.name}: {calm.figures['max_drawdown_pct']:.2f} %."
    words += _per_exposure(runs)
    auto = next((one for one in runs if one.name == "auto"), None)
    if auto is not None and len(runs) > 1:
        parts = [one for one in runs if one is not auto]
        beaten = [one.name for one in parts if auto.figures["total_return_pct"] > one.figures["total_return_pct"]]
        mean = float(np.mean([one.figures["total_return_pct"] for one in parts]))
        words += (
            f" auto ({auto.figures['total_return_pct']:+.2f} %) beat {len(beaten)} of its {len(parts)} parts"
            f"{' (' + ', '.join(beaten) + ')' if beaten else ''}, whose mean is {mean:+.2f} %."
        )
    if all(one.figures["total_return_pct"] < 0 for one in runs):
        words += " All of them lost."
    return words


MOSTLY_CASH = 10.0  # mean exposure under which it is the cash that a return and a drawdown show, % of equity


def _per_exposure(runs: list[ComparedRun]) -> str:
    """Say who did best for what was held, and who held next to nothing."""
    held = [one for one in runs if one.figures["return_per_exposure_pct"] is not None]
    words = ""
    if held:
        best = max(held, key=lambda one: one.figures["return_per_exposure_pct"])
        words = (
            f" Per 100 % of exposure {best.name} did best with {best.figures['return_per_exposure_pct']:+.2f} %, "
            f"at a mean exposure of {best.figures['mean_exposure_pct']:.1f} %."
        )
    idle = [one for one in runs if one.figures["mean_exposure_pct"] < MOSTLY_CASH]
    if idle:
        shares = ", ".join(f"{one.name} {100.0 - one.figures['mean_exposure_pct']:.0f} %" for one in idle)
        words += f" Mostly cash on average: {shares}; a small loss or drawdown there is cash, not skill."
    return words
