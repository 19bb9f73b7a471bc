"""Tasks that must not end: what breaks is made anew, and what breaks for good is raised where it is waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from bot.errors import Misconfigured

if TYPE_CHECKING:
    from bot.ports import Clock

log = structlog.get_logger()

LIVES = 20  # of one loop, within WINDOW; one more break ends the bot
WINDOW = 600.0  # seconds after which a break is forgiven
LEAST_PAUSE, MOST_PAUSE = 0.1, 30.0  # seconds before a broken loop is made anew


class Loop(Protocol):
    """What runs for ever."""

    async def run(self) -> None:
        """Run."""
        ...


class Supervisor:
    """The tasks of one process."""

    def __init__(
        self,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.clock, self.sleep = clock, sleep
        self.tasks: list[asyncio.Task[None]] = []
        self.broken = 0  # loops that had to be made anew

    def add(self, task: Coroutine[Any, Any, None]) -> None:
        """Begin a task."""
        self.tasks.append(asyncio.create_task(task))

    async def keep(self, name: str, current: Callable[[], Loop], renew: Callable[[], Awaitable[None]]) -> None:
        """Run the current loop; one that breaks is made anew by `renew`, from what is stored, but not too often.

        The pause before doubles with each break, and begins short again after a WINDOW without one.
        """
        breaks: list[float] = []
        pause, broke = LEAST_PAUSE, False
        while True:
            try:
                if broke:
                    await renew()
                await current().run()
            except Misconfigured:
                raise  # another life would find the same
            except Exception:
                now = self.clock()
                breaks = [one for one in breaks if now - one < WINDOW]
                pause = min(2 * pause, MOST_PAUSE) if breaks else LEAST_PAUSE
                breaks.append(now)
                log.exception("loop_broke", loop=name, breaks=len(breaks), pause=pause)
                self.broken += 1
                if len(breaks) > LIVES:
                    raise
                await self.sleep(pause)
            broke = True

    async def ended(self) -> None:
        """Wait for the first task that breaks for good, and raise what broke it."""
        await asyncio.wait(self.tasks, return_when=asyncio.FIRST_COMPLETED)
        self.check()

    def check(self) -> None:
        """Raise what broke a task for good."""
        for task in self.tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def wait(self, *waits: Awaitable[Any]) -> None:
        """Wait for all of these, or for the first task that breaks."""
        waiting: asyncio.Future[Any] = asyncio.gather(*waits)
        both: list[asyncio.Future[Any]] = [waiting, *self.tasks]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            self.check()
            await waiting
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def settled(self, mailboxes: Callable[[], list[asyncio.Queue[Any]]]) -> None:
        """Wait until nothing is left to do about what the loops were told."""
        while any(box._unfinished_tasks for box in mailboxes()):  # type: ignore[attr-defined]  # noqa: SLF001, asyncio has no other way to ask
            await self.wait(*(box.join() for box in mailboxes()))

    async def stop(self) -> None:
        """End every task."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
