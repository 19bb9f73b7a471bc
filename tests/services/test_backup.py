"""A bot's rows in a file and back, and the claim that lets one process at a time be that bot."""

from __future__ import annotations

import asyncio
import json
import zipfile

import asyncpg
import pytest

from bot.errors import Misconfigured
from services.postgres import claim as claim_module
from services.postgres import store as store_module
from services.postgres.backup import MANIFEST, TABLES, back_up, look_into, restore
from services.postgres.claim import Claim
from services.postgres.store import PostgresStore
from tests.runtime.house import Bot, config, exchange_for, venue


async def rows_of(dsn, name):
    """Every row of the bot but for the numbers that the database gives."""
    connection = await asyncpg.connect(dsn)
    found = {
        table: [
            {key: value for key, value in dict(row).items() if key != "id"}
            for row in await connection.fetch(f"SELECT * FROM {table} WHERE bot = $1 ORDER BY {order}", name)
        ]
        for table, order in TABLES.items()
    }
    await connection.close()
    return found


async def another_database(dsn, name):
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    assert "/postgres?" in dsn
    return dsn.replace("/postgres?", f"/{name}?")


def test_f_65_a_bot_moves_to_another_database_and_books_what_it_missed(dsn, name, tmp_path):
    """F-65: backup while it trades, more trading, restore elsewhere: memory and venue agree, and it trades on."""
    file = tmp_path / "backup.zip"

    async def main():
        chosen = config()
        exchange = exchange_for(chosen)
        async with venue(exchange) as house:
            first = Bot(chosen, house.address, dsn, name)
            await first.start()
            for _ in range(300):
                await first.steps.minute()
            before = await rows_of(dsn, name)
            contents = await back_up(dsn, name, file)
            fills_then = len(exchange.trades)
            for _ in range(200):
                await first.steps.minute()
            await first.stop()
            missed = len(exchange.trades) - fills_then
            elsewhere = await another_database(dsn, name)
            await restore(elsewhere, name, file, replace=False)
            after = await rows_of(elsewhere, name)
            second = Bot(chosen, house.address, elsewhere, name)
            await second.start()
            for _ in range(200):
                await second.steps.minute()
            held = {pair: int(loop.machine.pairs[0].ledger.position) for pair, loop in second.runtime.loops.items()}
            booked = {one.id for one in await second.store.fills()}
            await second.stop()
            return contents, before, after, missed, held, booked, exchange

    contents, before, after, missed, held, booked, exchange = asyncio.run(main())
    assert after == before
    assert contents.rows == {table: len(rows) for table, rows in before.items()}
    assert contents.rows["orders"] > 10
    assert missed > 0, "nothing was traded between backup and restore; the test shows nothing"
    assert booked == {one.id for one in exchange.trades}
    assert held == {pair: exchange.books[pair].position for pair in held}


@pytest.fixture
def kept(dsn, name, tmp_path):
    """A backup of a bot that has one row, and its file."""
    file = tmp_path / "kept.zip"

    async def main():
        store = await PostgresStore.open(dsn, name)
        await store.snapshot("BTCUSDT", "schema", '{"a": "ä,\\"\\n"}', 1_704_067_200_000)
        await store.close()
        await back_up(dsn, name, file)
        return await rows_of(dsn, name)

    return file, asyncio.run(main())


def rewritten(file, change):
    """The same backup with some of its members changed."""
    with zipfile.ZipFile(file) as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    change(members)
    other = file.with_name("changed.zip")
    with zipfile.ZipFile(other, "w") as archive:
        for one, data in members.items():
            archive.writestr(one, data)
    return other


def manifest(**values):
    def change(members):
        members[MANIFEST] = json.dumps({**json.loads(members[MANIFEST]), **values}).encode()

    return change


def fewer_rows(members):
    members["snapshots.csv"] = members["snapshots.csv"].splitlines(keepends=True)[0]


