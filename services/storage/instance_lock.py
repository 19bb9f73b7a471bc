"""One process a bot: whoever runs it, or restores it, holds a lock of its database for as long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import asyncpg
import structlog

from bot.errors import Misconfigured
from services.storage.schema import MIGRATING, lock_number
from services.storage.store import waiting

log = structlog.get_logger()

# Nobody becomes a bot while another process changes the tables.
LOCK = "SELECT pg_advisory_xact_lock_shared($1), pg_try_advisory_lock($2)"

PATIENCE = 5.0  # seconds: a process that was killed a moment ago may still have its lock
RETRY = 0.1


class InstanceLock:
    """The right to be this bot. A lock of the session: it ends with the process, however that ends."""

    def __init__(self, dsn: str, bot: str) -> None:
        self.dsn, self.bot = dsn, bot
        self._lost = asyncio.Event()
        self._session: asyncpg.Connection | None = None

    @classmethod
    @asynccontextmanager
    async def held(cls, dsn: str, bot: str) -> AsyncIterator[Self]:
        """Hold the claim; raises Misconfigured while somebody else does."""
        lock = cls(dsn, bot)
        await lock.take()
        try:
            yield lock
        finally:
            if lock._session is not None:
                await lock._session.close()

    @waiting
    async def take(self) -> None:
        """Connect and take the lock."""
        session = await asyncpg.connect(self.dsn)
        try:
            await self._lock(session)
        except BaseException:  # a session that is left open may get the lock yet
            session.terminate()
            raise
        session.add_termination_listener(lambda _: self._lost.set())
        self._session = session
        self._lost.clear()

    async def _lock(self, session: asyncpg.Connection) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not await session.fetchval(LOCK, MIGRATING, lock_number(self.bot), column=1):
            if asyncio.get_running_loop().time() > deadline:
                raise Misconfigured(
                    f"bot {self.bot!r} already runs on this database; stop it with `traderagent ctl --bot {self.bot} "
                    "stop`, or give this one another bot.name and account."
                )
            await asyncio.sleep(RETRY)

    async def keep(self) -> None:
        """Take it again whenever the database has dropped it; raises Misconfigured when another was faster."""
        while True:
            await self._lost.wait()
            log.warning("claim_lost", bot=self.bot, remedy="taking it again when the database answers")
            await self.take()
