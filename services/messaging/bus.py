"""The Bus port over Redis Streams: best effort. Nothing waits for it, and when it is away its news are dropped."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
import redis.asyncio
import structlog
from redis.exceptions import RedisError

log = structlog.get_logger()

STREAM = "traderagent.events.v1"
KEPT = 10_000
ROOM = 1000  # news not yet told; the oldest go first


class RedisBus:
    """Publishes what happens, in a task of its own."""

    def __init__(self, url: str, bot: str) -> None:
        self.bot = bot
        self.client = redis.asyncio.from_url(url)
        self.waiting: asyncio.Queue[dict[Any, Any]] = asyncio.Queue(ROOM)
        self.dropped = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tell."""
        self._task = asyncio.create_task(self._run())

    def publish(self, kind: str, fields: dict[str, Any]) -> None:
        """Tell it when there is time."""
        message = {"bot": self.bot, "kind": kind, "data": json.dumps(fields, default=_plain)}
        if self.waiting.full():
            self.waiting.get_nowait()
            self.dropped += 1
        self.waiting.put_nowait(message)

    async def _run(self) -> None:
        while True:
            message = await self.waiting.get()
            try:
                await self.client.xadd(STREAM, message, maxlen=KEPT, approximate=True)
            except (RedisError, OSError) as error:
                self.dropped += 1
                if self.dropped == 1 or self.dropped % ROOM == 0:
                    log.warning("bus_away", dropped=self.dropped, error=type(error).__name__)

    async def stop(self) -> None:
        """Stop telling."""
        if self._task is not None:
            self._task.cancel()
        await self.client.aclose()


def _plain(value: Any) -> Any:
    """Plain form of what messages carry: records, dataclasses, words of a list, NumPy's numbers. It never fails."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, np.void):
        assert value.dtype.names is not None
        return {name: value[name].item() for name in value.dtype.names}
    if isinstance(value, Enum):
        return value.value
    return value.item() if isinstance(value, np.generic) else str(value)
