"""What waits for a user and what a code is worth, without Telegram: limits, alarms that stay, whole catalogues."""

from __future__ import annotations

import time
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from fluent.syntax import FluentParser, ast
from hypothesis import given
from hypothesis import strategies as st

from bot.rollup import BAR
from coordinator.portfolio_core import REMEDIES
from coordinator.vocabulary import HeldOff
from services.alert_conditions import BY_ID, CONDITIONS
from services.alert_words import alert_remedy, alert_sentence
from services.storage.closed_trades import ClosedTrade
from services.telegram import texts
from services.telegram.codes import CodeOutcome, Codes
from services.telegram.desk import ChatWords
from services.telegram.mailbox import LONGEST, Button, Digest, Mailbox, MailLimits, Message
from services.telegram.pictures import Draw
from services.telegram.users import Loudness, TelegramUser
from services.watchdog.notices import Notice
from services.words import LANGUAGES


def catalogue(language):
    text = files("services").joinpath("locales", language, "telegram.ftl").read_text(encoding="utf-8")
    return {one.id.name: one for one in FluentParser().parse(text).body if isinstance(one, ast.Message)}


def names_in(node):
    """Variables that a message needs."""
    found = set()

    def walk(one):
        if isinstance(one, ast.VariableReference):
            found.add(one.id.name)
        for value in vars(one).values() if isinstance(one, ast.BaseNode) else ():
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, ast.BaseNode):
                    walk(inner)

    walk(node)
    return found


def test_every_language_says_the_same_messages_with_the_same_values():
    english = catalogue("en")
    for language in LANGUAGES:
        other = catalogue(language)
        assert set(other) == set(english)
        for name, message in other.items():
            assert names_in(message) == names_in(english[name]), name
            values = dict.fromkeys(names_in(message), 3)
            assert ChatWords(language)(name, **values).strip()


def alerts_in(language):
    text = files("services").joinpath("locales", language, "alerts.ftl").read_text(encoding="utf-8")
    return {one.id.name for one in FluentParser().parse(text).body if isinstance(one, ast.Message)}


def test_each_alert_and_each_reason_to_open_nothing_has_its_sentence_and_remedy_in_every_language():
    """English ones are the table's and the coordinator's; each other language has a catalogue of exactly the same."""
    reasons = {str(one.name).lower() for one in HeldOff}
    named = {f"alert-{one.id}" for one in CONDITIONS} | {f"remedy-{one}" for one in {*BY_ID, *reasons}}
    wanted = {one.replace("_", "-") for one in named} | {"alert-over", "alert-do"}
    assert all(one.meaning and one.remedy for one in CONDITIONS) and set(REMEDIES) == set(HeldOff)
    for language in set(LANGUAGES) - {"en"}:
        assert alerts_in(language) == wanted
        words, english = ChatWords(language), ChatWords("en")
        for name in {*BY_ID, *reasons}:
            said, remedy = alert_sentence(words, name, "told"), alert_remedy(words, name, "do")
            assert said.endswith(" (told)") and remedy != "do" and alert_remedy(english, name, "do") == "do"
            assert alert_sentence(english, name, "told") == "told"
    assert alert_sentence(ChatWords("ru"), "of_another_version", "told") == "told"


def test_what_the_watchdog_says_is_in_the_language_of_its_user():
    notice = Notice("main", "silent", "no answer for 31 s")
    assert notice.text_in("en") == notice.text_in("xx") == notice.text
    assert notice.text_in("ru").startswith("🚨 main: бот не отвечает (no answer for 31 s). Что делать: посмотрите")
    assert replace(notice, over=True).text_in("ru") == "✅ main: прошло: бот не отвечает (no answer for 31 s)"


def test_decisions_of_the_account_are_told_in_the_language_of_the_user():
    row = {"pair": "", "at": 1_704_100_000_000, "kind": "halt"}
    row |= {"fields": {"day_loss": 0.104, "drawdown": 0.11, "equity": 9000.0}}
    english, russian = (texts.decided(row, ChatWords(one)) for one in ("en", "ru"))
    assert "everything is halted: day's loss 10.4 %, drawdown 11.0 %" in english
    assert "10.40 %" in russian and "11.00 %" in russian and "halted" not in russian


def test_a_message_that_is_not_there_or_lacks_a_value_is_a_fault():
    words = ChatWords("xx")
    assert words.language == "en"
    for call in (lambda: words("nothing-such"), lambda: words("equity-line", equity="1")):
        with pytest.raises(KeyError):
            call()
    assert words.word("tight_range") == "tight range" and words.word("no_such") == "no such"


