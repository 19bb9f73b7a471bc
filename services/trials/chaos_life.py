"""The lives of a bot under test: loads the program once, and is the bot anew, in a process of its own, when told to.

`python -m services.trials.chaos_life CONFIG`; a line on the input begins a life, the end of the input ends it all.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import structlog

from bot.errors import TradingError
from coordinator.operator import CommandKind, CommandRejected, OperatorCommand
from services.app.bot import run_bot
from services.runtime.config import load_bot
from services.runtime.live import LiveBot
from services.runtime.warm import warm

OPERATOR_SECONDS = 0.5
PARENT_DIED = 1  # prctl's PR_SET_PDEATHSIG


class Minded(LiveBot):
    """A bot whose operator resumes at once whatever is halted or held off."""

    def _duties(self) -> list[Any]:
        return [*super()._duties(), self._every(OPERATOR_SECONDS, self._mind)]

    async def _mind(self) -> None:
        now = await self.status()
        try:
            if now["halted"]:
                await self.runtime.apply_command(OperatorCommand(CommandKind.RESUME, force=True))
            for one in now["pairs"]:
                if set(one["held_off"]) - {"database"}:
                    await self.runtime.apply_command(OperatorCommand(CommandKind.RESUME, one["pair"]))
        except CommandRejected as refused:
            structlog.get_logger().info("operator_refused", reason=str(refused))


def end_with_parent() -> None:
    """Let this process be killed when its parent ends, where the system can do so."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DIED, signal.SIGKILL)


def live(config: Path) -> int:
    """Be the bot; returns the exit code."""
    end_with_parent()
    structlog.contextvars.bind_contextvars(life=os.getpid())
    try:
        asyncio.run(run_bot(config, make=Minded))
    except TradingError as error:
        structlog.get_logger().error("ended", reason=str(error))
        return 2
    return 0


def main() -> None:
    """Begin a life at each line, one after the other, and tell of its birth and its end."""
    end_with_parent()
    config = Path(sys.argv[1])
    warm(load_bot(config)[1])
    _tell(event="ready")
    for _ in sys.stdin:
        number = os.fork()
        if number == 0:
            code = 1
            try:
                code = live(config)
            finally:
                sys.stderr.flush()
                os._exit(code)
        _tell(event="born", life=number)
        _, status = os.waitpid(number, 0)
        _tell(event="died", life=number, code=os.waitstatus_to_exitcode(status))


def _tell(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)  # noqa: T201, whoever started it listens


if __name__ == "__main__":
    main()
