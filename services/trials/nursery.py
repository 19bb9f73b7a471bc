"""The other end of chaos_life: begins lives of a bot, hears what they log, and sees that none outlives the run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import IO, Any

LONGEST_LINE = 1 << 22
LOUD = ("warning", "error", "critical")


class Born:
    """One life, by its process id."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.running, self.ended = asyncio.Event(), asyncio.Event()
        self.code: int | None = None
        self.last = ""  # the last thing that went wrong, in words
        self.events: Counter[str] = Counter()  # warnings and errors

    def send(self, name: signal.Signals) -> None:
        """Send a signal, if it lives."""
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.number, name)

    def heard(self, said: dict[str, Any]) -> None:
        """Take in a line of its log."""
        event = str(said.get("event"))
        if event == "running":
            self.running.set()
        if said.get("level") in LOUD:
            self.events[event] += 1 + int(said.get("repeated", 0))
            self.last = str(said.get("reason") or said.get("exception") or event).strip().splitlines()[-1]


class Nursery:
    """The process that the lives come from."""

    def __init__(self, log: Path | None = None) -> None:
        """`log`: file for every line that the lives write."""
        self.told: Counter[str] = Counter()  # warnings and errors of all lives, by event
        self.stray = ""  # the last line that belongs to no life
        self._log: IO[str] | None = log.open("w", encoding="utf-8") if log is not None else None
        self._lives: dict[int, Born] = {}
        self._ready = asyncio.Event()
        self._born: asyncio.Queue[Born] = asyncio.Queue()
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []

    async def open(self, config: Path, environment: dict[str, str]) -> None:
        """Start it, and wait until it has loaded the program."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.trials.chaos_life", str(config)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the run alone, which then ends this
            limit=LONGEST_LINE,
        )
        for stream, take in ((self._process.stdout, self._news), (self._process.stderr, self._line)):
            assert stream is not None
            self._readers.append(asyncio.create_task(_read(stream, take)))
        ends = [asyncio.create_task(self._ready.wait()), asyncio.create_task(self._process.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for one in ends:
            one.cancel()
        if not self._ready.is_set():
            raise RuntimeError(f"the bot's program could not be loaded: {self.stray}")

    async def bear(self) -> Born:
        """Begin a life."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        return await self._born.get()

    async def close(self) -> None:
        """End it, whatever lives of it and whatever that has started, a life before the one that would bury it."""
        for life in [one for one in self._lives.values() if not one.ended.is_set()]:
            life.send(signal.SIGKILL)
            await life.ended.wait()
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        for one in self._readers:
            one.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        if self._log is not None:
            self._log.close()
            self._log = None

    def _news(self, line: str) -> None:
        said = _object(line)
        match said.get("event"):
            case "ready":
                self._ready.set()
            case "born":
                born = self._lives.setdefault(int(said["life"]), Born(int(said["life"])))
                self._born.put_nowait(born)
            case "died":
                born = self._lives[int(said["life"])]
                born.code = int(said["code"])
                born.ended.set()

    def _line(self, line: str) -> None:
        """Take in a line of a log; a life that was killed may have written half of one."""
        if self._log is not None:
            self._log.write(line)
        said = _object(line)
        if "life" not in said:
            self.stray = line.strip() or self.stray
            return
        number = int(said["life"])
        self._lives.setdefault(number, Born(number)).heard(said)
        if said.get("level") in LOUD:
            self.told[str(said.get("event"))] += 1 + int(said.get("repeated", 0))


async def _read(stream: asyncio.StreamReader, take: Any) -> None:
    while line := await stream.readline():
        take(line.decode(errors="replace"))


def _object(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
