"""Plays every variant of a space on the same candles, in threads of one process, and the best on days held out.

A variant is scored on the first part of the period, which is all that chooses it; the best are then played on the part
behind it, with fresh money. The rows are the same whatever the number of threads.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtesting.candles import read_candles
from backtesting.run import limits_may_bind, play_single, prepare
from backtesting.simulator import UniversalSimulator
from bot.candles import iso
from bot.errors import Misconfigured
from bot.record import new_records
from bot.times import DAY
from coordinator.columns import unknown
from search.score import SCORE, score_of
from search.space import Space, read_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from backtesting.funding import FundingHistory
    from backtesting.instruments import DatedInstrument
    from backtesting.run import Prepared
    from bot.candles import Candles
    from bot.instrument import Instrument
    from bot.parameters import Parameters
    from coordinator.config import BacktestConfig

AT_ONCE = 32  # variants that a thread takes: a fraction of a second of work
LEAST_DAYS = 2  # of each part of the period


@dataclass(frozen=True)
class Sweep:
    """What was found: a row for each variant that could be played, best first."""

    space: Space
    start: int  # ms
    split: int  # ms: the part before it has chosen, the part behind it was held out
    end: int  # ms
    numbers: NDArray[np.int64]  # of the variants, best first, (k,)
    scores: NDArray[Any]  # SCORE on the part that chose, (k,)
    passed: NDArray[np.bool_]  # the filters, (k,)
    held_out: NDArray[Any]  # SCORE of the best on the part held out, (m,)
    excluded: int  # combinations that contradict themselves
    unplayable: int  # variants that cannot work with this capital on this instrument

    @property
    def best(self) -> BacktestConfig:
        """The whole config of the best variant."""
        return self.space.config(int(self.numbers[0]))

    @cached_property
    def frame(self) -> pl.DataFrame:
        """One row a variant, best first: number, values of the axes, figures in sample, and held out for the best."""
        values = [self.space.values(number) for number in self.numbers.tolist()]
        axes = {axis.key: pl.Series([one[axis.key] for one in values], strict=False) for axis in self.space.axes}
        names = SCORE.names or ()
        return pl.DataFrame(
            {
                "variant": self.numbers,
                **axes,
                "passed": self.passed,
                **{f"{name}_in_sample": self.scores[name] for name in names},
                **{f"{name}_held_out": _padded(self.held_out[name], len(values)) for name in names},
            }
        ).with_columns(pl.selectors.float().fill_nan(None))


def _padded(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return np.concatenate((values, np.full(count - len(values), np.nan)))


def sweep(
    space: Space | dict[str, Any] | str | Path,
    candles: Candles | str | Path,
    *,
    fetched: Instrument | DatedInstrument | None = None,
    funding: FundingHistory | None = None,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Sweep:
    """Score every variant of a space, and the best of them on days that were held out.

    `candles` may be a file's path; `fetched` and `funding` as for `simulate`; `workers` threads, one for each processor
    if None; `progress` hears the share that is done. Raises Misconfigured and BadCandles with one sentence.
    """
    space = space if isinstance(space, Space) else read_space(space)
    space.memory(2 * SCORE.itemsize)
    candles = read_candles(candles) if isinstance(candles, str | Path) else candles
    start, split, end = _parts(space, candles)
    workers = workers or len(os.sched_getaffinity(0))
    chosen_on = Window(space, candles, start, split, fetched, funding)
    chosen_on.compile()
    with ThreadPoolExecutor(workers) as threads:
        played = np.zeros(space.size, np.bool_)
        scores = new_records(SCORE, space.size)
        valid = 0
        for numbers, found in _in_order(threads, workers, chosen_on, _batches(space)):
            valid += len(numbers)
            for number, score in zip(numbers.tolist(), found, strict=True):
                if score is not None:
                    played[number], scores[number] = True, score
            if progress is not None and len(numbers):
                progress(0.98 * (int(numbers[-1]) + 1) / space.size)
        known = np.flatnonzero(played)
        if not len(known):
            raise Misconfigured(chosen_on.refusal)
        _refuse_undefined(space, scores[known], split - start)
        order = space.objective.rank(scores[known], [space.key(number) for number in known.tolist()])
        best = known[order]
        top = _records_of(space, best[: space.search.top])
        behind = Window(space, candles, split, end, fetched, funding)
        again = [one for _, found in _in_order(threads, workers, behind, top) for one in found]
    held_out = unknown(SCORE, len(again))
    for index, score in enumerate(again):
        if score is not None:
            held_out[index] = score
    if progress is not None:
        progress(1.0)
    return Sweep(
        *(space, start, split, end, best, scores[best], space.objective.passes(scores[best])),
        *(held_out, space.size - valid, valid - len(known)),
    )


def _refuse_undefined(space: Space, scores: NDArray[Any], length: int) -> None:
    """Raise Misconfigured where the first metric has no value for any variant: the order would be that of chance."""
    metric = space.objective.metrics[0]
    if np.isnan(metric.of(scores)).all():
        raise Misconfigured(
            f"search.objective is {metric.text}, which is undefined for every variant on the {length / DAY:.0f} days "
            "that choose; take more days (ratios need 30), or another objective such as total_return_pct."
        )


def _parts(space: Space, candles: Candles) -> tuple[int, int, int]:
    """Begin, split and end of the period, ms; the split is a midnight. Raises Misconfigured for too short a one."""
    config = space.first
    start = int(candles.ts[0]) if config.start is None else max(config.start, int(candles.ts[0]))
    end = int(candles.ts[-1]) + candles.bar_ms
    end = end if config.end is None else min(config.end, end)
    split = int(end - space.search.held_out * (end - start)) // DAY * DAY
    if min(split - start, end - split) < LEAST_DAYS * DAY:
        raise Misconfigured(
            f"the period from {iso(start)} to {iso(end)} is too short to choose on one part and to hold out "
            f"{space.search.held_out:.0%}: each has to have {LEAST_DAYS} days; take more candles."
        )
    return start, split, end


class Window:
    """A part of the period, on which variants of a space are played."""

    def __init__(
        self,
        space: Space,
        candles: Candles,
        start: int,
        end: int,
        fetched: Instrument | DatedInstrument | None,
        funding: FundingHistory | None,
    ) -> None:
        self.space, self.candles, self.start, self.end = space, candles, start, end
        self.fetched, self.funding = fetched, funding
        self.refusal = "no combination of the space is valid; widen its values."
        self._ready: dict[Any, Ready] = {}

    def ready_for(self, number: int, parameters: Parameters) -> Ready:
        """Candles, signal bars and inputs for a variant, made once for all that have them in common."""
        key = (*self.space.group(number), parameters.warmup_bars)
        if key not in self._ready:
            config = self.space.config(number).changed(start=self.start, end=self.end)
            made = prepare(config, self.candles, fetched=self.fetched, funding=self.funding)
            self._ready[key] = Ready(made, UniversalSimulator(made.config), limits_may_bind(made.config, made.candles))
        return self._ready[key]

    def compile(self) -> None:
        """Play one variant before there are threads: the compiler works for one alone."""
        numbers, records = next(batch for batch in _batches(self.space) if len(batch[0]))
        parameters = self.space.parameters(int(numbers[0]))
        self.score(self.ready_for(int(numbers[0]), parameters), parameters, records[0])

    def score(self, ready: Ready, parameters: Parameters, record: Any) -> Any:
        """Score of a variant, one record of SCORE; None where it cannot work here."""
        try:
            if ready.limited:
                recording = play_single(ready.made.config.changed(parameters=parameters), ready.made.candles)
            else:
                recording = ready.simulator.with_parameters(parameters, record).run(ready.made.candles)
        except Misconfigured as error:
            self.refusal = str(error)
            return None
        return score_of(recording, ready.made.first)


@dataclass(frozen=True)
class Ready:
    """What variants with the same timeframe, inputs and warm-up are played on."""

    made: Prepared
    simulator: UniversalSimulator
    limited: bool  # the instrument's limits may bind, which the fast loop does not know


Batch = tuple["NDArray[np.int64]", "NDArray[Any]"]  # numbers and records of variants


def _batches(space: Space) -> Iterator[Batch]:
    for start in range(0, space.size, AT_ONCE):
        yield space.records(start, start + AT_ONCE)


def _records_of(space: Space, numbers: NDArray[np.int64]) -> Iterator[Batch]:
    for number in numbers.tolist():
        yield space.records(number, number + 1)


def _in_order(
    threads: ThreadPoolExecutor, workers: int, window: Window, batches: Iterator[Batch]
) -> Iterator[tuple[NDArray[np.int64], list[Any]]]:
    """Scores of each batch, in the order of the batches; few of them wait at a time."""
    waiting: deque[tuple[NDArray[np.int64], Future[list[Any]]]] = deque()
    for numbers, records in batches:
        parameters = [window.space.parameters(one) for one in numbers.tolist()]
        each = [(window.ready_for(*both), both[1]) for both in zip(numbers.tolist(), parameters, strict=True)]
        waiting.append((numbers, threads.submit(_played, window, each, records)))
        while len(waiting) > 2 * workers:
            done, future = waiting.popleft()
            yield done, future.result()
    for done, future in waiting:
        yield done, future.result()


def _played(window: Window, each: list[tuple[Ready, Parameters]], records: NDArray[Any]) -> list[Any]:
    return [window.score(ready, own, records[index]) for index, (ready, own) in enumerate(each)]
