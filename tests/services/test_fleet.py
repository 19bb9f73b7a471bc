"""The supervisor of a fleet: what is wanted is done once, whoever is killed, and what cannot be done is said."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from bot.errors import Misconfigured
from bot.sources import ROOT
from coordinator.machine import PairMachine
from coordinator.run_state import RunState
from services.app.fleet import FleetSupervisor, fleet_supervisor
from services.app.fleet_config import refuse_open, stored_positions
from services.control.client import ask, ask_fleet, control_file, process_of
from services.fleet import launch, records
from services.fleet.records import FIRST_PAUSE, LONGEST_PAUSE, STEADY, FleetBot, FleetRecords, WantedState
from services.processes import lives
from services.storage.schema import migrate
from services.storage.store import PostgresStore
from tests.conftest import classic, instrument
from tests.services.console_house import MINUTE, NOW
from tests.services.test_bot_commands import run as command

CHILD = (sys.executable, "-m", "tests.services.fleet_child")


class Fleet:
    """A supervisor that looks when a test says so, at a clock of the test's; another may follow as after a kill."""

    def __init__(self, folder):
        self.folder, self.clock, self.former = folder, NOW, []
        self.again()

    def again(self):
        """Be another supervisor on the same data directory."""
        self.one = FleetSupervisor(self.folder, lambda: self.clock)
        self.former.append(self.one)

    def say(self, word, name="one", **more):
        return asyncio.run(self.one.act({"command": word, "bot": name, **more}))

    def add(self, name="one", does="", start=True):
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps({"bot": {"name": name}}))
        path.with_suffix(".does").write_text(does)
        return self.say("add", name, config=str(path), environment="demo", start=start)

    def bot(self, name="one"):
        return self.one.bots[name]

    def until(self, state, name="one", seconds=20.0):
        """Look until a bot is in a state."""
        deadline = time.monotonic() + seconds
        while self.bot(name).state is not state:
            assert time.monotonic() < deadline, self.bot(name)
            self.one.look()
            time.sleep(0.01)
        return self.bot(name)

    def started(self):
        """How many processes were ever started."""
        file = self.folder / "started"
        return [int(one) for one in file.read_text().split()] if file.exists() else []


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "COMMAND", CHILD)
    made = Fleet(tmp_path)
    yield made
    for number in made.started():
        if lives(number):
            os.kill(number, signal.SIGKILL)
    for one in made.former:
        one.close()
        for child in one._children.values():
            child.wait()


def test_a_bot_is_started_found_again_by_another_supervisor_and_ends_in_order(fleet):
    assert "one is started" in fleet.add()
    kept = FleetRecords(fleet.folder).read()["one"]
    assert (kept.wanted, kept.process) == (WantedState.RUNNING, None)  # stored before anything is done
    (number,) = {fleet.until(RunState.RUNNING).process}
    assert "already" in fleet.say("start")
    fleet.again()
    assert fleet.until(RunState.RUNNING).process == number
    for _ in range(5):
        fleet.one.look()
    assert fleet.started() == [number]
    assert "stopping" in fleet.say("stop")
    fleet.until(RunState.STOPPING)
    with pytest.raises(Misconfigured, match="is stopping; stop it first"):
        fleet.say("remove")
    one = fleet.until(RunState.STOPPED)
    assert (one.wanted, one.reason, one.process) == (WantedState.STOPPED, "`ctl stop` was said", None)
    fleet.one.look()
    assert fleet.started() == [number]
    fleet.say("remove")
    assert FleetRecords(fleet.folder).read() == {}
    assert (fleet.folder / "one.yaml").exists()  # the user's own file


def test_a_bot_that_was_killed_is_started_again_after_a_pause_also_by_the_next_supervisor(fleet):
    fleet.add()
    first = fleet.until(RunState.RUNNING).process
    os.kill(first, signal.SIGKILL)
    one = fleet.until(RunState.FAILED)
    assert (one.failures, one.next_start) == (1, NOW + FIRST_PAUSE)
    assert "signal 9 has ended it" in one.reason
    fleet.one.look()
    assert fleet.started() == [first]
    fleet.clock += FIRST_PAUSE
    second = fleet.until(RunState.RUNNING).process
    assert second != first
    fleet.one._children["one"].kill()  # and its supervisor at once
    fleet.one._children["one"].wait()
    fleet.again()
    one = fleet.until(RunState.FAILED)
    assert one.failures == 2
    assert "killed, or this machine stopped" in one.reason
    fleet.clock += 2 * FIRST_PAUSE
    fleet.until(RunState.RUNNING)
    fleet.clock += STEADY + 1
    fleet.one.look()
    assert fleet.bot().failures == 0


