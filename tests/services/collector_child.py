"""A collector as a process of its own, on the clock of a simulated exchange: to be killed.

Takes the data directory, the symbols and the addresses by market id, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import aiohttp

from services.market_data.collecting import CollectorSettings
from services.market_data.collector import Collector
from services.market_data.feed import Feed
from services.market_data.markets import BY_ID
from services.market_data.service import CollectorService

ASKED_EVERY = 0.01  # seconds


class ExchangeClock:
    """The time that the exchange's own clock shows."""

    def __init__(self, address):
        self.address, self.now = address, 0

    def __call__(self):
        return self.now

    async def look(self, session):
        async with session.get(f"{self.address}/api/v3/time") as answer:
            self.now = (await answer.json())["serverTime"]

    async def follow(self, session):
        while True:
            await self.look(session)
            await asyncio.sleep(ASKED_EVERY)


async def main(data_dir, symbols, addresses):
    markets = {str(BY_ID[int(number)]): symbols for number in addresses}
    settings = CollectorSettings.model_validate({"markets": markets, "data_dir": data_dir, "history_days": 1})
    clock = ExchangeClock(addresses["1"])
    async with aiohttp.ClientSession() as session:
        await clock.look(session)
        feeds = [Feed(BY_ID[int(number)], clock, address) for number, address in addresses.items()]
        collector = Collector(settings, feeds, clock, save_minutes=2)
        service = CollectorService(collector, sleep=lambda _: asyncio.sleep(ASKED_EVERY))
        await asyncio.gather(clock.follow(session), service.run())


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    asyncio.run(main(Path(given["data_dir"]), given["symbols"], given["addresses"]))
