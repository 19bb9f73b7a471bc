"""Compiled kernels: what is compiled, how it is cached, and why it can never run stale.

A kernel is a pure function over numbers and structured records. `kernel` compiles it when another kernel
calls it; `specialise` makes an entry point from templates by binding kernels into them, and keeps the machine
code on disk. The directory is named by a hash of the sources that the code is made of and of all that these
import, Numba's version and the processor: Numba itself does not notice a change in a function that another
module has inlined. With NUMBA_DISABLE_JIT=1 everything here is plain Python.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import llvmlite.binding as llvm
import numba
import numpy as np
import platformdirs
from llvmlite import ir
from numba.core import types as numba_types
from numba.extending import intrinsic

from bot import kernel_cache
from bot.compiling import MachineCode, names
from bot.interpreting import Interpreter, Meanwhile, globals_of
from bot.sources import closure, code_hash, is_as_loaded
from bot.strategy_file import folder_of, is_users

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# A structured record, or one field of it: inside kernels the dtype is the type.
Record = Any
F = TypeVar("F", bound="Callable[..., Any]")

# Whether an entry point whose machine code is not there is interpreted until another process has compiled it.
interpreted_first: ContextVar[bool] = ContextVar("interpreted_first", default=False)


@contextmanager
def interpreting_first() -> Iterator[None]:
    """Let entry points that are made within be interpreted until their machine code is there."""
    token = interpreted_first.set(True)
    try:
        yield
    finally:
        interpreted_first.reset(token)


def kernel(function: F) -> F:
    """Compile `function` for use by other kernels; callable from Python too, one event at a time."""
    # What Numba is not told, a kernel inherits from its caller: it would be copied into each of them, as those are.
    return cast("F", _named(numba.njit(error_model="numpy", nogil=True, forceinline=False)(function), function))


def inlined(function: F) -> F:
    """Compile `function` into each kernel that calls it: for what is called once and would be handed much."""
    return cast("F", _named(numba.njit(error_model="numpy", nogil=True, forceinline=True)(function), function))


def _named(compiled: Any, function: Callable[..., Any], more: str = "") -> Any:
    if compiled is not function:
        names[compiled] = f"{function.__module__}.{function.__name__}{more}"
    return compiled


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
    compilation where it is not: `inlined` says so.
    """
    functions = _templates(entry, *(bound for bound in bindings.values() if getattr(bound, "template", False)))
    namespace = _joined(functions, bindings)
    directory = None if numba.config.DISABLE_JIT else cache_directory(_reached([*functions, *bindings.values()]))
    for function in functions:
        bound = FunctionType(function.__code__, namespace, function.__name__)
        bound.__qualname__ = f"{function.__name__}_{name}"
        bound.__module__ = function.__module__
        made = numba.njit(error_model="numpy", nogil=True, forceinline=inlined and function is not entry)(bound)
        namespace[function.__name__] = _named(made, bound, f" ({name})")
    made = namespace[entry.__name__]
    if directory is None or not kernel_cache.use(directory):
        return made
    made._cache = kept = MachineCode(directory, f"{entry.__name__}_{name}")  # noqa: SLF001, as its enable_caching does
    if not interpreted_first.get() or kept.holds_any():
        return made
    return Meanwhile(made, interpreted(entry, **bindings), kept.holds_any)


def interpreted(entry: Callable[..., Any], **bindings: Any) -> Any:
    """Make a plain function of the template `entry`, bound to these kernels."""
    return Interpreter(bindings, {unowned: _itself, fetch: _nothing}).plain(entry)


def _reached(functions: Sequence[Any]) -> list[Any]:
    """List functions with those that lie in their closures, such as the strategies of a roster in its dispatch."""
    found: list[Any] = []
    waiting = list(functions)
    while waiting:
        function = waiting.pop(0)
        plain = getattr(function, "py_func", function)
        if isinstance(plain, FunctionType) and plain not in found:
            found.append(plain)
            waiting.extend(cell.cell_contents for cell in plain.__closure__ or ())
    return found


