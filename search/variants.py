"""Parameters of a space's variants, without validating each: a function of them is called once for equal arguments.

A validator, a column of the kernels' record, or any other function of the parameters depends on the fields that it
reads, and its path to them on those it has read before. So it is called once for each combination of the axes that it
reads, and once more where it turns out to read another. This is exact for the parameters of the strategies that come
with the program, whose fields pydantic validates one by one; those of the user's own, and spaces over a preset, which
changes other fields, are validated one by one instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from bot.errors import Misconfigured, shown
from bot.parameters import Parameters, Section, fraction_of, number_of
from bot.strategy_file import PREFIX
from bot.validation import validated
from search.axes import Axis, placed

OWN_PACKAGES = ("bot", "strategies")
READS = "fields that were read"  # key of a traced model's dict
KEPT = 4096  # values of fields with several axes that are remembered

Numbers = NDArray[np.int64]
ParameterFunction = Callable[[Any], Any]


class Variants:
    """The parameters of a space's variants, by number."""

    def __init__(self, model: type[Parameters], section: dict[str, Any], name: str, axes: tuple[Axis, ...]) -> None:
        self.model, self.name, self.axes = model, name, axes
        self._section = section
        self.sizes = [len(axis.values) for axis in axes]
        self.strides = [math.prod(self.sizes[place + 1 :]) for place in range(len(axes))]
        self._traced_model = _traced_model(model)
        self._of_field: dict[str, list[int]] = {}
        for place, axis in enumerate(axes):
            self._of_field.setdefault(str(axis.path[0]), []).append(place)
        self._known: dict[tuple[str, tuple[int, ...]], Any] = {}
        self._composites: dict[tuple[str, tuple[int, ...]], Any] = {}
        self._base: dict[str, Any] = {}
        self._given: set[str] = set()
        self.traced = all(_is_ours(one.__module__) for one in model.__mro__ if issubclass(one, Section))
        self.traced = self._resolve()
        self.axes = tuple(self._in_numbers(place) for place in range(len(axes)))
        self._texts = {name: _text(value) for name, value in self._base.items()}

    def digits(self, number: int) -> tuple[int, ...]:
        """Which value of each axis a variant has; the last axis changes fastest."""
        found = []
        for size in reversed(self.sizes):
            number, digit = divmod(number, size)
            found.append(digit)
        return tuple(reversed(found))

    def section(self, digits: tuple[int, ...]) -> dict[str, Any]:
        """Section of the strategy as a config would have it."""
        section = self._section
        for axis, digit in zip(self.axes, digits, strict=True):
            section = placed(section, axis.path, axis.values[digit])
        return section

    def parameters(self, number: int) -> Parameters:
        """Parameters of a variant that does not contradict itself; raises Misconfigured for one that may."""
        if not self.traced:
            return self.validated(number)
        made: Parameters = _constructed(self.model, self._fields(self.digits(number)), self._given)
        return made

    def validated(self, number: int) -> Parameters:
        """Parameters of a variant as pydantic reads them; raises Misconfigured."""
        read: Parameters = validated(self.model, self.section(self.digits(number)), self.name)
        return read

    def evaluate(self, function: ParameterFunction, number: int) -> tuple[Any, set[int]]:
        """Call a function of a variant's parameters; what it returns or raises, and the axes on which that depends."""
        reads: set[str] = set()
        outcome: Any
        try:
            if self.traced:
                parameters = _constructed(
                    self._traced_model, {**self._fields(self.digits(number)), READS: reads}, self._given
                )
            else:
                parameters = self.parameters(number)
            outcome = function(parameters)
        except (Misconfigured, ValueError) as error:
            outcome = error
        return outcome, {place for field in reads for place in self._of_field.get(field, ())}

    def checks(self) -> list[ParameterFunction]:
        """Functions that raise Misconfigured or ValueError for parameters that contradict themselves."""
        return [getattr(self.model, name) for name in _after(self.model)] if self.traced else []

    def columns(self) -> dict[str, ParameterFunction]:
        """What kernels see of the parameters by field of their record, each a function of them."""
        return {name: _column(name) for name in self.model.dtype().names or ()}

    def text(self, number: int) -> str:
        """Resolved values of all parameters but the preset's name, in one way of writing."""
        if not self.traced:
            return _joined({name: _text(value) for name, value in self.parameters(number)})
        digits = self.digits(number)
        changed = {field: _text(self._value(field, digits)) for field in self._of_field}
        return _joined({**self._texts, **changed})

    # Fields of a variant

    def _fields(self, digits: tuple[int, ...]) -> dict[str, Any]:
        return {**self._base, **{field: self._value(field, digits) for field in self._of_field}}

    def _value(self, field: str, digits: tuple[int, ...]) -> Any:
        """Resolve a field from the axes that lie in it; raises Misconfigured."""
        own = self._of_field[field]
        key = (field, tuple(digits[place] for place in own))
        if key in self._known:
            return self._known[key]
        if key not in self._composites:
            if len(self._composites) > KEPT:
                self._composites = {}
            section = self.section(tuple(digit if place in own else 0 for place, digit in enumerate(digits)))
            self._composites[key] = vars(validated(self._traced_model, section, self.name))[field]
        return self._composites[key]

    def _resolve(self) -> bool:
        """Read every value of every axis beside the first ones of the others; whether each changes its own field alone.

        Raises Misconfigured for a value that its parameter never takes.
        """
        first = self._read([0] * len(self.axes))
        apart = self.traced and first is not None
        self._base, self._given = ({}, set()) if first is None else (vars(first), first.model_fields_set)
        for place, axis in enumerate(self.axes):
            field = str(axis.path[0])
            for digit in range(self.sizes[place]):
                one = self._read([digit if other == place else 0 for other in range(len(self.axes))])
                if one is None or not apart:
                    apart = False
                    continue
                same = {**vars(one), field: None} == {**self._base, field: None}
                apart = same and one.model_fields_set == self._given
                if len(self._of_field[field]) == 1:
                    self._known[field, (digit,)] = vars(one)[field]
        return apart

    def _read(self, digits: list[int]) -> Any:
        """Read a variant without what compares fields; None where a strategy of one's own refuses even that."""
        try:
            return validated(self._traced_model, self.section(tuple(digits)), self.name)
        except Misconfigured as error:
            if self.traced or str(error).startswith(f"{self.name}."):
                raise
            return None

    def _in_numbers(self, place: int) -> Axis:
        """Return an axis with numbers for its per cent, if they are the same; raises Misconfigured for equal ones."""
        axis = self.axes[place]
        field = str(axis.path[0])
        values: dict[str, Any] = {}
        for digit, value in enumerate(axis.values):
            number = self._known.get((field, (digit,)))
            percent = isinstance(value, str) and value.strip().endswith("%") and number == fraction_of(value)
            text = _text(number if percent else value)
            if text in values:
                raise Misconfigured(f"{axis.key} has {shown(value)} twice; name each value once.")
            values[text] = number if percent else value
        return Axis(axis.key, axis.path, tuple(values.values()))


