"""Where bots remember and where they tell: one Postgres and one Redis of the data directory, or yours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from bot.ports import Bus, Store
from services.messaging.bus import RedisBus
from services.messaging.embedded import EmbeddedRedis
from services.messaging.silent_bus import SilentBus
from services.runtime.config import EMBEDDED, NONE
from services.storage.embedded import EmbeddedPostgres, former_database, put_aside, shared_by_all
from services.storage.instance_lock import InstanceLock
from services.storage.move import move
from services.storage.schema import bots_in, migrate
from services.storage.store import PostgresStore, reach

log = structlog.get_logger()


@dataclass(frozen=True)
class Backing:
    """What a bot leans on, and where other processes find it."""

    store: PostgresStore
    bus: Bus
    lock: InstanceLock
    database: str
    redis: str | None


@asynccontextmanager
async def embedded(directory: Path) -> AsyncIterator[str]:
    """Start, or join, the Postgres of a directory, and start it again when it dies; yields its DSN."""
    async with AsyncExitStack() as stack:
        postgres = EmbeddedPostgres(directory)
        dsn = await postgres.start()
        stack.push_async_callback(postgres.stop)
        keeping = asyncio.create_task(postgres.keep())
        stack.callback(keeping.cancel)
        yield dsn


@asynccontextmanager
async def database(data_dir: Path, name: str, address: str = EMBEDDED) -> AsyncIterator[str]:
    """Start, or join, the database that holds the rows of the bot `name`; yields its DSN.

    Raises Misconfigured for one of the user's that cannot be used.
    """
    if address != EMBEDDED:
        await reach(address)
        yield address
        return
    former = former_database(data_dir, name)
    async with embedded(former.parent if former.is_dir() else shared_by_all(data_dir)) as dsn:
        yield dsn


async def bots_kept(data_dir: Path) -> list[str]:
    """Names of the bots that have rows in an embedded database of the data directory."""
    names = {path.parent.name for path in (data_dir / "bots").glob("*/postgres")}
    if shared_by_all(data_dir).is_dir():
        async with embedded(shared_by_all(data_dir)) as dsn:
            names.update(await bots_in(dsn))
    return sorted(names)


@asynccontextmanager
async def backing(
    name: str,
    data_dir: Path,
    address: str = EMBEDDED,
    bus: str = EMBEDDED,
    begin: Callable[[str], None] = lambda _stage: None,
) -> AsyncIterator[Backing]:
    """Start, or join, what the bot `name` needs; the last to use it ends it. `begin` hears of each stage.

    Raises Misconfigured, with nothing disturbed, where another process is this bot already.
    """
    async with AsyncExitStack() as stack:
        begin("database")
        if address == EMBEDDED:
            dsn = await stack.enter_async_context(embedded(shared_by_all(data_dir)))
        else:
            dsn = await stack.enter_async_context(database(data_dir, name, address))
        lock = await stack.enter_async_context(InstanceLock.held(dsn, name))
        if address == EMBEDDED and former_database(data_dir, name).is_dir():
            await _move_in(data_dir, name, dsn)
        store = await PostgresStore.open(dsn, name)
        stack.push_async_callback(store.close)
        if bus == NONE:
            yield Backing(store, SilentBus(), lock, dsn, None)
            return
        begin("bus")
        url = bus
        if bus == EMBEDDED:
            await EmbeddedRedis(data_dir / "bots" / name).stop()  # of a bot that was killed before bots shared one
            redis = EmbeddedRedis(shared_by_all(data_dir))
            url = await redis.start()
            stack.push_async_callback(redis.stop)
        yield Backing(store, await stack.enter_async_context(_bus(url, name)), lock, dsn, url)


@asynccontextmanager
async def joined(database: str, redis: str | None, name: str) -> AsyncIterator[tuple[Store, Bus]]:
    """Join the database and the bus that run for the bot `name`, from another of its processes."""
    async with AsyncExitStack() as stack:
        store = await PostgresStore.join(database, name)
        stack.push_async_callback(store.close)
        yield store, SilentBus() if redis is None else await stack.enter_async_context(_bus(redis, name))


@asynccontextmanager
async def _bus(url: str, name: str) -> AsyncIterator[RedisBus]:
    """Tell over the Redis at `url` what the bot `name` does."""
    bus = RedisBus(url, name)
    bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


async def _move_in(data_dir: Path, name: str, dsn: str) -> None:
    """Move the rows of the bot's former database to `dsn`, whose lock of the bot is held, and set the former aside."""
    former = former_database(data_dir, name)
    postgres = EmbeddedPostgres(former.parent)
    old, moved = await postgres.start(), False
    try:
        async with InstanceLock.held(old, name):
            await migrate(old, name)
            await migrate(dsn, name)
            rows = await move(old, dsn, name, data_dir)
            moved = True
    finally:
        await postgres.stop(for_all=moved)
    kept = put_aside(former)
    log.info("database_moved", bot=name, **rows, kept=str(kept), remedy="`traderagent purge` deletes what is kept")
