"""Keys and watchdog as a user has them: processes, a store, a rotation, a kill, and nothing secret in what is left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time

import pytest

from services.simulated_bybit.records import Key
from tests.runtime.house import config, exchange_for, venue
from tests.runtime.processes import heard
from tests.services.test_watchdog import Receiver

FIRST = Key("first-key-A1b2C3d4E5", "first-secret-F6g7H8i9J0")
SECOND = Key("second-key-K1l2M3n4O5", "second-secret-P6q7R8s9T0")
READ = Key("watch-key-U1v2W3x4Y5", "watch-secret-Z6a7B8c9D0", may_trade=False)
PATIENCE = 1.0


@pytest.fixture
def keyless(processes):
    """Processes without a key in their environment."""
    for name in ("KEY", "SECRET"):
        processes.environment.pop(f"TRADERAGENT_{name}", None)
    return processes


def add_key(processes, word, key, *more):
    file = processes.folder / "given.txt"
    file.write_text(f"{key.key}\n{key.secret}\n")
    done = processes.finished("keys", word, "--environment", "venue", "--file", str(file), *more)
    file.unlink()
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def written(folder):
    """Every file with its bytes."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            try:
                yield path, path.read_bytes()
            except (FileNotFoundError, PermissionError):
                continue


def play(processes, address, house, receiver):
    """Add keys, run, rotate, kill; returns what was said, and how late the alarm was."""
    said = [add_key(processes, "add", FIRST), add_key(processes, "add", READ, "--purpose", "watching")]
    path = processes.config("main", address, ["BTCUSDT", "SOLUSDT"], 10_000.0)
    done = processes.finished("doctor", path)
    said.append(done.stdout + done.stderr)
    assert done.returncode == 0, said[-1]
    bot = processes.start("run", path)
    said.append(heard(bot, '"running"'))
    watch = processes.folder / "watchdog.yaml"
    watch.write_text(json.dumps({"silent_seconds": PATIENCE, "webhooks": [{"url": f"{receiver.address}/HOOK-PATH"}]}))
    watch.chmod(0o600)
    dog = processes.start("watchdog", str(watch))
    said.append(heard(dog, "watching", "main"))
    said.append(add_key(processes, "rotate", SECOND))
    done = processes.finished("ctl", "reload")
    said.append(done.stdout + done.stderr)
    assert "adopted another API key" in said[-1]
    house.server.keys.pop(FIRST.key)
    done = processes.finished("ctl", "halt")
    said.append(done.stdout + done.stderr)
    assert done.returncode == 0, said[-1]
    assert called_for(receiver) <= {"halted"}, "which waits for a decision"
    os.kill(bot.pid, signal.SIGKILL)
    died = time.monotonic()
    while "silent" not in called_for(receiver) and time.monotonic() < died + 30:
        time.sleep(0.01)
    (silent,) = [one for one in receiver.got if json.loads(one.body)["condition"] == "silent"]
    return said, silent.at - died, json.loads(silent.body)


def called_for(receiver):
    """Conditions that the watchdog has called for."""
    return {json.loads(one.body)["condition"] for one in receiver.got}


@pytest.mark.slow
def test_a_key_of_the_store_is_traded_with_rotated_and_watched_and_left_in_no_file(keyless):
    async def main():
        exchange = exchange_for(config())
        async with venue(exchange, keys=(FIRST, SECOND, READ)) as house, Receiver() as receiver:
            return await asyncio.to_thread(play, keyless, house.address, house, receiver)

    said, late, body = asyncio.run(main())
    assert (body["bot"], body["condition"]) == ("main", "silent")
    assert late < PATIENCE + 3.0
    secrets = [one for key in (FIRST, SECOND, READ) for one in (key.key, key.secret)]
    everything = "\n".join(said)
    assert not [one for one in (*secrets, "HOOK-PATH") if one in everything]
    found = [(path.name, one) for path, data in written(keyless.folder) for one in secrets if one.encode() in data]
    assert found == []
    assert sum(len(data) for _, data in written(keyless.folder)) > 1_000_000  # the database is among it
