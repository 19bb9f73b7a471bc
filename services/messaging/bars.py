"""Closed bars over Redis: told once by who collects, heard by every bot of the machine. Nobody waits for it.

stream traderagent.bars.v1.<market id>      field bar: JSON of [symbol, ts, open, high, low, close, volume]
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from services.messaging.bus import StreamWriter

log = structlog.get_logger()

KEPT: Final = 20_000  # bars of a market
ROOM: Final = 10_000  # bars not yet told; the oldest go first
PAUSE: Final = 1.0  # seconds, before a Redis that is away is asked again
BLOCK_MS: Final = 1000  # shorter than the patience of the client

BarHeard = Callable[[str, tuple[float, ...]], None]


class BarPublisher(StreamWriter):
    """Tells closed bars."""

    def __init__(self, url: str) -> None:
        super().__init__(url, KEPT, ROOM)

    def publish(self, market_id: int, symbol: str, row: tuple[float, ...]) -> None:
        """Tell a bar when there is time: its opening, ms, four prices and the volume."""
        self.add(bars_of(market_id), {"bar": json.dumps([symbol, *row])})


class BarListener:
    """Hears the bars of one market from now on."""

    def __init__(self, url: str, market_id: int) -> None:
        self.client = redis.asyncio.from_url(url)
        self.stream, self.market_id = bars_of(market_id), market_id

    async def listen(self, heard: BarHeard) -> None:
        """Hand on every bar, for ever: symbol and row. A Redis that is away is asked again."""
        last: Any = None
        away = False
        while True:
            try:
                last = last or await self._newest()
                told: Any = await self.client.xread({self.stream: last}, block=BLOCK_MS)
            except (RedisError, OSError) as error:
                if not away:
                    log.warning("bars_away", market_id=self.market_id, error=type(error).__name__)
                away = True
                await asyncio.sleep(PAUSE)
                continue
            if away:
                log.info("bars_back", market_id=self.market_id)
                away = False
            for _, entries in told or []:
                last = entries[-1][0]
                for _, fields in entries:
                    symbol, *row = json.loads(fields[b"bar"])
                    heard(symbol, tuple(row))

    async def _newest(self) -> Any:
        """Id of the bar that was told last: from it on, none is missed between two questions."""
        told: Any = await self.client.xrevrange(self.stream, count=1)
        return told[0][0] if told else "0"

    async def close(self) -> None:
        """Close the connection."""
        await self.client.aclose()


def bars_of(market_id: int) -> str:
    """Name the Redis stream of a market's bars."""
    return f"traderagent.bars.v1.{market_id}"
