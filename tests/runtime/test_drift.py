"""A bot on the simulated exchange has no drift, to the fill; a planted difference is of exactly its kind."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from prometheus_client import generate_latest
from typer.testing import CliRunner

from backtesting.drift import CostKind, RowKind
from bot.errors import Misconfigured
from bot.kernel import interpreted_first
from coordinator.config import load_portfolio
from services.app.bot import evidence_of
from services.app.drift import compare
from services.app.research_answers import answer
from services.app.whatif import outcomes, supposed
from services.command_line.main import app
from services.drift_days import day_of, days, keep_day, read_day, told
from services.runtime import sessions
from services.runtime.config import BotSettings
from services.runtime.live import LiveBot
from services.storage.live_fills import live_fills, memories_of, memory_of
from tests.runtime.house import Bot, config, exchange_for, venue
from tests.runtime.test_parity import ALONE

SYMBOL = "SOLUSDT"
TAKERS = {"strategy": "trend", **ALONE["trend by channel"][1]}


def sessions_in(data_dir, name):
    return data_dir / "bots" / name / "sessions"


def played(dsn, name, data_dir, minutes, plant=None, *, restart=False, **sections):
    """Play a bot, whose sessions are kept, for so many minutes; `plant(exchange, minute)` may change the exchange."""

    async def main():
        chosen = load_portfolio({"pairs": [SYMBOL], **sections}) if sections else config((SYMBOL,))
        exchange = exchange_for(chosen)
        async with venue(exchange) as house:
            for part in range(2 if restart else 1):
                bot = Bot(chosen, house.address, dsn, name, options={"sessions": sessions_in(data_dir, name)})
                await bot.start()
                for minute in range(minutes):
                    if plant is not None:
                        plant(exchange, minute)
                    await bot.steps.minute()
                await (bot.crash() if restart and not part else bot.stop())

    asyncio.run(main())


def drift_of(dsn, name, data_dir, since=None, until=None):
    return compare(data_dir, name, asyncio.run(live_fills(dsn, name, since, until)), since, until)


def kinds(found):
    return {one.kind: one.fills for one in found.sums if not one.pair and one.fills}


@pytest.fixture(scope="module")
def house(dsn, tmp_path_factory):
    """A bot that was killed and started again in the middle, as nobody has touched it."""
    data_dir = tmp_path_factory.mktemp("drift")
    played(dsn, "drift0", data_dir, 200, restart=True)
    return data_dir


def execute(dsn, *statement):
    import asyncpg

    async def main():
        connection = await asyncpg.connect(dsn)
        await connection.execute(*statement)
        await connection.close()

    asyncio.run(main())


def test_a_bot_on_the_simulated_exchange_has_no_drift(house, dsn):
    found = drift_of(dsn, "drift0", house)
    assert kinds(found) == {}
    assert found.cost == pytest.approx(0.0, abs=1e-9)
    assert len(found.rows) >= 4 and {row.kind for row in found.rows} == {RowKind.PAIRED}
    assert found.minutes == {SYMBOL: 400}
    assert found.uncompared == ()


def test_a_pair_whose_session_is_full_begins_another_and_nothing_else_changes(dsn, tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "LARGEST", 200_000)
    played(dsn, "drift9", tmp_path, 200)
    assert len(list(sessions_in(tmp_path, "drift9").glob("*.jsonl"))) >= 2
    found = drift_of(dsn, "drift9", tmp_path)
    assert (kinds(found), found.uncompared, found.minutes) == ({}, (), {SYMBOL: 200})
    assert len(found.rows) >= 2


def test_a_period_is_compared_alone(house, dsn):
    whole = drift_of(dsn, "drift0", house)
    cut = whole.rows[len(whole.rows) // 2].known.at
    parts = [drift_of(dsn, "drift0", house, None, cut), drift_of(dsn, "drift0", house, cut, None)]
    assert sum(len(one.rows) for one in parts) == len(whole.rows)
    assert [kinds(one) for one in parts] == [{}, {}]
    assert sum(one.minutes[SYMBOL] for one in parts) == pytest.approx(whole.minutes[SYMBOL], abs=1)


def test_what_cannot_be_compared_is_said_with_its_reason(house, dsn, tmp_path):
    """A session that is gone, one that is damaged, and one by which the program would decide otherwise."""
    folder = sessions_in(tmp_path, "drift0")
    folder.mkdir(parents=True)
    first, second = sorted(sessions_in(house, "drift0").glob("*.jsonl"))
    (folder / second.name).write_text(second.read_text())
    found = drift_of(dsn, "drift0", tmp_path, 0)
    assert [one.why for one in found.uncompared] == [pytest.approx(found.uncompared[0].why)]
    assert "no session of the pair covers it" in found.uncompared[0].why
    assert found.uncompared[0].fills > 0 and kinds(found) == {}
    (folder / first.name).write_text("no session\n" + first.read_text())
    assert "damaged in line 1" in drift_of(dsn, "drift0", tmp_path, 0).uncompared[0].why
    lines = [json.loads(line) for line in first.read_text().splitlines()]
    place = next(line for line in lines if line.get("out", {}).get("of") == "Place")
    place["out"]["fields"]["order"]["fields"]["price"] += 1
    (folder / first.name).write_text("\n".join(map(json.dumps, lines)))
    found = drift_of(dsn, "drift0", tmp_path, 0)
    assert "this program decides otherwise" in found.uncompared[-1].why
    assert kinds(found) == {}


def test_a_fill_that_did_not_come_and_one_by_hand_are_of_their_kinds(house, dsn):
    """The rows of a copy of the bot are changed, which is called otherwise."""
    one = drift_of(dsn, "drift0", house).rows[1].live
    execute(dsn, "UPDATE fills SET execution = 'gone', symbol = 'X' WHERE execution = $1", one.execution)
    try:
        found = drift_of(dsn, "drift0", house)
        missed = [row for row in found.rows if row.kind is RowKind.MISSED]
        assert [(row.simulated.order, row.simulated.lots) for row in missed] == [(one.order, one.lots)]
        assert "the order rested and the price went" in missed[0].why
        assert kinds(found) == {CostKind.MISSED: 1}
        execute(dsn, "UPDATE fills SET symbol = $1, client_order_id = 'by hand' WHERE execution = 'gone'", SYMBOL)
        found = drift_of(dsn, "drift0", house)
        assert kinds(found) == {CostKind.MISSED: 1, CostKind.UNEXPECTED: 1}
        assert "nobody here asked for it" in next(row for row in found.rows if row.kind is RowKind.UNEXPECTED).why
    finally:
        statement = "UPDATE fills SET execution = $1, symbol = $2, client_order_id = $3 WHERE execution = 'gone'"
        execute(dsn, statement, one.execution, SYMBOL, one.order)


@pytest.mark.slow
def test_another_fee_is_drift_of_fees_alone(dsn, name, tmp_path):
    def plant(exchange, minute):
        if minute == 5:
            exchange.books[SYMBOL].pair.instrument.maker_fee = 0.0007

    played(dsn, name, tmp_path, 300, plant)
    found = drift_of(dsn, name, tmp_path)
    assert kinds(found) == {CostKind.FEES: len(found.rows)} and found.rows
    assert found.bps == pytest.approx(5.0, abs=0.01)


@pytest.mark.slow
def test_a_strategy_of_market_orders_has_no_drift_and_slippage_is_of_its_kind(dsn, name, tmp_path):
    played(dsn, name, tmp_path / "a", 400, **TAKERS)
    found = drift_of(dsn, name, tmp_path / "a")
    assert kinds(found) == {} and len(found.rows) >= 4

    def plant(exchange, minute):
        if minute == 0:
            exchange.settings[0].slippage += 0.0005

    played(dsn, f"{name}s", tmp_path / "b", 400, plant, **TAKERS)
    found = drift_of(dsn, f"{name}s", tmp_path / "b")
    # The fee of a worse price is another one by a few millionths of what was traded.
    assert {one.kind for one in found.sums if abs(one.cost) > 1e-4 * found.volume / 1e4} >= {CostKind.SLIPPAGE}
    assert {row.kind for row in found.rows} == {RowKind.PAIRED}
    slipped = next(one for one in found.sums if one.kind is CostKind.SLIPPAGE)
    assert 4.0 < slipped.bps < 6.0


@pytest.mark.slow
def test_an_exchange_that_fills_later_makes_late_and_missed_fills(dsn, name, tmp_path):
    def plant(exchange, minute):
        if minute == 0:
            exchange.settings[0].through = 12.0

    played(dsn, name, tmp_path, 400, plant)
    found = drift_of(dsn, name, tmp_path)
    assert {row.kind for row in found.rows if row.kind is not RowKind.PAIRED} <= {RowKind.LATE, RowKind.MISSED}
    assert CostKind.LATE in kinds(found)
    late = [row for row in found.rows if row.kind is RowKind.LATE]
    assert all(row.seconds >= 60.0 for row in late)
    assert set(kinds(found)) <= {CostKind.LATE, CostKind.MISSED}


@pytest.mark.slow
def test_an_order_by_hand_is_unexpected_and_nothing_else_is(dsn, name, tmp_path):
    def plant(exchange, minute):
        if minute == 250:
            exchange.trade_by_hand(SYMBOL, 1, 7)

    played(dsn, name, tmp_path, 300, plant)
    found = drift_of(dsn, name, tmp_path)
    assert kinds(found) == {CostKind.UNEXPECTED: 1}
    assert [row.live.lots for row in found.rows if row.kind is RowKind.UNEXPECTED] == [7]


# As commands, by night, and in the bot itself


def command(*arguments):
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.fixture
def as_users_have_it(house, dsn, monkeypatch):
    """The bot's rows in the database that commands find, its sessions in their data directory."""
    monkeypatch.setenv("TRADERAGENT_DATA_DIR", str(house))
    monkeypatch.setattr("services.command_line.drift.kept_by", lambda *_: ("drift0", house, dsn))
    monkeypatch.setattr("services.command_line.whatif.kept_by", lambda *_: ("drift0", house, dsn))


