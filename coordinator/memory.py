"""What a pair's loop remembers beyond its machine, and how both reach the store: together, before anything is sent.

While the store is away it goes on trying by itself; what happened meanwhile is stored when it has come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from bot.ports import Bus, Execution, Order, Store
from coordinator.machine import PairMachine

log = structlog.get_logger()

PATIENCE_SECONDS = 2.0  # with a store that does not answer
KEPT = 5000  # orders and executions to know again


class Memory:
    """Orders that may still be filled, executions that are booked, and what is not stored yet."""

    def __init__(
        self,
        machine: PairMachine,
        store: Store,
        bus: Bus,
        back: Callable[[], None],
        patience: float | None = PATIENCE_SECONDS,
    ) -> None:
        """`back` is called when the store answers again; patience None is for a market that waits for the bot."""
        self.machine, self.store, self.bus = machine, store, bus
        self.symbol = machine.instrument.symbol
        self.orders: dict[str, Order] = {}  # by link, oldest first
        self.booked: dict[str, None] = {}  # ids, oldest first
        self._orders: list[Order] = []  # not stored yet, as the next two
        self._fills: list[tuple[Execution, Any]] = []
        self._notes: list[tuple[str, Any]] = []
        self._saving: asyncio.Task[None] | None = None
        self._back, self._half = back, None if patience is None else patience / 2
        self.away = False  # the store does not answer: what is decided now would not be remembered

    async def load(self) -> bool:
        """Fill the machine from what was stored; False when nothing was. Raises Misconfigured for what does not fit."""
        saved = await self.store.load(self.symbol)
        if saved is None:
            return False
        self.machine.restore(saved)
        self.orders = await self.store.orders(self.symbol)
        self.booked = dict.fromkeys(await self.store.executions(self.symbol))
        return True

    def book(self, execution: Execution, record: Any) -> None:
        """Keep an execution, and its FILL record (None for funding), for the next save."""
        self.booked[execution.id] = None
        self._fills.append((execution, record))

    async def save(self, wished: list[Order]) -> bool:
        """Store the machine, new wishes, fills and notes in one transaction; False while the store does not answer."""
        self._notes.extend((self.symbol, note) for note in self.machine.take_notes())
        fresh = [order for order in wished if self.orders.get(order.link) != order]
        self.orders.update((order.link, order) for order in fresh)
        self._orders.extend(fresh)
        if self._saving is not None and not self._saving.done():
            return False
        if self._saving is not None and not self._saving.cancelled():
            self._saving.result()
        self._saving = asyncio.create_task(self._store())
        for _ in range(2):  # halves, so that work of our own that held the loop up is not taken for the store's silence
            await asyncio.wait({self._saving}, timeout=self._half)
        if not self._saving.done():
            log.error("store_away", pair=self.symbol, remedy="nothing is opened until it answers; exits go on")
            self._saving.add_done_callback(lambda _: self._back())
            self.away = True
            return False
        saving, self._saving = self._saving, None
        saving.result()
        self.away = False
        return True

    async def _store(self) -> None:
        """Store, then tell. What a stop cuts off is stored with the next save: the machine remembers it already."""
        orders, fills, notes = self._orders, self._fills, self._notes
        self._orders, self._fills, self._notes = [], [], []
        try:
            await self.store.save(self.symbol, self.machine.saved(), self.machine.time, orders, fills, notes)
        except asyncio.CancelledError:
            self._orders, self._fills, self._notes = orders + self._orders, fills + self._fills, notes + self._notes
            raise
        for _, note in notes:
            self.bus.publish("note", {"pair": self.symbol, "note": note})
        for execution, _ in fills:
            of = self.machine.instrument
            people = {"price": str(of.price(execution.price)), "quantity": str(of.quantity(execution.lots))}
            self.bus.publish("fill", {"pair": self.symbol, "execution": execution, **people})

    def forget(self) -> None:
        """Let go of what no restart can meet again."""
        for known in (self.orders, self.booked):
            for key in list(known)[:-KEPT]:
                del known[key]

    def close(self) -> None:
        """Try no more."""
        if self._saving is not None:
            self._saving.cancel()
