"""What a search is worth: its best in sample and held out, beside what chance alone would have found; also in words."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.metrics import YEAR_DAYS
from search.chance import (
    CONFIDENT,
    SIGNIFICANT,
    Interval,
    active_returns,
    deflated_sharpe,
    expected_largest,
    intervals,
    overfitting,
    variance_by_chance,
    variance_of,
)
from search.exploration import neighbours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from search.exploration import Explored
    from search.methods import Lattice
    from search.objective import Metric


@dataclass(frozen=True)
class Evidence:
    """Of the best of a search; what could not be computed is None."""

    trials: int  # variants scored on these candles, here and in other searches
    by_chance: float | None  # information ratio that the best of so many has without any edge
    deflated_sharpe: float | None  # probability of being better than that
    reality_check: float | None  # probability that variants without any edge look as good
    superior_ability: float | None
    overfitting: float | None
    in_sample: dict[str, Interval]
    held_out: dict[str, Interval]

    @property
    def better_than_chance(self) -> bool | None:
        """Whether the best is better than chance, as far as the days that chose can say; None where they cannot."""
        if self.deflated_sharpe is None or self.superior_ability is None:
            return None
        return self.deflated_sharpe >= CONFIDENT and self.superior_ability <= SIGNIFICANT


@dataclass(frozen=True)
class Plateau:
    """The first metric of a variant beside that of its neighbours, a step along one axis away."""

    own: float
    mean: float | None
    worst: float | None
    count: int  # of neighbours that were played


def evidence_of(
    found: Explored,
    others: int,
    in_sample: tuple[NDArray[Any], NDArray[np.float64]],
    held_out: tuple[NDArray[Any], NDArray[np.float64]],
    *,
    pruned: bool,
) -> Evidence:
    """Weigh the best of what was found; `in_sample`, `held_out`: its daily returns and the pair's, (d,) each.

    `others`: variants that were scored on the same candles beside these. Of a pruned search, whose rows are those
    that did best on part of the days, chance cannot be computed. Variants that were chosen by what those others came
    to are alike: how little they differ says nothing of all that was tried.
    """
    looks, trials = found.looks, len(found.numbers) + others
    both = {"in_sample": intervals(*in_sample), "held_out": intervals(*held_out)}
    if looks is None or pruned:
        return Evidence(trials, None, None, None, None, None, **both)
    active = active_returns(in_sample[0][None], in_sample[1])[0]
    ordered = found.scores["information_ratio"][np.argsort(found.numbers)]  # whatever played them, the same to the bit
    variance = variance_by_chance(looks.days) if others else variance_of(ordered, looks.days)
    return Evidence(
        trials,
        expected_largest(trials, variance) * sqrt(YEAR_DAYS),
        deflated_sharpe(active, trials, variance),
        looks.reality_check,
        looks.superior_ability,
        overfitting(found.blocks[np.argsort(found.numbers)], looks.days),
        **both,
    )


def plateau_of(row: int, found: Explored, metric: Metric, lattice: Lattice) -> Plateau:
    """How a row's first metric compares to those around it."""
    values = np.array([metric.shown(one) for one in metric.of(found.scores).tolist()])
    rows = [int(one[row]) for one in neighbours(found.numbers, lattice)]
    around = values[[one for one in rows if one >= 0]]
    around = around[~np.isnan(around)]
    if not len(around):
        return Plateau(float(values[row]), None, None, 0)
    worst = float(around.max() if metric.ascending else around.min())
    return Plateau(float(values[row]), float(around.mean()), worst, len(around))


