"""The life of a pair, explored: any order of bars, fills, directives, halts and resumes keeps its promises."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bot.instrument import Instrument, Market
from bot.kernel import Record, specialise, template
from bot.ledger import book_fill
from bot.order import SLOT, OrderKind, Signal
from bot.record import from_dict, new_records, to_dict
from bot.strategy import EVENT, PAIR, Event
from coordinator.gate import position_notional, resting_entries
from coordinator.pair import decide
from coordinator.pair_state import OWN, state_dtype
from coordinator.phase import Phase
from coordinator.vocabulary import NO_STRATEGY
from tests.conftest import Family, classic

HOUR = 3_600_000
START = 1_700_006_400_000
ALGORITHM = classic(
    auto={"warmup_bars": 60},
    grid={"levels": 4, "warmup_bars": 5},
    dca={
        "warmup_bars": 5,
        "confluence": 0.0,
        "spike": 1.0,
        "max_active_safety_orders": 3,
        "targets": [{"at": 0.01, "share": 0.6}, {"at": 0.03, "share": 0.4}],
        "break_even": True,
        "max_deal_days": 0.5,
        "deadline_exit": "market",
    },
    trend={"warmup_bars": 5, "trend_confirmation_bars": 1, "max_atr": 1.0},
)


@template
def drive(
    pairs: Record, params: Record, states: Record, slots: Record, events: Record, index: int, lots: int, sums: Record
) -> None:
    """Let slot `index` fill `lots` at its price or the last one (-1: none), then decide; `sums` gets the notionals."""
    pair, event = pairs[0], events[0]
    if index >= 0:
        slot = slots[index]
        tick = pair.instrument.tick_size
        price = float(slot.price) if slot.kind != OrderKind.MARKET else np.floor(pair.price / tick)
        fill = event.execution
        slot.quantity -= lots
        slot.active = slot.quantity > 0
        fill.slot, fill.generation, fill.part, fill.entry = index, slot.generation, slot.part, slot.entry
        fill.side, fill.kind, fill.signal, fill.stop = slot.side, slot.kind, slot.signal, slot.stop
        fill.price, fill.quantity, fill.ts = int(price), lots, pair.time
        book_fill(pair.ledger, slot.side, price, lots, pair.instrument.tick_value, 0.0)
        fill.position = pair.ledger.position
        event.kind = Event.FILL
    decide(pair, params[0], states[0], slots, event)
    sums[0] = position_notional(pair)
    sums[1] = resting_entries(pair, slots)[0]


@cache
def _driver():
    return specialise(drive, "machine", inlined=False, decide=decide, dispatch=ALGORITHM.roster.dispatch())


class LifeOfAPair(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        instrument = Instrument(symbol="T", market=Market.LINEAR, tick_size="0.1", lot_size="0.001", min_notional="1")
        self.pairs, self.states = new_records(PAIR, 1), new_records(state_dtype(ALGORITHM.roster.strategies), 1)
        self.pairs[0]["instrument"] = instrument.record(2.0)
        self.pairs[0].bar_ms, self.pairs[0].time = 60_000, START
        self.params = new_records(ALGORITHM.record(["T"]).dtype, 1)
        self.params[0] = ALGORITHM.record(["T"])
        self.slots, self.events = new_records(SLOT, 13 + OWN), new_records(EVENT, 1)
        self.sums, self.price = np.zeros(2), 100.0
        self.given = self.states[0].directive
        self.before: set[tuple[int, int]] = set()
        self.pairs[0].price = self.price
        for _ in range(70):
            self.bar(1.001)
            self.bar(0.999)

    def run(self, index=-1, lots=0):
        """Decide, beside a twin whose gate goes through the whole table however little has changed."""
        self.before = self.passed()
        pairs, states, slots, events, sums = twin = [
            one.copy() for one in (self.pairs, self.states, self.slots, self.events, self.sums)
        ]
        states["gated"] = -1
        _driver()(pairs, self.params, states, slots, events, index, lots, sums)
        _driver()(self.pairs, self.params, self.states, self.slots, self.events, index, lots, self.sums)
        for one, other in zip((self.pairs, self.slots, self.sums), (twin[0], twin[2], twin[4]), strict=True):
            assert one.tolist() == other.tolist()

    def passed(self):
        chosen = (self.slots["signal"] == Signal.ENTRY) & self.slots["active"] & self.slots["admitted"]
        return {
            (int(i), int(self.slots["generation"][i]), int(self.slots["quantity"][i])) for i in np.flatnonzero(chosen)
        }

    @rule(move=st.floats(0.93, 1.07))
    def bar(self, move):
        """An hour passes: base bar, then the longer ones."""
        open_, self.price = self.price, min(max(self.price * move, 5.0), 2000.0)
        pair, event = self.pairs[0], self.events[0]
        pair.time += HOUR
        pair.price = self.price
        for kind, length in ((Event.BASE, 60_000), (Event.SIGNAL, HOUR)):
            bar = event.bar
            bar.ts, bar.open, bar.close, bar.volume = pair.time - length, open_, self.price, 100.0
            bar.high, bar.low = max(open_, self.price) * 1.001, min(open_, self.price) * 0.999
            event.kind, event.timeframe = int(kind), length
            self.run()

    @rule(pick=st.integers(0, 40), part=st.floats(0.1, 1.0))
    def fill(self, pick, part):
        """Something that rests is filled, whole or in part; exits at most what is held, on their side."""
        position = self.pairs[0].ledger.position  # int64: a side is int8, and would stay so beside an int
        candidates = []
        for index in np.flatnonzero(self.slots["active"]):
            slot = self.slots[index]
            if not slot.reduce_only or position * slot.side < 0:
                candidates.append(int(index))
        if not candidates:
            return
        index = candidates[pick % len(candidates)]
        slot = self.slots[index]
        most = int(slot.quantity) if not slot.reduce_only else min(int(slot.quantity), abs(position))
        if slot.kind != OrderKind.MARKET:
            self.price = float(slot.price) * 0.1
            self.pairs[0].price = self.price
        self.run(index, np.int64(max(1, int(most * part))))

    @rule(
        family=st.integers(-1, 2),
        variant=st.integers(0, 6),
        capital=st.sampled_from([0.0, 50.0, 1000.0, 5000.0]),
        limit=st.sampled_from([0.0, 300.0, 2000.0, 1e6]),
        blocked=st.booleans(),
        paused=st.booleans(),
    )
    def directive(self, family, variant, capital, limit, blocked, paused):
        given = self.given
        given.family, given.variant, given.target, given.multiplier = family, variant, capital, 1.0
        given.exposure_limit, given.blocked, given.paused = limit, blocked, paused
        self.events[0].kind = int(Event.DIRECTIVE)
        self.run()

    @rule(family=st.integers(0, 2))
    def let_it_trade(self, family):
        self.directive(family, 0, 5000.0, 1e6, False, False)

    @rule(answer=st.integers(0, 3))
    def halt(self, answer):
        self.given.halted, self.given.answer = True, answer
        self.events[0].kind = int(Event.DIRECTIVE)
        self.run()

    @rule()
    def resume(self):
        self.given.halted, self.given.answer = False, 0
        self.events[0].kind = int(Event.DIRECTIVE)
        self.run()

    @rule(capital=st.sampled_from([0.0, 100.0, 1000.0]))
    def trim(self, capital):
        self.given.trim_id += 1
        self.given.trim_to = capital
        self.events[0].kind = int(Event.DIRECTIVE)
        self.run()

    @rule(free=st.floats(1.0, 5000.0))
    def withdraw(self, free):
        self.given.withdraw_id += 1
        self.given.withdraw = free
        self.events[0].kind = int(Event.DIRECTIVE)
        self.run()

    @rule()
    def restart(self):
        """Save and load: nothing may depend on what is not in the record."""
        self.states[0] = from_dict(state_dtype(ALGORITHM.roster.strategies), to_dict(self.states[0]))

    @invariant()
    def no_entry_rests_unless_running(self):
        if self.states[0].phase != Phase.RUNNING:
            assert not self.passed()
            assert not (self.slots["active"] & (self.slots["signal"] == Signal.ENTRY)).any()

    @invariant()
    def every_position_is_covered_by_a_resting_stop(self):
        position = self.pairs[0].ledger.position  # int64: a side is int8, and would stay so beside an int
        if position == 0:
            return
        leaves = (
            self.slots["active"]
            & self.slots["reduce_only"]
            & np.isin(self.slots["kind"], [OrderKind.STOP, OrderKind.MARKET])
            & (self.slots["side"] * position < 0)
        )
        assert self.slots["quantity"][leaves].max(initial=0) >= abs(position)

    @invariant()
    def no_exit_is_ever_shelved(self):
        assert not (self.slots["suspended"] & (self.slots["signal"] != Signal.ENTRY)).any()

    @invariant()
    def an_order_let_through_respects_the_limit(self):
        fresh = self.passed() - self.before
        if not fresh:
            return
        within = self.sums.sum() <= self.given.exposure_limit * (1 + 1e-6)
        # An order that had passed and now fits no longer is amended downwards at most.
        amended = all(any(i == j and g == h and q <= r for j, h, r in self.before) for i, g, q in fresh)
        assert within or amended

    @invariant()
    def nobody_sets_orders_for_a_strategy_that_does_not_run(self):
        if self.states[0].family == NO_STRATEGY:
            assert not self.slots["active"][: len(self.slots) - OWN].any()

    @precondition(lambda self: self.states[0].phase in (Phase.DRAINING, Phase.CLOSING))
    @rule()
    def a_transition_ends(self):
        """Whatever happened, time and fills lead out of it."""
        self.given.halted = self.given.paused = False
        for _ in range(8):
            self.bar(1.0)
            if self.states[0].phase not in (Phase.DRAINING, Phase.CLOSING):
                return
            self.fill(len(np.flatnonzero(self.slots["active"])) - 1, 1.0)
        assert self.states[0].phase not in (Phase.DRAINING, Phase.CLOSING)


TestLifeOfAPair = LifeOfAPair.TestCase
TestLifeOfAPair.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def entries_of(machine):
    return {int(i): int(machine.slots["generation"][i]) for i, *_ in machine.passed()}


def trading_grid(min_notional=1.0, target=5000.0):
    """A pair of the whole algorithm whose router has just asked for a grid."""
    machine = LifeOfAPair()
    machine.pairs[0].instrument.min_notional = min_notional
    machine.directive(int(Family.GRID), 0, target, 1e6, False, False)
    machine.bar(1.0)
    return machine


def test_a_pair_whose_target_was_cut_keeps_its_orders_and_opens_no_more():
    machine = trading_grid()
    before = entries_of(machine)
    assert len(before) > 2
    machine.directive(int(Family.GRID), 0, 5.0, 1e6, False, False)
    assert entries_of(machine) == before
    index = min(before)
    machine.run(index, machine.slots[index].quantity.copy())
    counter = next(i for i in np.flatnonzero(machine.slots["active"]) if machine.slots[i].signal == Signal.GRID_COUNTER)
    machine.run(int(counter), machine.slots[counter].quantity.copy())
    assert machine.pairs[0].ledger.position == 0
    kept = {i: made for i, made in before.items() if i != index and machine.slots[i].side == machine.slots[index].side}
    assert entries_of(machine) == kept
    anew = [
        i for i in before if i not in kept
    ]  # the filled cell's, and those that waited while they would have turned it
    assert all(machine.slots[i].suspended for i in anew), "they wait for capital"


def test_a_grid_halved_by_the_filter_whose_cell_falls_under_the_minimum_is_refused_whole():
    """Without zones the filter halves. The same cells at their full size would have been taken."""
    halved = trading_grid()
    cells = [halved.slots[i].quantity * halved.slots[i].price * 1e-4 for i in entries_of(halved)]
    assert min(cells) > 2.0
    for minimum, laid in ((min(cells) * 0.99, True), (min(cells) * 1.01, False)):
        machine = trading_grid(min_notional=minimum)
        assert bool(machine.states[0].grid.laid) is laid, minimum
        assert bool(entries_of(machine)) is laid, "no grid with holes"
        assert machine.pairs[0].range_share == (0.5 if laid else 0.0)
