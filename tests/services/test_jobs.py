"""Jobs in a real Postgres: each ends once and right, whatever happens to those that play it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from prometheus_client import generate_latest

from bot.errors import Misconfigured
from services.app.worker import Worker, WorkerLimits
from services.storage.jobs import JobStatus, JobStore

QUICK = WorkerLimits(lease=2.0, heartbeat=0.2, poll=0.1)


def run(work):
    return asyncio.run(asyncio.wait_for(work, 60))


async def clean(dsn):
    store = await JobStore.open(dsn)
    await store.pool.execute("TRUNCATE jobs")
    await store.pool.execute("TRUNCATE pgqueuer, pgqueuer_log")
    return store


async def until(condition, seconds=20.0):
    """Look again and again whether something has come about."""
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.02)
    return found


async def ended(store, *numbers):
    async def all_ended():
        found = [await store.job(one) for one in numbers]
        return found if all(one.ended is not None for one in found) else None

    return await until(all_ended)


async def doubled(request, told):
    told(1, 2, {"variant": 1})
    await asyncio.sleep(0)
    told(2, 2, {"variant": 1})
    return {"twice": 2 * request["number"]}


class Held:
    """A kind of job that is played until it is let go."""

    def __init__(self):
        self.running, self.most, self.begun, self.cancelled = set(), 0, 0, 0
        self.gate = asyncio.Event()

    async def __call__(self, request, told):
        number = request["number"]
        self.begun += 1
        self.running.add(number)
        self.most = max(self.most, len(self.running))
        try:
            told(1, 10)
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running.discard(number)
        return {"number": number}


class Working:
    """Workers that run while a test looks on."""

    def __init__(self, dsn, kinds, count=1, limits=QUICK):
        self.workers = [Worker(dsn, kinds, limits) for _ in range(count)]

    async def __aenter__(self):
        self.tasks = [asyncio.create_task(one.run()) for one in self.workers]
        return self
        return self

    async def __aexit__(self, *_):
        for one in self.workers:
            one.stop()
        await asyncio.gather(*self.tasks)


def test_a_job_is_played_once_and_says_what_came_of_it(dsn):
    async def play():
        store = await clean(dsn)
        job = await store.submit("ann", "double", {"number": 21})
        async with Working(dsn, {"double": doubled}) as working:
            (done,) = await ended(store, job.job)
        await store.close()
        return done, generate_latest(working.workers[0].metrics.registry).decode()

    done, metrics = run(play())
    for line in ("claimed_total 1.0", 'ended_total{status="succeeded"} 1.0', "leases_lost_total 0.0", "active 0.0"):
        assert f"traderagent_jobs_{line}" in metrics
    assert 'traderagent_job_seconds_count{kind="double"} 1.0' in metrics
    assert (done.status, done.result, done.attempts, done.lost) == (JobStatus.SUCCEEDED, {"twice": 42}, 1, 0)
    assert done.best == {"variant": 1} and done.best_writes == 1, "the best did not change, and was written once"
    assert done.total == done.done == 2


def test_the_same_request_waits_once_and_another_owner_has_its_own(dsn):
    async def play():
        store = await clean(dsn)
        first = await store.submit("ann", "double", {"number": 1, "other": 2})
        same = await store.submit("ann", "double", {"other": 2, "number": 1})
        other = await store.submit("bob", "double", {"number": 1, "other": 2})
        await store.close()
        return first, same, other

    first, same, other = run(play())
    assert same.job == first.job and other.job != first.job
    assert same.request_hash == other.request_hash


def test_an_owner_has_as_many_jobs_at_once_as_the_quota_says_over_all_workers(dsn):
    async def play():
        store, held = await clean(dsn), Held()
        numbers = [(await store.submit("ann", "hold", {"number": one})).job for one in range(5)]
        mine = await store.submit("bob", "hold", {"number": 99})
        async with Working(dsn, {"hold": held}, count=4):
            await until(lambda: _is(len(held.running) == 3 and 99 in held.running))
            await asyncio.sleep(0.5)  # whoever would break the quota has had time to
            most = held.most
            held.gate.set()
            done = await ended(store, *numbers, mine.job)
        await store.close()
        return most, done

    most, done = run(play())
    assert most == 3, "two of one owner, one of the other"
    assert {one.status for one in done} == {JobStatus.SUCCEEDED}


async def _is(value):
    return value


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_within_a_second(dsn):
    async def play():
        store, held = await clean(dsn), Held()
        running = await store.submit("ann", "hold", {"number": 1})
        async with Working(dsn, {"hold": held}, limits=replace(QUICK, active=1)):
            await until(lambda: _is(held.running))
            waiting = await store.submit("ann", "hold", {"number": 2})
            assert (await store.cancel(waiting.job)).status is JobStatus.CANCELLED
            began = time.monotonic()
            assert (await store.cancel(running.job)).status is JobStatus.CANCELLED
            await until(lambda: _is(not held.running))
            seconds = time.monotonic() - began
            again = await store.cancel(running.job)
            await asyncio.sleep(0.3)
            last = await store.job(running.job)
        await store.close()
        return seconds, again, last, held

    seconds, again, last, held = run(play())
    assert seconds < 1.0 and held.cancelled == 1 and held.begun == 1
    assert again.ended == last.ended and last.status is JobStatus.CANCELLED and last.result is None


def test_a_worker_that_stops_gives_its_job_back_and_the_next_one_ends_it(dsn):
    async def play():
        store, held = await clean(dsn), Held()
        job = await store.submit("ann", "hold", {"number": 1})
        async with Working(dsn, {"hold": held}):
            await until(lambda: _is(held.running))
        between = await store.job(job.job)
        held.gate.set()
        async with Working(dsn, {"hold": held}):
            (done,) = await ended(store, job.job)
        await store.close()
        return between, done

    between, done = run(play())
    assert (between.status, between.attempts) == (JobStatus.QUEUED, 0), "what we end ourselves does not count"
    assert (done.status, done.attempts, done.lost) == (JobStatus.SUCCEEDED, 1, 0)


def test_a_fault_is_a_sentence_and_a_fault_outside_is_tried_again(dsn):
    tries = []

    async def refused(_request, _told):
        raise Misconfigured("levels is 1; take 2 or more.")

    async def broken(_request, _told):
        raise KeyError("inner")

    async def away(_request, _told):
        tries.append(time.monotonic())
        if len(tries) < 2:
            raise asyncpg.CannotConnectNowError("the database system is starting up")
        return {}

    async def play():
        store = await clean(dsn)
        names = ("refused", "broken", "away", "unknown")
        numbers = [(await store.submit("ann", one, {})).job for one in names]
        async with Working(dsn, {"refused": refused, "broken": broken, "away": away}):
            done = await ended(store, *numbers)
        again = await store.again(numbers[0])
        with pytest.raises(Misconfigured, match="succeeded; only one that failed"):
            await store.again(numbers[2])
        await store.close()
        return done, again

    (first, second, third, fourth), again = run(play())
    assert (first.status, first.fault) == (JobStatus.FAILED, "levels is 1; take 2 or more.")
    assert second.fault == "fault of the program or of a strategy: KeyError: 'inner'"
    assert (third.status, third.attempts) == (JobStatus.SUCCEEDED, 2)
    assert "plays no jobs of kind unknown" in fourth.fault
    assert (again.status, again.attempts, again.fault) == (JobStatus.QUEUED, 0, None)


def test_whoever_is_not_a_jobs_worker_any_more_writes_nothing(dsn):
    async def play():
        store = await clean(dsn)
        job = await store.submit("ann", "hold", {"number": 1})
        first = await store.begin(job.job, "one")
        second = await store.begin(job.job, "two")
        told = await store.tell(first, 5, 10), await store.tell(second, 1, 10)
        ends = (
            await store.finish(first, JobStatus.SUCCEEDED, {"by": "one"}),
            await store.finish(second, JobStatus.SUCCEEDED, {"by": "two"}),
        )
        late = await store.begin(job.job, "three")
        last = await store.job(job.job)
        await store.close()
        return told, ends, late, last

    told, ends, late, last = run(play())
    assert told == (False, True) and ends == (False, True) and late is None
    assert last.result == {"by": "two"} and (last.attempts, last.lost) == (2, 1)


def test_a_job_whose_workers_all_die_is_given_up(dsn):
    async def play():
        store = await clean(dsn)
        job = await store.submit("ann", "double", {"number": 1})
        for one in range(3):
            await store.begin(job.job, f"lost {one}")
        async with Working(dsn, {"double": doubled}):
            (done,) = await ended(store, job.job)
        await store.close()
        return done

    done = run(play())
    assert done.status is JobStatus.FAILED and "3 workers were lost" in done.fault


def test_what_has_ended_long_ago_is_forgotten_and_nothing_else(dsn):
    async def play():
        store = await clean(dsn)
        old, waiting = [await store.submit("ann", "double", {"number": one}) for one in range(2)]
        await store.cancel(old.job)
        later = datetime.now(UTC) + timedelta(days=1)
        counts = await store.ended(later - timedelta(days=2)), await store.ended(later)
        gone = await store.purge(later)
        left = [one.job for one in await store.jobs()]
        with pytest.raises(Misconfigured, match=f"no job {old.job}"):
            await store.cancel(old.job)
        await store.close()
        return counts, gone, left, waiting.job

    counts, gone, left, waiting = run(play())
    assert counts == (0, 1) and gone == 1 and left == [waiting]


@pytest.mark.parametrize("owner", ["", "a b", "x" * 65, "né", "a\n"])
def test_an_owner_has_a_name(dsn, owner):
    async def play():
        store = await clean(dsn)
        with pytest.raises(Misconfigured, match="user is"):
            await store.submit(owner, "double", {})
        await store.close()

    run(play())
