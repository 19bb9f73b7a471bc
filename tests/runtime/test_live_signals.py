"""A bot that listens trades what it is sent: once, after it was written down, and simulation sees the same."""

from __future__ import annotations

import asyncio
import json
from functools import cache, partial

import pytest

from backtesting.instruments import instrument_for
from backtesting.run import simulate
from backtesting.session_fills import simulate_session
from backtesting.signal_file import STRATEGY
from bot.instrument import Market
from bot.kernel import interpreted
from bot.ports import ReceivedSignal, Refusal, Refused
from bot.times import HOUR
from coordinator import compiled, machine
from coordinator.config import load_portfolio, load_single
from coordinator.session import replay
from services.exchanges.bybit.gateway import Bybit
from services.market_data.synth import generate
from services.simulated_bybit.exchange import Exchange, exchange_settings
from services.storage.live_fills import live_fills
from services.storage.read_pool import ReadPool
from services.storage.signal_rows import SignalRows
from services.storage.store import PostgresStore
from strategies.signals import table_of
from tests.conftest import play_interpreted
from tests.coordinator.driven import plain_dispatch
from tests.runtime.house import Bot, gateway_to, venue

SYMBOL = "SOLUSDT"
GOOD = 3600.0  # seconds


@pytest.fixture(autouse=True)
def interpreted_steps(monkeypatch):
    monkeypatch.setattr(machine, "compiled_dispatch", cache(plain_dispatch))
    monkeypatch.setattr(machine, "compiled_portfolio", cache(lambda _roster: interpreted(compiled.evaluate_or_share)))


class Listening:
    """A bot that listens, on the simulated exchange, and what sends it signals."""

    def __init__(self, dsn, name, folder, address, chosen):
        self.dsn, self.name, self.pool = dsn, name, ReadPool(dsn)
        self.rows = SignalRows(self.pool)
        self.bot = Bot(chosen, address, dsn, name, options={"sessions": folder})

    @property
    def machine(self):
        return self.bot.runtime.loops[SYMBOL].core.machine

    async def send(self, signal, direction, seconds=GOOD, near=0.02):
        price = float(self.machine.pairs[0].price)
        stop, target = (price * (1.0 - direction * near), price * (1.0 + direction * near)) if direction else (0.0, 0.0)
        return await self.rows.add(self.name, SYMBOL, signal, direction, stop, target, seconds)

    async def minutes(self, count=1):
        for _ in range(count):
            await self.bot.steps.minute()

    async def decided(self):
        return [one.fields for one in await self.bot.store.decisions(0) if one.kind == "signal"]


def exchange_of(chosen):
    """An exchange whose past is short: no strategy here looks back."""
    candles = generate(list(chosen.pairs), 1, 7)
    instruments = {pair: instrument_for(pair, Market.LINEAR, candles[pair])[0] for pair in chosen.pairs}
    exchange = Exchange(instruments, candles, chosen.capital, exchange_settings(chosen.execution), chosen.leverage)
    exchange.begin(int(exchange.clock[0]) + HOUR)
    return exchange


def backtested(monkeypatch, heard):
    """Fills of a backtest of these signals on the same market."""
    play_interpreted(monkeypatch, "signals")
    candles = generate([SYMBOL], 1, 7)[SYMBOL]
    chosen = load_single({"strategy": STRATEGY, "pair": SYMBOL, "signals": {"table": table_of(heard)}})
    return simulate(chosen, candles).recording.fills


def listening(dsn, name, folder, play, kind=Bybit):
    async def main():
        chosen = load_portfolio({"strategy": STRATEGY, "pairs": [SYMBOL], "signals": {"listens": True}})
        async with venue(exchange_of(chosen)) as house:
            one = Listening(dsn, name, folder, house.address, chosen)
            one.bot.make_gateway = partial(gateway_to, kind=kind)
            await one.bot.start()
            await one.minutes(3)
            await play(one)
            await one.bot.stop()
            await one.pool.close()
            return (await live_fills(dsn, name, None, None)).fills

    return asyncio.run(main())


def lines_in(folder):
    return [[json.loads(line) for line in file.read_text().splitlines()] for file in sorted(folder.glob("*.jsonl"))]


