"""A venue that loses answers, repeats itself, refuses for a while or hangs up; a database and a bus that die."""

from __future__ import annotations

import asyncio
import os
import random
import signal

import aiohttp
import pytest

from services.messaging.bus import RedisBus
from services.messaging.embedded import EmbeddedRedis
from services.simulated_bybit.server import Faults
from services.storage.embedded import EmbeddedPostgres
from tests.chaos.test_crash_points import MINUTES, same, what_is_left
from tests.runtime.house import Bot, config, exchange_for, venue


async def played(dsn, name, *, faults=None, trouble=None, every=0, bus=None, minutes=MINUTES):
    """Play the market of `undisturbed`, with `trouble(bot, house)` every so many minutes."""
    chosen = config()
    exchange = exchange_for(chosen, 1, 7)
    async with venue(exchange, faults=faults) as house:
        bot = Bot(chosen, house.address, dsn, name)
        if bus is not None:
            bot.bus = bus
        await bot.start()
        end = exchange.at + minutes
        while exchange.at < end:
            await bot.steps.minute()
            if trouble is not None and (end - exchange.at) % every == 0:
                await trouble(bot, house)
        await bot.runtime.poll()  # as a running bot does every 20 s
        await bot.runtime.settled()
        left = await what_is_left(bot, exchange)
        broken = bot.runtime.supervisor.broken
        await bot.stop()
    return left, broken


def assert_same(found, left):
    assert found[0] == left[0], "other fills"
    assert found[1] == left[1], "other orders rest"
    for symbol in left[2]:
        assert same(found[2][symbol], left[2][symbol]), f"{symbol} remembers otherwise"


def test_lost_answers_repeated_events_errors_and_rate_limits_change_nothing(dsn, name, undisturbed):
    """F-04, F-21, F-23."""
    faults = Faults(lose_response=0.1, error=0.05, duplicate=0.3, rate_limit=0.02, seed=5)
    found, _ = asyncio.run(played(dsn, name, faults=faults))
    assert_same(found, undisturbed[0])


@pytest.mark.slow
def test_streams_that_break_change_nothing(dsn, name, undisturbed):
    """What a broken stream did not tell is asked for."""
    drops = 0

    async def drop(bot, house):
        nonlocal drops
        drops += 1
        for one in bot.runtime.gateway.hearing.values():
            one.clear()
        async with aiohttp.ClientSession() as session:
            await session.post(f"{house.address}/venue/drop")
        for one in bot.runtime.gateway.hearing.values():
            await one.wait()
        await bot.steps.begin()

    found, _ = asyncio.run(played(dsn, name, trouble=drop, every=60))
    assert drops >= 10
    assert_same(found, undisturbed[0])


@pytest.mark.slow
def test_loops_that_break_are_made_anew_from_what_is_stored(dsn, name, undisturbed):
    chance = random.Random(3)

    async def break_one(bot, house):
        core = chance.choice([bot.runtime.master, *bot.runtime.loops.values()]).core
        handle = core.handle

        def broken(message):
            core.handle = handle
            raise RuntimeError("broken on purpose")

        core.handle = broken

    found, broken = asyncio.run(played(dsn, name, trouble=break_one, every=50))
    assert broken >= 10
    assert_same(found, undisturbed[0])


@pytest.mark.slow
def test_a_database_that_dies_is_waited_for_and_nothing_is_lost(tmp_path, name, undisturbed):
    kills = 0

    async def play():
        postgres = EmbeddedPostgres(tmp_path)
        dsn = await postgres.start()

        async def kill(bot, house):
            nonlocal kills
            kills += 1
            os.kill(int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

        supervisor = asyncio.create_task(postgres.keep())
        try:
            return await played(dsn, name, trouble=kill, every=150)
        finally:
            supervisor.cancel()
            await postgres.stop()

    found, _ = asyncio.run(play())
    assert kills >= 4
    assert_same(found, undisturbed[0])


@pytest.mark.slow
def test_a_bus_that_dies_is_not_waited_for(tmp_path, dsn, name, undisturbed):
    async def play():
        redis = EmbeddedRedis(tmp_path)
        bus = RedisBus(await redis.start(), name)
        bus.start()

        async def kill(bot, house):
            if redis.pid_file.exists():
                os.kill(int(redis.pid_file.read_text()), signal.SIGKILL)
                redis.pid_file.unlink()

        try:
            left, _ = await played(dsn, name, trouble=kill, every=100, bus=bus)
        finally:
            await bus.stop()
            await redis.stop()
        return left, bus.dropped

    found, dropped = asyncio.run(play())
    assert dropped > 0
    assert_same(found, undisturbed[0])


@pytest.mark.parametrize("seed", [1])
def test_late_events_lose_no_fill(dsn, name, seed):
    """The market goes on while an event is held back; what is left must still fit together."""
    faults = Faults(late=0.3, duplicate=0.2, seed=seed)
    asyncio.run(played(dsn, name, faults=faults, minutes=300))