def test_the_command_says_what_was_compared_and_ends_by_its_limit(as_users_have_it):
    done = command("drift", "--limit", "0.5")
    assert done.exit_code == 0 and "400 minutes of 1 pairs compared" in done.stdout
    said = json.loads(command("drift", "--json").stdout)
    assert said["bps"] == pytest.approx(0.0, abs=1e-9) and len(said["rows"]) >= 4
    assert {one["kind"] for one in said["sums"]} == {kind.value for kind in CostKind}
    assert command("drift", "--from", "2030-01-01", "--limit", "5").exit_code == 1, "nothing was compared"
    with pytest.raises(Misconfigured, match="not after --from"):
        command("drift", "--from", "2030-01-02", "--to", "2030-01-01")
    assert not interpreted_first.get(), "what the process makes later is compiled"


def test_a_worker_keeps_a_day_by_night_and_the_bot_raises_its_alarm(house, dsn, monkeypatch):
    """The very question that the worker's process answers; the document is what the bot reads."""
    whole = drift_of(dsn, "drift0", house)
    day = day_of(whole.rows[0].known.at)
    asked = {"question": "drift", "said": {"bot": "drift0", "database": dsn, "day": day}}
    said = answer(json.dumps(asked), house)["answer"]
    assert days(house, "drift0") == [day] and read_day(house, "drift0", day) == json.loads(json.dumps(said))
    assert told(said).startswith("drift0: +0.00 bps of ")
    assert answer(json.dumps(asked | {"said": asked["said"] | {"bot": "nobody"}}), house)["refused"]
    assert answer(json.dumps(asked | {"said": asked["said"] | {"day": "2024-13-01"}}), house)["refused"]


