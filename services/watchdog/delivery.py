"""Carries notices to every channel, each at its own pace: one that is away holds up no other and loses nothing.

And asks what the watchdog asks over HTTP: an address that misses its ping, a service that is probed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import aiohttp
import structlog

from bot.ports import Unreachable
from services.watchdog.channels import Channel
from services.watchdog.notices import Notice
from services.webhooks import Later

log = structlog.get_logger()

LEAST_PAUSE, MOST_PAUSE = 1.0, 30.0  # seconds before a channel is tried again
PING_SECONDS = 10.0  # for an answer
MOST_BYTES = 4 << 20  # of an answer that are read


class Outgoing:
    """What waits for one channel, in order."""

    def __init__(self, channel: Channel, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self.channel, self._sleep = channel, sleep
        self.waiting: deque[tuple[Notice, float]] = deque()
        self._came = asyncio.Event()

    def put(self, notice: Notice, at: float) -> None:
        """Have a notice sent; one that waits for the same condition of the same bot is said by the newer one."""
        same = (notice.bot, notice.condition, notice.over)
        kept = [one for one in list(self.waiting)[1:] if (one[0].bot, one[0].condition, one[0].over) != same]
        self.waiting = deque([*list(self.waiting)[:1], *kept, (notice, at)])  # the first may be on its way
        self._came.set()

    async def run(self) -> None:
        """Send for ever."""
        while True:
            self._came.clear()
            if not self.waiting:
                await self._came.wait()
            await self.send_waiting()

    async def send_waiting(self) -> None:
        """Send all that waits, each until it is sent."""
        pause = LEAST_PAUSE
        while self.waiting:
            try:
                await self.channel.send(*self.waiting[0])
            except Later as later:
                log.warning("not_sent", channel=self.channel.name, reason=str(later), waiting=len(self.waiting))
                await self._sleep(pause if later.seconds is None else later.seconds)
                pause = min(2.0 * pause, MOST_PAUSE)
            else:
                log.info("sent", channel=self.channel.name, bot=self.waiting[0][0].bot)
                self.waiting.popleft()
                pause = LEAST_PAUSE


async def ping(session: aiohttp.ClientSession, url: str) -> bool:
    """Say that all is well to a dead man's switch; whether it was heard."""
    try:
        async with session.get(url, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=PING_SECONDS)) as answer:
            if answer.status < 300:
                return True
            reason = f"HTTP {answer.status}"
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        reason = type(error).__name__
    log.warning("ping_failed", reason=reason)
    return False


async def text_at(session: aiohttp.ClientSession, url: str, seconds: float) -> str:
    """What an address answers, as far as it is looked at; raises Unreachable where it does not, or says no."""
    try:
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with session.get(url, allow_redirects=False, timeout=timeout) as answer:
            if answer.status < 300:
                read = bytearray()
                async for part in answer.content.iter_chunked(1 << 16):
                    read += part
                    if len(read) > MOST_BYTES:
                        break
                return read.decode("utf-8", errors="replace")
            reason = f"HTTP {answer.status}"
    except TimeoutError:
        reason = f"no answer within {seconds:g} s"
    except (aiohttp.ClientError, OSError) as error:
        reason = type(error).__name__
    raise Unreachable(reason)
