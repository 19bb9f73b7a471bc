"""Rules of bound capital, by name: too much reserved, targets that overcommit, a cell that gets too small."""

from __future__ import annotations

import pytest

from bot.order import SLOT, OrderKind, Side, Signal, set_order
from bot.record import new_records
from bot.strategy import PAIR, Event
from bot.times import DAY
from coordinator.config import load_config
from coordinator.gate import cancel_farthest, pass_entries, position_notional, position_reserve
from coordinator.machine import new_portfolio_state
from coordinator.portfolio import begin, limit, step, value_account
from coordinator.regime import Regime
from coordinator.risk import drawdown_factor
from coordinator.vocabulary import Cap, HaltAnswer
from tests.conftest import Family, classic, instrument
from tests.coordinator.test_pair_machine import entries_of, trading_grid

HOUR = 3_600_000
NOW = 1_704_067_200_000
NAMES = ["A", "B", "C"]
PARAMS = classic(
    auto={"router": "grid"},
    allocation={"weights": {"A": 3.0, "B": 2.0, "C": 1.0}, "pair_cap": 1.0, "strategy_cap": 1.0},
).record(NAMES)
PLENTY = 1e9


def desk_of_three():
    """Three pairs that run grids; C is the least important."""
    portfolio_state = new_portfolio_state(3)
    begin(PARAMS, portfolio_state, 10_000.0)
    for i in range(3):
        report = portfolio_state.reports[i]
        report.alive, report.family, report.adx, report.regime_end = True, Family.GRID, 10.0, NOW + 100 * HOUR
        portfolio_state.regimes[i].confirmed, portfolio_state.routes[i].family = Regime.TIGHT_RANGE, Family.GRID
    return portfolio_state


def evaluated(portfolio_state, now, reserved, entries):
    """Let the portfolio value what the pairs have reserved (quote currency), and decide."""
    for report, whole, open_orders in zip(portfolio_state.reports, reserved, entries, strict=True):
        report.reserved, report.entries_reserved = whole, open_orders
    if value_account(PARAMS, portfolio_state.portfolio, 10_000.0, 0.0, float(sum(reserved)), False, now):
        step(PARAMS, portfolio_state, now)
    return [float(one.target) for one in portfolio_state.directives]


FREE, BOUND = (3000.0, 2000.0, 1000.0), (4200.0, 3000.0, 2000.0)
ENTRIES = (500.0, 500.0, 700.0)


def test_reserved_above_ninety_per_cent_cancels_from_the_least_important_pair_and_shrinks_its_target():
    portfolio_state = desk_of_three()
    whole = evaluated(portfolio_state, NOW, FREE, ENTRIES)
    assert whole[0] > whole[1] > whole[2] > 0.0
    assert evaluated(portfolio_state, NOW + 60_000, BOUND, ENTRIES) == whole, "targets change at a rebalance alone"
    assert portfolio_state.directives["withdraw_id"].tolist() == [0, 0, 1]
    assert portfolio_state.directives[2].withdraw == pytest.approx(sum(BOUND) - 9000.0)
    shrunk = evaluated(portfolio_state, NOW + 4 * HOUR, BOUND, ENTRIES)
    assert shrunk == pytest.approx([whole[0], whole[1], 0.75 * whole[2]])
    assert portfolio_state.allocations[2].cap == Cap.OVERCOMMITTED
    assert evaluated(portfolio_state, NOW + 8 * HOUR, BOUND, ENTRIES)[2] == pytest.approx(0.75**2 * whole[2])
    evaluated(portfolio_state, NOW + 8 * HOUR + 60_000, FREE, ENTRIES)
    assert evaluated(portfolio_state, NOW + 12 * HOUR, FREE, ENTRIES) == pytest.approx(whole)


def test_at_ninety_per_cent_nothing_is_cancelled():
    portfolio_state = desk_of_three()
    evaluated(portfolio_state, NOW, (4000.0, 3000.0, 2000.0), ENTRIES)
    assert portfolio_state.directives["withdraw_id"].tolist() == [0, 0, 0]
    assert not portfolio_state.portfolio.overcommitted


