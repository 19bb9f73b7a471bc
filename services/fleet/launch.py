"""Starts the process of a bot so that it outlives who starts it, and tells whether it lives, however it was started.

The process holds the lock of a file from its first moment to its last, which the system ends however the process ends.
So a supervisor that was killed right after a start finds the bot again, and cannot start it twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from bot.errors import Misconfigured, cut
from bot.sources import ROOT
from services.processes import try_lock

LARGEST_OUT = 20 << 20  # bytes
COMMAND = (sys.executable, "-m", "bot", "run")


def refuse_unknown_system() -> None:
    """Raise Misconfigured where processes cannot be given a lock."""
    if os.name == "nt":
        raise Misconfigured("the fleet needs Linux or macOS; run each bot by `traderagent run` here.")


def launch(config: Path, data_dir: Path, lock: Path, out: Path) -> subprocess.Popen[bytes] | None:
    """Start `traderagent run CONFIG` in a session of its own; None where a process has the lock.

    What it prints goes to `out`, begun anew. Raises Misconfigured where the system does not start it.
    """
    held = try_lock(lock)
    if held is None:
        return None
    try:
        out.unlink(missing_ok=True)
        printed = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(  # noqa: S603, the program itself
                [*COMMAND, str(config)], stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, cwd=ROOT,
                env={**os.environ, "TRADERAGENT_DATA_DIR": str(data_dir)}, pass_fds=(held,), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise Misconfigured(f"the process of {cut(str(config))} does not start: {error.strerror}.") from None
        finally:
            os.close(printed)
    finally:
        os.close(held)


def has_process(lock: Path) -> bool:
    """Whether a process that was launched with this lock lives."""
    if not lock.exists():
        return False
    held = try_lock(lock)
    if held is None:
        return True
    os.close(held)
    return False


def keep_small(out: Path) -> None:
    """Empty a file that has grown large; whoever appends to it goes on. The bot's own log has the lines as well."""
    with suppress(OSError):
        if out.stat().st_size > LARGEST_OUT:
            os.truncate(out, 0)
