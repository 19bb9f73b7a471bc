"""What a bot of twenty pairs takes of a small server, as processes: memory, and one bot of a name at a time."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import psutil
import pytest
import redis

from tests.runtime.processes import Processes, minute

PAIRS = [f"C{index:02d}USDT" for index in range(20)]
MINUTES = 60
BUDGET = 700  # MB: bot, embedded Postgres and Redis


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    made.end()


def proportional_megabytes(*processes):
    """Memory of processes and their children, shared pages divided between those that share them."""
    family = [one for process in processes for one in (process, *process.children(recursive=True))]
    return {f"{one.name()} {one.pid}": one.memory_full_info().pss / 1e6 for one in family}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="shared pages are divided by Linux's /proc alone")
def test_f_65_twenty_pairs_fit_a_small_server_and_run_once(processes):
    """F-65: the bot with its own database and bus keeps to its budget; it runs once; backup and restore as commands."""
    address = processes.venue(PAIRS, 200_000)
    config = processes.config("budget", address, PAIRS, 200_000)
    running = processes.run(config)
    minute(address)
    postmaster = processes.folder / "shared" / "postgres" / "postmaster.pid"  # a daemon, nobody's child
    database = psutil.Process(int(postmaster.read_text().splitlines()[0]))
    second = processes.finished("run", config)
    saved = processes.finished("backup", config, "--out", str(processes.folder / "saved.zip"))
    early = processes.finished("restore", config, str(processes.folder / "saved.zip"), "--replace")
    bus = psutil.Process(bus_process(processes.folder))
    still = running.poll() is None
    running.kill()
    running.wait(30)
    running = processes.run(config)
    taken_over = bus_process(processes.folder)
    for _ in range(MINUTES):  # a life that compiled nothing, which takes more than trading
        minute(address)
    mapped = Path(f"/proc/{running.pid}/maps").read_text()
    memory = proportional_megabytes(psutil.Process(running.pid), database, bus)
    running.send_signal(signal.SIGINT)
    running.wait(30)
    _, left = psutil.wait_procs([database, bus], timeout=20)
    refused = processes.finished("restore", config, str(processes.folder / "saved.zip"))
    restored = processes.finished("restore", config, str(processes.folder / "saved.zip"), "--replace")
    total = sum(memory.values())
    print(f"{total:.0f} MB: {memory}")  # noqa: T201, the figure is the point
    assert any("postgres" in name for name in memory), memory
    assert any("redis" in name for name in memory), memory
    assert 100 < total < BUDGET
    assert "numba" in mapped
    assert "polars" not in mapped, "a bot that trades loads data frames"
    assert still, "the running bot was disturbed"
    assert taken_over == bus.pid, "a second start took its bus away, or a killed bot's was left behind"
    assert not left, "what a killed bot started outlives the next one's end"
    for one in (second, early):
        assert (one.returncode, "bot 'budget' already runs on this database" in one.stderr) == (2, True), one
    assert (refused.returncode, "add --replace" in refused.stderr) == (2, True), refused
    for one in (saved, restored):
        assert (one.returncode, "bot budget, 21 memory" in one.stdout) == (0, True), one


def bus_process(folder):
    """Number of the process that answers at the bus's socket."""
    with redis.Redis(unix_socket_path=str(folder / "shared" / "redis.sock")) as client:
        return client.info("server")["process_id"]