def cache_directory(functions: Sequence[Any]) -> Path | None:
    """Directory for machine code made of these functions: named by their sources and data, this Numba, this processor.

    None where the source of one is no file, as in a notebook: nobody could tell when it changes. None too where the
    project's sources have changed since this process loaded them: its code would be kept as that of the new ones.
    """
    starts = [_start(getattr(function, "py_func", function)) for function in functions]
    known = [start for start in starts if start is not None]
    if len(known) < len(starts):
        return None
    machine = f"{numba.__version__} {sys.version} {_processor()}"
    files = closure(known)
    if not is_as_loaded(files):
        return None
    code = f"{code_hash(files)} {_constants(functions)}"
    name = hashlib.sha256(f"{code} {machine}".encode()).hexdigest()[:16]
    chosen = os.environ.get("TRADERAGENT_CACHE_DIR")
    parent = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("traderagent")) / "kernels"
    return parent / name


def _processor() -> str:
    """Name what machine code is made for: this processor, or the kind that Numba was told (an image has one)."""
    name = numba.config.CPU_NAME or llvm.get_host_cpu_name()
    features = numba.config.CPU_FEATURES
    return f"{name} {llvm.get_host_cpu_features().flatten() if features is None else features}"


def _start(function: FunctionType) -> tuple[Path, Path] | None:
    """Source of a function, and the folder in which the imports there begin; None where it is no file."""
    file = Path(function.__code__.co_filename).resolve()
    if not file.is_file():
        return None
    module = sys.modules.get(function.__module__)
    name = str(getattr(getattr(module, "__spec__", None), "name", file.stem))  # a script has none
    depth = len(name.split(".")) - (file.name != "__init__.py")
    return file, folder_of(function.__module__) or file.parents[min(depth, len(file.parents) - 1)]


def _constants(functions: Sequence[Any]) -> str:
    """Hash of numbers, text and arrays that become part of the machine code of the user's functions.

    Their modules may have read them from a file of data, which no source tells of.
    """
    digest = hashlib.sha256()
    found, waiting = set(), list(functions)
    while waiting:
        function = waiting.pop(0)
        function = getattr(function, "py_func", function)
        if not isinstance(function, FunctionType) or function in found or not is_users(function.__module__):
            continue
        found.add(function)
        for name, value in sorted(_outside(function), key=lambda one: one[0]):
            if isinstance(value, np.ndarray):
                digest.update(f"{name} {value.dtype} {value.shape} ".encode() + value.tobytes())
            elif isinstance(value, bool | int | float | complex | str | bytes | tuple | np.generic):
                digest.update(f"{name} {value!r} ".encode())
            else:
                waiting.append(value)
    return digest.hexdigest()


def _outside(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function's code may read from its module, from modules of the same owner, and from its closure."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents
    names = function.__code__.co_names
    for name in names:
        value = function.__globals__.get(name)
        yield name, value
        if isinstance(value, ModuleType) and is_users(value.__name__):
            yield from ((f"{name}.{one}", getattr(value, one, None)) for one in names)


def _joined(functions: list[FunctionType], bindings: dict[str, Any]) -> dict[str, Any]:
    """One name space for all of these: a name means the same in each, or is bound."""
    namespace: dict[str, Any] = {}
    for function in functions:
        for name in globals_of(function) & function.__globals__.keys():
            own = function.__globals__[name]
            known = namespace.setdefault(name, own)
            same = known is own or (isinstance(own, int | float) and known == own) or name in bindings
            assert same, f"{name} means two things in the templates of {functions[0].__name__}"
        namespace.setdefault("__builtins__", function.__globals__["__builtins__"])
    return {**namespace, **bindings}


def _templates(*entries: Callable[..., Any]) -> list[FunctionType]:
    """List these and every template that they call, directly or through another."""
    found: list[FunctionType] = []
    waiting = list(entries)
    while waiting:
        function = waiting.pop()
        assert isinstance(function, FunctionType)
        if function not in found:
            found.append(function)
            called = (function.__globals__.get(name) for name in globals_of(function))
            waiting.extend(other for other in called if other is not None and getattr(other, "template", False))
    return found
