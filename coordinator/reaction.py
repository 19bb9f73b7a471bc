"""How long a pair takes from hearing of a fill to sending its answer, counted in buckets."""

from __future__ import annotations

from bisect import bisect_left

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Reactions:
    """A histogram: `counts` by the bounds of SECONDS, the last one beyond them; `total` seconds in all."""

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.total = 0.0
        self._heard = 0.0

    def heard(self, at: float) -> None:
        """A fill was heard at `at` (seconds of the clock; 0: nobody heard it, it was asked for)."""
        self._heard = at

    def sent(self, now: float) -> None:
        """An order goes out: if it is the first since the fill, this is how long it took."""
        if self._heard:
            took = now - self._heard
            self.counts[bisect_left(SECONDS, took)] += 1
            self.total += took
            self._heard = 0.0