def another_column(members):
    members["snapshots.csv"] = members["snapshots.csv"].replace(b"schema", b"nonsense", 1)


def broken_value(members):
    members["snapshots.csv"] = members["snapshots.csv"].replace(b"2024-01-01", b"yesterday-ish", 1)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (manifest(bot="other"), "is of bot 'other'"),
        (manifest(version="9999"), "newer version"),
        (fewer_rows, "damaged"),
        (another_column, "damaged"),
        (broken_value, "damaged"),
        (lambda members: members.pop("notes.csv"), "damaged"),
        (lambda members: members.pop(MANIFEST), "no backup"),
    ],
)
def test_what_cannot_be_restored_is_refused_and_changes_nothing(dsn, name, kept, change, sentence):
    file, before = kept
    with pytest.raises(Misconfigured, match=sentence):
        asyncio.run(restore(dsn, name, rewritten(file, change), replace=True))
    assert asyncio.run(rows_of(dsn, name)) == before


def test_rows_that_are_there_are_given_up_only_when_told(dsn, name, kept):
    file, before = kept
    with pytest.raises(Misconfigured, match="--replace"):
        asyncio.run(restore(dsn, name, file, replace=False))
    asyncio.run(restore(dsn, name, file, replace=True))
    assert asyncio.run(rows_of(dsn, name)) == before
    assert look_into(file).rows["snapshots"] == 1


def test_two_processes_cannot_be_the_same_bot(dsn, name, monkeypatch):
    monkeypatch.setattr(claim_module, "PATIENCE", 0.2)

    async def main():
        async with Claim.held(dsn, name):
            with pytest.raises(Misconfigured, match=f"bot '{name}' already runs"):
                async with Claim.held(dsn, name):
                    pass
            async with Claim.held(dsn, f"{name}x"):  # another bot may
                pass
        async with Claim.held(dsn, name):  # and the same one afterwards
            pass

    asyncio.run(main())


class Watched(Claim):
    """Says when it has been taken again."""

    async def take(self):
        await super().take()
        self.taken = getattr(self, "taken", asyncio.Event())
        self.taken.set()


def test_a_claim_that_the_database_drops_is_taken_again_unless_another_was_faster(dsn, name, monkeypatch):
    monkeypatch.setattr(claim_module, "PATIENCE", 0.2)

    async def main():
        admin = await asyncpg.connect(dsn)

        async def drop(claim):
            claim.taken.clear()
            await admin.execute("SELECT pg_terminate_backend($1)", claim._session.get_server_pid())
            await claim._lost.wait()

        async with Watched.held(dsn, name) as claim:
            await drop(claim)
            keeper = asyncio.create_task(claim.keep())
            await claim.taken.wait()
            with pytest.raises(Misconfigured, match="already runs"):
                async with Claim.held(dsn, name):
                    pass
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await drop(claim)
            async with Claim.held(dsn, name):
                with pytest.raises(Misconfigured, match="already runs"):
                    await claim.keep()
        await admin.close()

    asyncio.run(main())


def test_a_place_that_cannot_be_written_is_one_sentence(dsn, name, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match=r"cannot be written \(.+\); give another place with --out"):
        asyncio.run(back_up(dsn, name, tmp_path / "file" / "backup.zip"))


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://nobody@127.0.0.1:1/x",
        "bogus://x",
        lambda dsn: dsn.replace("/postgres?", "/nowhere?"),
        lambda dsn: dsn.replace("postgres:@", "nobody:@"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_sentence(dsn, address, monkeypatch):
    monkeypatch.setattr(store_module, "START_SECONDS", 0.0)
    address = address(dsn) if callable(address) else address
    assert address != dsn
    with pytest.raises(Misconfigured, match=r"bot\.database cannot be used \(\w+\); check its address") as caught:
        asyncio.run(store_module.reach(address))
    assert address not in str(caught.value), "an address may hold a password"
    asyncio.run(store_module.reach(dsn))
