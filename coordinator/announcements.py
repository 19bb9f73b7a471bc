"""What happened at the venue, as events in prices and quantities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.events import Filled, OrderChanged
from bot.order import OrderKind, Side

if TYPE_CHECKING:
    from bot.instrument import Instrument
    from bot.ports import Execution, Order


def filled(execution: Execution, of: Instrument) -> Filled:
    """Event of an execution, or of a payment of funding."""
    return Filled(
        pair=execution.symbol,
        at=execution.ts,
        execution=execution.id,
        client_order_id=execution.client_order_id,
        side="" if execution.funding else _side(execution.side),
        price=of.price_text(execution.price),
        quantity=of.quantity_text(execution.lots),
        fee=execution.fee,
        maker=execution.maker,
        cause=execution.cause.value,
    )


def order_changed(change: str, order: Order, of: Instrument, at: int) -> OrderChanged:
    """Event of an order that was placed or amended at `at`, ms."""
    return OrderChanged(
        pair=of.symbol,
        at=at,
        change=change,
        client_order_id=order.client_order_id,
        side=_side(order.side),
        kind=OrderKind(order.kind).name.lower(),
        price="" if order.kind == OrderKind.MARKET else of.price_text(order.price),
        quantity=of.quantity_text(order.lots),
    )


def _side(side: int) -> str:
    return Side(side).name.lower()
