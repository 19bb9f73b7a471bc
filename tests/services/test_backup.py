"""A bot's rows in a file and back, and the claim that lets one process at a time be that bot."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
import struct
import subprocess
import sys
import zipfile
import zlib

import asyncpg
import pytest

from bot.errors import Misconfigured
from bot.events import Decision
from bot.ports import Cause, Execution, NotPermitted, Order
from bot.sources import ROOT
from coordinator.migrations import MIGRATIONS
from coordinator.saved_state import LAYOUT, LENGTH
from services.runtime.memories import empty_memories
from services.storage import archive as archive_module
from services.storage import instance_lock
from services.storage import store as store_module
from services.storage.archive import LARGEST, MANIFEST, TABLES, look_into
from services.storage.backup import back_up, restore
from services.storage.instance_lock import InstanceLock
from services.storage.read_pool import ReadPool
from services.storage.signal_rows import SignalRows
from services.storage.store import PostgresStore
from tests.runtime.house import Bot, command, config, exchange_for, venue


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


def test_f_65_a_bot_moves_to_another_database_and_books_what_it_missed(dsn, name, tmp_path, monkeypatch):
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
            second = Bot(chosen, house.address, elsewhere, name, options={"adopt": True})
            with pytest.raises(NotPermitted, match="--adopt"):  # orders rest that an older database does not know
                await Bot(chosen, house.address, elsewhere, name).start()
            monkeypatch.setattr("services.runtime.preflight.LISTEN_SECONDS", 0.0)
            await second.start()
            for _ in range(200):
                await second.steps.minute()
            held = {
                pair: int(loop.core.machine.pairs[0].ledger.position) for pair, loop in second.runtime.loops.items()
            }
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


PAIRS = ("BTCUSDT", "SOLUSDT")
MIGRATED = f'"migrations":{len(MIGRATIONS)}'.encode()


@pytest.fixture(scope="module")
def memories():
    """The arrays that a bot of the tests' config would load its memory into."""
    return empty_memories(config(PAIRS))


@pytest.fixture
def kept(dsn, name, tmp_path, memories):
    """A backup of a bot that has a row in every table, its file, and the rows."""
    file = tmp_path / "kept.zip"

    async def main():
        store = await PostgresStore.open(dsn, name)
        await store.snapshot("BTCUSDT", "schema", '{"a": "ä,\\"\\n"}', 1_704_067_200_000)
        order = Order("l1", 1, 0, 1, 0, 100, 5, False, True, 0, -1, 0, 0)
        fill = Execution("e1", "BTCUSDT", "l1", 1, 100, 5, 0.1, True, 1_704_067_200_000, Cause.ORDER)
        decision = Decision("BTCUSDT", 1_704_067_200_000, "flat", {"minutes": 1.5})
        await store.begin_command(command("pause", key="k1", who="ann"), 1_704_067_200_000)
        saved = memories["BTCUSDT"].saved()
        await store.save("BTCUSDT", saved, 1_704_067_200_000, [order], [(fill, None)], [decision])
        await store.close()
        pool = ReadPool(dsn)
        await SignalRows(pool).add(name, "BTCUSDT", "a", 1, 40_000.0, 50_000.0, 60.0)
        await pool.close()
        await back_up(dsn, name, file)
        return await rows_of(dsn, name)

    return file, asyncio.run(main())


def rewritten(file, change, *, checksums=True):
    """The same backup with some of its members changed, and the checksums after that unless told otherwise."""
    with zipfile.ZipFile(file) as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    change(members)
    if checksums and MANIFEST in members:
        told = json.loads(members[MANIFEST])
        sums = {one: hashlib.sha256(data).hexdigest() for one, data in members.items() if one in told["checksums"]}
        members[MANIFEST] = json.dumps({**told, "checksums": {**told["checksums"], **sums}}).encode()
    other = file.with_name("changed.zip")
    with zipfile.ZipFile(other, "w") as archive:
        for one, data in members.items():
            archive.writestr(one, data)
    return other


def manifest(**values):
    def change(members):
        members[MANIFEST] = json.dumps({**json.loads(members[MANIFEST]), **values}).encode()

    return change


