"""A whole installation in a file and back: a bot with positions goes to another machine, and trades on."""

from __future__ import annotations

import asyncio
import json
import stat
import time
import zipfile
from datetime import UTC, datetime

import asyncpg
import pytest

from bot.errors import Misconfigured
from services.app.schedule import KEPT_BACKUPS, TASKS, run_task
from services.keys.key_store import ApiKey, KeyName, KeyStore
from services.storage.installation import DUMP, MANIFEST, back_up_all, file_name, look_into_all, restore_all
from services.storage.instance_lock import InstanceLock
from services.storage.journal import JournalStore
from services.storage.read_pool import ReadPool
from services.storage.replays import ReplayStore
from services.storage.schema import migrate
from services.storage.store import PostgresStore
from tests.runtime.processes import Processes, minute
from tests.runtime.test_upgrade import CAPITAL, GRID, PAIRS, PAUSE, assert_kept, at_venue
from tests.services.test_backup import another_database
from tests.services.test_schedule import surroundings

KEY = KeyName("owner", "bybit", "demo")
NOON = 1_704_110_400_000  # ms


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A data directory with a key, a preset, and what is not backed up."""
    monkeypatch.delenv("TRADERAGENT_MASTER_KEY", raising=False)
    folder = tmp_path / "data"
    KeyStore(folder).add(KEY, ApiKey("key-0123456789", "secret-0123456789"))
    for name in ("presets/mine.yaml", "candles/large.parquet", "bots/main.log"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("whole")
    return folder


async def backed_up(dsn, folder, times=1):
    around = await surroundings(dsn, folder)
    task = next(one for one in TASKS if one.name == "backup")
    for _ in range(times):
        done = await run_task(task, around)
        assert done.fault is None
    await around.jobs.close()
    return max((folder / "backups").iterdir()), done.said


def test_a_backup_holds_what_cannot_be_made_anew_for_its_owner_alone(dsn, name, installed):
    async def main():
        await (await PostgresStore.open(dsn, name)).close()
        (installed / "backups").mkdir()
        for day in range(1, KEPT_BACKUPS + 2):
            (installed / "backups" / file_name(datetime(2024, 1, day, tzinfo=UTC))).touch()
        return await backed_up(dsn, installed)

    file, said = asyncio.run(main())
    assert "2 older ones removed" in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with zipfile.ZipFile(file) as archive:
        assert set(archive.namelist()) == {
            *(MANIFEST, DUMP, "data/keys/owner.bybit.demo.trading.json", "data/presets/mine.yaml"),
        }
        assert b"secret-0123456789" not in b"".join(archive.read(one) for one in archive.namelist())
    assert look_into_all(file).at <= datetime.now(UTC)
    assert [one.name for one in file.parent.iterdir() if not one.name.startswith("traderagent-2")] == []


def test_what_is_there_is_given_up_only_when_told_and_is_backed_up_first(dsn, name, installed, tmp_path):
    async def main():
        elsewhere = await another_database(dsn, f"whole_{name}")
        store = await PostgresStore.open(elsewhere, "other")
        await store.pool.execute("INSERT INTO memory VALUES ('other', 'x', '\\x00', '\\x00', now())")
        file, _ = await backed_up(dsn, installed)
        with pytest.raises(Misconfigured, match="holds bot other already; add --replace"):
            await restore_all(elsewhere, tmp_path / "new", file, replace=False)
        async with InstanceLock.held(elsewhere, "other"):
            with pytest.raises(Misconfigured, match="bot 'other' runs on this database"):
                await restore_all(elsewhere, tmp_path / "new", file, replace=True)
        assert not (tmp_path / "new").exists()
        assert await store.pool.fetchval("SELECT count(*) FROM memory") == 1
        await restore_all(elsewhere, tmp_path / "new", file, replace=True)
        kept = next(file.parent.glob("before-*"))
        assert look_into_all(kept).bots == ["other"]
        await store.close()

    asyncio.run(main())
    assert (tmp_path / "new" / "presets" / "mine.yaml").read_text() == "whole"
    with pytest.raises(Misconfigured, match="master key"):
        KeyStore(tmp_path / "new").read(KEY)
    (installed / "master.key").rename(tmp_path / "new" / "master.key")
    assert KeyStore(tmp_path / "new").read(KEY).secret == "secret-0123456789"


TRADE = {"symbol": "BTCUSDT", "timeframe": "5m", "pnl": 9.5, "entry_ts": NOON, "exit_ts": NOON + 60_000}
KEPT = ("replays", "replay_actions", "journal", "journal_outbox")


async def kept_of(dsn):
    """Every row of the replays and of the journal."""
    connection = await asyncpg.connect(dsn)
    try:
        return {one: [tuple(row) for row in await connection.fetch(f"TABLE {one} ORDER BY 1, 2")] for one in KEPT}
    finally:
        await connection.close()


def test_replays_and_the_journal_come_back_with_their_pictures_and_what_waits_to_be_sent(dsn, name, tmp_path):
    place = f"journal/{'a' * 16}/chart.png"

    async def main():
        before, elsewhere = [await another_database(dsn, f"{one}_{name}") for one in ("old", "new")]
        await migrate(before)
        pool = ReadPool(before)
        replays, journal = ReplayStore(pool), JournalStore(pool, ["hook"])
        await replays.begin("a" * 16, "owner", {"pair": "BTCUSDT", "blind": 0})
        for number, action in enumerate(({"do": "step", "bars": 3}, {"do": "note", "text": "why"}), 1):
            await replays.append("a" * 16, number, action)
        await journal.add("r-1", "replay", "a" * 16, TRADE, [place.partition("/")[2]], "late")
        await journal.edit("r-1", 1, "too late", ["asia"])
        await pool.close()
        (tmp_path / "old" / place).parent.mkdir(parents=True)
        (tmp_path / "old" / place).write_bytes(b"picture")
        file = tmp_path / "all.backup"
        await back_up_all(before, tmp_path / "old", file)
        await restore_all(elsewhere, tmp_path / "new", file, replace=False)
        return await kept_of(before), await kept_of(elsewhere)

    before, after = asyncio.run(main())
    assert after == before
    assert [len(after[one]) for one in KEPT] == [1, 2, 1, 2]
    assert (tmp_path / "new" / place).read_bytes() == b"picture"


def rewritten(file, change):
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def outside(members):
    contents = json.loads(members[MANIFEST])
    contents["checksums"]["data/keys/../../outside"] = contents["checksums"]["data/presets/mine.yaml"]
    members[MANIFEST] = json.dumps(contents)
    members["data/keys/../../outside"] = members["data/presets/mine.yaml"]


WRONG = {
    "a changed member": (lambda members: members.update({"data/presets/mine.yaml": b"other"}), "is damaged"),
    "a member too many": (lambda members: members.update({"data/presets/more.yaml": b""}), "not those that it names"),
    "a missing database": (lambda members: members.pop(DUMP), "not those that it names"),
    "no manifest": (lambda members: members.pop(MANIFEST), "has no installation.json"),
    "a place elsewhere": (outside, "does not belong there"),
    "a newer version": (
        lambda members: members.update({MANIFEST: members[MANIFEST].replace(b'"version": "0', b'"version": "9')}),
        "a newer version",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_not_as_it_was_written_is_refused(dsn, installed, case):
    change, sentence = WRONG[case]
    file, _ = asyncio.run(backed_up(dsn, installed))
    rewritten(file, change)
    with pytest.raises(Misconfigured, match=sentence):
        look_into_all(file)
    assert not (installed.parent / "outside").exists()


@pytest.fixture
def machines(tmp_path):
    """Two machines, each with a data directory of its own, whose bots are interpreted."""
    both = []
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        both.append(Processes(tmp_path / name))
        both[-1].environment["NUMBA_DISABLE_JIT"] = "1"
    yield both
    for one in reversed(both):
        one.end()


@pytest.mark.slow
def test_a_bot_with_positions_moves_to_another_machine_and_no_stop_is_cancelled_and_no_order_doubled(machines):
    """F-65, F-67."""
    old, new = machines
    address = old.venue(PAIRS, CAPITAL)

    def run_on(machine):
        chosen = {"auto": {"router": "grid"}, "grid": {**GRID, "levels": 15}}
        return machine.run(machine.config("u", address, PAIRS, CAPITAL, **chosen))

    def played(minutes):
        for _ in range(minutes):
            minute(address, PAUSE)
            time.sleep(PAUSE)

    running = run_on(old)
    played(65)  # grids are laid when an hour closes
    file = str(old.folder / "all.backup")
    early = old.finished("backup", "--out", file)
    assert early.returncode == 0, early.stderr
    busy = old.finished("restore", file, "--replace")
    assert (busy.returncode, "runs on this database" in busy.stderr) == (2, True), busy.stderr
    old.finished("ctl", "stop", "--leave-entries", "--bot", "u")
    running.wait(60)
    assert old.finished("backup", "--out", file).returncode == 0
    before = at_venue(address)
    assert any(position.lots for _, position in before.values()), "it holds nothing: shows nothing"
    restored = new.finished("restore", file)
    assert restored.returncode == 0, restored.stderr
    assert "restored bots u" in restored.stdout
    minute(address)  # the market goes on while nobody is there
    running = run_on(new)
    played(5)
    assert_kept(address, before, "the other machine")
    assert running.poll() is None
