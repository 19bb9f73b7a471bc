"""Spreads a search over the nodes of a Ray cluster: an actor on each, with a thread for each of its processors.

The candles lie in the object store, once a node. What a node that died had in work is played again by another.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # or Ray packs the working directory for each worker

import ray
from ray.exceptions import RayActorError

from bot.errors import Misconfigured, cut
from search.reading import AnySpace, read_space
from search.session import code_of
from search.window import MarketHistory, ScoredRows, Window, window_of

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray


TRIES = 5  # of a batch whose node dies
WINDOWS = 2  # that an actor keeps ready
LOCAL = "local"
SHARE_OF_CPU = 0.001  # next to nothing, but a head that was started with `--num-cpus=0` gets no actor


class Player:
    """Plays variants on one node."""

    def __init__(self, source: dict[str, Any], market: MarketHistory, code: str) -> None:
        """`source`: the space as it is read; `code`: hash of the sources of who asks, which must be these."""
        self.space = read_space(source)
        if code_of(self.space) != code:
            raise Misconfigured(
                "a node of the cluster has another version of this program, or of your own strategy's file; install "
                "the same on all."
            )
        self.market = market
        self._windows: dict[tuple[int, int], Window] = {}
        self._lock = threading.Lock()

    def play(self, start: int, end: int, numbers: NDArray[np.int64]) -> ScoredRows:
        """Play variants on a part of the period, ms."""
        with self._lock:  # a window makes variants ready in one thread at a time
            if (start, end) not in self._windows:
                while len(self._windows) >= WINDOWS:
                    self._windows.pop(next(iter(self._windows)))
                self._windows[start, end] = window_of(self.space, self.market, start, end)
            job = self._windows[start, end].job(numbers)
        return job()


@dataclass
class Asked:
    """A batch that an actor plays."""

    runner: RayRunner
    place: int
    arguments: tuple[int, int, NDArray[np.int64]]
    reference: Any

    def result(self) -> ScoredRows:
        """Wait for its rows; another actor plays it when this one dies."""
        for _ in range(TRIES):
            try:
                rows: ScoredRows = ray.get(self.reference)
            except RayActorError:
                self.runner.replace(self.place)
                self.place, self.reference = self.runner.ask(*self.arguments)
            else:
                return rows
        raise Misconfigured(f"the cluster lost {TRIES} nodes over one batch; look at their memory and logs.")


class RayRunner:
    """Actors of a cluster, each of which plays several batches at a time."""

    def __init__(
        self,
        space: AnySpace,
        market: MarketHistory,
        address: str,
        actors: int | None = None,
        threads: int = 0,
    ) -> None:
        """`actors`: one on each node if None; `threads` of each, one for each of its processors if 0."""
        self._own = not ray.is_initialized()
        if self._own:
            where = {} if address == LOCAL else {"address": address}
            try:
                ray.init(**where, include_dashboard=False, log_to_driver=False, configure_logging=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise Misconfigured(
                    f"--ray is {cut(address)}, where no cluster answers ({type(error).__name__}); check the address "
                    "and that its head node runs, or give local."
                ) from None
        processors = [int(one["Resources"].get("CPU", 0)) for one in ray.nodes() if one["Alive"]]
        counts = [count for count in processors if count] or [1]
        self._arguments = (space.source(), ray.put(market), code_of(space))
        self.threads = threads or min(counts)
        kind: Any = ray.remote(Player)
        self._kind = kind.options(
            num_cpus=SHARE_OF_CPU, max_concurrency=self.threads, scheduling_strategy="SPREAD", max_restarts=0
        )
        self.actors = [self._make() for _ in range(actors or len(counts))]
        self._asked: dict[Any, int] = {}  # actor that plays each reference
        self.depth = 3 * self.threads * len(self.actors)

    def _make(self) -> Any:
        return self._kind.remote(*self._arguments)

    def submit(self, window: Window, numbers: NDArray[np.int64]) -> Asked:
        """Ask the actor with the least work."""
        arguments = (window.start, window.end, numbers)
        place, reference = self.ask(*arguments)
        return Asked(self, place, arguments, reference)

    def ask(self, start: int, end: int, numbers: NDArray[np.int64]) -> tuple[int, Any]:
        """Give a batch to the actor with the least work; returns which, and a reference to its rows."""
        place = int(np.argmin(self._loads()))
        reference = self.actors[place].play.remote(start, end, numbers)
        self._asked[reference] = place
        return place, reference

    def _loads(self) -> list[int]:
        """Count the batches of each actor that are not done, whichever of them is waited for."""
        waiting = list(self._asked)
        done = ray.wait(waiting, num_returns=len(waiting), timeout=0, fetch_local=False)[0] if waiting else []
        for one in done:
            del self._asked[one]
        places = list(self._asked.values())
        return [places.count(place) for place in range(len(self.actors))]

    def replace(self, place: int) -> None:
        """Put another actor in the place of one that died, once."""
        if not _lives(self.actors[place]):
            self.actors[place] = self._make()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for actor in self.actors:
            ray.kill(actor)
        if self._own:
            ray.shutdown()


def _lives(actor: Any) -> bool:
    try:
        ray.get(actor.__ray_ready__.remote())
    except RayActorError:
        return False
    return True
