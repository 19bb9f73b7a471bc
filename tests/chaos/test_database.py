"""Restart on a database that is older than the account, ahead of it, or equal: F-81, F-83."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from bot.ports import NotPermitted
from services.exchanges.bybit.gateway import Bybit
from services.storage.store import PostgresStore
from services.trials.agreement import compare
from tests.chaos.test_crash_points import Killed, played, same, what_is_left
from tests.runtime.house import Bot, config, exchange_for, gateway_to, venue

TABLES = ("memory", "orders", "fills", "decisions")
MINUTES = 250


async def copied(dsn, name):
    """Every row of the bot, by table."""
    connection = await asyncpg.connect(dsn)
    try:
        return {one: await connection.fetch(f"SELECT * FROM {one} WHERE bot = $1", name) for one in TABLES}
    finally:
        await connection.close()


async def put_back(dsn, name, rows):
    """Let the database hold these rows of the bot alone."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            for table in TABLES:
                await connection.execute(f"DELETE FROM {table} WHERE bot = $1", name)
                for row in rows[table]:
                    columns = [one for one in row.keys() if one != "id"]  # noqa: SIM118, a record iterates its values
                    marks = ", ".join(f"${number + 1}" for number in range(len(columns)))
                    query = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
                    await connection.execute(query, *(row[one] for one in columns))
    finally:
        await connection.close()


def calm(dsn, name):
    """What a run leaves that nobody disturbs."""
    return asyncio.run(played(dsn, f"{name}c", [], MINUTES))[0]


async def restarted_on(dsn, name, *, old, minutes, wait=150):
    """Play, keep a copy when `old` minutes are left, restart on it at the end; returns what the test looks at."""
    chosen = config()
    exchange = exchange_for(chosen)
    async with venue(exchange) as house:
        bot = Bot(chosen, house.address, dsn, name)
        await bot.start()
        for _ in range(wait):
            await bot.steps.minute()
        rows = await copied(dsn, name)
        for _ in range(old):
            await bot.steps.minute()
        before = len(exchange.trades)
        await bot.crash()
        await put_back(dsn, name, rows)
        refused = False
        try:
            await bot.start()
        except NotPermitted as error:
            refused = "does not know" in str(error)
            bot.options = {"adopt": True}
            await bot.start()
        for _ in range(minutes):
            await bot.steps.minute()
        await bot.runtime.poll()
        await bot.runtime.settled()
        found = compare(exchange, await bot.store.fills(), bot.runtime.loops)
        await bot.stop()
    return exchange, before, refused, found


@pytest.mark.parametrize("old", [1, 60, pytest.param(300, marks=pytest.mark.slow)])
def test_a_database_that_is_older_than_the_account_books_what_it_missed_and_adopts_what_rests(
    dsn, name, monkeypatch, old
):
    monkeypatch.setattr("services.runtime.preflight.LISTEN_SECONDS", 0.0)
    exchange, before, refused, found = asyncio.run(restarted_on(dsn, name, old=old, minutes=30))
    assert before > 0
    if old >= 300:  # by then entries rest, or have filled, that it never sent; exits alone are no reason to refuse
        assert refused, "orders that this database never sent are somebody else's until --adopt says otherwise"
    assert (found.doubled, found.lost, found.differences) == ([], [], [])
    names = [one.client_order_id for one in exchange.known.values() if one.client_order_id]
    assert len(names) == len(set(names))


@pytest.mark.slow
def test_a_database_that_is_equal_changes_nothing(dsn, name):
    async def play():
        chosen = config()
        exchange = exchange_for(chosen)
        async with venue(exchange) as house:
            bot = Bot(chosen, house.address, dsn, name)
            await bot.start()
            end = exchange.at + MINUTES
            while exchange.at < end:
                await bot.steps.minute()
                if (end - exchange.at) % 70 == 0:
                    await bot.crash()
                    await put_back(dsn, name, await copied(dsn, name))
                    await bot.start()
            left = await what_is_left(bot, exchange)
            await bot.stop()
        return left

    found = asyncio.run(play())
    left = calm(dsn, name)
    assert found[:2] == left[:2]
    assert all(same(found[2][symbol], left[2][symbol]) for symbol in left[2])


class NeverSends(Bybit):
    """A gateway whose owner dies before the first order, amendment or cancellation of each life."""

    async def place(self, symbol, order):
        raise Killed("before place")

    async def amend(self, symbol, order):
        raise Killed("before amend")

    async def cancel(self, symbol, client_order_id):
        raise Killed("before cancel")


@pytest.mark.slow
def test_a_database_that_is_ahead_of_what_was_sent_sends_it_once(dsn, name):
    """Every decision is stored and its sender killed, three lives long, before one may send."""

    async def play():
        chosen, deaths = config(), 0
        exchange = exchange_for(chosen)
        async with venue(exchange) as house:
            bot = Bot(chosen, house.address, dsn, name)
            await bot.start()
            end = exchange.at + MINUTES
            while exchange.at < end:
                bot.runtime.gateway.__class__ = NeverSends
                try:
                    await bot.steps.minute()
                except Killed:
                    await bot.crash()
                    deaths += 1
                    for _ in range(2):
                        bot.make_gateway = lambda address: gateway_to(address, NeverSends)
                        try:
                            await bot.start()
                        except Killed:
                            deaths += 1
                        else:
                            await bot.crash()
                    bot.make_gateway = gateway_to
                    await bot.start()
            left = await what_is_left(bot, exchange)
            await bot.stop()
        return left, deaths

    found, deaths = asyncio.run(play())
    left = calm(dsn, name)
    assert deaths >= 12
    assert found[:2] == left[:2]
    assert all(same(found[2][symbol], left[2][symbol]) for symbol in left[2])


@pytest.mark.slow
def test_rows_that_are_gone_altogether_are_refused_and_with_adopt_the_position_is_taken_over(dsn, name, monkeypatch):
    monkeypatch.setattr("services.runtime.preflight.LISTEN_SECONDS", 0.0)

    async def play():
        chosen = config()
        exchange = exchange_for(chosen)
        async with venue(exchange) as house:
            bot = Bot(chosen, house.address, dsn, name)
            await bot.start()
            while not any(book.position for book in exchange.books.values()):
                await bot.steps.minute()
            await bot.crash()
            await put_back(dsn, name, dict.fromkeys(TABLES, ()))
            with pytest.raises(NotPermitted):
                await bot.start()
            bot.options = {"adopt": True}
            await bot.start()
            for symbol, loop in bot.runtime.loops.items():
                assert loop.core.machine.position == exchange.books[symbol].position
            for _ in range(30):
                await bot.steps.minute()
            store = await PostgresStore.open(dsn, name)
            booked = [one.id for one in await store.fills()]
            await store.close()
            await bot.stop()
        assert len(booked) == len(set(booked))

    asyncio.run(play())
