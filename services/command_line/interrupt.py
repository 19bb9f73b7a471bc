"""Ctrl-C ends a command within a second, whatever it is doing: also inside the compiler or a compiled loop.

Python tells a program of Ctrl-C between two of its own instructions, which may be a minute away. A thread hears of it
at once instead, and ends the process with exit code 130 when what was begun has been removed (what is registered with
`atexit`). Where an event loop runs, it is told as always, and has its time to end; the thread acts only when the loop
does not run, then or later: it may hear of Ctrl-C and go into the compiler before it comes to an end.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

EXIT_CODE = 130
HEARS_SECONDS = 0.6  # an event loop that has not run for so long is inside the compiler
ASKED_EVERY = 0.2  # seconds

_loop_runs = threading.Event()
_alive = threading.Event()


def watch() -> None:
    """Listen for Ctrl-C from here on; where it is ignored, as under nohup, it stays so."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    heard, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.signal(signal.SIGINT, _stand_still)
    if hasattr(signal, "SIGURG"):
        signal.signal(signal.SIGURG, lambda *_: _alive.set())
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(heard,), daemon=True).start()


def run_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end as `asyncio.run` does: Ctrl-C cancels it, and it has its time to end."""
    import asyncio

    if signal.getsignal(signal.SIGINT) is not _stand_still:
        return asyncio.run(work)
    _loop_runs.set()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return asyncio.run(work)
    finally:
        signal.signal(signal.SIGINT, _stand_still)
        _loop_runs.clear()


def _listen(heard: int) -> None:
    while True:
        if os.read(heard, 1) == bytes([signal.SIGINT]) and not _ends_by_itself():
            _end()


def _ends_by_itself() -> bool:
    """Wait while an event loop comes to its end; false as soon as it does not run, or when there is none."""
    if not _loop_runs.is_set():
        return False
    while _loop_runs.is_set():
        if not _hears():
            return False
        time.sleep(ASKED_EVERY)
    return True


def _hears() -> bool:
    """Whether the main thread runs Python's instructions, so that its event loop hears of Ctrl-C."""
    if not hasattr(signal, "SIGURG"):
        return True
    _alive.clear()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGURG)
    return _alive.wait(HEARS_SECONDS)


def _stand_still(*_: Any) -> None:
    """Let the main thread do nothing more: the other one ends the process."""
    while True:
        time.sleep(1.0)


def _end() -> None:
    """Remove what was begun, and end the process."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and stream.isatty():
            os.write(stream.fileno(), b"\r\x1b[K\x1b[?25h")  # a progress bar's line, and the cursor it hid
    os.write(2, b"interrupted\n")
    atexit._run_exitfuncs()  # noqa: SLF001, the interpreter's own end waits for the main thread
    os._exit(EXIT_CODE)
