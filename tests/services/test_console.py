"""The console as whoever may and may not meets it: every route with every scope, commands, sources that are away."""

from __future__ import annotations

import asyncio
import io
import json
import tomllib
from base64 import urlsafe_b64encode

import aiohttp
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.events import Decision
from bot.ports import Unreachable
from bot.sources import ROOT
from bot.times import DAY, MINUTE
from coordinator.decisions import FAMILY, FIELDS
from coordinator.machine import PairMachine
from coordinator.vocabulary import DecisionKind
from services.command_line import web
from services.logs import configure
from services.storage import store
from services.storage.store import PostgresStore
from services.web.access import SESSION, TRIES
from services.web.allocation import layers
from services.web.api_signals import LISTENS, signature
from services.web.portfolio import correlations
from services.web.scopes import Scope, allows, needed_for
from services.web.telling import reasons, spoken
from services.web.watch import SeenBot
from services.web.words import CHART_NAMES, CHART_TEXTS, PageWords
from services.words import LANGUAGES, chosen
from tests.conftest import classic, instrument
from tests.services.console_house import HALTED, NOW, PAIR, bot_status, console, pair_status, write_history
from tests.services.test_bot_commands import run as command

OPEN = {
    "/api/v1/auth/state", "/api/v1/auth/sign-in", "/api/v1/auth/link", "/health", "/ready", "/metrics",
}  # fmt: skip
SIGNED = "POST", "/api/v1/signals/{bot}"  # by a secret of its own: what a session may says nothing
NEEDS_MONEY = {
    "/api/v1/auth/password", "/api/v1/auth/sessions", "/api/v1/auth/sessions/{session}", "/api/v1/auth/tokens",
    "/api/v1/auth/second-factor", "/api/v1/auth/second-factor/off", "/api/v1/signals/{bot}/secret",
}  # fmt: skip
PAGES = (
    "/", "/bots/{bot}/pairs/BTCUSDT", "/portfolio", "/history/fills", "/history/orders", "/history/trades",
    "/bots/{bot}/account.csv",
    "/history/fills.csv", "/history/decisions.csv", "/decisions", "/bots/{bot}/halt", "/audit", "/settings", "/config",
    "/backtest", "/jobs", "/sessions", "/strategies", "/bots", "/data", "/matrix", "/scan",
    "/drift", "/drift?day=2024-01-01", "/drift.csv?bot={bot}",
    "/replays", "/replays/0000000000000000", "/journal", "/journal.csv",
    "/signals",
)  # fmt: skip
VALUES = {
    "bot": None, "pair": PAIR, "session": "0" * 64, "job": 1, "search": "0" * 16, "content": "0" * 16, "variant": 0,
    "report": "0" * 32, "day": "2024-01-01", "replay": "0" * 16, "record": "x", "name": "x.png",
}  # fmt: skip
BODIES = {
    "/api/v1/signals/{bot}": {"id": "a", "pair": PAIR, "side": "close"},
    "/api/v1/auth/sign-in": {"password": "x"},
    "/api/v1/auth/link": {"link": "x"},
    "/api/v1/auth/password": {"old": None, "new": "a password of length"},
    "/api/v1/auth/tokens": {"label": "x", "scope": "read", "days": 1},
    "/api/v1/auth/second-factor": {"code": "123456"},
    "/api/v1/auth/second-factor/off": {"code": "123456"},
    "/api/v1/bots/{bot}/commands": {"command": "pause"},
    "/api/v1/bots/{bot}/run": {"command": "start"},
    "/api/v1/bots": {"name": "x", "strategy": "grid", "pairs": ["BTCUSDT"], "environment": "demo"},
}
QUERY = {
    "/api/v1/market-data/candles": {"bot": None, "pair": PAIR},
    "/api/v1/market-data/stored-candles": {"bot": None, "pair": PAIR},
    "/api/v1/bots/{bot}/pairs/{pair}/what-if": {"price": "42000"},
    "/api/v1/market-data/instruments": {"market_id": 4, "as_of": "2024-01-01"},
}


def run(work):
    return asyncio.run(work)


def asked(path, name):
    query = {key: value or name for key, value in QUERY.get(path, {}).items()}
    return path.format(**(VALUES | {"bot": name})), query


async def asks(house, method, path, token, name, key="0123456789"):
    place, query = asked(path, name)
    more = {"json": BODIES[path]} if path in BODIES and method != "GET" else {}
    return await house.ask(method, place, token, params=query, headers={"Idempotency-Key": key}, **more)


