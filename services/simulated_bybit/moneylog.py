"""Rows of the account's transaction log, from what moved the money."""

from __future__ import annotations

from services.simulated_bybit.records import LogRow, Trade

TYPES = {
    "Trade": "TRADE",
    "Funding": "SETTLEMENT",
    "BustTrade": "LIQUIDATION",
    "AdlTrade": "ADL",
    "Delivery": "DELIVERY",
}


def of_trade(trade: Trade, currency: str, balance: float) -> LogRow:
    """The row of an execution or a payment of funding, whose sign here is the other way round: received is positive."""
    paid = trade.kind == "Funding"
    return LogRow(
        id=f"log-{trade.id}",
        ts=trade.ts,
        type=TYPES[trade.kind],
        currency=currency,
        cash_flow=trade.realised,
        fee=0.0 if paid else trade.fee,
        funding=-trade.fee if paid else 0.0,
        balance=balance,
        trade=trade,
    )


def of_transfer(number: int, ts: int, currency: str, amount: float, balance: float) -> LogRow:
    """The row of money that came into the account or left it."""
    kind = "TRANSFER_IN" if amount > 0 else "TRANSFER_OUT"
    return LogRow(f"log-transfer-{number:09d}", ts, kind, currency, amount, 0.0, 0.0, balance)
