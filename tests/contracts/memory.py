"""A store and a bus in memory."""

from __future__ import annotations

import json


class MemoryStore:
    """What one bot did."""

    def __init__(self):
        self.memory, self.sent, self.booked, self.decided, self.states = {}, {}, {}, [], []
        self.received = []  # a symbol and a ReceivedSignal each

    async def load(self, name):
        return self.memory.get(name)

    async def orders(self, symbol):
        return {name: order for name, (of, order) in self.sent.items() if of == symbol}

    async def executions(self, symbol):
        of_it = [one for of, one in self.booked.values() if of == symbol]
        return [one.id for one in sorted(of_it, key=lambda one: one.ts)]

    async def save(self, name, saved, at, orders, fills, decisions):
        decided = [json.dumps(one.fields) for one in decisions]  # whatever fails does so before anything is kept
        booked = {one.id: (name, one) for one, _ in fills}
        self.memory[name] = saved
        for order in orders:
            self.sent.pop(order.client_order_id, None)
            self.sent[order.client_order_id] = (name, order)
        self.booked = {**booked, **self.booked}
        self.decided += decided

    async def signals(self, symbol, after):
        return [one for of, one in self.received if of == symbol and one.number > after]

    async def alive(self):
        return True

    async def snapshot(self, name, schema, state, at):
        self.states.append((name, schema, state, at))


class MemoryBus:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def publish(self, event):
        self.told.append(event)
