"""What every space has: axes, a number for each combination of their values, and what a search is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from bot.errors import Misconfigured, shown
from bot.parameters import Fraction
from search.axes import is_range
from search.methods import RISK_FIELDS, Lattice, Method, method_of
from search.objective import Objective, objective_of

if TYPE_CHECKING:
    from search.axes import Axis

LARGEST = 2**62  # variants of a space, whatever of it is played
STRICT = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Limits(BaseModel):
    """What a search may cost; more is refused before anything begins."""

    model_config = STRICT

    variants: int = Field(100_000, ge=1, le=10**12, description="variants that are played, at most")
    memory_mb: int = Field(512, ge=1, le=10**6, description="memory of all rows, at most, MB")


class WalkForwardParameters(BaseModel):
    """The windows of `traderagent walkforward`."""

    model_config = STRICT

    train_days: int = Field(180, ge=2, le=36_500, description="days that choose, before each window")
    test_days: int = Field(60, ge=2, le=36_500, description="days of each window, which choose nothing")
    anchored: bool = Field(False, description="every window is chosen on all days before it, from the first on")
    embargo_days: int | None = Field(
        None, ge=0, le=3650, description="days between both; left out: the longest look-back of the space"
    )


class SearchParameters(BaseModel):
    """The section `search` of a space's file."""

    model_config = STRICT

    objective: Any = Field(None, description="a figure, a formula over figures, or a list of two")
    filters: Any = Field(None, description="comparisons that a variant must pass, such as [trades >= 30]")
    limits: Limits = Field(Limits(), description="what is refused: variants, memory_mb")
    held_out: Fraction = Field(0.3, gt=0, lt=1, description="last part of the period, which chooses nothing, fraction")
    top: int = Field(10, ge=1, le=100_000, description="variants shown")
    method: Annotated[Method, BeforeValidator(method_of)] = Field(
        Method("grid"),
        description="grid, random:N, sobol:N, tpe:N, cmaes:N, nsga2:N, coarse_fine or staged",
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="of whatever is drawn")
    coarse: int = Field(4, ge=2, le=100, description="coarse_fine: values of each axis that are played first")
    fine_steps: int = Field(3, ge=0, le=100, description="coarse_fine: turns around the best at one step")
    preselect: int = Field(20_000, ge=1, le=10**6, description="staged: variants kept for the second stage")
    prune: bool = Field(False, description="on a quarter of the days, then a half, then all: the worse half leaves")
    plateau: bool = Field(False, description="rank by the worst among a variant's own score and its neighbours'")
    walk_forward: WalkForwardParameters = Field(WalkForwardParameters(), description="windows of `walkforward`")


class Numbered:
    """Axes and the combinations of their values, by number."""

    portfolio: bool  # whether several pairs, or the whole algorithm, are played
    first: Any  # config of the first valid variant

    def __init__(self, values: dict[str, Any], axes: tuple[Axis, ...], search: SearchParameters) -> None:
        """`values`: the config with its ranges as they are written."""
        self.document = values
        self.axes, self.search, self.limits = axes, search, search.limits
        self.objective: Objective = objective_of(search.objective, search.filters)
        if search.method.name == "cmaes" and len(self.objective.metrics) > 1:
            raise Misconfigured(
                f"search.method is {search.method}, which follows one metric, and search.objective names "
                f"{len(self.objective.metrics)}; name one, or choose nsga2:N."
            )
        self.lattice = lattice_of(axes)
        self.size = self.lattice.size
        if self.size > LARGEST:
            raise Misconfigured(
                f"the space has {shown(self.size)} variants, more than can be numbered ({LARGEST}); search "
                "fewer values."
            )
        self.most = search.method.most(self.lattice, search)
        if self.most > self.limits.variants:
            raise Misconfigured(
                f"the space has {shown(self.size)} variants, of which {search.method} plays up to {shown(self.most)}, "
                f"over search.limits.variants of {self.limits.variants}; search fewer values, choose a method such as "
                "random:1000, or raise the limit."
            )

    @property
    def firsts(self) -> tuple[Any, ...]:
        """The first valid variant of each pair that is searched by itself."""
        return (self.first,)

    def source(self) -> dict[str, Any]:
        """What `read_space` makes this space of again."""
        search = self.search.model_dump(exclude={"method"})
        return {**self.document, "search": {**search, "method": str(self.search.method)}}

    def memory(self, bytes_per_row: int) -> int:
        """Bytes of a row for each variant played; raises Misconfigured where they are over `limits.memory_mb`."""
        needed = self.most * bytes_per_row
        if needed > self.limits.memory_mb * 10**6:
            raise Misconfigured(
                f"{self.most} variants are to be played, whose rows take {needed / 1e6:.0f} MB, over "
                f"search.limits.memory_mb of {self.limits.memory_mb}; search fewer values, or raise the limit."
            )
        return needed

    def digits(self, number: int) -> tuple[int, ...]:
        """Which value of each axis a variant has; the last axis changes fastest."""
        return tuple(self.lattice.digits(np.array([self._within(number)]))[0].tolist())

    def values(self, number: int) -> dict[str, Any]:
        """Value of each axis in a variant, by the axis' key."""
        return {axis.key: axis.values[digit] for axis, digit in zip(self.axes, self.digits(number), strict=True)}

    def _within(self, number: int) -> int:
        if not 0 <= number < self.size:
            raise IndexError(f"variant {number} of {self.size}")
        return int(number)


def lattice_of(axes: tuple[Axis, ...]) -> Lattice:
    """Lay out axes as methods see them."""
    return Lattice(
        tuple(len(axis.values) for axis in axes),
        tuple(axis.words for axis in axes),
        tuple(any(str(part) in RISK_FIELDS for part in axis.path) for axis in axes),
    )


def refuse_axes(key: str, value: Any, others: str) -> None:
    """Raise Misconfigured for a range, or a list in place of one value, where none is searched; `others` may be."""
    if is_range(value) or (isinstance(value, list) and key not in ("pairs", "investments")):
        raise Misconfigured(f"{key} is {shown(value)}, but only {others} can be searched; give it one value.")
    if isinstance(value, dict):
        for inner, one in value.items():
            refuse_axes(f"{key}.{inner}", one, others)
