"""Upgrades of bots that a fleet or a systemd unit keeps running, by real processes: no stop is cancelled.

There is no systemd here: a unit's ExecStart is started by hand, in its folder, with its environment and no other.
"""

from __future__ import annotations

import configparser
import json
import os
import shlex
import signal
import subprocess
import time

import psutil
import pytest

from tests.conftest import ROOT
from tests.runtime.processes import heard
from tests.runtime.test_upgrade import (
    CAPITAL,
    GRID,
    PAIRS,
    assert_kept,
    assert_protected,
    at_venue,
    next_version,
    played,
    with_other_tables,
)

pytestmark = pytest.mark.slow


class Supervised:
    """A venue, the config of a bot, and what keeps it running."""

    def __init__(self, processes):
        self.processes, self.folder = processes, processes.folder
        self.address = processes.venue(PAIRS, CAPITAL)
        given = {"auto": {"router": "grid"}, "grid": {**GRID, "levels": 15}}
        self.config = processes.config("u", self.address, PAIRS, CAPITAL, **given)

    def bots(self):
        """Processes that are a bot of this folder, whoever has started them."""
        found = []
        for one in psutil.process_iter(["cmdline"]):
            words = one.info["cmdline"] or []
            if "run" in words and "fleet" not in words and words[-1] == self.config:
                found.append(one)
        return found

    def said(self, *arguments, code=0):
        done = self.processes.finished(*arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def until(self, state):
        """Wait until the fleet says so of its bot."""
        deadline = time.monotonic() + 120
        while (row := json.loads(self.said("fleet", "list", "--json"))["bots"][0])["state"] != state:
            assert time.monotonic() < deadline, row

    def fleet(self):
        started = self.processes.start("fleet", "run")
        heard(started, "fleet of")
        return started

    def unit(self, *arguments, keys):
        """Start what `install-service` writes into a unit, which finds the API key in the file `keys`."""
        parser = configparser.RawConfigParser(strict=False)
        parser.optionxform = str
        parser.read_string(self.said("install-service", *arguments))
        service = parser["Service"]
        assert service["Restart"] == "on-failure"
        assert service["EnvironmentFile"] == f"-{keys}"
        keys.write_text("TRADERAGENT_KEY=venue-key\nTRADERAGENT_SECRET=venue-secret\n")
        environment = {
            name: os.environ[name] for name in ("PATH", "HOME", "TRADERAGENT_CACHE_DIR") if name in os.environ
        }
        lines = [service["Environment"].strip('"'), *keys.read_text().splitlines()]
        environment.update(line.split("=", 1) for line in lines)
        # Interpreted, and by this version's sources or the next one's, each of which would be installed by itself.
        environment.update(NUMBA_DISABLE_JIT="1", PYTHONPATH=str(self.processes.root))
        process = subprocess.Popen(
            shlex.split(service["ExecStart"]),
            cwd=service["WorkingDirectory"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.started.append(process)
        return process

    def trades(self):
        """Trade until there are positions with stops; what is at the exchange then."""
        played(self.address, 65)  # grids are laid when an hour closes
        before = at_venue(self.address)
        assert any(position.lots and position.stop for _, position in before.values()), "shows nothing"
        return before

    def next(self):
        """Go on with the sources of the next version; returns the number of its tables."""
        self.processes.root = next_version(self.folder / "next")
        return with_other_tables(self.processes.root)


@pytest.fixture
def house(processes):
    """A bot that outlives what has started it, ended with the test."""
    made = Supervised(processes)
    yield made
    left = made.bots()
    for process in left:
        process.terminate()
    psutil.wait_procs(left, timeout=60)


def ended(process, how):
    process.send_signal(how)
    assert process.wait(90) == 0


def test_a_bot_of_a_fleet_is_upgraded_while_it_trades_and_no_order_is_cancelled(house):
    fleet = house.fleet()
    house.said("fleet", "add", house.config, "--start")
    house.until("running")
    before = house.trades()
    house.next()
    refused = house.said("upgrade", house.config, code=2)
    assert "a fleet supervises this data directory" in refused
    assert at_venue(house.address) == before
    ended(fleet, signal.SIGINT)  # the supervisor alone
    (bot,) = house.bots()
    played(house.address, 1)
    before = at_venue(house.address)
    assert "stopped: u" in house.said("upgrade", house.config)
    assert psutil.wait_procs([bot], timeout=60)[1] == []
    assert_kept(house.address, before, "while no bot runs")
    fleet = house.fleet()
    house.until("stopped")  # somebody has stopped it on purpose: it waits for whoever did
    house.said("fleet", "start", "u")
    house.until("running")
    played(house.address, 5)
    assert_kept(house.address, before, "the next version, under its fleet")
    house.said("fleet", "stop", "u")
    house.until("stopped")
    assert_protected(house.address, before, "stopped")
    ended(fleet, signal.SIGINT)


def test_a_fleet_of_a_unit_stops_its_bots_before_an_upgrade_and_starts_them_after_it(house):
    keys = house.folder / "fleet.env"
    supervisor = house.unit("--service", "fleet", keys=keys)
    heard(supervisor, "fleet of")
    house.said("fleet", "add", house.config, "--start")
    house.until("running")
    before = house.trades()
    ended(supervisor, signal.SIGTERM)  # as `systemctl stop` does: the unit says --stop-bots
    assert house.bots() == []
    assert_protected(house.address, before, "while neither runs")
    house.next()
    assert "stopped: none" in house.said("upgrade", house.config)
    supervisor = house.unit("--service", "fleet", keys=keys)
    heard(supervisor, "fleet of")
    house.until("running")
    played(house.address, 5)
    assert_protected(house.address, before, "the next version, under its unit")
    ended(supervisor, signal.SIGTERM)
    assert_protected(house.address, before, "ended")


def test_a_bot_of_a_unit_ends_so_that_systemd_does_not_start_it_again_and_no_order_is_cancelled(house):
    keys = house.folder / "u.env"
    bot = house.unit(house.config, keys=keys)
    heard(bot, '"running"')
    before = house.trades()
    house.next()
    assert "stopped: u" in house.said("upgrade", house.config)
    assert bot.wait(60) == 0, "Restart=on-failure would start the version before on tables of the next"
    assert_kept(house.address, before, "while no bot runs")
    old, house.processes.root = house.processes.root, ROOT
    late = house.unit(house.config, keys=keys)  # an old unit that is started by mistake
    heard(late, "written by a newer version")
    assert late.wait(60) == 2, "RestartPreventExitStatus ends it there"
    house.processes.root = old
    bot = house.unit(house.config, keys=keys)
    heard(bot, '"running"')
    played(house.address, 5)
    assert_kept(house.address, before, "the next version, under its unit")
    ended(bot, signal.SIGTERM)
    assert_protected(house.address, before, "ended")
