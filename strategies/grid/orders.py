"""The orders that a grid desires: entries and counters of its cells, and the stop of all they hold."""

from __future__ import annotations

import numpy as np

from bot.kernel import Record, kernel
from bot.order import WHOLE_POSITION, OrderKind, Side, Signal, clear_order, set_order
from bot.strategy import enter
from strategies.grid.cells import number_at
from strategies.grid.state import COUNTER_WAITS, ENTRY_WAITS, capacity


@kernel
def set_all(pair: Record, state: Record, slots: Record) -> None:
    """Set every cell's entry and counter, and the stop of the inventory."""
    for index in range(capacity(slots)):
        set_cell(pair, state, slots, index)
    set_stop(pair, state, slots)
    state.sign = np.sign(pair.ledger.position)


@kernel
def turn(pair: Record, state: Record, slots: Record) -> None:
    """Follow a position that was opened, closed or turned: entries against it wait, counters against it only reduce."""
    sign = np.sign(pair.ledger.position)
    for index in range(capacity(slots)):
        cell = state.cells[index]
        if cell.side * sign < 0 or cell.side * state.sign < 0:
            set_entry(pair, state, slots, index)
        if cell.held > 0:
            set_counter(pair, state, slots, index)
    state.sign = sign


@kernel
def set_cell(pair: Record, state: Record, slots: Record, index: int) -> None:
    """Set what the cell still misses at its entry, and what it holds at its counter."""
    set_entry(pair, state, slots, index)
    set_counter(pair, state, slots, index)


@kernel
def set_entry(pair: Record, state: Record, slots: Record, index: int) -> None:
    """Set what the cell still misses at its entry."""
    cell = state.cells[index]
    stop = state.low_stop if cell.side > 0 else state.high_stop
    lots = 0 if cell.waits & ENTRY_WAITS else missing(pair, state, index)
    part = WHOLE_POSITION if state.infinite else index
    slot = enter(pair, slots, index, cell.side, OrderKind.LIMIT, cell.entry, lots, part)
    slot.stop = stop


@kernel
def missing(pair: Record, state: Record, index: int) -> int:
    """Lots that a cell still has to open, 0 where it may not: beyond its stop, or against the position."""
    cell = state.cells[index]
    stop = state.low_stop if cell.side > 0 else state.high_stop
    if cell.side * (cell.entry - stop) <= 0 or (state.suspends and cell.side * pair.ledger.position < 0):
        return 0
    if state.infinite and not state.bought and number_at(state, index) >= state.split:
        return 0  # bought at once, by another order
    return max(cell.lots - cell.held, 0)


@kernel
def set_counter(pair: Record, state: Record, slots: Record, index: int) -> None:
    """Set the counter of what a cell holds; it is reduce-only except where a neutral grid may open by it."""
    cell, number = state.cells[index], capacity(slots) + index
    side = -cell.side
    stop = state.low_stop if side > 0 else state.high_stop
    against = state.suspends and side * pair.ledger.position < 0
    reduces = not state.nets or against or side * (cell.counter - stop) <= 0
    if slots[number].active and slots[number].reduce_only != reduces:
        clear_order(slots, number)  # no venue amends this
    lots = 0 if cell.waits & COUNTER_WAITS else cell.held
    part = WHOLE_POSITION if state.infinite else index
    slot = set_order(slots, number, side, OrderKind.LIMIT, cell.counter, lots, Signal.GRID_COUNTER, part)
    slot.reduce_only = reduces
    slot.stop = 0 if reduces else stop


@kernel
def set_stop(pair: Record, state: Record, slots: Record) -> None:
    """Set the stop of the whole inventory."""
    position, index = pair.ledger.position, 2 * capacity(slots)
    side, price = (Side.SELL, state.low_stop) if position > 0 else (Side.BUY, state.high_stop)
    set_order(slots, index, side, OrderKind.STOP, price, abs(position), Signal.EXIT_SL, WHOLE_POSITION)
