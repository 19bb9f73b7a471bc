"""A fleet as a user runs it: real bots on the simulated exchange, of which anybody may be killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import time

import psutil
import pytest

from tests.runtime.processes import heard, minute

pytestmark = pytest.mark.slow
PAIRS = ["BTCUSDT"]


@pytest.fixture
def house(processes):
    """A fleet that is to be started, and what it leaves behind ended."""
    made = FleetHouse(processes)
    yield made
    for process in made.bots():
        process.kill()


class FleetHouse:
    """A venue, configs, and a supervisor that can be killed and started."""

    def __init__(self, processes):
        self.processes, self.fleet = processes, None
        self.address = processes.venue(PAIRS, 100_000)

    def start(self, *options):
        self.fleet = self.processes.start("fleet", "run", *options)
        heard(self.fleet, "fleet of")

    def kill(self):
        self.fleet.kill()
        self.fleet.wait(10)

    def said(self, *arguments, code=0):
        done = self.processes.finished("fleet", *arguments)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def row(self, name):
        rows = json.loads(self.said("list", "--json"))["bots"]
        return next(one for one in rows if one["name"] == name)

    def until(self, name, state, seconds=120.0, **more):
        deadline = time.monotonic() + seconds
        while (row := self.row(name))["state"] != state or any(row[key] != value for key, value in more.items()):
            assert time.monotonic() < deadline, row
        return row

    def bots(self):
        """Processes that are a bot of this folder."""
        found = []
        for one in psutil.process_iter(["cmdline"]):
            words = one.info["cmdline"] or []
            if "run" in words and "fleet" not in words and str(self.processes.folder) in words[-1]:
                found.append(one)
        return found

    def holds_after(self, minutes):
        """Whether the bot holds something after so many minutes."""
        for _ in range(minutes):
            minute(self.address)
        status = json.loads(self.processes.finished("ctl", "status", "--json").stdout)
        return status["pairs"][0]["position"] != 0.0

    def config(self, name, **sections):
        return self.processes.config(name, self.address, PAIRS, 100_000, strategy="grid", **sections)


def test_bots_and_their_supervisor_are_killed_and_each_bot_runs_once(house):
    config = house.config("main")
    house.start()
    house.said("add", config, "--start")
    first = house.until("main", "running")["process"]
    for _ in range(30):
        minute(house.address)
    refused = house.processes.finished("run", config)
    assert refused.returncode == 2 and "already runs on this database" in refused.stderr

    house.kill()  # the supervisor alone: the bot trades on
    for _ in range(10):
        minute(house.address)
    assert [one.pid for one in house.bots()] == [first]
    house.start()
    assert house.until("main", "running")["process"] == first

    os.kill(first, signal.SIGKILL)  # the bot alone
    second = house.until("main", "running", failures=1)["process"]
    assert second != first and [one.pid for one in house.bots()] == [second]

    house.kill()  # both
    os.kill(second, signal.SIGKILL)
    house.start()
    third = house.until("main", "running", failures=2)["process"]
    assert [one.pid for one in house.bots()] == [third]
    house.said("restart", "main")
    house.until("main", "stopping")
    fourth = house.until("main", "running")["process"]
    assert fourth != third and [one.pid for one in house.bots()] == [fourth]
    house.said("stop", "main")
    assert house.until("main", "stopped")["wanted"] == "stopped"
    assert house.bots() == []


def test_a_bot_that_holds_something_is_not_removed_unless_it_is_said_so(house):
    config = house.config("main", grid={"direction": "long", "levels": 30})
    house.start()
    house.said("add", config, "--start")
    house.until("main", "running")
    assert any(house.holds_after(50) for _ in range(12)), "the market has to fill something for this to mean anything"
    assert "stop it first" in house.said("remove", "main", code=2)
    house.said("stop", "main")
    house.until("main", "stopped")
    assert "holds " in house.said("remove", "main", code=2)
    assert "taken out" in house.said("remove", "main", "--leave-positions")
    assert json.loads(house.said("list", "--json"))["bots"] == []


def test_what_a_bot_is_refused_for_is_its_reason_and_bots_end_with_the_fleet_where_it_is_told(house):
    broken = house.config("broken", grid={"levels": 1})
    wrong = house.config("wrong")
    house.processes.environment["TRADERAGENT_KEY"] = "another-key"
    house.start("--stop-bots")
    assert "grid.levels" in house.said("add", broken, code=2)  # told at once
    house.said("add", wrong, "--start")
    row = house.until("wrong", "failed")
    assert row["next_start"] is None
    assert "key" in row["reason"].lower()
    house.fleet.send_signal(signal.SIGINT)
    house.fleet.wait(60)
    house.processes.environment["TRADERAGENT_KEY"] = "venue-key"
    house.start("--stop-bots")
    house.said("start", "wrong")
    house.until("wrong", "running")
    house.fleet.send_signal(signal.SIGTERM)
    assert house.fleet.wait(110) == 0
    row = house.row("wrong")
    assert (row["state"], row["wanted"]) == ("stopped", "running")
    assert house.bots() == []
    house.start()
    house.until("wrong", "running")


def test_a_bot_that_was_started_by_hand_is_taken_over_and_an_exchange_that_is_away_is_tried_again(house):
    config = house.config("main")
    by_hand = house.processes.run(config)
    house.start()
    assert "in the fleet" in house.said("add", config)
    row = house.until("main", "running")
    assert (row["process"], row["wanted"]) == (by_hand.pid, "running")
    by_hand.send_signal(signal.SIGINT)
    by_hand.wait(60)
    assert "Ctrl-C" in house.until("main", "stopped", wanted="stopped")["reason"]
    away = house.processes.config("away", "http://127.0.0.1:1", PAIRS, 100_000, strategy="grid")
    house.said("add", away, "--start")
    row = house.until("away", "failed")
    assert row["next_start"] is not None and "did not answer" in row["reason"]


def test_the_console_runs_a_bot_beside_it_by_the_same_supervisor(house):
    config = house.config("main")
    web = house.processes.start("web", "--port", "0", "--with", config)
    heard(web, "main is started")
    number = house.until("main", "running")["process"]
    web.kill()  # the bot trades on
    web.wait(10)
    assert [one.pid for one in house.bots()] == [number]
    web = house.processes.start("web", "--port", "0", "--with", config)
    heard(web, "already")
    house.until("main", "running", process=number)
    web.send_signal(signal.SIGTERM)
    assert web.wait(110) == 0
    assert house.bots() == []
    assert house.row("main")["state"] == "stopped"
