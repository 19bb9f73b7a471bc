"""Let the entries of a strategy wait for conditions: its section's `when` says which directions may be opened.

A strategy whose parameters have a `when` is wrapped where it is configured; without one nothing is added to it. Its
own code asks `allows` at the moment at which it decides to open: a grid when it is laid, a deal when it starts.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from bot.conditions import CONFLICT, WhenInput, WhenParameters
from bot.kernel import Record, kernel
from bot.strategy import Event, Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bot.inputs import Input

# What the state's field `gate` of such a strategy holds: the directions that its last signal bar let in.
UNGATED, LONGS, SHORTS, BOTH, NEITHER = 0, 1, -1, 2, 3


@kernel
def allows(gate: int, direction: int) -> bool:
    """Whether the gate lets in this direction: 1, -1, or 0 for what trades both ways and is let in by either."""
    if gate == NEITHER:
        return False
    return gate == UNGATED or gate == BOTH or gate * direction >= 0  # noqa: PLR1714, kernels compare numbers


@kernel
def _gate_of(said: float) -> int:
    """Gate by what the conditions say: both directions where both hold, none where nothing has a value."""
    if said == CONFLICT:
        return BOTH
    if said == 1.0 or said == -1.0:  # noqa: PLR1714, kernels compare numbers
        return int(said)
    return NEITHER


def with_gate(strategy: Strategy, parameters: Any) -> Strategy:
    """Return the strategy as these parameters have it trade: behind its gate if they have conditions, else plain."""
    plain = strategy.ungated or strategy
    when = isinstance(parameters, WhenParameters) and parameters.gates and parameters.when
    return gated(plain) if when else plain


@cache
def gated(strategy: Strategy) -> Strategy:
    """Put a strategy behind its gate, closed until a signal bar opens it."""
    decide = strategy.decide

    def behind(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
        if event.kind == Event.SIGNAL:
            state.gate = _gate_of(event.inputs.gate)
        elif state.gate == UNGATED:
            state.gate = NEITHER
        decide(pair, params, state, slots, event)

    return replace(strategy, decide=kernel(behind), inputs=_inputs, heeds="", ungated=strategy, gated_by=gated)


def _inputs(parameters: WhenParameters) -> Mapping[str, Input]:
    combined: WhenInput = parameters.combined()
    return {"gate": combined}
