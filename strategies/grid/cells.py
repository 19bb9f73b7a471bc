"""The range of a grid and its cells: levels, sides, prices and sizes.

A cell is known by its index and has a fixed pair of prices. A cell that holds something keeps them. Levels are
numbered from `lower`, 0, by equal steps without end; the cells stand on the `levels` of them that begin at `first`.
"""

from __future__ import annotations

import numpy as np

from bot.costs import is_enough, round_trip
from bot.kernel import Record, kernel
from bot.order import OrderKind
from bot.strategy import carried, equity_now, lots_for, order_ticks, tolerance, whole_down, whole_up
from strategies.grid.parameters import (
    CLOSE,
    GEOMETRIC,
    KEPT_STOP,
    LONG,
    NEUTRAL,
    NEXT_LEVEL,
    REINVEST_ALL,
    REINVEST_OFF,
    SHORT,
    SUSPEND,
)


@kernel
def set_range(pair: Record, params: Record, state: Record, lower: float, upper: float, capacity: int) -> None:
    """Take a range, whose levels are numbered anew.

    Only here do new parameters count, so they may change under a grid that stands.
    """
    state.levels, state.infinite = params.levels, params.infinity
    state.spacing = GEOMETRIC if params.infinity else params.spacing
    state.nets = params.direction == NEUTRAL and pair.instrument.linear and not params.infinity
    state.suspends = state.nets and params.turning_entries == SUSPEND
    state.lower, state.upper, state.centre = lower, upper, pair.price
    state.first = 0
    plan(pair, params, state, capacity)


@kernel
def plan(pair: Record, params: Record, state: Record, capacity: int) -> None:
    """Set the stops of the window, the notional of a cell, and the prices of every cell that holds nothing."""
    state.laid_at = pair.time
    set_stops(pair, params, state)
    capital = capital_of(pair, params, state)
    if state.infinite:
        _size_constant_worth(pair, params, state, capital)
    else:
        _size_cells(pair, params, state, capital)
    state.cell_notional *= state.share
    state.unit = state.cell_notional / capital if capital > 0.0 else 0.0
    for index in range(capacity):
        if state.cells[index].held == 0:
            price_cell(pair, params, state, index)


@kernel
def set_stops(pair: Record, params: Record, state: Record) -> None:
    """Set the stops of the window, or where `stop_price` says."""
    tick = pair.instrument.tick_size
    lower, upper = bounds(state)
    state.range_low_stop = whole_down(lower * (1.0 - params.stop_loss) / tick)
    state.range_high_stop = whole_up(upper * (1.0 + params.stop_loss) / tick)
    distance = 0.0 if params.on_stop == CLOSE else KEPT_STOP
    if np.isnan(params.stop_price):  # also where it was taken out while the grid stands
        return
    if state.stop_side < 0:
        state.range_low_stop = whole_down(params.stop_price * (1.0 - distance) / tick)
    elif state.stop_side > 0:
        state.range_high_stop = whole_up(params.stop_price * (1.0 + distance) / tick)


@kernel
def _size_cells(pair: Record, params: Record, state: Record, capital: float) -> None:
    """Divide the capital by the cells, as far as the loss of all of them at the stop allows."""
    buys = sells = 0.0
    for number in range(state.first, state.first + params.levels):
        level = level_at(state, number)
        side = _side(pair, params, state, number, level)
        if side > 0:
            entry = order_ticks(pair, side, level, False)
            buys += (entry - state.range_low_stop) / entry
        elif side < 0:
            entry = order_ticks(pair, side, level, False)
            sells += (state.range_high_stop - entry) / entry
    cells = params.levels - 1 if params.counter == NEXT_LEVEL else params.levels
    state.cell_notional = carried(pair, capital) / cells
    worst = max(buys, sells)
    if worst > 0.0:
        state.cell_notional = min(state.cell_notional, params.risk_budget * capital / worst)


