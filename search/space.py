"""A space: a config with some values of its strategy's parameters replaced by ranges or lists, each of them an axis.

A variant is known by its number: the axes in the order in which they are written, the last one changing fastest.
Nothing holds all variants. Which of them contradict themselves, and what kernels see of the others, is exactly what
`load_config` says of each; it is found without validating each, as search/variants.py describes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bot.errors import Misconfigured, shown
from bot.gate import with_gate
from bot.parameters import Fraction, Parameters
from bot.strategy import inputs_of
from bot.validation import validated
from coordinator.config import BacktestConfig, config_of, load_single, strategy_named
from coordinator.config_file import AUTO, config_values
from search.axes import Axis, axes_of, is_range
from search.objective import Objective, objective_of
from search.variants import Reader, Variants

AT_ONCE = 1024  # variants looked at together


class Limits(BaseModel):
    """What a search may cost; more is refused before anything begins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variants: int = Field(100_000, ge=1, le=10**12, description="variants of a space, at most")
    memory_mb: int = Field(512, ge=1, le=10**6, description="memory of all rows, at most, MB")


class SearchParameters(BaseModel):
    """The section `search` of a space's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Any = Field(None, description="a figure, a formula over figures, or a list of two")
    filters: Any = Field(None, description="comparisons that a variant must pass, such as [trades >= 30]")
    limits: Limits = Field(Limits(), description="what is refused: variants, memory_mb")
    held_out: Fraction = Field(0.3, gt=0, lt=1, description="last part of the period, which chooses nothing, fraction")
    top: int = Field(10, ge=1, le=100_000, description="variants shown")


class Space:
    """All variants of one strategy's config, by number; `read_space` makes it."""

    def __init__(self, values: dict[str, Any], axes: tuple[Axis, ...], search: SearchParameters) -> None:
        self.search, self.limits = search, search.limits
        self.objective: Objective = objective_of(search.objective, search.filters)
        self.size = math.prod(len(axis.values) for axis in axes)
        if self.size > self.limits.variants:
            raise Misconfigured(
                f"the space has {shown(self.size)} variants, over search.limits.variants of {self.limits.variants}; "
                "search fewer values, or raise the limit."
            )
        self.strategy = strategy_named(values["strategy"])
        self._others = {key: value for key, value in values.items() if key not in (self.strategy.name, "bot")}
        name = self.strategy.name
        self._variants = Variants(self.strategy.parameters, values[name], name, axes)
        self.axes = self._variants.axes
        self._checks = [self._reader(one) for one in (*self._variants.checks(), self._accept)]
        self._columns: dict[str, Reader] = {}
        self._group = self._reader(self._outside_the_record)
        self._record = np.zeros(1, self.dtype)
        first = self._first_valid()
        self.first = self.config(first)  # of the first valid variant
        if self._variants.traced:
            self._look_at(first)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Layout of a record of the strategy's parameters."""
        return self.strategy.parameters.dtype()

    def memory(self, bytes_per_row: int) -> int:
        """Bytes of a row for each variant; raises Misconfigured where they are more than `limits.memory_mb`."""
        needed = self.size * bytes_per_row
        if needed > self.limits.memory_mb * 10**6:
            raise Misconfigured(
                f"the space has {self.size} variants, whose rows take {needed / 1e6:.0f} MB, over "
                f"search.limits.memory_mb of {self.limits.memory_mb}; search fewer values, or raise the limit."
            )
        return needed

    def values(self, number: int) -> dict[str, Any]:
        """Value of each axis in a variant, by the axis' key."""
        digits = self._variants.digits(self._within(number))
        return {axis.key: axis.values[digit] for axis, digit in zip(self.axes, digits, strict=True)}

    def config(self, number: int) -> BacktestConfig:
        """Validate the whole config of a variant; raises Misconfigured for one that contradicts itself."""
        section = self._variants.section(self._variants.digits(self._within(number)))
        return load_single({**self._others, self.strategy.name: section})

    def parameters(self, number: int) -> Parameters:
        """Parameters of a variant that `records` gives, without validating them again."""
        return self._variants.parameters(self._within(number))

    def records(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Numbers (k,) of the variants from `start` to before `stop` that are valid, and their records (k,)."""
        numbers = np.arange(max(start, 0), min(stop, self.size), dtype=np.int64)
        for check in self._checks:
            outcomes, which = check(numbers)
            accepted = np.array([not isinstance(one, Exception) for one in outcomes], np.bool_)
            numbers = numbers[accepted[which]]
        return numbers, self._records(numbers)

    def key(self, number: int) -> str:
        """Hash of a variant's resolved parameters, 16 hexadecimal digits: the same however the space is written."""
        text = f"{self.strategy.name}\n{self._variants.text(self._within(number))}"
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def group(self, number: int) -> tuple[str, bool, str]:
        """What decides a variant beside its record: timeframe, whether it reinvests, and its inputs."""
        return self._only(self._group, number)

    def inputs_key(self, number: int) -> str:
        """Text that variants with the same input columns on the same timeframe have in common."""
        return self.group(number)[2]

    def each(self, function: Callable[[Any], Any], numbers: NDArray[np.int64]) -> list[Any]:
        """What a function of the parameters returns for these variants (k,), or the Misconfigured that it raises.

        It is asked once for all that have what it reads in common, and must depend on nothing else.
        """
        outcomes, which = self._reader(function)(numbers)
        return [outcomes[one] for one in which]

    # Which variants are valid

    def _first_valid(self) -> int:
        """Find the first variant that does not contradict itself; raises Misconfigured where there is none."""
        for start in range(0, self.size, AT_ONCE):
            numbers, _ = self.records(start, start + AT_ONCE)
            if len(numbers):
                self.config(int(numbers[0]))
                return int(numbers[0])
        try:
            self._variants.validated(0)
        except Misconfigured as error:
            raise Misconfigured(f"no combination of the space is valid; the first of {self.size}: {error}") from None
        self.config(0)  # what is wrong lies beside the parameters
        raise AssertionError(self.size)

    def _look_at(self, number: int) -> None:
        """Find what all records have in common, and the columns that depend on an axis."""
        for name, function in self._variants.columns().items():
            column = self._reader(function)
            outcomes, _ = column(np.array([number]))
            self._record[name] = outcomes[0]
            if column.axes:
                self._columns[name] = column

    def _records(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Records of valid variants, (k,)."""
        if not len(numbers):
            return np.zeros(0, self.dtype)
        if not self._variants.traced:
            made = [self._variants.parameters(number).record() for number in numbers.tolist()]
            return np.array([tuple(one) for one in made], self.dtype)
        records = np.repeat(self._record, len(numbers))
        for name, column in self._columns.items():
            outcomes, which = column(numbers)
            records[name] = np.array(outcomes, self.dtype[name].base)[which]
        return records

    def _accept(self, parameters: Parameters) -> None:
        """Raise Misconfigured for parameters that do not go with the rest of the config."""
        config_of(self.strategy, parameters, self._others)

    def _outside_the_record(self, parameters: Parameters) -> tuple[str, bool, str]:
        reinvest = bool(self._others.get("reinvest", parameters.reinvests))
        return parameters.timeframe, reinvest, self._inputs_of(parameters)

    def _inputs_of(self, parameters: Parameters) -> str:
        return repr(inputs_of(with_gate(self.strategy, parameters), parameters))

    # Small parts

    def _reader(self, function: Callable[[Any], Any]) -> Reader:
        return Reader(self._variants, function)

    def _only(self, reader: Reader, number: int) -> Any:
        outcomes, _ = reader(np.array([self._within(number)]))
        if isinstance(outcomes[0], Exception):
            raise outcomes[0]
        return outcomes[0]

    def _within(self, number: int) -> int:
        if not 0 <= number < self.size:
            raise IndexError(f"variant {number} of {self.size}")
        return int(number)


def read_space(source: dict[str, Any] | str | Path) -> Space:
    """Read a space from a dict or a YAML file; raises Misconfigured with one sentence for what is wrong."""
    values = config_values(source)
    search = validated(SearchParameters, values.pop("search", None) or {}, "search")
    if values["strategy"] == AUTO:
        raise Misconfigured("strategy is auto, which cannot be searched; choose one strategy and one pair.")
    strategy = strategy_named(values["strategy"])
    name, section = strategy.name, values.get(strategy.name) or {}
    for key, value in values.items():
        if key != name:
            _refuse_axes(key, value, name)
    if not isinstance(section, dict):
        raise Misconfigured(f"{name} must be a section of keys and values, not {shown(section)}.")
    axes = axes_of(strategy.parameters, section, name)
    if not axes:
        raise Misconfigured(
            f"the space has no axis: each parameter of {name} has one value; give one of them a list, or a range "
            "such as {from: 5, to: 40, step: 5}."
        )
    return Space({**values, name: section}, axes, search)


def _refuse_axes(key: str, value: Any, name: str) -> None:
    """Raise Misconfigured for a range, or a list in place of one value, outside the strategy's section."""
    if is_range(value) or (isinstance(value, list) and key not in ("pairs", "investments")):
        raise Misconfigured(
            f"{key} is {shown(value)}, but only the strategy's parameters, in the section {name}, can be searched; "
            "give it one value."
        )
    if isinstance(value, dict):
        for inner, one in value.items():
            _refuse_axes(f"{key}.{inner}", one, name)
