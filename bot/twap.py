"""TWAP: enters or exits a position in equal slices over a time, through one order slot of a strategy.

A plan (record TWAP in the strategy's state) knows how many lots are due by when; at each closed base bar, what has come
due since the last one is handed to the slot. Only the slot knows what waits of it: what was filled, refused or cut down
there is dropped from the plan without more, and a restart needs nothing else. `total` 0: no plan runs.
"""

from __future__ import annotations

import numpy as np

from bot.kernel import Record, kernel
from bot.order import WHOLE_POSITION, OrderKind, Signal, clear_order, is_exit, set_order
from bot.strategy import enter, too_small

TWAP = np.dtype(
    [
        ("start", "i8"),  # ms
        ("duration", "i8"),  # ms
        ("total", "i8"),  # lots; 0 while no plan runs
        ("ordered", "i8"),  # lots handed to the slot so far
        ("slices", "i8"),
        ("limit", "i8"),  # ticks; 0 for none: slices go at the market
        ("side", "i1"),
        ("signal", "i1"),  # Signal of its orders: ENTRY, or an exit
    ],
    align=True,
)


@kernel
def twap_start(
    pair: Record,
    slots: Record,
    plan: Record,
    index: int,
    side: int,
    lots: int,
    slices: int,
    duration: int,
    limit: int,
    signal: int,
) -> None:
    """Start to trade `lots` on `side` over `duration` (ms) in slot `index`, the first slice at once.

    `limit` in ticks, 0 for none. Lots too few for two slices that the venue would take become one order.
    """
    clear_order(slots, index)
    price = _price(pair, limit)
    plan.start, plan.duration = pair.time, max(duration, 1)
    plan.total, plan.ordered = max(lots, 0), 0
    plan.slices = 1 if too_small(pair, lots // 2, price) else max(slices, 1)
    plan.side, plan.limit, plan.signal = side, limit, signal
    twap_step(pair, slots, plan, index)


@kernel
def twap_step(pair: Record, slots: Record, plan: Record, index: int) -> None:
    """Hand to slot `index` what has come due: call it on every closed base bar while a plan runs.

    A slice that the venue would not take waits for the next. What a limit could not get stays in the slot beside later
    slices: an entry until the duration is over, an exit until it is filled.
    """
    if plan.total == 0:
        return
    slot, limited, exits = slots[index], plan.limit > 0, is_exit(plan.signal)
    waiting = slot.quantity if slot.active or slot.suspended else 0
    if limited and not exits and pair.time >= plan.start + plan.duration:
        twap_end(slots, plan, index)
        return
    if waiting > 0 and not limited:  # a market order is never amended: what comes due is handed over after it
        return
    due = twap_due(plan, pair.time) - plan.ordered
    rest, price = plan.total - plan.ordered - due, _price(pair, plan.limit)
    if rest > 0 and too_small(pair, rest, price):
        due, rest = due + rest, 0
    if due > 0 and (waiting > 0 or (exits and rest == 0) or not too_small(pair, due, price)):
        plan.ordered += due
        waiting += due
        _hand_over(pair, slots, plan, index, waiting)
    elif due > 0 and rest == 0:  # no later slice makes this entry large enough
        plan.total = 0
    if plan.ordered == plan.total and (exits or not limited or waiting == 0):
        plan.total = 0


@kernel
def twap_due(plan: Record, now: int) -> int:
    """Lots due at `now` (ms): the share of the slices begun, rounded half up.

    Slice k of 0 … slices - 1 begins at start + k * duration / slices.
    """
    begun = min((now - plan.start) * plan.slices // plan.duration + 1, plan.slices)
    return (2 * plan.total * begun + plan.slices) // (2 * plan.slices)


@kernel
def twap_end(slots: Record, plan: Record, index: int) -> None:
    """End a plan, if one runs, and clear its order in slot `index`."""
    if plan.total > 0:
        plan.total = 0
        clear_order(slots, index)


@kernel
def _price(pair: Record, limit: int) -> float:
    """Price by which the venue judges an order's size, quote currency."""
    return limit * pair.instrument.tick_size if limit > 0 else pair.price


@kernel
def _hand_over(pair: Record, slots: Record, plan: Record, index: int, lots: int) -> None:
    """Set the order of slot `index`: what waits and what came due."""
    kind = OrderKind.LIMIT if plan.limit > 0 else OrderKind.MARKET
    if plan.signal == Signal.ENTRY:
        slot = enter(pair, slots, index, plan.side, kind, plan.limit, lots, WHOLE_POSITION)
        slot.filtered = False  # another slice is another entry: the filter judges again what waits
    else:
        held = max(-plan.side * pair.ledger.position, 0)
        set_order(slots, index, plan.side, kind, plan.limit, min(lots, held), plan.signal, WHOLE_POSITION)
