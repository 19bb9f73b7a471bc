"""One database and one bus for all bots of a data directory, and the move of a bot that had its own before."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import redis
from typer.testing import CliRunner

from bot.errors import Misconfigured
from bot.events import Decision
from bot.ports import Cause, Execution, Order, Saved
from services.app.backing import backing, bots_kept, database
from services.command_line.main import app
from services.processes import lives
from services.runtime.config import NONE
from services.storage import instance_lock, move, schema
from services.storage.archive import TABLES
from services.storage.backup import back_up, restore
from services.storage.embedded import EmbeddedPostgres, former_database, set_aside
from services.storage.instance_lock import InstanceLock
from services.storage.schema import migrate
from services.storage.store import PostgresStore, moment
from tests.conftest import ROOT
from tests.runtime.processes import heard, minute

START = 1_704_067_200_000
NAMES = itertools.count()


class Killed(BaseException):
    """The process dies here."""


@asynccontextmanager
async def former(data_dir, bot):
    """The database that the bot had for itself; yields its DSN."""
    postgres = EmbeddedPostgres(former_database(data_dir, bot).parent)
    yield await postgres.start()
    await postgres.stop()


async def fill(dsn, bot, count=3):
    """Give the bot so many rows in each table."""
    store = await PostgresStore.open(dsn, bot)
    for number in range(count):
        at = START + number
        order = Order(f"{bot}-{number}", 1, number, 1, 0, 100, 5, False, True, 0, -1, 0, 0)
        done = Execution(f"e{number}", "BTCUSDT", order.client_order_id, 1, 100, 5, 0.1, True, at, Cause.ORDER)
        decision = Decision("BTCUSDT", at, "flat", {"minutes": 0.1 + number})
        await store.save(f"PAIR{number}", Saved("layout", bytes([number])), at, [order], [(done, None)], [decision])
        await store.pool.execute(
            "INSERT INTO commands (bot, key, command, pair, force, who, source, at) "
            "VALUES ($1, $2, 'pause', '', false, 'me', 'ctl', $3)",
            *(bot, f"k{number}", moment(at)),
        )
        await store.pool.execute(
            "INSERT INTO signals (bot, symbol, number, signal, direction, stop, target, at, expires) "
            "VALUES ($1, 'BTCUSDT', $2, $3, 1, 90.0, 110.0, $4, $4)",
            *(bot, number + 1, f"s{number}", moment(at)),
        )
        await store.snapshot("BTCUSDT", "schema", '{"a": "ä,\\"\\n"}', at)
    await store.close()


async def rows_of(dsn, bot):
    """Every row of the bot, as text, without the numbers that the database gives."""
    connection = await asyncpg.connect(dsn)
    found = {}
    for table, order in TABLES.items():
        rows = await connection.fetch(f"SELECT * FROM {table} WHERE bot = $1 ORDER BY {order}", bot)
        found[table] = [{key: value for key, value in dict(row).items() if key != "id"} for row in rows]
    await connection.close()
    return found


async def fresh_database(dsn):
    """An empty database beside the one of the session."""
    name = f"shared{next(NAMES)}"
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return re.sub(r"/[^/?]*\?", f"/{name}?", dsn)


def test_a_former_database_is_moved_once_whenever_its_bot_was_killed_meanwhile(tmp_path, monkeypatch):
    """Killed in the middle, after the last row, after the transaction: nothing is doubled, nothing is lost."""
    copy, rename = move._copy, Path.rename

    async def copy_some(source, target, table, *rest):
        if table == "decisions":
            raise Killed
        await copy(source, target, table, *rest)

    async def start():
        async with backing("a", tmp_path, bus=NONE) as behind:
            return await rows_of(behind.database, "a"), await rows_of(behind.database, "b")

    async def main():
        async with former(tmp_path, "a") as dsn:
            await fill(dsn, "a")
            before = await rows_of(dsn, "a")
        async with backing("b", tmp_path, bus=NONE) as behind:
            await fill(behind.database, "b", 2)
            other = await rows_of(behind.database, "b")
            monkeypatch.setattr(move, "_copy", copy_some)
            with pytest.raises(Killed):
                await start()
            monkeypatch.setattr(move, "_copy", copy)
            assert not any((await rows_of(behind.database, "a")).values()), "a part of it was moved"
            monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(Killed()))
            with pytest.raises(Killed):
                await start()
            monkeypatch.setattr(Path, "rename", rename)
            assert await bots_kept(tmp_path) == ["a", "b"]
            first, again = await start(), await start()
        assert first == again == (before, other)
        assert all(len(rows) == 3 for rows in before.values())

    asyncio.run(main())
    assert not former_database(tmp_path, "a").exists()
    (kept,) = set_aside(tmp_path)
    assert (kept / "PG_VERSION").exists(), "what it was moved from is kept"
    assert not (kept / "postmaster.pid").exists(), "and its server has ended"


def test_a_former_database_of_an_older_version_is_migrated_before_it_is_moved(tmp_path):
    async def main():
        async with former(tmp_path, "a") as dsn:
            await migrate(dsn, to="0001")
            connection = await asyncpg.connect(dsn)
            await connection.execute("INSERT INTO memory VALUES ('a', 'portfolio', 'layout', 'x', $1)", moment(START))
            await connection.execute(
                "INSERT INTO notes (bot, name, kind, a, b, c, x, y, z, w, v, at) "
                "VALUES ('a', 'BTCUSDT', 'flat', 0, 0, 0, 5, 0, 0, 0, 0, $1)",
                moment(START),
            )
            await connection.close()
        async with backing("a", tmp_path, bus=NONE) as behind:
            return await behind.store.load("portfolio"), await behind.store.decisions(0)

    saved, decisions = asyncio.run(main())
    assert saved == Saved("layout", b"x")
    assert decisions == [Decision("BTCUSDT", START, "flat", {"minutes": 5.0})]


OLD_BOT = """
import asyncio, sys
from pathlib import Path
from services.storage.embedded import EmbeddedPostgres
from services.storage.instance_lock import InstanceLock

