"""Desired orders: the slots a strategy keeps, and the fills that come back.

A strategy never sends an order. It keeps a table of slots, one desired order each; whoever drives it makes the venue
match the table. A slot's number and generation together name one order for ever: one that was cleared and set again is
a new generation, one whose price or quantity changes while it rests is the same order amended. A kernel knows a slot
by its index, which is another one in a table of another length; the number stays.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from bot.kernel import Record, kernel
from bot.record import new_records


class Side(IntEnum):
    """Signed, so that `side * quantity` is the change of a position."""

    BUY = 1
    SELL = -1


class OrderKind(IntEnum):
    """LIMIT rests at its price; STOP becomes MARKET when the price reaches it; MARKET takes the next price."""

    LIMIT = 0
    STOP = 1
    MARKET = 2


class Signal(IntEnum):
    """Why an order exists. Only ENTRY can be filtered, shrunk or refused."""

    ENTRY = 0
    GRID_COUNTER = 1
    EXIT_TP = 2
    EXIT_SL = 3
    EXIT_TRANSITION = 4
    EXIT_EMERGENCY = 5


class Liquidity(IntEnum):
    """Who waited: a maker's order rested, a taker's did not."""

    MAKER = 0
    TAKER = 1


WHOLE_POSITION = -1  # as the part that an order is for: all that is held

SLOT = np.dtype(
    [
        ("generation", "i8"),
        ("version", "i8"),  # in a table's first slot: how often one of its orders was set, moved or cleared
        ("price", "i8"),  # ticks: limit, or trigger of a stop; unused by a market order
        ("quantity", "i8"),  # lots still wanted
        ("stop", "i8"),  # ticks: the stop that the position gets with this order's first fill, 0 when none is planned
        ("number", "i4"),  # names the slot in its orders' ids, and goes with its role; set where a bot trades
        ("part", "i4"),  # which part of the position it opens or closes: a grid's cell, else WHOLE_POSITION
        ("entry", "i1"),  # what kind of entry, an index into the strategy's `entries`
        ("side", "i1"),
        ("kind", "i1"),
        ("signal", "i1"),
        ("active", "b1"),
        ("reduce_only", "b1"),
        ("post_only", "b1"),
        ("fresh", "b1"),  # set or moved since the exchange last looked: it may cross as it arrives
        ("crossing", "b1"),  # it crossed on arrival: a taker if the next price still lets it
        ("admitted", "b1"),  # as it stands now, the pair's gate let it through
        ("filtered", "b1"),  # the filter has given its verdict on this generation
        ("suspended", "b1"),  # an entry that is kept but may not rest at present
        ("confined", "b1"),  # a grid's counter that may only reduce at present
    ],
    align=True,
)

FILL = np.dtype(
    [
        ("ts", "i8"),  # ms: when; a simulation knows the opening of the bar
        ("bar", "i8"),  # index of the bar, simulation only
        ("generation", "i8"),
        ("price", "i8"),  # ticks
        ("quantity", "i8"),  # lots
        ("stop", "i8"),
        ("position", "i8"),  # lots, after
        ("fee", "f8"),
        ("slippage", "f8"),  # quote currency lost against the price that was aimed at
        ("realised", "f8"),  # profit this fill realised at average cost, before fees
        ("slot", "i4"),
        ("part", "i4"),
        ("pair", "i2"),  # index of the pair in its portfolio
        ("entry", "i1"),
        ("side", "i1"),
        ("kind", "i1"),
        ("signal", "i1"),
        ("liquidity", "i1"),
    ],
    align=True,
)


def new_slots(count: int) -> Any:
    """A table of `count` empty slots, each numbered as it lies."""
    slots = new_records(SLOT, count)
    slots["number"] = np.arange(count)
    return slots


@kernel
def clear_order(slots: Record, index: int) -> None:
    """Clear the order of slot `index`."""
    slot = slots[index]
    if slot.active or slot.suspended:
        slot.active = False
        slot.suspended = False
        slots[0].version += 1


@kernel
def set_order(
    slots: Record, index: int, side: int, kind: int, price: int, quantity: int, signal: int, part: int
) -> Record:
    """Set the order of slot `index`: price in ticks, `quantity` lots still to fill. Returns the slot.

    A new price or quantity amends the order; another side or kind is a new one, since no venue amends those. Exits
    (every signal but ENTRY and GRID_COUNTER) are reduce-only. A quantity under one lot cancels, and so does a price
    under one tick. A stop that has been triggered stays so: what is left of it goes at the market, under the signal and
    for the part of the newest order.
    """
    slot = slots[index]
    if quantity < 1 or (price < 1 and kind != OrderKind.MARKET):
        clear_order(slots, index)
        return slot
    triggered = slot.active and slot.kind == OrderKind.MARKET and kind == OrderKind.STOP and slot.side == side
    anew = not slot.active or slot.kind != kind or slot.side != side
    moved = anew or slot.price != price
    if moved or slot.quantity != quantity or slot.signal != signal:
        slots[0].version += 1
    if triggered:
        slot.quantity, slot.signal, slot.part = quantity, signal, part
        return slot
    if not slot.active:
        slot.active = True
        slot.filtered = False
    if anew:
        slot.generation += 1
    if moved:
        slot.fresh = True
        slot.crossing = False
    if moved or quantity > slot.quantity:
        slot.admitted = False
    slot.suspended = False
    slot.price = price
    slot.quantity = quantity
    slot.side = side
    slot.kind = kind
    slot.signal = signal
    slot.part = part
    slot.entry = 0
    slot.stop = 0
    slot.reduce_only = signal > Signal.GRID_COUNTER
    slot.confined = False
    slot.post_only = False
    return slot


@kernel
def clear_orders(slots: Record) -> None:
    """Clear every order."""
    for index in range(len(slots)):
        clear_order(slots, index)


@kernel
def suspend(slots: Record, index: int) -> None:
    """Keep an entry in mind without letting it rest."""
    slots[index].active = False
    slots[index].suspended = True
    slots[0].version += 1


@kernel
def reinstate(slots: Record, index: int) -> None:
    """Let a suspended entry rest again; one that has rested before is a new order."""
    slot = slots[index]
    slots[0].version += 1
    if slot.admitted:
        slot.generation += 1
    slot.active = True
    slot.suspended = False
    slot.fresh = True
    slot.crossing = False


@kernel
def confine(slots: Record, index: int) -> None:
    """Let a counter rest as an order that only reduces, which is a new order."""
    slots[index].confined = True
    _renew(slots, index, True)


@kernel
def release(slots: Record, index: int) -> None:
    """Let a confined counter open again, which is a new order."""
    slots[index].confined = False
    _renew(slots, index, False)


@kernel
def _renew(slots: Record, index: int, reduces: bool) -> None:
    slot = slots[index]
    slots[0].version += 1
    slot.generation += 1
    slot.reduce_only = reduces
    slot.active, slot.suspended = True, False
    slot.fresh, slot.crossing = True, False


@kernel
def stops_position(slot: Record) -> bool:
    """Whether a slot holds the stop of the whole position: a linear contract's position carries it, no order."""
    return slot.active and slot.kind == OrderKind.STOP and slot.reduce_only and slot.part == WHOLE_POSITION


@kernel
def is_exit(signal: int) -> bool:
    """Whether an order is an exit, by its signal: it is reduce-only and nothing may refuse it."""
    return signal > Signal.GRID_COUNTER
