"""SIGKILL, at random moments, of a bot in its own process, while the market runs and the venue misbehaves.

The seed is printed; TRADERAGENT_CHAOS_KILLS and TRADERAGENT_CHAOS_SEED choose more, or repeat a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys

import pytest

from services.postgres.store import PostgresStore
from services.venue.server import Faults
from tests.chaos.test_crash_points import assert_covered
from tests.runtime.house import Bot, config, exchange_for, venue

KILLS = int(os.environ.get("TRADERAGENT_CHAOS_KILLS", "40"))
MARKET_SPEED = 1200.0  # times real time: a minute every 50 ms


async def killed_again_and_again(dsn, name, seed, kills):
    chance = random.Random(seed)
    chosen = config()
    exchange = exchange_for(chosen, 30, 7)
    faults = Faults(lose_response=0.05, error=0.02, duplicate=0.1, late=0.05, seed=seed)
    async with venue(exchange, faults=faults, speed=MARKET_SPEED) as house:
        for _ in range(kills):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.process", house.address, dsn, name),
                stdout=asyncio.subprocess.PIPE,
            )
            if chance.random() < 0.7:  # else it dies while it starts
                await process.stdout.readline()
            await asyncio.sleep(chance.uniform(0.0, 2.5))
            process.send_signal(signal.SIGKILL)
            await process.wait()
        house.server._clock.cancel()  # the market stands still: what is left must fit together
        house.server.faults = Faults()
        bot = Bot(chosen, house.address, dsn, name)
        await bot.start()
        await bot.runtime.poll()
        await bot.runtime.settled()
        store = await PostgresStore.open(dsn, name)
        booked = await store.fills()
        await store.close()
        links = [one.link for one in exchange.known.values()]
        wished = sorted(order.link for loop in bot.runtime.loops.values() for order in loop._wishes())
        positions = {symbol: loop.machine.position for symbol, loop in bot.runtime.loops.items()}
        await bot.stop()
    return exchange, booked, links, wished, positions


@pytest.mark.slow
def test_sigkill_at_any_moment_loses_nothing_and_doubles_nothing(dsn, name):
    seed = int(os.environ.get("TRADERAGENT_CHAOS_SEED", "1"))
    print(f"seed {seed}, {KILLS} kills")  # noqa: T201, shown when it fails
    exchange, booked, links, wished, positions = asyncio.run(killed_again_and_again(dsn, name, seed, KILLS))
    assert len(exchange.trades) >= 10, "the market has to be livelier for this test to mean anything"
    assert len(links) == len(set(links)), "an order was placed twice"
    assert sorted(one.id for one in booked) == sorted(one.id for one in exchange.trades)
    assert sorted(one.link for one in exchange.live(None)) == wished
    for symbol, book in exchange.books.items():
        summed = sum(one.side * one.lots for one in booked if one.symbol == symbol and not one.funding)
        assert summed == book.position == positions[symbol]
        assert_covered(book)
