"""The process that answers what needs the search's code, from the side of the console; and reports that it plays."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from bot.errors import Misconfigured
from bot.ports import Unreachable
from bot.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger()

PROGRAM = "services.app.research_answers"
IDLE_SECONDS = 600.0  # without a question, after which it ends
LONGEST_ANSWER = 1 << 26  # bytes
STAYING = ("defaults", "parameters")  # answers that stand as long as the program does
ENDED = "the process that reads searches has ended; ask again, and look at the console's log if it goes on"
REPORT = re.compile(r"[0-9a-f]{32}")
MOST_WAITING = 20  # reports
READY, PLAYING, FAILED = "ready", "playing", "failed"


class ResearchProcess:
    """Asks one question after the other; the process begins with the first, and rests when nobody asks."""

    def __init__(self, data_dir: Path, seconds: float = 60.0, program: str = PROGRAM) -> None:
        """`seconds`: that an answer may take; `program`: the module that answers."""
        self.data_dir, self.seconds, self.program = data_dir, seconds, program
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._known: dict[str, Any] = {}

    async def ask(self, question: str, said: dict[str, Any] | None = None) -> Any:
        """Ask; raises Misconfigured with its refusal, and Unreachable where it ends without an answer."""
        if question in self._known:
            return self._known[question]
        async with self._turn:
            told = await self._answered(json.dumps({"question": question, "said": said or {}}))
        if "fault" in told:
            log.error("research_failed", question=question, fault=told["fault"])
            raise Misconfigured(f"the program is at fault, not what you asked: {told['fault']}; report it.")
        if "refused" in told:
            raise Misconfigured(told["refused"])
        if question in STAYING:
            self._known[question] = told["answer"]
        return told["answer"]

    async def _answered(self, line: str) -> dict[str, Any]:
        process = await self._begun()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{line}\n".encode())
            async with asyncio.timeout(self.seconds):
                await process.stdin.drain()
                text = await process.stdout.readline()
        except TimeoutError:
            await self.close()
            raise Misconfigured(
                f"it takes longer than {self.seconds:g} seconds, the most a page may wait; ask for a shorter period, "
                "or use the command line."
            ) from None
        except ConnectionError:
            text = b""
        except BaseException:  # its answer would be taken for that of the next question
            await self.close()
            raise
        if not text:
            await self.close()
            raise Unreachable(ENDED)
        found: dict[str, Any] = json.loads(text)
        return found

    async def _begun(self) -> asyncio.subprocess.Process:
        if self._rest is not None:
            self._rest.cancel()
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self.program, str(self.data_dir.resolve())), stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=LONGEST_ANSWER, cwd=ROOT,
            )  # fmt: skip
        loop = asyncio.get_running_loop()
        self._rest = loop.call_later(IDLE_SECONDS + self.seconds, self._end)
        return self._process

    def _end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def close(self) -> None:
        """End the process."""
        if self._rest is not None:
            self._rest.cancel()
        self._end()
        process, self._process = self._process, None
        if process is not None:
            await process.wait()


class PlayedReports:
    """Reports of runs, each played once, one after the other, by a process of their own."""

    def __init__(self, folder: Path, process: ResearchProcess) -> None:
        self.folder, self.process = folder, process
        self._playing: dict[str, asyncio.Task[None]] = {}
        self._faults: dict[str, str] = {}

    def begin(self, report: str, config: str) -> dict[str, Any]:
        """Play a report unless it is there or being played; says how it stands."""
        if not self._path(report).exists() and report not in self._playing:
            if len(self._playing) >= MOST_WAITING:
                raise Misconfigured(f"{MOST_WAITING} reports wait already; wait until some are ready.")
            self._faults.pop(report, None)
            task = asyncio.create_task(self._play(report, config))
            self._playing[report] = task
            task.add_done_callback(lambda _: self._playing.pop(report, None))
        return self.state(report)

    async def _play(self, report: str, config: str) -> None:
        try:
            await self.process.ask("report", {"report": report, "config": config})
        except (Misconfigured, Unreachable) as error:
            if len(self._faults) > 1000:
                self._faults.clear()
            self._faults[report] = str(error)
            log.info("report_failed", report=report, fault=str(error))

    def state(self, report: str) -> dict[str, Any]:
        """How a report stands: ready, playing, or failed with a sentence; None of these raises Misconfigured."""
        if REPORT.fullmatch(report) and self._path(report).exists():
            return {"report": report, "state": READY, "fault": ""}
        if report in self._playing:
            return {"report": report, "state": PLAYING, "fault": ""}
        if report in self._faults:
            return {"report": report, "state": FAILED, "fault": self._faults[report]}
        raise Misconfigured("no such report was asked for since the console began; ask for it again.")

    async def read(self, report: str) -> bytes:
        """Read the page of a report that is ready."""
        return await asyncio.to_thread(self._path(report).read_bytes)

    async def curve(self, report: str) -> Any:
        """Read the line of equity of a report that is ready."""
        return json.loads(await asyncio.to_thread(self._path(report).with_suffix(".json").read_text, "utf-8"))

    def _path(self, report: str) -> Path:
        return self.folder / f"{report}.html"

    async def close(self) -> None:
        """End what is being played."""
        for task in list(self._playing.values()):
            task.cancel()
        await asyncio.gather(*self._playing.values(), return_exceptions=True)
        await self.process.close()
