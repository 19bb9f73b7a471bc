"""Four markets of two simulated exchanges over the same hours, for tests of what collects them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import numpy as np
import structlog

from bot.candles import COLUMNS
from coordinator.config import SimulationRules
from services.market_data.collecting import CollectorSettings
from services.market_data.collector import Collector
from services.market_data.feed import Feed
from services.market_data.markets import BY_ID
from services.market_data.service import CollectorService
from services.market_data.store import CandleStore, SeriesName
from services.simulated_binance.server import BinanceServer
from services.simulated_bybit.exchange import Exchange, exchange_settings
from services.simulated_bybit.records import Key
from services.simulated_bybit.server import VenueServer
from services.simulated_market.source import MarketSource
from services.simulated_market.told import BarFaults, BarTeller
from tests.conftest import START, instrument, walk

MINUTE = 60_000
FAULTS = {"drop": 0.03, "duplicate": 0.05, "late": 0.05, "unfinished": 0.03}


@dataclass
class House:
    """The servers by market id, their addresses, and the candles that they play."""

    servers: dict
    addresses: dict
    truth: dict  # by market id, then symbol
    now: int = START

    async def minute(self):
        """Close one minute in every market."""
        for number, server in self.servers.items():
            if number in (1, 2):
                await server.advance()
            else:
                while await server.advance():
                    pass
        self.now += MINUTE

    @property
    def told(self):
        """Bars that were sent so far, by market id."""
        return {
            number: server.sent if number in (1, 2) else server.told_bars for number, server in self.servers.items()
        }


def market_of(number, symbols, minutes):
    """Instruments and candles of one market; each symbol differs a little from market to market."""
    market = BY_ID[number].market
    of = {one: instrument(market=market).model_copy(update={"symbol": one}) for one in symbols}
    candles = {}
    for at, symbol in enumerate(symbols):
        start = 50_000.0 / (at + 1)
        made = walk(minutes, seed=at, start=start)
        shifted = {name: np.round(getattr(made, name) + 0.1 * number, 10) for name in ("open", "high", "low", "close")}
        volume = np.round(made.volume + number, 3)
        candles[symbol] = type(made)(made.ts, *shifted.values(), volume, made.bar_ms)
    return of, candles


@asynccontextmanager
async def house_of(symbols, minutes, numbers=(1, 2, 3, 4), faults=None):
    """Start the simulated exchanges; `faults`: of the bars that they tell."""
    servers, addresses, truth = {}, {}, {}
    for number in numbers:
        of, candles = market_of(number, symbols, minutes)
        teller = BarTeller(BarFaults(seed=number, **(faults or {})))
        if BY_ID[number].exchange == "binance":
            server = BinanceServer(MarketSource(of, candles), BY_ID[number].market, teller)
        else:
            settings = exchange_settings(SimulationRules())
            server = VenueServer(Exchange(of, candles, 1e6, settings), [Key("k", "s")], teller=teller)
        servers[number], truth[number] = server, candles
        addresses[number] = f"http://127.0.0.1:{await server.start()}"
    try:
        yield House(servers, addresses, truth)
    finally:
        for server in servers.values():
            await server.stop()


async def until(what, patience=20.0):
    """Wait for a condition as long as the loop has something to do; fails after `patience` seconds."""
    deadline = asyncio.get_running_loop().time() + patience
    while not what():
        assert asyncio.get_running_loop().time() < deadline, "waited in vain"
        await asyncio.sleep(0.001)


def rows_of(candles):
    """Candles as rows, such as the store and a feed have them."""
    return [tuple(row) for row in zip(*(getattr(candles, name).tolist() for name in COLUMNS), strict=True)]


def subscriptions(house, number):
    """How many streams of one market are listened to."""
    return sum(len(one.streams if number in (1, 2) else one.topics) for one in listeners(house, number))


def listeners(house, number):
    """The sockets of one market."""
    server = house.servers[number]
    return server.subscribers if number in (1, 2) else server.listeners


class Collection:
    """A collector of a house's markets, driven minute by minute by the market's own clock."""

    def __init__(self, house, data_dir, symbols, save_minutes=15, store=None, **settings):
        self.house, self.symbols, self.published = house, symbols, []
        names = {number: str(BY_ID[number]) for number in house.servers}
        wanted = {"markets": dict.fromkeys(names.values(), symbols), "data_dir": data_dir, **settings}
        made = CollectorSettings.model_validate(wanted)
        feeds = [Feed(BY_ID[number], self.clock, house.addresses[number]) for number in house.servers]
        self.feeds = {feed.market.id: feed for feed in feeds}
        self.collector = Collector(made, feeds, self.clock, self.published.append, save_minutes, store)
        self.service = CollectorService(self.collector, sleep=lambda _: asyncio.sleep(0))
        self.lines, self.unheard = [], {}

    def clock(self):
        return self.house.now

    async def __aenter__(self):
        await asyncio.gather(*(self.service.learn(one) for one in self.collector.markets.values()))
        self.lines = [asyncio.create_task(self.service.listen(one)) for one in self.collector.markets.values()]
        for number in self.house.servers:
            await self.subscribed(number)
        return self

    async def subscribed(self, number):
        """Wait until a market is listened to; what was told before and not heard is not waited for."""
        market = self.collector.markets[number]
        traded = len(market.traded) + len(market.trades)
        await until(lambda: subscriptions(self.house, number) == traded)
        self.unheard[number] = self.house.told[number] - self.feeds[number].heard

    async def drop(self, number):
        """Break the lines of a market, and wait until it is listened to again."""
        broken = list(listeners(self.house, number))
        self.house.servers[number].drop()
        await until(lambda: not set(broken) & set(listeners(self.house, number)))
        await self.subscribed(number)

    async def play(self, minutes=1):
        """Close minutes; each is heard, and then looked at."""
        for _ in range(minutes):
            await self.house.minute()
            await until(lambda: all(self.heard(number) for number in self.house.servers))
            await self.collector.tick()

    def heard(self, number):
        return self.feeds[number].heard + self.unheard[number] == self.house.told[number]

    async def settle(self):
        """Let every minute that closed become due, and be asked for."""
        for _ in range(4):
            self.house.now += 15_000 if self.house.now % MINUTE == 0 else 11_000
            await self.collector.tick()
        self.house.now = self.house.now // MINUTE * MINUTE

    async def __aexit__(self, *_):
        self.collector.close()
        await self.vanish()

    async def vanish(self):
        """End without a word, as a killed process does; the files are left as they are."""
        for one in self.lines:
            one.cancel()
        await asyncio.gather(*self.lines, return_exceptions=True)
        for feed in self.feeds.values():
            await feed.close()


def stored(data_dir, number, symbol):
    """The canonical minutes of the store, as rows."""
    market = BY_ID[number]
    return rows_of(CandleStore(data_dir).read(SeriesName(market.exchange, str(market.market), symbol)))


@contextmanager
def logged():
    """Every log line of a block, however a test before has configured them."""
    before = structlog.get_config()
    structlog.reset_defaults()
    try:
        with structlog.testing.capture_logs() as lines:
            yield lines
    finally:
        structlog.configure(**before)


def count(lines, event):
    """How many lines tell of an event."""
    return sum(one["event"] == event for one in lines)
