"""Entry points without the compiler: the same kernels as plain Python, with the same bits, a few hundred times slower.

A bot whose machine code is not there yet begins so, and changes over when another process has compiled it.
"""

from __future__ import annotations

import dis
from types import CellType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


class Meanwhile:
    """An entry point that is interpreted until its machine code is there; it is asked for at each call."""

    def __init__(self, compiled: Any, interpreted: Callable[..., Any], ready: Callable[[], bool]) -> None:
        """`ready`: whether another process has kept the machine code, which `compiled` would load."""
        self._compiled, self._interpreted, self._ready = compiled, interpreted, ready
        self.changed_over = False

    def __call__(self, *arguments: Any) -> Any:
        """Run it, either way."""
        self.changed_over = self.changed_over or self._ready()
        if self.changed_over:
            return self._compiled(*arguments)
        with np.errstate(all="ignore"):  # as compiled code does
            return self._interpreted(*arguments)


def globals_of(function: FunctionType) -> set[str]:
    """Names that a function looks up in its module."""
    return {one.argval for one in dis.get_instructions(function) if one.opname == "LOAD_GLOBAL"}


class Interpreter:
    """Makes plain functions of kernels, each once, with everything that they call."""

    def __init__(self, bindings: dict[str, Any], instead: dict[Any, Any]) -> None:
        """`bindings`: what names of templates mean; `instead`: a plain function for what only a compiler can do."""
        self._bindings, self._instead = bindings, instead
        self._made: dict[Any, Any] = {}

    def plain(self, value: Any) -> Any:
        """Return what stands for `value` where nothing is compiled: a function, a module, or the value itself."""
        if isinstance(value, ModuleType):
            return _Interpreted(self, value)
        function = getattr(value, "py_func", value)
        hidden = next((own for other, own in self._instead.items() if other is value), None)
        if hidden is not None or not isinstance(function, FunctionType):
            return hidden or value
        if function is value and not getattr(value, "template", False):
            return value
        if function not in self._made:
            self._make(function)
        return self._made[function]

    def _make(self, function: FunctionType) -> None:
        names = dict(function.__globals__)
        cells = tuple(CellType(self.plain(cell.cell_contents)) for cell in function.__closure__ or ())
        self._made[function] = FunctionType(
            function.__code__, names, function.__name__, function.__defaults__, cells or None
        )
        for name in globals_of(function) & {*names, *self._bindings}:
            names[name] = self.plain(self._bindings.get(name, names.get(name)))


class _Interpreted:
    """A module whose kernels are interpreted."""

    def __init__(self, interpreter: Interpreter, module: ModuleType) -> None:
        self._interpreter, self._module = interpreter, module

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        return value if isinstance(value, ModuleType) else self._interpreter.plain(value)