def test_a_supervisor_that_was_killed_right_after_a_start_does_not_start_the_bot_twice(fleet):
    fleet.add()
    fleet.one.look()
    fleet.one.records.write(replace(fleet.bot(), process=None, state=RunState.STARTING))  # as the kill leaves it
    fleet.again()
    fleet.until(RunState.RUNNING)
    assert len(fleet.started()) == 1
    fleet.one.records.write(replace(fleet.bot(), process=None, state=RunState.STOPPED))
    fleet.again()
    fleet.one.look()
    assert fleet.bot().state is RunState.RUNNING
    assert len(fleet.started()) == 1


@pytest.mark.parametrize(
    ("does", "reason", "tried"),
    [
        ("refuse", "pairs is empty; name one.", 1),
        ("away", "the exchange did not answer", 3),
        ("crash", "it ended with exit code 1; its last line was 'died'", 3),
    ],
)
def test_a_refusal_is_final_and_what_may_pass_is_tried_within_limits(fleet, monkeypatch, does, reason, tried):
    monkeypatch.setattr(records, "MOST_FAILURES", 3)
    fleet.add(does=does)
    for _ in range(2):
        fleet.until(RunState.FAILED)
        fleet.clock += LONGEST_PAUSE
        fleet.one.look()
    one = fleet.until(RunState.FAILED)
    assert (one.reason, one.next_start) == (reason, None)
    fleet.clock += 100 * LONGEST_PAUSE
    fleet.one.look()
    assert len(fleet.started()) == tried
    fleet.folder.joinpath("one.does").write_text("")
    fleet.say("start")
    assert fleet.bot().failures == 0
    fleet.until(RunState.RUNNING)


def test_a_bot_that_somebody_stops_stays_stopped_and_one_that_is_started_by_hand_is_supervised(fleet):
    fleet.add()
    fleet.until(RunState.RUNNING)
    ask(control_file(fleet.folder, "one"), "/command", {"command": "stop"})
    one = fleet.until(RunState.STOPPED)
    assert (one.wanted, one.next_start) == (WantedState.STOPPED, None)
    environment = {**os.environ, "TRADERAGENT_DATA_DIR": str(fleet.folder)}
    by_hand = subprocess.Popen([*CHILD, str(fleet.folder / "one.yaml")], cwd=ROOT, env=environment)
    one = fleet.until(RunState.RUNNING)
    assert (one.wanted, one.process) == (WantedState.RUNNING, by_hand.pid)
    by_hand.kill()
    by_hand.wait()
    one = fleet.until(RunState.FAILED)
    assert "start" in one.reason.lower() or "killed" in one.reason
    fleet.clock += FIRST_PAUSE
    assert fleet.until(RunState.RUNNING).process != by_hand.pid


def test_a_restart_ends_and_starts_and_a_start_while_it_ends_waits_for_the_end(fleet):
    fleet.add()
    first = fleet.until(RunState.RUNNING).process
    assert "started again then" in fleet.say("restart")
    fleet.until(RunState.STOPPED)
    second = fleet.until(RunState.RUNNING).process
    fleet.say("stop")
    fleet.until(RunState.STOPPING)
    assert "when it has ended" in fleet.say("start")
    fleet.until(RunState.STOPPED)
    third = fleet.until(RunState.RUNNING).process
    assert fleet.started() == [first, second, third]


def test_bots_that_end_with_their_supervisor_are_started_by_the_next(fleet):
    fleet.add()
    first = fleet.until(RunState.RUNNING).process
    asyncio.run(fleet.one.stop_all())
    assert not lives(first)
    kept = FleetRecords(fleet.folder).read()["one"]
    assert (kept.wanted, kept.state) == (WantedState.RUNNING, RunState.STOPPED)
    fleet.again()
    assert fleet.until(RunState.RUNNING).failures == 0


def test_a_bot_that_does_not_take_a_stop_is_told_by_a_signal(fleet, monkeypatch):
    monkeypatch.setattr("services.app.fleet.ASK_SECONDS", 0.2)
    fleet.add(does="deaf")
    fleet.until(RunState.RUNNING)
    fleet.say("stop")
    assert fleet.until(RunState.STOPPED).reason == "this machine ended it"


