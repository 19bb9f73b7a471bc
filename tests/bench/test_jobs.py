"""How fast small jobs drain: `pytest tests/bench/test_jobs.py -n 0 -o addopts= --benchmark-only -s`."""

from __future__ import annotations

import asyncio
import time

from services.app.worker import Worker, WorkerLimits
from services.storage.jobs import JobStore

JOBS, WORKERS = 2_000, 4


async def nothing(_request, _told):
    return {}


def test_two_thousand_small_jobs(benchmark, dsn):
    async def played():
        store = await JobStore.open(dsn)
        began = time.monotonic()
        for number in range(JOBS):
            await store.submit("ann", "nothing", {"number": number})
        submitted = time.monotonic() - began
        began = time.monotonic()
        limits = WorkerLimits(active=64, at_once=16)
        await asyncio.gather(*(Worker(dsn, {"nothing": nothing}, limits).run(drain=True) for _ in range(WORKERS)))
        drained = time.monotonic() - began
        statuses = await store.pool.fetch("SELECT status, count(*), max(attempts) FROM jobs GROUP BY status")
        await store.close()
        return submitted, drained, [tuple(one) for one in statuses]

    submitted, drained, statuses = benchmark.pedantic(lambda: asyncio.run(played()), rounds=1)
    assert statuses == [("succeeded", JOBS, 1)]
    print(f"\n{JOBS} jobs: submitted in {submitted:.1f} s, drained by {WORKERS} workers in {drained:.1f} s")  # noqa: T201
