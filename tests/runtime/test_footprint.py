"""What a bot of twenty pairs takes of a small server, as processes: memory, and one bot of a name at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request

import psutil
import pytest
import redis
import yaml

from tests.conftest import ROOT

PAIRS = [f"C{index:02d}USDT" for index in range(20)]
MINUTES = 60
BUDGET = 700  # MB: bot, embedded Postgres and Redis
COMMAND = [sys.executable, "-c", "from services.command_line.main import main; main()"]


class Processes:
    """A venue and bots, each as a user starts them."""

    def __init__(self, folder):
        self.folder, self.started = folder, []
        given = {"DATA_DIR": str(folder), "KEY": "venue-key", "SECRET": "venue-secret"}
        self.environment = {**os.environ, **{f"TRADERAGENT_{key}": value for key, value in given.items()}}

    def start(self, *arguments):
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def finished(self, *arguments):
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def end(self):
        for process in reversed(self.started):
            process.send_signal(signal.SIGINT)
            process.wait(30)
            process.stdout.close()


def heard(process, *words):
    """Read what a process says until one line has all of the words; returns that line."""
    said = []
    for line in process.stdout:
        said.append(line)
        if all(word in line for word in words):
            threading.Thread(target=process.stdout.read, daemon=True).start()  # or it would wait for a reader
            return line
    pytest.fail("".join(said[-20:]))


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
    names = ",".join(PAIRS)
    venue = processes.start(
        *("venue", "--pairs", names, "--speed", "0", "--days", "12", "--history", "9", "--port", "0"),
        *("--capital", "200000"),
    )
    address = heard(venue, "venue at http").split()[2]
    config = processes.folder / "bot.yaml"
    bot = {"name": "budget", "environment": "venue", "address": address, "requests_per_second": 100}
    config.write_text(yaml.safe_dump({"strategy": "auto", "pairs": PAIRS, "capital": 200_000, "bot": bot}))
    running = processes.start("run", str(config))
    heard(running, '"running"')
    for _ in range(MINUTES):
        while advance(address)["inside"]:
            pass
    postmaster = processes.folder / "bots" / "budget" / "postgres" / "postmaster.pid"  # a daemon, nobody's child
    database = psutil.Process(int(postmaster.read_text().splitlines()[0]))
    memory = proportional_megabytes(psutil.Process(running.pid), database)
    second = processes.finished("run", str(config))
    saved = processes.finished("backup", str(config), "--out", str(processes.folder / "saved.zip"))
    early = processes.finished("restore", str(config), str(processes.folder / "saved.zip"), "--replace")
    bus = psutil.Process(bus_process(processes.folder))
    still = running.poll() is None
    running.kill()
    running.wait(30)
    running = processes.start("run", str(config))
    heard(running, '"running"')
    taken_over = bus_process(processes.folder)
    running.send_signal(signal.SIGINT)
    running.wait(30)
    _, left = psutil.wait_procs([database, bus], timeout=20)
    refused = processes.finished("restore", str(config), str(processes.folder / "saved.zip"))
    restored = processes.finished("restore", str(config), str(processes.folder / "saved.zip"), "--replace")
    total = sum(memory.values())
    print(f"{total:.0f} MB: {memory}")  # noqa: T201, the figure is the point
    assert any("postgres" in name for name in memory), memory
    assert any("redis" in name for name in memory), memory
    assert 100 < total < BUDGET
    assert still, "the running bot was disturbed"
    assert f"redis-server {bus.pid}" in memory, "a second start took its bus away"
    assert taken_over == bus.pid, "a killed bot's bus was left behind"
    assert not left, "what a killed bot started outlives the next one's end"
    for one in (second, early):
        assert (one.returncode, "bot 'budget' already runs on this database" in one.stderr) == (2, True), one
    assert (refused.returncode, "add --replace" in refused.stderr) == (2, True), refused
    for one in (saved, restored):
        assert (one.returncode, "bot budget, 21 memory" in one.stdout) == (0, True), one


def bus_process(folder):
    """Number of the process that answers at the bus's socket."""
    with redis.Redis(unix_socket_path=str(folder / "bots" / "budget" / "redis.sock")) as client:
        return client.info("server")["process_id"]


def advance(address):
    with urllib.request.urlopen(urllib.request.Request(f"{address}/venue/advance", method="POST")) as answer:
        return json.load(answer)