def replaced(member, old, new):
    def change(members):
        assert old in members[member]
        members[member] = members[member].replace(old, new, 1)

    return change


def fewer_rows(members):
    members["snapshots.csv"] = members["snapshots.csv"].splitlines(keepends=True)[0]


def other_bots_row(members):
    header, row = members["orders.csv"].splitlines(keepends=True)
    bot = row.partition(b",")[0]
    members["orders.csv"] = header + row.replace(bot, b"other", 1)


def payload(data):
    """Another memory of the pair: `data` of the true one's bytes."""

    def change(members):
        header, row = members["memory.csv"].splitlines(keepends=True)
        values = row.split(b",")
        at = next(index for index, value in enumerate(values) if b"\\x" in value)
        values[at] = b"\\x" + data(bytes.fromhex(values[at].strip(b'"\n')[2:].decode())).hex().encode()
        members["memory.csv"] = header + b",".join(values)

    return change


def parts(true):
    """Header and body of what is stored of a pair, as they were before they were compressed."""
    body = LENGTH + int.from_bytes(true[:LENGTH])
    return zlib.decompress(true[LENGTH:body]), zlib.decompress(true[body:])


def joined(header, body):
    packed = zlib.compress(header)
    return len(packed).to_bytes(LENGTH) + packed + zlib.compress(body)


def with_body(change):
    def changed(true):
        header, body = parts(true)
        return joined(header, change(body))

    return changed


def with_header(old, new):
    def changed(true):
        header, body = parts(true)
        return joined(header.replace(old, new), body)

    return changed


