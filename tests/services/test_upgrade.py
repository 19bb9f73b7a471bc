"""What `traderagent upgrade` refuses before it tries anything, and the copy that it tries everything on."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
import yaml

from bot.errors import Misconfigured
from services.app.upgrade import UpgradedBot, look, play_sessions, switch
from services.command_line.upgrade import _compare, _read
from services.runtime.config import load_bot
from services.storage.installation import back_up_all, upgraded_copy
from services.storage.instance_lock import InstanceLock
from services.storage.schema import VERSION, migrate
from services.storage.store import PostgresStore
from tests.services.test_backup import another_database


def bot_named(folder, called, **more):
    path = folder / f"{called}.yaml"
    bot = {"name": called, "environment": "venue", "address": "http://127.0.0.1:1", "data_dir": str(folder), **more}
    path.write_text(yaml.safe_dump({"strategy": "auto", "pairs": ["BTCUSDT"], "bot": bot}))
    return UpgradedBot(path, *load_bot(path))


async def with_rows(dsn, name, *bots):
    """Make a database in which bots have rows; returns its address."""
    elsewhere = await another_database(dsn, f"upgrade_{name}")
    for bot in bots:
        store = await PostgresStore.open(elsewhere, bot)
        await store.pool.execute("INSERT INTO memory VALUES ($1, 'x', '', '\\x00', now())", bot)
        await store.close()
    return elsewhere


def test_bots_that_run_elsewhere_or_were_not_named_are_refused_and_others_are_said(dsn, name, tmp_path):
    async def main():
        elsewhere = await with_rows(dsn, name, "main", "other")
        main = bot_named(tmp_path, "main")
        found = await look(elsewhere, tmp_path, [main])
        assert (found.version, found.running, found.stored, found.others) == (VERSION, (), ("main",), ("other",))
        async with InstanceLock.held(elsewhere, "other"):
            with pytest.raises(Misconfigured, match="bot 'other' runs on this database too; give its config"):
                await look(elsewhere, tmp_path, [main])
        async with InstanceLock.held(elsewhere, "main"):
            with pytest.raises(Misconfigured, match="bot 'main' runs on another machine"):
                await look(elsewhere, tmp_path, [main])
        await migrate(elsewhere)
        session = await asyncpg.connect(elsewhere)
        await session.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(Misconfigured, match="tables 9999"):
            await look(elsewhere, tmp_path, [main])
        await session.execute("DROP TABLE alembic_version")
        await session.close()
        with pytest.raises(Misconfigured, match="is empty; start bots with this version"):
            await look(elsewhere, tmp_path, [main])

    asyncio.run(main())


def test_tables_of_an_older_version_are_backed_up_as_they_are_and_brought_up_to_date_on_the_copy(dsn, name, tmp_path):
    async def main():
        elsewhere = await another_database(dsn, f"older_{name}")
        await migrate(elsewhere, to="0008")
        file = tmp_path / "file.backup"
        assert (await back_up_all(elsewhere, tmp_path, file)).version == "0008"
        async with upgraded_copy(elsewhere, file) as copy:
            assert await version(copy) == VERSION
            with pytest.raises(Misconfigured, match="another upgrade of this database runs"):
                async with upgraded_copy(elsewhere, file):
                    pytest.fail("it was let in")
        assert await version(elsewhere) == "0008"
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await version(copy)

    asyncio.run(main())


def test_tables_that_cannot_be_brought_up_to_date_are_a_sentence_and_stay_as_they_are(dsn, name, tmp_path):
    async def main():
        elsewhere = await another_database(dsn, f"odd_{name}")
        await migrate(elsewhere, to="0008")
        session = await asyncpg.connect(elsewhere)
        await session.execute("CREATE TABLE journal (other text)")  # which a later migration makes
        await session.close()
        file = tmp_path / "file.backup"
        await back_up_all(elsewhere, tmp_path, file)
        with pytest.raises(Misconfigured, match=r"cannot be brought up to date: .*journal"):
            async with upgraded_copy(elsewhere, file):
                pytest.fail("it was let in")
        assert await version(elsewhere) == "0008"

    asyncio.run(main())


async def version(dsn):
    session = await asyncpg.connect(dsn)
    try:
        return await session.fetchval("SELECT version_num FROM alembic_version")
    finally:
        await session.close()


def test_a_database_whose_user_may_make_no_copy_is_refused_with_what_to_do(dsn, name, tmp_path):
    async def main():
        elsewhere = await with_rows(dsn, name, "main")
        session = await asyncpg.connect(elsewhere)
        await session.execute(f"CREATE ROLE {name}_small LOGIN")
        await session.execute(f"GRANT ALL ON SCHEMA public TO {name}_small")
        await session.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}_small")
        await session.close()
        small = elsewhere.replace("postgres:@", f"{name}_small:@")
        file = tmp_path / "file.backup"
        await back_up_all(elsewhere, tmp_path, file)
        with pytest.raises(Misconfigured, match="ALTER ROLE"):
            async with upgraded_copy(small, file):
                pytest.fail("it was let in")

    asyncio.run(main())


def test_a_pair_without_a_session_is_refused_unless_that_is_accepted(tmp_path, capsys):
    one = bot_named(tmp_path, "main")
    played, faults = play_sessions(one, lambda _share: None)
    assert (played, len(faults)) == (0, 1)
    with pytest.raises(Misconfigured, match=r"keeps no session of BTCUSDT.*give --accept-differences"):
        _compare([one], accept=False)
    _compare([one], accept=True)
    assert "accepted: bot 'main' keeps no session" in capsys.readouterr().out


def test_a_damaged_session_is_a_sentence(tmp_path):
    one = bot_named(tmp_path, "main")
    folder = tmp_path / "bots" / "main" / "sessions"
    folder.mkdir(parents=True)
    (folder / "BTCUSDT-1.jsonl").write_text('{"session": 1}\n')
    assert "this is no session of a pair of this version" in play_sessions(one, lambda _share: None)[1][0]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"database": "postgresql://other@127.0.0.1/other"}, "have another bot.database"),
        ({"name": "main"}, "bot.name is 'main' in several configs"),
    ],
)
def test_configs_that_do_not_belong_together_are_refused(tmp_path, more, sentence):
    bot_named(tmp_path, "main")
    second = bot_named(tmp_path, "second", **more)
    with pytest.raises(Misconfigured, match=sentence):
        _read([tmp_path / "main.yaml", second.path])


def test_a_refusal_after_the_stop_says_that_bots_have_to_be_started_again(dsn, name, tmp_path):
    """The bot's control interface is gone, as after a kill between the look and the stop."""

    async def main():
        elsewhere = await with_rows(dsn, name, "main")
        with pytest.raises(Misconfigured, match="start main again with the version before"):
            await switch(elsewhere, tmp_path, [], ("main",), tmp_path / "file.backup")
        assert await version(elsewhere) == VERSION

    asyncio.run(main())