@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(0, 3)), max_size=120),
    st.integers(1, 10),
)
def test_news_never_come_more_often_than_the_limit_and_no_alarm_is_lost(events, most):
    box, now, sent, alarms = Mailbox(MailLimits(per_minute=most, gather_seconds=0.5)), 0.0, [], set()
    for number, (pause, kind) in enumerate(events):
        now += pause
        if kind == 0:
            box.alarm(f"alarm {number}", Message(f"alarm {number}"), now)
            alarms.add(f"alarm {number}")
        else:
            box.tell(f"line {number}", now)
        while (message := box.take(now)) is not None:
            sent.append((now, message))
    for _ in range(len(events) + 200):
        now = max(now, box.next_at(now) or now)
        message = box.take(now)
        if message is None:
            break
        sent.append((now, message))
    news = [at for at, one in sent if not one.alarm]
    for at in news:
        assert sum(1 for other in news if at <= other < at + 60.0) <= most
    assert {one.alarm for _, one in sent if one.alarm} >= alarms
    lines = [line for _, one in sent if not one.alarm for line in one.text.splitlines()]
    told = sum(1 for line in lines if line.startswith("line"))
    counted = sum(int(line[2:].replace(",", "")) for line in lines if line.startswith("+ "))
    if box.next_at(now) is None:
        assert told + counted == sum(1 for _, kind in events if kind != 0)
    assert all(len(one.text) <= LONGEST for _, one in sent)


def test_a_thousand_events_in_a_minute_are_few_messages_and_every_alarm():
    box, sent = Mailbox(MailLimits(per_minute=20)), []
    for number in range(1000):
        now = number * 0.06
        box.tell(f"fill {number}", now)
        if number % 100 == 0:
            box.alarm(f"alarm {number}", Message("!"), now)
        while (message := box.take(now)) is not None:
            sent.append(message)
    assert sum(1 for one in sent if not one.alarm) <= 20
    assert len({one.alarm for one in sent if one.alarm}) == 10


def test_an_alarm_is_said_until_it_is_seen():
    box = Mailbox(MailLimits(repeat_seconds=300))
    box.alarm("a", Message("!"), 0.0)
    box.alarm("a", Message("again"), 1.0)
    assert box.take(2.0).text == "!" and box.take(100.0) is None and box.next_at(100.0) == 302.0
    assert box.take(302.0).text == "🔁 !", "what is said again says so"
    assert box.acknowledge("a") and not box.acknowledge("a")
    assert box.take(10_000.0) is None and box.next_at(10_000.0) is None


def test_what_could_not_be_sent_comes_first_again_and_after_its_time():
    box = Mailbox()
    for one in ("first", "second"):
        box.answer(Message(one))
    box.alarm("a", Message("!"), 0.0)
    first = box.take(0.0)
    box.put_back(first, 5.0)
    assert box.take(4.9) is None and box.next_at(1.0) == 5.0
    assert [box.take(5.0).text for _ in range(3)] == ["first", "second", "!"]
    box.put_back(Message("!", alarm="a"), 9.0)
    assert box.take(8.0) is None and box.take(9.0).text == "!"


def test_of_what_may_have_arrived_only_what_matters_is_said_again_and_marked():
    box = Mailbox(MailLimits(gather_seconds=0.0))
    box.alarm("a", Message("!"), 0.0)
    box.put_back(box.take(0.0), 1.0, uncertain=True)
    assert (again := box.take(1.0)).text == "🔁 !" and box.acknowledge("a")
    assert again.alarm == "a", "it is acknowledged under its name all the same"
    box.tell("fill", 1.0)
    box.tell("warning", 1.0, matters=True)
    box.put_back(box.take(1.0), 2.0, uncertain=True)
    assert box.owes and box.take(2.0).text == "🔁 warning\n+ 1 ?" and not box.owes
    box.digest(Digest("b", "day", "line"))
    box.put_back(box.take(2.0), 3.0, uncertain=True)
    assert box.take(3.0) is None and box.next_at(3.0) is None


def test_days_that_wait_are_one_message_for_each_bot_the_newest_whole():
    box = Mailbox()
    for number in range(40):
        for bot in "ab":
            box.digest(Digest(bot, f"{bot} {number} whole", f"{bot} {number}"))
            if not number:
                box.put_back(box.take(0.0), 0.0)
    first, second = box.take(0.0), box.take(0.0)
    assert box.take(0.0) is None
    lines = first.text.splitlines()
    assert lines[:2] == ["a 39 whole", "+ 9"] and lines[2:] == [f"a {number}" for number in range(9, 39)]
    assert second.text.startswith("b 39 whole")


def test_no_line_that_matters_is_left_out():
    box = Mailbox(MailLimits(per_minute=1, gather_seconds=0.0))
    box.tell("warning 0", 0.0, matters=True)
    for number in range(700):
        box.tell(f"fill {number}", 0.0)
    box.tell("warning 1", 0.0, matters=True)
    texts_ = [box.take(60.0 * minute) for minute in range(3)]
    said = "\n".join(one.text for one in texts_ if one is not None)
    assert said.count("warning") == 2 and "+ " in said


