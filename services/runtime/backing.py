"""Where a bot remembers and where it tells: its own Postgres and Redis, or yours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.events import BotEvent
from bot.ports import Bus
from services.messaging.bus import RedisBus
from services.messaging.embedded import EmbeddedRedis
from services.runtime.config import EMBEDDED, NONE
from services.storage.embedded import EmbeddedPostgres
from services.storage.instance_lock import InstanceLock
from services.storage.store import PostgresStore, reach


class SilentBus:
    """Tells nobody."""

    def publish(self, event: BotEvent) -> None:
        """Drop it."""


@dataclass(frozen=True)
class Backing:
    """What a bot leans on, and where other processes find it."""

    store: PostgresStore
    bus: Bus
    lock: InstanceLock
    database: str
    redis: str | None


@asynccontextmanager
async def database(directory: Path, address: str = EMBEDDED) -> AsyncIterator[str]:
    """Start, or join, the database; yields its DSN. Raises Misconfigured for one of the user's that cannot be used."""
    if address != EMBEDDED:
        await reach(address)
        yield address
        return
    async with AsyncExitStack() as stack:
        postgres = EmbeddedPostgres(directory)
        dsn = await postgres.start()
        stack.push_async_callback(postgres.stop)
        keeping = asyncio.create_task(postgres.keep())
        stack.callback(keeping.cancel)
        yield dsn


@asynccontextmanager
async def backing(
    name: str,
    directory: Path,
    address: str = EMBEDDED,
    bus: str = EMBEDDED,
    begin: Callable[[str], None] = lambda _stage: None,
) -> AsyncIterator[Backing]:
    """Start, or join, what the bot `name` needs; what was started here ends here. `begin` hears of each stage.

    Raises Misconfigured, with nothing disturbed, where another process is this bot already.
    """
    async with AsyncExitStack() as stack:
        begin("database")
        dsn = await stack.enter_async_context(database(directory, address))
        lock = await stack.enter_async_context(InstanceLock.held(dsn, name))
        store = await PostgresStore.open(dsn, name)
        stack.push_async_callback(store.close)
        if bus == NONE:
            yield Backing(store, SilentBus(), lock, dsn, None)
            return
        begin("bus")
        url = bus
        if bus == EMBEDDED:
            redis = EmbeddedRedis(directory)
            url = await redis.start()
            stack.push_async_callback(redis.stop)
        teller = RedisBus(url, name)
        teller.start()
        stack.push_async_callback(teller.stop)
        yield Backing(store, teller, lock, dsn, url)