def test_every_route_asks_for_its_scope_and_says_no_to_everybody_else(dsn, name, tmp_path):
    async def main():
        await write_history(dsn, name)
        async with console(dsn, tmp_path, name) as house:
            tokens = {scope: await house.token(scope) for scope in Scope}
            routes = list(house.routes())
            assert len(routes) > 24
            for number, (method, path, _) in enumerate(one for one in routes if "sign-out" not in one[1]):
                status, body, _ = await asks(house, method, path, None, name)
                if (method, path) == SIGNED:
                    assert (status, body["code"]) == (401, "signature")
                    continue
                if path in OPEN:
                    assert status in (200, 401, 503), (method, path, status)
                    continue
                assert (status, body["code"]) == (401, "sign_in"), (method, path, status)
                needed = (
                    Scope.MONEY
                    if path in NEEDS_MONEY
                    else Scope.CONTROL
                    if method in ("POST", "DELETE")
                    else Scope.READ
                )
                for scope, token in tokens.items():
                    status, body, _ = await asks(house, method, path, token, name, f"key-{number}-{scope}")
                    if allows(scope, needed):
                        assert status < 500, (method, path, scope, status, body)
                        assert status != 401
                        assert status != 403 or body["code"] == "token", (method, path, scope, body)
                    else:
                        assert (status, body["code"]) == (403, "scope"), (method, path, scope, status)
            assert len(house.bots[name].told) == 2  # by control and by money
            assert (await house.ask("POST", "/api/v1/auth/sign-out"))[0] == 401
            assert (await house.ask("POST", "/api/v1/auth/sign-out", tokens[Scope.READ]))[0] == 204
            assert (await house.ask("GET", "/api/v1/bots", tokens[Scope.READ]))[0] == 401

    run(main())


def test_no_page_is_shown_to_nobody_and_each_to_whoever_has_signed_in(dsn, name, tmp_path):
    async def main():
        await write_history(dsn, name)
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("read")
            for page in PAGES:
                path = page.format(bot=name)
                status, _, headers = await house.ask("GET", path)
                assert (status, headers["Location"]) == (303, "/sign-in"), page
                for language in LANGUAGES:
                    status, body, headers = await house.ask(
                        "GET", path, token, headers={"Accept-Language": f"{language};q=0.9"}
                    )
                    assert status == 200, (page, body)
                    text = body.decode() if isinstance(body, bytes) else str(body)
                    if ".csv" not in page:
                        assert f'<html lang="{language}"' in text
                        assert "script-src 'self';" in headers["Content-Security-Policy"]
                        assert "<script>" not in text
                        assert " style=" not in text
                        assert " onclick=" not in text
            status, _, headers = await house.ask("GET", "/", token, headers={"X-Part": "1"})
            assert status == 200
            assert float(headers["X-Age"]) < 5
            again, _, _ = await house.ask("GET", "/", token, headers={"X-Part": "1", "If-None-Match": headers["ETag"]})
            assert again == 304
            assert (await house.ask("GET", "/", headers={"X-Part": "1"}))[0] == 401
            assert (await house.ask("GET", "/sign-in"))[0] == 200

    run(main())


@pytest.mark.parametrize(
    ("host", "origin", "code"),
    [
        ("evil.example", None, "host"),
        ("127.0.0.1.evil.example:80", None, "host"),
        ("x@127.0.0.1", None, "host"),
        ("[::1", None, "host"),
        (None, "http://evil.example", "origin"),
        (None, "null", "origin"),
    ],
)
def test_what_was_meant_for_another_host_or_comes_from_another_site_is_refused(dsn, name, tmp_path, host, origin, code):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            token = await house.token()
            headers = {key: value for key, value in (("Host", host), ("Origin", origin)) if value}
            for path in ("/", "/health", f"/api/v1/bots/{name}/commands", "/api/v1/auth/sign-in"):
                status, body, _ = await house.ask("POST", path, token, headers=headers, json={"command": "halt"})
                assert (status, body["code"]) == (403, code), (path, body)
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await house.session.ws_connect(
                    f"{house.address}/api/v1/stream", headers=headers | {"Authorization": f"Bearer {token}"}
                )
            assert house.bots[name].told == []

    run(main())


