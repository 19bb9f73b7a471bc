"""Workers as processes: one is killed, a job is cancelled, the database dies, and every job ends once and right."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from bot.sources import ROOT
from search.reading import read_space
from search.sweep import sweep
from services.app.backing import database
from services.app.backtest import market_for
from services.app.job_kinds import read_request
from services.app.research import kept_of_sweep
from services.app.search import NO_BOT
from services.market_data.store import CandleStore
from services.storage.jobs import JobStatus, JobStore
from tests.conftest import walk

SPACE = {
    "strategy": "grid",
    "pair": "BTCUSDT",
    "exchange": "bybit",
    "grid": {
        "levels": {"from": 5, "to": 40, "step": 1},
        "profit_per_grid": {"from": "0.3%", "to": "2%", "steps": 40},
        "stop_loss": ["4%", "8%", "12%"],
        "warmup_bars": 30,
    },
}


def environment(data_dir):
    return {**os.environ, "COLUMNS": "200", "TRADERAGENT_DATA_DIR": str(data_dir)}


def command(data_dir, *arguments, code=0):
    line = [sys.executable, "-m", "bot", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT, env=environment(data_dir))
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout if code == 0 else done.stderr


def begin_worker(data_dir):
    line = [sys.executable, "-m", "bot", "worker", "--lease", "4", "--heartbeat", "0.5", "--poll", "0.2"]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, cwd=ROOT, env=environment(data_dir))


def written(folder, space, name="space.yaml"):
    path = folder / name
    path.write_text(yaml.safe_dump(space))
    return path


async def until(condition, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.1)
    return found


@pytest.mark.slow  # four processes that compile, and searches of some length
def test_jobs_of_two_users_outlive_a_killed_worker_a_cancel_and_a_database_that_dies(tmp_path):
    data = tmp_path / "data"
    CandleStore(data).write("bybit", "linear", "BTCUSDT", walk(200 * 1440, seed=3, volatility=0.0007))
    spaces = {
        (owner, seed): {**SPACE, "search": {"method": "random:1500", "seed": seed, "top": 3}}
        for owner, seed in (("ann", 1), ("ann", 2), ("ann", 3), ("bob", 4), ("bob", 5), ("bob", 6))
    }

    async def played():
        async with database(data, NO_BOT) as dsn:
            store = await JobStore.open(dsn)
            jobs = {}
            for (owner, seed), space in spaces.items():
                request = read_request("sweep", written(tmp_path, space, f"{seed}.yaml"))
                jobs[owner, seed] = (await store.submit(owner, "sweep", request)).job
            workers = [begin_worker(data) for _ in range(4)]
            try:
                await disturbed(store, jobs, data, {one.pid: one for one in workers})
                ended = await until(lambda: all_ended(store, jobs.values()), 240.0)
                rows = await store.pool.fetch("SELECT session, count(*) FROM trials GROUP BY session")
            finally:
                for one in workers:
                    one.send_signal(signal.SIGINT)
                codes = [one.wait(20) for one in workers]
                await store.close()
        return dict(zip(jobs, ended, strict=True)), dict(rows), codes

    jobs, rows, codes = asyncio.run(played())
    assert sorted(codes) == [-signal.SIGKILL, 130, 130, 130]
    cancelled = [one for one in jobs.values() if one.status is JobStatus.CANCELLED]
    succeeded = {key: one for key, one in jobs.items() if one.status is JobStatus.SUCCEEDED}
    assert len(cancelled) == 1 and len(succeeded) == 5, [one.fault for one in jobs.values()]
    assert max(one.lost for one in jobs.values()) >= 1, "the killed worker's job went to another"
    market = market_for(read_space(SPACE).first, None, data)
    for key, job in succeeded.items():
        found = sweep(read_space(spaces[key]), market.candles, fetched=market.fetched, funding=market.funding)
        assert job.result["best"] == kept_of_sweep(found)["best"]
        assert rows[job.result["session"]] == len(found.numbers)
        assert job.done == job.total and job.best_writes >= 1


async def all_ended(store, numbers):
    found = [await store.job(one) for one in numbers]
    return found if all(one.ended is not None for one in found) else None


async def disturbed(store, jobs, data, workers):
    """Kill a worker that plays, cancel what another plays, and kill the database."""

    async def of(owner):
        found = [await store.job(number) for key, number in jobs.items() if key[0] == owner]
        return [one for one in found if one.status is JobStatus.RUNNING and one.done > 0]

    (victim, *_) = await until(lambda: of("ann"))
    workers[int(victim.worker.rpartition(":")[2])].send_signal(signal.SIGKILL)
    (other, *_) = await until(lambda: of("bob"))
    told = await asyncio.to_thread(command, data, "sessions", "cancel", other.session)
    assert f"job {other.job} is cancelled" in told
    await until(lambda: of("bob"))
    postmaster = int(next(data.rglob("postmaster.pid")).read_text().splitlines()[0])
    psutil.Process(postmaster).send_signal(signal.SIGQUIT)


@pytest.mark.slow  # fifteen processes
def test_a_request_is_answered_at_once_or_by_a_worker_with_the_same_answer(tmp_path):
    data = tmp_path / "data"
    CandleStore(data).write("bybit", "linear", "BTCUSDT", walk(45 * 1440, seed=3, volatility=0.0007))
    narrow = {"levels": [6, 12], "profit_per_grid": ["0.5%", "1%"], "stop_loss": ["5%", "8%"], "warmup_bars": 30}
    path = written(tmp_path, {**SPACE, "grid": narrow})
    job = json.loads(command(data, "staged", path, "--job", "--json"))
    assert (
        job["status"] == "queued" and json.loads(command(data, "staged", path, "--job", "--json"))["job"] == job["job"]
    )
    command(data, "worker", "--drain")
    done = json.loads(command(data, "jobs", "show", job["job"], "--json"))
    assert done["status"] == "succeeded", done["fault"]
    at_once = json.loads(command(data, "staged", path, "--json"))
    other = tmp_path / "other"
    CandleStore(other).write("bybit", "linear", "BTCUSDT", walk(45 * 1440, seed=3, volatility=0.0007))
    elsewhere = json.loads(command(other, "staged", path, "--json"))
    assert done["result"] == at_once == elsewhere
    assert at_once["ranking"] == ["total_return_pct"] and at_once["variants"] == {
        "space": 8,
        "first_stage": 4,
        "second_stage": 4,
        "contradictory": 0,
        "unplayable": 0,
    }
    returns = [one["in_sample"]["total_return_pct"] for one in at_once["rows"]]
    assert len(returns) == 8 and returns == sorted(returns, reverse=True)
    assert all(one["held_out"]["total_return_pct"] is not None for one in at_once["rows"])
    told = command(data, "jobs", "show", job["job"])
    assert "succeeded, 8 of 8" in told and at_once["session"] in told
    assert "succeeded" in command(data, "jobs", "list")
    assert f"job {job['job']} is succeeded" in command(data, "jobs", "cancel", job["job"])
    assert "would forget 1 jobs" in command(data, "jobs", "purge", "--days", 0)
    assert "forgot 1 jobs" in command(data, "jobs", "purge", "--days", 0, "--yes")
    assert command(data, "jobs", "list").strip() == "no job"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search": {"method": "grid"}}, "search.method is set by a staged request itself"),
        ({"search": {"objective": "fees"}}, "search.objective is 'fees'; rank by one or two of total_return_pct"),
        ({"grid": {"levels": [5, 1]}}, "levels"),
    ],
)
def test_a_request_that_cannot_be_played_is_one_sentence(tmp_path, changes, said):
    told = command(tmp_path / "data", "staged", written(tmp_path, {**SPACE, **changes}), code=2)
    assert said in told and "Traceback" not in told


def test_a_kind_that_is_none_is_one_sentence(tmp_path):
    told = command(tmp_path / "data", "jobs", "submit", "sweeep", written(tmp_path, SPACE), code=2)
    assert "kind is 'sweeep'; choose one of sweep, walkforward, staged, batch, download, repair, scan." in told
