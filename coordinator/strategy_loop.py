"""The loop of one pair: takes an event, hands it to the core, does what the core asks, and hands back the answers.

It decides nothing. While it waits for the world, what comes meanwhile waits in the mailbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, assert_never

from bot.events import OrderChanged
from bot.ports import Position
from coordinator.announcements import order_changed
from coordinator.instructions import (
    Amend,
    Cancel,
    FetchCandles,
    FetchExecutions,
    FetchExecutionsOf,
    FetchOpenOrders,
    FetchPosition,
    FetchSignals,
    Instruction,
    Load,
    Place,
    Save,
    SetInstrument,
    SetPartialStops,
    SetStop,
    Steps,
    Wait,
)
from coordinator.messages import Recover, SaveState
from coordinator.pair_core import PairCore
from coordinator.saving import Saving
from coordinator.session import packed
from coordinator.stepping import done

if TYPE_CHECKING:
    from bot.ports import Bus, Clock, Gateway, Order, Store
    from coordinator.machine import PairMachine
    from coordinator.messages import HeldOffReport, PairReport
    from coordinator.pair_core import Message
    from coordinator.session import Line, Record


class StrategyLoop:
    """One pair's core, its mailbox, and its hands at venue and store."""

    def __init__(
        self,
        bot: str,
        machine: PairMachine,
        gateway: Gateway,
        store: Store,
        bus: Bus,
        report: Callable[[PairReport | HeldOffReport], None],
        *,
        start: int,
        clock: Clock,
        most_actions: int,
        patience: float | None,
        adopt: bool = False,
        record: Record | None = None,
    ) -> None:
        """`adopt`: take over a position that nothing explains, once; `record` takes the lines of a session."""
        self.core = PairCore(
            *(bot, machine, report, lambda: self.tell(Recover())),
            start=start,
            now=clock(),
            most_actions=most_actions,
            adopt=adopt,
        )
        self.saving = Saving(
            *(machine.instrument.symbol, machine, self.core.memory, store, bus, lambda: self.tell(SaveState())),
            at=lambda: machine.time,
            remedy="nothing is opened until it answers; exits go on",
            patience=patience,
        )
        self.gateway, self.bus, self.symbol = gateway, bus, machine.instrument.symbol
        self.mailbox: asyncio.Queue[Message] = asyncio.Queue()
        self.recovered = asyncio.Event()
        self._clock, self.record = clock, record
        self._line: Line | None = None  # of the session, until the time of the core's next step is known

    def tell(self, message: Message) -> None:
        """Put a message into the mailbox."""
        self.core.queued_positions += isinstance(message, Position)
        self.mailbox.put_nowait(message)

    def take_over(self, old: StrategyLoop) -> None:
        """Go on in place of a loop that broke: nothing that waits in its mailbox is lost."""
        self.mailbox, self.core.sequence, self.core.queued_positions = (
            old.mailbox,
            old.core.sequence,
            old.core.queued_positions,
        )

    def reconciled_seconds(self) -> float:
        """Return how long ago state and venue were compared last."""
        return max(self._clock() - self.core.reconciled, 0.0)

    async def run(self) -> None:
        """Handle messages, one after the other, until the session is full: then another loop begins the next one."""
        try:
            while not self._is_full():
                message = await self.mailbox.get()
                self.core.queued_positions -= isinstance(message, Position)
                try:
                    await self._do(self.core.handle(message), message)
                finally:
                    self.mailbox.task_done()
            await self.checkpoint()
        finally:
            self.saving.close()

    def _is_full(self) -> bool:
        """Whether the session is full, at a moment at which a new loop would find everything stored."""
        core = self.core
        return self.record is not None and self.record.full and core.recovered and not core.stopping

    async def checkpoint(self) -> None:
        """Remember everything, also what called for no action."""
        await self._do(self.core.checkpoint(), None)

    async def _do(self, steps: Steps[None], message: Message | None) -> None:
        if self.record is not None:
            self._line = {"in": packed(message), "waiting": self.core.queued_positions}
        try:
            await done(steps, self._carry_out if self.record is None else self._recorded, self._before)
        finally:
            self._before()

    async def _recorded(self, instruction: Instruction) -> Any:
        """Carry out, and keep what was asked with what it was answered, or with what went wrong."""
        try:
            answer = await self._carry_out(instruction)
        except Exception as trouble:
            self._line = {"out": packed(instruction), "answer": packed(trouble)}
            raise
        self._line = {"out": packed(instruction), "answer": packed(answer)}
        return answer

    def _before(self) -> None:
        self.core.now = self._clock()
        if self._line is not None and self.record is not None:
            self.record({**self._line, "now": self.core.now})
            self._line = None
        if self.core.recovered:
            self.recovered.set()

    def _announce(self, change: str, order: Order) -> None:
        machine = self.core.machine
        self.bus.publish(order_changed(change, order, machine.instrument, machine.time))

    async def _carry_out(self, instruction: Instruction) -> Any:  # noqa: C901, PLR0911, PLR0912, one line for each
        symbol, gateway = self.symbol, self.gateway
        match instruction:
            case Save():
                return await self.saving.save()
            case Load(name):
                return await self.saving.load(name)
            case Place(order):
                await gateway.place(symbol, order)
                return self._announce("placed", order)
            case Amend(order):
                await gateway.amend(symbol, order)
                return self._announce("amended", order)
            case Cancel(client_order_id):
                await gateway.cancel(symbol, client_order_id)
                return self.bus.publish(OrderChanged(symbol, self.core.machine.time, "cancelled", client_order_id))
            case SetStop(price, within):
                async with asyncio.timeout(within):
                    return await gateway.set_stop(symbol, price)
            case SetPartialStops(price, sizes):
                return await gateway.set_partial_stops(symbol, price, sizes)
            case FetchPosition():
                return await gateway.position(symbol)
            case FetchExecutions(since):
                return await gateway.executions(symbol, since)
            case FetchExecutionsOf(client_order_id):
                return await gateway.executions_of(symbol, client_order_id)
            case FetchOpenOrders():
                return await gateway.open_orders(symbol)
            case FetchCandles(since, until):
                return await gateway.candles(symbol, since, until)
            case FetchSignals(after):
                return await self.saving.signals(after)
            case SetInstrument(instrument):
                return gateway.know(instrument)
            case Wait(seconds):
                return await asyncio.sleep(seconds)
            case _:
                assert_never(instruction)
