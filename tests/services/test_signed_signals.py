"""Signals by the API: who has the secret is heard, once; everybody else meets one answer."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest

from bot.events import Decision
from bot.order import OrderKind, Signal
from bot.ports import Cause, Execution, Order, ReceivedSignal
from bot.times import MINUTE
from coordinator.machine import PairMachine
from services.keys.sealed_secrets import SealedSecrets, SecretKind
from services.storage.store import PostgresStore
from services.web.api_signals import WINDOW, signature
from tests.browser import browser, needs_chromium
from tests.conftest import classic, instrument
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


def test_each_signal_is_shown_with_what_the_bot_did(dsn, name, tmp_path):
    def heard(number, minute, asked, price=43_000.0, late=False):
        fields = {"number": number, "asked": asked, "late": late, "stop": 0.0, "target": 0.0, "price": price}
        return Decision(PAIR, NOW + minute * MINUTE, "signal", fields)

    def order(number, reduce_only, signal):
        side, kind = -1 if reduce_only else 1, OrderKind.MARKET
        return Order(f"o{number}", 0, number, side, kind, 0, 10, reduce_only, False, signal, 0, 0, 0)

    def filled(number, minute, side, position):
        one = Execution(*(f"f{number}", PAIR, f"o{number}", side, 430_000, 10, 0.01, False), NOW + minute * MINUTE, Cause.ORDER)  # fmt: skip # noqa: E501
        return one, SimpleNamespace(position=position, realised=0.0)

    async def main():
        store = await PostgresStore.open(dsn, name)
        saved = PairMachine(classic(), instrument(), 1.0, MINUTE).saved()
        async with console(dsn, tmp_path, name) as house:
            rows = house.built.sources.signals
            asked = ["long", "short", "close", "close", "long", "short", "long", "long", "long", "close"]
            for number, side in enumerate(asked, 1):
                direction = {"long": 1, "short": -1, "close": 0}[side]
                stop, target = (42_000.0, 45_000.0)[::direction] if direction else (0.0, 0.0)
                await rows.add(name, PAIR, f"s{number}", direction, stop, target, 0.0 if number == 9 else 3600.0)
            said = [
                *(heard(1, 0, "long"), heard(2, 2, "short"), heard(3, 4, "close"), heard(4, 6, "close")),
                *(heard(5, 8, "long", price=46_000.0), heard(6, 10, "short", late=True), heard(7, 12, "long")),
                Decision(PAIR, NOW + 12 * MINUTE, "pause", {"reason": "losses", "until": "later", "size": 0.5}),
                *(heard(8, 14, "long"), heard(10, 14, "close")),
            ]
            await store.save(PAIR, saved, NOW + MINUTE, [order(1, False, Signal.ENTRY)], [filled(1, 1, 1, 10)], said)
            await rows.add(name, PAIR, "s11", 1, 42_000.0, 45_000.0, 3600.0)
            refusal = {"refusal": "no_money", "side": "buy", "price": 0.0, "quantity": 0.01}
            said = [heard(11, 20, "long"), Decision(PAIR, NOW + 21 * MINUTE, "refused", refusal)]
            await store.save(PAIR, saved, NOW + 21 * MINUTE, [order(11, False, Signal.ENTRY)], [], said)
            await store.save(PAIR, saved, NOW + 5 * MINUTE, [order(2, True, Signal.EXIT_TP)], [filled(2, 5, -1, 0)], [])
            token = await house.token("read")
            told = (await house.ask("GET", f"/api/v1/signals/{name}", token))[1]["items"]
            assert [(one["signal"], one["outcome"]) for one in reversed(told)] == [
                ("s1", "filled"), ("s2", "held"), ("s3", "filled"), ("s4", "nothing_held"), ("s5", "price_passed"),
                ("s6", "late"), ("s7", "not_opened"), ("s8", "passed_over"), ("s9", "unheard"), ("s10", "nothing_held"),
                ("s11", "refused"),
            ]  # fmt: skip
            first = told[-1]
            assert (first["quantity"], first["fill_price"], first["heard"]) == (10 * 0.001, 43_000.0, NOW)
            assert [one["kind"] for one in told[4]["decisions"]] == ["pause"]
            page = (await house.ask("GET", f"/signals?bot={name}", token))[1].decode()
            for words in (
                "does not listen",
                "filled 0.01 at 43,000",
                "another trade was open",
                "refused to buy 0.01 at the market (no money)",
                "There is no secret",
            ):
                assert words in page, words
            secret = await secret_of(house, name)
            house.bots[name].settings.append(LISTENS)
            page = (await house.ask("GET", f"/signals?bot={name}", token))[1].decode()
            assert "does not listen" not in page
            assert secret not in page
            assert (await house.ask("GET", f"/api/v1/signals/{name}/secret", await house.token()))[1] == {"made": True}
        await store.close()

    asyncio.run(main())


@pytest.mark.slow
@needs_chromium
def test_a_secret_is_made_shown_once_and_removed_in_a_browser(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house, browser() as page:
            await page.visit(f"{house.address}/sign-in#link={await house.built.access.link()}")
            await page.until("location.pathname === '/' && document.body.classList.contains('alive')")
            await page.visit(f"{house.address}/signals?bot={name}")
            await page.push("[data-secret=make]")
            shown = "document.querySelector('#secret-shown output').textContent"
            assert await page.until(shown) == SealedSecrets(tmp_path, SecretKind.SIGNALS).read(name)
            before = await page.run(shown)
            await page.push("[data-secret=replace]")
            await page.push("#ask .strong")
            await page.until(f"{shown} !== {before!r}")
            assert await page.run(shown) == SealedSecrets(tmp_path, SecretKind.SIGNALS).read(name)
            await page.visit(f"{house.address}/signals?bot={name}&again=1")
            assert await page.run(shown) == ""
            await page.push("[data-secret=remove]")
            await page.push("#ask .strong")
            await page.until("!document.getElementById('secret-none').hidden")
            assert SealedSecrets(tmp_path, SecretKind.SIGNALS).read(name) is None
            assert page.faults(house.address) == []

    asyncio.run(main())


def test_a_secret_is_sealed_and_only_its_own_bots(tmp_path):
    kept = SealedSecrets(tmp_path, SecretKind.SIGNALS)
    kept.keep("main", "word")
    (file,) = (tmp_path / "keys").glob("*.signals.json")
    assert b"word" not in file.read_bytes()
    assert [one.owner for one in kept.names()] == ["main"]
    assert kept.read("main") == "word"
    file.rename(file.with_name("other.signals.json"))
    with pytest.raises(Exception, match="other"):
        kept.read("other")
    assert kept.read("main") is None
