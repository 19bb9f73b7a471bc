"""What to do so that exactly the desired orders rest. Pure: two tables in, changes out, always in the same order.

A restart, a lost message, a moved grid and a cancelled order are all the same case. On linear contracts the stop of
the whole position is none of the orders: the position itself carries it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bot.order import WHOLE_POSITION, OrderKind, Side
from bot.ports import OpenOrder, Order, OrderState, client_order_id_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


# What an order takes over from its slot.
FIELDS = [
    *("number", "generation", "side", "kind", "price", "quantity", "reduce_only", "post_only"),
    *("signal", "part", "entry", "stop"),
]


class Action(IntEnum):
    """In the order of their urgency."""

    CANCEL = 0
    AMEND = 1
    PLACE = 2


@dataclass(frozen=True)
class Change:
    """One thing to ask of the venue; a cancellation has no order."""

    action: Action
    client_order_id: str
    order: Order | None = None


class PositionStop(NamedTuple):
    """The stop that the position should carry: the slot that holds it, and its trigger in ticks."""

    slot: int
    price: int


def desired_orders(
    slots: Any, position: int, *, linear: bool, bot: str, symbol: str, filled: dict[str, int], largest: int,
    timeframe: int = 0,
) -> list[Order]:  # fmt: skip
    """List what should rest now: wanted slots, except those that could only reduce where nothing is to reduce.

    `filled`: lots already filled by client order id, since a venue counts an order's quantity from its birth.
    `largest`: lots of the largest market order; an exit that is larger goes in several, one after the other.
    `timeframe`: signal bars of the strategy that runs, ms.
    """
    found = []
    for index in np.flatnonzero(slots["active"]).tolist():
        slot = dict(zip(FIELDS, slots[FIELDS][index].item(), strict=True))
        side = slot["side"]
        if slot["reduce_only"] and position * side >= 0:
            continue
        if side == Side.SELL and position <= 0 and not linear:
            continue
        if linear and slot["reduce_only"] and slot["kind"] == OrderKind.STOP and slot["part"] == WHOLE_POSITION:
            continue
        number = slot.pop("number")
        client_order_id = client_order_id_of(bot, symbol, number, slot["generation"])
        lots = slot.pop("quantity")
        if slot["kind"] == OrderKind.MARKET:
            slot["price"], lots = 0, min(lots, largest)
        lots += filled.get(client_order_id, 0)
        planned = 0 if slot["reduce_only"] else slot["stop"]
        slot["stop"] = planned if linear else 0
        slot |= {"planned_stop": planned, "timeframe": timeframe}
        found.append(Order(client_order_id=client_order_id, slot=number, lots=lots, **slot))
    return found


def position_stop(slots: Any, position: int) -> PositionStop | None:
    """Find the tightest stop that is desired for the whole position; of equals the first."""
    if position == 0:
        return None
    side = Side.SELL if position > 0 else Side.BUY
    chosen = (
        slots["active"]
        & slots["reduce_only"]
        & (slots["kind"] == OrderKind.STOP)
        & (slots["part"] == WHOLE_POSITION)
        & (slots["side"] == side)
    )
    found = [PositionStop(index, int(slots["price"][index])) for index in np.flatnonzero(chosen).tolist()]
    return min(found, key=lambda one: one.price * side, default=None)


def difference(desired: Iterable[Order], open_orders: Mapping[str, OpenOrder]) -> list[Change]:
    """List what to cancel, amend and place: cancellations first, then exits before entries, then by slot's number.

    A stop that was triggered is the market order it became, and a market order is never amended. An entry that moves
    or whose stop moves is amended with both.
    """
    wanted = {order.client_order_id: order for order in desired}
    changes = [
        Change(Action.CANCEL, client_order_id)
        for client_order_id in sorted(open_orders)
        if client_order_id not in wanted
    ]
    for order in sorted(wanted.values(), key=lambda one: (not one.reduce_only, one.slot)):
        found = open_orders.get(order.client_order_id)
        if found is None:
            changes.append(Change(Action.PLACE, order.client_order_id, order))
        elif order.kind != OrderKind.MARKET and _numbers(found) != _numbers(order):
            changes.append(Change(Action.AMEND, order.client_order_id, order))
    return changes


def _numbers(order: Order | OpenOrder) -> tuple[int, int, int]:
    return order.price, order.lots, order.stop


def only_reducing(desired: Iterable[Order]) -> list[Order]:
    """List the orders that cannot increase exposure, whatever becomes of the bot."""
    return [order for order in desired if order.reduce_only]


def opening_lots(desired: Iterable[Order], open_orders: Mapping[str, OpenOrder]) -> int:
    """Lots that may still be filled of orders that can increase exposure, of those that rest or are desired."""
    lots: dict[str, int] = {}
    for order in desired:
        if not order.reduce_only:
            found = open_orders.get(order.client_order_id)
            lots[order.client_order_id] = order.lots - (found.filled if found is not None else 0)
    for client_order_id, one in open_orders.items():
        if not one.reduce_only:
            lots[client_order_id] = max(lots.get(client_order_id, 0), one.lots - one.filled)
    return sum(lots.values())


def as_open_order(order: Order, filled: int = 0) -> OpenOrder:
    """How the venue shows an order that it has just taken."""
    numbers = (order.client_order_id, order.side, order.kind, order.price, order.lots, filled)
    return OpenOrder(*numbers, OrderState.RESTING, order.stop, order.reduce_only)
