"""Plays what a search's method proposes on the same candles, and the best of it on days held out.

A variant is scored on the first part of the period, which is all that chooses it; the best are then played on the part
behind it, with fresh money. The rows are the same whatever plays them, in one go or with interruptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from bot.candles import iso
from bot.errors import Misconfigured
from bot.times import DAY
from coordinator.columns import unknown
from search.evidence import Evidence, Plateau, evidence_of, importance, plateau_of, said
from search.exploration import Explored, Explorer, NoTrials, Trials
from search.methods import GUIDED, cut_up
from search.numbered import Numbered
from search.reading import AnySpace, read_space
from search.runners import Runner, given_or_threads
from search.score import SCORE
from search.window import MarketHistory, ScoredRows, Window, days_of_pair, joined, market_of, midnight, window_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from coordinator.config import BacktestConfig, PortfolioConfig
    from search.exploration import Progress

LEAST_DAYS = 2  # of each part of the period
ROW_BYTES = 7 * SCORE.itemsize  # as measured of a million: scores and blocks of days, twice while they are joined
NOTHING_PASSES = "No variant passes the filters of the search: the first is the best of those that fail."
SHARES = (0.25, 0.5)  # of the days that choose: what is worse on them leaves


@dataclass(frozen=True)
class Left:
    """Variants that a pruned search left before the end of the days that choose."""

    until: int  # ms: their scores are of the days before
    numbers: NDArray[np.int64]  # best first (k,)
    scores: NDArray[Any]  # SCORE (k,)


@dataclass(frozen=True)
class Sweep:
    """What was found: a row for each variant that could be played, best first."""

    space: AnySpace
    start: int  # ms
    split: int  # ms: the part before it has chosen, the part behind it was held out
    end: int  # ms
    found: Explored
    left: tuple[Left, ...]
    best_days: tuple[NDArray[np.float64], NDArray[np.float64]]  # daily returns of the best in sample and held out
    pair_days: tuple[NDArray[np.float64], NDArray[np.float64]]  # and of its pair
    held_out: NDArray[Any]  # SCORE of the best on the part held out, (m,)
    evidence: Evidence

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """Numbers of the variants, best first, (k,)."""
        return self.found.numbers[self.found.order]

    @cached_property
    def scores(self) -> NDArray[Any]:
        """Their SCORE on the part that chose, (k,)."""
        return self.found.scores[self.found.order]

    @cached_property
    def passed(self) -> NDArray[np.bool_]:
        """Whether each passes the filters, (k,)."""
        return self.space.objective.passes(self.scores)

    @property
    def best(self) -> BacktestConfig | PortfolioConfig:
        """The whole config of the best variant."""
        return self.space.config(int(self.numbers[0]))

    @property
    def pareto(self) -> pl.DataFrame:
        """Rows that no other beats in both metrics of the objective, best in the first one first."""
        metrics = self.space.objective.metrics
        values = np.stack([metric.of(self.scores) for metric in metrics], axis=1)
        values[~self.passed] = np.nan
        order, kept, least = np.lexsort(tuple(reversed(values.T))), [], np.inf
        for row in order.tolist():
            if not np.isnan(values[row]).any() and values[row, -1] < least:
                least = values[row, -1]
                kept.append(row)
        return self.frame[kept]

    @property
    def plateau(self) -> Plateau:
        """The best beside its neighbours."""
        return plateau_of(int(self.found.order[0]), self.found, self.space.objective.metrics[0], self.space.lattice)

    @property
    def importance(self) -> dict[str, float]:
        """Share of the variance of the ranks that each axis explains by itself."""
        shares = importance(self.found, self.space.objective.metrics[0], self.space.lattice)
        return {axis.key: share for axis, share in zip(self.space.axes, shares, strict=True)}

    @property
    def verdict(self) -> list[str]:
        """What the search is worth, in sentences."""
        earned = [float(np.prod(1.0 + days) - 1.0) * 100.0 for days in self.pair_days]
        words = said(
            *(self.evidence, self.scores[0], self.held_out[0], self.plateau, str(self.space.search.method), earned)
        )
        if not self.passed.any():
            words.append(NOTHING_PASSES)
        if self.left:
            count = sum(len(one.numbers) for one in self.left)
            words.append(
                f"{count:,} variants were left after a part of the days in sample: what was best later on may be among "
                "them, and chance was not tested."
            )
        return words

    @cached_property
    def frame(self) -> pl.DataFrame:
        """One row a variant, best first: number, values of the axes, figures in sample, and held out for the best."""
        numbers, held = self.numbers, _padded_scores(self.held_out, len(self.numbers))
        frame = _framed(self.space, numbers, self.passed, self.scores, held)
        if not self.left:
            return frame
        frame = frame.with_columns(until=pl.lit(iso(self.split)))
        others = [
            _framed(self.space, one.numbers, None, one.scores, unknown(SCORE, len(one.numbers))).with_columns(
                until=pl.lit(iso(one.until))
            )
            for one in self.left
        ]
        return pl.concat([frame, *others], how="vertical_relaxed")

    def heat_map(self, first: str, second: str, figure: str | None = None) -> pl.DataFrame:
        """Best value of a figure, in sample, for each pair of values of two axes: one row for each of the first's.

        `figure`: the objective's first if left out. Raises Misconfigured for an axis that the space does not have.
        """
        keys = [axis.key for axis in self.space.axes]
        for one in (first, second):
            if one not in keys:
                raise Misconfigured(f"the space has no axis {one}; choose two of {', '.join(keys)}.")
        metric = self.space.objective.metrics[0]
        values = metric.of(self.scores)
        shown = np.asarray(values if metric.ascending else -values) if figure is None else self.scores[figure]
        rows = pl.DataFrame({"rank": range(len(shown)), "value": shown}).with_columns(
            self.frame.head(len(shown)).select(first, second)
        )
        best = rows.sort("rank").group_by(first, second, maintain_order=True).first()
        return best.sort(first, second).pivot(on=second, index=first, values="value")


def _framed(
    space: Numbered,
    numbers: NDArray[np.int64],
    passed: NDArray[np.bool_] | None,
    scores: NDArray[Any],
    held: NDArray[Any],
) -> pl.DataFrame:
    digits, names = space.lattice.digits(numbers), SCORE.names or ()
    axes = {
        axis.key: pl.Series(axis.values, strict=False).gather(digits[:, place]) for place, axis in enumerate(space.axes)
    }
    return pl.DataFrame(
        {
            "variant": numbers,
            **axes,
            "passed": np.zeros(len(numbers), np.bool_) if passed is None else passed,
            **{f"{name}_in_sample": scores[name] for name in names},
            **{f"{name}_held_out": held[name] for name in names},
        }
    ).with_columns(pl.selectors.float().fill_nan(None))


def _padded_scores(scores: NDArray[Any], count: int) -> NDArray[Any]:
    padded = unknown(SCORE, count)
    padded[: len(scores)] = scores
    return padded


def sweep(
    space: AnySpace | dict[str, Any] | str | Path,
    candles: Any,
    *,
    fetched: Any = None,
    funding: Any = None,
    workers: int | None = None,
    runner: Runner | None = None,
    trials: Trials | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Sweep:
    """Score what the method of a space proposes, and the best of it on days that were held out.

    `candles` may be a file's path; `fetched` and `funding` as for `simulate`, and each of the three by pair for several
    pairs. `workers`: threads, one for each processor if None, unless a `runner` plays. `trials` keeps the rows, and has
    those of a search that was interrupted; `progress` hears after every batch.
    Raises Misconfigured and BadCandles with one sentence.
    """
    space = space if isinstance(space, Numbered) else read_space(space)
    market = market_of(space.first, candles, fetched, funding)
    with given_or_threads(runner, workers) as plays:
        return _swept(space, market, plays, trials or NoTrials(), progress)


def _swept(
    space: AnySpace,
    market: MarketHistory,
    runner: Runner,
    trials: Trials,
    progress: Callable[[Progress], None] | None,
) -> Sweep:
    space.memory(ROW_BYTES)
    start, split, end = parts_of(space, market)
    explorer = Explorer(space, runner, trials, progress)
    window = window_of(space, market, start, split)
    found, left = _pruned(explorer, market, window) if space.search.prune else (explorer.explore(window), [])
    best = found.numbers[found.order]
    behind = window_of(space, market, split, end)
    held_out, later = played(runner, behind, best[: space.search.top])
    _, days = played(runner, window, best[:1])
    chosen, tried = ((own, days_of_pair(one, int(best[0]))) for own, one in ((days[0], window), (later[0], behind)))
    others = trials.looked() + sum(len(one.numbers) for one in left)
    worth = tried if not np.isnan(held_out["total_return_pct"][0]) else (later[0][:0], behind.pair_daily[:0])
    evidence = evidence_of(found, others, chosen, worth, pruned=space.search.prune)
    best_days, pair_days = zip(chosen, tried, strict=True)
    return Sweep(space, start, split, end, found, tuple(left), best_days, pair_days, held_out, evidence)


def _pruned(explorer: Explorer, market: MarketHistory, whole: Window) -> tuple[Explored, list[Left]]:
    """Play on a quarter and on a half of the days first: the worse half of what was played leaves each time."""
    space, left, chosen = explorer.space, list[Left](), None
    if space.search.method.name in GUIDED:
        raise Misconfigured(
            f"search.prune goes with grid, random:N and sobol:N; search.method is {space.search.method}, which needs "
            "all days to say what is played next; leave one of the two out."
        )
    for number, share in enumerate(SHARES, 1):
        until = midnight(whole.start + share * (whole.end - whole.start))
        part = explorer.explore(window_of(space, market, whole.start, until), number, of=chosen)
        keep = -(-len(part.order) // 2)
        chosen, behind = np.sort(part.numbers[part.order[:keep]]), part.order[keep:]
        left.insert(0, Left(until, part.numbers[behind], part.scores[behind]))
    return explorer.explore(whole, of=chosen), left


def played(runner: Runner, window: Window, numbers: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Scores (k,) and daily returns (k, d) of these variants, in their order; unknown, and 0, where one cannot work."""
    parts = [runner.submit(window, part) for part in cut_up(np.sort(numbers))]
    rows: ScoredRows = joined([one.result() for one in parts])
    scores, daily = unknown(SCORE, len(numbers)), np.zeros((len(numbers), window.pair_daily.shape[1]))
    at = {number: row for row, number in enumerate(rows.numbers.tolist())}
    for place, number in enumerate(numbers.tolist()):
        if number in at:
            scores[place], daily[place] = rows.scores[at[number]], rows.daily[at[number]]
    return scores, daily


def parts_of(space: AnySpace, market: MarketHistory) -> tuple[int, int, int]:
    """Begin, split and end of the period, ms; the split is a midnight. Raises Misconfigured for too short a one."""
    start, end = period_of(space, market)
    split = midnight(end - space.search.held_out * (end - start))
    if min(split - start, end - split) < LEAST_DAYS * DAY:
        raise Misconfigured(
            f"the period from {iso(start)} to {iso(end)} is too short to choose on one part and to hold out "
            f"{space.search.held_out:.0%}: each has to have {LEAST_DAYS} days; take more candles."
        )
    return start, split, end


def period_of(space: AnySpace, market: MarketHistory) -> tuple[int, int]:
    """Begin and end of the period that has candles, ms."""
    start, end = market.span()
    config = space.first
    return (
        start if config.start is None else max(config.start, start),
        end if config.end is None else min(config.end, end),
    )
