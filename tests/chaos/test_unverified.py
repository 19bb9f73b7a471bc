"""What no page of the exchange's says of stops, played both ways: no minute without protection, and the books agree."""

from __future__ import annotations

import asyncio
from dataclasses import fields

import pytest

from services.runtime.agreement import compare
from services.venue.unverified import Unverified
from tests.runtime.house import Bot, config, exchange_for, venue

# As they are is what every other test plays, though with volume enough for every stop.
VARIANTS = [
    pytest.param(one.name, setting, marks=[pytest.mark.slow] if setting is one.default else [])
    for one in fields(Unverified)
    for setting in (True, False)
]


@pytest.mark.parametrize(("switch", "setting"), VARIANTS)
def test_a_position_is_protected_whichever_way_the_exchange_has_it(dsn, name, watches, switch, setting):
    async def play():
        chosen = config(execution={"max_participation": 0.02})  # stops find too little volume now and then
        exchange = exchange_for(chosen)
        exchange.unverified = Unverified(**{switch: setting})
        async with venue(exchange) as house:
            bot = Bot(chosen, house.address, dsn, name)
            await bot.start()
            end = exchange.at + 300
            while exchange.at < end:
                await bot.steps.minute()
                if (end - exchange.at) % 100 == 0:
                    await bot.crash()
                    await bot.start()
            await bot.runtime.poll()
            await bot.runtime.settled()
            found = compare(exchange, await bot.store.fills(), bot.runtime.loops)
            await bot.stop()
        assert len(exchange.trades) >= 5
        assert (found.doubled, found.lost, found.differences) == ([], [], [])

    asyncio.run(play())
    assert not any(watch.bare_minutes for watch in watches)
    for watch in watches:  # between a fill and the bot's answer to it
        watch.bare_moments.clear()
