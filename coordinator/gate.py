"""The gate of a pair: which desired entries may rest, by permission, capital and exposure. Exits never ask.

An entry that may not rest is suspended and comes back when it may; one that would take the market is refused. Where as
many pairs are open as may be, it asks for a place first: one at the market until the next bar, no longer. An entry
against the position counts as an entry all the same: what it would reduce may be gone when it fills. A grid's counter
against the position that may not open rests as an order that only reduces: what it leaves is never held back.
"""

from __future__ import annotations

from bot.kernel import Record, kernel
from bot.order import OrderKind, Signal, clear_order, confine, reinstate, release, suspend

TOLERANCE = 1e-9
# What of a pair asks for a place among those that may be open.
ASKS_NOT, ASKS_RESTING, ASKS_AT_MARKET = 0, 1, 2


@kernel
def margin_rate(instrument: Record) -> float:
    """Initial margin of a notional; spot pays in full."""
    return 1.0 / instrument.leverage if instrument.linear else 1.0


@kernel
def entry_notional(pair: Record, slot: Record) -> float:
    """Notional of an entry at its price, a market order's at the last price; quote currency."""
    tick = pair.instrument.tick_size
    price = pair.price if slot.kind == OrderKind.MARKET else slot.price * tick
    return price * slot.quantity * pair.instrument.lot_size


@kernel
def entry_reserve(pair: Record, notional: float) -> float:
    """Margin of an entry and the taker fees of both ways, as strategies reckon when they size."""
    return notional * (margin_rate(pair.instrument) + 2.0 * max(pair.instrument.taker_fee, 0.0))


@kernel
def position_reserve(pair: Record) -> float:
    """Initial margin of the position at what it cost, and the fee of leaving it."""
    cost = abs(pair.ledger.cost)
    return cost * (margin_rate(pair.instrument) + max(pair.instrument.taker_fee, 0.0))


@kernel
def position_notional(pair: Record) -> float:
    """Notional of the position at the last price."""
    return abs(pair.ledger.position) * pair.price * pair.instrument.lot_size


@kernel
def opens(slot: Record) -> bool:
    """Whether a slot holds an order that is to increase exposure, held back or not: an entry, or a grid's counter."""
    return (not slot.reduce_only or slot.confined) and (slot.active or slot.suspended)


@kernel
def resting_entries(pair: Record, slots: Record) -> tuple[float, int, bool]:
    """Notional and lots of the entries that have passed and rest, and whether others wait to."""
    total, lots, waiting = 0.0, 0, False
    for index in range(len(slots)):
        slot = slots[index]
        if not opens(slot):
            continue
        if slot.active and slot.admitted and not slot.confined:
            total += entry_notional(pair, slot)
            lots += slot.quantity
        else:
            waiting = True
    return total, lots, waiting


@kernel
def suspend_entries(pair: Record, slots: Record) -> int:
    """Let no entry rest; market entries are forgotten. Returns the slot of one that was, -1 for none."""
    dropped = -1
    for index in range(len(slots)):
        slot = slots[index]
        if opens(slot) and slot.kind == OrderKind.MARKET:
            clear_order(slots, index)
            dropped = index
        else:
            _hold_back(pair, slots, index)
    return dropped


@kernel
def _hold_back(pair: Record, slots: Record, index: int) -> None:
    """Suspend an order that opens; a counter against the position only reduces it meanwhile."""
    slot = slots[index]
    if not opens(slot) or slot.confined:
        return
    if slot.signal == Signal.GRID_COUNTER and slot.side * pair.ledger.position < 0:
        confine(slots, index)
    elif slot.active:
        suspend(slots, index)


@kernel
def pass_entries(
    pair: Record, slots: Record, allow_new: bool, target: float, limit: float, full: bool
) -> tuple[int, float, bool, int]:
    """Let the entries rest that fit into `target` (reserve) and `limit` (exposure), quote currency, in their order.

    Position and entries together stay within what the position's stops can close and its risk tier holds, and the
    entries alone within what one market order can close. `full`: none rests, and those that would ask for a place.
    Returns the slot of a market entry that does not fit, already cancelled, or -1 (ask again until it is); the notional
    of all that rest; whether others still wait to; and what asks.
    """
    if full:
        _hold_back_all(pair, slots)
    entries, lots, waiting = resting_entries(pair, slots)
    if not waiting:
        return -1, entries, False, ASKS_NOT
    waiting, asks = False, ASKS_NOT
    instrument, held = pair.instrument, abs(pair.ledger.position)
    limit = min(limit, instrument.max_position_notional)
    exposure = position_notional(pair) + entries
    reserved = position_reserve(pair) + entry_reserve(pair, entries)
    for index in range(len(slots)):
        slot = slots[index]
        if not opens(slot) or (slot.active and slot.admitted and not slot.confined):
            continue
        notional = entry_notional(pair, slot)
        reserve = entry_reserve(pair, notional)
        fits = exposure + notional <= limit * (1.0 + TOLERANCE) and reserved + reserve <= target * (1.0 + TOLERANCE)
        fits = fits and lots + slot.quantity <= min(instrument.max_market_lots, instrument.max_position_lots - held)
        allowed = allow_new or ((slot.suspended or slot.confined) and slot.admitted)
        if not (allowed and fits):
            if slot.kind == OrderKind.MARKET:
                clear_order(slots, index)
                return index, entries, waiting, asks
            waiting = True
            _hold_back(pair, slots, index)
            continue
        if full:
            waiting, asks = True, max(asks, _ask(slots, index))
        else:
            _let_rest(slots, index)
            entries += notional
        lots += slot.quantity
        exposure += notional
        reserved += reserve
    return -1, entries, waiting, asks


@kernel
def _let_rest(slots: Record, index: int) -> None:
    """Let an entry rest that was held back, or is new."""
    slot = slots[index]
    if slot.confined:
        release(slots, index)
    elif slot.suspended:
        reinstate(slots, index)
    slot.admitted = True


@kernel
def _ask(slots: Record, index: int) -> int:
    """Keep an entry in mind that asks for a place; returns which kind asks."""
    if slots[index].active:
        suspend(slots, index)
    return ASKS_AT_MARKET if slots[index].kind == OrderKind.MARKET else ASKS_RESTING


@kernel
def drop_asking(slots: Record) -> int:
    """Cancel an entry at the market that has asked for a place; returns its slot, -1 for none."""
    for index in range(len(slots)):
        if slots[index].suspended and slots[index].kind == OrderKind.MARKET:
            clear_order(slots, index)
            return index
    return -1


@kernel
def _hold_back_all(pair: Record, slots: Record) -> None:
    """Suspend the entries that rest; one at the market has still to ask."""
    for index in range(len(slots)):
        if slots[index].kind != OrderKind.MARKET:
            _hold_back(pair, slots, index)


@kernel
def cancel_farthest(pair: Record, slots: Record, wanted: float) -> int:
    """Cancel resting entries, the farthest from the price first, until `wanted` of reserve is free; how many."""
    freed, count = 0.0, 0
    while freed < wanted:
        farthest, distance = -1, -1.0
        for index in range(len(slots)):
            slot = slots[index]
            if slot.active and slot.signal == Signal.ENTRY and slot.kind != OrderKind.MARKET:
                away = abs(slot.price * pair.instrument.tick_size - pair.price)
                if away > distance:
                    farthest, distance = index, away
        if farthest < 0:
            break
        freed += entry_reserve(pair, entry_notional(pair, slots[farthest]))
        clear_order(slots, farthest)
        count += 1
    return count