def laddered(*prices):
    """Entries at these prices, 1 lot each, then a counter far away and the stop; none of it has been let through."""
    pair = new_records(PAIR, 1)[0]
    pair["instrument"] = instrument("1", "1").record(1.0)
    pair.price = 100.0
    slots = new_records(SLOT, len(prices) + 2)
    for index, price in enumerate(prices):
        set_order(slots, index, Side.BUY, OrderKind.LIMIT, price, 1, Signal.ENTRY, index)
    set_order(slots, len(prices), Side.SELL, OrderKind.LIMIT, 300, 1, Signal.GRID_COUNTER, 0).reduce_only = True
    set_order(slots, len(prices) + 1, Side.SELL, OrderKind.STOP, 10, 1, Signal.EXIT_SL, -1)
    return pair, slots


@pytest.mark.parametrize(("wanted", "left"), [(1.0, [98, 96, 99]), (90.0, [98, 96, 99]), (91.0, [98, 99]), (1e6, [])])
def test_the_farthest_entries_are_cancelled_first_and_no_exit(wanted, left):
    pair, slots = laddered(98, 90, 96, 99)
    cancel_farthest(pair, slots, wanted)
    assert [int(one.price) for one in slots[:4] if one.active] == left
    assert slots["active"][4:].all()


def test_a_target_that_overcommits_stops_new_entries_and_cancels_nothing():
    pair, slots = laddered(99, 98, 97)
    pass_entries(pair, slots, True, PLENTY, PLENTY, False)
    set_order(slots, 3, Side.BUY, OrderKind.LIMIT, 96, 1, Signal.ENTRY, 3)
    pass_entries(pair, slots, True, 100.0, PLENTY, False)
    assert slots["active"].tolist() == [True, True, True, False, True]
    assert slots["generation"].tolist()[:3] == [1, 1, 1]
    assert slots[3].suspended
    pass_entries(pair, slots, True, PLENTY, PLENTY, False)
    assert slots["active"].all()


# A trim: what the venue would not take is left, and what would stay and be too small leaves with it


def trimmed(least, keep):
    """Lots held, and lots that leave, when a position is to keep this share of its reserve.

    `least` is the least order that the venue takes, as a share of the position.
    """
    machine = trading_grid()
    index = min(entries_of(machine))
    machine.run(index, machine.slots[index].quantity.copy())
    pair, position = machine.pairs[0], int(machine.pairs[0].ledger.position)
    pair.instrument.min_notional = least * position_notional(pair)
    machine.given.trim_id += 1
    machine.given.trim_to = keep * position_reserve(pair)
    machine.events[0].kind = int(Event.DIRECTIVE)
    machine.run()
    leaves = machine.slots[-1]
    return abs(position), int(leaves.quantity) if leaves.active and leaves.kind == OrderKind.MARKET else 0


@pytest.mark.parametrize(
    ("least", "keep", "share"),
    [(0.01, 0.4, 0.6), (0.05, 0.99, 0.0), (0.05, 0.97, 0.0), (0.5, 0.4, 1.0), (2.0, 0.0, 1.0), (2.0, 0.5, 0.0)],
)
def test_a_trim_takes_what_the_venue_takes_and_never_a_whole_position_for_a_little_too_much(least, keep, share):
    held, leaves = trimmed(least, keep)
    assert leaves == pytest.approx(share * held, abs=1.0)


# Groups that are configured, and the pairs beside them


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({"A": "x", "B": "x"}, [0, 0, 1]),
        ({"B": "x", "C": "x"}, [1, 0, 0]),
        ({"A": "x", "C": "y"}, [0, 2, 1]),
        ({"C": "x"}, [1, 2, 0]),
    ],
)
def test_a_pair_without_a_configured_group_is_in_none_of_them(groups, expected):
    portfolio_state = new_portfolio_state(3)
    begin(classic(risk={"groups": groups}).record(NAMES), portfolio_state, 10_000.0)
    assert portfolio_state.groups.tolist() == expected


