"""Saved strategies and the runs of bots in Postgres. A strategy is never changed: it is saved, cloned or deleted."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import asyncpg

from coordinator.run_state import OVER, RunEvent, RunState, begun_again, next_state
from coordinator.saved_strategy import SavedStrategy
from services.storage.schema import HELD, lock_number, migrate
from services.storage.store import waiting

SAVE = """
INSERT INTO strategies (content, name, strategy, document, cloned_from, created) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (content) DO NOTHING
"""
RUN = """
INSERT INTO strategy_runs (bot, content, environment, state, since, reason) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (bot) DO UPDATE SET content = $2, environment = $3, state = $4, since = $5, reason = $6
"""
PATIENCE_SECONDS = 2.0  # for what is told of a run: a bot neither waits for it nor ends by it


@dataclass(frozen=True)
class StoredStrategy:
    """A saved strategy as it is listed."""

    content: str
    name: str
    strategy: str
    document: dict[str, Any]
    cloned_from: str | None
    created: datetime


@dataclass(frozen=True)
class StoredRun:
    """The last run of a bot; one whose process is gone without a word has failed."""

    bot: str
    content: str
    environment: str
    state: RunState
    since: datetime
    reason: str | None


class StrategyStore:
    """Saved strategies, with the runs of bots."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    @classmethod
    async def open(cls, dsn: str) -> Self:
        """Bring the tables up to date and connect."""
        await migrate(dsn)
        return cls(await asyncpg.create_pool(dsn, min_size=1, max_size=2))

    async def close(self) -> None:
        """Let the connections go."""
        await self.pool.close()

    @waiting
    async def save(self, one: SavedStrategy, cloned_from: str | None = None) -> tuple[StoredStrategy, bool]:
        """Save a strategy; returns it as it is stored, and whether it is new."""
        known = await self._by_content(one.content)
        if known is not None:
            return known, False
        taken = await self.pool.fetchval("SELECT 1 FROM strategies WHERE name = $1", one.name)
        name = one.long_name if taken else one.name
        values = (one.content, name, one.strategy, json.dumps(one.document), cloned_from, datetime.now(UTC))
        done = await self.pool.execute(SAVE, *values)
        stored = await self._by_content(one.content)
        assert stored is not None
        return stored, str(done).endswith(" 1")

    async def _by_content(self, content: str) -> StoredStrategy | None:
        row = await self.pool.fetchrow("SELECT * FROM strategies WHERE content = $1", content)
        return None if row is None else _strategy(row)

    @waiting
    async def strategies(self) -> list[StoredStrategy]:
        """Read every strategy, newest first."""
        return [_strategy(row) for row in await self.pool.fetch("SELECT * FROM strategies ORDER BY created DESC, name")]

    @waiting
    async def delete(self, content: str) -> None:
        """Forget a strategy; its tests stay."""
        await self.pool.execute("DELETE FROM strategies WHERE content = $1", content)

    @waiting
    async def runs(self) -> list[StoredRun]:
        """Read the last run of every bot, by name."""
        held = {row["number"] for row in await self.pool.fetch(HELD)}
        found = []
        for row in await self.pool.fetch("SELECT * FROM strategy_runs ORDER BY bot"):
            state, reason = RunState(row["state"]), row["reason"]
            if state not in OVER and lock_number(row["bot"]) not in held:
                state, reason = RunState.FAILED, "its process ended without a word"
            found.append(StoredRun(row["bot"], row["content"], row["environment"], state, row["since"], reason))
        return found


def _strategy(row: Any) -> StoredStrategy:
    return StoredStrategy(**{**dict(row), "document": json.loads(row["document"])})


class RunRecorder:
    """Writes how far the run of a bot is, behind its back: a database that is away costs the bot nothing."""

    def __init__(self, pool: Any, what: tuple[str, str, str], state: RunState) -> None:
        """`what`: the bot, the content of its strategy, and the environment it trades in."""
        self.state = state
        self._pool, self._what = pool, what
        self._told: asyncio.Queue[tuple[RunState, str | None]] = asyncio.Queue()
        self._told.put_nowait((state, None))

    @classmethod
    @contextlib.asynccontextmanager
    async def recording(cls, dsn: str, bot: str, content: str, environment: str) -> AsyncIterator[Self]:
        """Record the run of a bot whose lock is held, from its start to its end, whichever that is."""
        pool = await asyncpg.create_pool(dsn, min_size=0, max_size=1)
        own = cls(pool, (bot, content, environment), begun_again(await _former(pool, bot)))
        writing = asyncio.create_task(own._write())
        try:
            yield own
        except BaseException as error:
            own.fail(str(error) or type(error).__name__)
            raise
        finally:
            own.end()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await own._told.join()
            writing.cancel()
            pool.terminate()

    def tell(self, event: RunEvent) -> None:
        """Hear what happened; it is written as soon as can be."""
        self._set(next_state(self.state, event))

    def fail(self, reason: str) -> None:
        """Hear that the run failed."""
        if self.state not in OVER:
            self._set(next_state(self.state, RunEvent.FAULT), reason)

    def end(self) -> None:
        """Hear that the run is over, if nobody has said so."""
        if self.state not in OVER:
            stopping = self.state if self.state is RunState.STOPPING else next_state(self.state, RunEvent.STOP)
            self._set(next_state(stopping, RunEvent.ENDED))

    def _set(self, state: RunState, reason: str | None = None) -> None:
        self.state = state
        self._told.put_nowait((state, reason))

    async def _write(self) -> None:
        while True:
            state, reason = await self._told.get()
            await self._put(state, reason)
            self._told.task_done()

    @waiting
    async def _put(self, state: RunState, reason: str | None) -> None:
        await self._pool.execute(RUN, *self._what, str(state), datetime.now(UTC), reason)


@waiting
async def _former(pool: Any, bot: str) -> RunState | None:
    state = await pool.fetchval("SELECT state FROM strategy_runs WHERE bot = $1", bot)
    return None if state is None else RunState(state)


@waiting
async def goes_on(dsn: str, bot: str, content: str, environment: str) -> bool:
    """Whether a bot that starts goes on with what its last run traded, or ran before runs were recorded."""
    connection = await asyncpg.connect(dsn)
    try:
        last = await connection.fetchrow("SELECT content, environment FROM strategy_runs WHERE bot = $1", bot)
        if last is not None:
            return (last["content"], last["environment"]) == (content, environment)
        return bool(await connection.fetchval("SELECT EXISTS (SELECT 1 FROM memory WHERE bot = $1)", bot))
    finally:
        await connection.close()
