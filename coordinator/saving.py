"""How what a core remembers reaches the store: all at once, before anything is sent.

While the store is away it goes on trying by itself; what happened meanwhile is stored when it has come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from coordinator.announcements import filled
from coordinator.instructions import Loaded
from coordinator.machine import NAME, PairMachine

if TYPE_CHECKING:
    from bot.ports import Bus, ReceivedSignal, Store
    from coordinator.machine import PortfolioMachine
    from coordinator.memory import Memory

log = structlog.get_logger()

PATIENCE_SECONDS = 2.0  # with a store that does not answer


class Saving:
    """Loads and saves what one core remembers."""

    def __init__(
        self,
        name: str,
        machine: PairMachine | PortfolioMachine,
        memory: Memory,
        store: Store,
        bus: Bus,
        back: Callable[[], None],
        *,
        at: Callable[[], int],
        remedy: str,
        patience: float | None = PATIENCE_SECONDS,
    ) -> None:
        """`name`: a pair's symbol or NAME; `at`: ms of the market; `back` is called when the store answers again.

        Patience None is for a market that waits for the bot; `remedy` is told where it is at an end.
        """
        self.name, self.machine, self.memory, self.store, self.bus = name, machine, memory, store, bus
        self._at, self._remedy = at, remedy
        self._saving: asyncio.Task[None] | None = None
        self._back, self._half = back, None if patience is None else patience / 2

    async def load(self, name: str) -> Loaded | None:
        """Read what was stored under a name; None when nothing was."""
        saved = await self.store.load(name)
        if saved is None:
            return None
        return Loaded(saved, await self.store.orders(name), await self.store.executions(name))

    async def signals(self, after: int) -> list[ReceivedSignal]:
        """Read the signals received after this number; none while the store does not answer: they are asked for again.

        Nothing that the pair holds may wait for them.
        """
        try:
            async with asyncio.timeout(None if self._half is None else 2.0 * self._half):
                return await self.store.signals(self.name, after)
        except TimeoutError:
            log.warning("store_away", pair=self.name, remedy="signals are heard when it answers")
            return []

    async def save(self) -> bool:
        """Store the machine and what is new in one transaction; False while the store does not answer."""
        if self._saving is not None and not self._saving.done():
            return False
        if self._saving is not None and not self._saving.cancelled():
            self._saving.result()
        self._saving = asyncio.create_task(self._store())
        for _ in range(2):  # halves, so that work of our own that held the loop up is not taken for the store's silence
            await asyncio.wait({self._saving}, timeout=self._half)
        if not self._saving.done():
            log.error("store_away", pair="" if self.name == NAME else self.name, remedy=self._remedy)
            self._saving.add_done_callback(lambda _: self._back())
            return False
        saving, self._saving = self._saving, None
        saving.result()
        return True

    async def _store(self) -> None:
        """Store, then tell. What a stop cuts off is stored with the next save: the machine remembers it already."""
        unstored = self.memory.take_unstored()
        orders, fills, decisions = unstored
        try:
            await self.store.save(self.name, self.machine.saved(), self._at(), orders, fills, decisions)
        except asyncio.CancelledError:
            self.memory.put_back(unstored)
            raise
        for decision in decisions:
            self.bus.publish(decision)
        for execution, _ in fills:
            assert isinstance(self.machine, PairMachine)
            self.bus.publish(filled(execution, self.machine.instrument))

    def close(self) -> None:
        """Try no more."""
        if self._saving is not None:
            self._saving.cancel()