def test_a_config_that_is_gone_or_of_another_bot_is_a_sentence_and_no_process(fleet):
    fleet.add(start=False)
    path = fleet.folder / "one.yaml"
    path.write_text(json.dumps({"bot": {"name": "two"}}))
    fleet.say("start")
    assert "bot.name is 'two'" in fleet.until(RunState.FAILED).reason
    path.unlink()
    fleet.say("start")
    fleet.one.look()
    assert "does not exist" in fleet.bot().reason
    assert fleet.started() == []
    with pytest.raises(Misconfigured, match="is in the fleet already, by"):
        fleet.say("add", config="/elsewhere.yaml", environment="demo")


def test_pauses_double_up_to_their_limit():
    one, pauses = FleetBot("one", "/one.yaml", "demo", WantedState.RUNNING), []
    while (one := one.failed("why", NOW)).next_start is not None:
        assert not one.is_due(one.next_start - 1)
        assert one.is_due(one.next_start)
        pauses.append(one.next_start - NOW)
    assert pauses[:4] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    assert max(pauses) == LONGEST_PAUSE
    assert len(pauses) == records.MOST_FAILURES - 1


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"command": "sing", "bot": "one"}, "command 'sing' is unknown to a fleet"),
        ({"command": "start", "bot": "../etc"}, "is no name"),
        ({"command": "start", "bot": "nobody"}, "'nobody' is not in this fleet"),
        ({"command": "add", "bot": "one", "config": "relative.yaml", "environment": "demo"}, "config and environment"),
    ],
)
def test_commands_that_make_no_sense_are_refused_over_the_control_interface(tmp_path, said, sentence):
    async def main():
        async with fleet_supervisor(tmp_path):
            with pytest.raises(Misconfigured, match=sentence):
                await asyncio.to_thread(ask_fleet, tmp_path, "/command", said)
            with pytest.raises(Misconfigured, match=r"runs on .* already"):
                async with fleet_supervisor(tmp_path):
                    pass
            assert (tmp_path / "fleet.json").stat().st_mode & 0o777 == 0o600

    asyncio.run(main())
    assert process_of(tmp_path / "fleet.json") is None


def test_a_control_file_of_before_a_restart_of_the_machine_is_nobodys(tmp_path):
    """Its number may be another process's by now: one that began after the file was written."""
    file = tmp_path / "one.json"
    file.write_text(json.dumps({"process": os.getpid(), "address": "http://127.0.0.1:1", "token": "x"}))
    assert process_of(file) == os.getpid()
    os.utime(file, (1, 1))
    assert process_of(file) is None


def test_what_a_bot_holds_is_read_from_its_database(dsn, name):
    async def main():
        await migrate(dsn)
        store = await PostgresStore.open(dsn, name)
        machine = PairMachine(classic(), instrument(), 1.0, MINUTE)
        await store.save("BTCUSDT", machine.saved(), NOW, [], [], [])
        assert await stored_positions(dsn, name) == {}
        machine.pairs[0].ledger.position = -250
        await store.save("BTCUSDT", machine.saved(), NOW, [], [], [])
        held = await stored_positions(dsn, name)
        await store.close()
        return held

    held = asyncio.run(main())
    assert held == {"BTCUSDT": -0.25}
    with pytest.raises(Misconfigured, match=r"holds -0.25 BTCUSDT.*--leave-positions"):
        refuse_open(name, held)


def test_the_command_says_where_no_fleet_runs_and_lists_how_bots_stood(tmp_path):
    assert "no fleet runs on" in command("fleet", "start", "one", folder=tmp_path, code=2).stderr
    assert "does not exist" in command("fleet", "add", "none.yaml", folder=tmp_path, code=2).stderr
    FleetRecords(tmp_path).write(FleetBot("one", "/one.yaml", "demo", reason="it was tired", since=NOW))
    shown = command("fleet", "list", folder=tmp_path).stdout
    assert "it was tired" in shown and "no fleet runs here" in shown
    kept = json.loads(command("fleet", "list", "--json", folder=tmp_path).stdout)
    assert (kept["runs"], kept["bots"][0]["name"]) == (False, "one")
    (tmp_path / "fleet" / "one.json").write_text("{")
    assert "is damaged; remove the file" in command("fleet", "list", folder=tmp_path, code=2).stderr


def test_a_large_output_is_emptied_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "LARGEST_OUT", 10)
    out = tmp_path / "one.out"
    with out.open("ab", buffering=0) as writer:
        writer.write(b"x" * 11)
        launch.keep_small(out)
        writer.write(b"more")
    assert out.read_bytes() == b"more"
    launch.keep_small(tmp_path / "none")


def test_a_full_disk_starts_nothing_and_the_next_look_tries_again(fleet, monkeypatch):
    fleet.add()

    def full(_one):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fleet.one.records, "write", full)
        fleet.one.look()
    assert fleet.started() == []
    fleet.until(RunState.RUNNING)
