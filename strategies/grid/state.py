"""What a grid remembers: its cells, its range, its stops, and what it may lose."""

from __future__ import annotations

import numpy as np

from bot.indicators import ATR
from bot.kernel import Record, kernel
from strategies.grid.parameters import MAX_LEVELS

CELL = np.dtype(
    [
        ("entry", "i8"),  # ticks
        ("counter", "i8"),
        ("lots", "i8"),  # lots
        ("held", "i8"),
        ("side", "i8"),  # Side, or 0 for none
        ("priced_at", "i8"),  # ms: the laying its prices belong to
    ]
)

STATE = np.dtype(
    [
        ("atr", ATR),
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
