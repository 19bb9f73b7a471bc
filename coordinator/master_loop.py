"""The loop of the portfolio: takes a message, hands it to the core, and stores what the core asks to store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from coordinator.instructions import Load, Save
from coordinator.machine import NAME, PortfolioMachine
from coordinator.messages import SaveState
from coordinator.portfolio_core import PortfolioCore
from coordinator.saving import Saving
from coordinator.stepping import done

if TYPE_CHECKING:
    from bot.ports import Bus, Store
    from coordinator.instructions import Instruction
    from coordinator.messages import Directive, ExposureLimit, Recover
    from coordinator.portfolio_core import Message


class MasterLoop:
    """The portfolio's core, its mailbox, and its hand at the store."""

    def __init__(
        self,
        machine: PortfolioMachine,
        symbols: list[str],
        store: Store,
        bus: Bus,
        tell: Callable[[str, Directive | ExposureLimit | Recover], None],
        patience: float | None = None,
    ) -> None:
        """`patience`: seconds with a store that does not answer; None where the market waits for the bot."""
        self.core = PortfolioCore(machine, symbols, tell, bus.publish)
        self.saving = Saving(
            *(NAME, machine, self.core.memory, store, bus, lambda: self.tell(SaveState())),
            at=lambda: self.core.now,
            remedy="decisions count at once, and are stored when it answers",
            patience=patience,
        )
        self.mailbox: asyncio.Queue[Message] = asyncio.Queue()

    def tell(self, message: Message) -> None:
        """Take a message."""
        self.mailbox.put_nowait(message)

    async def start(self, now: int, transferred: int = 0, share: float = 0.0) -> None:
        """Load what was stored, or begin at `now` (ms); `transferred` (ms): transfers up to then are in the wallet.

        `share`: of the capital in its first phase; 0 for no phases.
        """
        await done(self.core.start(now, transferred, share), self._carry_out)

    async def run(self) -> None:
        """Handle messages, one after the other, for ever."""
        try:
            while True:
                message = await self.mailbox.get()
                try:
                    await done(self.core.handle(message), self._carry_out)
                finally:
                    self.mailbox.task_done()
        finally:
            self.saving.close()

    async def _carry_out(self, instruction: Instruction) -> Any:
        if isinstance(instruction, Load):
            return await self.saving.load(instruction.name)
        assert isinstance(instruction, Save)
        return await self.saving.save()
