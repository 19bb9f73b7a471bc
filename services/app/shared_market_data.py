"""Lets bots of one machine share its collector: closed bars over Redis, and candles from its store.

The exchange stays the fallback for both. Candles are the collector's where it has every minute asked for, else the
exchange's. A closed bar is handed on once, by whoever tells it first: the collector, or the exchange's own stream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp
import structlog

from bot.ports import Closed
from bot.record import new_records
from bot.rollup import BAR
from services.market_data.address import collector_address
from services.market_data.markets import MARKETS
from services.messaging.bars import BarListener

if TYPE_CHECKING:
    from bot.market import Market
    from bot.ports import Event, Gateway, Sink

log = structlog.get_logger()

PATIENCE: Final = 3.0  # seconds for an answer of the collector
REMEMBERED: Final = 10  # bars of a symbol, told by one and still to come from the other


class SharedMarketData:
    """A gateway whose candles and closed bars come from the collector too; the rest is the gateway's own."""

    def __init__(self, gateway: Gateway, exchange: str, market: Market, data_dir: Path, redis: str | None) -> None:
        self.gateway, self.data_dir = gateway, data_dir
        self.market_id = next(one.id for one in MARKETS if (one.exchange, one.market) == (exchange, market))
        self.bars = None if redis is None else BarListener(redis, self.market_id)
        self.told = {"collector": 0, "exchange": 0}  # bars handed on, by who told them first
        self.answered = {"collector": 0, "exchange": 0}  # questions for candles, by who answered
        self._recent: dict[str, deque[int]] = {}

    def __getattr__(self, name: str) -> Any:
        """Whatever is not about bars is the gateway's."""
        return getattr(self.gateway, name)

    async def candles(self, symbol: str, since: int, until: int) -> Any:
        """Closed base candles that open in [since, until), BAR (n,), oldest first."""
        after = min(until, await self.gateway.newest(symbol))
        found = await self._collected(symbol, since, after) if since < after else None
        self.answered["exchange" if found is None else "collector"] += 1
        if found is None:
            return await self.gateway.candles(symbol, since, until)
        bars = new_records(BAR, len(found))
        for index, row in enumerate(found):
            bars[index] = tuple(row)
        return bars

    async def _collected(self, symbol: str, first: int, after: int) -> list[list[float]] | None:
        """What the collector has of [first, after); None unless it has all of it."""
        address = collector_address(self.data_dir)
        if address is None:
            return None
        asked = {"market_id": str(self.market_id), "symbol": symbol, "first": str(first), "after": str(after)}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session,
                session.get(f"{address}/minutes", params=asked) as answer,
            ):
                return await answer.json() if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            log.warning("collector_away", pair=symbol, error=type(error).__name__)
            return None

    async def listen(self, symbols: list[str], sink: Sink) -> None:
        """Tell `sink` what happens to these symbols, for ever; each closed bar once."""
        wanted = set(symbols)
        self._recent = {symbol: deque(maxlen=REMEMBERED) for symbol in symbols}

        def own(event: Event) -> None:
            if not isinstance(event, Closed) or self._first(event, "exchange"):
                sink(event)

        def collected(symbol: str, row: tuple[float, ...]) -> None:
            if symbol not in wanted:
                return
            ts, opened, high, low, close, volume = row
            bar = Closed(symbol, int(ts), opened, high, low, close, volume)
            recent = self._recent[symbol]
            # A minute that the collector had missed and asked for later is the bot's own to ask for.
            if (not recent or bar.ts > max(recent)) and self._first(bar, "collector"):
                sink(bar)

        listening = [self.gateway.listen(symbols, own)]
        if self.bars is not None:
            listening.append(self.bars.listen(collected))
        await asyncio.gather(*listening)

    def _first(self, bar: Closed, told_by: str) -> bool:
        """Whether nobody has told a bar yet."""
        recent = self._recent[bar.symbol]
        if bar.ts in recent:
            return False
        recent.append(bar.ts)
        self.told[told_by] += 1
        return True

    async def close(self) -> None:
        """Close every connection."""
        if self.bars is not None:
            await self.bars.close()
        await self.gateway.close()


def shared(gateway: Gateway, exchange: str, market: Market, data_dir: Path, redis: str | None) -> Gateway:
    """Let a gateway take bars and candles from the collector of a data directory as well."""
    return cast("Gateway", SharedMarketData(gateway, exchange, market, data_dir, redis))
