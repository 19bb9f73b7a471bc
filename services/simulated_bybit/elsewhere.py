"""Executions that no request over the interface asked for: by hand, by deleveraging, by liquidation, by settlement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bot.order import Side
from services.simulated_bybit.records import CANCELLED

if TYPE_CHECKING:
    from services.simulated_bybit.roles import TradingAccount


def close(exchange: TradingAccount, symbol: str, lots: int | None = None, **how: Any) -> None:
    """Close the position if there is one, or so many lots of it."""
    held = exchange.book(symbol).position
    if held:
        side = Side.SELL if held > 0 else Side.BUY
        trade(exchange, symbol, side, min(abs(held), lots or abs(held)), **how)


def trade(
    exchange: TradingAccount,
    symbol: str,
    side: int,
    lots: int,
    *,
    created_by: str,
    kind: str = "Trade",
    charged: bool = True,
    as_order: bool = True,
) -> None:
    """Execute at the present price, and tell it; `charged`: the taker's fee is paid."""
    book = exchange.book(symbol)
    book.unverified = exchange.unverified
    happened = book.execute(
        side, lots, exchange.now, kind=kind, created_by=created_by, charged=charged, as_order=as_order
    )
    exchange.tell(happened)


def cancel_everything(exchange: TradingAccount, symbol: str, cancel_type: str) -> None:
    """Cancel every order of a symbol except the position's own, which leave with it."""
    book = exchange.book(symbol)
    for one in [each for each in book.live if not each.stop_type]:
        one.updated = exchange.now
        book.remove(one, CANCELLED, cancel_type=cancel_type)
        exchange.tell([one])
