"""Sessions of searches and their trials in Postgres: rows come by COPY, and what is there is not played anew."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import asyncpg
import numpy as np

from bot.errors import TradingError
from search.chance import BLOCKS
from search.exploration import NOTHING, StoredRows
from search.score import SCORE
from services.storage.schema import lock_number, migrate
from services.storage.store import waiting

if TYPE_CHECKING:
    from search.session import Session

RUNNING, FINISHED, FAILED, CANCELLED = "running", "finished", "failed", "cancelled"
BEGIN = """
INSERT INTO sessions (session, kind, snapshot, code, document, status, created) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (session) DO UPDATE SET status = $6
"""
# A snapshot of several pairs names the candles of each.
LOOKED = """
SELECT count(*) FROM trials JOIN sessions USING (session)
WHERE string_to_array(snapshot, '-') && string_to_array($1, '-') AND session <> $2
"""
LISTED = """
SELECT s.session, kind, status, created, ended, document, result,
    (SELECT count(*) FROM trials t WHERE t.session = s.session) AS trials
FROM sessions s ORDER BY created DESC
"""
LOOKS = """
INSERT INTO looks (session, part, state) VALUES ($1, $2, $3)
ON CONFLICT (session, part) DO UPDATE SET state = excluded.state
"""


@dataclass(frozen=True)
class Listed:
    """A session as it is listed."""

    session: str
    kind: str
    status: str
    created: datetime
    ended: datetime | None
    document: dict[str, Any]
    result: dict[str, Any] | None
    trials: int


class TakenOver(TradingError):
    """The database was away, and another process has gone on with the session since."""


class TrialStore:
    """Sessions of searches, with their rows."""

    def __init__(self, pool: Any, dsn: str) -> None:
        self.pool, self._dsn = pool, dsn
        self._holder: Any = None  # the connection that holds the session whose rows it writes

    @classmethod
    async def open(cls, dsn: str) -> Self:
        """Bring the tables up to date and connect."""
        await migrate(dsn)
        return cls(await asyncpg.create_pool(dsn, min_size=1, max_size=2), dsn)

    async def close(self) -> None:
        """Let the connections go."""
        await self.pool.close()

    @asynccontextmanager
    async def held(self, session: str) -> AsyncIterator[None]:
        """Hold a session: nobody else writes its rows meanwhile. Waits for whoever holds it."""
        await self._take(session, "SELECT true FROM pg_advisory_lock($1)")
        try:
            yield
        finally:
            holder, self._holder = self._holder, None
            if holder is not None:
                holder.terminate()  # which lets it go at once, also where the database does not answer

    @waiting
    async def _take(self, session: str, lock: str = "SELECT pg_try_advisory_lock($1)") -> bool:
        """Take a session with a connection of its own; the lock ends with it, however that ends."""
        connection = await asyncpg.connect(self._dsn)
        try:
            taken = await connection.fetchval(lock, lock_number(f"Session {session}"))
        except BaseException:
            connection.terminate()
            raise
        if taken:
            self._holder = connection
        else:
            connection.terminate()
        return bool(taken)

    @waiting
    async def begin(self, session: Session) -> None:
        """Begin a session, or go on with it."""
        document = json.dumps(session.document)
        values = (session.name, session.kind, session.snapshot, session.code, document, RUNNING, datetime.now(UTC))
        await self.pool.execute(BEGIN, *values)

    @waiting
    async def finish(self, session: str, status: str, result: dict[str, Any]) -> None:
        """Keep how it ended, and what came of it."""
        query = "UPDATE sessions SET status = $2, result = $3, ended = $4 WHERE session = $1"
        await self.pool.execute(query, session, status, json.dumps(result), datetime.now(UTC))

    @waiting
    async def stored(self, session: str, part: int) -> StoredRows:
        """Read the rows of a window that are there."""
        query = "SELECT variant, score, blocks FROM trials WHERE session = $1 AND part = $2 ORDER BY variant"
        rows = await self.pool.fetch(query, session, part)
        if not rows:
            return NOTHING
        state = await self.pool.fetchval("SELECT state FROM looks WHERE session = $1 AND part = $2", session, part)
        scores = np.array([tuple(row["score"]) for row in rows], SCORE)
        blocks = np.frombuffer(b"".join(row["blocks"] for row in rows), np.float32)
        return StoredRows(
            np.array([row["variant"] for row in rows], np.int64), scores, blocks.reshape(len(rows), BLOCKS, 2), state
        )

    @waiting
    async def add(self, session: str, part: int, rows: StoredRows) -> None:
        """Keep more rows of a window, and what is known of chance since, or nothing.

        `held` has the session; raises TakenOver where another process has it by now.
        """
        columns = ("session", "part", "variant", "score", "blocks")
        blocks = np.ascontiguousarray(rows.blocks, np.float32)
        records = [
            (session, part, number, list(score), block.tobytes())
            for number, score, block in zip(rows.numbers.tolist(), rows.scores.tolist(), blocks, strict=True)
        ]
        if self._holder.is_closed() and not await self._take(session):
            raise TakenOver(f"session {session} is played by another process since the database was away.")
        async with self._holder.transaction():
            await self._holder.copy_records_to_table("trials", records=records, columns=columns)
            if rows.looks is not None:
                await self._holder.execute(LOOKS, session, part, rows.looks)

    @waiting
    async def looked(self, snapshot: str, session: str) -> int:
        """Count the trials of other sessions on the same candles, of one pair of several too."""
        return int(await self.pool.fetchval(LOOKED, snapshot, session))

    @waiting
    async def sessions(self) -> list[Listed]:
        """Read every session, newest first."""
        found = []
        for row in await self.pool.fetch(LISTED):
            result = None if row["result"] is None else json.loads(row["result"])
            found.append(Listed(**{**dict(row), "document": json.loads(row["document"]), "result": result}))
        return found

    @waiting
    async def purge(self, sessions: list[str]) -> None:
        """Forget sessions and their rows, all or none."""
        await self.pool.execute("DELETE FROM sessions WHERE session = ANY($1)", sessions)
