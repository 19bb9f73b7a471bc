"""The tables and the store, on a real Postgres through the real driver."""

from __future__ import annotations

import asyncio
import math
import re
from importlib.resources import files

import asyncpg
from alembic.config import Config
from alembic.script import ScriptDirectory

from bot.candles import iso
from bot.events import Decision
from bot.ports import Cause, Execution, Saved
from services.storage.schema import VERSION, migrate
from services.storage.store import PostgresStore, epoch, moment
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


def test_a_decision_comes_back_as_it_was_made(dsn, name):
    made = [
        Decision("BTCUSDT", START, "mode", {"modes": ["reduced"], "day_loss": 0.1 + 0.2, "stress_share": None}),
        Decision("", START + 60_000, "zone", {"bottom": 1e-07, "died": None}),
    ]

    async def main():
        store = await PostgresStore.open(dsn, name)
        await store.save("BTCUSDT", Saved("layout", b"x"), START, [], [], made)
        found = await store.decisions(START), await store.decisions(START, START), await store.decisions(START + 1)
        await store.close()
        return found

    assert asyncio.run(main()) == (made, made[:1], made[1:])


def test_decisions_of_a_version_before_are_told_by_name(dsn, name):
    """What stood in columns a to v is read with the names that the columns had."""
    number = "".join(filter(str.isdigit, name))

    async def main():
        connection = await asyncpg.connect(dsn)
        await connection.execute(f"CREATE DATABASE before_{number}")
        await connection.close()
        before = re.sub(r"/[^/?]*\?", f"/before_{number}?", dsn)
        await migrate(before, to="0002")
        connection = await asyncpg.connect(before)
        rows = [
            ("regime", 1, 2, 0, 17.5, 0.6, math.nan, 0.0, 0.0),
            ("start", 1, 3, 0, 1214.0, 0.0, 0.0, 0.0, 0.0),
            ("mode", 0, 5, 0, 0.03, 0.04, math.nan, 0.5, 0.0),
            ("pause", 0, START, 0, 0.02, 0.0, 0.0, 0.0, 0.0),
            ("verdict", 2, 4, -1, 0.7, 0.4, 100.0, 110.0, 2.0),
        ]
        for row in rows:
            await connection.execute(
                "INSERT INTO notes (bot, name, kind, a, b, c, x, y, z, w, v, at) "
                "VALUES ($1, 'BTCUSDT', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                *(name, *row, moment(START)),
            )
        await connection.close()
        store = await PostgresStore.open(before, name)
        found = await store.decisions(0)
        await store.close()
        return found

    found = {one.kind: one.fields for one in asyncio.run(main())}
    assert found["regime"] == {
        "regime": "tight_range",
        "before": "wide_range",
        "adx": 17.5,
        "atr_pct": 0.6,
        "ema_divergence": None,
    }
    assert found["start"] == {"strategy": "dca", "variant": "cautious", "size": 1214.0}
    assert (found["mode"]["modes"], found["mode"]["multiplier"]) == (["reduced", "drawdown"], 0.5)
    assert found["pause"] == {"reason": "day_loss", "until": iso(START), "size": 0.02}
    assert (found["verdict"]["action"], found["verdict"]["side"], found["verdict"]["strategy"]) == (
        *("refused", "sell", "trend"),
    )
