"""Everything that Telegram tells and understands, one after the other, over HTTP through the real aiogram.

The lists are the product's own: a command or a kind of notification that is new and stands in no table here fails, by
its name.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bot.events import Alarm, Decision, EquityMarked, Filled
from coordinator.vocabulary import HeldOff
from services.alert_conditions import CONDITIONS, Observer, Severity
from services.alert_words import alert_remedy, alert_sentence
from services.telegram import texts
from services.telegram.desk import SAID, ChatWords
from services.telegram.notices import TOLD
from services.telegram.users import KINDS
from services.words import LANGUAGES
from tests.services.console_house import MadeCandles, write_history
from tests.services.telegram_house import ANN, HALTED, clock_from, house, live_status
from tests.services.test_telegram import Answering, Reckoning, in_text, run
from tests.services.test_telegram_core import catalogue

NOW = 1_704_100_000_000

# What is written for each command, and what its answer has in English and in Russian.
COMMANDS = {
    "start": ("", "/help lists what you can ask", "/help покажет"),
    "help": ("", "Watch: /status", "Смотреть: /status"),
    "version": ("", "traderagent ", "traderagent "),
    "use": (" {bot}", "From now on: {bot}", "Теперь: {bot}"),
    "rules": ("", "Alarms stay on", "Тревоги всегда включены"),
    "language": (" {language}", "English it is", "Теперь по-русски"),
    "status": ("", "equity 10,012.50, wallet 10,000.00", "капитал 10,012.50"),
    "pairs": ("", "running", "прибыль"),
    "positions": ("", "42,800", "вход"),
    "balance": ("", "unrealised +12.50", "нереализовано +12.50"),
    "risk": ("", "30.00 %", "просадка"),
    "allocation": ("", "900.00", "цель"),
    "regimes": ("", "tight range", "BTCUSDT"),
    "health": ("", "1 of 1 pairs have caught up", "биржей пары: 1 из 1"),
    "pair": (" BTCUSDT", "long 0.01 from 42,800", "лонг 0.01 от 42,800"),
    "orders": ("", "buy  42,500", "покупка  42,500"),
    "whatif": (" BTCUSDT 42000", "1 fills on the way, 0.02 is held then", "сделок по пути 1"),
    "drift": ("", "Drift on 2024-01-01: +3.49 bps", "Отклонение за 2024-01-01"),
    "config": ("", "✎ may change while it runs", "✎ можно менять на ходу"),
    "why": (" BTCUSDT", "its capital target is 904.00", "целевой капитал 904.00"),
    "decisions": ("", "its capital target is 904.00", "целевой капитал 904.00"),
    "trades": ("", "BTCUSDT long +", "BTCUSDT лонг +"),
    "performance": ("", "left by", "выход"),
    "profit": ("", "in all: +4.17 after 0.03 fees", "всего: +4.17"),
    "day": ("", "last day: ", "за 1 день: "),
    "week": ("", "last 7 days: ", "за 7 "),
    "month": ("", "last 30 days: ", "за 30 "),
    "fees": ("", "fees ", "комиссии "),
    "equity": ("", "equity 10,012.50", "капитал 10,012.50"),
    "chart": (" BTCUSDT", "stop 41,000", "стоп 41,000"),
} | dict.fromkeys(SAID, ("", "", ""))  # what they say to the bot, and what a confirmation says, is in test_telegram

FILL = {"side": "buy", "price": "43000.5", "quantity": "0.01", "fee": 0.01, "maker": True, "cause": "order"}
# An event of each decision that is told, and what is said of it.
DECISIONS = {
    "halt": ({"day_loss": 0.104, "drawdown": 0.11, "equity": 9000.0}, "everything is halted", "всё остановлено"),
    "answer": ({"answer": "hold"}, "the halted positions: hold", "ответ на остановку: держать"),
    "resume": ({"equity": 9000.0}, "trades again", "торговля продолжается"),
    "mode": (
        {"before": [], "modes": ["stress"], "day_loss": 0.01, "drawdown": 0.02, "stress_share": 0.5, "multiplier": 0.5},
        "STRESS",
        "размер",
    ),
    "investment": ({"amount": 100.0, "capital": 1100.0, "equity": 1200.0}, "added to the capital", "вложение изменено"),
    "overcommitted": ({"begins": True, "reserved": 900.0, "limit": 800.0}, "no new entries", "резерв"),
}
# Alarms that reach Telegram over the bus: those of the table that a bot sees itself, and why a pair opens nothing.
ALARMS = {one.id: one.severity for one in CONDITIONS if Observer.BOT in one.seen_by and one.id != "held_off"}
ALARMS |= {str(one.name).lower(): Severity.CRITICAL for one in HeldOff}
# What Telegram's service sees by itself: told by the tests of these names, further below and in test_telegram.
SEEN = {"silent", "halted", "unprotected"}


def test_every_command_and_kind_of_notification_stands_in_a_table_here(dsn, name, tmp_path):
    async def commands():
        async with house(tmp_path, dsn, [name]) as here:
            return here.service.link.desk.commands()

    assert set(run(commands())) == set(COMMANDS)
    assert set(TOLD) == set(DECISIONS)
    assert {one.id for one in CONDITIONS if Observer.TELEGRAM in one.seen_by} == SEEN
    assert set(KINDS) == {"fills", "trades", "decisions", "digest"}
    told = {one for one in catalogue("en") if one.endswith("-told") or one in ("alarm-over", "answers-again")}
    assert told == {"funding-told", "trade-told", "silent-told", "restart-told", "alarm-over", "answers-again"}


async def until_marked(told, bot):
    """Wait until the bus has what the account was worth."""
    for _ in range(500):
        if len(await told.equity(bot, 3)) == 3:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("no marks came")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_command_is_answered_with_what_it_is_for(dsn, name, tmp_path, language):
    at = list(LANGUAGES).index(language) + 1

    async def play():
        await write_history(dsn, name)
        async with house(tmp_path, dsn, [name], language=language) as here:
            desk = here.service.link.desk
            desk.world = replace(desk.world, twins=Answering(name), candles=MadeCandles())
            for k in range(3):
                here.bus.publish(EquityMarked("", NOW + k * 60_000, 10_000.0 + k, 10_000.0, 0.0, 0.0, 0.0, []))
            await until_marked(desk.world.told, name)
            found = {}
            for command, (rest, *_) in COMMANDS.items():
                if command not in SAID:
                    found[command] = await here.answer(ANN, f"/{command}{rest.format(bot=name, language=language)}")
            return found, len(here.telegram.photos)

    found, photos = run(play())
    missing = {
        command: one["text"] for command, one in found.items()
        if COMMANDS[command][at].format(bot=name) not in one["text"]
    }  # fmt: skip
    assert missing == {}
    assert photos == 2 and not any(one["plain"] for one in found.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_alarm_is_told_with_its_remedy(dsn, name, tmp_path, language):
    words = ChatWords(language)

    async def play():
        async with house(tmp_path, dsn, [name], users=(ANN,), language=language) as here:
            await here.until(lambda: name in here.service.places)
            for one, severity in ALARMS.items():
                here.bus.publish(Alarm("BTCUSDT", NOW, one, severity, f"{one} as noticed", f"remedy of {one}"))
            await here.until(lambda: all(in_text(here, f"{one} as noticed") for one in ALARMS))
            told = {one: in_text(here, f"{one} as noticed")[0] for one in ALARMS}
            for one in ALARMS:
                here.bus.publish(Alarm("BTCUSDT", NOW, one, "critical", f"{one} has passed", "", over=True))
            graves = [one for one, severity in ALARMS.items() if severity == "critical"]
            await here.until(lambda: all(in_text(here, f"{one} has passed") for one in graves))
            return told, here.service.notices.box(ANN).alarms()

    told, left = run(play())
    assert left == []
    for one, severity in ALARMS.items():
        message = told[one]["text"]
        assert (f"🚨 <b>{name} BTCUSDT</b>: " if severity == "critical" else "⚠️") in message, one
        assert (words("acknowledge") in told[one]["buttons"]) == (severity == "critical"), one
        assert texts.safe_lines(alert_sentence(words, one, f"{one} as noticed")) in message, one
        assert texts.safe(alert_remedy(words, one, f"remedy of {one}")) in message, one


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_of_news_is_told(dsn, name, tmp_path, language):
    at = list(LANGUAGES).index(language)

    async def play():
        seven = clock_from(7)  # the hour of the digest
        async with house(tmp_path, dsn, [name], users=(ANN,), language=language, clock=seven) as here:
            await here.until(lambda: name in here.service.places)
            await here.service.look()
            expected = [("the last day", "последние сутки")[at]]
            for kind, (fields, *said) in DECISIONS.items():
                here.bus.publish(Decision("", NOW, kind, fields))
                expected.append(said[at])
            here.bus.publish(Filled("BTCUSDT", NOW, "x1", "o1", **FILL))
            here.bus.publish(Filled("BTCUSDT", NOW, "x2", "", **FILL | {"cause": "forced", "side": "sell"}))
            here.bus.publish(Filled("BTCUSDT", NOW, "x3", "", **FILL | {"cause": "funding", "side": "", "fee": -0.2}))
            await write_history(dsn, name)
            here.bus.publish(Filled("BTCUSDT", NOW, "x4", "o4", **FILL))
            expected += [("BTCUSDT: bought 0.01 @ 43,000.5", "BTCUSDT: куплено 0.01 @ 43,000.5")[at]]
            expected += [("sold 0.01", "продано 0.01")[at], ("funding +0.20", "фандинг +0.20")[at]]
            expected += [("closed a trade: 🟢 BTCUSDT long", "закрыл сделку: 🟢 BTCUSDT лонг")[at]]
            for one in expected:
                await here.until(lambda one=one: in_text(here, one))
            return in_text(here, expected[0])

    assert len(run(play())) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_service_sees_of_a_bot_by_itself_is_told(dsn, name, tmp_path, language):
    at, later, noon = list(LANGUAGES).index(language), [0.0], clock_from(12)

    async def play():
        async with house(
            tmp_path, dsn, [name], users=(ANN,), language=language, clock=lambda: noon() + later[0]
        ) as here:
            here.service.notices.world = replace(here.service.notices.world, twins=Reckoning())

            look, here.service.look = here.service.look, asyncio.Event().wait  # at no other time than the test does

            async def told(*words):
                await look()
                return (await here.until(lambda: in_text(here, words[at])))[0]

            await look()
            await here.bot.server.stop()
            await look()
            here.bot.now = {**here.bot.now, "pairs": [{**one, "corrections": 2} for one in here.bot.now["pairs"]]}
            await here.bot.server.start()
            await told("differences put right 2", "исправлено расхождений 2")
            pairs = [{**one, "stop": 0.0} for one in here.bot.now["pairs"]]
            here.bot.now = {**here.bot.now, "pairs": pairs}
            await look()
            later[0] += 20.0
            await look()
            assert not in_text(here, "🚨"), "an order of the exchange protects it"
            here.bot.stop = 0.0
            await look()
            later[0] += 10.0
            await look()
            assert not in_text(here, "🚨"), "a stop is set within seconds"
            later[0] += 10.0
            await told("a position has no stop at the exchange", "позиции нет стопа на бирже")
            for one in in_text(here, "🚨"):  # who has seen it is not told again
                here.telegram.presses(ANN, next(iter(one["buttons"].values())), one["number"])
            await here.until(lambda: here.telegram.answered)
            for _ in range(3):
                await look()
            assert here.service.notices.box(ANN).alarms() == []
            here.bot.stop = 41_000.0
            await look()
            here.bot.stop = 0.0
            await look()
            later[0] += 20.0
            await look()
            await here.until(lambda: len(in_text(here, "🚨")) == 2)
            here.bot.stop = 41_000.0
            await told("Over: ", "Прошло: ")
            here.bot.now = live_status(name) | HALTED
            await told("Unless you decide", "Без вашего решения")
            here.bot.now = (
                live_status(name) | HALTED | {"answer": "hold", "decide_by": None, "at": "2024-01-01T09:31:00Z"}
            )
            await told("nobody has decided in time", "решения вовремя не было")
            await here.bot.server.stop()
            for _ in range(3):
                await look()
            await told("does not answer", "не отвечает")
            await here.bot.server.start()
            await told("answers again", "снова отвечает")

    run(play())
