"""What a pair keeps besides its machine: orders that may still be filled, booked executions, what is not saved yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bot.events import Decision
from bot.ports import Execution, Order

if TYPE_CHECKING:
    from coordinator.instructions import Loaded

Unstored = tuple[list[Order], list[tuple[Execution, Any]], list[Decision]]  # orders, fills, decisions
KEPT = 5000  # orders and executions to know again


class Memory:
    """Orders that may still be filled, executions that are booked, and what is not stored yet."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}  # by client order id, oldest first
        self.booked: dict[str, None] = {}  # ids, oldest first
        self.unavailable = False  # the store does not answer: what is decided now cannot be saved
        self._orders: list[Order] = []  # not stored yet, as the next two
        self._fills: list[tuple[Execution, Any]] = []
        self._decisions: list[Decision] = []

    def fill(self, loaded: Loaded) -> None:
        """Take over what was stored."""
        self.orders = dict(loaded.orders)
        self.booked = dict.fromkeys(loaded.booked)

    def book(self, execution: Execution, record: Any) -> None:
        """Keep an execution, and its FILL record (None for funding), for the next save."""
        self.booked[execution.id] = None
        self._fills.append((execution, record))

    def keep(self, desired: list[Order], decisions: list[Decision]) -> None:
        """Keep orders that are new, and decisions, for the next save."""
        self._decisions.extend(decisions)
        fresh = [order for order in desired if self.orders.get(order.client_order_id) != order]
        self.orders.update((order.client_order_id, order) for order in fresh)
        self._orders.extend(fresh)

    def take_unstored(self) -> Unstored:
        """Hand out what is to be stored now."""
        unstored = self._orders, self._fills, self._decisions
        self._orders, self._fills, self._decisions = [], [], []
        return unstored

    def put_back(self, unstored: Unstored) -> None:
        """Take back what could not be stored; it goes with the next save."""
        orders, fills, decisions = unstored
        self._orders, self._fills, self._decisions = (
            orders + self._orders,
            fills + self._fills,
            decisions + self._decisions,
        )

    def forget(self) -> None:
        """Drop records that no restart can need."""
        for known in (self.orders, self.booked):
            for key in list(known)[:-KEPT]:
                del known[key]
