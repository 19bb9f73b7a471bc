"""Signals by the API: who has the secret is heard, once; everybody else meets one answer."""

from __future__ import annotations

import asyncio
import json

import pytest

from bot.ports import ReceivedSignal
from services.keys.signal_secrets import SignalSecrets
from services.storage.store import PostgresStore
from services.web.api_signals import WINDOW, signature
from tests.services.console_house import NOW, PAIR, console, write_history

LONG = {"id": "a", "pair": PAIR, "side": "long", "stop": 42_000.0, "target": 45_000.0}
LISTENS = {"key": "signals.listens", "value": True, "live": False, "bounds": "", "meaning": "take signals"}


async def send(house, name, secret, given, at=NOW, **changed):
    body = json.dumps(given).encode()
    headers = {
        "Content-Type": "application/json", "X-Signal-Timestamp": str(at),
        "X-Signal-Signature": signature(secret, at, body),
    } | changed  # fmt: skip
    status, said, _ = await house.ask("POST", f"/api/v1/signals/{name}", headers=headers, data=body)
    return status, said


async def secret_of(house, name):
    return (await house.ask("POST", f"/api/v1/signals/{name}/secret", await house.token()))[1]["secret"]


def test_a_signed_signal_is_written_down_once_and_everything_else_is_refused(dsn, name, tmp_path):
    async def main():
        await write_history(dsn, name)
        store = await PostgresStore.open(dsn, name)
        async with console(dsn, tmp_path, name) as house:
            assert (await send(house, name, "guessed", LONG))[1]["code"] == "signature"  # there is none yet
            secret = await secret_of(house, name)
            assert (await send(house, name, secret, LONG))[1]["code"] == "deaf"
            house.bots[name].settings.append(LISTENS)
            assert await send(house, name, secret, LONG) == (201, {"number": 1})
            assert await store.signals(PAIR, 0) == [ReceivedSignal(1, "a", 1, 42_000.0, 45_000.0)]
            for given, status, code in (
                (LONG, 409, "used"),  # what somebody recorded and sends again
                (LONG | {"id": "b", "side": "short"}, 422, "invalid"),
                (LONG | {"id": "b", "stop": 0.0}, 422, "invalid"),
                (LONG | {"id": "b", "side": "close"}, 422, "invalid"),
                (LONG | {"id": "b", "pair": "NONEUSDT"}, 404, "not_found"),
                (LONG | {"id": "b", "size": 3}, 422, "invalid"),
            ):
                found, said = await send(house, name, secret, given)
                assert (found, said["code"]) == (status, code), (given, said)
            later = LONG | {"id": "b"}
            for changed in (
                {"X-Signal-Signature": signature("guessed", NOW, json.dumps(later).encode())},
                {"X-Signal-Signature": signature(secret, NOW, json.dumps(LONG).encode())},  # of another body
                {"X-Signal-Timestamp": str(NOW + 1)},
                {"X-Signal-Signature": "\u00e9"},
            ):
                assert (await send(house, name, secret, later, **changed))[1]["code"] == "signature", changed
            for at in (NOW - WINDOW - 1, NOW + WINDOW + 1):
                assert (await send(house, name, secret, later, at))[0] == 401
            assert (await send(house, "nobody", secret, later))[0] == 401
            assert (await send(house, name, secret, {"id": "c", "pair": PAIR, "side": "close"}))[0] == 201
            listed = (await house.ask("GET", f"/api/v1/signals/{name}", await house.token("read")))[1]["items"]
            assert [(one["signal"], one["direction"]) for one in listed] == [("c", 0), ("a", 1)]
            again = await secret_of(house, name)
            assert (await send(house, name, secret, later))[0] == 401
            assert (await send(house, name, again, later))[0] == 201
            path = f"/api/v1/signals/{name}/secret"
            assert (await house.ask("DELETE", path, await house.token()))[0] == 204
            assert (await send(house, name, again, LONG | {"id": "d"}))[0] == 401
            await house.bots[name].server.stop()
            audit = json.dumps((await house.ask("GET", "/api/v1/audit", await house.token()))[1])
            assert "signal 1 for" in audit
            assert secret not in audit
        await store.close()

    asyncio.run(main())


def test_a_bot_that_does_not_run_takes_no_signal_and_too_many_are_refused(dsn, name, tmp_path):
    async def main():
        await write_history(dsn, name)
        async with console(dsn, tmp_path, name, limits=True) as house:
            secret = await secret_of(house, name)
            house.bots[name].settings.append(LISTENS)
            found = [await send(house, name, secret, LONG | {"id": f"n{k}"}) for k in range(61)]
            assert [status for status, _ in found] == [201] * 60 + [429]
        async with console(dsn, tmp_path, name) as house:
            await house.bots[name].server.stop()
            await house.built.watcher.look()
            assert (await send(house, name, secret, LONG | {"id": "z"}))[0] == 503

    asyncio.run(main())


def test_a_secret_is_sealed_and_only_its_own_bots(tmp_path):
    kept = SignalSecrets(tmp_path)
    kept.keep("main", "word")
    (file,) = (tmp_path / "keys").glob("*.signals.json")
    assert b"word" not in file.read_bytes()
    assert [one.bot for one in kept.names()] == ["main"]
    assert kept.read("main") == "word"
    file.rename(file.with_name("other.signals.json"))
    with pytest.raises(Exception, match="other"):
        kept.read("other")
    assert kept.read("main") is None
