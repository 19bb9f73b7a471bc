"""A space: a config with some values of its strategy's parameters replaced by ranges or lists, each of them an axis.

A variant is known by its number: the axes in the order in which they are written, the last one changing fastest.
`search/portfolio_space.py` has those of several pairs and of the whole algorithm.
Nothing holds all variants. Which of them contradict themselves, and what kernels see of the others, is exactly what
`load_config` says of each; it is found without validating each, as search/variants.py describes.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.errors import Misconfigured, shown
from bot.gate import with_gate
from bot.parameters import Parameters
from bot.strategy import inputs_of
from coordinator.config import BacktestConfig, config_of, load_single, strategy_named
from search.axes import Axis, axes_of
from search.numbered import Numbered, SearchParameters, lattice_of, refuse_axes
from search.variants import SharedFunction, Variants

AT_ONCE = 1024  # variants looked at together


class Space(Numbered):
    """All variants of one strategy's config, by number; `read_space` makes it."""

    portfolio = False

    def __init__(self, values: dict[str, Any], axes: tuple[Axis, ...], search: SearchParameters) -> None:
        super().__init__(values, axes, search)
        self.strategy = strategy_named(values["strategy"])
        self._others = {key: value for key, value in values.items() if key not in (self.strategy.name, "bot")}
        name = self.strategy.name
        self._variants = Variants(self.strategy.parameters, values[name], name, axes)
        self.axes = self._variants.axes  # with numbers for what is written in per cent
        self.lattice = lattice_of(self.axes)
        self._checks = [self._shared(one) for one in (*self._variants.checks(), self._accept)]
        self._columns: dict[str, SharedFunction] = {}
        self._group = self._shared(self._outside_the_record)
        self._record = np.zeros(1, self.dtype)
        self.first_number = self._first_valid()
        self.first = self.config(self.first_number)  # of the first valid variant
        if self._variants.traced:
            self._look_at(self.first_number)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Layout of a record of the strategy's parameters."""
        return self.strategy.parameters.dtype()

    def config(self, number: int) -> BacktestConfig:
        """Validate the whole config of a variant; raises Misconfigured for one that contradicts itself."""
        section = self._variants.section(self._variants.digits(self._within(number)))
        return load_single({**self._others, self.strategy.name: section})

    def parameters(self, number: int) -> Parameters:
        """Parameters of a variant that `records` gives, without validating them again."""
        return self._variants.parameters(self._within(number))

    def records(self, numbers: Sequence[int] | NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Those of some variants that are valid, by number (k,), and their records (k,)."""
        numbers = np.array([self._within(one) for one in numbers], np.int64)
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

    def reinvests(self, parameters: Parameters) -> bool:
        """Whether a variant sizes by the present equity."""
        return bool(self._others.get("reinvest", parameters.reinvests))

    def inputs_key(self, number: int) -> str:
        """Text that variants with the same input columns on the same timeframe have in common."""
        return self.group(number)[2]

    def each(self, function: Callable[[Any], Any], numbers: NDArray[np.int64]) -> list[Any]:
        """What a function of the parameters returns for these variants (k,), or the Misconfigured that it raises.

        It is asked once for all that have what it reads in common, and must depend on nothing else.
        """
        outcomes, which = self._shared(function)(numbers)
        return [outcomes[one] for one in which]

    def on_pair(self, pair: str) -> Space:
        """Return the same variants on another pair: neither parameters nor validity follow from it."""
        other = copy.copy(self)
        other._others = {**self._others, "pair": pair}  # noqa: SLF001, of its own kind
        other.first = self.first.changed(pair=pair)
        return other

    # Which variants are valid

    def _first_valid(self) -> int:
        """Find the first variant that does not contradict itself; raises Misconfigured where there is none."""
        for start in range(0, self.size, AT_ONCE):
            numbers, _ = self.records(range(start, min(start + AT_ONCE, self.size)))
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
            column = self._shared(function)
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
        return parameters.timeframe, self.reinvests(parameters), self._inputs_of(parameters)

    def _inputs_of(self, parameters: Parameters) -> str:
        return repr(inputs_of(with_gate(self.strategy, parameters), parameters))

    # Small parts

    def _shared(self, function: Callable[[Any], Any]) -> SharedFunction:
        return SharedFunction(self._variants, function)

    def _only(self, function: SharedFunction, number: int) -> Any:
        outcomes, _ = function(np.array([self._within(number)]))
        if isinstance(outcomes[0], Exception):
            raise outcomes[0]
        return outcomes[0]


def space_of_one(values: dict[str, Any], search: SearchParameters) -> Space:
    """Read the space of one strategy on one pair from a config's values; raises Misconfigured."""
    strategy = strategy_named(values["strategy"])
    name, section = strategy.name, values.get(strategy.name) or {}
    for key, value in values.items():
        if key != name:
            refuse_axes(key, value, f"the strategy's parameters, in the section {name},")
    if not isinstance(section, dict):
        raise Misconfigured(f"{name} must be a section of keys and values, not {shown(section)}.")
    axes = axes_of(strategy.parameters, section, name)
    if not axes:
        raise Misconfigured(
            f"the space has no axis: each parameter of {name} has one value; give one of them a list, or a range "
            "such as {from: 5, to: 40, step: 5}."
        )
    return Space({**values, name: section}, axes, search)
