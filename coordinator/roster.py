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

import numpy as np

from bot.errors import Misconfigured
from bot.kernel import Record, kernel
from bot.record import new_records
from bot.strategy import EVENT, Decide, Event, Strategy, load_strategy, names_of
from coordinator import config_file
from coordinator.columns import inputs_dtype, row_dtype, unknown
from coordinator.pair_state import Dispatch, state_dtype
from coordinator.regime import Regime
from coordinator.vocabulary import NO_STRATEGY, Variant

if TYPE_CHECKING:
    from bot.parameters import Parameters

TakeInputs = Callable[[Record, Record], None]

BUILT_IN = tuple(
    load_strategy(reference) for reference in map(config_file.BUILT_IN.get, config_file.ROUTED) if reference
)
VARIANTS, REGIMES = len(Variant), len(Regime)


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
        return "_".join(one.code_name for one in self.strategies)

    def family(self, name: str) -> int:
        """Number of a strategy by its name."""
        return self.names.index(name)

    def name_of(self, family: int) -> str:
        """Name of a family; NO_STRATEGY trades in cash."""
        return "cash" if family == NO_STRATEGY else self.names[family]

    def check_names(self) -> None:
        """Raise Misconfigured where a strategy's name is another's, or stands for something else."""
        taken = {*config_file.KEYS, "start", "end", *(state_dtype(()).names or ())}
        for index, name in enumerate(self.names):
            if name in taken or name in self.names[:index] or not name.isidentifier():
                raise Misconfigured(
                    f"strategy {name[:200]!r} has a name that is taken or is no word; give its Strategy another name."
                )

    def dispatch(self) -> Dispatch:
        """Return the kernel that hands an event to one family, with its variant's parameters and its own state."""
        return _dispatch(self.strategies)

    def new_events(self) -> Any:
        """An event, in an array of one, as this roster is told it."""
        events = new_records(event_dtype(self.strategies), 1)
        rows = row_dtype(self.strategies, VARIANTS)
        if rows is not None:
            events[0].inputs = events[0].unknown = unknown(rows, 1)[0]
        return events

    def take_inputs(self) -> TakeInputs:
        """Return the kernel that puts the inputs of a longer bar into an event."""
        return _no_inputs if row_dtype(self.strategies, VARIANTS) is None else _inputs


def all_variants(strategy: Strategy, parameters: Parameters) -> list[tuple[Parameters, float]]:
    """Parameters and share of the sizes by variant; one that means nothing to a strategy is as configured."""
    found = [(parameters, 1.0)] * VARIANTS
    for one in strategy.variations:
        found[Variant[one.name.upper()]] = (one.changed(parameters), one.size)
    return found


@kernel
def _nobody(
    _pair: Record, _params: Record, _state: Record, _desired_orders: Record, _event: Record, _family: int, _variant: int
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
    if names_of(strategy):
        return _or_else_with_inputs(number, strategy, other)
    name, decide = strategy.name, strategy.decide

    def handed(
        pair: Record, params: Record, state: Record, desired_orders: Record, event: Record, family: int, variant: int
    ) -> None:
        if family == number:
            decide(pair, getattr(params, name)[variant], getattr(state, name), desired_orders, event)
        else:
            other(pair, params, state, desired_orders, event, family, variant)

    return kernel(handed)


# Inputs: a strategy that has some is told an event of its own, with the values of its variant.


@cache
def event_dtype(strategies: tuple[Strategy, ...]) -> np.dtype[Any]:
    """Lay out what a pair is told: an EVENT, behind which lie the inputs of all and the event of each that has some."""
    rows = row_dtype(strategies, VARIANTS)
    if rows is None:
        return EVENT
    base = [(name, EVENT[name]) for name in EVENT.names or ()]
    told = [
        (one.name, np.dtype([*base, ("inputs", inputs_dtype(one))], align=True)) for one in strategies if names_of(one)
    ]
    return np.dtype([*base, ("inputs", rows), ("unknown", rows), ("told", np.dtype(told, align=True))], align=True)


@kernel
def _no_inputs(_event: Record, _longer: Record) -> None:
    """Leave an event as it is: no strategy reads more."""


@kernel
def _inputs(event: Record, longer: Record) -> None:
    """Take the row that belongs to a longer bar."""
    event.inputs = longer.inputs


@kernel
def _tell_own(own: Record, event: Record, newest: Record, unknown: Record) -> None:
    """Write a strategy's own event: inputs belong to SIGNAL, and have no value with anything else."""
    own.kind, own.timeframe = event.kind, event.timeframe
    own.bar = event.bar
    own.execution = event.execution
    if event.kind == Event.SIGNAL:
        own.inputs = newest
    else:
        own.inputs = unknown


def _or_else_with_inputs(number: int, strategy: Strategy, other: Dispatch) -> Dispatch:
    """Let `strategy` decide on its own event when the family is this number, else the `other`."""
    name, decide = strategy.name, strategy.decide

    def handed(
        pair: Record, params: Record, state: Record, desired_orders: Record, event: Record, family: int, variant: int
    ) -> None:
        if family == number:
            own = getattr(event.told, name)
            _tell_own(own, event, getattr(event.inputs, name)[variant], getattr(event.unknown, name)[variant])
            decide(pair, getattr(params, name)[variant], getattr(state, name), desired_orders, own)
        else:
            other(pair, params, state, desired_orders, event, family, variant)

    return kernel(handed)


def decide_alone(strategy: Strategy) -> Decide:
    """Return the strategy's kernel for a driver that knows no other strategy and no variant but the first."""
    name, decide = strategy.name, strategy.decide
    if not names_of(strategy):
        return decide

    def alone(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
        own = getattr(event.told, name)
        _tell_own(own, event, getattr(event.inputs, name)[0], getattr(event.unknown, name)[0])
        decide(pair, params, state, slots, own)

    return kernel(alone)


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
        ("at_once", "i8", (count,)),  # it looks at base bars before the first signal bar
        ("calls", "i8", (REGIMES, 2)),  # family and variant that a regime calls for
        ("never", "i8", (REGIMES, count)),  # Never, of a regime and a family
    ]
