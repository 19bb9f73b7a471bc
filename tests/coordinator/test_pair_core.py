"""A pair's core, fed events and answers without any I/O: what it asks for, in which order, and what it does then."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import structlog

from bot.candles import bar_name
from bot.order import OrderKind, Side, Signal, set_order
from bot.ports import Cause, Execution, Gap, Gone, Position, Refusal, Refused, Unreachable
from bot.record import new_records
from bot.rollup import BAR
from coordinator.instructions import FetchOpenOrders, Load, Save
from coordinator.machine import PairMachine
from coordinator.messages import Directive, HeldOffReport, Recover, SaveState, ShutDown, StoreUnavailable
from coordinator.pair_core import PairCore
from coordinator.reconcile import only_reducing
from coordinator.vocabulary import DIRECTIVE, HeldOff
from tests.conftest import MINUTE, START, Family, classic, instrument
from tests.coordinator.world import World

LINK = "b-BTCUSDT-000-1"


@dataclass
class Pair:
    core: PairCore
    world: World
    reported: list = field(default_factory=list)
    looks: list = field(default_factory=list)

    def hear(self, message):
        """Handle a message; returns what was asked of the world."""
        self.world.asked.clear()
        self.world.run(self.core.handle(message))
        return self.world.asked

    def desired_order(self, slot=0, lots=4):
        """Set an entry as a strategy would, admitted by the gate."""
        slots = self.core.machine.slots
        set_order(slots, slot, Side.BUY, OrderKind.LIMIT, 500_000, lots, Signal.ENTRY, -1)
        slots[slot].stop, slots[slot].admitted, slots[slot].filtered = 490_000, True, True
        self.core.unsynced = True

    def held_off(self):
        return [(one.reason, one.over) for one in self.reported if isinstance(one, HeldOffReport)]


@pytest.fixture
def pair():
    machine = PairMachine(classic(), instrument("0.1", "0.001"), 1.0, MINUTE)
    machine.pairs[0].price = 50_000.0
    given = new_records(DIRECTIVE, 1)
    given[0].family, given[0].multiplier = Family.DCA, 1.0
    given[0].target = given[0].exposure_limit = 1e9
    for _ in range(2):  # the first event of a pair's life begins it
        machine.take_directive(given)
    reported, looks = [], []
    core = PairCore("b", machine, reported.append, lambda: looks.append(1), start=START, now=0.0, most_actions=60)
    made = Pair(core, World(), reported, looks)
    made.hear(Recover())
    assert core.recovered
    return made


def test_what_is_decided_is_stored_before_it_is_sent(pair):
    pair.desired_order()
    assert pair.hear(Gap("BTCUSDT")) == [("save", None), ("place", LINK)]


def test_what_rests_as_desired_is_left_alone(pair):
    pair.desired_order()
    pair.hear(Gap("BTCUSDT"))
    assert pair.hear(Gap("BTCUSDT")) == []


def test_without_the_store_nothing_is_opened_and_what_rests_leaves(pair):
    pair.desired_order()
    pair.world.stored = False
    assert pair.hear(Gap("BTCUSDT")) == [("save", None)]
    pair.world.stored = True
    assert pair.hear(SaveState()) == [("save", None), ("place", LINK)], "the store is back"
    assert pair.hear(StoreUnavailable()) == [("cancel", LINK)]
    asked = pair.hear(SaveState())
    assert [what for what, _ in asked] == ["save", "place"], "the store is back"
    assert asked[1] != ("place", LINK), "the venue would refuse a name that is used up"


def test_an_order_that_did_not_get_through_is_tried_again_after_a_pause_that_grows(pair):
    pair.desired_order()
    pair.world.refused["place", LINK] = Unreachable("no network")
    waits = []

    def get_well_after_three(_instruction):
        waits[:] = [seconds for what, seconds in pair.world.asked if what == "wait"]
        if len(waits) == 3:
            pair.world.refused.clear()

    pair.world.before = get_well_after_three
    assert pair.hear(Gap("BTCUSDT"))[-1] == ("place", LINK)
    assert waits == [1.0, 2.0, 4.0]
    assert pair.core.recovered
    assert not pair.core.unsynced


def test_a_position_that_nothing_explains_holds_the_pair_off_and_its_entries_leave(pair):
    pair.desired_order()
    pair.hear(Gap("BTCUSDT"))
    pair.world.held = 5
    asked = pair.hear(Gap("BTCUSDT"))
    assert ("cancel", LINK) in asked
    assert [what for what, _ in asked].count("wait") == 3, "it looks again before it believes it"
    assert [what for what, _ in asked].index("set_stop") < asked.index(("cancel", LINK)), "protected first"
    assert pair.held_off() == [(HeldOff.POSITION, False)]
    pair.world.held = 0
    pair.hear(Gap("BTCUSDT"))
    assert pair.held_off()[-1] == (HeldOff.POSITION, True)
    assert LINK in pair.world.open or pair.core.due()


def test_of_the_news_of_a_position_only_the_newest_counts(pair):
    pair.core.queued_positions = 1
    assert pair.hear(Position("BTCUSDT", 3)) == []
    assert pair.held_off() == []
    pair.core.queued_positions = 0
    pair.world.held = 3
    assert pair.hear(Position("BTCUSDT", 3)) != []
    assert pair.held_off() == [(HeldOff.POSITION, False)]


# What comes before a loop has read what it knew, and what is booked by whom


def fresh_core():
    machine, reported = PairMachine(classic(), instrument("0.1", "0.001"), 1.0, MINUTE), []
    core = PairCore("b", machine, reported.append, lambda: None, start=START, now=0.0, most_actions=60)
    return Pair(core, World(), reported)


@pytest.mark.parametrize("message", ["directive", "shut down"])
def test_a_loop_that_was_made_anew_stores_nothing_before_it_has_read_what_is_stored(message):
    pair, happened = fresh_core(), []
    pair.world.before = lambda instruction: happened.append(type(instruction))
    given = new_records(DIRECTIVE, 1)
    given[0].family, given[0].target = Family.DCA, 1000.0
    pair.hear(Directive(3, START, given) if message == "directive" else ShutDown(close=True))
    assert happened[0] is Load
    assert Save not in happened[: happened.index(FetchOpenOrders)]
    assert pair.core.recovered


def test_taking_over_is_done_with_once_the_positions_were_equal(pair):
    pair.core.watch.adopt = True
    pair.hear(Gap("BTCUSDT"))
    pair.world.held = 5
    pair.hear(Gap("BTCUSDT"))
    assert pair.core.machine.position == 0
    assert pair.held_off() == [(HeldOff.POSITION, False)]


def execution(name, side, price, lots, *, order="", cause=Cause.ORDER, at=1000):
    return Execution(name, "BTCUSDT", order, side, price, lots, 0.0, maker=False, ts=START + at, cause=cause)


def test_a_stop_that_filled_before_its_entry_is_known_is_booked_by_its_own_side(pair):
    pair.desired_order(lots=10)
    pair.hear(Gap("BTCUSDT"))
    pair.world.open.pop(LINK)
    bought = execution("f9", 1, 490_000, 10, order=LINK)
    sold = execution("a1", -1, 489_000, 10, cause=Cause.STOP)
    pair.world.executions["both"] = [sold, bought]
    pair.hear(Gap("BTCUSDT"))
    assert pair.core.machine.position == 0
    assert float(pair.core.machine.pairs[0].ledger.cash) == pytest.approx(10 * 0.001 * (48_900.0 - 49_000.0))


def test_what_was_traded_by_hand_before_the_first_start_is_not_the_bots():
    pair = fresh_core()
    pair.world.executions["hand"] = [execution("hand", -1, 500_000, 5, at=-30_000)]
    pair.hear(Recover())
    assert pair.core.machine.position == 0
    assert not pair.core.watch.differs


def test_a_fill_between_two_looks_of_a_start_is_booked_once_and_the_order_grows_by_nothing(pair):
    pair.desired_order(lots=10)
    pair.hear(Gap("BTCUSDT"))
    machine = PairMachine(classic(), instrument("0.1", "0.001"), 1.0, MINUTE)
    machine.restore(pair.core.machine.saved())
    again = Pair(PairCore("b", machine, [].append, lambda: None, start=START, now=0.0, most_actions=60), World())
    again.world.open = dict(pair.world.open)
    told = execution("x1", 1, 500_000, 4, order=LINK)

    def fills_after_the_look_at_the_position(instruction):
        if isinstance(instruction, FetchOpenOrders) and not again.world.held:
            again.world.open[LINK] = replace(again.world.open[LINK], filled=4)
            again.world.executions[LINK], again.world.held, again.world.stop = [told], 4, 490_000

    again.world.before = fills_after_the_look_at_the_position
    again.hear(Recover())
    again.hear(told)
    again.hear(Gap("BTCUSDT"))
    assert machine.position == 4
    assert again.world.open[LINK].lots == 10


def test_nothing_takes_the_place_of_an_entry_that_is_gone_before_its_fill_is_known(pair):
    pair.desired_order(lots=10)
    pair.hear(Gap("BTCUSDT"))
    pair.world.open.pop(LINK)
    pair.world.held, pair.world.stop = 10, 490_000
    pair.world.refused["cancel", LINK] = Gone("110001: order not exists or too late to cancel")
    pair.core.machine.slots[0].active = False
    pair.desired_order(slot=1, lots=10)
    asked = pair.hear(SaveState())
    assert ("cancel", LINK) in asked
    assert "place" not in [what for what, _ in asked]


# What a restart and a long absence bring


def restarted(pair):
    machine = PairMachine(classic(), instrument("0.1", "0.001"), 1.0, MINUTE)
    machine.restore(pair.core.machine.saved())
    again = Pair(PairCore("b", machine, [].append, lambda: None, start=START, now=0.0, most_actions=60), World())
    again.world.open = dict(pair.world.open)
    return again


def test_a_fill_that_raced_with_the_cancellation_of_a_stop_counts_to_its_order_after_the_start(pair):
    pair.desired_order(slot=1, lots=10)
    pair.hear(Gap("BTCUSDT"))
    (link,) = pair.world.open
    pair.hear(ShutDown(close=False))
    assert not pair.world.open
    again = restarted(pair)
    again.world.executions[link] = [execution("x1", 1, 500_000, 10, order=link)]
    again.world.held, again.world.stop = 10, 490_000
    asked = again.hear(Recover())
    assert again.core.machine.position == 10
    assert not [one for one in asked if one[0] == "place" and one[1].startswith("b-BTCUSDT-001")], "bought already"


@pytest.mark.parametrize(("minutes", "sent"), [(3, True), (30, False)])
def test_an_entry_at_the_market_that_was_decided_long_ago_is_not_sent(pair, minutes, sent):
    machine = pair.core.machine
    machine.pairs[0].time = START
    set_order(machine.slots, 0, Side.BUY, OrderKind.MARKET, 0, 4, Signal.ENTRY, -1)
    machine.slots[0].stop, machine.slots[0].admitted, machine.slots[0].filtered = 490_000, True, True
    bars = new_records(BAR, minutes)
    for index in range(minutes):
        bars[index] = (START + index * MINUTE, 5e4, 5e4, 5e4, 5e4, 1.0)
    pair.world.bars = bars
    asked = pair.hear(Gap("BTCUSDT"))
    assert ("place" in [what for what, _ in asked]) is sent
    assert bool(machine.slots[0].active) is sent


def test_a_longer_bar_of_which_a_minute_is_missing_is_withheld_and_said(pair):
    machine = pair.core.machine
    length = int(machine.timeframes[0])
    minutes = length // MINUTE
    machine.pairs[0].time = START
    bars = new_records(BAR, 4 * minutes)
    for index in range(len(bars)):
        bars[index] = (START + index * MINUTE, 5e4, 5e4, 5e4, 5e4, 1.0)
    pair.world.bars = np.delete(bars, minutes + 1)  # one of the second bar
    with structlog.testing.capture_logs() as lines:
        pair.hear(Gap("BTCUSDT"))
    assert machine.incomplete[length] == 1
    told = [one for one in lines if one["event"] == "bars_withheld" and one["timeframe"] == bar_name(length)]
    assert [one["bars"] for one in told] == [1]


def test_a_directive_that_was_on_its_way_when_others_traded_lets_nothing_in(pair):
    given = new_records(DIRECTIVE, 1)
    given[0] = pair.core.machine.states[0].directive
    pair.hear(Directive(4, START, given))
    pair.world.held, pair.world.stop = 7, 490_000
    pair.hear(execution("hand", 1, 500_000, 7))
    late = given.copy()
    late[0].target = 9e8
    pair.hear(Directive(5, START, late))
    state = pair.core.machine.states[0]
    assert (bool(state.disowned), bool(state.directive.paused)) == (True, True)
    paused = late.copy()
    paused[0].paused = True
    pair.hear(Directive(6, START, paused))
    assert state.disowned
    pair.hear(Directive(7, START, late))
    assert (bool(state.disowned), bool(state.directive.paused)) == (False, False), "the operator's word"


def test_a_stop_that_the_venue_will_not_move_does_not_deafen_the_pair(pair):
    pair.desired_order(lots=10)
    pair.hear(Gap("BTCUSDT"))
    pair.world.open.pop(LINK)
    pair.world.held, pair.world.stop = 10, 480_000
    pair.world.executions[LINK] = [execution("x1", 1, 500_000, 10, order=LINK)]
    pair.world.refused["set_stop", 450_000] = Refused(Refusal.OTHER, "10001: something new")
    pair.desired_order(slot=1, lots=4)
    pair.core.machine.slots[1].price = 495_000
    asked = pair.hear(Gap("BTCUSDT"))
    assert pair.core.recovered
    assert "wait" not in [what for what, _ in asked]
    sent = {link for what, link in asked if what == "place"}
    assert sent == {one.client_order_id for one in only_reducing(pair.core.due())}, "entries wait for the stop"
