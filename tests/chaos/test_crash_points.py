"""Kill the bot before and after every thing it asks of the world, start it again, and compare with a run nobody killed.

F-04, F-05, F-06, F-10, F-23, F-67: no order twice, no fill lost or booked twice, every counter order in its place.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from bot.order import OrderKind
from coordinator.saved_state import columns_of
from services.exchanges.bybit.gateway import Bybit
from tests.runtime.house import Bot, config, exchange_for, gateway_to, venue

MINUTES = 700
CALLS = ("place", "amend", "cancel", "candles", "executions", "open_orders")


class Killed(BaseException):
    """The process is gone."""


class Fuse:
    """Burns down by one at every step the bot takes, and kills it at the end."""

    def __init__(self, steps=None):
        self.left, self.burnt, self.deaths = steps, 0, []

    def burn(self, where):
        self.burnt += 1
        if self.left is None:
            return
        self.left -= 1
        if self.left == 0:
            self.left = None
            self.deaths.append(where)
            raise Killed(where)


def fused(fuse):
    """A gateway whose every call may be the bot's last, before it is sent or after it was answered."""

    def wrapped(name):
        async def call(self, *arguments):
            fuse.burn(f"before {name}")
            result = await getattr(Bybit, name)(self, *arguments)
            fuse.burn(f"after {name}")
            return result

        return call

    return type("Fused", (Bybit,), {name: wrapped(name) for name in CALLS})


class FusedStore:
    def __init__(self, store, fuse):
        self.store, self.fuse = store, fuse

    def __getattr__(self, name):
        return getattr(self.store, name)

    async def save(self, *arguments):
        self.fuse.burn("before save")
        await self.store.save(*arguments)
        self.fuse.burn("after save")


async def played(dsn, name, fuses, minutes=MINUTES, seed=7):
    """Play the market with a bot that dies when its fuse has burnt down; returns what is left at the end."""
    chosen, deaths, burnt = config(), [], 0
    exchange = exchange_for(chosen, 1, seed)
    waiting = list(fuses)
    fuse = Fuse(waiting.pop(0) if waiting else None)
    async with venue(exchange) as house:
        bot = Bot(chosen, house.address, dsn, name)

        async def reborn():
            nonlocal fuse, burnt
            while True:
                kind = fused(fuse)
                bot.make_gateway = lambda address, kind=kind: gateway_to(address, kind)
                bot.wrap_store = lambda store, fuse=fuse: FusedStore(store, fuse)
                try:
                    await bot.start()
                except Killed:
                    renew()
                    continue
                return

        def renew():
            nonlocal fuse, burnt
            deaths.extend(fuse.deaths)
            burnt += fuse.burnt
            fuse = Fuse(waiting.pop(0) if waiting else None)

        await reborn()
        end = exchange.at + minutes
        while exchange.at < end:
            try:
                await bot.steps.minute()
            except Killed:
                await bot.crash()
                renew()
                await reborn()
        burnt += fuse.burnt
        await bot.runtime.settled()
        left = await what_is_left(bot, exchange)
        await bot.stop()
    return left, deaths, burnt


async def what_is_left(bot, exchange):
    booked = await bot.store.fills()
    traded = [
        (one.id, desired_order(one.client_order_id), one.side, one.price, one.lots, one.ts) for one in exchange.trades
    ]
    open_orders = sorted(
        (desired_order(one.client_order_id), one.side, one.kind, one.price, one.lots) for one in exchange.live(None)
    )
    memory = {symbol: remembered(loop.core.machine) for symbol, loop in bot.runtime.loops.items()}
    ids = [one.id for one in booked]
    assert sorted(ids) == sorted(one.id for one in exchange.trades), "the database and the venue disagree"
    assert len(set(ids)) == len(ids), "a fill is booked twice"
    for symbol, loop in bot.runtime.loops.items():
        summed = sum(one.side * one.lots for one in booked if one.symbol == symbol and not one.funding)
        assert summed == loop.core.machine.position == exchange.books[symbol].position
        assert_covered(exchange.books[symbol])
    return traded, open_orders, memory


def desired_order(client_order_id):
    """Pair, slot and generation of an order: its name without the bot's."""
    return client_order_id.partition("-")[2]


def assert_covered(book):
    """A position has a stop resting at the venue, or is being closed at the market already."""
    if book.position == 0:
        return
    out = [one for one in book.live if one.reduce_only and one.side * book.position < 0]
    assert any(one.kind in (OrderKind.STOP, OrderKind.MARKET) for one in out), f"{book.instrument.symbol} has no stop"


def same(one, other):
    """Whether two memories agree in every bit."""
    return one == other


def remembered(machine):
    """Every number that is stored of a pair by its name, except when it last asked for executions."""
    return {
        path: column.tobytes()
        for piece in machine.remembered()
        for path, column in columns_of(piece.name, piece.array)
        if path != "asked"
    }


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_bot_that_was_killed_again_and_again_ends_where_one_ends_that_never_was(dsn, name, undisturbed, seed):
    left, burnt = undisturbed
    chance = random.Random(seed)
    fuses = [chance.randint(1, max(2 * burnt // 22, 2)) for _ in range(22)]
    found, deaths, _ = asyncio.run(played(dsn, name, fuses))
    assert len(deaths) >= 20, f"seed {seed}: only {len(deaths)} deaths"
    assert found[0] == left[0], f"seed {seed}, deaths {deaths}: other fills"
    assert found[1] == left[1], f"seed {seed}, deaths {deaths}: other orders rest"
    for symbol in left[2]:
        assert same(found[2][symbol], left[2][symbol]), f"seed {seed}, deaths {deaths}: {symbol} remembers otherwise"
