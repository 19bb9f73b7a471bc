"""Telegram through the real aiogram: every command, codes, alarms, faults of Telegram, and nobody who may not."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import replace

import pytest
import structlog
from aiogram import Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.types import Update
from typer.testing import CliRunner

from bot.events import Alarm, Decision, Filled
from services.command_line.main import app
from services.storage.access_rows import AccessRows
from services.storage.read_pool import ReadPool
from services.telegram.desk import CONFIRMED, SAID
from services.telegram.mailbox import MailLimits
from services.telegram.users import read_settings, settings_file, write_settings
from tests.services.console_house import MadeTwins, drift_day
from tests.services.fake_telegram import TOKEN, FakeTelegram
from tests.services.telegram_house import ANN, BOB, HALTED, ODD, STRANGER, clock_from, house, live_status

NOW = 1_704_100_000_000


def run(work):
    return asyncio.run(asyncio.wait_for(work, 100))


def filled(number=1, pair="BTCUSDT", **more):
    given = {"side": "buy", "price": "43000.5", "quantity": "0.01", "fee": 0.01, "maker": True, "cause": "order"}
    return Filled(pair, NOW, f"x{number}", f"o{number}", **{**given, **more})


def alarm(name="position", severity="critical", *, over=False, pair="BTCUSDT"):
    return Alarm(pair, NOW, name, severity, "the position is not the bot's", "look at it", over)


WARNING = Alarm("BTCUSDT", NOW, "costs", "warning", "it costs more than it should", "look at it", over=False)


class Answering:
    """Twins that answer at once."""

    def __init__(self, name):
        self.name = name

    async def what_if(self, bot, pair, price, price_now):
        return await MadeTwins.what_if(self, bot, pair, price, price_now)

    async def days(self, bot):
        return ["2024-01-01"]

    async def day(self, bot, day):
        return drift_day(bot, day)


def test_what_a_twin_tells_of_another_price_and_of_the_last_day(dsn, name, tmp_path):
    async def main(language):
        async with house(tmp_path / language, dsn, [f"{name}{language[0]}"], language=language) as here:
            desk = here.service.link.desk
            desk.world = replace(desk.world, twins=Answering(name))
            return [(await here.answer(ANN, f"/{one}"))["text"] for one in ("whatif BTCUSDT 42000", "drift")]

    moved, drift = run(main("en"))
    assert "BTCUSDT to 42,000: 1 fills on the way, 0.02 is held then, -5.00" in moved
    assert "Then the stop stands at 41,000; from there 33.45 would be lost." in moved and "buy 0.01 @ 42,500" in moved
    assert "Drift on 2024-01-01: +3.49 bps" in drift and "missed BTCUSDT: it stood in a queue" in drift
    assert "could not be compared: 1" in drift
    moved, drift = run(main("ru"))
    assert "потеря 33.45" in moved and "Отклонение за 2024-01-01" in drift


def test_what_is_no_command_or_names_no_pair_is_said(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name]) as here:
            here.bot.now = live_status(name, pairs=("BTCUSDT", ODD))
            texts = (
                "/nothing",
                "hello",
                "/pair DOGE<b>USDT",
                "/whatif BTCUSDT much",
                "/pair",
                f"/pair {ODD}",
                "/pairs",
            )
            return [(await here.answer(ANN, one))["text"] for one in texts]

    unknown, plain, other, no_price, which, odd, every = run(play())
    assert "/help" in unknown and "/help" in plain
    assert other.startswith("DOGE&lt;b&gt;USDT is none") and "much is no price" in no_price and "BTCUSDT" in which
    assert ODD in odd and ODD in every, "names like Markdown are said as they are"


def test_a_stranger_hears_nothing_and_stands_in_the_audit(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name]) as here:
            for _ in range(3):
                here.telegram.writes(STRANGER, "/status")
                here.telegram.presses(STRANGER, "yes:abc")
            here.telegram.writes(ANN, "/status", chat=-100)  # in a group
            await here.answer(ANN, "/version")
            pool = ReadPool(dsn)
            rows = await AccessRows(pool).audit("", 0, 10)
            await pool.close()
            return here.telegram.sent, here.telegram.edited, here.telegram.answered, rows

    sent, edited, answered, rows = run(play())
    assert {one["chat"] for one in sent} == {ANN} and len(sent) == 1 and not edited and not answered
    own = [one for one in rows if one["who"] == f"telegram:{STRANGER}"]
    assert [(one["action"], one["outcome"]) for one in own] == [("stranger", "silence")]


def test_what_moves_money_asks_once_more_and_is_done_once(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name]) as here:
            asked = await here.answer(ANN, "/closeall")
            yes, no = asked["buttons"]["Yes, do it"], asked["buttons"]["No"]
            forwarded = await here.pressed(BOB, yes, asked["number"])
            done = await here.pressed(ANN, yes, asked["number"])
            twice = await here.pressed(ANN, yes, asked["number"])
            other = await here.answer(ANN, "/reduce50")
            left = await here.pressed(ANN, other["buttons"]["No"], other["number"])
            late = await here.pressed(ANN, no, asked["number"])
            pool = ReadPool(dsn)
            rows = await AccessRows(pool).audit(name, 0, 10)
            await pool.close()
            return asked, forwarded, done, twice, left, late, here.bot.told, rows

    asked, forwarded, done, twice, left, late, told, rows = run(play())
    assert "Closes 1 positions worth 430.00 at the market; unrealised +2.00" in asked["text"]
    assert "not yours" in forwarded["text"] and "has been used" in twice["text"] and "has been used" in late["text"]
    assert done["text"] == f"{name}: close-all is done" and "Nothing was done" in left["text"]
    assert [(one.kind, one.who, one.source) for one in told] == [("close-all", f"telegram:{ANN}", "telegram")]
    assert [(one["action"], one["fields"], one["outcome"]) for one in rows] == [
        ("command", {"command": "close-all"}, "close-all is done")
    ]


def test_setup_finds_the_chat_of_whoever_writes_and_sends_a_test(tmp_path, monkeypatch):
    monkeypatch.setenv("TRADERAGENT_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    async def setup(telegram, *arguments):
        given = ["telegram", "setup", "--token-file", str(tmp_path / "token"), "--address", telegram.address]
        return await asyncio.to_thread(CliRunner().invoke, app, [*given, *arguments])

    async def play():
        async with FakeTelegram() as telegram:
            telegram.writes(BOB, "hello", chat=-5)  # in a group, which finds nobody
            telegram.writes(ANN, "hello", name="Ann", language="ru")
            mine = await setup(telegram, "--yes")
            telegram.writes(BOB, "hello", name="Bob")
            his = await setup(telegram, "--yes")
            nobody = await setup(telegram, "--yes", "--seconds", "1")
            (tmp_path / "token").write_text(TOKEN.replace("A", "B"))
            other = await setup(telegram, "--yes")
            (tmp_path / "token").write_text("none")
            return mine, his, nobody, other, await setup(telegram), telegram.sent

    mine, his, nobody, other, none, sent = run(play())
    assert mine.exit_code == his.exit_code == 0 and "trader_bot" in mine.stdout
    users = read_settings(tmp_path / "data").users
    assert [(one.id, one.name, one.language) for one in users] == [(ANN, "Ann", "ru"), (BOB, "Bob", "en")]
    assert [one["chat"] for one in sent] == [ANN, BOB] and all("may watch and command" in one["text"] for one in sent)
    said = [str(one.exception) for one in (nobody, other, none)]
    assert "nobody has written to the bot for 1 seconds" in said[0] and "Telegram does not take it" in said[1]
    assert "token is none of BotFather's" in said[2] and TOKEN not in "".join(said)
    assert read_settings(tmp_path / "data").token == TOKEN, "what was set up stays"


def test_who_was_let_out_hears_nothing_more(dsn, name, tmp_path):
    later, noon = [0.0], clock_from(12)

    async def play():
        async with house(tmp_path, dsn, [name], clock=lambda: noon() + later[0]) as here:
            await here.until(lambda: name in here.service.places)
            here.bus.publish(alarm())
            await here.until(lambda: {one["chat"] for one in here.telegram.sent} == {ANN, BOB})
            kept = read_settings(tmp_path)
            write_settings(tmp_path, replace(kept, users=tuple(one for one in kept.users if one.id != BOB)))
            later[0] += 301.0
            here.service.link.wake()
            await here.until(lambda: sum(one["chat"] == ANN for one in here.telegram.sent) == 2)
            here.service.link.wake()
            await here.answer(ANN, "/version")
            return [one["chat"] for one in here.telegram.sent]

    assert run(play()).count(BOB) == 1


def test_a_code_is_worth_nothing_after_a_minute_or_when_the_position_has_changed(dsn, name, tmp_path):
    later, noon = [0.0], clock_from(12)

    async def play():
        async with house(tmp_path, dsn, [name], clock=lambda: noon() + later[0]) as here:
            asked = await here.answer(ANN, "/closeall")
            here.bot.now = {**here.bot.now, "pairs": [{**here.bot.now["pairs"][0], "position": 0.02}]}
            changed = await here.pressed(ANN, asked["buttons"]["Yes, do it"], asked["number"])
            later[0] += 61.0
            late = await here.pressed(ANN, changed["buttons"]["Yes, do it"], asked["number"])
            return changed, late, here.bot.told

    changed, late, told = run(play())
    assert changed["text"].startswith("Positions have changed") and "worth 860.01" in changed["text"]
    assert "Too late" in late["text"] and told == []


def test_every_word_reaches_the_bot_and_a_refusal_is_said(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name]) as here:
            for word, command in SAID.items():
                answer = await here.answer(ANN, f"/{word}")
                if command in CONFIRMED or command == "hold":  # which halts what trades
                    answer = await here.pressed(ANN, answer["buttons"]["Yes, do it"], answer["number"])
                assert answer["text"] == f"{name}: {command} is done"
            await here.answer(ANN, "/pause btc/usdt")
            here.bot.refuses = "this UTC day has seen a resume already"
            refused = await here.answer(ANN, "/pause")
            return [(one.kind.value, one.pair) for one in here.bot.told], refused

    told, refused = run(play())
    pairs = {"close": "BTCUSDT"}  # the only one, which need not be named
    assert told[:-1] == [*((command, pairs.get(command)) for command in SAID.values()), ("pause", "BTCUSDT")]
    assert "refuses: this UTC day has seen a resume already" in refused["text"]


def test_a_setting_is_shown_and_changed_by_a_code_that_is_bound_to_what_it_is(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name]) as here:
            shown = await here.answer(ANN, "/config")
            section = await here.answer(ANN, "/config grid")
            texts = [(await here.answer(ANN, f"/config {one}"))["text"] for one in ("x.y", "grid.timeframe 4h", "x 1")]
            asked = await here.answer(ANN, "/config grid.levels 12")
            yes = asked["buttons"]["Yes, do it"]
            forwarded = await here.pressed(BOB, yes, asked["number"])
            here.bot.settings[1] = {**here.bot.settings[1], "value": 14}
            changed = await here.pressed(ANN, yes, asked["number"])
            done = await here.pressed(ANN, changed["buttons"]["Yes, do it"], asked["number"])
            twice = await here.pressed(ANN, changed["buttons"]["Yes, do it"], asked["number"])
            pool = ReadPool(dsn)
            rows = await AccessRows(pool).audit(name, 0, 10)
            await pool.close()
            return shown, section, texts, asked, forwarded, changed, done, twice, here.bot.told, rows

    shown, section, texts, asked, forwarded, changed, done, twice, told, rows = run(play())
    assert "strategy = grid" in shown["text"] and shown["buttons"] == {"grid": "again:/config grid"}
    assert "✎ grid.levels = 15" in section["text"] and "\ngrid.timeframe = 1h" in section["text"]
    assert (
        "is no section" in texts[0] and "cannot change while the bot runs" in texts[1] and "is no section" in texts[2]
    )
    assert "grid.levels: 15 → 12" in asked["text"] and "not yours" in forwarded["text"]
    assert changed["text"].startswith("Something has changed") and "grid.levels: 14 → 12" in changed["text"]
    assert done["text"] == f"{name}: set is done" and "has been used" in twice["text"]
    assert [(one.kind.value, one.setting, one.value) for one in told] == [("set", "grid.levels", "12")]
    assert [one["fields"] for one in rows] == [{"command": "set grid.levels 12"}]


def test_two_users_and_two_bots_do_not_mix(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name, f"{name}b"]) as here:
            which = await here.answer(ANN, "/status")
            chosen = await here.pressed(ANN, which["buttons"][f"{name}b"], which["number"])
            status = await here.answer(ANN, "/status")
            other = await here.answer(BOB, "/status")
            return which, chosen, status, other

    which, chosen, status, other = run(play())
    assert which["text"] == "Which bot?" and set(which["buttons"]) == {name, f"{name}b"}
    assert chosen["text"] == f"From now on: {name}b." and f"<b>{name}b</b>" in status["text"]
    assert other["text"] == "Which bot?" and other["chat"] == BOB
    assert read_settings(tmp_path).user(ANN).bot == f"{name}b"


def test_a_fill_and_an_alarm_are_on_the_phone_within_three_seconds(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,)) as here:
            await here.until(lambda: name in here.service.places)
            began = time.monotonic()
            here.bus.publish(filled())
            here.bus.publish(alarm())
            here.bus.publish(Decision("", NOW, "resume", {"equity": 10_000.0}))
            await here.until(lambda: any("bought" in one["text"] for one in here.telegram.sent))
            said = await here.until(lambda: [one for one in here.telegram.sent if "🚨" in one["text"]])
            seconds = time.monotonic() - began
            here.telegram.presses(ANN, said[0]["buttons"]["Seen"], said[0]["number"])
            await here.until(lambda: here.telegram.answered)
            here.bus.publish(alarm(over=True))
            here.bus.publish(alarm("costs", "warning"))
            await here.until(lambda: any("⚠️" in one["text"] for one in here.telegram.sent))
            return here.telegram.sent, seconds, here.service.notices.box(ANN).alarms()

    sent, seconds, waiting = run(play())
    assert seconds < 3.0 and waiting == []
    text = "\n".join(one["text"] for one in sent)
    assert "BTCUSDT: bought 0.01 @ 43,000.5" in text and "trades again, with an equity of 10,000.00" in text
    assert text.count("🚨") == 1 and "Over" not in text, "who has seen it needs not hear that it is over"


def outcome(**more):
    """What a command would do to the one pair, as its copy tells."""
    return {
        "price": 43_000.5, "position_now": 0.01, "position": 0.01, "entries_cancelled": 0, "exits_cancelled": 0,
        "closing_orders": 0, "closed": 0.0, "closed_value": 0.0, "realised": 0.0, "fees": 0.0, "orders": 1,
        "stop": 41_000.0, "loss_at_stop": 20.25,
    } | more  # fmt: skip


LEFT = {"position": 0.0, "closing_orders": 1, "closed": 0.01, "orders": 0, "stop": 0.0, "loss_at_stop": None}
COMMANDS = {
    "halt": outcome(entries_cancelled=4),
    "hold": outcome(),
    "reduce-50": outcome(position=0.005, closing_orders=1, closed=0.005, closed_value=215.0, realised=1.0, fees=0.12),
    "close-all": outcome(**LEFT, closed_value=430.0, realised=2.0, fees=0.24, exits_cancelled=1),
    "close": outcome(**LEFT, closed_value=430.0, realised=2.0, fees=0.24),
}


class Reckoning:
    """Twins that tell what each command would do."""

    def __init__(self):
        self.asked, self.outcomes = [], COMMANDS

    async def command_outcomes(self, bot, prices):
        self.asked.append(prices)
        return {"bot": bot, "commands": {name: {"BTCUSDT": one} for name, one in self.outcomes.items()}}


def computed_in(here):
    here.service.notices.world = replace(here.service.notices.world, twins=Reckoning())
    return here.service.notices.world.twins


def in_text(here, words):
    """Every message that was sent or changed and has these words."""
    return [one for one in [*here.telegram.sent, *here.telegram.edited] if words in one["text"]]


def test_a_halt_is_on_the_phone_within_three_seconds(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,)) as here:
            computed_in(here)
            await here.until(lambda: name in here.service.places)
            await here.service.look()
            here.service.look = asyncio.Event().wait  # what comes now comes by the event
            here.bot.now = {**here.bot.now, **HALTED}
            began = time.monotonic()
            here.bus.publish(Decision("", NOW, "halt", {"day_loss": 0.104, "drawdown": 0.11, "equity": 9000.0}))
            await here.until(lambda: [one for one in here.telegram.sent if "Close all" in one["buttons"]])
            return time.monotonic() - began

    assert run(play()) < 3.0


def test_a_halt_is_decided_from_the_phone(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,)) as here:
            twins = computed_in(here)
            here.bot.now = {**here.bot.now, **HALTED}
            await here.service.look()
            (told,) = await here.until(lambda: [one for one in here.telegram.sent if "halted" in one["text"]])
            before = len(here.telegram.sent)
            here.telegram.presses(ANN, told["buttons"]["Close all"], told["number"])
            await here.until(lambda: len(here.telegram.sent) > before)
            asked = here.telegram.sent[before]
            done = await here.pressed(ANN, asked["buttons"]["Yes, do it"], asked["number"])
            pairs = [{**one, "open_orders": 2} for one in here.bot.now["pairs"]]
            here.bot.now = {**here.bot.now, "answer": "close_all", "decide_by": None, "pairs": pairs}
            await here.service.look()
            (way,) = await here.until(lambda: in_text(here, "Under way"))
            flat = [{**one, "position": 0.0, "open_orders": 0, "reconciled_seconds": 60.0} for one in pairs]
            here.bot.now = {**here.bot.now, "pairs": flat}
            await here.service.look()  # it is flat by what the bot has booked; nobody has compared it yet
            await here.until(lambda: in_text(here, "Under way: 0 positions"))
            assert not in_text(here, "Seen at")
            here.bot.now = {**here.bot.now, "pairs": [{**one, "reconciled_seconds": 0.0} for one in flat]}
            await here.service.look()
            (seen,) = await here.until(lambda: in_text(here, "Seen at"))
            return told, asked, done, way, seen, here.bot.told, twins.asked

    told, asked, done, way, seen, commands, prices = run(play())
    assert "holds what it has in 24 min of the market" in told["text"]
    assert set(told["buttons"]) == {"Hold", "Halve", "Close all", "Seen"}
    closes = "exits cancelled: 1; closing orders at the market: 1 for 430.00, +2.00 becomes final, fees 0.24; nothing"
    assert "Closes 1 positions" in asked["text"] and closes in asked["text"]
    assert done["text"].endswith("close-all is done") and [one.kind for one in commands] == ["close-all"]
    assert "1 positions worth 430.00, 2 open orders" in way["text"] and way["number"] == told["number"]
    assert seen["number"] == told["number"] and "Decided: close all" in seen["text"] and "0 positions" in seen["text"]
    assert prices[0] == {"BTCUSDT": 43_000.5}


def test_a_halt_says_what_each_answer_would_do_and_counts_down_in_its_place(dsn, name, tmp_path):
    later, noon = [0.0], clock_from(12)

    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,), clock=lambda: noon() + later[0]) as here:
            twins = computed_in(here)
            here.bot.now = {**here.bot.now, **HALTED}
            await here.service.look()
            (told,) = await here.until(lambda: [one for one in here.telegram.sent if "halted" in one["text"]])
            await here.service.look()
            computed = (await here.until(lambda: in_text(here, "at the stops")))[0]
            here.bot.now = {**here.bot.now, "at": "2024-01-01T09:16:00Z"}
            for _ in range(3):
                await here.service.look()
            assert not in_text(here, "in 14 min"), "a message is changed once a minute"
            twins.outcomes = {**COMMANDS, "reduce-50": COMMANDS["close-all"]}
            later[0] += 61.0
            await here.service.look()
            (counted,) = await here.until(lambda: in_text(here, "in 14 min"))
            later[0] += 300.0
            here.service.link.wake()
            (again,) = await here.until(lambda: [one for one in here.telegram.sent if "in 14 min" in one["text"]])
            here.bot.now = {**here.bot.now, "at": "2024-01-01T09:30:00Z", "answer": "hold", "decide_by": None}
            await here.service.look()
            await here.until(lambda: in_text(here, "nobody has decided in time"))
            await here.until(lambda: in_text(here, "Decided: hold"))
            here.bot.now = live_status(name)
            await here.service.look()
            over = (await here.until(lambda: in_text(here, "The halt is over")))[0]
            before = len(here.telegram.sent)
            here.telegram.presses(ANN, told["buttons"]["Hold"], told["number"])
            await here.until(lambda: len(here.telegram.sent) > before)
            return told, computed, counted, again, over, here.telegram.sent[before], here.bot.told

    told, computed, counted, again, over, late, commands = run(play())
    for said in (
        "<b>Hold</b>: held then: 1 positions worth 430.00; 20.25 would be lost at the stops",
        "<b>Halve</b>: closing orders at the market: 1 for 215.00, +1.00 becomes final, fees 0.12; held then: 1",
        "<b>Close all</b>: exits cancelled: 1; closing orders at the market: 1 for 430.00",
    ):
        assert said in computed["text"]
    assert "being computed" not in computed["text"]
    assert {one["number"] for one in (told, computed, counted)} == {told["number"]}
    assert set(counted["buttons"]) == {"Hold", "Halve", "Close all", "Seen"}
    assert again["number"] != told["number"] and "in 14 min" in again["text"], "what is said again is what holds now"
    assert over["buttons"] == {} and over["number"] == again["number"]
    assert "The halt is over" in late["text"] and commands == [], "an old button halts nothing"


def test_where_a_pair_cannot_be_copied_a_halt_says_why_and_what_positions_tell(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,)) as here:
            here.bot.now = {**here.bot.now, **HALTED}
            await here.service.look()
            await here.until(lambda: in_text(here, "halted"))
            await here.until(lambda: here.service.notices.outcomes.fault(name))
            assert "keeps no session of BTCUSDT" in here.service.notices.outcomes.fault(name)
            asked = await here.answer(ANN, "/halt")
            return here.telegram.sent[0]["text"], asked["text"]

    told, asked = run(play())
    for words in (
        "1 positions worth 430.00 stay",
        "about 215.00 of 1",
        "430.00 are closed at the market, unrealised +2.00",
    ):
        assert words in told
    assert "Cancels every entry; 1 positions" in asked and "Computed" not in asked


@pytest.mark.parametrize("status", [429, 500, 502])
def test_what_telegram_does_not_take_comes_later_and_once(dsn, name, tmp_path, status):
    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,)) as here:
            wait = {"parameters": {"retry_after": 1}} if status == 429 else {}
            body = {"ok": False, "error_code": status, "description": "Too Many Requests: retry after 1", **wait}
            here.telegram.failures = [(status, body)]
            here.telegram.writes(ANN, "/version")
            await here.until(lambda: here.telegram.sent)
            await asyncio.sleep(0.3)
            return here.telegram.sent

    sent = run(play())
    assert len(sent) == 1 and "traderagent" in sent[0]["text"]


def test_while_telegram_is_away_alarms_wait_and_news_are_gathered(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,)) as here:
            await here.until(lambda: name in here.service.places)
            await here.telegram.leave()
            for number in range(900):
                here.bus.publish(filled(number))
            for one in range(5):
                here.bus.publish(alarm(f"trouble{one}"))
            await here.until(lambda: len(here.service.notices.box(ANN).alarms()) == 5, 20)
            await here.telegram.come_back()
            await here.until(lambda: sum("🚨" in one["text"] for one in here.telegram.sent) == 5, 60)
            await here.until(lambda: sum(one["text"].count("bought") for one in here.telegram.sent) >= 500, 30)
            await asyncio.sleep(0.5)
            return here.telegram.sent

    sent = run(play())
    alarms = [one["text"] for one in sent if "🚨" in one["text"]]
    assert len(alarms) == len(set(alarms)) == 5 or len(alarms) == 5
    lines = [line for one in sent for line in one["text"].splitlines() if "bought" in line]
    left_out = sum(
        int(line[2:].replace(",", "")) for one in sent for line in one["text"].splitlines() if line[:2] == "+ "
    )
    assert len(lines) + left_out == 900 and len(sent) <= 5 + 20, "all are told or counted"


def test_an_hour_without_telegram_loses_nothing_that_matters_and_says_nothing_twice(dsn, name, tmp_path):
    later, noon = [0.0], clock_from(12)

    async def play():
        limits = MailLimits(gather_seconds=0.1, repeat_seconds=300.0)
        async with house(tmp_path, dsn, [name], users=(ANN,), clock=lambda: noon() + later[0], limits=limits) as here:
            await here.until(lambda: name in here.service.places)
            await here.telegram.leave()
            here.bus.publish(alarm("exits"))
            box = here.service.notices.box(ANN)
            await here.until(box.alarms)
            for minute in range(60):
                here.bus.publish(filled(minute))
                here.bus.publish(alarm("exits"))  # the same one, said again
                later[0] += 60.0
                here.service.link.wake()
                await asyncio.sleep(0.02)
            here.bus.publish(alarm("position"))
            here.bus.publish(alarm("exits", over=True))
            await here.until(lambda: box.alarms() == [f"{name}/BTCUSDT/position"])
            await here.telegram.come_back()
            later[0] += 60.0
            here.service.link.wake()
            await here.until(lambda: any("✅" in one["text"] for one in here.telegram.sent))
            await here.until(lambda: sum("🚨" in one["text"] for one in here.telegram.sent) == 1)
            await here.until(lambda: sum(one["text"].count("bought") for one in here.telegram.sent) == 60)
            later[0] += 100.0
            here.service.link.wake()
            await asyncio.sleep(0.3)
            return [one["text"] for one in here.telegram.sent]

    sent = run(play())
    assert sum(one.count("bought") for one in sent) == 60
    assert sum("🚨" in one for one in sent) == 1, "what was over before anybody could hear it is told as over"
    assert sum("✅" in one for one in sent) == 1
    assert len(sent) <= 20


def test_an_answer_that_was_lost_has_alarms_said_again_and_days_and_fills_once(dsn, name, tmp_path):
    later, noon = [0.0], clock_from(12)

    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,), clock=lambda: noon() + later[0]) as here:
            await here.until(lambda: name in here.service.places)

            async def lost(words, event):
                """Say something whose first message is taken while its answer is lost; every message that has it."""
                here.telegram.swallowed = 1
                event()
                await here.until(lambda: in_text(here, words))
                await here.until(lambda: here.service.notices.box(ANN)._blocked > here.service.notices.clock())
                later[0] += 5.0
                here.service.link.wake()
                here.telegram.writes(ANN, "/version")  # an answer goes first, so what is due comes with the next
                here.telegram.writes(ANN, "/version")
                versions = len(in_text(here, "traderagent")) + 2
                await here.until(lambda: len(in_text(here, "traderagent")) >= versions)
                later[0] += 2.0
                here.service.link.wake()
                here.bus.publish(filled(len(here.telegram.sent), pair="ETHUSDT"))
                fills = len(in_text(here, "ETHUSDT")) + 1
                await here.until(lambda: len(in_text(here, "ETHUSDT")) >= fills)
                return [one["text"] for one in in_text(here, words)]

            critical = await lost("is not the bot's", lambda: here.bus.publish(alarm()))
            here.telegram.presses(ANN, f"seen:{name}/BTCUSDT/position")
            warning = await lost("it costs", lambda: here.bus.publish(WARNING))
            fill = await lost("BTCUSDT: bought", lambda: here.bus.publish(filled()))
            counted = in_text(here, "+ 1 ?")
            later[0] += 19 * 3600.0
            day = await lost("the last day", lambda: None)
            return critical, warning, fill, counted, day

    critical, warning, fill, counted, day = run(play())
    assert [one[0] for one in critical] == ["🚨", "🔁"] and len(warning) == 2 and warning[1].startswith("🔁 ⚠️")
    assert len(fill) == 1 and len(counted) == 1, "a fill is not told twice, and that it may be missing is counted"
    assert len(day) == 1


def test_an_alarm_that_nobody_has_seen_is_said_again_after_a_restart_and_one_that_was_seen_is_not(dsn, name, tmp_path):
    async def play(during):
        async with house(tmp_path, dsn, [name], users=(ANN,)) as here:
            await here.until(lambda: name in here.service.places)
            await during(here)
            await here.service.look()
            return [one["text"] for one in here.telegram.sent]

    async def raised(here):
        here.bus.publish(alarm())
        await here.until(lambda: in_text(here, "is not the bot's"))

    async def acknowledged(here):
        said = await here.until(lambda: in_text(here, "is not the bot's"))
        here.telegram.presses(ANN, said[0]["buttons"]["Seen"], said[0]["number"])
        await here.until(lambda: not here.service.notices.box(ANN).alarms())

    async def quiet(here):
        here.telegram.writes(ANN, "/version")
        await here.until(lambda: in_text(here, "traderagent"))

    first, again, silent = run(play(raised)), run(play(acknowledged)), run(play(quiet))
    assert [one[0] for one in first] == ["🚨"]
    assert [one[0] for one in again] == ["🔁"] and "is not the bot's" in again[0]
    assert not [one for one in silent if "is not the bot's" in one]


def test_days_that_could_not_be_told_become_one_message_and_none_is_told_twice(dsn, name, tmp_path):
    later, dawn = [0.0], clock_from(6)
    names = [name, f"{name}b"]

    async def play(days, *, away):
        async with house(tmp_path, dsn, names, users=(ANN,), clock=lambda: dawn() + later[0]) as here:
            if away:
                await here.telegram.leave()
            for day in days:
                later[0] = 3600.0 + day * 86_400.0
                await here.service.look()
            if away:
                await here.telegram.come_back()
                later[0] += 60.0
                here.service.link.wake()
                await here.until(lambda: len(in_text(here, "the last day")) == 2)
                await here.service.look()
            else:
                await here.answer(ANN, "/version")
            await here.until(lambda: not here.service.notices.box(ANN)._digests)
            return [one["text"] for one in in_text(here, "the last day")]

    first, second = run(play(range(3), away=True)), run(play([2], away=False))  # the second time as started anew
    assert len(first) == 2 and second == [], "one for each bot"
    for bot, text in zip(names, first, strict=True):
        assert text.count("the last day") == 1 and f"<b>{bot}, the last day</b>" in text
        assert text.count(": last day: ") == 2, "those before it are a line each"


def test_a_long_answer_is_cut_between_lines_and_a_fault_of_html_goes_as_plain_text(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,)) as here:
            here.bot.now = live_status(name, pairs=[f"COIN{number}USDT" for number in range(130)])
            here.telegram.writes(ANN, "/pairs")
            await here.until(lambda: len(here.telegram.sent) > 1)
            await asyncio.sleep(0.2)
            parts = list(here.telegram.sent)
            refusal = {"ok": False, "error_code": 400, "description": "Bad Request: can't parse entities: odd"}
            here.telegram.failures = [(400, refusal)]
            plain = await here.answer(ANN, "/status")
            return parts, plain

    parts, plain = run(play())
    assert all(len(one["text"]) <= 4096 and not one["plain"] for one in parts) and len(parts) >= 2
    assert sum(one["text"].count("USDT") for one in parts) == 130
    assert plain["plain"] and "<b>" not in plain["text"] and "equity" in plain["text"]


def test_rules_turn_kinds_off_and_quiet_hours_have_no_sound(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,)) as here:
            await here.until(lambda: name in here.service.places)
            rules = await here.answer(ANN, "/rules")
            quiet = await here.pressed(ANN, "rule:fills", rules["number"])
            here.bus.publish(filled(1))
            (told,) = await here.until(lambda: [one for one in here.telegram.sent if "bought" in one["text"]])
            off = await here.pressed(ANN, "rule:fills", rules["number"])
            here.bus.publish(filled(2))
            here.bus.publish(Decision("", NOW, "resume", {"equity": 1.0}))
            await here.until(lambda: any("trades again" in one["text"] for one in here.telegram.sent))
            return quiet, off, told, here.telegram.sent

    quiet, off, told, sent = run(play())
    assert "fills: without sound" in quiet["buttons"] and "fills: off" in off["buttons"]
    assert told["silent"] and sum("bought" in one["text"] for one in sent) == 1


def test_the_last_day_is_told_once_at_the_hour_of_ones_choice(dsn, name, tmp_path):
    async def play(hour):
        async with house(tmp_path / str(hour), dsn, [name], users=(ANN,), clock=clock_from(hour)) as here:
            if hour == 7:  # as a user has it unless they say otherwise
                await here.until(lambda: here.telegram.sent)
            for _ in range(3):
                await here.service.look()
            here.telegram.writes(ANN, "/version")
            await here.until(lambda: any(one["text"].startswith("traderagent") for one in here.telegram.sent))
            return [one["text"] for one in here.telegram.sent if "the last day" in one["text"]]

    assert run(play(6)) == []
    (told,) = run(play(7))
    assert "equity 10,012.50" in told and "after 0.00 fees" in told


def test_a_bot_that_does_not_answer_is_an_alarm_until_it_does(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,)) as here:
            await here.until(lambda: name in here.service.places)
            await here.bot.server.stop()
            for _ in range(3):
                await here.service.look()
            (told,) = await here.until(lambda: [one for one in here.telegram.sent if "does not answer" in one["text"]])
            await here.bot.server.start()
            await here.service.look()
            await here.until(lambda: any("answers again" in one["text"] for one in here.telegram.sent))
            return told

    assert name in run(play())["text"]


def test_the_file_is_the_owners_and_no_secret_is_shown(dsn, name, tmp_path):
    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,)) as here:
            await here.answer(ANN, "/status")
            return here.telegram.sent

    sent = run(play())
    assert settings_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert TOKEN not in json.dumps(sent) and json.loads(settings_file(tmp_path).read_text())["token"] == TOKEN


def test_no_secret_is_in_what_is_sent_kept_or_logged(dsn, name, tmp_path, capfd):
    later, noon = [0.0], clock_from(12)

    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,), clock=lambda: noon() + later[0]) as here:

            def after_a_while(words):
                later[0] += 5.0
                here.service.link.wake()
                return in_text(here, words)

            for text in ("/status", "/closeall", f"/config {TOKEN} 1", "/chart BTCUSDT", "/nothing", TOKEN):
                await here.answer(ANN, text)
            here.telegram.writes(STRANGER, TOKEN)
            refusal = {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
            here.telegram.failures, here.telegram.swallowed = [(400, refusal), (502, refusal)], 1
            for _ in range(3):
                here.telegram.writes(ANN, "/version")
            here.bus.publish(alarm())
            await here.until(lambda: after_a_while("🚨"))
            await here.telegram.leave()
            await here.until(lambda: "telegram_not_heard" in str(logs))
            pool = ReadPool(dsn)
            rows = await AccessRows(pool).audit("", 0, 1000)
            await pool.close()
            return here.telegram.sent, rows

    with structlog.testing.capture_logs() as logs:
        sent, rows = run(play())
    echoed = [one for one in sent if TOKEN in one["text"]]
    assert len(echoed) <= 1, "what a user has written themselves"
    files = [one for one in tmp_path.rglob("*") if one.is_file() and one != settings_file(tmp_path)]
    kept = [one.read_bytes() for one in files]
    secret = TOKEN.partition(":")[2]
    written = [str(logs), *capfd.readouterr(), str(rows), *(one["text"] for one in sent if one not in echoed)]
    assert len(logs) > 2 and files and rows
    assert not [one for one in written if secret in one] and not any(secret.encode() in one for one in kept)


PARTS = (
    "BTCUSDT",
    "<b>",
    "</pre>",
    "\ud7ff\U0001f680",
    "1e400",
    "-1",
    "nan",
    "a" * 300,
    "_*[]()",
    "\x00",
    "%s",
    "@x",
    "",
)
PRESSES = ("yes:", "no:", "halt:", "rule:", "again:/", "use:", "seen:", "", ":", "again:/closeall")


@pytest.mark.slow  # 20,000 updates
def test_no_odd_update_of_20000_is_a_fault_and_no_stranger_hears_anything(dsn, name, tmp_path):
    chance, faults, commands = random.Random(7), [], ["x"]

    def odd(number):
        who = chance.choice((ANN, ANN, STRANGER))
        sender = {"id": who, "is_bot": False, "first_name": chance.choice(PARTS) or "x"}
        chat = {"id": chance.choice((who, who, -5)), "type": "private", "first_name": "x"}
        text = " ".join(
            [
                chance.choice((f"/{chance.choice(commands)}", chance.choice(PARTS))),
                *chance.choices(PARTS, k=chance.randrange(3)),
            ]
        )
        message = {"message_id": number, "date": 1, "chat": chat, "from": sender, "text": text or "x"}
        if chance.random() < 0.1:
            message.pop("text")
        if chance.random() < 0.1:
            message.pop("from")
        if chance.random() < 0.5:
            return {"update_id": number, "message": message}
        data = chance.choice(PRESSES) + chance.choice((*PARTS, name, f"{name}:hold", f"{name}:close-all", "fills"))
        query = {"id": str(number), "from": sender, "chat_instance": "1", "data": data[:64], "message": message}
        return {"update_id": number, "callback_query": query}

    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,), limits=MailLimits(per_minute=1)) as here:
            link, dispatcher = here.service.link, Dispatcher()
            dispatcher.message.register(link._heard)
            dispatcher.callback_query.register(link._pressed)
            link.bot.session = Silent()
            commands.extend(one for one in link.desk.commands() if one != "chart")  # which takes a picture each time
            for number in range(20_000):
                await link.hear(dispatcher, Update.model_validate(odd(number), context={"bot": link.bot}))
                here.service.notices.box(ANN)._answers.clear()
            return here.telegram.sent, here.service.notices.boxes

    with structlog.testing.capture_logs() as logs:
        sent, boxes = asyncio.run(asyncio.wait_for(play(), 500))
    faults = [one for one in logs if one["event"] == "telegram_update_failed"]
    assert faults == [] and set(boxes) == {ANN} and {one["chat"] for one in sent} <= {ANN}


class Silent(AiohttpSession):
    """Telegram takes everything, and nothing goes over the wire."""

    async def make_request(self, bot, method, timeout=None):  # noqa: ASYNC109, aiogram gives it
        del bot, timeout
        if method.__api_method__ == "getUpdates":
            await asyncio.sleep(3600)
        return True