def test_a_groups_limit_counts_a_member_that_only_leaves():
    """Its target is nought already, but what it holds is in the group."""
    params = classic(risk={"groups": {"A": "x", "B": "x"}, "group_exposure": 0.4, "exposure": 10.0}).record(NAMES)
    portfolio_state = new_portfolio_state(3)
    begin(params, portfolio_state, 10_000.0)
    portfolio_state.portfolio.risk.equity = 10_000.0
    portfolio_state.allocations["target"] = [1000.0, 0.0, 1000.0]
    portfolio_state.reports["exposure"] = [0.0, 3000.0, 0.0]
    limit(params, portfolio_state)
    pool = 10_000.0 * (1.0 - params.reserve)
    assert portfolio_state.directives[0].exposure_limit == pytest.approx(0.4 * pool - 3000.0)
    assert portfolio_state.directives[1].exposure_limit == 3000.0, "it opens nothing more"
    assert portfolio_state.directives[2].exposure_limit > 10_000.0, "it is in no group"


# DRAWDOWN: targets hold the cut, shares of a strategy alone do not


@pytest.mark.parametrize(("strategy", "multiplier"), [("auto", 1.0), ("grid", 0.5)])
def test_in_drawdown_sizes_are_cut_once_whether_by_the_target_or_by_the_multiplier(strategy, multiplier):
    config = load_config({"strategy": strategy, "pairs": ["AUSDT", "BUSDT"], "risk": {"halt_drawdown": 0.9}})
    params = config.algorithm.record(list(config.pairs))
    portfolio_state = new_portfolio_state(2)
    begin(params, portfolio_state, 10_000.0)
    portfolio_state.reports["alive"] = True
    value_account(params, portfolio_state.portfolio, 10_000.0, 0.0, 0.0, False, NOW)
    step(params, portfolio_state, NOW)
    fallen = 10_000.0 * (1.0 - params.drawdown_enter - 0.5 * params.drawdown_span)
    value_account(params, portfolio_state.portfolio, fallen, 0.0, 0.0, False, NOW + DAY)
    step(params, portfolio_state, NOW + DAY)
    assert drawdown_factor(params, portfolio_state.portfolio.risk) == pytest.approx(0.5)
    assert portfolio_state.directives["multiplier"] == pytest.approx(multiplier)


# What the operator closes is closed, also what fills late


def halted_grid(answer):
    """A halted grid, and the entries that rested."""
    machine = trading_grid()
    resting = sorted(entries_of(machine))
    lots = {index: machine.slots[index].quantity.copy() for index in resting}
    machine.given.halted, machine.given.answer = True, answer
    machine.events[0].kind = int(Event.DIRECTIVE)
    machine.run()
    return machine, resting, lots


def leaving(machine):
    leaves = machine.slots[-1]
    return int(leaves.quantity) if leaves.active and leaves.kind == OrderKind.MARKET else 0


@pytest.mark.parametrize("index", [0, -1])
def test_close_all_closes_what_an_entry_fills_after_it(index):
    machine, resting, lots = halted_grid(HaltAnswer.CLOSE_ALL)
    assert machine.pairs[0].ledger.position == 0
    machine.slots[resting[index]].quantity = lots[resting[index]]
    machine.run(resting[index], lots[resting[index]])
    held = abs(int(machine.pairs[0].ledger.position))
    assert held > 0
    assert leaving(machine) == held


def test_a_pair_that_is_closed_while_everything_is_halted_leaves_at_once():
    machine = trading_grid()
    index = min(entries_of(machine))
    machine.run(index, machine.slots[index].quantity.copy())
    held = abs(int(machine.pairs[0].ledger.position))
    machine.given.halted, machine.given.answer = True, HaltAnswer.HOLD
    machine.events[0].kind = int(Event.DIRECTIVE)
    machine.run()
    assert (held > 0, leaving(machine)) == (True, 0)
    machine.given.trim_id += 1
    machine.given.trim_to = 0.0
    machine.events[0].kind = int(Event.DIRECTIVE)
    machine.run()
    assert leaving(machine) == held
