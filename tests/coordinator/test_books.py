"""What becomes of executions: ours, the stop's, other hands', late ones; each once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from bot.order import OrderKind, Side, Signal, set_order
from bot.ports import Cause, Execution
from bot.record import new_records
from coordinator.books import Books
from coordinator.machine import PairMachine
from coordinator.phase import Phase
from coordinator.reconcile import as_open_order, desired_orders, position_stop
from coordinator.vocabulary import DIRECTIVE
from tests.conftest import START, Family, classic, instrument


@dataclass
class Remembered:
    """A memory without a store."""

    booked: dict = field(default_factory=dict)
    orders: dict = field(default_factory=dict)
    fills: list = field(default_factory=list)

    def book(self, execution, record):
        self.booked[execution.id] = None
        self.fills.append((execution, record))


@pytest.fixture
def books():
    machine = PairMachine(classic(), instrument("0.1", "0.001"), 1.0, 60_000)
    machine.pairs[0].price = 50_000.0
    given = new_records(DIRECTIVE, 1)
    given[0].family, given[0].multiplier = Family.DCA, 1.0  # a long deal: its stop stands for the whole position
    given[0].target = given[0].exposure_limit = 1e9
    for _ in range(2):  # the first event of a pair's life begins it
        machine.take_directive(given)
    memory = Remembered()

    def desired():
        named = {"bot": "b", "symbol": "BTCUSDT", "filled": made.filled, "largest": 1 << 40}
        return desired_orders(machine.slots, machine.position, linear=True, **named)

    made = Books("b", machine, memory, desired)
    return made


def execution(number, side, lots, *, client_order_id="", cause=Cause.ORDER, price=500_000):
    return Execution(
        f"e{number}", "BTCUSDT", client_order_id, side, price, lots, 0.01, maker=True, ts=number, cause=cause
    )


def sent(books, slot, lots, stop=490_000):
    """Set an entry, and send it; returns it."""
    set_order(books.machine.slots, slot, Side.BUY, OrderKind.LIMIT, 500_000, lots, Signal.ENTRY, -1)
    desired_order = books.machine.slots[slot]
    desired_order.stop, desired_order.admitted, desired_order.filtered = stop, True, True
    (order,) = [one for one in books._desired() if one.slot == slot]
    books.memory.orders[order.client_order_id] = order
    books.open_orders[order.client_order_id] = as_open_order(order)
    return order


def test_f_23_an_execution_is_booked_once(books):
    order = sent(books, 0, 4)
    assert books.book(execution(1, 1, 4, client_order_id=order.client_order_id))
    assert not books.book(execution(1, 1, 4, client_order_id=order.client_order_id))
    assert (books.machine.position, books.fills, books.stop) == (4, 1, 490_000)


def test_a_late_fill_under_the_former_name_counts_to_what_is_desired_of_it(books):
    """A partly filled entry cannot be amended: what is left goes under a new name, and nothing is bought twice."""
    order = sent(books, 0, 4)
    books.machine.set_anew(order)
    books.book(execution(1, 1, 3, client_order_id=order.client_order_id))
    (renamed,) = [one for one in books._desired() if one.slot == 0]
    assert (renamed.lots, renamed.generation) == (1, order.generation + 1)


@pytest.mark.parametrize("cause", [Cause.ORDER, Cause.FORCED])
def test_a_fill_inside_a_minute_does_not_take_the_minute_away(books, cause):
    """An exchange stamps a fill when it happens; the bar that forms then is still to come, and an hour needs it."""
    books.machine.pairs[0].time = START
    client_order_id = sent(books, 0, 4).client_order_id if cause is Cause.ORDER else ""
    books.book(replace(execution(1, 1, 4, client_order_id=client_order_id, cause=cause), ts=START + 30_123))
    assert books.machine.time == START
    booked, record = books.memory.fills[-1]
    assert (booked.ts, int(record.ts)) == (START + 30_123, START)


def test_the_stop_of_the_position_is_booked_by_the_name_of_its_slot(books):
    books.book(execution(1, 1, 4, client_order_id=sent(books, 0, 4).client_order_id))
    slot = position_stop(books.machine.slots, 4).slot
    books.book(execution(2, -1, 4, cause=Cause.STOP, price=489_990))
    assert (books.machine.position, books.stop) == (0, 0)
    booked, record = books.memory.fills[-1]
    assert booked.client_order_id == f"b-BTCUSDT-{slot:03d}-1"
    assert (int(record.slot), int(record.signal)) == (slot, Signal.EXIT_SL)
    assert books.foreign is None


@pytest.mark.parametrize(("side", "lots", "left"), [(-1, 4, 0), (-1, 1, 3), (1, 2, 6), (-1, 9, -5)])
def test_f_69_what_other_hands_trade_is_booked_told_and_guarded(books, side, lots, left):
    books.book(execution(1, 1, 4, client_order_id=sent(books, 0, 4).client_order_id))
    books.book(execution(2, side, lots, cause=Cause.FORCED))
    machine = books.machine
    assert machine.position == left
    assert "the venue" in books.take_foreign()
    assert books.take_foreign() is None
    assert machine.states[0].directive.paused
    guard = position_stop(machine.slots, left)
    if left:
        assert (guard.price - 500_000) * left < 0
        assert machine.states[0].phase in (Phase.IDLE, Phase.PAUSED)
    else:
        assert guard is None
