"""The embedded database ends with its last user, however that one ended."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import psutil

from services.postgres.embedded import EmbeddedPostgres, _lives


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
    assert not _lives(number)
