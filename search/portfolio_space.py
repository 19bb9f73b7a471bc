"""A space over several pairs, or over the whole algorithm: `auto`, `smc`, `risk`, `allocation` and every strategy.

Each variant is validated as a whole, a millisecond or so, beside a run that takes far longer.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.errors import Misconfigured
from coordinator.config import load_portfolio, sections_of
from search.axes import Axis, axes_of, placed
from search.numbered import Numbered, SearchParameters, refuse_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coordinator.config import PortfolioConfig

SEARCHED = "the strategies' parameters and those of auto, allocation, risk and smc"


class PortfolioSpace(Numbered):
    """All variants of a config of several pairs, by number; `read_space` makes it."""

    portfolio = True

    def __init__(self, values: dict[str, Any], axes: tuple[Axis, ...], search: SearchParameters) -> None:
        super().__init__(values, axes, search)
        self._values = {key: value for key, value in values.items() if key != "bot"}
        self.first_number = self._first_valid()
        self.first = self.config(self.first_number)  # of the first valid variant

    def config(self, number: int) -> PortfolioConfig:
        """Validate the whole config of a variant; raises Misconfigured for one that contradicts itself."""
        values = self._values
        for axis, digit in zip(self.axes, self.digits(number), strict=True):
            values = placed(values, axis.path, axis.values[digit])
        return load_portfolio(values)

    def records(self, numbers: Sequence[int] | NDArray[np.int64]) -> tuple[NDArray[np.int64], list[PortfolioConfig]]:
        """Those of some variants that are valid, by number (k,), and their configs."""
        valid, configs = [], []
        for number in numbers:
            try:
                configs.append(self.config(int(number)))
            except Misconfigured:
                continue
            valid.append(int(number))
        return np.array(valid, np.int64), configs

    def key(self, number: int) -> str:
        """Hash of a variant's whole config, 16 hexadecimal digits: the same however the space is written."""
        text = json.dumps(self.config(number).document(), sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def _first_valid(self) -> int:
        first: Misconfigured | None = None
        for number in range(self.size):
            try:
                self.config(number)
            except Misconfigured as error:
                first = first or error
            else:
                return number
        raise Misconfigured(f"no combination of the space is valid; the first of {self.size}: {first}")


def space_of_many(values: dict[str, Any], search: SearchParameters) -> PortfolioSpace:
    """Read the space of a config of several pairs, or of the whole algorithm; raises Misconfigured."""
    sections = sections_of(values["strategy"])
    sections.pop("execution")
    axes: list[Axis] = []
    for key, value in values.items():
        if key in sections and isinstance(value, dict):
            own = axes_of(sections[key], value, key)
            axes += [Axis(one.key, (key, *one.path), one.values) for one in own]
        else:
            refuse_axes(key, value, SEARCHED)
    if not axes:
        raise Misconfigured(
            f"the space has no axis: give one of {SEARCHED} a list, or a range such as {{from: 5, to: 40, step: 5}}."
        )
    return PortfolioSpace(values, tuple(axes), search)
