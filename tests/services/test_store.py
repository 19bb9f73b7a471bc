"""The tables and the store, on a real Postgres through the real driver."""

from __future__ import annotations

import asyncio
from importlib.resources import files

import asyncpg
from alembic.config import Config
from alembic.script import ScriptDirectory

from bot.ports import Cause, Execution, Saved
from services.storage.store import VERSION, PostgresStore, epoch, migrate, moment
from tests.conftest import START


def test_the_version_that_is_looked_for_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(files("services.storage") / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == VERSION


def test_f_60_every_time_is_a_timestamptz_and_comes_back_as_the_same_millisecond(dsn, name):
    """F-60: an aware time, written and read by the real driver."""

    async def main():
        store = await PostgresStore.open(dsn, name)
        await migrate(dsn)  # a second time changes nothing
        rows = await store.pool.fetch(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'public' AND data_type LIKE '%time%'"
        )
        at = START + 123_457
        execution = Execution("e1", "BTCUSDT", "", 1, 0, 0, 0.5, maker=False, ts=at, cause=Cause.FUNDING)
        await store.save("BTCUSDT", Saved("layout", b"x"), at, [], [(execution, None)], [])
        await store.save("BTCUSDT", Saved("layout", b"y"), at, [], [(execution, None)], [])
        found, memory, ids = await store.fills(), await store.load("BTCUSDT"), await store.executions("BTCUSDT")
        await store.close()
        return rows, found, memory, ids, at

    rows, found, memory, ids, at = asyncio.run(main())
    assert len(rows) >= 5
    assert {row["data_type"] for row in rows} == {"timestamp with time zone"}
    assert [one.ts for one in found] == [at], "F-23: the same execution is one row"
    assert (memory.data, ids) == (b"y", ["e1"])
    assert epoch(moment(at)) == at


def test_a_transaction_is_whole_or_not_at_all(dsn, name):
    async def main():
        store = await PostgresStore.open(dsn, name)
        broken = [("BTCUSDT", {})]  # no note: the last statement of the transaction fails
        try:
            await store.save("BTCUSDT", Saved("layout", b"x"), START, [], [], broken)
        except (KeyError, asyncpg.PostgresError) as error:
            failed = type(error).__name__
        left = await store.load("BTCUSDT")
        await store.close()
        return failed, left

    failed, left = asyncio.run(main())
    assert failed == "KeyError"
    assert left is None