def bomb(_true):
    """A gigabyte of nothing."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(1024)) + packer.flush()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (manifest(bot="other"), "is of bot 'other'"),
        (manifest(version="9999"), "newer version"),
        (manifest(version="0001"), "older version"),
        (manifest(format=2), "newer version"),
        (manifest(format="1"), "no backup"),
        (manifest(rows={}), "damaged"),
        (manifest(rows={"memory": -1}), "no backup"),
        (manifest(more=1), "no backup"),
        (replaced(MANIFEST, b'"format"', b'"form"'), "no backup"),
        (fewer_rows, "damaged"),
        (other_bots_row, "rows of another bot"),
        (replaced("snapshots.csv", b"schema", b"nonsense"), "damaged"),
        (replaced("snapshots.csv", b"2024-01-01", b"yesterday-ish"), "damaged"),
        (replaced("orders.csv", b",100,5,", b",100,many,"), "damaged"),
        (replaced("orders.csv", b",1,0,1,0,100,5,", b",1,0,7,0,100,5,"), "cannot load"),
        (replaced("orders.csv", b"2024-01-01 00:00:00+00", b"infinity"), "cannot load"),
        (replaced("fills.csv", b",order", b",chance"), "cannot load"),
        (payload(lambda true: true[:-9]), "state of BTCUSDT is damaged"),
        (payload(lambda true: b"no zlib"), "state of BTCUSDT is damaged"),
        (payload(with_body(lambda body: body + b"x")), "state of BTCUSDT is damaged"),
        (payload(with_body(lambda body: body[:-1])), "state of BTCUSDT is damaged"),
        (payload(with_body(lambda _: bytes(1 << 30))), "state of BTCUSDT is damaged"),
        (payload(with_header(b'"<i8"', b'"|O8"')), "state of BTCUSDT is damaged"),
        (payload(with_header(b"[1]", b"[99999999999]")), "state of BTCUSDT is damaged"),
        (payload(with_header(MIGRATED, b'"migrations":77')), "state of BTCUSDT was written by a newer version"),
        (payload(lambda true: true + b"more"), "state of BTCUSDT is damaged"),
        (payload(bomb), "state of BTCUSDT is damaged"),
        (replaced("memory.csv", LAYOUT.encode(), b"f" * 16), "this one cannot read"),
        (lambda members: members.pop("decisions.csv"), "damaged"),
        (lambda members: members.pop(MANIFEST), "no backup"),
        (lambda members: members.update({"more.csv": b""}), "holds 9 members"),
        (lambda members: members.update({"../notes.csv": members.pop("decisions.csv")}), r"holds '\.\./notes\.csv'"),
        (lambda members: members.update({"/etc/x": members.pop("decisions.csv")}), "holds '/etc/x'"),
    ],
)
def test_what_cannot_be_restored_is_refused_and_changes_nothing(dsn, name, kept, memories, change, sentence):
    file, before = kept
    with pytest.raises(Misconfigured, match=sentence) as caught:
        asyncio.run(restore(dsn, name, rewritten(file, change), replace=True, memories=memories))
    assert "\n" not in str(caught.value)
    assert asyncio.run(rows_of(dsn, name)) == before


def test_a_member_that_was_changed_since_the_backup_is_found_by_its_checksum(dsn, name, kept):
    file, before = kept
    other = rewritten(file, replaced("fills.csv", b"e1", b"e2"), checksums=False)
    with pytest.raises(Misconfigured, match=r"the checksum of fills\.csv is another"):
        asyncio.run(restore(dsn, name, other, replace=True))
    assert asyncio.run(rows_of(dsn, name)) == before


def test_a_backup_of_every_table_is_restored_as_it_was(dsn, name, kept, memories):
    file, before = kept
    assert all(before.values())
    asyncio.run(restore(dsn, name, file, replace=True, memories=memories))
    assert asyncio.run(rows_of(dsn, name)) == before


def never_read(*_):
    raise AssertionError("a member was read")


def directory_says(file, field, value):
    """The same file, and another size in what its directory says of the first member."""
    data = bytearray(file.read_bytes())
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<L", data, at + field, value)
    other = file.with_name("lies.zip")
    other.write_bytes(data)
    return other


def with_member(file, member, data, packing=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(file) as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    other = file.with_name("large.zip")
    with zipfile.ZipFile(other, "w", packing) as archive:
        for one, own in members.items():
            archive.writestr(one, data if one == member else own)
    return other


def test_sizes_are_judged_from_the_zips_directory_before_anything_is_read(kept, monkeypatch):
    file, _ = kept
    plain = rewritten(file, lambda members: None)
    wrong = [
        (with_member(file, MANIFEST, b"x" * 100_000).rename(file.with_name("1.zip")), "more than the 65,536"),
        (
            with_member(file, "decisions.csv", bytes(50 << 20)).rename(file.with_name("2.zip")),
            "packed more than 200 to one",
        ),
        (with_member(file, "decisions.csv", b"a", zipfile.ZIP_LZMA), "packed in another way"),
        (directory_says(plain, 24, 3 << 30).rename(file.with_name("3.zip")), r"more than the 1,073,741,824"),
        (directory_says(plain, 20, 1 << 30).rename(file.with_name("4.zip")), "overlap"),
    ]
    monkeypatch.setattr(zipfile.ZipFile, "open", never_read)
    for other, sentence in wrong:
        with pytest.raises(Misconfigured, match=sentence):
            look_into(other)
    monkeypatch.setattr(archive_module, "LARGEST_IN_ALL", 10)
    with pytest.raises(Misconfigured, match="would be more than 10 bytes"):
        look_into(plain)


def test_a_directory_of_many_members_is_refused_before_it_is_read(tmp_path, monkeypatch):
    other = tmp_path / "many.zip"
    with zipfile.ZipFile(other, "w") as archive:
        for number in range(70_000):  # so many that the zip ends in the larger record
            archive.writestr(f"{number}", b"")
    monkeypatch.setattr(archive_module.zipfile, "ZipFile", never_read)
    with pytest.raises(Misconfigured, match="holds 70000 members"):
        look_into(other)


def test_a_member_that_is_there_twice_is_refused(kept):
    file, _ = kept
    plain = rewritten(file, lambda members: members.pop("decisions.csv"))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(plain, "a") as archive:
        archive.writestr("fills.csv", b"")
    with pytest.raises(Misconfigured, match=r"fills\.csv twice"):
        look_into(plain)


@pytest.mark.parametrize(
    "kind", ["empty", "text", "cut", "flipped", "manifest", "directory", "missing", "encrypted", "method"]
)
def test_a_file_that_is_no_backup_is_one_sentence(kept, tmp_path, kind):
    file, _ = kept
    data = bytearray(rewritten(file, lambda members: None).read_bytes())
    if kind == "manifest":
        data = bytearray(with_member(file, MANIFEST, b"[").read_bytes())
    if kind == "cut":
        data = data[: len(data) // 2]
    if kind == "flipped":
        data[data.index(b"e1")] ^= 1
    if kind == "encrypted":
        data[data.index(b"PK\x01\x02") + 8] |= 1
    if kind == "method":
        data[data.index(b"PK\x01\x02") + 6] = 99
    other = tmp_path / "other.zip"
    other.write_bytes({"empty": b"", "text": b"hello\n" * 1000}.get(kind, bytes(data)))
    other = {"directory": tmp_path, "missing": tmp_path / "none.zip"}.get(kind, other)
    with pytest.raises(Misconfigured, match=r"is no backup") as caught:
        look_into(other)
    assert "\n" not in str(caught.value)


def test_a_backup_is_its_owners_alone_and_leaves_nothing_beside_it(dsn, name, kept):
    file, _ = kept
    file.chmod(0o644)  # an earlier one
    asyncio.run(back_up(dsn, name, file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_backup_that_fails_on_the_way_leaves_the_last_one(dsn, name, kept, monkeypatch):
    file, _ = kept
    before = file.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Misconfigured, match="No space left on device"):
        asyncio.run(back_up(dsn, name, file))
    assert file.read_bytes() == before
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_the_sizes_known_are_those_of_the_members_there_are():
    assert set(LARGEST) == {MANIFEST, *(f"{table}.csv" for table in TABLES)}


def test_a_file_that_cannot_be_restored_is_exit_code_2_before_a_database_is_started(tmp_path):
    (tmp_path / "bot.yaml").write_text("strategy: auto\npairs: [BTCUSDT]\nbot: {name: x, environment: demo}\n")
    (tmp_path / "odd.zip").write_bytes(b"hello")
    done = subprocess.run(
        [sys.executable, "-m", "bot", "restore", str(tmp_path / "bot.yaml"), str(tmp_path / "odd.zip")],
        cwd=ROOT,
        env={**os.environ, "TRADERAGENT_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_rows_that_are_there_are_given_up_only_when_told(dsn, name, kept):
    file, before = kept
    with pytest.raises(Misconfigured, match="--replace"):
        asyncio.run(restore(dsn, name, file, replace=False))
    asyncio.run(restore(dsn, name, file, replace=True))
    assert asyncio.run(rows_of(dsn, name)) == before
    assert look_into(file).rows["snapshots"] == 1


def test_two_processes_cannot_be_the_same_bot(dsn, name, monkeypatch):
    monkeypatch.setattr(instance_lock, "PATIENCE", 0.2)

    async def main():
        async with InstanceLock.held(dsn, name):
            with pytest.raises(Misconfigured, match=f"bot '{name}' already runs"):
                async with InstanceLock.held(dsn, name):
                    pass
            async with InstanceLock.held(dsn, f"{name}x"):  # another bot may
                pass
        async with InstanceLock.held(dsn, name):  # and the same one afterwards
            pass

    asyncio.run(main())


class Watched(InstanceLock):
    """Says when it has been taken again."""

    async def take(self):
        await super().take()
        self.taken = getattr(self, "taken", asyncio.Event())
        self.taken.set()


def test_a_claim_that_the_database_drops_is_taken_again_unless_another_was_faster(dsn, name, monkeypatch):
    monkeypatch.setattr(instance_lock, "PATIENCE", 0.2)

    async def main():
        admin = await asyncpg.connect(dsn)

        async def drop(lock):
            lock.taken.clear()
            await admin.execute("SELECT pg_terminate_backend($1)", lock._session.get_server_pid())
            await lock._lost.wait()

        async with Watched.held(dsn, name) as lock:
            await drop(lock)
            supervisor = asyncio.create_task(lock.keep())
            await lock.taken.wait()
            with pytest.raises(Misconfigured, match="already runs"):
                async with InstanceLock.held(dsn, name):
                    pass
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)
            await drop(lock)
            async with InstanceLock.held(dsn, name):
                with pytest.raises(Misconfigured, match="already runs"):
                    await lock.keep()
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
