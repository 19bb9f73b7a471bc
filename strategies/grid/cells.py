"""The range of a grid and its cells: levels, sides, prices and sizes.

A cell is known by its index and has a fixed pair of prices. A cell that holds something keeps them.
"""

from __future__ import annotations

from bot.kernel import Record, kernel
from bot.strategy import affordable, away, dust, lots_for, whole_down, whole_up
from strategies.grid.parameters import GEOMETRIC, LONG, NEUTRAL, SHORT, SUSPEND


@kernel
def set_range(pair: Record, params: Record, state: Record, lower: float, upper: float, capacity: int) -> None:
    """Take a range: its stops, the notional of a cell, and the prices of every cell that holds nothing.

    Only here do new parameters count, so they may change under a grid that stands.
    """
    state.levels, state.spacing = params.levels, params.spacing
    state.nets = params.direction == NEUTRAL and pair.instrument.linear
    state.suspends = state.nets and params.turning_entries == SUSPEND
    tick = pair.instrument.tick_size
    state.lower, state.upper, state.centre = lower, upper, pair.price
    state.laid_at = pair.time
    state.range_low_stop = whole_down(lower * (1.0 - params.stop_loss) / tick)
    state.range_high_stop = whole_up(upper * (1.0 + params.stop_loss) / tick)
    buys = sells = 0.0
    for index in range(params.levels):
        level = _level(state, index)
        side = _side(pair, params, state, level)
        if side > 0:
            entry = away(pair, side, level, False)
            buys += (entry - state.range_low_stop) / entry
        elif side < 0:
            entry = away(pair, side, level, False)
            sells += (state.range_high_stop - entry) / entry
    state.cell_notional = affordable(pair) / params.levels
    worst = max(buys, sells)
    if worst > 0.0:
        state.cell_notional = min(state.cell_notional, params.risk_budget * pair.target / worst)
    state.cell_notional *= state.share
    for index in range(capacity):
        if state.cells[index].held == 0:
            price_cell(pair, params, state, index)


@kernel
def _level(state: Record, index: int) -> float:
    share = index / (state.levels - 1)
    if state.spacing == GEOMETRIC:
        return state.lower * (state.upper / state.lower) ** share
    return state.lower + index * (state.upper - state.lower) / (state.levels - 1)


@kernel
def _side(pair: Record, params: Record, state: Record, level: float) -> int:
    """Side of the entry at `level`, 0 where no cell is: at the centre, of which ticks decide, and under one tick."""
    tick = pair.instrument.tick_size
    off = (level - state.centre) / tick
    below, above = off <= -dust(state.centre / tick), off >= dust(state.centre / tick)
    if params.direction == LONG or not pair.instrument.linear:
        side = 1 if params.initial_inventory or below else 0
    elif params.direction == SHORT:
        side = -1 if params.initial_inventory or above else 0
    else:
        side = 1 if below else -1 if above else 0
    return 0 if side > 0 and whole_down(level / tick) < 1 else side


@kernel
def price_cell(pair: Record, params: Record, state: Record, index: int) -> None:
    """Give an empty cell its place in the present range."""
    cell = state.cells[index]
    cell.priced_at = state.laid_at
    level = _level(state, index)
    cell.side = _side(pair, params, state, level) if index < state.levels else 0
    if cell.side == 0:
        cell.lots = 0
        return
    cell.entry = away(pair, cell.side, level, False)
    if cell.side > 0:
        cell.counter = whole_up(cell.entry * (1.0 + params.profit_per_grid))
    else:
        cell.counter = whole_down(cell.entry * (1.0 - params.profit_per_grid))
    cell.lots = lots_for(pair, state.cell_notional, cell.entry * pair.instrument.tick_size)
