"""Directories of machine code: which process uses which, and which are removed to make room for a new one.

A process that uses a directory holds a shared lock on a file in it for as long as it lives, however it ends. A
directory in use is never removed; of the others, those used least recently are, beyond KEPT_CACHES in all. One lock
of the parent is held while this is decided, so that any number of processes may do it at once. Here too is where
people are told what the compiler does: `tell`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

try:
    import fcntl
except ImportError:  # a system without it also refuses to remove what another process has open
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHIPPED = "TRADERAGENT_SHIPPED_KERNELS"  # names a folder of directories that came with the program, as in an image
KEPT_CACHES = 48  # an entry point has one for each version of the sources it depends on
LOCK = ".lock"  # of the parent
USERS = ".users"  # in each directory
NAME = re.compile(r"[0-9a-f]{16}")  # of a directory of ours: the parent may be one of the user's

_held: dict[Path, int] = {}  # directories that this process uses, and the descriptors of their locks
_warned: set[Path] = set()


def on_stderr(code: str, seconds: float | None) -> None:
    """Print that `code` is being compiled, or that it has been, in so many `seconds`."""
    said = f"compiling {code} for this machine" if seconds is None else f"compiled {code} in {seconds:.1f} s"
    print(said, file=sys.stderr, flush=True)  # noqa: T201, where nobody has set up a log


tell: Callable[[str, float | None], None] = on_stderr  # replaced by who has a better place for it


def use(directory: Path) -> bool:
    """Make `directory`, or mark it as used now and until this process ends; False, with a warning, where it cannot."""
    try:
        if _holds(directory):
            os.utime(directory)
            return True
        directory.parent.mkdir(parents=True, exist_ok=True)
        with _locked(directory.parent):
            fresh = not directory.exists()
            if fresh:
                _take_shipped(directory)
            directory.mkdir(exist_ok=True)
            _hold(directory)
            if fresh:
                _make_room(directory.parent)
    except OSError as error:
        warn(directory.parent, error)
        return False
    return True


def _take_shipped(directory: Path) -> None:
    """Copy the directory of this name that came with the program, if there is one; whole or not at all."""
    folder = os.environ.get(SHIPPED)
    if not folder or not (Path(folder) / directory.name).is_dir():
        return
    part = directory.with_name(f".{directory.name}.part")  # ours: the parent is locked
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(Path(folder) / directory.name, part, copy_function=shutil.copyfile)
    part.chmod(0o755)  # what was shipped may be for reading alone
    part.rename(directory)


def _holds(directory: Path) -> bool:
    """Whether this process holds `directory`, and nobody has deleted it since."""
    try:
        return directory in _held and os.path.samestat(os.fstat(_held[directory]), (directory / USERS).stat())
    except FileNotFoundError:
        return False


def _hold(directory: Path) -> None:
    """Lock `directory` as used by this process."""
    descriptor = os.open(directory / USERS, os.O_RDWR | os.O_CREAT, 0o666)
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.utime(directory)
    if directory in _held:
        os.close(_held[directory])
    _held[directory] = descriptor


def _make_room(parent: Path) -> None:
    """Remove the directories used least recently, beyond KEPT_CACHES; called with the parent's lock.

    One in use is as recent as now: the process that uses it may end and start again.
    """
    siblings = [path for path in parent.iterdir() if NAME.fullmatch(path.name) and path.is_dir()]
    busy = {path for path in siblings if _in_use(path)}
    for path in busy:
        with suppress(OSError):  # another user's
            os.utime(path)
    siblings.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for old in siblings[KEPT_CACHES:]:
        if old not in busy:
            shutil.rmtree(old, ignore_errors=True)


def _in_use(directory: Path) -> bool:
    """Whether a live process uses it. One without a file of users was left by an earlier version or half removed."""
    if directory in _held:
        return True
    try:
        descriptor = os.open(directory / USERS, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:  # another user's: not ours to remove
        return True
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def _locked(parent: Path) -> Iterator[None]:
    """Hold the parent's lock: directories are made, taken into use and removed one process at a time."""
    descriptor = os.open(parent / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def warn(parent: Path, error: OSError) -> None:
    """Warn, once, that `parent` cannot be written to."""
    if parent in _warned:
        return
    _warned.add(parent)
    warnings.warn(
        f"compiled kernels cannot be kept in {parent} ({error.strerror}), so every start compiles them again; "
        "name another place in TRADERAGENT_CACHE_DIR.",
        RuntimeWarning,
        stacklevel=2,
    )
