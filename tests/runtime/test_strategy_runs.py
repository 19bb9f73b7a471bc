"""A bot's run as `traderagent strategies` tells it: running while it trades, stopped by Ctrl-C, failed when killed."""

from __future__ import annotations

import json
import signal

import pytest

from tests.runtime.processes import heard


def told(processes, name):
    """Status of a strategy, and the state of its only run."""
    done = processes.finished("strategies", "show", name, "--json")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    return row["status"], [(one["bot"], one["state"]) for one in row["runs"]]


@pytest.mark.slow
def test_a_run_is_told_from_its_start_to_its_end_and_again_after_a_kill(processes):
    address = processes.venue(["BTCUSDT"], 100_000)
    config = processes.config("main", address, ["BTCUSDT"], 100_000, strategy="grid")
    name = processes.finished("strategies", "save", config).stdout.strip()
    assert told(processes, name) == ("draft", [])
    for end, state in ((signal.SIGKILL, "failed"), (signal.SIGINT, "stopped")):
        running = processes.start("run", config)
        heard(running, '"running"')
        assert told(processes, name) == ("running", [("main", "running")])
        refused = processes.finished("strategies", "delete", name, "--yes")
        assert refused.returncode == 2 and "is run by main; stop it first" in refused.stderr
        running.send_signal(end)
        running.wait(60)
        assert told(processes, name) == ("draft", [("main", state)])
