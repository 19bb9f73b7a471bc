"""Whether exchange, database and bot agree while the market stands still: each execution booked once, nothing over."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coordinator.reconcile import position_stop
from services.simulated_bybit import stops
from services.simulated_bybit.records import STOP_LOSS

if TYPE_CHECKING:
    from bot.ports import Execution
    from coordinator.strategy_loop import StrategyLoop
    from services.simulated_bybit.exchange import Exchange

CENT = 0.01
SHOWN = 4  # orders that differ


@dataclass
class Agreement:
    """What was found; everything empty is agreement."""

    doubled: list[str] = field(default_factory=list)  # executions booked twice, client order ids used twice
    lost: list[str] = field(default_factory=list)  # executions that are not booked, or booked without having happened
    differences: list[str] = field(default_factory=list)  # sentences


def compare(exchange: Exchange, booked: list[Execution], loops: dict[str, StrategyLoop]) -> Agreement:
    """Hold what the database has booked, and what a bot's loops believe and desire, against the exchange."""
    found = Agreement()
    _executions(exchange, booked, found)
    names = Counter(one.client_order_id for one in exchange.known.values() if one.client_order_id)
    found.doubled += [f"order {client_order_id}" for client_order_id, count in sorted(names.items()) if count > 1]
    for symbol, loop in loops.items():
        _pair(exchange, symbol, loop, booked, found)
    return found


def _executions(exchange: Exchange, booked: list[Execution], found: Agreement) -> None:
    happened = {one.id: one for one in exchange.trades}
    known = Counter(one.id for one in booked)
    found.doubled += [f"execution {number}" for number, count in sorted(known.items()) if count > 1]
    found.lost += [f"execution {number} is not booked" for number in sorted(happened.keys() - known.keys())]
    found.lost += [f"execution {number} never happened" for number in sorted(known.keys() - happened.keys())]
    for one in booked:
        trade = happened.get(one.id)
        if trade is None or one.funding:
            continue
        if (one.symbol, one.side, one.price, one.lots) != (trade.symbol, trade.side, trade.price, trade.lots):
            found.differences.append(f"execution {one.id} is booked with other numbers")


def _pair(exchange: Exchange, symbol: str, loop: StrategyLoop, booked: list[Execution], found: Agreement) -> None:
    book, machine = exchange.books[symbol], loop.core.machine
    summed = sum(one.side * one.lots for one in booked if one.symbol == symbol and not one.funding)
    if not summed == machine.position == book.position:
        found.differences.append(
            f"{symbol}: position {book.position} lots at the exchange, {summed} in the database, {machine.position} "
            "in the bot"
        )
    found.differences += differences_of_money(symbol, book.pair.ledger, machine.pairs[0].ledger)
    open_orders = {one.client_order_id: (one.price, one.lots) for one in exchange.live(symbol) if not one.stop_type}
    desired = {one.client_order_id: (one.price, one.lots) for one in loop.core.due()}
    if open_orders != desired:
        wrong = sorted({client_order_id for client_order_id, _ in set(open_orders.items()) ^ set(desired.items())})
        found.differences.append(f"{symbol}: other orders rest than are desired: {', '.join(wrong[:SHOWN])}")
    stop, rests = position_stop(machine.slots, machine.position), stops.price(book, STOP_LOSS)
    if stop is not None and stop.price != rests:
        found.differences.append(f"{symbol}: the position's stop is at {rests} ticks instead of {stop.price}")


def differences_of_money(symbol: str, theirs: Any, ours: Any) -> list[str]:
    """Compare what was paid and received, and of a flat pair what was earned.

    While a position stands, how much of it counts as earned depends on the order in which its fills were heard, since
    what leaves takes the average cost with it; what was paid does not.
    """
    found = []
    if abs(float(theirs.cash) - float(ours.cash)) > CENT:
        found.append(f"{symbol}: {theirs.cash:.2f} paid and received at the exchange, {ours.cash:.2f} in the bot")
    earned = [float(one.realised - one.fees + one.funding) for one in (theirs, ours)]
    if theirs.position == 0 and abs(earned[0] - earned[1]) > CENT:
        found.append(f"{symbol}: {earned[0]:.2f} earned at the exchange, {earned[1]:.2f} in the bot")
    return found
