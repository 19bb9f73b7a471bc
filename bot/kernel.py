"""Compiled kernels: what is compiled, how it is cached, and why it can never run stale.

A kernel is a pure function over numbers and structured records. `kernel` compiles it when another kernel
calls it; `specialise` makes an entry point from templates by binding kernels into them, and caches the
machine code on disk. The cache directory is named by a hash of every source that kernels are made of, Numba's version
and the processor, because Numba itself does not notice a change in a function that another module has inlined.
With NUMBA_DISABLE_JIT=1 everything here is plain Python.
"""

from __future__ import annotations

import dis
import hashlib
import os
import re
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import llvmlite.binding as llvm
import numba
import platformdirs
from llvmlite import ir
from numba.core import types as numba_types
from numba.extending import intrinsic

from bot import kernel_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("bot", "strategies", "filters", "coordinator", "backtesting")
IMPORT = re.compile(r"^\s*(?:from|import) ([\w.]+)(?: import (\([^)]*\)|.*))?", re.MULTILINE)

# A structured record, or one field of it: inside kernels the dtype is the type.
Record = Any
F = TypeVar("F", bound="Callable[..., Any]")


def kernel(function: F) -> F:
    """Compile `function` for use by other kernels; callable from Python too, one event at a time."""
    compiled: Any = numba.njit(error_model="numpy", nogil=True)(function)
    return cast("F", compiled)


def inlined(function: F) -> F:
    """Compile `function` into each kernel that calls it: for what is called once and would be handed much."""
    compiled: Any = numba.njit(error_model="numpy", nogil=True, forceinline=True)(function)
    return cast("F", compiled)


def sources(root: Path = ROOT) -> list[Path]:
    """List every source of the packages that may hold kernels."""
    return sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))


def kernel_sources(root: Path = ROOT) -> list[Path]:
    """List the sources that machine code depends on: those that define kernels, and all that these import."""
    imported: dict[Path, set[Path]] = {}
    waiting = []
    for path in sources(root):
        modules, names = _imports(path)
        imported[path] = {root.joinpath(*module.split(".")).with_suffix(".py") for module in modules}
        if names & {"kernel", "inlined", "template"}:
            waiting.append(path)
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in imported and path not in found:
            found.add(path)
            waiting.extend(imported[path])
    return sorted(found)


def _imports(path: Path) -> tuple[set[str], set[str]]:
    """Modules that a source imports, by full name (a name taken from a package may be one), and the names alone."""
    modules: set[str] = set()
    names: set[str] = set()
    for module, taken in IMPORT.findall(path.read_text(encoding="utf-8")):
        found = re.findall(r"\w+", taken)
        names.update(found)
        modules.update((module, *(f"{module}.{name}" for name in found)))
    return modules, names


@cache
def source_hash(root: Path = ROOT, extra: tuple[Path, ...] = (), *, kernels: bool = False) -> str:
    """Hash of every source under `root`, or of the `kernels`' alone, and of `extra` files: 16 hex digits.

    It is the same on any machine.
    """
    digest = hashlib.sha256()
    for path in kernel_sources(root) if kernels else sources(root):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    for path in extra:  # machine code names its module, so a copy under another name is other code
        digest.update(path.stem.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def cache_directory(root: Path = ROOT, extra: Iterable[Path] = ()) -> Path:
    """Directory for machine code of exactly these sources, this Numba and this processor."""
    machine = f"{numba.__version__} {sys.version} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    code = source_hash(root, tuple(sorted(extra)), kernels=True)
    name = hashlib.sha256(f"{code} {machine}".encode()).hexdigest()[:16]
    chosen = os.environ.get("TRADERAGENT_CACHE_DIR")
    parent = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("traderagent")) / "kernels"
    return parent / name


def _without_owner(_context: Any, array: numba_types.Array) -> tuple[Any, Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        view.meminfo = ir.Constant(view.meminfo.type, None)
        view.parent = ir.Constant(view.parent.type, None)
        return view._getvalue()  # noqa: SLF001, how llvmlite's structures are read

    return array(array), generate


def _itself(array: Record) -> Record:
    return array


# A view without reference counting, for arrays that outlive the loop they are handed to: counting costs a
# kernel more than its arithmetic. Outside compiled code it is the array itself.
unowned: Callable[[Record], Record] = _itself if numba.config.DISABLE_JIT else intrinsic(_without_owner)


def _fetch(_context: Any, array: numba_types.Array, index: numba_types.Integer) -> tuple[Any, Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        place, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place, word, word, word])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [place], kind)
        record = builder.bitcast(builder.gep(view.data, [arguments[1]]), place)
        builder.call(hint, [record, word(0), word(3), word(1)])  # to read, often, data
        return context.get_dummy_value()

    return numba_types.none(array, index), generate