@kernel
def _size_constant_worth(pair: Record, params: Record, state: Record, capital: float) -> None:
    """Size cells so that what is held is worth the same at every level.

    At level L the grid holds V / L, so the cell between L and g L has V / L - V / (g L), a notional of V (1 - 1 / g).
    V leaves enough for all cells under the price.
    """
    tick, ratio, count, losses = pair.instrument.tick_size, 1.0 + params.profit_per_grid, 0, 0.0
    share = 1.0 - 1.0 / ratio
    level = level_at(state, 0)
    while not reached(pair, state.centre, level, -1):
        entry = order_ticks(pair, 1, level, False)
        losses += share * (entry - state.range_low_stop) / entry
        count += 1
        level = level_at(state, count)
    losses += 1.0 - state.range_low_stop * tick / state.centre
    worth = min(carried(pair, capital) / (1.0 + count * share), params.risk_budget * capital / losses)
    state.split, state.cell_notional = count, worth * share
    state.purchase = lots_for(pair, worth * state.share, level)
    state.first = max(0, count - 1 - state.levels // 2)


@kernel
def counter_distance(params: Record, lower: float, upper: float) -> float:
    """Return the least distance from a cell's entry to its counter, fraction of the price."""
    if params.counter != NEXT_LEVEL or params.infinity:
        return params.profit_per_grid
    if params.spacing == GEOMETRIC:
        return (upper / lower) ** (1.0 / (params.levels - 1)) - 1.0
    return (upper - lower) / (params.levels - 1) / upper


@kernel
def step_below(state: Record, number: int) -> float:
    """Return the distance of a level from the one below it, a fraction as `counter_distance` has it."""
    below, level = level_at(state, number - 1), level_at(state, number)
    return (level - below) / (below if state.spacing == GEOMETRIC else level)


@kernel
def is_far_enough(pair: Record, params: Record, state: Record, number: int) -> bool:
    """Whether the cell between a level and the one below it pays for its costs.

    A range was asked as a whole when it was laid. The same width higher up, and equal steps above it, are ever less of
    the price.
    """
    costs = round_trip(pair, OrderKind.LIMIT, OrderKind.LIMIT, 0.0)
    return is_enough(step_below(state, number), 1.0 + params.min_cell_profit, costs)


@kernel
def sizes_follow(params: Record) -> bool:
    """Whether sizes follow the profit of each cell."""
    return params.reinvest != REINVEST_OFF or params.profit_lock > 0.0


@kernel
def capital_of(pair: Record, params: Record, state: Record) -> float:
    """Capital that sizes are reckoned from: the target, or what was invested with what it has earned, less the lock."""
    if not sizes_follow(params):
        return pair.target
    usable = state.invested + equity_now(pair) - state.begun_equity - state.locked
    if params.reinvest == REINVEST_OFF:
        usable = min(pair.target, usable)
    elif params.reinvest != REINVEST_ALL:
        usable = min(state.invested + state.realised - state.locked, usable)
    return max(usable, 0.0)


@kernel
def reached(pair: Record, price: float, level: float, side: int) -> bool:
    """Whether a price has risen (side 1) or fallen (-1) to a level, both in quote currency; ticks decide."""
    tick = pair.instrument.tick_size
    return side * (price - level) / tick >= -tolerance(level / tick)


@kernel
def number_at(state: Record, index: int) -> int:
    """Return the number of the level that a cell stands on in the present window."""
    return state.first + (index - state.first) % state.levels


@kernel
def level_at(state: Record, number: int) -> float:
    """Price of the level of this number, quote currency."""
    if state.spacing == GEOMETRIC:
        return state.lower * (state.upper / state.lower) ** (number / (state.levels - 1))
    return state.lower + number * (state.upper - state.lower) / (state.levels - 1)


@kernel
def bounds(state: Record) -> tuple[float, float]:
    """Lowest and highest level of the window, quote currency; an infinite grid's lowest is its lower bound."""
    if state.infinite or state.first == 0:
        return state.lower, state.upper
    return level_at(state, state.first), level_at(state, state.first + state.levels - 1)


@kernel
def _centre(state: Record) -> float:
    """Price around which the window stands: that of the laying, moved with the window."""
    if state.first == 0 or state.infinite:
        return state.centre
    if state.spacing == GEOMETRIC:
        return state.centre * (state.upper / state.lower) ** (state.first / (state.levels - 1))
    return state.centre + state.first * (state.upper - state.lower) / (state.levels - 1)


@kernel
def _side(pair: Record, params: Record, state: Record, number: int, level: float) -> int:
    """Side of the entry at `level`, 0 where no cell is: at the centre, of which ticks decide, and under one tick."""
    tick, centre = pair.instrument.tick_size, _centre(state)
    off = (level - centre) / tick
    below, above = off <= -tolerance(centre / tick), off >= tolerance(centre / tick)
    if state.infinite:
        side = 1
    elif params.direction == LONG or not pair.instrument.linear:
        side = 1 if params.initial_inventory or below else 0
    elif params.direction == SHORT:
        side = -1 if params.initial_inventory or above else 0
    else:
        side = 1 if below else -1 if above else 0
    if params.counter == NEXT_LEVEL and not state.infinite:
        last = state.first + state.levels - 1 if side > 0 else state.first
        if number == last or not is_far_enough(pair, params, state, max(number, number + side)):
            side = 0  # its counter would lie outside, or nearer than it costs
    return 0 if side > 0 and whole_down(level / tick) < 1 else side


@kernel
def price_cell(pair: Record, params: Record, state: Record, index: int) -> None:
    """Give an empty cell its place in the present window."""
    cell = state.cells[index]
    cell.priced_at = state.laid_at
    number = number_at(state, index)
    level = level_at(state, number)
    cell.side = _side(pair, params, state, number, level) if index < state.levels else 0
    if cell.side == 0:
        cell.lots = 0
        return
    cell.entry = order_ticks(pair, cell.side, level, False)
    if params.counter == NEXT_LEVEL or state.infinite:
        cell.counter = order_ticks(pair, -cell.side, level_at(state, number + cell.side), False)
    elif cell.side > 0:
        cell.counter = whole_up(cell.entry * (1.0 + params.profit_per_grid))
    else:
        cell.counter = whole_down(cell.entry * (1.0 - params.profit_per_grid))
    cell.lots = lots_for(pair, state.cell_notional, cell.entry * pair.instrument.tick_size)


@kernel
def book_cycle(pair: Record, params: Record, state: Record, index: int, fill: Record) -> None:
    """Add the profit of what a counter closed, after its fee and a maker's at the entry; sizes follow what is free."""
    cell, instrument = state.cells[index], pair.instrument
    gained = cell.side * (fill.price - cell.entry) - cell.entry * instrument.maker_fee
    profit = gained * fill.quantity * instrument.tick_value - fill.fee
    state.realised += profit
    state.locked += params.profit_lock * max(profit, 0.0)
    state.cell_notional = state.unit * capital_of(pair, params, state)


@kernel
def begin_accounts(pair: Record, state: Record) -> None:
    """Begin to reckon what the grid was given and what it has earned."""
    state.invested, state.added = pair.target, pair.invested
    state.begun_equity = equity_now(pair)
    state.realised = state.locked = 0.0


@kernel
def take_investment(pair: Record, state: Record) -> bool:
    """Take in what was added to the pair's capital, or taken out of it, since the last time; whether anything was."""
    change = pair.invested - state.added
    state.added = pair.invested
    state.invested = max(state.invested + change, 0.0)
    state.target = max(state.target + change, 0.0)
    return change != 0.0


@kernel
def direction_of(pair: Record, params: Record) -> int:
    """Side of the entries, signed; 0 for a neutral grid."""
    if params.infinity or params.direction == LONG or not pair.instrument.linear:
        return 1
    return -1 if params.direction == SHORT else 0


@kernel
def set_exit_sides(pair: Record, params: Record, state: Record) -> None:
    """Say on which side of the price stop_price and take_profit lie: by the direction, else by where they are."""
    loss = -direction_of(pair, params)
    state.stop_side = state.take_side = 0
    if not np.isnan(params.stop_price):
        state.stop_side = loss if loss != 0 else 1 if params.stop_price > pair.price else -1
    if not np.isnan(params.take_profit):
        state.take_side = -loss if loss != 0 else 1 if params.take_profit > pair.price else -1


@kernel
def is_beyond_exits(pair: Record, params: Record, state: Record) -> bool:
    """Whether the price has passed stop_price or take_profit already, so that no grid belongs there."""
    stopped = state.stop_side != 0 and reached(pair, pair.price, params.stop_price, state.stop_side)
    return stopped or (state.take_side != 0 and reached(pair, pair.price, params.take_profit, state.take_side))
