"""A world that answers a core at once: no clock, no waiting, no I/O. What is asked of it is kept."""

from __future__ import annotations

from functools import partial

import numpy as np

from bot.ports import Position
from bot.record import new_records
from bot.rollup import BAR
from coordinator.instructions import (
    Amend,
    Cancel,
    FetchCandles,
    FetchExecutions,
    FetchExecutionsOf,
    FetchOpenOrders,
    FetchPosition,
    Load,
    Place,
    Save,
    SetPartialStops,
    SetStop,
    Wait,
)
from coordinator.reconcile import as_open_order


def driven(steps, answer):
    """Drive a core's steps to their end: `answer(instruction)` returns or raises; returns what the steps return."""
    step = partial(next, steps)
    while True:
        try:
            instruction = step()
        except StopIteration as end:
            return end.value
        try:
            given = answer(instruction)
        except Exception as trouble:  # noqa: BLE001, the steps say which they can deal with
            step = partial(steps.throw, trouble)
        else:
            step = partial(steps.send, given)


class World:
    """A venue and a store as a test wants them: by name of instruction and its link or price, what is refused."""

    def __init__(self, symbol="BTCUSDT"):
        self.symbol, self.asked, self.refused = symbol, [], {}
        self.executions, self.held, self.stop, self.stored = {}, 0, 0, True
        self.open, self.bars = {}, new_records(BAR, 0)
        self.before = lambda instruction: None

    def run(self, steps):
        return driven(steps, self.answer)

    def answer(self, instruction):  # noqa: PLR0911, one answer for each
        self.before(instruction)
        match instruction:
            case Place(order) | Amend(order):
                self._ask(type(instruction).__name__.lower(), order.client_order_id)
                self.open[order.client_order_id] = as_open_order(order)
            case Cancel(client_order_id):
                self._ask("cancel", client_order_id)
                self.open.pop(client_order_id, None)
            case SetStop(price):
                self._ask("set_stop", price)
                self.stop = price
                return price
            case SetPartialStops(price, sizes):
                self._ask("set_partial_stops", (price, sizes))
            case FetchPosition():
                return Position(self.symbol, self.held, self.stop if self.held else 0, 100.0)
            case FetchExecutionsOf(client_order_id):
                return self.executions.get(client_order_id, [])
            case FetchExecutions():
                return [one for each in self.executions.values() for one in each]
            case FetchOpenOrders():
                return list(self.open.values())
            case FetchCandles(since, until):
                ts = self.bars["ts"]
                return self.bars[np.logical_and(ts >= since, ts < until)]
            case Save():
                self._ask("save", None)
                return self.stored
            case Load():
                return None
            case Wait(seconds):
                self.asked.append(("wait", seconds))
        return None

    def _ask(self, what, client_order_id):
        self.asked.append((what, client_order_id))
        if (what, client_order_id) in self.refused:
            raise self.refused[what, client_order_id]
