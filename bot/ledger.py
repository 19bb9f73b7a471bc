"""The ledger of one pair: position, money, and two ways to know the equity, which must agree.

equity = deposits + realised + unrealised - fees + funding (by its parts) is held against
equity = cash + position * mark (by the money that moved), where cash pays for every fill in full.
Money is quote currency, positions are whole lots (signed), prices whole or fractional ticks.
"""

from __future__ import annotations

import numpy as np

from bot.kernel import Record, kernel

LEDGER = np.dtype(
    [
        ("position", "i8"),
        ("cost", "f8"),  # signed: what the open position cost, position * average price
        ("deposits", "f8"),
        ("cash", "f8"),
        ("realised", "f8"),
        ("fees", "f8"),
        ("funding", "f8"),  # received; negative when paid
        ("slippage", "f8"),
        ("turnover", "f8"),
    ]
)


@kernel
def deposit(ledger: Record, amount: float) -> None:
    """Add `amount` of quote currency."""
    ledger.deposits += amount
    ledger.cash += amount


@kernel
def book_fill(ledger: Record, side: int, ticks: float, lots: int, tick_value: float, fee: float) -> float:
    """Book `lots` at `ticks`; returns the profit realised at average cost, before the fee."""
    value = ticks * lots * tick_value
    realised = 0.0
    if ledger.position * side < 0:  # not times the lots: of a cheap coin they are many, and their product no int64
        closing = min(lots, abs(ledger.position))
        released = ledger.cost * closing / abs(ledger.position)
        realised = -side * ticks * closing * tick_value - released
        ledger.cost -= released
        ledger.cost += side * ticks * (lots - closing) * tick_value
    else:
        ledger.cost += side * value
    ledger.position += side * lots
    if ledger.position == 0:
        ledger.cost = 0.0
    ledger.realised += realised
    ledger.fees += fee
    ledger.cash -= side * value + fee
    ledger.turnover += value
    return realised


@kernel
def book_funding(ledger: Record, amount: float) -> None:
    """Book a funding payment received (negative: paid)."""
    ledger.funding += amount
    ledger.cash += amount


@kernel
def unrealised(ledger: Record, ticks: float, tick_value: float) -> float:
    """Profit of the open position at `ticks`, before fees."""
    return ledger.position * ticks * tick_value - ledger.cost


@kernel
def equity(ledger: Record, ticks: float, tick_value: float) -> float:
    """Equity at `ticks` by the money that moved: cash and what the position is worth."""
    return ledger.cash + ledger.position * ticks * tick_value


@kernel
def imbalance(ledger: Record, ticks: float, tick_value: float) -> float:
    """Difference of the two equities; must stay within 1e-9 of deposits plus turnover."""
    parts = ledger.deposits + ledger.realised + unrealised(ledger, ticks, tick_value) - ledger.fees + ledger.funding
    return parts - equity(ledger, ticks, tick_value)