class SharedFunction:
    """A function of variants' parameters that is called once for all of them that have what it reads in common."""

    def __init__(self, variants: Variants, function: ParameterFunction) -> None:
        self._variants, self._function = variants, function
        self.axes: tuple[int, ...] = () if variants.traced else tuple(range(len(variants.axes)))

    def __call__(self, numbers: Numbers) -> tuple[list[Any], NDArray[np.intp]]:
        """What it returned or raised, in a list, and which of these each variant (k,) has, (k,)."""
        while True:
            axes = self.axes
            codes = np.zeros(len(numbers), np.int64)
            for place in axes:
                stride = self._variants.strides[place]
                codes += numbers // stride % self._variants.sizes[place] * stride
            _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
            outcomes = []
            for number in numbers[first].tolist():
                outcome, read = self._variants.evaluate(self._function, number)
                if not read <= set(axes):
                    self.axes = tuple(sorted({*axes, *read}))
                    break
                outcomes.append(outcome)
            else:
                return outcomes, inverse


def _is_ours(module: str) -> bool:
    """Whether a module came with the program; a user's file is loaded under a name of this project's too."""
    return module.split(".", maxsplit=1)[0] in OWN_PACKAGES and not module.startswith(PREFIX)


def _column(name: str) -> ParameterFunction:
    def number(parameters: Any) -> Any:
        return number_of(getattr(parameters, name))

    return number


def _after(model: type[BaseModel]) -> list[str]:
    """Names of a model's validators that compare its fields."""
    found = model.__pydantic_decorators__.model_validators
    return [name for name, one in found.items() if one.info.mode == "after"]


def _traced_model(model: type[Parameters]) -> type[Parameters]:
    """Derive a model with the same fields and validation, except comparisons of fields; it records what is read."""
    fields = frozenset(model.model_fields)

    def recording(self: Any, name: str) -> Any:
        if name in fields or name == "__dict__":
            reads = object.__getattribute__(self, "__dict__").get(READS)
            if reads is not None:
                reads.update(fields if name == "__dict__" else (name,))
        return object.__getattribute__(self, name)

    def accepted(self: Any) -> Any:
        return self

    members = {"__module__": model.__module__, "__getattribute__": recording}
    kind: Any = type(model)
    derived: type[Parameters] = kind(model.__name__, (model,), {**members, **dict.fromkeys(_after(model), accepted)})
    return derived


def _constructed(model: type[Parameters], values: dict[str, Any], given: set[str]) -> Any:
    """Build a model of values that are known to be right."""
    made = model.__new__(model)
    object.__setattr__(made, "__dict__", values)
    object.__setattr__(made, "__pydantic_fields_set__", given)
    object.__setattr__(made, "__pydantic_extra__", None)
    object.__setattr__(made, "__pydantic_private__", None)
    return made


def _joined(texts: dict[str, str]) -> str:
    return "\n".join(f"{name}={text}" for name, text in sorted(texts.items()) if name != "preset")


def _text(value: Any) -> str:
    """Write a value so that equal ones look the same, numbers with twelve digits."""
    if isinstance(value, Enum):
        return _text(value.value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.12g}"
    if isinstance(value, BaseModel):
        return _text(dict(value))
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{_text(key)}:{_text(one)}" for key, one in value.items())) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_text(one) for one in value) + "]"
    return repr(value)