def test_a_browser_needs_its_forms_token_to_change_anything(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            link = await house.built.access.link()
            status, signed, headers = await house.ask("POST", "/api/v1/auth/link", json={"link": link})
            assert status == 200
            cookie = headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
            shown = {"Cookie": cookie.split(";")[0], "Idempotency-Key": "0123456789"}
            body = {"command": "pause", "pair": PAIR}
            path = f"/api/v1/bots/{name}/commands"
            assert (await house.ask("POST", path, json=body, headers=shown))[1]["code"] == "csrf"
            wrong = shown | {"X-CSRF-Token": "0" * 64}
            assert (await house.ask("POST", path, json=body, headers=wrong))[1]["code"] == "csrf"
            right = shown | {"X-CSRF-Token": signed["csrf"]}
            assert (await house.ask("POST", path, json=body, headers=right))[1]["done"] == "pause is done"
            assert [(one.pair, one.source, one.key) for one in house.bots[name].told] == [
                (PAIR, "console", "0123456789")
            ]
            status, again, _ = await house.ask("POST", "/api/v1/auth/link", json={"link": link})
            assert (status, again["code"]) == (401, "used_link")

    run(main())


def test_a_password_signs_in_five_times_a_minute_and_ends_other_browsers_when_it_changes(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name, limits=True) as house:
            house.built.access.rows.password = house.built.access.rows.password
            access = house.built.access
            _, first = await access.with_link(await access.link(), "a", "x")
            shown, _ = await access.with_link(await access.link(), "b", "y")
            await house.built.sources.access.pool.fetch("DELETE FROM console_users")
            await access.set_password(None, "correct horse battery", first, "a")
            assert await access.session(shown) is None
            stored = await house.built.sources.access.password("owner")
            assert stored.startswith("$argon2id$")
            answers = [
                (await house.ask("POST", "/api/v1/auth/sign-in", json={"password": word}))[0]
                for word in ("wrong", "correct horse battery", "wrong", "wrong", "wrong", "correct horse battery")
            ]
            assert answers == [401, 200, 401, 401, 401, 429]
            assert TRIES[0].amount == 5
            await house.built.sources.access.pool.fetch("DELETE FROM console_users")

    run(main())


def test_a_session_ends_by_its_time_and_at_once_when_it_is_ended(dsn, name, tmp_path):
    async def main():
        moment = [NOW]
        async with console(dsn, tmp_path, name, now=lambda: moment[0]) as house:
            token = await house.token("money", days=2)
            path = "/api/v1/bots"
            assert (await house.ask("GET", path, token))[0] == 200
            moment[0] += 2 * DAY
            assert (await house.ask("GET", path, token))[0] == 401
            other = await house.token()
            _, listed, _ = await house.ask("GET", "/api/v1/auth/sessions", other)
            own = next(one for one in listed["items"] if one["own"])
            assert own["kind"] == "token"
            assert SESSION == 30 * DAY
            status, _, _ = await house.ask("DELETE", f"/api/v1/auth/sessions/{own['id']}", other)
            assert status == 204
            assert (await house.ask("GET", path, other))[0] == 401

    run(main())


def test_a_command_said_again_under_its_key_is_done_once_and_another_under_it_is_refused(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            token, path = await house.token(), f"/api/v1/bots/{name}/commands"
            key = {"Idempotency-Key": "once-and-no-more"}
            first = await house.ask("POST", path, token, json={"command": "halt"}, headers=key)
            again = await house.ask("POST", path, token, json={"command": "halt"}, headers=key)
            other = await house.ask("POST", path, token, json={"command": "resume"}, headers=key)
            assert (first[1]["again"], again[1]["again"]) == (False, True)
            assert first[1]["done"] == again[1]["done"] == "halt is done"
            assert (other[0], other[1]["code"]) == (422, "key_used")
            assert [one.kind for one in house.bots[name].told] == ["halt"]
            house.bots[name].refuses = "nothing is halted."
            refused = await house.ask(
                "POST", path, token, json={"command": "resume"}, headers={"Idempotency-Key": "another-key"}
            )
            assert (refused[0], refused[1]["message"]) == (409, "nothing is halted.")
            _, audit, _ = await house.ask("GET", f"/api/v1/audit?bot={name}", token)
            assert [(one["action"], one["refused"], one["outcome"]) for one in audit["items"]] == [
                ("resume", True, "nothing is halted."),
                ("halt", False, "halt is done"),
            ]

    run(main())


def test_what_moves_money_asks_for_more_than_to_command(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            token, path = await house.token("control"), f"/api/v1/bots/{name}/commands"
            for number, word in enumerate(("close-all", "reduce-50", "invest", "shutdown")):
                assert needed_for(word) is Scope.MONEY
                body = {"command": word, "amount": 5.0 if word == "invest" else 0.0}
                key = {"Idempotency-Key": f"number-{number}"}
                status, said, _ = await house.ask("POST", path, token, json=body, headers=key)
                assert (status, said["code"]) == (403, "scope")
            assert house.bots[name].told == []

    run(main())


def test_a_bot_that_dies_or_is_of_another_version_is_a_sentence_and_comes_back_by_itself(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name, look=False) as house:
            bot, watcher, token = house.bots[name], house.built.watcher, await house.token("read")
            path = f"/api/v1/bots/{name}/status"
            assert (await house.ask("GET", path, token))[1]["runs"] is True
            right, bot.now = bot.now, {"bot": name, "pairs": []}
            await watcher.look()
            _, told, _ = await house.ask("GET", path, token)
            assert (told["runs"], told["status"]) == (False, None)
            assert "of another version" in told["trouble"]
            bot.now = right
            await watcher.look()
            assert (await house.ask("GET", path, token))[1]["trouble"] == ""
            await bot.server.stop()
            await watcher.look()
            _, told, _ = await house.ask("GET", path, token)
            assert told["runs"] is False
            assert "no bot runs here" in told["trouble"]
            assert told["status"]["equity"] == 10_012.5  # the last that was known
            _, page, _ = await house.ask("GET", "/", token)
            assert "no bot runs here" in page.decode()
            await bot.server.start()
            await watcher.look()
            assert (await house.ask("GET", path, token))[1]["runs"] is True

    run(main())


def test_how_old_a_status_is_counts_from_when_the_bot_gave_it(dsn, name, tmp_path):
    async def main():
        clock = [100.0]
        async with console(dsn, tmp_path, name, clock=lambda: clock[0], look=False) as house:
            token = await house.token("read")
            await house.bots[name].server.stop()
            clock[0] += 42.5
            await house.built.watcher.look()
            _, _, headers = await house.ask("GET", "/", token, headers={"X-Part": "1"})
            assert headers["X-Age"] == "42.5"

    run(main())


def test_a_bot_that_has_ended_does_not_make_the_others_old(dsn, name, tmp_path):
    async def main():
        clock, other = [100.0], f"{name}b"
        async with console(dsn, tmp_path, name, other, clock=lambda: clock[0], look=False) as house:
            token = await house.token("read")
            await house.bots[other].server.stop()
            clock[0] += 60.0
            await house.built.watcher.look()
            part = {"X-Part": "1"}
            assert (await house.ask("GET", "/", token, headers=part))[2]["X-Age"] == "0.0"
            assert (await house.ask("GET", f"/bots/{other}/halt", token, headers=part))[2]["X-Age"] == "60.0"

    run(main())


def test_a_database_that_is_away_is_a_sentence_and_who_was_signed_in_goes_on_watching(dsn, name, tmp_path):
    async def main():
        await write_history(dsn, name)
        async with console(dsn, tmp_path, name, look=False) as house:
            token, rows = await house.token(), house.built.sources.history.pool
            kept, right = rows._pool, rows.dsn
            rows._pool, rows.dsn = None, "postgresql://nobody@127.0.0.1:1/none"
            await house.built.watcher.look()
            status, body, _ = await house.ask("GET", f"/api/v1/bots/{name}/fills", token)
            assert (status, body["code"]) == (503, "away")
            status, page, _ = await house.ask("GET", "/", token)
            assert status == 200
            assert "The database does not answer" in page.decode()
            assert "43,000.5" in page.decode()
            assert (await house.ask("GET", "/ready"))[0] == 503
            status, _, _ = await house.ask("GET", "/decisions", token)
            assert status == 200
            pause = {"json": {"command": "pause"}, "headers": {"Idempotency-Key": "while-away"}}
            assert (await house.ask("POST", f"/api/v1/bots/{name}/commands", token, **pause))[0] == 200
            assert (await house.ask("GET", "/", "never seen before"))[0] == 303
            rows._pool, rows.dsn = kept, right
            await house.built.watcher.look()
            assert (await house.ask("GET", "/ready"))[0] == 200
            assert (await house.ask("GET", f"/api/v1/bots/{name}/fills", token))[0] == 200

    run(main())


def test_lists_go_on_by_their_cursor_and_none_is_lost_or_told_twice(dsn, name, tmp_path):
    async def main():
        await write_history(dsn, name, fills=7, decisions=7)
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("read")
            for what, key in (("fills", "execution"), ("orders", "client_order_id"), ("decisions", "id")):
                found, cursor = [], ""
                while cursor is not None:
                    query = f"?limit=3&cursor={cursor}" if cursor else "?limit=3"
                    status, body, _ = await house.ask("GET", f"/api/v1/bots/{name}/{what}{query}", token)
                    assert status == 200, body
                    found += [one[key] for one in body["items"]]
                    cursor = body["next"]
                assert len(found) == len(set(found)) == 7, what
                assert found == sorted(found, reverse=True)
            _, fills, _ = await house.ask("GET", f"/api/v1/bots/{name}/fills", token)
            assert (fills["items"][-1]["price"], fills["items"][-1]["quantity"]) == (43_000.0, 0.01)
            _, trades, _ = await house.ask("GET", f"/api/v1/bots/{name}/trades", token)
            assert [one["fills"] for one in trades["items"]] == [2, 2, 2]
            _, csv, _ = await house.ask("GET", f"/history/fills.csv?bot={name}", token)
            assert len(csv.decode().splitlines()) == 8

    run(main())


def test_an_account_is_shown_beside_its_trades_and_downloaded_by_format_and_day(dsn, name, tmp_path):
    async def main():
        await write_history(dsn, name, fills=4)
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("read")
            _, told, _ = await house.ask("GET", f"/api/v1/portfolio/{name}/account", token)
            assert told["entries"] == 4
            assert told["sums"]["trade"] == pytest.approx(8.4)
            assert told["change"] == pytest.approx(8.4 - 0.04)
            (differs,) = told["differences"]  # the memory that was written is that of a pair that has not traded
            assert f"{PAIR}: its rows add up to +8.36000000" in differs
            _, page, _ = await house.ask("GET", f"/history/trades?bot={name}", token)
            assert differs in page.decode()
            path = f"/bots/{name}/account.csv?program=koinly&since=2024-01-01&until=2024-01-02"
            _, text, headers = await house.ask("GET", path, token)
            assert headers["Content-Disposition"].endswith(f'"{name}-koinly.csv"')
            assert len(text.decode().splitlines()) == 1 + 2 + 4  # a row for each result and for each fee
            _, text, _ = await house.ask("GET", f"/bots/{name}/account.csv?until=2024-01-01", token)
            assert len(text.decode().splitlines()) == 1
            for query, field in (("since=2024-02-30", "since"), ("since=2024-02-02&until=2024-02-01", "since")):
                status, body, _ = await house.ask("GET", f"/bots/{name}/account.csv?{query}", token)
                assert (status, body["field"]) == (422, field)

    run(main())


def test_what_was_earned_is_told_by_strategy_and_regime_and_how_alike_pairs_are(dsn, name, tmp_path):
    def told(pair, kind, at, **fields):
        return Decision(pair, at, kind, fields)

    async def main():
        await write_history(dsn, name, fills=6)  # one a minute, every second one brings 4.2 less 0.01
        store = await PostgresStore.join(dsn, name)
        saved = await store.load(PAIR)
        start = {"variant": "base", "size": 1.0}
        said = [
            told(PAIR, "start", NOW + MINUTE, strategy="grid", **start),
            told(PAIR, "regime", NOW + 2 * MINUTE, regime="tight_range", before="unknown"),
            told("OTHERUSDT", "start", NOW + 2 * MINUTE, strategy="trend", **start),
            told(PAIR, "start", NOW + 4 * MINUTE, strategy="dca", **start),
        ]
        await store.save(PAIR, saved, NOW, [], [], said)
        await store.close()
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("read")
            _, shown, _ = await house.ask("GET", f"/api/v1/portfolio/{name}", token)
            found = {(one["strategy"], one["regime"]): (one["profit"], one["fills"]) for one in shown["contributions"]}
            assert found == {
                ("unknown", "unknown"): (pytest.approx(-0.01), 1),
                ("grid", "unknown"): (pytest.approx(4.19), 1),
                ("grid", "tight_range"): (pytest.approx(4.18), 2),
                ("dca", "tight_range"): (pytest.approx(4.18), 2),
            }
            _, page, _ = await house.ask("GET", f"/portfolio?bot={name}", token)
            assert "tight range" in page.decode()

    run(main())


def test_allocation_is_told_over_time_and_groups_beside_their_limit(dsn, name, tmp_path):
    def given(pair, minute, target, equity):
        return Decision(pair, NOW + minute * MINUTE, "allocation", {"target": target, "equity": equity, "group": 0})

    async def main():
        store = await PostgresStore.open(dsn, name)
        said = [
            *(given(PAIR, 0, 900.0, 2_000.0), given("OLDUSDT", 0, 500.0, 2_000.0)),
            given("ETHUSDT", 600, 300.0, 2_100.0),
            *(given(PAIR, 1200, 400.0, 1_900.0), given("ETHUSDT", 1200, 0.0, 1_900.0)),
        ]
        await store.save(PAIR, PairMachine(classic(), instrument(), 1.0, MINUTE).saved(), NOW, [], [], said)
        await store.close()
        async with console(dsn, tmp_path, name) as house:
            bot, token = house.bots[name], await house.token("read")
            pairs = [pair_status(PAIR), pair_status("ETHUSDT", group=PAIR), pair_status("XRPUSDT")]
            bot.now = bot_status(name, at="2024-01-02T09:10:00Z") | {"pairs": pairs}
            await house.built.watcher.look()
            path = f"/api/v1/portfolio/{name}"
            _, told, _ = await house.ask("GET", f"{path}/allocation", token)
            marks = [((one["at"] - NOW) // MINUTE, one["targets"], one["free"]) for one in told["items"]]
            assert marks == [
                (0, {PAIR: 900.0, "OLDUSDT": 500.0}, 600.0),
                (600, {PAIR: 900.0, "ETHUSDT": 300.0}, 900.0),  # the pair that is not traded any more has nothing
                (1200, {PAIR: 400.0}, 1500.0),
            ]
            _, told, _ = await house.ask("GET", f"{path}/allocation?since={NOW + MINUTE}", token)
            assert [one["targets"] for one in told["items"]] == [{"ETHUSDT": 300.0}, {PAIR: 400.0}]
            _, shown, _ = await house.ask("GET", path, token)
            limit = 0.3 * 0.85 * 10_012.5
            assert [(one["pairs"], one["exposure"], one["limit"]) for one in shown["groups"]] == [
                ([PAIR, "ETHUSDT"], 860.0, pytest.approx(limit)),
                (["XRPUSDT"], 430.0, None),
            ]
            for days in (0, 1):
                _, page, _ = await house.ask("GET", f"/portfolio?bot={name}&days={days}", token)
                text = page.decode()
                assert text.count("<polygon") == 3 + (days == 0), days  # OLDUSDT ended more than a day ago
                assert "2,553" in text
                assert f"{PAIR}, ETHUSDT" in text
            status, body, _ = await house.ask("GET", f"/portfolio?bot={name}&days=-1", token)
            assert (status, body["field"]) == (422, "days")
            house.built.watcher.seen[name] = SeenBot(name, trouble="it does not run.")
            _, page, _ = await house.ask("GET", f"/portfolio?bot={name}", token)
            assert page.decode().count("<polygon") == 4  # that of a bot which has said nothing yet is shown too

    run(main())


def test_an_allocation_is_stacked_in_steps_and_reaches_to_now():
    marks = [
        {"at": 0, "equity": 100.0, "free": 50.0, "targets": {"A": 30.0, "B": 20.0}},
        {"at": 10, "equity": 200.0, "free": 200.0, "targets": {}},
    ]
    found = layers(marks, 20)
    assert [(one.kind, one.name, one.now) for one in found] == [
        ("pair", "A", 0.0),
        ("pair", "B", 0.0),
        ("free", "", 200.0),
    ]
    assert found[0].points.split()[:4] == ["0.0,136.0", "300.0,136.0", "300.0,160.0", "600.0,160.0"]
    assert found[2].points.split()[:4] == ["0.0,80.0", "300.0,80.0", "300.0,0.0", "600.0,0.0"]
    assert layers([], 20) == []


def test_a_bots_config_is_shown_with_what_each_value_means_and_may_be(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("read")
            _, shown, _ = await house.ask("GET", f"/api/v1/bots/{name}/config", token)
            assert [(one["key"], one["live"]) for one in shown][1:] == [
                ("grid.levels", True),
                ("grid.timeframe", False),
            ]
            assert (shown[1]["bounds"], shown[1]["meaning"]) == (">= 2, <= 100", "number of levels")
            _, page, _ = await house.ask("GET", f"/config?bot={name}", token)
            text = page.decode()
            assert "number of levels" in text and "&gt;= 2, &lt;= 100" in text
            assert "<option>grid.levels</option>" in text and "<option>grid.timeframe</option>" not in text
            await house.bots[name].server.stop()
            _, page, _ = await house.ask("GET", f"/config?bot={name}", token)
            assert 'class="fault"' in page.decode()

    run(main())


def test_pairs_are_correlated_day_by_day_and_days_without_a_fill_count_as_nothing():
    days = [f"2024-01-{day:02d}" for day in range(1, 21)]
    profits = {"A": [(-1.0) ** k for k in range(20)], "B": [2 * (-1.0) ** k for k in range(20)], "C": [1.0] * 20}
    rows = [
        {"day": day, "pair": pair, "profit": profits[pair][k], "fills": 1}
        for pair in profits
        for k, day in enumerate(days)
        if pair != "B" or k % 2 == 0
    ]
    (found,) = correlations(rows)
    assert (found["pair"], found["other"], found["days"]) == ("A", "B", 20)
    assert found["correlation"] == pytest.approx(1.0)
    assert correlations([row for row in rows if row["day"] < "2024-01-10"]) == []
    assert correlations([]) == []


def test_candles_come_as_columns_in_one_body_rolled_up(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("read")
            path = f"/api/v1/market-data/candles?bot={name}&pair={PAIR}&bars=100&minutes="
            _, raw, headers = await house.ask("GET", path + "1", token)
            assert (headers["X-Rows"], len(raw)) == ("100", 6 * 100 * 8)
            import numpy as np

            columns = np.frombuffer(raw, "<f8").reshape(6, 100)
            assert np.all(np.diff(columns[0]) == 60_000)
            _, raw, headers = await house.ask("GET", path + "60", token)
            hours = np.frombuffer(raw, "<f8").reshape(6, int(headers["X-Rows"]))
            assert set(np.diff(hours[0])) == {3_600_000.0}
            assert hours[2][5] == hours[4][5] + 2.5  # high and close
            assert set(hours[5]) == {60.0}  # of every minute of each
            status, body, _ = await house.ask("GET", path.replace(PAIR, "XYZUSDT") + "1", token)
            assert (status, body["code"]) == (404, "not_found")

    run(main())


def test_stored_candles_come_as_hours_of_years_or_as_minutes_of_a_period(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            house.built.sources.candles.days_stored = 800
            token = await house.token("read")
            path = f"/api/v1/market-data/stored-candles?bot={name}&pair={PAIR}"
            import numpy as np

            _, raw, headers = await house.ask("GET", path, token)
            hours = np.frombuffer(raw, "<f8").reshape(6, int(headers["X-Rows"]))
            assert (headers["X-Minutes"], headers["X-Rows"]) == ("60", str(800 * 24))
            since = int(hours[0][5])
            _, raw, headers = await house.ask("GET", f"{path}&minutes=1&since={since}&until={since + DAY}", token)
            minutes = np.frombuffer(raw, "<f8").reshape(6, int(headers["X-Rows"]))
            assert (minutes[0][0], minutes[0][-1]) == (since, since + DAY - MINUTE)
            status, body, _ = await house.ask("GET", path.replace(PAIR, "XYZUSDT"), token)
            assert (status, body["code"]) == (404, "not_found")

    run(main())


def test_a_halt_says_what_each_answer_would_do_and_takes_it(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name, look=False) as house:
            house.bots[name].now = bot_status(name, **HALTED)
            await house.built.watcher.look()
            token = await house.token()
            _, page, _ = await house.ask("GET", f"/bots/{name}/halt", token)
            text = page.decode()
            assert "24:00 left" in text  # the decision is due at 9:30, it is 9:06
            assert "Keeps 1 position worth 430.0" in text  # 0.01 at 43,000.5
            assert "Closes half of 1 position at the market, 215.00 of 430.0" in text
            assert "what floats now, +2.0" in text  # 0.01 of the 200.5 above its average
            assert house.built.watcher.bots()[0].bot == name
            assert text.count("What that means for orders is being computed.") == 3
            status = house.built.watcher.bots()[0].status
            await house.built.outcomes.wait(status, "hold", 10.0)
            text = (await house.ask("GET", f"/bots/{name}/halt", token))[1].decode()
            assert "entries cancelled: 2; exits cancelled: 1; closing orders at the market: 1 for 430.0" in text
            assert (
                text.count("held then: 1 positions worth 430.0") == text.count("33.45 would be lost at the stops") == 2
            )
            assert "being computed" not in text

    run(main())


# Whatever is asked: it is answered in the one shape, and never with a 500.

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=30),
    st.sampled_from(["", "\0", "a" * 300, "..", "%", "9" * 40, "main", PAIR, "pause", "-1", "0", "1e400", "é", "{}"]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)  # fmt: skip


def cursor(at, key):
    return urlsafe_b64encode(json.dumps([at, key]).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "given",
    [
        "x",
        cursor("2024-01-01T00:00:00", "1"),
        cursor("9999-12-31T23:59:59-14:00", "1"),
        cursor("0001-01-01T00:00:00+14:00", "1"),
        cursor("2024-01-01T00:00:00+00:00", "\0"),
        cursor("2024-01-01T00:00:00+00:00", "\ud800"),
        cursor("2024-01-01T00:00:00+00:00", 1),
        cursor(1, 1),
        "W10",
    ],
)
def test_a_cursor_that_no_page_ended_with_is_refused(dsn, name, tmp_path, given):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("read")
            for what in ("fills", "orders", "decisions", "commands"):
                status, body, _ = await house.ask("GET", f"/api/v1/bots/{name}/{what}?cursor={given}", token)
                assert (status, body["code"], body["field"]) == (422, "invalid", "cursor"), (what, body)
                assert "cursor is" in body["message"]

    run(main())


def odd_bodies(operation, schemas):
    """Bodies with the fields that an operation names, each with any value or with its example."""
    (content,) = operation["requestBody"]["content"].values()
    schema = content["schema"]
    own = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    values = {
        name: st.one_of(ODD, st.sampled_from(field["examples"])) if field.get("examples") else ODD
        for name, field in own.get("properties", {"x": {}}).items()
    }
    return st.one_of(st.fixed_dictionaries({}, optional=values), st.fixed_dictionaries(values))


def odd_requests(operations, schemas):
    """Requests to the operations of the OpenAPI document: their own parameters and fields, with any value."""
    bodies = {(one[0], one[1]): odd_bodies(one[2], schemas) for one in operations if "requestBody" in one[2]}

    @st.composite
    def made(draw):
        method, path, operation = draw(st.sampled_from(operations))
        path_of_route = path
        query, headers = [], {}
        for one in operation.get("parameters", ()):
            value = str(draw(st.one_of(ODD, st.integers(0, 50))))
            if one["in"] == "path" and draw(st.booleans()):
                path = path.replace("{" + one["name"] + "}", value.replace("/", "") or "x")
            elif one["in"] == "query" and draw(st.booleans()):
                query.append((one["name"], value))
            elif one["in"] == "header" and draw(st.booleans()):
                headers[one["name"]] = "".join(c for c in value if 32 <= ord(c) < 127)
        body = None
        if "requestBody" in operation:
            body = draw(st.one_of(ODD, bodies[method, path_of_route]))
        return method, path, query, headers, body

    return made()


def fuzz(dsn, tmp_path, name, examples):
    async def main():
        async with console(dsn, tmp_path, name, look=False) as house:
            token, loop = await house.token(), asyncio.get_running_loop()
            house.built.sources.access.set_password = nothing
            operations = [one for one in house.routes() if "sign-out" not in one[1]]
            schemas = house.app.openapi()["components"]["schemas"]
            house.built.sources.signal_keys.read = lambda _: SIGNING  # also after a request that makes another
            listening = {"key": LISTENS, "value": True, "live": False, "bounds": "", "meaning": "listens to signals"}
            house.bots[name].settings.append(listening)

            @settings(
                max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True,
                database=None,
            )  # fmt: skip
            @given(odd_requests(operations, schemas))
            def each(made):
                asyncio.run_coroutine_threadsafe(check(house, token, made, name), loop).result(30)

            await asyncio.to_thread(each)

    run(main())


SIGNING = "f" * 64


async def nothing(*_):
    """Set no password: the next request could not be checked."""


async def check(house, token, made, name):
    method, path, query, headers, body = made
    path = path.replace("{bot}", name).replace("{pair}", PAIR).replace("{session}", "x")
    for part, value in VALUES.items():
        path = path.replace("{" + part + "}", str(value))
    from urllib.parse import quote

    from yarl import URL

    text = json.dumps(body) if body is not None else None
    url = URL(house.address + quote(path, safe="/", errors="replace"), encoded=True)
    if query:
        url = url.with_query([(key, value.encode(errors="replace").decode()) for key, value in query])
    sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"} | headers
    if method == "POST" and path == f"/api/v1/signals/{name}":  # or every one would be refused for its signature
        sent |= {"X-Signal-Timestamp": str(NOW), "X-Signal-Signature": signature(SIGNING, NOW, (text or "").encode())}
    async with house.session.request(method, url, data=text, headers=sent, allow_redirects=False) as answer:
        assert answer.status < 500, (made, await answer.text())
        if answer.status >= 400:
            assert set(await answer.json()) == {"code", "message", "field", "remedy"}, made
            assert len((await answer.json())["message"]) < 1200


def test_no_odd_request_is_a_500(dsn, name, tmp_path):
    fuzz(dsn, tmp_path, name, 250)


@pytest.mark.slow
def test_no_odd_request_of_20_000_is_a_500(dsn, name, tmp_path):
    fuzz(dsn, tmp_path, name, 20_000)


# Documents and words.


def test_the_openapi_document_has_every_route_with_its_errors_and_examples(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            document = (await house.ask("GET", "/api/v1/openapi.json"))[1]
            assert {path.split("/")[3] for path in document["paths"] if path.startswith("/api/")} == {
                "auth", "bots", "portfolio", "market-data", "dashboard", "settings", "audit",
                "jobs", "sessions", "backtests", "strategies", "indicators", "fleet", "replays", "journal", "signals",
            }  # fmt: skip
            for path, operations in document["paths"].items():
                for method, one in operations.items():
                    assert one.get("description"), (method, path)
                    if path.startswith("/api/"):
                        assert {"401", "403", "422", "429"} <= set(one["responses"]), (method, path)
            for title, schema in document["components"]["schemas"].items():
                if title.endswith("Given") or title.startswith("New"):
                    bare = [
                        one for one, field in schema["properties"].items() if not {"examples", "default"} & set(field)
                    ]
                    assert not bare, title

    run(main())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_everything_that_the_first_says(language):
    first, own = (PageWords(one).bundle._messages for one in ("en", language))
    decisions = {f"decision-{kind.name.lower()}" for kind in DecisionKind} | {"since"}
    assert set(own) == (set(first) | decisions if language != "en" else set(first))
    assert len(PageWords(language).chart()) == (0 if language == "en" else CHART_TEXTS + len(CHART_NAMES))
    assert len([one for one in first if one.startswith("chart-")]) == CHART_TEXTS
    for name in first:
        if name.startswith("word-"):
            assert PageWords(language)(name)


@pytest.mark.parametrize("kind", DecisionKind)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_decision_is_a_sentence_in_every_language(language, kind):
    record = dict.fromkeys(("a", "b", "c"), 1) | dict.fromkeys(("x", "y", "z", "w", "v"), 1.0)
    fields = {
        name: "grid" if read is FAMILY else read(record[key]) for key, name, read in FIELDS[kind]
    }  # as a bot stores them
    row = {"id": 1, "pair": PAIR, "at": NOW, "kind": kind.name.lower(), "fields": json.loads(json.dumps(fields))}
    said = spoken(PageWords(language), row)
    assert said != kind.name.lower().replace("_", " ")
    assert any(ord(one) > 0x400 and one.isalpha() for one in said) == (language == "ru")


@pytest.mark.parametrize("language", LANGUAGES)
def test_why_it_holds_what_it_holds_leaves_out_what_is_over(language):
    def row(number, kind, **fields):
        return {"id": number, "pair": PAIR, "at": NOW + number, "kind": kind, "fields": fields}

    regime = row(1, "regime", regime="wide_range", before="unknown", adx=12.0, atr_pct=1.5, ema_divergence=0.01)
    start = row(2, "start", strategy="grid", variant="configured", size=900.0)
    pause = row(3, "pause", reason="operator", until="2024-01-02T00:00:00Z", size=None)
    words = PageWords(language)
    paused = reasons(words, [regime, start, pause], PAIR)
    over = reasons(words, [regime, start, pause, row(4, "unpause")], PAIR)
    assert len(over) == len(paused) - 1
    assert not reasons(words, [], PAIR)
    assert reasons(words, [row(5, "closing", price=1.0, position=2.0)], PAIR)  # what came before it is not there


def test_a_language_is_the_one_chosen_or_the_first_of_the_browsers():
    assert chosen("de,ru;q=0.8,en;q=0.5", None) == "ru"
    assert chosen("ru", "en") == "en"
    assert chosen("", None) == "en"
    assert chosen("de", "xx") == "en"
    with pytest.raises(KeyError):
        PageWords("ru")("there-is-no-such-message")
    assert PageWords("ru")("would_hold", count=3, value="1").startswith("Сохраняет 3 позиции")
    assert PageWords("ru")("would_hold", count=5, value="1").startswith("Сохраняет 5 позиций")


def test_nobody_is_told_more_than_that_something_is_away(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name, look=False) as house:
            token = await house.token("read")

            async def away(*_, **__):
                raise Unreachable("the database does not answer (OSError)")

            house.built.sources.history.fills = away
            status, body, _ = await house.ask("GET", f"/api/v1/bots/{name}/fills", token)
            assert (status, body["code"], body["field"]) == (503, "away", None)
            assert "postgresql" not in json.dumps(body)

            async def broken(*_, **__):
                raise ZeroDivisionError("a secret")

            house.built.sources.history.fills = broken
            configure([], stream=io.StringIO())
            status, body, _ = await house.ask("GET", f"/api/v1/bots/{name}/fills", token)
            assert (status, body["code"]) == (500, "failed")
            assert "secret" not in json.dumps(body)

    previous = structlog.get_config()
    try:
        run(main())
    finally:
        structlog.configure(**previous)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--host", "256.1.1.1"), "cannot be opened"),
        (("--origin", "console.example"), "give one such as https://console.example"),
        (("--database", "postgresql://nobody@127.0.0.1:1/none"), "cannot be used"),
    ],
)
def test_web_says_what_is_wrong_in_a_sentence(tmp_path, options, sentence, monkeypatch):
    monkeypatch.setattr(store, "START_SECONDS", 0.1)
    said = command("web", "--port", "0", *options, folder=tmp_path, code=2).stderr
    assert sentence in said
    assert said.count("\n") == 1


def test_without_its_parts_the_console_says_how_to_get_them_and_a_demo_goes_without(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "PARTS", ("there_is_no_such_module.inside",))
    assert not web.installed()
    assert "uv sync --extra web" in command("web", folder=tmp_path, code=2).stderr
    monkeypatch.undo()
    assert web.installed()


def test_a_clone_has_what_the_extra_has():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["dependency-groups"]["console"] == project["project"]["optional-dependencies"]["web"]
