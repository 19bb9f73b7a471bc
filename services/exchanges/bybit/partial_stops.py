"""Bybit's stops of a part of the position in our words, and which requests make exactly the desired ones rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot.instrument import Instrument
from bot.ports import PartialStop
from services.exchanges.bybit import codec


def partial_stop(row: dict[str, Any], of: Instrument) -> PartialStop | None:
    """Translate an order's row; None for what is no partial stop."""
    if not codec.is_own(row) or codec.PARTIAL_STOP not in (row.get("stopOrderType"), codec.made_as(row)):
        return None
    left = codec.lots(of, row["qty"]) - codec.lots(of, row["cumExecQty"])
    return PartialStop(str(row["orderId"]), codec.ticks(of, row["triggerPrice"]), left)


def partial_changes(
    found: Sequence[PartialStop], price: int, sizes: Sequence[int], of: Instrument, listed: Instrument | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """List requests after which exactly these stops rest: what covers more goes first, what is too many last.

    `sizes` in lots, `price` in ticks.
    """
    text = codec.price_text(price, of, listed)
    rows, sizes = sorted(found, key=lambda one: (-one.lots, one.order_id)), sorted(sizes, reverse=True)
    named = {"category": "linear", "symbol": of.symbol}
    changes: list[tuple[str, dict[str, Any]]] = []
    for one, lots in zip(rows, sizes, strict=False):
        if (one.price, one.lots) != (codec.ticks(of, text), lots):
            moved = {"orderId": one.order_id, "triggerPrice": text, "qty": format(of.quantity(lots), "f")}
            changes.append(("privatePostV5OrderAmend", {**named, **moved}))
    for lots in sizes[len(rows) :]:
        request = {
            **codec.position_stop(price, of, listed),
            "tpslMode": "Partial",
            "slSize": format(of.quantity(lots), "f"),
        }
        changes.append(("privatePostV5PositionTradingStop", request))
    gone = [("privatePostV5OrderCancel", {**named, "orderId": one.order_id}) for one in rows[len(sizes) :]]
    return changes + gone
