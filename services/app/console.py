"""Builds the console: its rows, bots, events and candles, on the database and the bus of a data directory or yours."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from bot.errors import Misconfigured
from services.app.backing import embedded
from services.app.console_fleet import ConsoleFleet
from services.app.journal import Journal, send_for_ever, settings_of, told_of_end
from services.app.replays import ManualReplays
from services.app.research_process import PlayedReports, ResearchProcess
from services.app.research_rows import ResearchTables
from services.app.twins import Twins
from services.app.watched import Bots, VenueCandles
from services.command_outcomes import Outcomes
from services.keys.sealed_secrets import SealedSecrets, SecretKind
from services.messaging.embedded import EmbeddedRedis
from services.messaging.event_reader import EventReader
from services.runtime.config import EMBEDDED, NONE
from services.settings import Settings
from services.storage.access_rows import AccessRows
from services.storage.embedded import shared_by_all
from services.storage.history import History
from services.storage.journal import JournalStore
from services.storage.read_pool import ReadPool
from services.storage.schema import migrate
from services.storage.signal_rows import SignalRows
from services.storage.store import reach
from services.web.access import Access
from services.web.application import application
from services.web.context import Console
from services.web.guard import LOOPBACK
from services.web.ports import Sources
from services.web.server import opened, served
from services.web.watch import Watcher

REPORT_SECONDS = 300.0  # that a report may take
DATABASE, REDIS = "TRADERAGENT_WEB_DATABASE", "TRADERAGENT_WEB_REDIS"


@dataclass(frozen=True)
class ConsoleOptions:
    """Where a console listens, and what it reads; `database` and `redis` as a bot's config has them."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 0
    names: tuple[str, ...] = ()  # by which it is called besides
    origin: str | None = None  # of a proxy before it, such as https://console.example
    database: str = field(default_factory=lambda: os.environ.get(DATABASE) or Settings().database)
    redis: str = field(default_factory=lambda: os.environ.get(REDIS) or Settings().redis)

    def __post_init__(self) -> None:
        """Refuse an origin that is none."""
        if self.origin is not None:
            parts = urlsplit(self.origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
                raise Misconfigured(f"origin is {self.origin[:200]!r}; give one such as https://console.example.")


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
        access = Access(AccessRows(pool), SealedSecrets(options.data_dir, SecretKind.TOTP), _now)
        answers = ResearchProcess(options.data_dir)
        stack.push_async_callback(answers.close)
        folder = options.data_dir / "console" / "reports"
        reports = PlayedReports(folder, ResearchProcess(options.data_dir, REPORT_SECONDS))
        stack.push_async_callback(reports.close)
        research = ResearchTables(pool, options.data_dir)
        fleet = ConsoleFleet(options.data_dir, dsn, options.database)
        twins = Twins(options.data_dir, dsn)
        stack.push_async_callback(twins.close)
        history, told = History(pool), settings_of(options.data_dir)
        store = JournalStore(pool, told.targets())
        replays = ManualReplays(pool, store, options.data_dir)
        stack.push_async_callback(replays.close)
        sources = Sources(
            *(history, access.rows, bots, candles, reader, research, answers, reports, fleet, twins, replays),
            journal=Journal(store, history, options.data_dir),
            signals=SignalRows(pool),
            signal_keys=SealedSecrets(options.data_dir, SecretKind.SIGNALS),
        )
        sending = asyncio.create_task(send_for_ever(store, history, told))
        sending.add_done_callback(told_of_end)
        stack.callback(sending.cancel)
        watcher = Watcher(sources)
        secure = (options.origin or "").startswith("https://")
        outcomes = Outcomes(lambda: twins, time.monotonic)
        stack.push_async_callback(outcomes.close)
        built = Console(sources, access, watcher, outcomes, metadata.version("traderagent"), secure)
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