class Heard:
    """What a bot leans on, of which it needs the bus alone here."""

    def __init__(self):
        self.bus, self.told = self, []

    def publish(self, event):
        self.told.append(event)


def live_bot(data_dir, **settings):
    behind = Heard()
    control = lambda *_arguments, **_more: SimpleNamespace(last=lambda: None)  # noqa: E731
    named = BotSettings(name="main", data_dir=data_dir, **settings)
    return LiveBot(named, config((SYMBOL,)), SimpleNamespace(orders=None), control, behind), behind


def test_a_bot_says_that_a_day_was_above_its_limit_and_that_the_next_was_not(tmp_path):
    def day_with(ago, bps):
        day = str((datetime.now(UTC) - timedelta(days=ago)).date())
        keep_day(tmp_path, "main", day, {
            "version": 1, "bot": "main", "day": day, "bps": bps, "volume": 1e4, "minutes": {SYMBOL: 1440}, "rows": [],
            "uncompared": [],
        })  # fmt: skip

    bot, behind = live_bot(tmp_path)
    asyncio.run(bot.check_drift())
    assert behind.told == [] and b"drift" not in generate_latest(bot.registry)
    day_with(2, 12.5)
    for _ in range(2):
        asyncio.run(bot.check_drift())
    assert [(one.id, one.over) for one in behind.told] == [("drift", False)]
    assert "above 10 bps" in behind.told[0].sentence
    day_with(1, 3.0)
    asyncio.run(bot.check_drift())
    assert [(one.id, one.over) for one in behind.told] == [("drift", False), ("drift", True)]
    assert b"traderagent_drift_bps 3.0" in generate_latest(bot.registry)
    assert evidence_of(bot.settings, bot.config).drift_bps == 3.0, "a capital phase asks for it"
    quiet, heard = live_bot(tmp_path, drift_limit_bps=None)
    day_with(0, 900.0)
    asyncio.run(quiet.check_drift())
    assert heard.told == []


