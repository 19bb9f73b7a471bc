"""The simulated exchange one fill at a time, for a venue whose traders answer from outside between two steps."""

from __future__ import annotations

from functools import cache
from typing import Any

from backtesting.exchange import NOTHING, World, fill, first_reached, liquidate
from bot.kernel import Record, kernel, specialise, template

LIQUIDATION = -2


@kernel
def nobody(_pair: Record, _params: Record, _state: Record, _slots: Record, _event: Record) -> None:
    """Answer nothing: whoever trades here hears of it elsewhere."""


@template
def next_fill(
    pairs: Record,
    nothing: Record,
    slots: Record,
    events: Record,
    runs: Record,
    settings: Record,
    fills: Record,
    x: float,
    y: float,
) -> tuple[int, float]:
    """Fill, or refuse, the first order that the price meets on its way from `x` to `y` (ticks).

    Returns its slot (NOTHING if none, LIQUIDATION for the position) and where the price stands then. Shapes: slots
    (s,), all other arrays of one; `nothing` stands where a strategy would have parameters and state. `runs[0].fills`
    is 1 when something was filled, and `fills[0]` is it.
    """
    run = runs[0]
    run.fills = 0
    world = World(pairs[0], nothing, nothing, slots, events[0], run, settings[0], fills)
    index, at = first_reached(pairs[0], slots, run.budget > 0, settings[0].through, x, y)
    if index == NOTHING:
        return NOTHING, y
    if index == LIQUIDATION:
        liquidate(world, at)
        return index, at
    fill(world, index, x, at)
    if at != x:
        run.at_open = False
    return index, at


@cache
def compiled_next_fill() -> Any:
    """Compile the step, once per process, on disk once per source."""
    return specialise(next_fill, "venue", decide=nobody)
