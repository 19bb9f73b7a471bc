"""Compiles, or loads from the cache, what a bot runs: so that nothing waits for it later.

As a program it does so for the config on its standard input: beside a bot that is interpreted meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from bot.interpreting import Meanwhile
from bot.kernel import interpreted_first
from bot.record import new_records
from bot.rollup import BAR
from coordinator.compiled import compiled_dispatch, compiled_portfolio
from coordinator.config import load_portfolio
from coordinator.machine import PortfolioMachine
from services.runtime.memories import machine_of

if TYPE_CHECKING:
    from coordinator.config import PortfolioConfig

log = structlog.get_logger()


def warm(config: PortfolioConfig) -> None:
    """Run each compiled step of a bot once."""
    bars = new_records(BAR, 1)
    bars[0] = (0, 1.0, 1.0, 1.0, 1.0, 1.0)
    machine = machine_of(config, config.pairs[0])
    machine.take_bars(bars)
    machine.guard(1, 1.0)
    PortfolioMachine(config.algorithm, list(config.pairs), config.capital).evaluate(0)


@dataclass
class Compilation:
    """How it stands about the machine code that another process makes; nothing is made where all of it is there."""

    began: float | None = None  # by the monotonic clock, seconds
    seconds: float | None = None  # that it took
    failed: bool = False

    @property
    def running(self) -> bool:
        """Whether the other process is at it."""
        return self.began is not None and self.seconds is None

    def sentence(self) -> str:
        """How it stands, in words."""
        if self.began is None:
            return "compiled before"
        if self.seconds is None:
            return f"compiling in background, {time.monotonic() - self.began:.0f} s"
        if self.failed:
            return "interpreted, since compiling failed"
        return f"compiled in {self.seconds:.0f} s"


@asynccontextmanager
async def compiled_meanwhile(
    config: PortfolioConfig, program: str = __name__, *more: Callable[[], Any]
) -> AsyncIterator[Compilation]:
    """Interpret what is not compiled, while another process, the module `program`, compiles it; yields how it stands.

    `more` make entry points besides the bot's own. What is built within changes over by itself. Where everything is
    there already, there is no other process.
    """
    interpreted_first.set(True)
    try:
        roster = config.algorithm.roster
        entries = (compiled_dispatch(roster), compiled_portfolio(roster), *(make() for make in more))
        if any(isinstance(one, Meanwhile) for one in entries):
            async with _compiling(config, program) as compilation:
                yield compilation
        else:
            yield Compilation()
    finally:
        interpreted_first.set(False)


@asynccontextmanager
async def _compiling(config: PortfolioConfig, program: str) -> AsyncIterator[Compilation]:
    """Compile in another process, which ends with the context."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    compilation = Compilation(time.monotonic())
    waiting = asyncio.create_task(_wait(process, config.document(), compilation))
    try:
        yield compilation
    finally:
        if process.returncode is None:
            waiting.cancel()  # what is ended on purpose has not failed
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await asyncio.gather(waiting, return_exceptions=True)


async def _wait(process: asyncio.subprocess.Process, asked: dict[str, Any], compilation: Compilation) -> None:
    """Tell what is compiled, and when that is done."""
    assert compilation.began is not None
    await process.communicate(json.dumps(asked, default=str).encode())
    compilation.failed = process.returncode != 0
    compilation.seconds = seconds = round(time.monotonic() - compilation.began, 1)
    if not compilation.failed:
        log.info("machine_code_ready", seconds=seconds)
    else:
        log.warning("not_compiled", seconds=seconds, remedy="the bot goes on interpreted; start it again for speed")


def main() -> None:
    """Compile what the config on the standard input needs."""
    warm(load_portfolio(json.load(sys.stdin)))


if __name__ == "__main__":
    main()
