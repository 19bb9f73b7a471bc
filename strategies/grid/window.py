"""How the window of a grid follows the price one cell at a time."""

from __future__ import annotations

import numpy as np

from bot.costs import CostRule, pays, round_trip
from bot.kernel import Record, kernel
from bot.order import OrderKind
from strategies.grid.cells import is_far_enough, level_at, price_cell, reached, step_below
from strategies.grid.orders import set_cell
from strategies.grid.parameters import NEXT_LEVEL, TRAIL_ATR, TRAIL_FIXED


@kernel
def shifts(params: Record) -> bool:
    """Whether the whole range is laid again where the price has left it."""
    return params.trailing == TRAIL_FIXED or params.trailing == TRAIL_ATR  # noqa: PLR1714


@kernel
def follow_cells(pair: Record, params: Record, state: Record) -> bool:
    """Move the window as far as the price has gone beyond it, cell by cell and within its limits; whether it moved.

    A cell that it takes up above, and that would not pay for its costs there, is counted and not set.
    """
    before = state.first
    for _ in range(state.levels):
        above, below = next_moves(params, state)
        if reached(pair, pair.price, above, 1):
            state.first += 1
            _ask_costs(pair, params, state, state.first + state.levels - 1)
        elif reached(pair, pair.price, below, -1):
            state.first -= 1
        else:
            break
    return state.first != before


@kernel
def ask_costs_of_cells(pair: Record, params: Record, state: Record) -> None:
    """Count the cells of a range laid again that are not set for their costs."""
    for number in range(1, state.levels):
        _ask_costs(pair, params, state, number)


@kernel
def _ask_costs(pair: Record, params: Record, state: Record, number: int) -> None:
    """Count the cell under a level where it is not set for its costs."""
    if params.counter == NEXT_LEVEL and not is_far_enough(pair, params, state, number):
        costs = round_trip(pair, OrderKind.LIMIT, OrderKind.LIMIT, 0.0)
        pays(pair, CostRule.CELL, step_below(state, number), 1.0 + params.min_cell_profit, costs)


@kernel
def next_moves(params: Record, state: Record) -> tuple[float, float]:
    """Prices from which the window moves up and down, quote currency; infinite, or minus that, where it may not."""
    if state.infinite:
        middle = state.first + state.levels // 2
        return level_at(state, middle + 1), level_at(state, middle) if state.first > 0 else -np.inf
    above, below = level_at(state, state.first + state.levels), level_at(state, state.first - 1)
    if above > params.trailing_limit_upper * (1.0 + 1e-9):  # never where there is none: NaN
        above = np.inf
    if below <= 0.0 or below < params.trailing_limit_lower * (1.0 - 1e-9):
        below = -np.inf
    return above, below


@kernel
def follow_constant_worth(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Keep the price in the middle of an infinite grid's window.

    A cell that the window leaves above gives what it holds to the core, and one that it takes up there gets it back.
    Below, it leaves empty cells only.
    """
    if not state.bought:
        return
    for _ in range(state.levels):
        above, below = next_moves(params, state)
        if reached(pair, pair.price, above, 1):
            index = state.first % state.levels
            if state.cells[index].held > 0:
                break
            state.first += 1
            price_cell(pair, params, state, index)
            _endow_cell(state, index)
        elif below > 0.0 and not reached(pair, pair.price, below, 1):
            index = (state.first + state.levels - 1) % state.levels
            state.core += state.cells[index].held
            state.cells[index].held = 0
            state.first -= 1
            price_cell(pair, params, state, index)
        else:
            break
        set_cell(pair, state, slots, index)


@kernel
def endow(state: Record) -> None:
    """Give the cells that stand above the first purchase their part of it."""
    for number in range(max(state.split, state.first), state.first + state.levels):
        _endow_cell(state, number % state.levels)


@kernel
def _endow_cell(state: Record, index: int) -> None:
    cell = state.cells[index]
    lots = min(cell.lots - cell.held, state.core)
    cell.held += lots
    state.core -= lots