async def main():
    postgres = EmbeddedPostgres(Path(sys.argv[1]))
    async with InstanceLock.held(await postgres.start(), "a"):
        print("running", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
    await postgres.stop()

asyncio.run(main())
"""


def test_a_former_database_that_its_bot_trades_on_or_that_differs_is_not_moved(tmp_path, monkeypatch):
    monkeypatch.setattr(instance_lock, "PATIENCE", 0.2)

    async def refused(match):
        with pytest.raises(Misconfigured, match=match):
            async with backing("a", tmp_path, bus=NONE):
                pass

    async def main():
        async with former(tmp_path, "a") as dsn:
            await fill(dsn, "a")
        old = User(former_database(tmp_path, "a").parent, OLD_BOT)
        try:
            old.runs()
            await refused("bot 'a' already runs")
            async with database(tmp_path, "a") as found:
                assert found == dsn, "until it is moved, its own counts"
        finally:
            old.end()
        async with backing("b", tmp_path, bus=NONE) as behind:
            await fill(behind.database, "a", 2)
        await refused("others in its former one, bots/a/postgres")
        assert former_database(tmp_path, "a").exists()
        former_database(tmp_path, "a").rename(tmp_path / "away")
        async with backing("a", tmp_path, bus=NONE) as behind:
            assert len((await rows_of(behind.database, "a"))["fills"]) == 2

    asyncio.run(main())


def test_purge_deletes_what_was_moved_and_nothing_else(tmp_path):
    def purge(*arguments):
        return CliRunner().invoke(app, ["purge", *arguments], env={"TRADERAGENT_DATA_DIR": str(tmp_path)})

    assert "No former databases" in purge().stdout
    kept = [tmp_path / "bots" / "a" / "postgres", tmp_path / "shared" / "postgres"]
    gone = tmp_path / "bots" / "a" / "postgres.moved-1"
    for folder in (*kept, gone):
        folder.mkdir(parents=True)
        (folder / "rows").write_text("rows")
    asked = purge()
    assert isinstance(asked.exception, Misconfigured)
    assert "give --yes" in str(asked.exception)
    assert gone.exists()
    assert str(gone) in purge("--yes").stdout
    assert [one.exists() for one in (*kept, gone)] == [True, True, False]


def test_a_backup_holds_one_bots_rows_and_leaves_the_other_bots_alone(tmp_path, dsn):
    async def main():
        here = await fresh_database(dsn)
        await fill(here, "a")
        await fill(here, "b", 2)
        before = await rows_of(here, "a"), await rows_of(here, "b")
        contents = await back_up(here, "a", tmp_path / "a.zip")
        await restore(here, "a", tmp_path / "a.zip", replace=True)
        assert (await rows_of(here, "a"), await rows_of(here, "b")) == before
        with pytest.raises(Misconfigured, match="is of bot 'a'"):
            await restore(here, "b", tmp_path / "a.zip", replace=True)
        return contents.rows

    assert asyncio.run(main()) == dict.fromkeys(TABLES, 3)


def test_bots_that_start_at_once_on_an_empty_database_make_its_tables_once(dsn):
    async def main():
        here = await fresh_database(dsn)
        await asyncio.gather(*(migrate(here) for _ in range(4)))
        await fill(here, "a", 1)

    asyncio.run(main())


def test_tables_are_not_changed_under_a_bot_that_runs_and_newer_ones_are_refused(dsn, monkeypatch):
    async def version(here):
        connection = await asyncpg.connect(here)
        try:
            return await connection.fetchval("SELECT version_num FROM alembic_version")
        finally:
            await connection.close()

    async def main():
        here = await fresh_database(dsn)
        await migrate(here, to="0002")
        connection = await asyncpg.connect(here)
        for bot in ("a", "b"):
            await connection.execute("INSERT INTO memory VALUES ($1, 'portfolio', '', '', $2)", bot, moment(START))
        await connection.close()
        async with InstanceLock.held(here, "a"), InstanceLock.held(here, "b"):
            with pytest.raises(Misconfigured, match="bot 'a' runs on this database with an older version; stop it"):
                await PostgresStore.open(here, "b")
            assert await version(here) == "0002"
        async with InstanceLock.held(here, "b"):
            with pytest.raises(Misconfigured, match="bot 'b' runs"):
                await migrate(here)  # of a command that reads, while the bot runs
            await (await PostgresStore.open(here, "b")).close()
        assert await version(here) == schema.VERSION
        newest = schema.VERSION
        monkeypatch.setattr(schema, "VERSION", "0002")
        with pytest.raises(Misconfigured, match=rf"newer version \(tables {newest}, here 0002\)"):
            await PostgresStore.open(here, "a")

    asyncio.run(main())


def test_nobody_becomes_a_bot_while_the_tables_are_changed(dsn):
    async def main():
        here = await fresh_database(dsn)
        session = await asyncpg.connect(here)
        await session.execute("SELECT pg_advisory_lock($1)", schema.MIGRATING)
        lock = InstanceLock(here, "a")
        taking = asyncio.create_task(lock.take())
        while not await session.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            assert not taking.done()
        await session.execute("SELECT pg_advisory_unlock($1)", schema.MIGRATING)
        await taking
        await lock._session.close()
        await session.close()

    asyncio.run(main())


USER = """
import asyncio, sys
from pathlib import Path
from services.messaging.embedded import EmbeddedRedis
from services.storage import embedded

embedded.KEEP_SECONDS = 0.02

async def main():
    postgres, bus = embedded.EmbeddedPostgres(Path(sys.argv[1])), EmbeddedRedis(Path(sys.argv[1]))
    await asyncio.gather(postgres.start(), bus.start())
    keeping = asyncio.create_task(postgres.keep())
    print("running", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    keeping.cancel()
    await postgres.stop()
    await bus.stop()

asyncio.run(main())
"""


class User:
    """A process that uses the services of a data directory until it is told to end."""

    def __init__(self, folder, program=USER):
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def runs(self):
        while (line := self.process.stdout.readline()) and "running" not in line:
            pass
        assert line, "it has ended"

    def end(self, number=None):
        if number is not None:
            self.process.send_signal(number)
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def until(look, seconds=20):
    """Look until there is something; return it."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, look
        time.sleep(0.02)
    return found


def server_of(folder):
    """Process ids of the Postgres and of the Redis, by their own word."""

    async def ask():
        connection = await asyncpg.connect(f"postgresql://postgres:@/postgres?host={folder / 'postgres'}")
        try:
            return await connection.fetchval("SELECT pg_postmaster_start_time()")
        finally:
            await connection.close()

    asyncio.run(ask())
    with redis.Redis(unix_socket_path=str(folder / "redis.sock")) as client:
        bus = client.info("server")["process_id"]
    return int((folder / "postgres" / "postmaster.pid").read_text().split()[0]), bus


def test_the_first_starts_the_servers_a_dead_one_comes_back_for_all_and_the_last_stops_them(tmp_path):
    users = [User(tmp_path) for _ in range(3)]  # all at once
    try:
        for one in users:
            one.runs()
        postgres, bus = server_of(tmp_path)
        os.kill(postgres, signal.SIGKILL)

        def back():
            try:
                return server_of(tmp_path)
            except (OSError, IndexError, asyncpg.PostgresError):
                return None

        again, _ = until(back)
        assert again != postgres
        users[0].end(signal.SIGKILL)
        users[1].end()
        time.sleep(0.2)  # the one that is left has looked ten times, and found nothing to start
        assert server_of(tmp_path) == (again, bus), "one that left took a server from the other"
        users[2].end()
        until(lambda: not lives(again) and not lives(bus))
    finally:
        for one in users:
            one.end(signal.SIGKILL)


CAPITAL = 20_000
PAUSE = 0.1  # seconds between things of the market, for bots that are not compiled


@pytest.mark.slow
def test_two_bots_share_a_database_one_moved_with_positions_open_and_survive_its_death(processes, tmp_path):
    """F-65: one name runs once on a database that several share."""
    pairs = {"one": ("SOLUSDT",), "two": ("BTCUSDT",)}
    venues = {bot: processes.venue(chosen, CAPITAL) for bot, chosen in pairs.items()}
    grid = {"direction": "long", "trailing": "off", "profit_per_grid": 0.02, "levels": 15}
    configs = {
        bot: processes.config(bot, venues[bot], chosen, CAPITAL, auto={"router": "grid"}, grid=grid)
        for bot, chosen in pairs.items()
    }

    def play(minutes, chosen=("one", "two")):
        for _ in range(minutes):
            for bot in chosen:
                minute(venues[bot], PAUSE)
            time.sleep(PAUSE)

    def held(bot):
        now = json.loads(processes.finished("ctl", "status", "--bot", bot, "--json").stdout)
        return {one["pair"]: one["position"] for one in now["pairs"]}

    first = processes.run(configs["one"])
    play(65, ("one",))  # grids are laid when an hour closes, and buy at once what lies above the price
    positions = held("one")
    assert any(positions.values()), "it holds nothing: shows nothing"
    processes.finished("ctl", "stop", "--leave-entries", "--bot", "one")
    first.wait(60)
    shared = tmp_path / "shared" / "postgres"
    former_database(tmp_path, "one").parent.mkdir(parents=True, exist_ok=True)
    shared.rename(former_database(tmp_path, "one"))  # as the version before laid it

    bots = {bot: processes.start("run", configs[bot]) for bot in pairs}  # both at once
    for one in bots.values():
        heard(one, '"running"')
    assert held("one") == positions
    assert not former_database(tmp_path, "one").exists()
    assert "already runs on this database" in processes.finished("run", configs["one"]).stderr
    play(3)

    def server():
        """Process of the database; 0 between its death and its next start."""
        file = shared / "postmaster.pid"
        return int(file.read_text().split()[0]) if file.exists() and file.read_text() else 0

    before = server()
    os.kill(before, signal.SIGKILL)
    play(10)
    until(lambda: server() not in (0, before) and lives(server()))
    play(3)
    assert {bot: one.poll() for bot, one in bots.items()} == {"one": None, "two": None}
    for bot, address in venues.items():
        with urllib.request.urlopen(f"{address}/venue/audit") as answer:
            audit = json.load(answer)
        assert all(one["bare_minutes"] == 0 for one in audit["symbols"].values()), (bot, audit)
        assert audit["duplicate_ids"] == {"taken": 0, "refused": 0}, bot
        told = processes.finished("explain", "--bot", bot, "--pair", pairs[bot][0])
        assert told.returncode == 0, told
        assert processes.finished("stats", "--bot", bot, "--json").returncode == 0
    after = server()
    processes.finished("ctl", "stop", "--bot", "one")
    bots["one"].wait(60)
    assert lives(after), "the first to leave took the database from the other"
    processes.finished("ctl", "stop", "--bot", "two")
    bots["two"].wait(60)
    until(lambda: not lives(after))
