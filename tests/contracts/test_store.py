"""The Store port: in memory, and in Postgres."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bot.events import Decision
from bot.ports import Execution, Order, Saved, client_order_id_of
from services.storage.store import PostgresStore
from tests.conftest import START
from tests.contracts.memory import MemoryStore

BTC = "BTCUSDT"
SAVED = Saved("layout", b"memory")
DECISION = Decision(BTC, START, "regime", {"regime": "trend"})


@pytest.fixture(params=["memory", "postgres"])
def opened(request):
    """`opened(play)` runs `play(store)` on an empty store."""
    if request.param == "memory":
        return lambda play: asyncio.run(play(MemoryStore()))
    dsn, name = request.getfixturevalue("dsn"), request.getfixturevalue("name")

    async def main(play):
        store = await PostgresStore.open(dsn, name)
        try:
            return await play(store)
        finally:
            await store.close()

    return lambda play: asyncio.run(main(play))


def order(slot, **changes):
    name = client_order_id_of("t", BTC, slot, 1)
    return replace(Order(name, slot, 1, 1, 0, 100, 5, False, False, 1, 0, 0, 90), **changes)


def fill(name, ts=START, **changes):
    return replace(Execution(name, BTC, "t-BTCUSDT-001-1", 1, 100, 5, 0.1, maker=True, ts=ts), **changes), None


def test_nothing_is_known_of_a_name_that_was_never_saved(opened):
    async def play(store):
        return await store.load(BTC), await store.orders(BTC), await store.executions(BTC)

    assert opened(play) == (None, {}, [])


def test_what_was_saved_last_is_loaded_by_its_name(opened):
    async def play(store):
        await store.save(BTC, SAVED, START, [], [], [])
        await store.save(BTC, Saved("other", b"newer"), START + 1, [], [], [DECISION])
        return await store.load(BTC), await store.load("ETHUSDT")

    assert opened(play) == (Saved("other", b"newer"), None)


def test_a_save_is_all_or_nothing(opened):
    broken = replace(DECISION, fields={"what": object()})

    async def play(store):
        await store.save(BTC, SAVED, START, [order(1)], [fill("e1")], [DECISION])
        with pytest.raises(TypeError):
            await store.save(BTC, Saved("other", b"x"), START, [order(2)], [fill("e2")], [DECISION, broken])
        return await store.load(BTC), list(await store.orders(BTC)), await store.executions(BTC)

    assert opened(play) == (SAVED, [order(1).client_order_id], ["e1"])


def test_orders_come_back_as_sent_by_client_order_id_oldest_first(opened):
    moved = order(1, price=101, lots=7, stop=91)

    async def play(store):
        await store.save(BTC, SAVED, START, [order(1)], [], [])
        await store.save(BTC, SAVED, START + 1, [order(2)], [], [])
        first = await store.orders(BTC)
        await store.save(BTC, SAVED, START + 2, [moved], [], [])
        return first, await store.orders(BTC), await store.orders("ETHUSDT")

    first, second, others = opened(play)
    assert list(first.items()) == [(one.client_order_id, one) for one in (order(1), order(2))]
    assert list(second.items()) == [(one.client_order_id, one) for one in (order(2), moved)]
    assert others == {}


def test_executions_come_back_oldest_first_each_once(opened):
    async def play(store):
        await store.save(BTC, SAVED, START, [], [fill("e2", START + 2)], [])
        await store.save(BTC, SAVED, START + 3, [], [fill("e1", START + 1), fill("e2", START + 9)], [])
        await store.save(BTC, SAVED, START + 4, [], [fill("e3", START + 3)], [])
        return await store.executions(BTC), await store.executions("ETHUSDT")

    assert opened(play) == (["e1", "e2", "e3"], [])


def test_it_says_that_it_can_be_written_to_and_takes_a_readable_copy(opened):
    async def play(store):
        await store.snapshot(BTC, "layout", '{"position": 1}', START)
        return await store.alive()

    assert opened(play) is True
