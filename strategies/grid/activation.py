"""Which orders of a grid's cells rest where not all may: those near the price, the nearest first."""

from __future__ import annotations

import numpy as np

from bot.kernel import Record, kernel
from bot.strategy import whole_down
from strategies.grid.orders import missing, set_counter, set_entry
from strategies.grid.state import COUNTER_WAITS, ENTRY_WAITS, capacity

FAR = 1 << 60  # ticks


@kernel
def is_limited(params: Record) -> bool:
    """Whether some orders may have to wait."""
    return not np.isnan(params.activation_band) or not np.isnan(params.max_open_orders)


@kernel
def activate(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Let the orders rest that are near enough to the last close, and the others wait. Equally near: by their slots."""
    close = pair.price / pair.instrument.tick_size
    price, cells = int(np.rint(close)), capacity(slots)
    reach = FAR if np.isnan(params.activation_band) else whole_down(params.activation_band * close)
    last = 2 * cells
    if not np.isnan(params.max_open_orders):
        reach, last = _farthest(pair, state, price, reach, cells, int(params.max_open_orders))
    for index in range(cells):
        cell, waits = state.cells[index], 0
        if _is_beyond(abs(cell.entry - price), index, reach, last):
            waits |= ENTRY_WAITS
        if _is_beyond(abs(cell.counter - price), cells + index, reach, last):
            waits |= COUNTER_WAITS
        changed = waits ^ cell.waits
        cell.waits = waits
        if changed & ENTRY_WAITS:
            set_entry(pair, state, slots, index)
        if changed & COUNTER_WAITS:
            set_counter(pair, state, slots, index)


@kernel
def _is_beyond(distance: int, slot: int, reach: int, last: int) -> bool:
    return distance > reach or (distance == reach and slot > last)


@kernel
def _farthest(pair: Record, state: Record, price: int, reach: int, cells: int, most: int) -> tuple[int, int]:
    """Distance (ticks) and slot of the farthest order that may rest, of `most` within `reach`."""
    distance, slot = -1, -1
    for _ in range(most):
        nearest, found = FAR, -1
        for index in range(2 * cells):
            cell = state.cells[index % cells]
            lots = missing(pair, state, index) if index < cells else cell.held
            away = abs((cell.entry if index < cells else cell.counter) - price)
            later = away > distance or (away == distance and index > slot)
            if lots > 0 and later and away <= reach and away < nearest:
                nearest, found = away, index
        if found < 0:
            return reach, 2 * cells
        distance, slot = nearest, found
    return distance, slot