# What if


def test_what_if_fills_what_rests_on_the_way_and_says_what_would_then_be_wanted(house, dsn):
    saved = asyncio.run(memory_of(dsn, "drift0", SYMBOL))
    now = supposed(house, "drift0", SYMBOL, saved, 108.0)["price_now"]
    here = supposed(house, "drift0", SYMBOL, saved, now)
    assert here["fills"] == () and here["position"] == here["position_now"] and here["profit"] == 0.0
    rests = [one for one in here["desired"] if not one["new"]]
    buys = [one for one in rests if one["side"] == "buy" and one["kind"] == "limit" and one["price"] < now]
    down = supposed(house, "drift0", SYMBOL, saved, min(one["price"] for one in buys) * 0.9999)
    filled = [(one["price"], one["quantity"]) for one in down["fills"] if one["rested"] and one["side"] == "buy"]
    assert sorted(filled) == sorted((one["price"], one["quantity"]) for one in buys)
    assert down["position"] == pytest.approx(
        down["position_now"] + sum(one["quantity"] * {"buy": 1, "sell": -1}[one["side"]] for one in down["fills"])
    )
    assert len(down["fills"]) == len(buys), "on a straight way nothing is filled twice"
    assert any(one["new"] for one in down["desired"]), "each purchase is to be sold again"
    assert down["profit"] < 0.0 and down["price"] < now
    up = supposed(house, "drift0", SYMBOL, saved, now * 1.02)
    assert {one["side"] for one in up["fills"] if one["rested"]} <= {"sell"}
    assert asyncio.run(memory_of(dsn, "drift0", SYMBOL)) == saved, "what the bot knows is as it was"


def test_what_if_at_the_stop_says_what_would_be_lost(house, dsn):
    saved = asyncio.run(memory_of(dsn, "drift0", SYMBOL))
    found = supposed(house, "drift0", SYMBOL, saved, 108.0)
    assert found["stop"] > 0.0 and found["position"] > 0.0
    assert not [one for one in found["desired"] if found["stop"] < one["price"] < 108.0], "nothing fills on the way"
    fee, slipped = (found["position"] * found["stop"] * part for part in (0.00055, 0.0001))
    lost = found["position"] * (108.0 - found["stop"]) + fee
    assert lost < found["loss_at_stop"] < lost + 2.0 * slipped
    beyond = supposed(house, "drift0", SYMBOL, saved, found["stop"] * 0.999)
    assert beyond["stopped"] == any(one["reason"] == "exit_sl" for one in beyond["fills"])


