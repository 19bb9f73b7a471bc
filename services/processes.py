"""Processes of this machine that share something: whether one lives, and locks that end with whoever holds them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

try:
    import fcntl
except ImportError:  # Windows has no such locks, and no embedded bus; its embedded database has the wheel's own lock
    fcntl = None  # type: ignore[assignment]

CLOCK_SECONDS = 2.0  # that the beginning of a process may be told wrong, after a clock was set


def lives(number: int) -> bool:
    """Whether a process does anything yet; a dead one that nobody has buried does not."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def lives_since(number: int, moment: float) -> bool:
    """Whether a process lives that began before a moment (seconds since 1970): it is not a later one by its number."""
    try:
        process = psutil.Process(number)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= moment + CLOCK_SECONDS
    except psutil.Error:
        return False


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Lock a file; returns a descriptor that holds the lock until it is closed, None while others hold it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    kind = 0 if fcntl is None else fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file; waits, and blocks this thread, while others hold it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with contextlib.closing(os.fdopen(descriptor, "wb")):
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
