"""A worker: takes jobs from the queue, plays them, says how far they are, and writes once how each has ended."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bot.errors import TradingError, cut
from services.app.batch import fault_of
from services.app.schedule import Schedule
from services.storage.jobs import AT_WORK, Job, JobStatus, JobStore, entrypoint_of
from services.storage.store import AWAY
from services.storage.trials import TakenOver

log = structlog.get_logger()

BEST_SECONDS = 1.0  # how often a new best so far is written
COMES_BACK_SECONDS = 1.0  # between attempts to reach a database that is away
DURATIONS = (0.1, 1, 10, 60, 600, 3600, 6 * 3600)  # seconds


@dataclass(frozen=True)
class WorkerLimits:
    """How a worker works; times in seconds."""

    lease: float = 60.0  # without a sign of life, after which a job is another's
    heartbeat: float = 5.0  # between signs of life and words of progress
    poll: float = 1.0  # between looks for jobs, where none was announced
    active: int = 2  # jobs of one owner that run at once, on all workers
    attempts: int = 3  # workers that may be lost, or faults outside, before a job has failed
    at_once: int = 2  # jobs of this worker; pgqueuer knows no fewer


@dataclass
class Told:
    """What a job says of itself while it is played, from any thread."""

    done: int = 0
    total: int = 0
    best: dict[str, Any] | None = None
    session: str | None = None  # of the search that is played

    def __call__(self, done: int, total: int, best: dict[str, Any] | None = None) -> None:
        """Say how far it is, and the best so far."""
        self.done, self.total, self.best = done, total, best or self.best


Play = Callable[[dict[str, Any], Told], Awaitable[dict[str, Any]]]


@dataclass
class WorkerMetrics:
    """What a worker has done, for Prometheus."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.claimed = self._counter("claimed", "Jobs begun")
        self.ended = self._counter("ended", "Jobs ended, by how", "status")
        self.lost = self._counter("leases_lost", "Jobs that went to another worker while they were played here")
        self.active = Gauge("traderagent_jobs_active", "Jobs that are played now", registry=self.registry)
        self.seconds = Histogram(
            "traderagent_job_seconds", "How long jobs were played", ("kind",), buckets=DURATIONS, registry=self.registry
        )

    def _counter(self, name: str, said: str, *labels: str) -> Counter:
        return Counter(f"traderagent_jobs_{name}", said, labels, registry=self.registry)


