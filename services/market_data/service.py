"""Runs a collector: listens, looks every second, and asks every hour what the venues list. Decides nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from bot.errors import Misconfigured
from services.market_data.collected import CollectedMarket
from services.market_data.collector import Collector
from services.market_data.feed import Feed, FeedLost, FeedUnreachable, NotTraded
from services.market_data.store import StoreUnreachable

log = structlog.get_logger()

TICK_SECONDS: Final = 1.0
REFRESH_SECONDS: Final = 3600.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0  # seconds, before a lost stream is listened to again
STEADY_SECONDS: Final = 60.0  # after which a stream counts as one that works


def machine_time() -> int:
    """Time of the machine, ms."""
    return int(time.time() * 1000)


@dataclass
class VenueClock:
    """The time of a venue by this machine's clock, ms."""

    machine: Callable[[], int] = machine_time
    ahead_ms: int = 0  # of this machine's clock

    def __call__(self) -> int:
        """Read it."""
        return self.machine() - self.ahead_ms

    async def measure(self, feed: Feed) -> None:
        """Measure how far the machine's clock is ahead, and allow for it from now on. Raises FeedUnreachable."""
        before = self.machine()
        there = await feed.venue_time()
        self.ahead_ms = round((before + self.machine()) / 2) - there


class CollectorService:
    """The loops around a collector. `sleep` takes seconds."""

    def __init__(self, collector: Collector, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self.collector, self._sleep = collector, sleep
        self._lines: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Collect, for ever. Raises Misconfigured for a symbol that a venue does not know."""
        markets = list(self.collector.markets.values())
        await asyncio.gather(*(self.learn(one) for one in markets))
        loops = [asyncio.create_task(self._keep())]
        loops += [
            asyncio.create_task(loop(one)) for one in markets for loop in (self.listen, self._fill, self._refresh)
        ]
        try:
            await asyncio.gather(*loops)
        finally:
            for one in [*loops, *self._lines.values()]:
                one.cancel()
            await asyncio.gather(*loops, *self._lines.values(), return_exceptions=True)

    async def learn(self, market: CollectedMarket) -> bool:
        """Learn what a market lists and its clock; False when it does not answer, which is told once."""
        before = market.traded, list(market.trades)
        try:
            if isinstance(market.feed.clock, VenueClock):
                await market.feed.clock.measure(market.feed)
            await self.collector.refresh(market)
            await self.collector.refresh_funding(market)
        except (FeedUnreachable, NotTraded) as error:
            market.answered(str(error))
            return False
        except StoreUnreachable as error:
            self.collector.store_fails(error)
            return False
        market.answered()
        line = self._lines.get(market.market.id)
        if line is not None and (market.traded, list(market.trades)) != before:
            line.cancel()  # and listen to what is traded now
        return True

    async def listen(self, market: CollectedMarket) -> None:
        """Listen to a market, for ever; a stream that was lost is listened to again."""
        pause = FIRST_PAUSE
        while True:
            if not market.traded:
                await self._sleep(LONGEST_PAUSE)
                await self.learn(market)
                continue
            began = time.monotonic()
            hear = (self.collector.hear, list(market.trades), self.collector.trades.hear)
            line = asyncio.create_task(market.feed.listen(market.traded, *hear))
            self.collector.trades.listened(market)
            self._lines[market.market.id], market.listening = line, True
            try:
                await line
            except FeedLost as lost:
                log.warning("stream_lost", market=str(market.market), reason=str(lost))
            except asyncio.CancelledError:
                if not line.cancelled() or _cancelled():
                    line.cancel()
                    raise
            finally:
                market.listening = False
            pause = FIRST_PAUSE if time.monotonic() - began > STEADY_SECONDS else min(pause * 2, LONGEST_PAUSE)
            await self._sleep(pause)

    async def _keep(self) -> None:
        while True:
            self.collector.look()
            self.collector.save()
            await self._sleep(TICK_SECONDS)

    async def _fill(self, market: CollectedMarket) -> None:
        """Ask for what is missing; a market that does not answer keeps no other waiting."""
        while True:
            await self.collector.fill(market)
            await self._sleep(TICK_SECONDS)

    async def _refresh(self, market: CollectedMarket) -> None:
        while True:
            await self._sleep(REFRESH_SECONDS)
            try:
                await self.learn(market)
            except Misconfigured as error:  # a rule that nothing fits at this hour
                log.warning("nothing_chosen", market=str(market.market), reason=str(error))


def _cancelled() -> bool:
    """Whether the task that asks is being ended itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
