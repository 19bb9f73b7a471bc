"""Plays what a method proposes, and keeps every row; what a store has already is not played again."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from backtesting.metrics import LEAST_DAYS
from bot.errors import Misconfigured
from bot.times import DAY
from search.chance import BLOCKS, Looks
from search.methods import Feedback, Lattice, Round, cut_up, proposals
from search.score import SCORE
from search.window import NOTHING_VALID, ScoredRows, joined

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from search.reading import AnySpace
    from search.runners import Pending, Runner
    from search.window import Window

KEPT_AT_ONCE, KEPT_SECONDS = 512, 2.0  # rows that are given to a store together, and how long the first may wait


@dataclass(frozen=True)
class StoredRows:
    """Rows that a store has of one window, and what was known of chance when the last of them was stored."""

    numbers: NDArray[np.int64]  # (k,), ascending
    scores: NDArray[Any]  # SCORE (k,)
    blocks: NDArray[np.float32]  # of `chance.Looks` (k, BLOCKS, 2)
    looks: bytes | None = None


NOTHING = StoredRows(np.zeros(0, np.int64), np.zeros(0, SCORE), np.zeros((0, BLOCKS, 2), np.float32))


class Trials(Protocol):
    """Where rows are kept, so that a search that was interrupted goes on; windows are numbered."""

    def stored(self, window: int) -> StoredRows:
        """Read the rows of a window that are there."""
        ...

    def add(self, window: int, rows: StoredRows) -> None:
        """Keep more rows of a window, all or none, with what is known of chance since."""
        ...

    def looked(self) -> int:
        """Count the variants that other searches have scored on the same candles."""
        ...


class NoTrials:
    """Keeps nothing."""

    def looked(self) -> int:
        """Know of no other search."""
        return 0

    def stored(self, window: int) -> StoredRows:
        """Have nothing."""
        del window
        return NOTHING

    def add(self, window: int, rows: StoredRows) -> None:
        """Keep nothing."""


@dataclass(frozen=True)
class Progress:
    """How far a search is."""

    done: int  # variants, of those that are to be played for now
    total: int
    best: float | None  # value of the first metric so far
    variant: int | None = None  # that has it


@dataclass
class Explored:
    """What was found on one window: a row for each variant that could be played."""

    numbers: NDArray[np.int64]  # (k,), in the order in which they were played
    scores: NDArray[Any]  # SCORE (k,)
    blocks: NDArray[np.float32]  # (k, BLOCKS, 2)
    looks: Looks | None  # None of a period too short for it
    excluded: int = 0
    unplayable: int = 0
    refusal: str = NOTHING_VALID
    order: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # of the rows, best first


class Explorer:
    """Plays variants of a space on one window after the other."""

    def __init__(
        self,
        space: AnySpace,
        runner: Runner,
        trials: Trials | None = None,
        told: Callable[[Progress], None] | None = None,
    ) -> None:
        """`told` hears after every batch, and may raise to end the search; what is done is kept."""
        self.space, self.runner = space, runner
        self.trials = trials or NoTrials()
        self._told = told
        self._best: tuple[float, int] | None = None  # lower is better, and the variant

    def explore(self, window: Window, number: int = 0, *, of: NDArray[np.int64] | None = None) -> Explored:
        """Play on window `number` what the space's method proposes, or these variants.

        Raises Misconfigured where none can be played, or the first metric is undefined for all.
        """
        playing = _Playing(self, window, number)
        self._best = None
        if of is not None:
            playing.play(Round(cut_up(of), len(of)))
        else:
            method = proposals(self.space.lattice, self.space.search)
            try:
                proposed = next(method)
                while True:
                    proposed = method.send(self._answer(playing.play(proposed)))
            except StopIteration:
                pass
        found = playing.explored()
        if not len(found.numbers):
            raise Misconfigured(found.refusal)
        self._refuse_undefined(found, window.end - window.start)
        found.order = self._ranked(found)
        return found

    def _refuse_undefined(self, found: Explored, length: int) -> None:
        """Raise Misconfigured where the first metric has no value at all: the order would be that of chance."""
        metric = self.space.objective.metrics[0]
        if np.isnan(metric.of(found.scores)).all():
            raise Misconfigured(
                f"search.objective is {metric.text}, which is undefined for every variant on the {length / DAY:.0f} "
                "days that choose; take more days (ratios need 30), or another objective such as total_return_pct."
            )

    def _answer(self, rows: ScoredRows) -> Feedback:
        objective = self.space.objective
        values = np.stack([metric.of(rows.scores) for metric in objective.metrics], axis=1)
        passed = objective.passes(rows.scores)
        order = np.lexsort((rows.numbers, *reversed(values.T), ~passed))
        drawdown = np.asarray(rows.scores["max_drawdown_pct"])
        return Feedback(rows.numbers[order], values[order], passed[order], drawdown[order])

    def _ranked(self, found: Explored) -> NDArray[np.int64]:
        """Order of rows, best first; of equal ones, and of those alone, the keys decide."""
        objective, search = self.space.objective, self.space.search
        values = [metric.of(found.scores) for metric in objective.metrics]
        alone = np.zeros(len(found.numbers), np.bool_)
        if search.plateau:
            values = [worst_around(found.numbers, one, self.space.lattice) for one in values]
            alone = ~has_neighbours(found.numbers, self.space.lattice)
        passed = objective.passes(found.scores)
        order = np.lexsort((found.numbers, *reversed(values), alone, ~passed))
        same = np.ones(len(order) - 1, np.bool_)
        for one in (*values, alone, passed):
            first, second = one[order[:-1]], one[order[1:]]
            same &= (first == second) | (np.isnan(first.astype(float)) & np.isnan(second.astype(float)))
        for begin, end in _runs(same):
            tied = order[begin:end]
            keys = [self.space.key(one) for one in found.numbers[tied].tolist()]
            order[begin:end] = tied[np.argsort(np.array(keys), kind="stable")]
        return order

    def tell(self, done: int, total: int, rows: ScoredRows) -> None:
        """Say how far it is, and what the best has."""
        if self._told is None:
            return
        metric = self.space.objective.metrics[0]
        values = metric.of(rows.scores)
        good = np.flatnonzero(self.space.objective.passes(rows.scores) & ~np.isnan(values))
        if len(good):
            at = good[np.lexsort((rows.numbers[good], values[good]))[0]]
            best = (float(values[at]), int(rows.numbers[at]))
            self._best = best if self._best is None else min(best, self._best)
        value, variant = (None, None) if self._best is None else (metric.shown(self._best[0]), self._best[1])
        self._told(Progress(done, total, value, variant))


class _Playing:
    """The rows of one window, as they come."""

    def __init__(self, explorer: Explorer, window: Window, number: int) -> None:
        self.explorer, self.window, self.number = explorer, window, number
        self.known = explorer.trials.stored(number)
        self.looks = Looks(window.pair_daily) if window.pair_daily.shape[1] >= LEAST_DAYS else None
        if self.looks is not None and self.known.looks:
            self.looks.restore(self.known.looks)
        self._parts: list[StoredRows] = []
        self._waiting: list[ScoredRows] = []  # that neither chance nor the store has seen
        self._since = time.monotonic()
        self._excluded = self._unplayable = 0
        self._refusal = NOTHING_VALID
        self._done = 0

    def play(self, proposed: Round) -> ScoredRows:
        """Play a round, and return its rows."""
        runner, waiting, rows = self.explorer.runner, deque[tuple[StoredRows, int, "Pending"]](), []
        total = self._done + proposed.total
        try:
            for batch in proposed.batches:
                fresh, known = self._parted(batch)
                waiting.append((known, len(batch), runner.submit(self.window, fresh)))
                while len(waiting) > runner.depth:
                    rows.append(self._take(*waiting.popleft(), total))
            while waiting:
                rows.append(self._take(*waiting.popleft(), total))
        finally:
            self._keep()
        return joined(rows) if rows else _no_rows()

    def _parted(self, batch: NDArray[np.int64]) -> tuple[NDArray[np.int64], StoredRows]:
        """Variants of a batch that are to be played, and the rows of the others."""
        known = self.known
        if not len(known.numbers):
            return batch, NOTHING
        at = np.minimum(np.searchsorted(known.numbers, batch), len(known.numbers) - 1)
        has = known.numbers[at] == batch
        return batch[~has], StoredRows(batch[has], known.scores[at[has]], known.blocks[at[has]])

    def _take(self, known: StoredRows, count: int, outcome: Pending, total: int) -> ScoredRows:
        rows = outcome.result()
        self._parts.append(known)
        if len(rows):
            self._waiting.append(rows)
        self._excluded += rows.excluded
        self._unplayable += rows.unplayable
        if rows.unplayable:
            self._refusal = rows.refusal
        held = sum(len(one) for one in self._waiting)
        if held >= KEPT_AT_ONCE or time.monotonic() - self._since > KEPT_SECONDS:
            self._keep()
        self._done += count
        both = _with(rows, known)
        self.explorer.tell(self._done, max(total, self._done), both)
        return both

    def _keep(self) -> None:
        """Let chance look at what has come, many rows at a time, and give it to the store."""
        if self._waiting:
            rows = joined(self._waiting)
            blocks = np.zeros((len(rows), BLOCKS, 2), np.float32)
            if self.looks is not None:
                blocks = self.looks.add(rows.daily, self.window.pair_of(rows.numbers)).astype(np.float32)
            state = None if self.looks is None else self.looks.state()
            self._parts.append(StoredRows(rows.numbers, rows.scores, blocks, state))
            self.explorer.trials.add(self.number, self._parts[-1])
        self._waiting, self._since = [], time.monotonic()

    def explored(self) -> Explored:
        """Everything that was found."""
        whole = _together(self._parts or [NOTHING])
        counts = (self._excluded, self._unplayable, self._refusal)
        return Explored(whole.numbers, whole.scores, whole.blocks, self.looks, *counts)


def _together(parts: list[StoredRows]) -> StoredRows:
    return StoredRows(
        np.concatenate([one.numbers for one in parts]),
        np.concatenate([one.scores for one in parts]),
        np.concatenate([one.blocks for one in parts]),
    )


def _with(rows: ScoredRows, known: StoredRows) -> ScoredRows:
    """Those that were played with those that were known, without their days: of many variants these are too much."""
    numbers, scores = np.concatenate((rows.numbers, known.numbers)), np.concatenate((rows.scores, known.scores))
    days = np.zeros((len(numbers), 0), np.float32)
    return ScoredRows(numbers, scores, days, rows.excluded, rows.unplayable, rows.refusal)


def _no_rows() -> ScoredRows:
    return ScoredRows(NOTHING.numbers, NOTHING.scores, np.zeros((0, 0), np.float32))


def _runs(same: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Begin and end of each run of rows that equal the next one."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], same.astype(np.int8), [0]))))
    return [(int(begin), int(end) + 1) for begin, end in zip(edges[::2], edges[1::2], strict=True)]


def neighbours(numbers: NDArray[np.int64], lattice: Lattice) -> list[NDArray[np.int64]]:
    """Row of each variant's (k,) neighbour for each step along an axis, both ways: (k,), -1 where none was played."""
    order = np.argsort(numbers)
    ordered, digits, found = numbers[order], lattice.digits(numbers), []
    for place, (size, stride) in enumerate(zip(lattice.sizes, lattice.strides.tolist(), strict=True)):
        if lattice.words[place]:
            continue
        for move in (-1, 1):
            wanted = numbers + move * stride
            at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
            inside = (digits[:, place] + move >= 0) & (digits[:, place] + move < size)
            found.append(np.where(inside & (ordered[at] == wanted), order[at], -1))
    return found


def has_neighbours(numbers: NDArray[np.int64], lattice: Lattice) -> NDArray[np.bool_]:
    """Whether any neighbour of each variant (k,) was played: of one without, nothing says how steep it stands."""
    there = [rows >= 0 for rows in neighbours(numbers, lattice)]
    return np.any(there, axis=0) if there else np.zeros(len(numbers), np.bool_)


def worst_around(numbers: NDArray[np.int64], values: NDArray[np.float64], lattice: Lattice) -> NDArray[np.float64]:
    """Worst value, the highest, among each variant's (k,) own and its neighbours' that were played; NaN is worst."""
    worst = values.copy()
    for rows in neighbours(numbers, lattice):
        there = np.where(rows >= 0, values[rows], -np.inf)
        worst = np.where(np.isnan(worst) | np.isnan(there), np.nan, np.maximum(worst, there))
    return worst
