"""A trade: a part of a position, a grid's cell or the whole, from flat to flat.

Within a part entries are averaged and exits close them in proportion. An exit of the whole position closes the
parts it stands against in their order; when it leaves nothing, every part is closed at its price.
"""

from __future__ import annotations

import numpy as np

from bot.kernel import Record, kernel
from bot.order import WHOLE_POSITION, Signal

TRADE = np.dtype(
    [
        ("part", "i8"),
        ("entry", "i8"),  # kind of the first entry
        ("side", "i8"),
        ("entry_bar", "i8"),
        ("entry_ts", "i8"),
        ("exit_bar", "i8"),
        ("exit_ts", "i8"),
        ("held", "i8"),  # lots still open; 0 is a closed trade
        ("quantity", "i8"),  # lots entered
        ("entries", "i8"),  # entry fills
        ("safety", "i8"),  # entry fills of a kind other than the first
        ("entry_value", "f8"),  # quote currency
        ("exit_value", "f8"),
        ("fees", "f8"),
        ("funding", "f8"),
        ("risk", "f8"),  # loss at the planned stops, 0 where none was planned
        ("exit_signal", "i8"),
        ("mae", "f8"),  # worst and best move of the price against the average entry, fractions
        ("mfe", "f8"),
    ]
)


@kernel
def enter_trade(open_: Record, fill: Record, quantity: int, tick_value: float) -> None:
    """Add `quantity` lots of an entry fill to the open trade of its part."""
    if open_.held == 0:
        open_.part, open_.entry, open_.side = fill.part, fill.entry, fill.side
        open_.entry_bar, open_.entry_ts = fill.bar, fill.ts
        open_.quantity = open_.entries = open_.safety = 0
        open_.entry_value = open_.exit_value = open_.fees = open_.funding = open_.risk = 0.0
    share = quantity / fill.quantity
    open_.held += quantity
    open_.quantity += quantity
    open_.entries += 1
    if fill.entry != open_.entry:
        open_.safety += 1
    open_.entry_value += float(fill.price) * quantity * tick_value
    open_.fees += fill.fee * share
    if fill.stop > 0:
        open_.risk += abs(float(fill.price - fill.stop)) * quantity * tick_value


@kernel
def leave_trade(open_: Record, fill: Record, quantity: int, paid: int, tick_value: float) -> None:
    """Take `quantity` lots out of an open trade at the fill's price; `paid` of them bear the fill's fee.

    Parts that stand against each other close without an order, and so without a fee.
    """
    open_.held -= quantity
    open_.exit_value += float(fill.price) * quantity * tick_value
    open_.exit_bar, open_.exit_ts, open_.exit_signal = fill.bar, fill.ts, fill.signal
    open_.fees += fill.fee * paid / fill.quantity


@kernel
def _close_if_flat(closed: Record, count: int, open_: Record) -> int:
    """Write the trade down when nothing of it is left; returns the new count."""
    if open_.held != 0 or open_.quantity == 0:
        return count
    closed[count] = open_
    open_.quantity = 0
    return count + 1


@kernel
def _leave_whole(parts: Record, fill: Record, tick_value: float, closed: Record) -> int:
    """Spread an exit of the whole position over the parts; returns how many trades it closed."""
    left, count = fill.quantity, 0
    for index in range(len(parts)):
        open_ = parts[index]
        if open_.held == 0 or (open_.side == fill.side and fill.position != 0):
            continue
        quantity = open_.held if fill.position == 0 else min(open_.held, left)
        if quantity == 0:
            continue
        paid = 0 if open_.side == fill.side else min(quantity, left)
        leave_trade(open_, fill, quantity, paid, tick_value)
        left -= paid
        count = _close_if_flat(closed, count, open_)
    return count


@kernel
def book_trade(parts: Record, fill: Record, tick_value: float, closed: Record) -> int:
    """Enter a fill in the open trades and write those that it closed into `closed`; returns how many.

    `parts` holds one open TRADE per part, the whole position first, so part k lies at k + 1; `closed` has room
    for as many. `tick_value` is quote currency per tick and lot.
    """
    if fill.part == WHOLE_POSITION and fill.signal > Signal.GRID_COUNTER:
        return _leave_whole(parts, fill, tick_value, closed)
    place = fill.part + 1 if fill.part + 1 < len(parts) else 0  # a strategy with one trade at a time may number more
    open_, left, count = parts[place], fill.quantity, 0
    if open_.held > 0 and open_.side != fill.side:
        quantity = min(open_.held, left)
        leave_trade(open_, fill, quantity, quantity, tick_value)
        left -= quantity
        count = _close_if_flat(closed, 0, open_)
    if left > 0:
        enter_trade(open_, fill, left, tick_value)
    return count
