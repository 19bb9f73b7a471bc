"""The strategies that a bot may use: what its pairs remember, are told and dispatch to is generated from their list.

A strategy's place in the roster is its family: the number by which router, notes and records name it. The built-in
ones share one roster, so that one compilation serves them all; one of the user's joins them where a regime routes to
it, and stands alone where it trades alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from bot.errors import Misconfigured
from bot.kernel import Record, kernel
from bot.strategy import Strategy, load_strategy
from coordinator import config_file
from coordinator.pair_state import state_dtype
from coordinator.regime import Regime
from coordinator.vocabulary import NOBODY, Variant

if TYPE_CHECKING:
    from bot.parameters import Parameters

Dispatch = Callable[[Record, Record, Record, Record, Record, int, int], None]

BUILT_IN = tuple(load_strategy(reference) for reference in config_file.BUILT_IN.values())
VARIANTS, REGIMES = len(Variant), len(Regime)
# Keys of a config, beside which a strategy's section stands under its name.
KEYS = (
    *("version", "strategy", "exchange", "market", "start", "end", "capital", "leverage", "execution", "pair", "pairs"),
    *("candles", "instrument", "instruments", "reinvest", "bot", "auto", "allocation", "risk", "smc"),
)


@dataclass(frozen=True)
class Roster:
    """Strategies in the order of their families; equal rosters share machine code."""

    strategies: tuple[Strategy, ...] = BUILT_IN

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each family."""
        return tuple(one.name for one in self.strategies)

    @property
    def code_name(self) -> str:
        """Word that tells this roster's machine code from another's."""
        return "_".join(word_of(name) for name in self.names)

    def family(self, name: str) -> int:
        """Number of a strategy by its name."""
        return self.names.index(name)

    def name_of(self, family: int) -> str:
        """Name of a family; NOBODY trades in cash."""
        return "cash" if family == NOBODY else self.names[family]

    def check_names(self) -> None:
        """Raise Misconfigured where a strategy's name is another's, or stands for something else."""
        taken = {*KEYS, *(state_dtype(()).names or ())}
        for index, name in enumerate(self.names):
            if name in taken or name in self.names[:index] or not name.isidentifier():
                raise Misconfigured(
                    f"strategy {name[:200]!r} has a name that is taken or is no word; give its Strategy another name."
                )

    def dispatch(self) -> Dispatch:
        """Return the kernel that hands an event to one family, with its variant's parameters and its own state."""
        return _dispatch(self.strategies)


def word_of(name: str) -> str:
    """Keep letters and digits."""
    return "".join(one if one.isalnum() else "_" for one in name)


def all_variants(strategy: Strategy, parameters: Parameters) -> list[tuple[Parameters, float]]:
    """Parameters and share of the sizes by variant; one that means nothing to a strategy is as configured."""
    found = [(parameters, 1.0)] * VARIANTS
    for one in strategy.variations:
        found[Variant[one.name.upper()]] = (one.changed(parameters), one.size)
    return found


@kernel
def _nobody(
    _pair: Record, _params: Record, _state: Record, _wishes: Record, _event: Record, _family: int, _variant: int
) -> None:
    """Hand the event to no strategy."""


@cache
def _dispatch(strategies: tuple[Strategy, ...]) -> Dispatch:
    handed: Dispatch = _nobody
    for family in reversed(range(len(strategies))):
        handed = _or_else(family, strategies[family], handed)
    return handed


def _or_else(number: int, strategy: Strategy, other: Dispatch) -> Dispatch:
    """Let `strategy` decide when the family is this number, else the `other`."""
    name, decide = strategy.name, strategy.decide

    def handed(
        pair: Record, params: Record, state: Record, wishes: Record, event: Record, family: int, variant: int
    ) -> None:
        if family == number:
            decide(pair, getattr(params, name)[variant], getattr(state, name), wishes, event)
        else:
            other(pair, params, state, wishes, event, family, variant)

    return kernel(handed)


def parameter_fields(strategies: tuple[Strategy, ...]) -> list[Any]:
    """List what kernels read of a roster: each strategy's parameters by variant, then what is told of each family."""
    count = len(strategies)
    return [
        *((one.name, one.parameters.dtype(), (VARIANTS,)) for one in strategies),
        ("sizes", "f8", (count, VARIANTS)),
        ("timeframes", "i8", (count,)),  # ms
        ("warmups", "i8", (count,)),  # signal bars
        ("judged_as", "i8", (count,)),
        ("own_stop", "i8", (count,)),
        ("calls", "i8", (REGIMES, 2)),  # family and variant that a regime calls for
        ("never", "i8", (REGIMES, count)),  # Never, of a regime and a family
    ]
