"""Builds the console: its rows, bots, events and candles, on the database and the bus of a data directory or yours."""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import numpy as np

from bot.errors import Misconfigured
from bot.market import Market
from bot.ports import Unreachable
from bot.rollup import BAR
from bot.times import MINUTE
from services.app.backing import embedded
from services.control.client import ask, control_file, file_of, venue_of
from services.exchanges.registry import factory_of
from services.messaging.embedded import EmbeddedRedis
from services.messaging.event_reader import EventReader
from services.runtime.config import EMBEDDED, NONE
from services.storage.access_rows import AccessRows
from services.storage.embedded import shared_by_all
from services.storage.history import History
from services.storage.read_pool import ReadPool
from services.storage.schema import migrate
from services.storage.store import reach
from services.web.access import Access
from services.web.application import application
from services.web.context import Console
from services.web.guard import LOOPBACK
from services.web.ports import Sources
from services.web.server import opened, served
from services.web.watch import Watcher

if TYPE_CHECKING:
    from bot.ports import Gateway
    from coordinator.bot_status import PairOrders

ASK_SECONDS = 3.0  # that a bot has to say how it stands
COMMAND_SECONDS = 120.0  # a shutdown waits for positions to close
THREADS = 16
REQUESTS = 5.0  # a second, of candles
MOST_BARS, MOST_PAIRS = 20_000, 40  # that are kept
DATABASE, REDIS = "TRADERAGENT_WEB_DATABASE", "TRADERAGENT_WEB_REDIS"


@dataclass(frozen=True)
class ConsoleOptions:
    """Where a console listens, and what it reads; `database` and `redis` as a bot's config has them."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 0
    names: tuple[str, ...] = ()  # by which it is called besides
    origin: str | None = None  # of a proxy before it, such as https://console.example
    database: str = field(default_factory=lambda: os.environ.get(DATABASE, EMBEDDED))
    redis: str = field(default_factory=lambda: os.environ.get(REDIS, EMBEDDED))

    def __post_init__(self) -> None:
        """Refuse an origin that is none."""
        if self.origin is not None:
            parts = urlsplit(self.origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
                raise Misconfigured(f"origin is {self.origin[:200]!r}; give one such as https://console.example.")


class Bots:
    """The control interfaces of a data directory's bots, asked in threads of their own."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._threads = ThreadPoolExecutor(THREADS, "bots")

    async def _asked(self, bot: str, path: str, said: dict[str, Any] | None, seconds: float) -> dict[str, Any]:
        def asking() -> dict[str, Any]:
            return ask(file_of(self.data_dir, bot), path, said, seconds)

        return await asyncio.get_running_loop().run_in_executor(self._threads, asking)

    async def status(self, bot: str) -> dict[str, Any]:
        """How it says that it stands."""
        return await self._asked(bot, "/status", None, ASK_SECONDS)

    async def orders(self, bot: str, pair: str) -> PairOrders:
        """What should be open for a pair, and what is."""
        return cast("PairOrders", await self._asked(bot, f"/orders?pair={pair}", None, ASK_SECONDS))

    async def command(self, bot: str, said: dict[str, Any]) -> str:
        """Tell it; what it has done, in words."""
        return str((await self._asked(bot, "/command", said, COMMAND_SECONDS)).get("done"))

    def close(self) -> None:
        """Wait for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class VenueCandles:
    """Minute bars of the venues where bots trade, by connections of the console's own: no bot is asked."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._gateways: dict[tuple[str | None, ...], Gateway] = {}
        self._bars: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._turns: dict[tuple[Any, ...], asyncio.Lock] = {}

    async def candles(self, bot: str, pair: str, until: int | None, count: int) -> Any:
        """The last bars that open before `until` (ms; the market's present without one), BAR (n,)."""
        venue = venue_of(control_file(self.data_dir, bot))
        if venue is None:
            raise Unreachable(f"bot {bot!r} does not run, and only a running one says where its candles are")
        gateway = self._gateway(tuple(venue.values()), venue)
        key = (*venue.values(), pair)
        async with self._turns.setdefault(key, asyncio.Lock()):
            end = await gateway.newest(pair) if until is None else until // MINUTE * MINUTE
            return await self._kept(gateway, key, pair, end - count * MINUTE, end)

    async def _kept(self, gateway: Gateway, key: tuple[Any, ...], pair: str, start: int, end: int) -> Any:
        """Bars of [start, end): those that are kept, and the missing ones before or after them."""
        kept = self._bars.pop(key, np.empty(0, BAR))
        if not len(kept) or end < kept["ts"][0] or start > kept["ts"][-1] + MINUTE:
            kept = await gateway.candles(pair, start, end)
        else:
            first, last = int(kept["ts"][0]), int(kept["ts"][-1]) + MINUTE
            before = await gateway.candles(pair, start, first) if start < first else kept[:0]
            after = await gateway.candles(pair, last, end) if end > last else kept[:0]
            kept = np.concatenate([before, kept, after])
        self._bars[key] = kept[-MOST_BARS:]
        while len(self._bars) > MOST_PAIRS:
            self._bars.popitem(last=False)
        return kept[(kept["ts"] >= start) & (kept["ts"] < end)]

    def _gateway(self, key: tuple[str | None, ...], venue: dict[str, str | None]) -> Gateway:
        if key not in self._gateways:
            environment = venue["environment"] or "live"
            self._gateways[key] = factory_of(venue["exchange"] or "")(
                key="", secret="", market=Market(venue["market"] or ""), rate=REQUESTS, address=venue["address"],
                environment="live" if environment == "venue" else environment,
            )  # fmt: skip
        return self._gateways[key]

    async def close(self) -> None:
        """Hang up."""
        for one in self._gateways.values():
            await one.close()


