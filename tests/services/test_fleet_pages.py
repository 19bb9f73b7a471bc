"""Bots created, started, stopped and deleted by the API and its page; and in a Chromium, with a bot that trades."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager, suppress
from secrets import token_hex

import pytest
import yaml

from bot.errors import Misconfigured
from services.app.fleet import fleet_supervisor
from services.fleet import launch
from services.fleet.records import FleetRecords
from services.keys.key_store import ApiKey, KeyName, KeyStore
from services.processes import lives
from services.runtime.config import load_bot
from tests.browser import browser, needs_chromium
from tests.runtime.processes import Processes, heard, minute
from tests.services.console_house import console
from tests.services.test_fleet import CHILD

GIVEN = {"name": "one", "strategy": "grid", "pairs": ["btc/usdt"], "capital": 500, "environment": "demo"}


@asynccontextmanager
async def supervised(folder):
    """A supervisor that runs; its bots are killed at the end."""
    async with fleet_supervisor(folder) as fleet:
        running = asyncio.create_task(fleet.run())
        try:
            yield fleet
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            for child in fleet._children.values():
                child.kill()
                child.wait()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data directory with trading keys for demo and live, where a child stands for every bot."""
    monkeypatch.setenv("TRADERAGENT_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("TRADERAGENT_KEY", raising=False)
    monkeypatch.setattr(launch, "COMMAND", CHILD)
    for environment in ("demo", "live"):
        KeyStore(tmp_path).add(KeyName("owner", "bybit", environment), ApiKey("a-key-of-mine", "its-secret-of-mine"))
    return tmp_path


class Asking:
    """Asks a console, each change under a key of its own unless told."""

    def __init__(self, house, token):
        self.house, self.token = house, token

    async def __call__(self, method, path, json=None, key=None):
        headers = {"Idempotency-Key": key or token_hex(8)}
        status, body, _ = await self.house.ask(method, f"/api/v1{path}", self.token, json=json, headers=headers)
        return status, body

    async def until(self, state):
        while True:
            (row,) = (await self("GET", "/fleet"))[1]["items"]
            if row["state"] == state:
                return row
            await asyncio.sleep(0.02)


def test_a_bot_is_created_started_stopped_and_deleted_once_each_and_the_audit_has_it(dsn, folder):
    async def main():
        async with supervised(folder), console(dsn, folder, "x") as house, asyncio.timeout(30):
            ask, token = Asking(house, await house.token("control")), token_hex(8)
            assert await ask("GET", "/fleet") == (200, {"runs": True, "items": []})
            choices = (await ask("GET", "/fleet/choices"))[1]
            assert "grid" in choices["strategies"] and "stable_low" in choices["presets"]
            assert {"user": "owner", "environment": "demo"} in choices["keys"]
            assert "a-key-of-mine" not in str(choices)
            status, body = await ask("POST", "/bots", GIVEN, f"create-{token}")
            assert (status, body["again"]) == (200, False), body
            assert (await ask("POST", "/bots", GIVEN, f"create-{token}"))[1]["again"]
            settings, config = load_bot(folder / "fleet" / "one.yaml")
            assert (settings.name, settings.environment, config.pairs) == ("one", "demo", ("BTCUSDT",))
            row = (await ask("GET", "/fleet"))[1]["items"][0]
            assert (row["state"], row["strategy"], row["pairs"]) == ("stopped", "grid", ["BTCUSDT"])
            assert (await ask("POST", "/bots/one/run", {"command": "start"}))[0] == 200
            await ask.until("running")
            status, body = await ask("DELETE", "/bots/one")
            assert (status, "stop it first" in body["message"]) == (409, True)
            for language, word in (("en", "running"), ("ru", "работает")):
                page = await house.ask("GET", "/bots", ask.token, headers={"Accept-Language": language})
                assert word in page[1].decode() and 'data-bot="one"' in page[1].decode()
            assert (await ask("POST", "/bots/one/run", {"command": "stop"}))[0] == 200
            await ask.until("stopped")
            assert (await ask("DELETE", "/bots/one", key=f"delete-{token}"))[0] == 200
            assert not (folder / "fleet" / "one.yaml").exists()
            assert (await ask("DELETE", "/bots/one"))[0] == 404
            said = [(one["action"], one["refused"]) for one in (await ask("GET", "/audit?bot=one"))[1]["items"]]
            assert said[:5] == [
                *(("delete a bot", False), ("stop a bot", False), ("delete a bot", True), ("start a bot", False)),
                ("create a bot", False),
            ]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("changes", "status", "field", "sentence"),
    [
        ({"name": "Main"}, 422, "name", "pattern"),
        ({"pairs": ["no such!"]}, 422, "pairs", "is no symbol"),
        ({"capital": -1}, 422, "capital", "greater than 0"),
        ({"environment": "testnet"}, 422, "user", "no trading key of owner for bybit testnet"),
        ({"environment": "venue"}, 422, "address", "bot.address belongs to bot.environment: venue"),
        ({"preset": "nosuch", "strategy": None}, 422, "preset", "preset nosuch is unknown"),
        ({"saved": "0" * 16, "strategy": None}, 422, "saved", "no saved strategy"),
        ({"preset": "stable_low"}, 422, "strategy", "name 2 strategies"),
        ({"strategy": "/etc/passwd.py:X"}, 422, "strategy", "input should be"),
        ({"environment": "live"}, 422, "untested", "has no finished backtest on BTCUSDT"),
    ],
)
def test_what_cannot_run_is_a_sentence_beside_its_field_and_leaves_nothing(
    dsn, folder, changes, status, field, sentence
):
    async def main():
        async with supervised(folder) as fleet, console(dsn, folder, "x", look=False) as house:
            found, body = await Asking(house, await house.token("money"))("POST", "/bots", GIVEN | changes)
            assert (found, body["field"]) == (status, field), body
            assert sentence in body["message"]
            assert fleet.bots == {}
            assert list((folder / "fleet").glob("*.yaml")) == []

    asyncio.run(main())


