"""What workers do by the clock: it is run once, written down, made up for where it was missed, and stops nobody."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from bot.errors import Misconfigured
from search.reading import read_space
from search.session import session_of
from search.window import market_of
from services.app.schedule import TASKS, Schedule, ScheduledTask, TaskContext, due_times, missed, run_task
from services.app.worker import Worker, WorkerLimits
from services.storage.jobs import JobStore
from services.storage.scheduled_runs import ScheduledRun, ScheduledRuns
from services.storage.trials import TrialStore
from tests.conftest import walk

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def run_of(began):
    return ScheduledRun(1, "funding", began, began, 0, "", None)


def task(name, do, cron="0 * * * *"):
    return ScheduledTask(name, cron, "", do)


async def quietly(_around):
    return "done"


def test_what_was_due_and_not_run_is_counted():
    hourly = task("hourly", quietly)
    assert due_times(hourly, NOON, NOON + timedelta(hours=3)) == [NOON + timedelta(hours=one) for one in (1, 2, 3)]
    assert missed(hourly, None, NOON) == 0
    assert missed(hourly, run_of(NOON), NOON + timedelta(minutes=59)) == 0
    assert missed(hourly, run_of(NOON), NOON + timedelta(hours=1, minutes=1)) == 0, "that is the one that runs now"
    assert missed(hourly, run_of(NOON), NOON + timedelta(hours=4, minutes=1)) == 3


def test_every_task_says_when_and_what():
    assert [one.name for one in TASKS] == ["instruments", "funding", "presets", "drift", "retention", "backup"]
    assert all(due_times(one, NOON, NOON + timedelta(days=1)) and one.what for one in TASKS)


async def surroundings(dsn, folder):
    store = await JobStore.open(dsn)
    for table in ("jobs", "scheduled_runs", "pgqueuer", "pgqueuer_log", "pgqueuer_schedules"):
        await store.pool.execute(f"TRUNCATE {table}")
    return TaskContext(folder, dsn, store)


def test_a_task_that_fails_is_written_down_and_the_others_go_on(dsn, tmp_path):
    async def refused(_around):
        raise Misconfigured("exchange 'x' is unknown; choose another.")

    async def broken(_around):
        raise ZeroDivisionError("by zero")

    async def play():
        around = await surroundings(dsn, tmp_path)
        done = [await run_task(task(name, do), around) for name, do in (("a", quietly), ("b", refused), ("c", broken))]
        listed = await ScheduledRuns(around.jobs.pool).runs()
        await around.jobs.close()
        return done, listed

    done, listed = asyncio.run(play())
    assert [(one.said, one.fault) for one in done] == [
        ("done", None),
        (None, "exchange 'x' is unknown; choose another."),
        (None, "fault of the program: ZeroDivisionError: by zero"),
    ]
    assert [one.name for one in listed] == ["c", "b", "a"] and all(one.ended is not None for one in listed)


def test_a_worker_runs_what_was_due_while_none_ran_and_two_run_it_once(dsn, tmp_path):
    ran = []

    async def count(_around):
        ran.append(1)
        return "counted"

    yearly = (task("yearly", count, "0 0 1 1 *"),)

    async def work(seconds, condition):
        limits = WorkerLimits(lease=2.0, heartbeat=0.2, poll=0.1)
        workers = [Worker(dsn, {}, limits, Schedule(tmp_path, dsn, yearly)) for _ in range(2)]
        tasks = [asyncio.create_task(one.run()) for one in workers]
        for _ in range(int(seconds / 0.05)):
            await asyncio.sleep(0.05)
            if await condition():
                break
        for one in workers:
            one.stop()
        await asyncio.gather(*tasks)

    async def play():
        around = await surroundings(dsn, tmp_path)
        pool = around.jobs.pool
        entered = "SELECT count(*) FROM pgqueuer_schedules"

        async def is_entered():
            return await pool.fetchval(entered) == 1

        await work(10, is_entered)
        before = len(ran)
        await pool.execute("UPDATE pgqueuer_schedules SET next_run = now() - interval '1 hour'")

        async def has_run():
            return bool(await pool.fetchval("SELECT count(*) FROM scheduled_runs WHERE ended IS NOT NULL"))

        await work(10, has_run)
        listed = await ScheduledRuns(pool).runs()
        await around.jobs.close()
        return before, listed

    before, listed = asyncio.run(play())
    assert before == 0 and len(ran) == 1
    assert [(one.name, one.said) for one in listed] == [("yearly", "counted")]


def test_a_preset_that_expires_soon_is_searched_again(dsn, tmp_path):
    space = read_space({"strategy": "grid", "pair": "BTCUSDT", "grid": {"levels": [5, 10], "warmup_bars": 30}})
    session = session_of("sweep", space, market_of(space.first, walk(200), None, None))
    folder = tmp_path / "presets"
    folder.mkdir()
    config = yaml.safe_dump({"strategy": "grid", "pair": "BTCUSDT"})
    soon, later = (datetime.now(UTC).date() + timedelta(days=one) for one in (3, 90))
    (folder / "soon.yaml").write_text(f"# Expires {soon}. Trials: 2; sessions fine {session.name}.\n{config}")
    (folder / "later.yaml").write_text(f"# Expires {later}. Trials: 2; sessions fine {session.name}.\n{config}")
    (folder / "unknown.yaml").write_text(f"# Expires {soon}.\n{config}")

    async def play():
        around = await surroundings(dsn, tmp_path)
        store = await TrialStore.open(dsn)
        await store.begin(session)
        await store.close()
        task = next(one for one in TASKS if one.name == "presets")
        first, second = await run_task(task, around), await run_task(task, around)
        jobs = await around.jobs.jobs()
        await around.jobs.close()
        return first, second, jobs

    first, second, jobs = asyncio.run(play())
    (job,) = jobs
    assert f"soon expires on {soon}: job {job.job}" in first.said and first.said == second.said
    assert "unknown expires" in first.said and "search it by hand" in first.said and "later" not in first.said
    assert (job.owner, job.kind) == ("schedule", "sweep")
    assert read_space(job.request).source()["grid"] == space.source()["grid"]
    assert json.dumps(job.request)


@pytest.mark.parametrize("name", ["instruments", "funding"])
def test_nothing_stored_is_nothing_to_fetch(dsn, tmp_path, name):
    async def play():
        around = await surroundings(dsn, tmp_path)
        done = await run_task(next(one for one in TASKS if one.name == name), around)
        await around.jobs.close()
        return done

    done = asyncio.run(play())
    assert done.fault is None and done.said
