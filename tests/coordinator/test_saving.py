"""A save that a stop cuts off loses nothing: the next one stores it."""

from __future__ import annotations

import asyncio

from bot.ports import Cause, Execution
from coordinator.machine import PairMachine
from coordinator.memory import Memory
from coordinator.saving import Saving
from services.messaging.silent_bus import SilentBus
from tests.conftest import MINUTE, classic, instrument


class Slow:
    """A store whose first save never ends."""

    def __init__(self):
        self.saves = []

    async def save(self, _name, _saved, _at, _orders, fills, _notes):
        self.saves.append([execution.id for execution, _ in fills])
        if len(self.saves) == 1:
            await asyncio.Event().wait()


def test_what_a_stop_cuts_off_is_stored_with_the_next_save():
    async def main():
        store = Slow()
        machine = PairMachine(classic(), instrument(), 1.0, MINUTE)
        memory = Memory()
        saving = Saving(
            *("BTCUSDT", machine, memory, store, SilentBus(), lambda: None), at=lambda: 1, remedy="wait", patience=0.02
        )
        execution = Execution("e1", "BTCUSDT", "", 1, 1, 1, 0.0, maker=True, ts=1, cause=Cause.ORDER)
        memory.book(execution, None)
        assert not await saving.save()
        saving.close()
        await asyncio.sleep(0)  # the cut reaches it
        assert await saving.save()
        return store.saves

    assert asyncio.run(main()) == [["e1"], ["e1"]]