def test_real_money_asks_for_money_and_a_name_is_given_once(dsn, folder):
    async def main():
        async with supervised(folder), console(dsn, folder, "x", look=False) as house:
            low, high = Asking(house, await house.token("control")), Asking(house, await house.token("money"))
            live = GIVEN | {"environment": "live", "untested": True}
            status, body = await low("POST", "/bots", live)
            assert (status, body["code"], body["field"]) == (403, "scope", "environment")
            assert (await high("POST", "/bots", live))[0] == 200
            assert (await low("POST", "/bots/one/run", {"command": "start"}))[0] == 403
            assert (await low("POST", "/bots/one/run", {"command": "stop"}))[0] == 200
            assert (await low("DELETE", "/bots/one?leave_positions=true"))[0] == 403
            status, body = await high("POST", "/bots", GIVEN)
            assert (status, body["field"]) == (422, "name")
            assert load_bot(folder / "fleet" / "one.yaml")[0].environment == "live"  # the first is as it was

    asyncio.run(main())


def test_without_a_fleet_the_page_says_so_and_nothing_can_be_done(dsn, folder):
    async def main():
        async with console(dsn, folder, "x", look=False) as house:
            ask = Asking(house, await house.token("money"))
            status, body = await ask("POST", "/bots", GIVEN)
            assert (status, "no fleet runs" in body["message"]) == (409, True)
            assert "No fleet runs" in (await house.ask("GET", "/bots", ask.token))[1].decode()
            async with supervised(folder):
                assert (await ask("POST", "/bots", GIVEN))[0] == 200
            assert (await ask("GET", "/fleet"))[1]["items"][0]["state"] == "stopped"
            (folder / "fleet" / "one.json").write_text("{")
            assert "is damaged" in (await house.ask("GET", "/bots", ask.token))[1].decode()

    asyncio.run(main())


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    made.environment["NUMBA_DISABLE_JIT"] = "1"
    del made.environment["TRADERAGENT_KEY"], made.environment["TRADERAGENT_SECRET"]
    yield made
    with suppress(Misconfigured):
        for one in FleetRecords(tmp_path).read().values():
            if one.process is not None and lives(one.process):
                os.kill(one.process, signal.SIGKILL)
    made.end()


@needs_chromium
@pytest.mark.slow
def test_a_bot_is_created_in_a_browser_trades_is_stopped_and_deleted(processes, tmp_path):
    """All of it as a user has it: a venue, a fleet, a console, each a process."""
    KeyStore(tmp_path).add(KeyName("owner", "bybit", "venue"), ApiKey("venue-key", "venue-secret"))
    preset = tmp_path / "presets" / "lively.yaml"
    preset.parent.mkdir()
    lively = {"strategy": "grid", "pairs": ["ETHUSDT"], "grid": {"direction": "long", "levels": 30}}
    preset.write_text(yaml.safe_dump(lively))
    address = processes.venue(["BTCUSDT"], 100_000)
    heard(processes.start("fleet", "run"), "fleet of")
    link = heard(processes.start("web", "--port", "0"), "console at").split()[-1]

    async def row(page, state):
        await page.until(f"document.querySelector('#bot-made .chip')?.textContent === '{state}'", 90)

    async def main():
        async with browser() as page:
            await page.size(1280, 900)
            await page.visit(link)
            await page.until("location.pathname === '/' && document.querySelector('header nav') !== null")
            await page.visit(f"{link.partition('/sign-in')[0]}/bots")
            await page.until("document.documentElement.dataset.ready === '1'")
            await page.run(
                "Object.entries({name: 'Made', strategy: 'preset:lively', pairs: 'BTCUSDT', capital: '50000', "
                "environment: 'venue', address: "
                f"'{address}'}}).forEach(([key, value]) => (document.getElementById('create')[key].value = value))"
            )
            await page.run("document.getElementById('create').environment.dispatchEvent(new Event('change'))")
            await page.push("#create .buttons button")
            await page.until("document.querySelector('[data-key=name] .fault').textContent.includes('name')")
            await page.run("document.getElementById('create').name.value = 'made'")
            await page.push("#create .buttons button")
            await row(page, "running")
            await page.visit(f"{link.partition('/sign-in')[0]}/history/fills?bot=made")
            for _ in range(400):
                await asyncio.to_thread(minute, address)
                if await page.run("document.querySelector('[id^=fill-]') !== null"):
                    break
                await asyncio.sleep(0.1)  # the bot places its orders by ten requests a second
            assert await page.run("document.querySelector('[id^=fill-]') !== null")
            await page.visit(f"{link.partition('/sign-in')[0]}/bots")
            await page.push("[data-fleet=stop]")
            await page.push("#ask [value=yes]")
            await row(page, "stopped")
            await page.push("[data-fleet=delete]")
            await page.push("#ask [value=yes]")
            await page.until("document.querySelector('#bot-made') === null || document.getElementById('ask').open", 30)
            if await page.run("document.getElementById('ask').open"):  # it holds something: asked once more
                assert "BTCUSDT" in await page.run("document.getElementById('question').textContent")
                await page.push("#ask [value=yes]")
            await page.until("document.querySelector('#bot-made') === null", 30)
            faults = [
                one for one in page.faults(link.partition("/sign-in")[0]) if "422" not in one and "409" not in one
            ]
            assert not faults

    asyncio.run(main())
    assert FleetRecords(tmp_path).read() == {}
    assert not (tmp_path / "fleet" / "made.yaml").exists()
