"""One pair's machine, driven event by event without the compiler: what a venue may do that no simulation does."""

from __future__ import annotations

from bot.kernel import interpreted
from bot.order import OrderKind, Signal
from bot.record import new_records
from bot.rollup import BAR
from coordinator import compiled, machine, pair
from coordinator.config import load_portfolio
from coordinator.machine import PairMachine
from coordinator.reconcile import desired_orders, position_stop
from coordinator.vocabulary import DIRECTIVE
from tests.conftest import MINUTE, START, instrument

CAPITAL = 10_000.0


def plain_dispatch(roster):
    """Return the pair's entry point, not compiled."""
    bindings = {"decide": pair.decide, "dispatch": roster.dispatch(), "take_inputs": roster.take_inputs()}
    return interpreted(compiled.dispatch_event, **bindings)


class Driven:
    """A pair at 50,000 that follows one directive; orders fill when the test says so."""

    def __init__(self, monkeypatch, strategy, section, saved=None, family=None, price=50_000.0, **config):
        monkeypatch.setattr(machine, "compiled_dispatch", plain_dispatch)
        given = {"strategy": strategy, "pairs": ["BTCUSDT"], "leverage": 3.0, family or strategy: section, **config}
        algorithm = load_portfolio(given).algorithm
        self.machine = PairMachine(algorithm, instrument(), 3.0, MINUTE)
        if saved is not None:
            self.machine.restore(saved.machine.saved())
        self.price, self.time = (price, START) if saved is None else (saved.price, saved.time)
        names = list(self.machine.roster.names)
        self.given = new_records(DIRECTIVE, 1)
        self.given[0].family = names.index(family) if family else int(self.machine.params[0].pinned)
        self.given[0].share = self.given[0].multiplier = 1.0
        self.given[0].others = self.given[0].target = CAPITAL
        self.given[0].exposure_limit, self.given[0].sequence = 1e9, 1
        self.direct()

    @property
    def state(self):
        return self.machine.states[0]

    def direct(self, **changed):
        for name, value in changed.items():
            setattr(self.given[0], name, value)
        self.machine.take_directive(self.given.copy())

    def bar(self, close=None, count=1):
        bars, to = new_records(BAR, count), self.price if close is None else close
        for index in range(count):
            bars[index] = (self.time, self.price, max(self.price, to), min(self.price, to), to, 100.0)
            self.price, self.time = to, self.time + MINUTE
        self.machine.take_bars(bars)

    def orders(self, **fields):
        """Orders that should rest, those with these fields."""
        found = desired_orders(
            *(self.machine.slots, self.machine.position),
            linear=True,
            bot="b",
            symbol="BTCUSDT",
            filled={},
            largest=1 << 40,
        )
        return [one for one in found if all(getattr(one, name) == value for name, value in fields.items())]

    def entries(self):
        """Buys of the strategy, the dearest first."""
        return sorted(self.orders(side=1, signal=int(Signal.ENTRY)), key=lambda one: -one.price)

    @property
    def stop(self):
        """Ticks of the position's stop."""
        return position_stop(self.machine.slots, self.machine.position).price

    def exits(self):
        return [(OrderKind(one.kind).name, one.lots) for one in self.orders(reduce_only=True)]

    def fill(self, order, lots=None):
        price = order.price if order.kind == OrderKind.LIMIT else self.machine.ticks
        self.machine.take_fill(order, self.time, price, lots or order.lots, 0.01, maker=True)

    def buy(self):
        """Let the price fall to the dearest buy and fill it."""
        order = self.entries()[0]
        self.bar(order.price * 0.1 - 1)
        self.fill(order)
        return order
