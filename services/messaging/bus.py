"""The Bus port over Redis Streams, two of each bot. Nothing waits for it; when it is away, news are dropped."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from bot.events import kind_of
from bot.ports import Unreachable

if TYPE_CHECKING:
    from bot.events import BotEvent

log = structlog.get_logger()

KEPT = 10_000
ROOM = 1000  # news not yet told; the oldest go first


class StreamWriter:
    """Adds entries to streams, in a task of its own: nobody waits, and the oldest go where there is no room."""

    def __init__(self, url: str, kept: int, room: int) -> None:
        """`kept`: entries of a stream, about; `room`: entries that are not yet added."""
        self.client, self._kept, self._room = redis.asyncio.from_url(url), kept, room
        self.waiting: asyncio.Queue[tuple[str, dict[Any, Any]]] = asyncio.Queue(room)
        self.dropped = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tell."""
        self._task = asyncio.create_task(self._run())

    def add(self, stream: str, entry: dict[Any, Any]) -> None:
        """Add an entry when there is time."""
        if self.waiting.full():
            self.waiting.get_nowait()
            self.dropped += 1
        self.waiting.put_nowait((stream, entry))

    async def _run(self) -> None:
        while True:
            stream, entry = await self.waiting.get()
            try:
                await self.client.xadd(stream, entry, maxlen=self._kept, approximate=True)
            except (RedisError, OSError) as error:
                self.dropped += 1
                if self.dropped == 1 or self.dropped % self._room == 0:
                    log.warning("bus_away", dropped=self.dropped, error=type(error).__name__)

    async def stop(self) -> None:
        """Stop telling."""
        if self._task is not None:
            self._task.cancel()
        await self.client.aclose()


class RedisBus(StreamWriter):
    """Publishes what happens."""

    def __init__(self, url: str, bot: str) -> None:
        super().__init__(url, KEPT, ROOM)
        self.bot = bot

    def publish(self, event: BotEvent) -> None:
        """Tell it when there is time."""
        message = {
            "kind": kind_of(type(event)),
            "version": event.VERSION,
            "data": json.dumps(asdict(event), default=str),
        }
        self.add(stream_of(event.STREAM, self.bot), message)


async def ping(url: str) -> None:
    """See whether a Redis answers; raises Unreachable with the kind of trouble, if it does not."""
    try:
        async with redis.asyncio.from_url(url) as client:
            await client.ping()
    except (RedisError, OSError, ValueError) as error:
        raise Unreachable(type(error).__name__) from None


def stream_of(stream: str, bot: str) -> str:
    """Name the Redis stream of a bot's `events` or `metrics`: who may read a bot's reads its own streams."""
    return f"traderagent.{stream}.v1.{bot}"
