"""Jobs in Postgres: who asked for what, how far it is, and what came of it.

The table `jobs` is what people see, and decides how a job ends: once, by whoever writes its end first. pgqueuer hands
jobs to workers: it counts how many of an owner run at once, and gives a job whose worker has died to another.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

import asyncpg

from bot.errors import Misconfigured, cut
from services.storage.schema import lock_number, migrate
from services.storage.store import waiting

OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
MOST_WAITING = 10_000  # jobs of an owner that wait or run
LARGEST_REQUEST = 1 << 20  # characters
WORKING = 3  # connections of a worker or a command
INSTALLING = 0x7067_7175_6575_6572  # lock of whoever brings pgqueuer's tables up to date
AT_WORK = lock_number("Worker")  # held, shared, by every worker that is connected; no bot's name has a capital


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Job:
    """A job as it is stored."""

    job: int
    owner: str
    kind: str
    request: dict[str, Any]
    request_hash: str
    priority: int
    status: JobStatus
    delivery: int | None  # pgqueuer's number of it
    attempts: int  # workers that have begun it
    lost: int  # of them, those that died or fell silent
    worker: str | None
    done: int
    total: int
    session: str | None  # of the search that is played
    best: dict[str, Any] | None  # best so far, in sample
    best_writes: int  # how often it was written
    result: dict[str, Any] | None
    fault: str | None
    queued: datetime
    began: datetime | None
    heartbeat: datetime | None
    ended: datetime | None


ADD = """
INSERT INTO jobs (owner, kind, request, request_hash, priority, status, queued)
VALUES ($1, $2, $3, $4, $5, 'queued', $6)
ON CONFLICT (owner, kind, request_hash) WHERE status IN ('queued', 'running') DO NOTHING
RETURNING *
"""
SAME = """
SELECT * FROM jobs
WHERE owner = $1 AND kind = $2 AND request_hash = $3 AND status IN ('queued', 'running')
"""
BEGIN = """
UPDATE jobs SET attempts = attempts + 1, lost = lost + (status = 'running')::int, status = 'running', worker = $2,
    done = 0, total = 0, began = coalesce(began, $3), heartbeat = $3
WHERE job = $1 AND status IN ('queued', 'running') RETURNING *
"""
TELL = """
UPDATE jobs SET done = $3, total = $4, heartbeat = $5, session = $6
WHERE job = $1 AND attempts = $2 AND status = 'running' RETURNING delivery
"""
BEST = """
UPDATE jobs SET best = $3, best_writes = best_writes + 1 WHERE job = $1 AND attempts = $2 AND status = 'running'
"""
FINISH = """
UPDATE jobs SET status = $3, result = $4, fault = $5, ended = $6, done = CASE WHEN $3 = 'succeeded' THEN total
    ELSE done END
WHERE job = $1 AND attempts = $2 AND status = 'running' RETURNING job
"""
RELEASE = """
UPDATE jobs SET status = 'queued', worker = NULL, attempts = attempts - $3::int
WHERE job = $1 AND attempts = $2 AND status = 'running'
"""
CANCEL = """
UPDATE jobs SET status = 'cancelled', ended = $2 WHERE job = $1 AND status IN ('queued', 'running')
RETURNING *
"""
AGAIN = """
UPDATE jobs SET status = 'queued', attempts = 0, lost = 0, worker = NULL, done = 0, total = 0, best = NULL,
    best_writes = 0, result = NULL, fault = NULL, queued = $2, began = NULL, heartbeat = NULL, ended = NULL
WHERE job = $1 AND status IN ('failed', 'cancelled') RETURNING *
"""
LISTED = """
SELECT * FROM jobs WHERE ($1::text IS NULL OR owner = $1) AND (NOT $2 OR status IN ('queued', 'running'))
ORDER BY job DESC LIMIT $3
"""
SUMMARIES = """
SELECT job, owner, kind, priority, status, attempts, lost, worker, done, total, session, best, fault, queued, began,
    heartbeat, ended, request ->> 'strategy' AS strategy, request ->> 'pair' AS pair
