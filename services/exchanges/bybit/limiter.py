"""One queue for all requests of an account: so many a second, and exits before entries before questions."""

from __future__ import annotations

import asyncio
import heapq
from enum import IntEnum
from itertools import count

from bot.ports import Unreachable

LEAST_SHUT, MOST_SHUT = 10.0, 600.0  # seconds; the venue's own ban lasts ten minutes


class Priority(IntEnum):
    """Who goes first when the venue's limit is near."""

    PROTECT = 0  # cancels and reduce-only orders
    ENTER = 1
    ASK = 2


class Limiter:
    """Lets `rate` requests a second begin, with a burst of as many; the most urgent waiting one first."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._tokens = rate
        self._seen: float | None = None
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._alarm: asyncio.TimerHandle | None = None
        self._shut_until = 0.0
        self._shut_for = 0.0  # seconds, the last time

    async def turn(self, priority: Priority) -> None:
        """Wait until this request may begin. Raises Unreachable at once while the venue lets nothing through."""
        left = self._shut_until - asyncio.get_running_loop().time()
        if left > 0:
            raise Unreachable(
                f"the venue lets nothing through from this address (HTTP 403: too many requests, or a country that it "
                f"does not serve); the next try is in {left:.0f} s"
            )
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._numbers), future))
        self._release()
        await future

    def pause(self, seconds: float) -> None:
        """Let nothing begin for so long: the venue has said that it was too much."""
        self._refill()
        self._tokens = min(self._tokens, -seconds * self.rate)

    def shut(self) -> None:
        """Send nothing for a while: each request during the venue's ban would lengthen it."""
        now = asyncio.get_running_loop().time()
        if now < self._shut_until:
            return  # sent before it was known
        self._shut_for = min(max(2 * self._shut_for, LEAST_SHUT), MOST_SHUT)
        self._shut_until = now + self._shut_for

    def opened(self) -> None:
        """Note that the venue has answered: the next ban begins short again."""
        self._shut_for = 0.0

    def _refill(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._seen is not None:
            self._tokens = min(self._tokens + (now - self._seen) * self.rate, self.rate)
        self._seen = now

    def _release(self) -> None:
        self._refill()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._waiting and self._tokens >= 1.0:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():  # the one who waited may be gone
                self._tokens -= 1.0
                future.set_result(None)
        if self._waiting:
            pause = (1.0 - self._tokens) / self.rate
            self._alarm = asyncio.get_running_loop().call_later(pause, self._release)
