"""TWAP: the plan of slices against a plain twin, minute by minute, whatever becomes of its orders."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import twap
from bot.kernel import interpreted
from bot.order import OrderKind, Side, Signal, new_slots
from bot.record import new_record
from bot.strategy import PAIR
from tests.conftest import MINUTE, instrument

start, step = interpreted(twap.twap_start), interpreted(twap.twap_step)
BEGUN = 1_704_067_200_000
LIMIT = 505_000  # ticks


class Twin:
    """What waits in the slot, by fractions and lists: no record, no kernel."""

    def __init__(self, lots, slices, minutes, least, *, limited, leaves):
        self.lots, self.least, self.limited, self.leaves = lots, least, limited, leaves
        slices = slices if lots // 2 >= least else 1
        self.times = [Fraction(minutes * k, slices) for k in range(slices)]
        self.end, self.handed, self.waiting, self.running = minutes, 0, 0, lots > 0

    def minute(self, now):
        if not self.running:
            return
        if self.limited and not self.leaves and now >= self.end:
            self.waiting, self.running = 0, False
        elif self.limited or not self.waiting:
            begun = sum(time <= now for time in self.times)
            due = int(Fraction(self.lots * begun, len(self.times)) + Fraction(1, 2))
            if self.lots - due < self.least:
                due = self.lots
            self._take(due - self.handed, last=due == self.lots)

    def _take(self, share, *, last):
        large = share >= self.least or self.waiting > 0 or (self.leaves and last)
        if share > 0 and large:
            self.handed, self.waiting = self.handed + share, self.waiting + share
        done = self.handed == self.lots and (self.leaves or not self.limited or not self.waiting)
        self.running = not done and (large or not (last and share > 0))


def world(lots=0, least=1):
    pair, slots = new_record(PAIR), new_slots(2)
    pair["instrument"] = instrument(min_notional=0).record(1.0)
    pair.instrument.min_quantity = least
    pair.time, pair.price, pair.may_enter = BEGUN, 50_000.0, True
    pair.ledger.position = lots
    return pair, slots, new_record(twap.TWAP)


plans = st.fixed_dictionaries(
    {
        "lots": st.integers(0, 400),
        "slices": st.integers(1, 12),
        "minutes": st.integers(1, 40),
        "least": st.integers(1, 60),
        "limited": st.booleans(),
        "leaves": st.booleans(),
    }
)
fates = st.lists(st.tuples(st.sampled_from(["nothing", "part", "all", "dropped"]), st.integers(1, 99)), max_size=60)


@given(plan=plans, fates=fates)
def test_the_plan_is_its_twin(plan, fates):
    lots, leaves, limited = plan["lots"], plan["leaves"], plan["limited"]
    twin = Twin(**plan)
    pair, slots, record = world(lots if leaves else 0, plan["least"])
    signal, side = (Signal.EXIT_TP, Side.SELL) if leaves else (Signal.ENTRY, Side.BUY)
    limit = LIMIT if limited else 0
    start(pair, slots, record, 1, side, lots, plan["slices"], plan["minutes"] * MINUTE, limit, signal)
    traded = dropped = 0
    for minute, (fate, percent) in enumerate([*fates, *[("all", 0)] * 45]):
        if minute:
            pair.time = BEGUN + minute * MINUTE
            step(pair, slots, record, 1)
        twin.minute(minute)
        slot = slots[1]
        waiting = int(slot.quantity) if slot.active else 0
        assert (waiting, int(record.total) > 0) == (twin.waiting, twin.running), (minute, plan)
        if waiting:
            assert (slot.kind, slot.price) == ((OrderKind.LIMIT, LIMIT) if limited else (OrderKind.MARKET, 0))
            assert (slot.side, slot.signal, bool(slot.reduce_only)) == (side, signal, leaves)
        taken = {"nothing": 0, "part": waiting * percent // 100, "all": waiting, "dropped": waiting}[fate]
        slot.quantity -= taken
        slot.active = waiting > taken
        twin.waiting -= taken
        pair.ledger.position += side * taken * (fate != "dropped")
        traded, dropped = traded + taken * (fate != "dropped"), dropped + taken * (fate == "dropped")
        assert traded + dropped <= lots
    assert record.total == 0
    if leaves or not limited:  # an entry's limit may run out of time, and its last slice may be too small
        assert traded + dropped == (lots if leaves or lots >= plan["least"] else 0)


@pytest.mark.parametrize(
    ("lots", "slices", "least", "signal", "handed"),
    [
        (100, 5, 1, Signal.ENTRY, {0: 20, 12: 20, 24: 20, 36: 20, 48: 20}),
        (7, 3, 1, Signal.ENTRY, {0: 2, 20: 3, 40: 2}),
        (100, 5, 30, Signal.ENTRY, {12: 40, 36: 60}),  # under the minimum it waits for the next; none is left behind
        (100, 5, 51, Signal.ENTRY, {0: 100}),  # too few for two
        (3, 5, 1, Signal.ENTRY, {0: 1, 24: 1, 48: 1}),
        (5, 3, 10, Signal.ENTRY, {}),
        (5, 3, 10, Signal.EXIT_SL, {0: 5}),  # an exit is never too small
    ],
)
def test_slices_by_the_minute(lots, slices, least, signal, handed):
    pair, slots, record = world(-lots, least)
    found = {}
    start(pair, slots, record, 0, Side.BUY, lots, slices, 60 * MINUTE, 0, signal)
    for minute in range(70):
        if minute:
            pair.time = BEGUN + minute * MINUTE
            step(pair, slots, record, 0)
        if slots[0].active:
            found[minute] = int(slots[0].quantity)
            slots[0].active = False
    assert found == handed and record.total == 0


@pytest.mark.parametrize("suspended", [False, True])
def test_what_a_coordinator_holds_back_is_kept_and_what_it_cut_is_not_asked_for_again(suspended):
    pair, slots, record = world()
    start(pair, slots, record, 0, Side.BUY, 100, 5, 60 * MINUTE, LIMIT, Signal.ENTRY)
    slots[0].active, slots[0].suspended, slots[0].filtered, slots[0].quantity = not suspended, suspended, True, 10
    pair.time = BEGUN + 12 * MINUTE
    step(pair, slots, record, 0)
    assert slots[0].active and slots[0].quantity == 30
    assert not slots[0].filtered, "the filter judges again"


def test_an_exit_asks_for_no_more_than_is_held():
    pair, slots, record = world(100)
    start(pair, slots, record, 0, Side.SELL, 100, 2, 60 * MINUTE, LIMIT, Signal.EXIT_TP)
    pair.ledger.position, pair.time = 30, BEGUN + 30 * MINUTE
    step(pair, slots, record, 0)
    assert slots[0].quantity == 30