def test_an_old_change_of_a_message_makes_way_for_the_newer():
    box = Mailbox()
    for text in ("first", "second"):
        box.answer(Message(text, sent_as=5))
    taken = box.take(0.0)
    box.answer(Message("third", sent_as=5))
    box.put_back(taken, 1.0)
    assert taken.text == "second" and box.take(1.0).text == "third" and box.take(1.0) is None


def test_a_code_is_worth_something_once_for_whom_it_was_given_in_the_state_it_was_given():
    codes = Codes()
    code = codes.give(7, "main", "close-all", "", "flat", 0.0)
    assert codes.use(code, 8, "flat", 1.0) is CodeOutcome.UNKNOWN, "somebody else's press costs nothing"
    assert codes.asked(code, 7).command == "close-all"
    assert codes.use(code, 7, "flat", 60.0) is CodeOutcome.GOOD
    assert codes.use(code, 7, "flat", 60.0) is CodeOutcome.UNKNOWN
    late, changed = (codes.give(7, "main", "close-all", "", "flat", 0.0) for _ in range(2))
    assert codes.use(late, 7, "flat", 60.1) is CodeOutcome.LATE
    assert codes.use(changed, 7, "long", 1.0) is CodeOutcome.CHANGED
    assert len({codes.give(7, "m", "c", "", "s", 0.0) for _ in range(500)}) == 500 and len(codes._asked) <= 200


def test_quiet_hours_may_pass_midnight():
    user = TelegramUser(7, quiet_from=22, quiet_until=6)
    quiet = {hour for hour in range(24) if user.loudness("fills", hour) is Loudness.QUIET}
    assert quiet == {22, 23, 0, 1, 2, 3, 4, 5}
    assert not any(TelegramUser(7).loudness("fills", hour) is Loudness.QUIET for hour in range(24))


@given(st.text(max_size=300), st.integers(1, 400))
def test_long_texts_are_cut_between_lines_and_tables_are_closed(word, count):
    text = "head\n" + texts.table([(word.replace("\n", " "), number) for number in range(count)])
    parts = texts.pieces(text)
    assert all(one.count("<pre>") == one.count("</pre>") for one in parts)
    assert all(len(one) <= LONGEST for one in parts)
    assert Button("a", "b").data == "b"


def test_a_line_that_no_message_can_hold_is_cut():
    parts = texts.pieces("head\n" + "x" * 5000)
    assert all(len(one) <= LONGEST for one in parts) and sum(one.count("x") for one in parts) == 5000


def bars(count):
    made = np.zeros(count, BAR)
    made["ts"] = 1_704_067_200_000 + 60_000 * np.arange(count)
    made["open"] = 42_000 + 100 * np.sin(np.arange(count) / 40)
    made["close"], made["high"], made["low"] = made["open"] + 5, made["open"] + 20, made["open"] - 20
    return made


@pytest.mark.parametrize("count", [0, 1, 143, 1440])
def test_pictures_are_drawn_from_any_number_of_bars(count):
    order = {"price": 41_980.0, "side": "buy"}
    fill = {"side": "buy", "price": 42_000.0, "at": 1_704_067_200_000}
    picture = Draw().chart("BTCUSDT", bars(count), {"open": [order], "stop": 41_900.0}, [fill])
    assert picture[:4] == b"\x89PNG"


def test_a_picture_takes_a_fifth_of_a_second():
    draw, marks = Draw(), [{"at": 1_704_067_200_000 + 60_000 * one, "equity": 10_000.0 + one} for one in range(2000)]
    draw.equity(marks)  # fonts are found once
    times = []
    for _ in range(5):
        began = time.process_time()
        draw.equity(marks)
        draw.chart("BTCUSDT", bars(1440), {"open": [], "stop": 0.0}, [])
        times.append((time.process_time() - began) / 2)
    assert min(times) < 0.2


def test_performance_tells_pairs_strategies_regimes_and_reasons_to_leave():
    closed = [ClosedTrade("BTCUSDT", "long", 0, 1, profit, 0.1, 2) for profit in (5.0, -2.0)]
    rows = [
        {"strategy": "grid", "regime": "tight_range", "profit": 4.0, "fills": 3},
        {"strategy": "dca", "regime": "tight_range", "profit": -1.0, "fills": 1},
    ]
    exits = [{"reason": "grid_counter", "profit": 5.1, "fills": 2}]
    told = texts.performance(closed, rows, exits, ChatWords("en"))
    tables = [[" ".join(line.split()) for line in part.splitlines()] for part in told.split("<pre>")[1:]]
    assert tables[0][1] == "BTCUSDT 2 50 % +3.00</pre>"
    assert tables[1][1:] == ["grid +4.00 3", "DCA -1.00 1</pre>"]
    assert tables[2][1:] == ["tight range +3.00 4</pre>"]
    assert tables[3] == ["left by profit fills", "grid counter +5.10 2</pre>"]
    assert texts.performance([], [], [], ChatWords("en")) == "Nothing yet."