def ranks_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Place of each value (k,) in their order, from 0; equal ones in the order in which they stand."""
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)


def importance(found: Explored, metric: Metric, lattice: Lattice) -> list[float]:
    """Share of the variance of the variants' ranks that each axis explains by itself, (axes,); 0 where nothing varies.

    The main effects of a functional analysis of variance (Hutter, Hoos and Leyton-Brown, 2014), of ranks, which a few
    wild results cannot rule.
    """
    values = metric.of(found.scores)
    ranks = ranks_of(values)
    total, digits, shares = float(np.var(ranks)), lattice.digits(found.numbers), []
    for place, size in enumerate(lattice.sizes):
        count = np.bincount(digits[:, place], minlength=size)
        sums = np.bincount(digits[:, place], weights=ranks, minlength=size)
        mean = np.divide(sums, count, out=np.zeros(size), where=count > 0)
        between = float(np.sum(count * (mean - ranks.mean()) ** 2)) / len(ranks)
        shares.append(between / total if total > 0.0 else 0.0)
    return shares


def said(
    evidence: Evidence, best: Any, held_out: Any, plateau: Plateau | None, method: str, pair: Sequence[float]
) -> list[str]:
    """Say in sentences what a search is worth; `best`, `held_out`: SCORE of the best; `pair`: its returns there, %."""
    told = [_conclusion(evidence, best, held_out), _direction(best, "In sample", pair[0])]
    told.append(_direction(held_out, "On the days held out", pair[1]))
    interval = evidence.held_out.get("alpha_pct")
    if interval is not None:
        told.append(
            f"Nine in ten resamples of the days held out have an alpha between {interval.low:,.1f} % and "
            f"{interval.high:,.1f} % a year."
        )
    told += _of_chance(evidence, best, method)
    if plateau is not None and plateau.count and plateau.worst is not None and plateau.mean is not None:
        told.append(
            f"Of its {plateau.count} neighbours, each one step away, the objective in sample is {plateau.mean:,.3g} on "
            f"average and {plateau.worst:,.3g} at worst, where the best has {plateau.own:,.3g}."
        )
    return told


def _conclusion(evidence: Evidence, best: Any, held_out: Any) -> str:
    before, after = (float(one["alpha_pct"]) for one in (best, held_out))
    behind = (
        "how much of its alpha it kept on the days held out cannot be said"
        if np.isnan(before) or np.isnan(after)
        else f"its alpha of {before:,.1f} % a year in sample was {after:,.1f} % on the days held out"
    )
    if evidence.better_than_chance is None:
        return f"Whether the best is better than chance cannot be said of these days; {behind}."
    if evidence.better_than_chance:
        return f"The best is better than chance in sample; {behind}."
    return f"The best is not better than chance: among so many tries one looks like this without any edge; {behind}."


def _direction(score: Any, where: str, pair: float) -> str:
    total, beta, alpha = (float(score[name]) for name in ("total_return_pct", "beta", "alpha_pct"))
    if np.isnan(total):
        return f"{where} it could not be played with this capital; its pair returned {pair:,.1f} %."
    if np.isnan(beta):
        return f"{where} it returned {total:,.1f} %, and its pair {pair:,.1f} %."
    return (
        f"{where} it returned {total:,.1f} %, and its pair {pair:,.1f} %; beta {beta:.2f} says how much of that was "
        f"being long or short, and beyond it alpha was {alpha:,.1f} % a year."
    )


def _of_chance(evidence: Evidence, best: Any, method: str) -> list[str]:
    if evidence.superior_ability is None or evidence.by_chance is None:
        return []
    ratio = float(best["information_ratio"])
    told = (
        f"{evidence.trials:,} variants were scored on these candles. Without any edge the best of so many has an "
        f"information ratio of {evidence.by_chance:.2f} on average; this one has {ratio:.2f} in sample."
    )
    if evidence.deflated_sharpe is not None:
        told += f" The probability that it is better than that is {evidence.deflated_sharpe:.0%} (deflated Sharpe)."
    sentences = [told]
    sentences.append(
        f"If no variant of this search had an edge, one would look as good with a probability of "
        f"{evidence.superior_ability:.1%} (superior ability; reality check {evidence.reality_check:.1%})."
    )
    if evidence.overfitting is not None:
        sentences.append(
            f"In {evidence.overfitting:.0%} of the ways to halve the days in sample, the best of one half was below "
            "the median on the other (probability of overfitting)."
        )
    if not method.startswith(("grid", "random", "sobol")):
        sentences.append(
            f"The method {method} played more of what looked good: the tests of chance count what was played, and "
            "flatter the best a little."
        )
    return sentences
