"""A transition that nothing forces waits while closing would cost more than the position risks by staying."""

from __future__ import annotations

import pytest

from bot.order import WHOLE_POSITION, OrderKind, Signal, set_order
from bot.record import new_records
from coordinator.machine import PairMachine
from coordinator.phase import Phase
from coordinator.vocabulary import DIRECTIVE
from strategies.trend import STOP
from tests.conftest import START, Family, classic, instrument

PRICE = 500_000  # ticks


def holding(stop, **auto):
    """A pair that runs the trend follower with a long position and its stop so many ticks under the price."""
    machine = PairMachine(classic(auto={"warmup_bars": 60, **auto}), instrument(), 1.0, 60_000)
    pair, state = machine.pairs[0], machine.states[0]
    pair.time, pair.price = START, PRICE * 0.1
    for _ in range(2):  # the first begins the pair's life
        machine.take_directive(directive(Family.TREND))
    assert state.phase == Phase.RUNNING
    pair.ledger.position, pair.ledger.cost = 10, 10 * 0.001 * pair.price
    state.features.atr.value = 500.0
    own = state.trend
    own.in_trade, own.direction, own.stop, own.target = True, 1, PRICE - stop, PRICE + 10_000
    set_order(machine.slots, STOP, -1, OrderKind.STOP, PRICE - stop, 10, Signal.EXIT_SL, WHOLE_POSITION)
    machine.take_decisions()
    return machine


def directive(family, **values):
    given = new_records(DIRECTIVE, 1)
    given[0].family, given[0].target, given[0].multiplier, given[0].exposure_limit = family, 1000.0, 1.0, 1e9
    for name, value in values.items():
        given[0][name] = value
    return given


# Closing costs a taker fee of 0.055 % and slippage of 0.01 %: 325 ticks of 500,000.
@pytest.mark.parametrize(("stop", "waits"), [(324, True), (326, False)])
def test_it_waits_while_its_stop_is_nearer_than_what_closing_costs(stop, waits):
    machine = holding(stop)
    machine.take_directive(directive(Family.GRID))
    state = machine.states[0]
    assert (state.phase, state.stays) == ((Phase.RUNNING, True) if waits else (Phase.DRAINING, False))
    told = [one.fields for one in machine.take_decisions() if one.kind == "costs"]
    assert len(told) == int(waits)
    if waits:
        assert (told[0]["rule"], told[0]["count"], told[0]["strategy"]) == ("transition", 1, "trend")
        assert told[0]["distance"] == pytest.approx(stop / PRICE)
        assert told[0]["least"] == pytest.approx(0.00065)


def test_while_it_waits_nothing_may_be_opened_and_it_is_counted_once():
    machine = holding(324)
    for _ in range(3):
        machine.take_directive(directive(Family.GRID))
    assert machine.pairs[0].costs.refused == 1
    assert not machine.pairs[0].may_enter
    machine.take_directive(directive(Family.TREND))
    assert not machine.states[0].stays


@pytest.mark.parametrize(("forced", "auto"), [(True, {}), (False, {"transition_costs": 0.0})])
def test_a_regime_that_forbids_the_strategy_and_a_rule_that_is_off_let_it_begin_at_once(forced, auto):
    machine = holding(10, **auto)
    machine.take_directive(directive(Family.GRID, forced=forced))
    assert machine.states[0].phase == Phase.DRAINING


def test_it_begins_once_staying_risks_more():
    machine = holding(324)
    machine.take_directive(directive(Family.GRID))
    machine.pairs[0].price *= 1.01
    machine.take_directive(directive(Family.GRID))
    assert machine.states[0].phase == Phase.DRAINING


def test_a_restart_knows_that_it_waits():
    machine = holding(324)
    machine.take_directive(directive(Family.GRID))
    again = PairMachine(machine.algorithm, machine.instrument, 1.0, 60_000)
    again.restore(machine.saved())
    assert again.states[0].stays
    assert again.pairs[0].costs.refused == again.states[0].costs_recorded == 1
