"""Reads a database that may be away: a pool that is made when it answers, and one error where it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from bot.ports import Unreachable
from services.storage.store import AWAY

SECONDS = 4.0  # for a connection, and for an answer
CONNECTIONS = 6


class ReadPool:
    """Connections for whoever reads and does not wait: what is away raises Unreachable at once."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._pool: Any = None
        self._making = asyncio.Lock()

    async def fetch(self, query: str, *values: Any) -> list[Any]:
        """Rows of a query; raises Unreachable."""
        async with self.connection() as connection:
            return list(await connection.fetch(query, *values, timeout=SECONDS))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend a connection; raises Unreachable where there is none, or where it is lost."""
        try:
            async with (await self._ready()).acquire(timeout=SECONDS) as connection:
                yield connection
        except (*AWAY, TimeoutError, asyncpg.InvalidCatalogNameError, asyncpg.InvalidPasswordError) as error:
            raise Unreachable(f"the database does not answer ({type(error).__name__})") from None

    acquire = connection  # as a pool of asyncpg has it, so that stores can read by this one

    async def fetchrow(self, query: str, *values: Any) -> Any:
        """First row of a query, or None; raises Unreachable."""
        return next(iter(await self.fetch(query, *values)), None)

    async def fetchval(self, query: str, *values: Any) -> Any:
        """First value of the first row, or None; raises Unreachable."""
        row = await self.fetchrow(query, *values)
        return None if row is None else row[0]

    async def execute(self, query: str, *values: Any) -> str:
        """Run a query; what Postgres says of it, such as INSERT 0 1. Raises Unreachable."""
        async with self.connection() as connection:
            return str(await connection.execute(query, *values, timeout=SECONDS))

    async def _ready(self) -> Any:
        async with self._making:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self.dsn, min_size=0, max_size=CONNECTIONS, timeout=SECONDS, command_timeout=SECONDS
                )
            return self._pool

    async def close(self) -> None:
        """Let the connections go."""
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(SECONDS):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()
