"""Pairs that come and go between two lives of a bot: what the others remember stays, and nothing is left alone."""

from __future__ import annotations

import asyncio

import pytest

from bot.errors import Misconfigured
from services.simulated_bybit.records import CANCELLED
from tests.runtime.house import Bot, config, exchange_for, venue
from tests.runtime.test_safety import one_held

ALL = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def lives(dsn, name, play):
    """`play(bot, exchange, held)` once a pair of three holds something."""

    async def main():
        exchange = exchange_for(config(ALL))
        async with venue(exchange) as house:
            bot = Bot(config(ALL), house.address, dsn, name, server=house.server)
            await bot.start()
            for _ in range(100):
                await bot.steps.minute()
            await play(bot, exchange, await one_held(bot, exchange))
            await bot.stop()

    asyncio.run(main())


async def started_with(bot, pairs):
    bot.chosen = config(pairs)
    await bot.start()
    for _ in range(3):
        await bot.steps.minute()


def without(pair):
    return tuple(one for one in ALL if one != pair)


def leave(exchange, pair):
    """The exchange ends what the bot has of a pair, as when it delists it."""
    if exchange.books[pair].position:
        exchange.close_by_hand(pair)
    for one in exchange.live(pair):
        exchange.cancel(pair, one.id, "")


def money(bot):
    """What the wallet should hold, by the bot's reckoning."""
    portfolio_state = bot.runtime.master.core.machine.portfolio_state
    return float(portfolio_state.portfolio.deposits) + sum(float(one.settled) for one in portfolio_state.reports)


def test_a_pair_is_not_left_alone_with_its_position_or_its_orders(dsn, name):
    async def play(bot, exchange, held):
        await bot.crash()
        with pytest.raises(Misconfigured, match=f"pairs lacks {held}, of which this bot holds a position"):
            await started_with(bot, without(held))
        flat = next(one for one in ALL if exchange.books[one].position == 0 and exchange.live(one))
        with pytest.raises(Misconfigured, match=f"pairs lacks {flat}, of which this bot holds orders"):
            await started_with(bot, without(flat))
        await started_with(bot, ALL)
        assert bot.runtime.loops[held].core.machine.position == exchange.books[held].position

    lives(dsn, name, play)


def test_pairs_keep_what_they_remember_when_others_go_and_come_back(dsn, name):
    async def play(bot, exchange, held):
        left = next(one for one in ALL if one != held and exchange.live(one))
        families = families_of(bot)
        await bot.crash()
        leave(exchange, left)
        placed = {one.id for one in exchange.live(held)}
        for pairs in (without(left), ALL[::-1], ALL):
            await started_with(bot, pairs)
            assert bot.runtime.loops[held].core.machine.position == exchange.books[held].position
            assert families_of(bot)[held] == families[held]
            assert abs(money(bot) - exchange.wallet) < 0.01
            await bot.crash()
        cancelled = [one for one in exchange.known.values() if one.id in placed and one.status == CANCELLED]
        assert placed
        assert cancelled == []
        await bot.start()

    lives(dsn, name, play)


def families_of(bot):
    machine = bot.runtime.master.core.machine
    return dict(zip(machine.symbols, machine.portfolio_state.routes["family"].tolist(), strict=True))


def test_a_contract_that_was_delisted_while_the_bot_was_down_holds_nobody_up(dsn, name):
    async def play(bot, exchange, held):
        await bot.crash()
        leave(exchange, held)
        for _ in range(3):
            exchange.step()
        await started_with(bot, without(held))
        assert held not in bot.runtime.loops

    lives(dsn, name, play)