def test_signals_are_traded_once_through_kills_and_replay_and_drift_see_the_same(dsn, tmp_path, monkeypatch):
    async def play(one):
        assert await one.send("a", 1) == 1
        await one.bot.crash()  # it is written down and not heard
        await one.bot.start()
        await one.minutes(2)
        held = one.machine.position
        assert held > 0
        assert await one.send("b", 1) == 2  # one is traded at a time
        await one.minutes(2)
        assert one.machine.position == held
        assert await one.send("c", 0) == 3
        await one.minutes(2)
        assert one.machine.position == 0
        await one.bot.crash()  # it was heard, and is not heard again
        await one.bot.start()
        await one.minutes(2)
        assert one.machine.position == 0
        assert await one.send("d", 1, seconds=0.0) == 4
        await one.minutes(2)
        assert one.machine.position == 0
        assert await one.send("e", -1) == 5
        await one.minutes(2)
        assert one.machine.position < 0
        told = [(each["number"], each["asked"], each["late"]) for each in await one.decided()]
        assert told == [(1, "long", False), (2, "long", False), (3, "close", False), (4, "long", True),
                        (5, "short", False)]  # fmt: skip

        rows = await one.rows.newest(one.name, SYMBOL, 10)
        assert {row["signal"]: row["outcome"] for row in rows} == {
            "a": "filled", "b": "held", "c": "filled", "d": "late", "e": "filled",
        }  # fmt: skip
        entered = next(row for row in rows if row["signal"] == "a")
        assert entered["quantity"] == float(one.machine.instrument.quantity(held))
        assert entered["stop"] < entered["fill_price"] < entered["target"]
        heard.extend(await one.rows.heard(one.name, SYMBOL))

    heard = []
    fills = listening(dsn, "signals1", tmp_path, play)
    assert [one["signal_id"] for one in heard] == ["a", "b", "c", "e"]
    played = backtested(monkeypatch, heard)
    assert [(one["side"], one["ts"]) for one in played[: len(fills)]] == [(one.side, one.minute) for one in fills]
    assert [one.side for one in fills] == [1, -1, -1]
    simulated = []
    for lines in lines_in(tmp_path):
        assert not [step for step, _ in replay(lines) if step.expected]
        session = simulate_session(lines)
        assert session.ended == ""
        simulated += session.fills
    assert [(one.order, one.side, one.lots) for one in simulated] == [(one.order, one.side, one.lots) for one in fills]


class Refusing(Bybit):
    """A gateway that places no entry."""

    async def place(self, symbol, order):
        if not order.reduce_only:
            raise Refused(Refusal.NO_MONEY, "not enough balance")
        await super().place(symbol, order)


def test_an_entry_that_the_exchange_refuses_is_told_with_its_reason(dsn, tmp_path):
    async def play(one):
        await one.send("a", 1)
        await one.minutes(2)
        (row,) = await one.rows.newest(one.name, SYMBOL, 10)
        assert row["outcome"] == "refused"
        (said,) = [each["fields"] for each in row["decisions"] if each["kind"] == "refused"]
        assert (said["refusal"], said["side"], said["price"]) == ("no_money", "buy", 0.0)

    assert listening(dsn, "signals3", tmp_path, play, Refusing) == []
    (lines,) = lines_in(tmp_path)
    assert not [step for step, _ in replay(lines) if step.expected]


def test_signals_that_come_at_once_each_have_a_number_and_one_that_came_before_is_refused(dsn):
    async def main():
        store, pool = await PostgresStore.open(dsn, "signals2"), ReadPool(dsn)
        rows = SignalRows(pool)
        found = await asyncio.gather(*(rows.add(*("signals2", SYMBOL, f"n{k}", 0, 0.0, 0.0, GOOD)) for k in range(12)))
        assert sorted(found) == list(range(1, 13))
        assert await rows.add("signals2", "BTCUSDT", "n3", 1, 1.0, 2.0, GOOD) is None
        assert await rows.add("signals2", "BTCUSDT", "m", 1, 1.0, 2.0, GOOD) == 1
        heard = await store.signals(SYMBOL, 10)
        assert [one.number for one in heard] == [11, 12]
        assert await store.signals("BTCUSDT", 0) == [ReceivedSignal(1, "m", 1, 1.0, 2.0)]
        assert [one["number"] for one in await rows.newest("signals2", SYMBOL, 2)] == [12, 11]
        await store.close()
        await pool.close()

    asyncio.run(main())