FROM jobs
WHERE ($1::text IS NULL OR owner = $1) AND (NOT $2 OR status IN ('queued', 'running')) AND ($3::bigint = 0 OR job < $3)
ORDER BY job DESC LIMIT $4
"""
WORKERS = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
AND (classid::bigint << 32) | objid::bigint = $1
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
PURGE = "DELETE FROM jobs WHERE ended < $1 RETURNING job"


class JobStore:
    """Jobs of a database, for whoever asks for them and for workers."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    @classmethod
    async def open(cls, dsn: str) -> Self:
        """Bring the tables up to date, pgqueuer's too, and connect."""
        await migrate(dsn)
        pool = await asyncpg.create_pool(dsn, min_size=1, max_size=WORKING)
        async with pool.acquire() as connection:
            await _install(connection)
        return cls(pool)

    async def close(self) -> None:
        """Let the connections go."""
        await self.pool.close()

    async def submit(self, owner: str, kind: str, request: dict[str, Any], priority: int = 0) -> Job:
        """Queue a request, or find it where the same one of this owner waits or runs already.

        Raises Misconfigured for an owner's name that is none, too many that wait, and a request that is too large.
        """
        text = json.dumps(request, sort_keys=True)
        _check(owner, text)
        name = hashlib.sha256(f"{kind}\n{text}".encode()).hexdigest()[:16]
        return await self._submit(owner, kind, text, name, priority)

    @waiting
    async def _submit(self, owner: str, kind: str, text: str, name: str, priority: int) -> Job:
        async with self.pool.acquire() as connection, connection.transaction():
            query = "SELECT count(*) FROM jobs WHERE owner = $1 AND status IN ('queued', 'running')"
            count = await connection.fetchval(query, owner)
            if count >= MOST_WAITING:
                raise Misconfigured(f"{count:,} jobs of {owner} wait already, the most there may be; cancel some.")
            row = await connection.fetchrow(ADD, owner, kind, text, name, priority, datetime.now(UTC))
            if row is None:
                return _job(await connection.fetchrow(SAME, owner, kind, name))
            return await _deliver(connection, _job(row))

    @waiting
    async def begin(self, job: int, worker: str) -> Job | None:
        """Take a job on; None for one that has ended. What another worker has of it is no longer heard."""
        row = await self.pool.fetchrow(BEGIN, job, worker, datetime.now(UTC))
        return None if row is None else _job(row)

    @waiting
    async def tell(self, job: Job, done: int, total: int, session: str | None = None) -> bool:
        """Say that it is being worked at and how far it is; false when it is no longer this worker's."""
        delivery = await self.pool.fetchval(TELL, job.job, job.attempts, done, total, datetime.now(UTC), session)
        if delivery is not None:
            await _queries(self.pool).update_heartbeat([delivery])
        return delivery is not None

    @waiting
    async def tell_best(self, job: Job, best: dict[str, Any]) -> None:
        """Keep the best so far; called when it has changed."""
        await self.pool.execute(BEST, job.job, job.attempts, json.dumps(best))

    @waiting
    async def finish(
        self, job: Job, status: JobStatus, result: dict[str, Any] | None = None, fault: str | None = None
    ) -> bool:
        """Write how it ended; false when it has ended otherwise, or is another worker's by now."""
        text = None if result is None else json.dumps(result, default=str)
        values = (job.job, job.attempts, status.value, text, fault, datetime.now(UTC))
        return await self.pool.fetchval(FINISH, *values) is not None

    @waiting
    async def release(self, job: Job, *, counted: bool) -> None:
        """Give a job back that was begun; whether this attempt counts."""
        await self.pool.execute(RELEASE, job.job, job.attempts, int(not counted))

    @waiting
    async def cancel(self, job: int) -> Job:
        """End a job that waits or runs; one that has ended stays as it is. Raises Misconfigured for an unknown one."""
        async with self.pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(CANCEL, job, datetime.now(UTC))
            if row is None:
                return await self.job(job)
            if row["delivery"] is not None:
                await _queries(connection).mark_job_as_cancelled([row["delivery"]])
            return _job(row)

    @waiting
    async def again(self, job: int) -> Job:
        """Queue a failed or cancelled job anew; raises Misconfigured for any other."""
        async with self.pool.acquire() as connection, connection.transaction():
            try:
                row = await connection.fetchrow(AGAIN, job, datetime.now(UTC))
            except asyncpg.UniqueViolationError:
                raise Misconfigured(f"job {job} was asked for again, and waits or runs already.") from None
            if row is None:
                found = await self.job(job)
                raise Misconfigured(f"job {job} is {found.status}; only one that failed or was cancelled begins anew.")
            return await _deliver(connection, _job(row))

    @waiting
    async def job(self, job: int) -> Job:
        """Read one; raises Misconfigured for a number that none has."""
        row = await self.pool.fetchrow("SELECT * FROM jobs WHERE job = $1", job)
        if row is None:
            raise Misconfigured(f"there is no job {job}; `traderagent jobs list` has them.")
        return _job(row)

    @waiting
    async def jobs(self, owner: str | None = None, *, active: bool = False, most: int = 100) -> list[Job]:
        """Read the newest, of one owner or of all, or those that wait and run."""
        return [_job(row) for row in await self.pool.fetch(LISTED, owner, active, most)]

    @waiting
    async def summaries(
        self, owner: str | None = None, *, active: bool = False, before: int = 0, most: int = 100
    ) -> list[dict[str, Any]]:
        """Read the newest before a job (0: from the newest), without what was asked for and what came of it."""
        rows = await self.pool.fetch(SUMMARIES, owner, active, before, most)
        return [{**row, "best": None if row["best"] is None else json.loads(row["best"])} for row in rows]

    @waiting
    async def workers(self) -> int:
        """Count the workers that are connected."""
        return int(await self.pool.fetchval(WORKERS, AT_WORK))

    @waiting
    async def prepare(self) -> None:
        """Bring pgqueuer's tables up to date, for a pool that `open` has not made."""
        async with self.pool.acquire() as connection:
            await _install(connection)

    @waiting
    async def owners(self) -> list[str]:
        """Name the owners of jobs that wait or run."""
        query = "SELECT DISTINCT owner FROM jobs WHERE status IN ('queued', 'running')"
        return [str(row["owner"]) for row in await self.pool.fetch(query)]

    @waiting
    async def ended(self, before: datetime) -> int:
        """Count the jobs that ended before a time."""
        return int(await self.pool.fetchval("SELECT count(*) FROM jobs WHERE ended < $1", before))

    @waiting
    async def purge(self, before: datetime) -> int:
        """Forget those, all or none, with what pgqueuer has noted of its work; returns how many."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute("DELETE FROM pgqueuer_log WHERE created < $1", before)
            return len(await connection.fetch(PURGE, before))


def _check(owner: str, text: str) -> None:
    if not OWNER.fullmatch(owner):
        raise Misconfigured(
            f"user is {cut(owner)!r}, which is no name; use up to 64 letters, digits, dots, dashes, _ @ and +."
        )
    if len(text) > LARGEST_REQUEST:
        raise Misconfigured(
            f"the request has {len(text):,} characters, more than {LARGEST_REQUEST:,}; make it smaller."
        )


def entrypoint_of(owner: str) -> str:
    """Name of an owner's queue at pgqueuer, which counts what runs of it."""
    return f"job {owner}"