def test_what_if_as_a_command_and_what_it_refuses(as_users_have_it, house):
    done = command("whatif", "--pair", SYMBOL, "--price", "108")
    assert done.exit_code == 0 and "fills" in done.stdout and "would be lost from there" in done.stdout
    assert json.loads(command("whatif", "--pair", SYMBOL, "--price", "108", "--json").stdout)["bot"] == "drift0"
    for pair, price, sentence in (
        (SYMBOL, "0", "--price is 0"),
        (SYMBOL, "nan", "--price is nan"),
        (SYMBOL, "1e9", "give one near it"),
        ("BTCUSDT", "108", "has never traded pair BTCUSDT"),
    ):
        with pytest.raises(Misconfigured, match=sentence):
            command("whatif", "--pair", pair, "--price", price)
    asked = {
        "question": "whatif",
        "said": {"bot": "drift0", "pair": SYMBOL, "price": 108.0, "database": "postgresql://127.0.0.1:1/x"},
    }
    assert "the database does not answer" in answer(json.dumps(asked), house)["refused"]
    assert not interpreted_first.get()


# What a command would do


def test_what_each_answer_to_a_halt_would_do_is_what_the_pair_would_do(house, dsn):
    kept = asyncio.run(memories_of(dsn, "drift0"))
    now = supposed(house, "drift0", SYMBOL, kept[SYMBOL], 108.0)
    said = outcomes(house, "drift0", kept, {SYMBOL: 108.0})["commands"]
    found = {command: one[SYMBOL] for command, one in said.items()}
    entries = sum(not one["reduce_only"] for one in resting(house, kept[SYMBOL]))
    assert entries > 0 and {one["entries_cancelled"] for name, one in found.items() if name != "close"} == {entries}
    for name in ("halt", "hold"):
        one = found[name]
        assert one["position"] == one["position_now"] == now["position_now"] > 0.0
        assert (one["closing_orders"], one["closed"], one["realised"], one["fees"]) == (0, 0.0, 0.0, 0.0)
        assert 0.0 < one["stop"] < 108.0 and one["loss_at_stop"] > 0.0
    for name in ("close-all", "close"):
        one = found[name]
        assert one["position"] == 0.0 and one["orders"] == 0 and one["stop"] == 0.0 and one["loss_at_stop"] is None
        assert one["closing_orders"] == 1 and one["closed"] == one["position_now"]
        assert one["fees"] == pytest.approx(one["closed_value"] * 0.00055, rel=1e-3)
    half = found["reduce-50"]
    assert half["position"] == pytest.approx(half["position_now"] / 2, abs=0.1) and half["closing_orders"] == 1
    assert half["realised"] == pytest.approx(found["close-all"]["realised"] * half["closed"] / half["position_now"])
    assert asyncio.run(memories_of(dsn, "drift0")) == kept, "what the bot knows is as it was"
    asked = {"question": "command_outcomes", "said": {"bot": "drift0", "database": dsn, "prices": {SYMBOL: 108.0}}}
    assert answer(json.dumps(asked), house)["answer"]["commands"] == said
    asked["said"]["prices"] = {"BTCUSDT": 1.0}
    assert "has never traded pair BTCUSDT" in answer(json.dumps(asked), house)["refused"]


def resting(data_dir, saved):
    from backtesting.what_if import copied, orders_of
    from services.app.whatif import _made_of

    config, instrument, _ = _made_of(data_dir, "drift0", SYMBOL)
    return [{"reduce_only": one.reduce_only} for one in orders_of(copied(config, instrument, saved, None, None)[0])]
