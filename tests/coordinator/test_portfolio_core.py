"""The portfolio's core without any I/O: when it evaluates, what it stores first, and whom it tells."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.events import Alarm
from bot.ports import Account, Transfer
from bot.record import new_records
from bot.times import DAY
from coordinator.instructions import Load, Loaded, Save
from coordinator.machine import PortfolioMachine
from coordinator.messages import AccountSnapshot, Directive, HeldOffReport, LoopRenewed, PairReport, Recover
from coordinator.portfolio_core import REMEDIES, PortfolioCore
from coordinator.vocabulary import REPORT, HeldOff
from tests.conftest import MINUTE, START, classic
from tests.coordinator.world import driven

PAIRS = ["BTCUSDT", "ETHUSDT"]


class Portfolio:
    """A core, and what it asked for and told, in order."""

    def __init__(self, saved=None):
        self.happened, self.alarms, self.marked, self.number, self.saved = [], [], [], 0, saved
        machine = PortfolioMachine(classic(), PAIRS, 10_000.0)
        self.core = PortfolioCore(
            machine, PAIRS, lambda pair, what: self.happened.append((pair, type(what))), self._announced
        )
        self.run(self.core.start(START))

    def _announced(self, event):
        if isinstance(event, Alarm):
            self.alarms.append((event.pair, event.id, event.severity, event.over))
        else:
            self.marked.append(event)

    def run(self, steps):
        driven(steps, self._answer)

    def _answer(self, instruction):
        self.happened.append(type(instruction))
        if isinstance(instruction, Load):
            return None if self.saved is None else Loaded(self.saved, {}, [])
        return True

    def hear(self, message):
        self.happened.clear()
        self.run(self.core.handle(message))
        return self.happened

    def report(self, pair, minutes, position=0, **fields):
        record = new_records(REPORT, 1)[0]
        record.alive, record.position = True, position
        for name, value in fields.items():
            record[name] = value
        self.number += 1
        return self.hear(PairReport(pair, self.number, START + minutes * MINUTE, record))


@pytest.fixture
def portfolio():
    return Portfolio()


def test_it_begins_by_asking_for_what_was_stored_and_stores_the_first_state(portfolio):
    assert portfolio.happened == [Load, Save]


def test_a_close_is_judged_once_every_pair_has_reported_it_and_stored_before_anybody_is_told(portfolio):
    assert portfolio.report("BTCUSDT", 1) == []
    happened = portfolio.report("ETHUSDT", 1)
    assert happened[0] is Save
    assert ("BTCUSDT", Directive) in happened
    assert ("ETHUSDT", Directive) in happened


def test_a_pair_that_stays_silent_is_waited_for_until_the_next_close(portfolio):
    portfolio.report("BTCUSDT", 1)
    assert Save in portfolio.report("BTCUSDT", 2)


def test_an_old_report_changes_nothing(portfolio):
    portfolio.report("BTCUSDT", 1)
    portfolio.number = 0
    assert portfolio.report("BTCUSDT", 2) == []
    assert portfolio.core.at == START + MINUTE


def test_a_pair_that_is_held_off_is_told_of_once(portfolio):
    off = HeldOffReport("BTCUSDT", HeldOff.POSITION, "look")
    assert Save in portfolio.hear(off)
    assert portfolio.hear(off) == []
    assert Save in portfolio.hear(HeldOffReport("BTCUSDT", HeldOff.POSITION, "over", over=True))
    assert portfolio.alarms == [("BTCUSDT", "position", "critical", False), ("BTCUSDT", "position", "warning", True)]


def test_a_pair_whose_position_is_another_at_the_venue_is_sent_to_look(portfolio):
    portfolio.report("BTCUSDT", 1, position=3)
    assert portfolio.hear(AccountSnapshot(Account(10_000.0, {}))) == [("BTCUSDT", Recover)]
    assert portfolio.hear(AccountSnapshot(Account(10_000.0, {"BTCUSDT": 3}))) == []


def test_money_that_nobody_earned_is_believed_when_it_is_seen_twice(portfolio):
    more = AccountSnapshot(Account(10_100.0, {}))
    portfolio.hear(more)
    assert portfolio.core.machine.portfolio_state.portfolio.deposits == 10_000.0
    portfolio.hear(more)
    assert portfolio.core.machine.portfolio_state.portfolio.deposits == 10_100.0
    assert portfolio.alarms == [("", "unexplained_money", "warning", False)]


def test_fills_that_were_booked_in_another_order_than_the_venues_are_no_money_from_nowhere(portfolio):
    """Bought at 100 and at 110, one sold at 120: 15 earned and 105 left, or 20 and 110 where it was sold in between."""
    portfolio.report("BTCUSDT", 1, position=10, settled=20.0, cost=110.0)
    venue = Account(10_015.0, {"BTCUSDT": 10}, {"BTCUSDT": 105.0})
    for _ in range(3):
        portfolio.hear(AccountSnapshot(venue))
    assert portfolio.alarms == []
    for _ in range(2):
        portfolio.hear(AccountSnapshot(replace(venue, wallet=10_016.0)))
    assert portfolio.alarms == [("", "unexplained_money", "warning", False)]
    assert portfolio.core.machine.portfolio_state.portfolio.deposits == pytest.approx(10_001.0)


def test_every_evaluation_marks_the_equity(portfolio):
    for pair in PAIRS:
        portfolio.report(pair, 1)
    (marked,) = portfolio.marked
    assert (marked.at, marked.equity, marked.exposure, marked.modes) == (START + MINUTE, 10_000.0, 0.0, [])


def test_a_person_can_do_something_about_every_reason_to_hold_off():
    assert set(REMEDIES) == set(HeldOff)


def test_what_a_new_loop_would_say_again_does_not_outlive_the_old_one(portfolio):
    for reason in (HeldOff.SILENCE, HeldOff.PERMISSION, HeldOff.EXITS):
        portfolio.hear(HeldOffReport("BTCUSDT", reason, "look"))
    route = portfolio.core.machine.portfolio_state.routes[0]
    portfolio.hear(LoopRenewed("BTCUSDT"))
    assert int(route.held_off) == HeldOff.EXITS
    portfolio.hear(HeldOffReport("BTCUSDT", HeldOff.SILENCE, "look"))
    again = Portfolio(portfolio.core.machine.saved())
    assert int(again.core.machine.portfolio_state.routes[0].held_off) == HeldOff.EXITS


def test_the_look_for_transfers_reaches_back_a_day_however_long_ago_the_last_was(portfolio):
    portfolio.report("BTCUSDT", 0)
    portfolio.report("ETHUSDT", 30 * 24 * 60)
    known = portfolio.core.machine.portfolio_state.portfolio
    portfolio.hear(AccountSnapshot(Account(10_000.0, {}), None))
    assert int(known.transfers_at) == START, "it could not look"
    portfolio.hear(AccountSnapshot(Account(10_000.0, {}), ()))
    assert int(known.transfers_at) == portfolio.core.now - DAY
    late = Transfer("t1", START + 30 * DAY, 500.0)
    portfolio.hear(AccountSnapshot(Account(10_500.0, {}), (late,)))
    portfolio.hear(AccountSnapshot(Account(10_500.0, {}), (late,)))
    assert float(known.deposits) == 10_500.0
