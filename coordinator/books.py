"""Takes executions into a pair's machine and memory, each once, whoever caused them.

Money and position follow the venue whoever acted; what nobody here asked for is reported, so that the pair is held off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from bot.ports import Cause, Execution, OpenOrder, Order
from coordinator.protection import Whose, stop_after_fill, whose

if TYPE_CHECKING:
    from coordinator.machine import PairMachine
    from coordinator.memory import Memory

log = structlog.get_logger()


class Books:
    """What was filled, what is known of the position's stop, and the sentence about what others did."""

    def __init__(self, bot: str, machine: PairMachine, memory: Memory, desired: Callable[[], list[Order]]) -> None:
        """`desired` lists the orders that should rest now."""
        self.bot, self.machine, self.memory, self._desired = bot, machine, memory, desired
        self.symbol = machine.instrument.symbol
        self.open_orders: dict[str, OpenOrder] = {}  # as the venue showed or took them
        self.filled: dict[str, int] = {}  # lots, by client order id
        self.stop = 0  # ticks: what the position carries, as far as is known
        self.fills = 0
        self.foreign: str | None = None  # what others did, in words, until somebody takes it
        self._log = log.bind(pair=self.symbol)

    def book(self, execution: Execution) -> bool:
        """Take an execution in, once; it is stored with the next memory, whatever happens until then."""
        if execution.id in self.memory.booked:
            return False
        if execution.funding or execution.lots == 0:
            self.machine.take_funding(-execution.fee)
            self.memory.book(execution, None)
            return True
        order = self.sent(execution.client_order_id)
        before, self.fills = self.machine.position, self.fills + 1
        match whose(execution, order):
            case Whose.OURS:
                assert order is not None
                attached = self._book_ours(execution, order)
            case Whose.STOP:
                attached = 0
                self._book_stop(execution)
            case Whose.FOREIGN:
                attached = 0
                self._book_foreign(execution)
        self.stop = stop_after_fill(self.stop, attached, execution.side, before, self.machine.position)
        return True

    def book_all(self, executions: list[Execution]) -> bool:
        """Take all of these in; whether any was new."""
        booked = False
        for execution in executions:
            booked = self.book(execution) or booked
        return booked

    def sent(self, client_order_id: str) -> Order | None:
        """The order of this name. One that was sent while the store was away, or long ago, is what is desired still.

        None also for one of a slot that a table made shorter since then does not have: nobody could answer its fill.
        """
        found = self.memory.orders.get(client_order_id) or next(
            (one for one in self._desired() if one.client_order_id == client_order_id), None
        )
        return found if found is not None and self.machine.knows(found) else None

    def _book_ours(self, execution: Execution, order: Order) -> int:
        """Book a fill of an order of the bot; returns the stop that it brought along."""
        found = self.open_orders.get(order.client_order_id)
        self.filled[order.client_order_id] = self.filled.get(order.client_order_id, 0) + execution.lots
        if found is not None and self.filled[order.client_order_id] >= found.lots:
            self.open_orders.pop(order.client_order_id)
        self._take(execution, order)
        if order.reduce_only:
            return 0
        return found.stop if found is not None else order.stop

    def _book_stop(self, execution: Execution) -> None:
        """Book a fill of the position's stop as one of the slot that holds it, and by its name.

        One that would not lessen the position as it is known is booked by its own side, like what others trade.
        """
        if self.machine.position * execution.side >= 0:
            self._book_foreign(execution)
            return
        order = self.machine.stop_order(self.bot, execution.lots)
        self._take(replace(execution, client_order_id=order.client_order_id), order)

    def _take(self, execution: Execution, order: Order) -> None:
        record = self.machine.take_fill(
            order, execution.ts, execution.price, execution.lots, execution.fee, maker=execution.maker
        )
        self.memory.book(execution, record)
        self._log.info("filled", order=order.client_order_id, **self._readable(execution))

    def _book_foreign(self, execution: Execution) -> None:
        self.memory.book(execution, self.machine.take_foreign(execution))
        told = self._readable(execution)
        who = "the venue" if execution.cause is Cause.FORCED else "somebody else"
        self.foreign = (
            f"{who} {'bought' if execution.side > 0 else 'sold'} {told['quantity']} at {told['price']}; it is booked "
            "and protected, and nothing is opened until you resume the pair."
        )
        self._log.error("foreign_execution", execution=execution.id, order=execution.client_order_id, **told)

    def _readable(self, execution: Execution) -> dict[str, str]:
        instrument = self.machine.instrument
        return {
            "side": "buy" if execution.side > 0 else "sell",
            "price": instrument.price_text(execution.price),
            "quantity": instrument.quantity_text(execution.lots),
        }

    def take_foreign(self) -> str | None:
        """Hand out what others did since the last time."""
        told, self.foreign = self.foreign, None
        return told

    def forget(self) -> None:
        """Let go of what no restart can meet again."""
        self.memory.forget()
        self.filled = {
            client_order_id: lots
            for client_order_id, lots in self.filled.items()
            if client_order_id in self.memory.orders
        }

    def is_ours(self, client_order_id: str) -> bool:
        """Whether an order has a name of this bot and pair."""
        return client_order_id.startswith(f"{self.bot}-{self.symbol}-")
