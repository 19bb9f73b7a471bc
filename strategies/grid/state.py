"""What a grid remembers: its cells, its range, its stops, and what it may lose."""

from __future__ import annotations

import numpy as np

from bot.indicators import ATR
from bot.kernel import Record, kernel
from strategies.grid.parameters import MAX_LEVELS

ENTRY_WAITS, COUNTER_WAITS = 1, 2

CELL = np.dtype(
    [
        ("entry", "i8"),  # ticks
        ("counter", "i8"),
        ("lots", "i8"),  # lots
        ("held", "i8"),
        ("side", "i8"),  # Side, or 0 for none
        ("priced_at", "i8"),  # ms: the laying its prices belong to
        ("waits", "i8"),  # ENTRY_WAITS, COUNTER_WAITS: its orders that may not rest, too far from the price
    ]
)

STATE = np.dtype(
    [
        ("atr", ATR),
        ("gate", "i8"),  # directions that `when` lets in, as bot/gate.py has them
        ("laid", "b1"),
        ("closing", "b1"),
        ("nets", "b1"),  # neutral on a linear contract: buys and sells meet in one position
        ("suspends", "b1"),  # entries that would turn the position wait until it is flat
        ("sign", "i8"),  # of the position for which the cells were set last
        ("levels", "i8"),  # of the present range; cells beyond it are of an earlier one and only leave
        ("spacing", "i8"),
        ("share", "f8"),  # of the full size, by the filter's verdict
        ("laid_at", "i8"),  # ms: last laying or shift
        ("cooldown_end", "i8"),  # ms
        ("lower", "f8"),
        ("upper", "f8"),
        ("centre", "f8"),
        ("cell_notional", "f8"),
        ("low_stop", "i8"),  # ticks, in force
        ("high_stop", "i8"),
        ("range_low_stop", "i8"),  # ticks, of the present range
        ("range_high_stop", "i8"),
        ("peak", "f8"),  # highest grid equity
        ("target", "f8"),  # at laying
        ("first", "i8"),  # number of the lowest level of the window; lower and upper are levels 0 and levels - 1
        ("unit", "f8"),  # notional of a cell for each unit of capital
        ("invested", "f8"),  # capital at the first laying, and what was added since
        ("added", "f8"),  # what of the pair's investments it has taken in
        ("begun_equity", "f8"),  # at the first laying
        ("laid_equity", "f8"),  # at laying
        ("realised", "f8"),  # profit of closed cells
        ("locked", "f8"),  # of it, what is never used again
        ("triggered", "b1"),  # the price has reached trigger_price
        ("finished", "b1"),  # take-profit or stop of the whole grid: no other is laid
        ("kept", "b1"),  # the grid is gone, what it held stays behind its stop
        ("infinite", "b1"),
        ("bought", "b1"),  # infinity: the first purchase is complete
        ("trigger_side", "i8"),  # 1: the price must rise to it, -1: fall, 0: not known yet
        ("stop_side", "i8"),  # the same of stop_price
        ("take_side", "i8"),  # the same of take_profit
        ("split", "i8"),  # infinity: number of the first level whose cell was bought at once
        ("core", "i8"),  # infinity: lots held for the cells above the window
        ("purchase", "i8"),  # infinity: lots of the first purchase, still to come
        ("cells", CELL, (MAX_LEVELS,)),
    ],
    align=True,
)


@kernel
def capacity(slots: Record) -> int:
    """Cells that the slots have room for: entry of cell i in slot i, counter in slot capacity + i."""
    return (len(slots) - 2) // 2


def roles(count: int) -> tuple[str, ...]:
    """Name the slots of a table of `count`, as `capacity` divides it."""
    cells = (count - 2) // 2
    named = (*(f"entry/{k}" for k in range(cells)), *(f"counter/{k}" for k in range(cells)), "stop", "close")
    return named + ("spare",) * (count % 2)
