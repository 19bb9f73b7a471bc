"""Reads what bots tell over Redis Streams: from a place on, and what was told before."""

from __future__ import annotations

import json
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from bot.ports import Unreachable
from services.messaging.bus import stream_of

MOST = 1000  # read at once
SECONDS = 4.0


class EventReader:
    """Every question raises Unreachable while Redis is away."""

    def __init__(self, url: str) -> None:
        self.client = redis.asyncio.from_url(url, socket_timeout=SECONDS + 2.0, socket_connect_timeout=SECONDS)

    async def newest(self, bot: str) -> str:
        """Return the id of the newest event, from which `wait` goes on."""
        try:
            found: Any = await self.client.xrevrange(stream_of("events", bot), count=1)
        except (RedisError, OSError) as error:
            raise _away(error) from None
        return found[0][0].decode() if found else "0-0"

    async def wait(self, after: dict[str, str], seconds: float) -> dict[str, list[dict[str, Any]]]:
        """Wait so long for events after these places, by bot; what has come by then, oldest first, by bot."""
        streams: Any = {stream_of("events", bot): place for bot, place in after.items()}
        names = {stream_of("events", bot): bot for bot in after}
        try:
            found: Any = await self.client.xread(streams, count=MOST, block=max(int(seconds * 1000), 1))
        except (RedisError, OSError) as error:
            raise _away(error) from None
        return {
            names[stream.decode()]: [_event(names[stream.decode()], one) for one in entries]
            for stream, entries in found
        }

    async def told(self, bot: str, after: str, until: str) -> list[dict[str, Any]]:
        """Events after one place up to another, oldest first."""
        try:
            found: Any = await self.client.xrange(stream_of("events", bot), f"({after}", until)
        except (RedisError, OSError) as error:
            raise _away(error) from None
        return [_event(bot, one) for one in found]

    async def equity(self, bot: str, count: int) -> list[dict[str, Any]]:
        """What the account was worth, the last so many marks, oldest first."""
        try:
            found: Any = await self.client.xrevrange(stream_of("metrics", bot), count=count)
        except (RedisError, OSError) as error:
            raise _away(error) from None
        marks = [_event(bot, one) for one in reversed(found)]
        return [one["data"] for one in marks if one["kind"] == "equity_marked"]

    async def close(self) -> None:
        """Hang up."""
        await self.client.aclose()


def _event(bot: str, entry: tuple[bytes, dict[bytes, bytes]]) -> dict[str, Any]:
    place, fields = entry
    data = json.loads(fields[b"data"])
    return {"id": place.decode(), "bot": bot, "kind": fields[b"kind"].decode(), "data": data}


def _away(error: Exception) -> Unreachable:
    return Unreachable(f"Redis does not answer ({type(error).__name__})")
