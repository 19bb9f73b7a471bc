"""A bot on an exchange that is not Bybit: found by its name, traded on through the ports alone, to the same fills."""

from __future__ import annotations

import asyncio

import pytest
import yaml
from pydantic import SecretStr

from backtesting.instruments import instrument_for
from bot.events import Filled
from bot.instrument import Market
from services.app.bot import account_of
from services.exchanges.registry import BYBIT, EXCHANGES
from services.market_data.synth import generate
from services.runtime.config import Secrets, load_bot
from services.runtime.ending import close_everything
from services.runtime.live import as_live
from services.runtime.local import LocalRuntime
from services.simulated_bybit.exchange import Exchange, exchange_settings
from services.trials.lockstep import LockStep
from tests.contracts.memory import MemoryBus, MemoryStore
from tests.contracts.toy import ToyExchange
from tests.runtime.house import DAY, KEY, venue

PAIR = "SOLUSDT"
MINUTES = 30
GRID = {"timeframe": "5m", "range_factor": 2.0, "profit_per_grid": 0.001, "levels": 30, "risk_budget": 0.2}
LIVELY = {"strategy": "grid", "grid": GRID}


def loaded(tmp_path, **bot):
    """Settings, config and account of a config file with this section `bot`."""
    path = tmp_path / "bot.yaml"
    path.write_text(yaml.safe_dump({**LIVELY, "pairs": [PAIR], "bot": bot}))
    settings, config = load_bot(path)
    secrets = Secrets(key=SecretStr(KEY.key), secret=SecretStr(KEY.secret))
    return settings, as_live(config), account_of(settings, config, secrets)


def market(config):
    """A day of history, and a day to trade."""
    candles = generate([PAIR], 2, seed=7)
    instruments = {PAIR: instrument_for(PAIR, Market.LINEAR, candles[PAIR])[0]}
    exchange = Exchange(instruments, candles, 10_000.0, exchange_settings(config.execution), config.leverage)
    exchange.begin(int(exchange.clock[0]) + DAY)
    return exchange


class Session:
    """A bot with its memory, over as many lives as it has."""

    def __init__(self, settings, config, account):
        self.settings, self.config, self.account = settings, config, account
        self.store, self.bus = MemoryStore(), MemoryBus()

    async def start(self):
        gateway = self.account.gateway()
        self.runtime = LocalRuntime(self.settings.name, self.config, gateway, self.store, self.bus, patience=None)
        await self.runtime.start()
        await self.runtime.settled()
        return gateway


async def minutes_of_the_toy(session, minutes):
    gateway = await session.start()
    for _ in range(minutes):
        while gateway.play():
            await session.runtime.settled()
        await session.runtime.settled()


def fills(exchange):
    return [(one.symbol, one.client_order_id, one.side, one.price, one.lots, one.ts) for one in exchange.trades]


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A bot whose config names the toy, and the market that the toy has."""
    exchange = None

    def make(**options):
        nonlocal exchange
        assert (options["key"], options["environment"]) == (KEY.key, "demo")
        return ToyExchange(exchange)

    monkeypatch.setitem(EXCHANGES, "toy", make)
    session = Session(*loaded(tmp_path, name="second", exchange="toy", environment="demo"))
    exchange = market(session.config)
    return session, exchange


async def on_bybit(tmp_path):
    """The same bot and market through Bybit's adapter; what was filled."""
    (tmp_path / BYBIT).mkdir()
    exchange = market(loaded(tmp_path / BYBIT)[1])
    async with venue(exchange) as house:
        where = {"environment": "venue", "address": house.address, "requests_per_second": 100_000}
        session = Session(*loaded(tmp_path / BYBIT, name="second", exchange=BYBIT, **where))
        await session.start()
        steps = LockStep(house.address, session.runtime)
        await steps.begin()
        for _ in range(MINUTES):
            await steps.minute()
        await session.runtime.stop()
        await steps.end()
    return fills(exchange)


def test_a_bot_trades_on_another_exchange_as_it_does_on_bybit(toy, tmp_path):
    session, exchange = toy

    async def main():
        await minutes_of_the_toy(session, MINUTES // 2)
        await session.runtime.stop()  # and its next life goes on from what it stored
        await minutes_of_the_toy(session, MINUTES // 2)
        found = await session.runtime.status()
        await session.runtime.stop()
        return found

    status = asyncio.run(main())
    assert len(fills(exchange)) >= 20, "the market has to be livelier for this test to mean anything"
    assert fills(exchange) == asyncio.run(on_bybit(tmp_path))
    (pair,) = status["pairs"]
    book = exchange.books[PAIR]
    assert pair["position"] == float(book.instrument.quantity(book.position))
    assert (status["streams"], status["errors"]) == ({"all": True}, {})
    assert status["changes"]["create"] > 0
    assert exchange.duplicates == 0
    assert [one.minutes for one in exchange.bare.values()] == [0]
    told = [one.execution for one in session.bus.told if isinstance(one, Filled)]
    assert sorted(told) == sorted(one.id for one in exchange.trades)


def test_everything_is_closed_on_another_exchange(toy):
    session, exchange = toy

    async def main():
        await minutes_of_the_toy(session, MINUTES // 2)
        assert exchange.books[PAIR].position
        closing = asyncio.create_task(close_everything(session.runtime, "second", [PAIR]))
        while not closing.done():
            session.runtime.gateway.play()
            await asyncio.sleep(0)
        said = await closing
        await session.runtime.stop()
        return said

    assert asyncio.run(main()) == "shut down: 0 orders and 0 positions at the venue"
    assert exchange.live(None) == []