async def _deliver(connection: Any, job: Job) -> Job:
    """Queue a job at pgqueuer."""
    [delivery] = await _queries(connection).enqueue(entrypoint_of(job.owner), str(job.job).encode(), job.priority)
    await connection.execute("UPDATE jobs SET delivery = $2 WHERE job = $1", job.job, delivery)
    return Job(**{**vars(job), "delivery": delivery})


def _job(row: Any) -> Job:
    found = dict(row)
    for name in ("request", "best", "result"):
        found[name] = None if found[name] is None else json.loads(found[name])
    return Job(**{**found, "status": JobStatus(found["status"])})


async def _install(connection: Any) -> None:
    """Create pgqueuer's tables, or bring them up to date: one process at a time."""
    queries = _queries(connection)
    await connection.execute("SELECT pg_advisory_lock($1)", INSTALLING)
    try:
        if not await queries.schema_is_installed():
            await queries.install()
        elif (await queries.plan_upgrade()).statements:
            await queries.upgrade()
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", INSTALLING)


def _queries(connection: Any) -> Any:
    """Speak with pgqueuer's tables over a connection or a pool; raises Misconfigured where it is not installed."""
    try:
        from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver, AsyncpgPoolDriver  # noqa: PLC0415, an extra
        from pgqueuer.queries import Queries  # noqa: PLC0415
    except ImportError:
        raise Misconfigured(
            "jobs need pgqueuer, which is not installed; install it with `uv sync --extra worker`."
        ) from None
    return Queries(AsyncpgPoolDriver(connection) if isinstance(connection, asyncpg.Pool) else AsyncpgDriver(connection))