def _nothing(array: Record, index: int) -> None:
    """Do nothing."""


# Ask the memory for a record that is read soon, so that it comes while something else is done; changes nothing, and
# the index may lie beyond the array. Outside compiled code it is nothing at all.
fetch: Callable[[Record, int], None] = _nothing if numba.config.DISABLE_JIT else intrinsic(_fetch)


def template(function: F) -> F:
    """Mark a function that calls a kernel yet unknown, by a global name that `specialise` binds."""
    function.__dict__["template"] = True
    return function


def specialise(entry: Callable[..., Any], name: str, *, inlined: bool = True, **bindings: Any) -> Any:
    """Compile the template `entry` as `name`, its globals and those of the templates it calls bound to these kernels.

    Templates are inlined into the entry point, which pays where their arithmetic is all there is and costs minutes of
    compilation where it is not: `inlined` says so. Numba caches by source and argument types but not by globals, so
    each binding gets its own name, and
    sources from outside the project (a user's strategy) take part in the directory's name.
    """
    functions = _templates(entry, *(bound for bound in bindings.values() if getattr(bound, "template", False)))
    namespace = _joined(functions, bindings)
    directory = cache_directory(extra=user_sources())
    kept = kernel_cache.use(directory)
    previous, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(directory)
    try:
        for function in functions:
            bound = FunctionType(function.__code__, namespace, function.__name__)
            bound.__qualname__ = f"{function.__name__}_{name}"
            bound.__module__ = function.__module__
            own = function is entry
            namespace[function.__name__] = numba.njit(
                error_model="numpy", nogil=True, cache=own and kept, forceinline=inlined and not own
            )(bound)
    finally:
        numba.config.CACHE_DIR = previous
    return namespace[entry.__name__]


def _joined(functions: list[FunctionType], bindings: dict[str, Any]) -> dict[str, Any]:
    """One name space for all of these: a name means the same in each, or is bound."""
    namespace: dict[str, Any] = {}
    for function in functions:
        for name in _globals_of(function) & function.__globals__.keys():
            own = function.__globals__[name]
            known = namespace.setdefault(name, own)
            same = known is own or (isinstance(own, int | float) and known == own) or name in bindings
            assert same, f"{name} means two things in the templates of {functions[0].__name__}"
        namespace.setdefault("__builtins__", function.__globals__["__builtins__"])
    return {**namespace, **bindings}


def _globals_of(function: FunctionType) -> set[str]:
    """Names that a function looks up in its module."""
    return {one.argval for one in dis.get_instructions(function) if one.opname == "LOAD_GLOBAL"}


def _templates(*entries: Callable[..., Any]) -> list[FunctionType]:
    """List these and every template that they call, directly or through another."""
    found: list[FunctionType] = []
    waiting = list(entries)
    while waiting:
        function = waiting.pop()
        assert isinstance(function, FunctionType)
        if function not in found:
            found.append(function)
            called = (function.__globals__.get(name) for name in _globals_of(function))
            waiting.extend(other for other in called if other is not None and getattr(other, "template", False))
    return found


def is_compiled(entry: Callable[..., Any], name: str) -> bool:
    """Whether machine code of this specialisation lies in the cache already."""
    directory = cache_directory(extra=user_sources())
    return any(directory.rglob(f"*.{entry.__name__}_{name}-*.nbc"))


def user_sources() -> list[Path]:
    """Source files of every loaded module that is neither ours, nor installed, nor Python's own."""
    paths = sysconfig.get_paths()
    installed = {Path(paths[key]).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    found = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file is None or not file.endswith(".py") or module.__name__.split(".")[0] in _NOT_KERNELS:
            continue
        path = Path(file).resolve()
        if not any(path.is_relative_to(place) for place in installed):
            found.add(path)
    return sorted(path for path in found if not any(path.is_relative_to(ROOT / own) for own in PACKAGES))


_NOT_KERNELS = frozenset({"__main__", "services", "tests", "conftest"})
