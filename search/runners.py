"""Runners: who plays variants. Threads of this process here; `search.ray_runner` spreads them over machines."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from search.window import joined

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from numpy.typing import NDArray

    from search.window import ScoredRows, Window


class Pending(Protocol):
    """What comes of variants that are being played."""

    def result(self) -> ScoredRows:
        """Wait for their rows."""
        ...


class Runner(Protocol):
    """Plays variants somewhere; `depth`: how many batches it is given before the first must be there."""

    depth: int

    def submit(self, window: Window, numbers: NDArray[np.int64]) -> Pending:
        """Begin to play variants on a window."""
        ...


class PendingParts:
    """Variants of a batch that several threads play."""

    def __init__(self, parts: list[Future[ScoredRows]]) -> None:
        self._parts = parts

    def result(self) -> ScoredRows:
        """Wait for the rows of all."""
        return joined([one.result() for one in self._parts])


class Threads:
    """Threads of this process: compiled code runs in all of them at once."""

    def __init__(self, workers: int | None = None) -> None:
        """`workers`: one for each processor if None."""
        self.workers = workers or processors()
        self.depth = 2 * self.workers
        self._pool = ThreadPoolExecutor(self.workers)

    def submit(self, window: Window, numbers: NDArray[np.int64]) -> PendingParts:
        """Make variants ready here, and play a part of them in each thread."""
        parts = np.array_split(numbers, max(min(self.workers, len(numbers)), 1))
        return PendingParts([self._pool.submit(window.job(part)) for part in parts])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def given_or_threads(runner: Runner | None, workers: int | None) -> Iterator[Runner]:
    """Yield a runner that was given, or threads that end with the context."""
    if runner is not None:
        yield runner
        return
    with Threads(workers) as threads:
        yield threads


def processors() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