class Worker:
    """Plays jobs of some kinds until it is told to stop."""

    def __init__(
        self,
        dsn: str,
        kinds: Mapping[str, Play],
        limits: WorkerLimits | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        self.dsn, self.kinds, self.schedule = dsn, kinds, schedule
        self.limits = limits or WorkerLimits()
        self.metrics = WorkerMetrics()
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._stopping = asyncio.Event()
        self._queue: Any = None  # pgqueuer's, while the database answers

    def stop(self) -> None:
        """Take no more jobs; what is being played is given back for another attempt."""
        self._stopping.set()
        if self._queue is not None:
            self._queue.shutdown.set()

    async def run(self, *, drain: bool = False) -> None:
        """Play until `stop`, or with `drain` until nothing waits; a database that is away is waited for."""
        async with self._opened() as store:
            while not self._stopping.is_set():
                try:
                    await self._take_jobs(store, drain=drain)
                except AWAY as error:
                    remedy = "jobs go on when it answers; what is played meanwhile is kept"
                    log.warning("database_away", error=type(error).__name__, remedy=remedy)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), COMES_BACK_SECONDS)
                else:
                    if drain:
                        return

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[JobStore]:
        store = await JobStore.open(self.dsn)
        try:
            yield store
        finally:
            await store.close()

    async def _take_jobs(self, store: JobStore, *, drain: bool) -> None:
        """Take jobs over one connection, until it breaks."""
        from pgqueuer import PgQueuer  # noqa: PLC0415, an extra
        from pgqueuer.types import QueueExecutionMode  # noqa: PLC0415

        connection = await asyncpg.connect(self.dsn)
        await connection.execute("SELECT pg_advisory_lock_shared($1)", AT_WORK)  # pages ask who holds it
        self._queue = queue = PgQueuer.from_asyncpg_connection(connection)
        if self._stopping.is_set():
            queue.shutdown.set()
        if self.schedule is not None and not drain:
            self.schedule.enter(queue, store)
        await self._meet(queue, store)
        meeting = asyncio.create_task(self._keep_meeting(queue, store))
        try:
            await queue.run(
                dequeue_timeout=timedelta(seconds=self.limits.poll),
                batch_size=self.limits.at_once // 2,
                mode=QueueExecutionMode.drain if drain else QueueExecutionMode.continuous,
                max_concurrent_tasks=self.limits.at_once,
                heartbeat_timeout=timedelta(seconds=self.limits.lease),
            )
        finally:
            self._queue = None
            meeting.cancel()
            connection.terminate()

    async def _keep_meeting(self, queue: Any, store: JobStore) -> None:
        while True:
            await asyncio.sleep(self.limits.poll)
            await self._meet(queue, store)

    async def _meet(self, queue: Any, store: JobStore) -> None:
        """Open the queues of owners that have come: each has its own, so that pgqueuer counts what runs of it."""
        for owner in await store.owners():
            name = entrypoint_of(owner)
            if name not in queue.qm.entrypoint_registry:

                async def play(delivery: Any, context: Any) -> None:
                    await self._play(store, int(delivery.payload), context)

                queue.entrypoint(name, concurrency_limit=self.limits.active, accepts_context=True)(play)

    async def _play(self, store: JobStore, number: int, context: Any) -> None:
        """Play one job to its end, whatever that is."""
        job = await store.begin(number, self.name)
        if job is None:  # it has ended meanwhile
            return
        self.metrics.claimed.inc()
        log.info("job_begun", job=job.job, kind=job.kind, owner=job.owner, attempt=job.attempts)
        with self.metrics.active.track_inprogress(), self.metrics.seconds.labels(job.kind).time():
            status = await self._ended(store, job, context)
        if status is not None:
            self.metrics.ended.labels(status.value).inc()
            log.info("job_ended", job=job.job, status=status.value)

    async def _ended(self, store: JobStore, job: Job, context: Any) -> JobStatus | None:
        """Play a job and write how it ended; None where that is not this worker's to write."""
        if job.attempts > self.limits.attempts:
            fault = f"{job.lost} workers were lost while they played it; it is given up after {self.limits.attempts}."
            return await self._finish(store, job, JobStatus.FAILED, fault=fault)
        if job.kind not in self.kinds:
            fault = f"this worker plays no jobs of kind {job.kind}; start one of the version that asked for it."
            return await self._finish(store, job, JobStatus.FAILED, fault=fault)
        told = Told()
        work = asyncio.ensure_future(self.kinds[job.kind](job.request, told))
        with context.cancellation:
            await self._watch(store, job, work, told)
        if not work.done():
            await _end(work)
        if work.cancelled():
            return await self._given_back(store, job)
        error = work.exception()
        if error is None:
            return await self._finish(store, job, JobStatus.SUCCEEDED, work.result())
        return await self._failed(store, job, error)

    async def _watch(self, store: JobStore, job: Job, work: asyncio.Future[Any], told: Told) -> None:
        """Give signs of life while a job is played, and a new best when there is one."""
        loop, best, stopping = asyncio.get_running_loop(), None, asyncio.ensure_future(self._stopping.wait())
        due = loop.time() + self.limits.heartbeat
        try:
            while not work.done():
                wait = min(BEST_SECONDS, max(due - loop.time(), 0.01))
                await asyncio.wait({work, stopping}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    return
                if told.best != best:
                    best = told.best
                    await store.tell_best(job, best or {})
                if loop.time() >= due or work.done():
                    due = loop.time() + self.limits.heartbeat
                    if not await store.tell(job, told.done, told.total, told.session):
                        return
        finally:
            stopping.cancel()

    async def _given_back(self, store: JobStore, job: Job) -> JobStatus | None:
        """Let go of a job that was ended before its end: it was cancelled, is another's by now, or we stop."""
        if self._stopping.is_set():
            await self._again(store, job, 0.0, "the worker was stopped")
        return await self._not_ours(store, job)

    async def _failed(self, store: JobStore, job: Job, error: BaseException) -> JobStatus | None:
        """Write why a job failed, or try again what something outside has prevented."""
        outside = isinstance(error, (*AWAY, TakenOver))
        if outside and job.attempts < self.limits.attempts:
            await self._again(store, job, COMES_BACK_SECONDS * 2.0**job.attempts, str(error))
        if not isinstance(error, TradingError) and getattr(error, "filename", None) is None:
            log.error("job_failed", job=job.job, exc_info=error)
        return await self._finish(store, job, JobStatus.FAILED, fault=fault_of(error))

    async def _again(self, store: JobStore, job: Job, seconds: float, reason: str) -> None:
        """Give a job back to the queue, which this raises to pgqueuer; an attempt that we have ended does not count."""
        from pgqueuer.errors import RetryRequested  # noqa: PLC0415, an extra

        await store.release(job, counted=not self._stopping.is_set())
        raise RetryRequested(delay=timedelta(seconds=seconds), reason=cut(reason))

    async def _finish(
        self, store: JobStore, job: Job, status: JobStatus, result: Any = None, fault: str | None = None
    ) -> JobStatus | None:
        if await store.finish(job, status, result, fault):
            return status
        return await self._not_ours(store, job)

    async def _not_ours(self, store: JobStore, job: Job) -> JobStatus | None:
        """Say that a job was cancelled, or None where it is another worker's by now."""
        now = await store.job(job.job)
        if now.status is JobStatus.CANCELLED:
            return JobStatus.CANCELLED
        self.metrics.lost.inc()
        log.warning("lease_lost", job=job.job, remedy="another worker plays it; raise --lease if this one was alive")
        return None


async def _end(work: asyncio.Future[Any]) -> None:
    """Cancel what is played, and wait until it has ended."""
    work.cancel()
    await asyncio.wait({work})