@dataclass(frozen=True)
class Running:
    """A console that serves: its address, and a link that signs in once."""

    address: str
    access: Access
    watcher: Watcher
    ended: asyncio.Task[None]

    async def link(self) -> str:
        """Make a link that signs in once, within a quarter of an hour."""
        return f"{self.address}/sign-in#link={await self.access.link()}"


@asynccontextmanager
async def console(options: ConsoleOptions) -> AsyncIterator[Running]:
    """Serve a console; what it leans on is started, or joined, and ends with the last that uses it.

    Raises Misconfigured for an address that is taken, or a database that cannot be used.
    """
    listening = opened(options.host, options.port)
    async with AsyncExitStack() as stack:
        stack.callback(listening.close)
        dsn, url = await _leant_on(stack, options)
        await migrate(dsn)
        pool = ReadPool(dsn)
        stack.push_async_callback(pool.close)
        bots, candles = Bots(options.data_dir), VenueCandles(options.data_dir)
        stack.callback(bots.close)
        stack.push_async_callback(candles.close)
        reader = None if url is None else EventReader(url)
        if reader is not None:
            stack.push_async_callback(reader.close)
        access = Access(AccessRows(pool), _now)
        sources = Sources(History(pool), access.rows, bots, candles, reader)
        watcher = Watcher(sources)
        secure = (options.origin or "").startswith("https://")
        built = Console(sources, access, watcher, metadata.version("traderagent"), secure)
        hosts = (*LOOPBACK, options.host, *options.names)
        task = await stack.enter_async_context(served(application(built, hosts, options.origin), listening))
        port = listening.getsockname()[1]
        host = f"[{options.host}]" if ":" in options.host else options.host
        yield Running(options.origin or f"http://{host}:{port}", access, watcher, task)


async def _leant_on(stack: AsyncExitStack, options: ConsoleOptions) -> tuple[str, str | None]:
    """Start or join database and bus; returns their addresses."""
    if options.database == EMBEDDED:
        dsn = await stack.enter_async_context(embedded(shared_by_all(options.data_dir)))
    else:
        dsn = options.database
        await reach(dsn)
    if options.redis == NONE:
        return dsn, None
    if options.redis != EMBEDDED:
        return dsn, options.redis
    redis = EmbeddedRedis(shared_by_all(options.data_dir))
    url = await redis.start()
    stack.push_async_callback(redis.stop)
    return dsn, url


def _now() -> int:
    """Wall clock, ms."""
    return int(time.time() * 1000)
