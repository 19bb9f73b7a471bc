"""Builds the collector of a config file: feeds, store, who is told, and what it answers on this machine."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog

from bot.errors import Misconfigured
from bot.times import MINUTE
from bot.validation import validated
from coordinator.config_file import read_values
from services.logs import configure
from services.market_data.canonical import Receipt
from services.market_data.clickhouse_store import ClickHouseStore, is_clickhouse
from services.market_data.collecting import PARQUET, CollectorSettings
from services.market_data.collector import Collector
from services.market_data.feed import Feed
from services.market_data.service import CollectorService, VenueClock, machine_time
from services.market_data.serving import MinuteServer
from services.messaging.bars import BarPublisher
from services.messaging.embedded import EmbeddedRedis
from services.runtime.config import EMBEDDED, NONE
from services.settings import CANDLES, REDIS, Settings
from services.storage.embedded import shared_by_all

log = structlog.get_logger()

FRESH_MS = 5 * MINUTE  # from a minute's opening to its receipt, for bots to be told of it


def load_collector(path: Path) -> CollectorSettings:
    """Read a config. Raises Misconfigured."""
    values = read_values(path)
    named = {"redis": os.environ.get(REDIS), "store": os.environ.get(CANDLES)}
    given = {name: value for name, value in named.items() if value}
    settings: CollectorSettings = validated(CollectorSettings, {"data_dir": Settings().data_dir, **given, **values}, "")
    if settings.redis not in (NONE, EMBEDDED) and not settings.redis.startswith(("redis://", "rediss://", "unix://")):
        raise Misconfigured(
            f"redis is {settings.redis!r}; give none, embedded, or an address such as redis://host:6379."
        )
    if settings.store != PARQUET and not is_clickhouse(settings.store):  # which is not shown: it may hold a password
        raise Misconfigured(
            "store is neither parquet nor an address such as clickhouse://user:password@host:8123/name."
        )
    return settings


@asynccontextmanager
async def _telling(settings: CollectorSettings) -> AsyncIterator[Callable[[Receipt], None]]:
    """Yield what tells bots of a closed minute."""
    if settings.redis == NONE:
        yield lambda _: None
        return
    async with AsyncExitStack() as stack:
        url = settings.redis
        if url == EMBEDDED:
            redis = EmbeddedRedis(shared_by_all(settings.data_dir))
            url = await redis.start()
            stack.push_async_callback(redis.stop)
        publisher = BarPublisher(url)
        publisher.start()
        stack.push_async_callback(publisher.stop)

        def tell(one: Receipt) -> None:
            if one.received_ms - one.ts <= FRESH_MS:  # nobody waits for an older one
                publisher.publish(one.market_id, one.symbol, (one.ts, *one.values))

        yield tell


@asynccontextmanager
async def build_collector(settings: CollectorSettings) -> AsyncIterator[CollectorService]:
    """Build a collector; what it holds is put into the store when the context ends. Raises Misconfigured."""
    addresses = settings.addresses
    async with _telling(settings) as tell, AsyncExitStack() as stack:
        clocks = {market: VenueClock() for market in settings.wanted()}
        feeds = [Feed(market, clock, addresses.get(str(market))) for market, clock in clocks.items()]
        for feed in feeds:
            stack.push_async_callback(feed.close)
        store = None
        if settings.store != PARQUET:
            store = ClickHouseStore(settings.store, machine_time)
            stack.callback(store.close)
        collector = Collector(settings, feeds, machine_time, tell, store=store)
        stack.callback(collector.close)
        server = MinuteServer(collector, settings.port)
        stack.push_async_callback(server.stop)
        address = await server.start()
        log.info("collecting", markets=[str(one) for one in clocks], data_dir=str(settings.data_dir), address=address)
        yield CollectorService(collector)


async def run_collector(path: Path) -> None:
    """Collect by a config file until SIGTERM or Ctrl-C. Raises Misconfigured before anything is asked."""
    configure([])
    settings = load_collector(path)
    async with build_collector(settings) as service:
        running = asyncio.ensure_future(service.run())
        if os.name == "posix":
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        try:
            await running
        except asyncio.CancelledError:
            log.info("ended", reason="told to")
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
