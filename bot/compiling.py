"""Machine code of entry points on disk, and one line for every compilation.

Numba keeps machine code under its source file's path and drops it when a comment changes. Here a file of machine code
belongs to a directory that is named by what the code depends on, and to the types of its arguments, so a second
checkout finds it. A file is whole or not there: what an interrupted program had compiled stays.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import pickle
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

from numba.core import compiler, event, serialize
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import _Cache
from numba.core.environment import _rebuild_env

from bot import kernel_cache

PASS, LAST_PASS = "numba:run_pass", "native_lowering"
STAGE_SECONDS = 5.0  # a compilation says how far it is when it has been silent for so long
DIGEST = 32  # bytes of SHA-256 in front of what a file holds

# Numba numbers what it compiles from 1 in each process, and the linker takes functions of the same name and number,
# in two files of machine code, for the same function. So each process begins elsewhere.
FunctionIdentity._unique_ids = itertools.count(int.from_bytes(os.urandom(6), "big"))  # noqa: SLF001

names: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # what is compiled here, as a person is told of it


class Announcer(event.Listener):  # type: ignore[misc]
    """Tells of each compilation of ours when it begins and when it has ended."""

    def __init__(self) -> None:
        self._depth = 0  # a kernel is compiled within the entry point that calls it
        self._timing = event.TimingListener()
        self._kernels = 0
        self._told = 0.0  # seconds of the process's clock
        self._name: str | None = None

    def on_start(self, one: event.Event) -> None:
        """Tell that a compilation begins, unless it is a part of another; of a long one, how far it is."""
        if one.kind == PASS:
            if self._depth == 1 and one.data["name"].startswith(LAST_PASS):
                self._say_stage("optimising it as a whole")
            return
        if self._depth == 0:
            self._timing = event.TimingListener()
            self._kernels, self._told, self._name = 0, perf_counter(), names.get(one.data["dispatcher"])
            self._say(one, None)
        else:
            self._say_stage(f"{self._kernels} kernels so far")
        self._depth += 1
        self._timing.on_start(one)

    def on_end(self, one: event.Event) -> None:
        """Tell how long it took, if it gave machine code."""
        if one.kind == PASS:
            return
        self._depth -= 1
        self._kernels += 1
        self._timing.on_end(one)
        if self._depth == 0 and tuple(one.data["args"]) in one.data["dispatcher"].overloads:
            self._say(one, self._timing.duration)

    def _say_stage(self, stage: str) -> None:
        if self._name is not None and perf_counter() - self._told > STAGE_SECONDS:
            self._told = perf_counter()
            kernel_cache.tell(f"{self._name}, {stage},", None)

    def _say(self, one: event.Event, seconds: float | None) -> None:
        name = names.get(one.data["dispatcher"])
        if name is not None:
            kernel_cache.tell(name, seconds)


announcer = Announcer()
for kind in ("numba:compile", PASS):
    event.register(kind, announcer)


class MachineCode(_Cache):  # type: ignore[misc]
    """What Numba asks for the machine code of one entry point, and hands what it has compiled."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory, self.name = directory, name

    @property
    def cache_path(self) -> str:
        """The directory, as Numba's statistics show it."""
        return str(self.directory)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Machine code for arguments of these types, None where there is none or it is damaged."""
        target.refresh()
        try:
            content = self._path(signature, target.codegen()).read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
            return None
        return compiler.CompileResult._rebuild(target, *_Reader(io.BytesIO(content[DIGEST:])).load())  # noqa: SLF001

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep machine code, whole; a disk that does not take it is warned of."""
        if compiled.library.has_dynamic_globals:
            warnings.warn(
                f"{self.name} cannot be kept, because a kernel reads an array of more than a megabyte that is a global "
                "of its module; every start compiles it again.",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        content = serialize.dumps(compiled._reduce())  # noqa: SLF001, as Numba's own cache does
        path = self._path(signature, compiled.codegen)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            part.write_bytes(hashlib.sha256(content).digest() + content)
            part.replace(path)
        except OSError as error:
            kernel_cache.warn(self.directory.parent, error)
        finally:
            with suppress(OSError):
                part.unlink()  # nothing was moved: an interruption, or no room

    def holds_any(self) -> bool:
        """Whether machine code for arguments of some types is kept: an entry point of a bot has those of its roster."""
        return any(self.directory.glob(f"{self.name}-*.nbc"))

    def _path(self, signature: Any, codegen: Any) -> Path:
        kind = hashlib.sha256(f"{signature} {codegen.magic_tuple()}".encode()).hexdigest()[:16]
        return self.directory / f"{self.name}-{kind}.nbc"

    def enable(self) -> None:
        """Be asked, as always."""

    def disable(self) -> None:
        """Stay: nobody here switches a cache off."""

    def flush(self) -> None:
        """Keep what is kept: code that is compiled anew replaces its file."""


class _Reader(pickle.Unpickler):
    """Reads machine code that may name a module of the user's under which he has it no more, or not here."""

    def find_class(self, module: str, name: str) -> Any:
        """Find what a pickle names."""
        found = super().find_class(module, name)
        return _environment if found is _rebuild_env else found


def _environment(module: str, constants: Any, name: str) -> Any:
    """Constants of a kernel, with its module's globals: which compiled code never reads, so any module's will do."""
    return _rebuild_env(module if module in sys.modules else __name__, constants, name)
