"""What no page of the exchange's says of stops, played both ways: no minute without protection, and the books agree."""

from __future__ import annotations

import asyncio
from dataclasses import fields

import numpy as np
import pytest

from services.simulated_bybit.exchange import Exchange, exchange_settings
from services.simulated_bybit.unverified import Unverified
from services.trials.agreement import compare
from tests.runtime.house import DAY, HISTORY, Bot, command, config, market, venue

# As they are is what every other test plays, though with volume enough for every stop.
VARIANTS = [
    pytest.param(one.name, setting, marks=[pytest.mark.slow] if setting is one.default else [])
    for one in fields(Unverified)
    for setting in (True, False)
]


SYMBOL = "SOLUSDT"
CRASH = 250  # minutes after the beginning


def crashing(chosen):
    """An exchange whose prices fall by an eighth between two minutes: stops fire, entries fill beyond their own."""
    candles, instruments = market(chosen.pairs, 1, 7)
    first = HISTORY * 1440 + CRASH
    for one in candles.values():
        tick = float(instruments[SYMBOL if one is candles[SYMBOL] else "BTCUSDT"].tick_size)
        for name in ("open", "high", "low", "close"):
            column = getattr(one, name)
            column[first:] = np.round(np.rint(column[first:] * 0.875 / tick) * tick, 10)
    exchange = Exchange(instruments, candles, chosen.capital, exchange_settings(chosen.execution), chosen.leverage)
    exchange.begin(int(exchange.clock[0]) + HISTORY * DAY)
    return exchange


async def by_hand(bot, exchange, house, direction):
    """Somebody adds to the position, or turns it, without a stop; then the operator resumes."""
    held = exchange.books[SYMBOL].position
    if held:
        side = 1 if held * direction > 0 else -1
        exchange.trade_by_hand(SYMBOL, side, abs(held) if direction > 0 else 2 * abs(held))
        await house.server._flush()
        await bot.runtime.poll()
        await bot.runtime.settled()
        await bot.steps.begin()
        await bot.runtime.apply_command(command("resume", force=True))
        await bot.runtime.settled()
    return held != 0


@pytest.mark.slow
@pytest.mark.parametrize(("switch", "setting"), VARIANTS)
def test_a_position_is_protected_whichever_way_the_exchange_has_it(dsn, name, watches, switch, setting):
    async def play():
        chosen = config(execution={"max_participation": 0.002})  # stops find too little volume now and then
        exchange, touched = crashing(chosen), 0
        exchange.unverified = Unverified(**{switch: setting})
        async with venue(exchange) as house:
            bot = Bot(chosen, house.address, dsn, name)
            await bot.start()
            end = exchange.at + CRASH + 50
            while exchange.at < end:
                await bot.steps.minute()
                left = end - exchange.at
                if left % 100 == 0:
                    await bot.crash()
                    await bot.start()
                if left % 20 == 0:
                    touched += await by_hand(bot, exchange, house, 1 if left % 40 else -1)
            await bot.runtime.poll()
            await bot.runtime.settled()
            found = compare(exchange, await bot.store.fills(), bot.runtime.loops)
            await bot.stop()
        assert touched >= 1
        assert any(one.stop_type for one in exchange.trades), "no stop has fired"
        assert (found.doubled, found.lost, found.differences) == ([], [], [])

    asyncio.run(play())
    assert not any(watch.bare_minutes for watch in watches)
    for watch in watches:  # between a fill and the bot's answer to it
        watch.bare_moments.clear()
