"""Sessions of the manual backtester over the API, and the journal with its outbox, on the real database and process."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import json
import zipfile
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from bot.candles import iso
from bot.errors import Misconfigured
from services.app.journal import send_due, settings_of
from services.app.journal_export import csv_of, markdown_of
from services.app.replays import PNG
from services.journal.settings import journal_settings
from services.journal.targets import targets_of
from services.market_data.store import CandleStore
from services.storage.journal import JournalStore
from services.storage.read_pool import ReadPool
from services.storage.schema import migrate
from tests.conftest import MINUTE, START, walk
from tests.services.console_house import console, write_history
from tests.services.test_bot_commands import run as command

BARS = 3000
ASKED = {
    "pair": "BTCUSDT", "exchange": "bybit", "timeframe": "5m", "start": iso(START + 1800 * MINUTE),
    "end": iso(START + 2900 * MINUTE), "leverage": 3,
}  # fmt: skip
TRADE = {
    "symbol": "BTCUSDT", "timeframe": "5m", "side": "long", "quantity": 0.1, "entry_price": 50_000.0,
    "exit_price": 50_100.0, "reason": "EXIT_TP", "pnl": 9.5, "r": 1.5, "entry_ts": START, "exit_ts": START + MINUTE,
}  # fmt: skip


def run(work):
    return asyncio.run(work)


def held(data_dir, candles):
    CandleStore(data_dir).write("bybit", "linear", "BTCUSDT", candles)


async def begun(house, token, **more):
    status, told, _ = await house.ask("POST", "/api/v1/replays", token, json=ASKED | more)
    assert status == 200, told
    return f"/api/v1/replays/{told['replay']}"


async def played(house, token, place, actions):
    """Every byte that the server sends while a session is played, without the names that are drawn by chance."""
    raw = []
    _, told, _ = await house.ask("GET", place, token)
    seen = [told]
    for action in actions:
        state = told["state"]
        given = {"number": state["number"], "since": state["since"] + len(state["bars"]), **action}
        status, told, _ = await house.ask("POST", f"{place}/actions", token, json=given)
        assert status == 200, told
        seen.append(told)
    for told in seen:
        raw.append(json.dumps({**told, "replay": "", "created": 0}).encode())
    return raw, told


def test_nothing_of_the_future_is_in_anything_that_the_server_sends(dsn, tmp_path):
    """All that was sent up to a bar is the same bytes on candles that are others from the next bar on."""
    candles, steps = walk(BARS, 8, volatility=0.002), 12
    cut = int(np.searchsorted(candles.ts, START + (1800 + 5 * steps * 3) * MINUTE))
    names, other = ("open", "high", "low", "close", "volume"), walk(BARS, 9, start=90_000.0)
    altered = {one: np.concatenate([getattr(candles, one)[:cut], getattr(other, one)[cut:]]) for one in names}
    price = float(candles.close[1799])
    order = {"do": "order", "side": "buy", "quantity": 0.05}  # held to the end
    later = {**order, "price": round(price * 0.9, 1), "stop": round(price * 0.8, 1)}  # rests to the end
    steps_of = [{"do": "step", "bars": 3}] * steps
    actions = [order, *steps_of[:5], later, *steps_of[5:]]

    async def sent(data_dir, played_candles):
        held(data_dir, played_candles)
        async with console(dsn, data_dir, search=True) as house:
            token = await house.token("control")
            raw, told = await played(house, token, await begun(house, token), actions)
            return raw, told["state"]

    raw, state = run(sent(tmp_path / "a", candles))
    again, _ = run(sent(tmp_path / "b", replace(candles, **altered)))
    assert b"".join(raw) == b"".join(again)
    assert state["number"] == steps + 2
    assert state["at"] == int(candles.ts[cut])
    assert max(row[0] for row in state["bars"]) < state["at"]
    assert state["standing"]["position"] == 0.05
    assert state["standing"]["entries"]


@pytest.mark.slow  # a strategy is compiled
def test_nothing_of_the_future_is_in_what_the_bot_would_have_done(dsn, tmp_path):
    """Fills, spans of orders and figures are the same bytes on candles that are others from the next bar on."""
    candles, other = walk(BARS, 8, volatility=0.002), walk(BARS, 9, start=90_000.0)
    cut = 1800 + 5 * 60
    names = ("open", "high", "low", "close", "volume")
    altered = {one: np.concatenate([getattr(candles, one)[:cut], getattr(other, one)[cut:]]) for one in names}
    preset = "strategy: grid\ngrid: {timeframe: 5m, warmup_bars: 20, profit_per_grid: 0.003}\n"

    async def sent(data_dir, played_candles):
        held(data_dir, played_candles)
        (data_dir / "presets").mkdir()
        (data_dir / "presets" / "quick.yaml").write_text(preset)
        async with console(dsn, data_dir, search=True) as house:
            token = await house.token("control")
            place = await begun(house, token)
            _, told = await played(house, token, place, [{"do": "step", "bars": 60}])
            status, bot, _ = await house.ask("GET", f"{place}/bot?bot=quick", token)
            assert status == 200, bot
            return bot, told["state"]["at"]

    bot, at = run(sent(tmp_path / "a", candles))
    again, _ = run(sent(tmp_path / "b", replace(candles, **altered)))
    assert json.dumps(bot) == json.dumps(again)
    assert len(bot["fills"]) > 3
    assert len(bot["spans"]) > 10
    assert max(one["at"] for one in bot["fills"]) < at
    assert max(one["to"] for one in bot["spans"]) == at, "what rests now stands up to the last bar that was shown"


def test_a_session_is_played_undone_resumed_pictured_and_ends_in_the_journal(dsn, tmp_path):
    held(tmp_path, walk(BARS, 8, volatility=0.002))

    async def main():
        async with console(dsn, tmp_path, search=True) as house:
            token = await house.token("control")
            place = await begun(house, token)
            _, told = await played(house, token, place, [{"do": "order", "side": "buy", "quantity": 0.1}])
            assert told["state"]["standing"]["entries"][0]["price"] is None
            status, undone, _ = await house.ask("POST", f"{place}/undo", token, json={"number": 1})
            assert (status, undone["state"]["number"], undone["undone"]) == (200, 0, 1)
            note = {"do": "note", "text": "A range, and its lower edge."}
            steps = [{"do": "order", "side": "sell", "quantity": 0.1}, {"do": "step"}, note]
            _, told = await played(house, token, place, steps)
            assert told["state"]["standing"]["position"] == -0.1
            behind = {"number": 1, "do": "step"}
            status, said, _ = await house.ask("POST", f"{place}/actions", token, json=behind)
            assert (status, "load the page again" in said["message"]) == (422, True)
            status, said, _ = await house.ask("POST", f"{place}/pictures?number=3", token, data=b"no picture")
            assert "no PNG" in said["message"]
            image = PNG + bytes(100_000)
            status, kept, _ = await house.ask("POST", f"{place}/pictures?number=3", token, data=image)
            assert (status, kept["number"]) == (200, 4)
            assert kept["name"].startswith("BTCUSDT-5m-20240102T06")
            at = told["state"]["at"]
            _, told = await played(house, token, place, [{"do": "close"}, {"do": "jump", "to": "london"}])
            assert told["state"]["at"] > at
            assert iso(told["state"]["at"])[11:16] == "08:00", "the next bar is London's first"
            assert (await house.ask("POST", f"{place}/end", token))[0] == 204
            status, said, _ = await house.ask(
                "POST", f"{place}/actions", token, json={"number": told["state"]["number"], "do": "step"}
            )
            assert (status, "ended" in said["message"]) == (422, True)
            name = place.rpartition("/")[2]
            _, journal, _ = await house.ask("GET", f"/api/v1/journal?search={name}", token)
            (record,) = journal["items"]
            assert (record["reason"], record["side"], record["notes"]) == ("BY_HAND", "short", note["text"])
            assert (await house.ask("GET", f"/api/v1/journal/pictures/{record['pictures'][0]}", token))[1] == image
            assert (await house.ask("GET", "/api/v1/journal/pictures/0000000000000000/..%2F..%2Fx.png", token))[
                0
            ] == 404
            edited = {"revision": 1, "notes": "| late", "tags": ["breakout", "asia"]}
            path = f"/api/v1/journal/{record['record']}"
            assert (await house.ask("POST", path, token, json=edited))[1]["revision"] == 2
            status, said, _ = await house.ask("POST", path, token, json=edited)
            assert (status, said["field"]) == (422, "revision")
            for query, count in (("tag=asia", 1), ("tag=asi", 0), ("search=LATE", 1), ("search=100%25", 0)):
                asked = f"/api/v1/journal?{query}&source=replay&symbol=BTCUSDT"
                found = (await house.ask("GET", asked, token))[1]["items"]
                assert len([one for one in found if one["origin"] == name]) == count, query
            _, packed, headers = await house.ask("GET", f"/journal.zip?search={name}", token)
            assert headers["Content-Type"] == "application/zip"
            archive = zipfile.ZipFile(io.BytesIO(packed))
            assert archive.read(f"pictures/{record['pictures'][0]}") == image
            assert f"](pictures/{record['pictures'][0]})" in archive.read("journal.md").decode()

    run(main())


def test_dates_of_a_blind_session_are_nowhere_until_it_has_ended_and_what_cannot_be_is_refused(dsn, tmp_path):
    held(tmp_path, walk(3 * 1440, 8))

    async def main():
        async with console(dsn, tmp_path, search=True) as house:
            token = await house.token("control")
            place = await begun(house, token, start=None, end=None, days=1)
            raw, told = await played(house, token, place, [{"do": "step", "bars": 3}])
            listed = (await house.ask("GET", "/api/v1/replays", token))[1]
            (own,) = [one for one in listed["items"] if place.endswith(one["replay"])]
            year = str(START)[:4].encode()  # of every moment in the candles
            assert all(year not in one for one in [*raw, json.dumps({**own, "created": 0}).encode()])
            assert iso(told["state"]["at"]).startswith("2001-01-0")
            assert told["state"]["at"] % 86_400_000 == (told["state"]["bars"][-1][0] + 300_000) % 86_400_000
            await house.ask("POST", f"{place}/end", token)
            after = (await house.ask("GET", place, token))[1]
            assert START < after["start"] < after["end"] <= START + 3 * 1440 * MINUTE
            assert (after["start"] + after["moved"]) % 604_800_000 == after["start"] % 604_800_000
            await refused(house, token)

    run(main())


async def refused(house, token):
    """What cannot be begun is refused with its field."""
    cases = (
        ({"timeframe": "7m"}, "timeframe"), ({"start": "2031-01-01", "end": "2031-02-01"}, "start"),
        ({"days": 300}, "days"), ({"start": None}, "start"), ({"start": "soon"}, "start"),
        ({"leverage": 0.5}, "leverage"), ({"pair": "NONEUSDT"}, "pair"),
    )  # fmt: skip
    for more, field in cases:
        status, said, _ = await house.ask("POST", "/api/v1/replays", token, json=ASKED | more)
        assert status in (409, 422), (more, said)
        assert field in str(said["field"] or said["message"]), (more, said)


# The outbox


class Receiver:
    """A webhook and the part of Notion that is used: keeps what came, and fails as often as it is told to."""

    def __init__(self):
        self.came, self.pages, self.fails, self.forgets = [], {}, [], 0

    async def webhook(self, request):
        body = await request.read()
        if self.fails:
            return web.Response(status=self.fails.pop(0))
        self.came.append((request.headers, body))
        if self.forgets:  # it has arrived, and nobody hears of it
            self.forgets -= 1
            request.transport.close()
        return web.Response(status=204)

    async def query(self, request):
        asked = (await request.json())["filter"]["title"]["equals"]
        page = self.pages.get(asked)
        return web.json_response({"results": [] if page is None else [page]})

    async def create(self, request):
        assert request.headers["Notion-Version"] == "2022-06-28"
        assert request.headers["Authorization"] == "Bearer secret-token"
        properties = (await request.json())["properties"]
        title = properties["Record"]["title"][0]["text"]["content"]
        assert title not in self.pages, "a record has one page"
        self.pages[title] = {"id": title, "properties": properties}
        self.came.append(("made", properties["Revision"]["number"]))
        if self.forgets:
            self.forgets -= 1
            request.transport.close()
        return web.json_response(self.pages[title])

    async def update(self, request):
        properties = (await request.json())["properties"]
        self.pages[request.match_info["page"]]["properties"] = properties
        self.came.append(("changed", properties["Revision"]["number"]))
        return web.json_response({})


@asynccontextmanager
async def outbox(dsn, name, kind):
    """A journal whose records go to a receiver; its target has the name of the test."""
    await migrate(dsn)
    own, app = Receiver(), web.Application()
    app.router.add_post("/hook", own.webhook)
    app.router.add_post("/v1/databases/{database}/query", own.query)
    app.router.add_post("/v1/pages", own.create)
    app.router.add_patch("/v1/pages/{page}", own.update)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    told = {"webhooks": [{"name": name, "url": f"{address}/hook", "secret": "s3cret"}]}
    if kind == "notion":
        told = {"notion": {"token": "secret-token", "database": "0" * 32, "address": address}}
    settings, pool = journal_settings(told), ReadPool(dsn)
    store = JournalStore(pool, settings.targets())
    try:
        async with aiohttp.ClientSession() as session:
            yield own, store, targets_of(settings, session, lambda: 1_700_000_000.0)
    finally:
        await runner.cleanup()
        await pool.fetch("DELETE FROM journal_outbox WHERE target = ANY($1)", settings.targets())
        await pool.close()


async def due_now(store):
    """Let what waits, or was being sent by a process that is gone, be due."""
    await store.pool.execute("UPDATE journal_outbox SET due = now() WHERE target = ANY($1)", list(store.targets))


def test_a_revision_is_posted_once_signed_and_again_only_under_its_own_key(dsn, name):
    async def main():
        async with outbox(dsn, name, "webhook") as (own, store, targets):
            await store.add(f"r-{name}", "replay", "s", TRADE, [], "first")
            await store.add(f"r-{name}", "replay", "s", TRADE, [], "again")
            assert await send_due(store, targets) == 1
            assert await send_due(store, targets) == 0
            ((headers, body),) = own.came
            assert headers["Idempotency-Key"] == f"r-{name}:1"
            mark = hmac.new(b"s3cret", b"1700000000." + body, hashlib.sha256).hexdigest()
            assert headers["X-Traderagent-Signature"] == f"sha256={mark}"
            assert json.loads(body)["notes"] == "first"
            own.fails = [503, 500]
            await store.edit(f"r-{name}", 1, "second", ["x"])
            for _ in range(3):
                await send_due(store, targets)
                await due_now(store)
            assert [one["Idempotency-Key"] for one, _ in own.came] == [f"r-{name}:1", f"r-{name}:2"]
            own.forgets = 1
            await store.edit(f"r-{name}", 2, "third", [])
            await send_due(store, targets)
            await due_now(store)
            assert await send_due(store, targets) == 1
            assert [one["Idempotency-Key"] for one, _ in own.came][2:] == [f"r-{name}:3"] * 2

    run(main())


def test_a_sender_that_dies_loses_nothing_and_an_older_revision_is_not_sent_after_a_newer(dsn, name):
    async def main():
        async with outbox(dsn, name, "webhook") as (own, store, targets):
            await store.add(f"r-{name}", "live", "b", TRADE, [], "")
            assert await store.take() is not None  # and whoever took it is gone
            assert await send_due(store, targets) == 0, "another may still be sending it"
            await store.edit(f"r-{name}", 1, "newer", [])
            await due_now(store)
            await send_due(store, targets)
            assert [one["Idempotency-Key"] for one, _ in own.came] == [f"r-{name}:2"]
            own.fails = [400]
            await store.edit(f"r-{name}", 2, "refused", [])
            await send_due(store, targets)
            await due_now(store)
            assert await send_due(store, targets) == 0
            assert "HTTP 400" in (await store.outbox())["faults"]

    run(main())


def test_a_record_has_one_page_in_notion_whatever_is_not_heard(dsn, name):
    async def main():
        async with outbox(dsn, name, "notion") as (own, store, targets):
            own.forgets = 1
            await store.add(f"r-{name}", "replay", "s", TRADE, [], "why")
            for _ in range(3):
                await send_due(store, targets)
                await due_now(store)
            await store.edit(f"r-{name}", 1, "because", ["range"])
            await send_due(store, targets)
            assert own.came == [("made", 1), ("changed", 2)]
            properties = own.pages[f"r-{name}"]["properties"]
            assert properties["Tags"]["multi_select"] == [{"name": "range"}]
            assert properties["PnL"] == {"number": 9.5}

    run(main())


def test_closed_trades_of_a_bot_are_in_the_journal_once(dsn, name, tmp_path):
    async def main():
        await write_history(dsn, name, fills=4)
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("read")
            for _ in range(2):
                found = (await house.ask("GET", f"/api/v1/journal?search={name}&source=live", token))[1]["items"]
                own = [one for one in found if one["origin"] == name]
                assert [one["record"] for one in own] == [f"live-{name}-x3", f"live-{name}-x1"]
            assert own[0]["pnl"] == pytest.approx(4.2 - 2 * 0.01)
            assert (own[0]["side"], own[0]["quantity"], own[0]["entry_price"]) == ("long", 0.01, 43_000.0)

    run(main())


def test_the_journal_is_listed_and_exported_by_the_command_line(dsn, name, tmp_path):
    async def wrote():
        async with outbox(dsn, name, "webhook") as (_, store, _):
            await store.add(f"r-{name}", "replay", "s", TRADE, [], "why")

    run(wrote())
    where = ("--database", dsn, "--search", f"r-{name}")
    assert f"r-{name}" in command("journal", "list", *where, folder=tmp_path).stdout
    assert json.loads(command("journal", "list", "--json", *where, folder=tmp_path).stdout)[0]["pnl"] == 9.5
    command("journal", "export", "j.csv", *where, folder=tmp_path)
    assert f"r-{name},1,replay" in (tmp_path / "j.csv").read_text()
    assert "give --replace" in command("journal", "export", "j.csv", *where, folder=tmp_path, code=2).stderr
    assert "names nobody" in command("journal", "send", folder=tmp_path, code=2).stderr


def test_settings_of_the_outbox_are_checked_and_kept_secret(tmp_path):
    file = tmp_path / "journal.yaml"
    file.write_text("webhooks: [{url: 'https://h.example/token', secret: x}]\n")
    file.chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod 600"):
        settings_of(tmp_path)
    file.chmod(0o600)
    settings = settings_of(tmp_path)
    assert "token" not in repr(settings)
    assert settings.targets() == ["webhook"]
    with pytest.raises(Misconfigured, match="not all different"):
        journal_settings({"webhooks": [{"url": "https://a.example"}] * 2})
    assert settings_of(tmp_path / "none").targets() == []


def test_an_export_begins_no_formula_and_breaks_no_table():
    record = {**TRADE, "record": "r", "revision": 1, "source": "live", "origin": "b", "entry": START, "exit": START}
    record |= {"tags": ["a"], "notes": "=1+1", "pictures": []}
    assert "'=1+1" in csv_of([record])
    assert csv_of([record]).splitlines()[1].startswith("r,1,live,b,BTCUSDT,5m,long,0.1,2024-01-01")
    assert "| origin | a\\|b |" in markdown_of([record | {"origin": "a|b"}])
