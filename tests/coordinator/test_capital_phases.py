"""Phases of the capital: what is at work, what a phase asks for before the next, and what a fall leads to."""

from __future__ import annotations

import pytest

from bot.errors import Misconfigured
from bot.times import DAY
from bot.validation import validated
from coordinator.capital_phase import enter_phase, note_phase, phase_status
from coordinator.operator import CommandRejected, OperatorCommand
from coordinator.phase_gates import CapitalPhases, PhaseEvidence, due_share, missing, next_share, standing_of
from coordinator.vocabulary import Cap
from tests.coordinator.test_capital_rules import FREE, HOUR, NOW, desk_of_three, evaluated

PHASES = CapitalPhases(shares=("5 %", "25 %", "100 %"), days=14, trades=20, drawdown="10 %")
NOTHING = (0.0, 0.0, 0.0)
READY = PhaseEvidence(drift_bps=1.0, kills=100)


def entered(share):
    """A desk that has allocated everything, and entered a phase."""
    desk = desk_of_three()
    whole = evaluated(desk, NOW, FREE, NOTHING)
    enter_phase(desk.portfolio, desk.reports, share, NOW)
    return desk, whole


def seen(share=0.05, days=20, trades=30, drawdown=0.02):
    return {"share": share, "since": NOW - int(days * DAY), "trades": trades, "drawdown": drawdown}


def test_a_phase_scales_every_target_and_the_last_one_gives_all():
    desk, whole = entered(0.25)
    assert evaluated(desk, NOW + 60_000, FREE, NOTHING) == pytest.approx([0.25 * one for one in whole])
    assert desk.allocations[0].cap == Cap.PHASE
    enter_phase(desk.portfolio, desk.reports, 1.0, NOW + 60_000)
    assert evaluated(desk, NOW + 120_000, FREE, NOTHING) == pytest.approx(whole)


def test_less_capital_trims_positions_once_and_more_does_not():
    desk, _ = entered(0.25)
    evaluated(desk, NOW + 60_000, FREE, NOTHING)
    assert desk.directives["trim_id"].tolist() == [1, 1, 1]
    assert desk.directives["trim_to"] == pytest.approx(desk.directives["target"])
    evaluated(desk, NOW + 4 * HOUR, FREE, NOTHING)
    enter_phase(desk.portfolio, desk.reports, 1.0, NOW + 4 * HOUR)
    evaluated(desk, NOW + 5 * HOUR, FREE, NOTHING)
    assert desk.directives["trim_id"].tolist() == [1, 1, 1]


def test_a_bot_that_begins_in_its_first_phase_trims_nothing():
    desk = desk_of_three()
    enter_phase(desk.portfolio, desk.reports, 0.05, NOW)
    evaluated(desk, NOW, FREE, NOTHING)
    assert desk.directives["trim_id"].tolist() == [0, 0, 0]


def test_trades_and_the_fall_are_those_of_the_phase():
    desk, _ = entered(0.25)
    desk.reports[0].trades = 7
    enter_phase(desk.portfolio, desk.reports, 0.25, NOW)
    desk.reports[1].trades = 3
    for equity in (10_000.0, 10_200.0, 9_945.0, 10_100.0):
        desk.portfolio.risk.equity = equity
        note_phase(desk.portfolio)
    found = phase_status(desk.portfolio, desk.reports)
    assert found["trades"] == 3
    assert found["drawdown"] == pytest.approx((10_200.0 - 9_945.0) / (0.25 * 10_200.0))


def test_without_phases_nothing_is_noted():
    desk = desk_of_three()
    note_phase(desk.portfolio)
    assert phase_status(desk.portfolio, desk.reports) is None
    assert standing_of(PHASES, {"capital_phase": None, "at": None}, READY) is None


@pytest.mark.parametrize(
    ("changes", "evidence", "what"),
    [
        ({"days": 13.5}, READY, "13.5 of 14 days"),
        ({"trades": 19}, READY, "19 of 20 closed trades"),
        ({"drawdown": 0.11}, READY, "it was 11.0%"),
        ({}, PhaseEvidence(None, 100), "`traderagent drift` has measured none"),
        ({}, PhaseEvidence(12.0, 100), "a drift of at most 10 bps, it was 12.0"),
        ({}, PhaseEvidence(1.0, 0), "`traderagent chaos` of this strategy with 100 kills"),
        ({}, PhaseEvidence(1.0, 50), "the longest had 50"),
    ],
)
def test_each_demand_is_named_when_it_alone_is_not_met(changes, evidence, what):
    (sentence,) = missing(PHASES, seen(**changes), evidence, NOW)
    assert what in sentence
    assert missing(PHASES, seen(), READY, NOW) == []


def standing(evidence=READY, **changes):
    from bot.candles import iso

    return standing_of(PHASES, {"capital_phase": seen(**changes), "at": iso(NOW)}, evidence)


def said(kind, **more):
    return OperatorCommand.parse(kind, **more)


def test_the_operator_goes_on_when_nothing_is_missing_or_by_force():
    assert next_share(PHASES, standing(), said("phase-up")) == 0.25
    assert next_share(PHASES, standing(share=0.25), said("phase-up")) == 1.0
    with pytest.raises(CommandRejected, match=r"the phase of 25% asks for 3 of 20 closed trades; wait, or say --force"):
        next_share(PHASES, standing(trades=3), said("phase-up"))
    assert next_share(PHASES, standing(trades=3), said("phase-up", force=True)) == 0.25
    with pytest.raises(CommandRejected, match="at work already"):
        next_share(PHASES, standing(share=1.0), said("phase-up"))


def test_down_goes_to_the_phase_before_and_from_the_first_begins_it_anew():
    assert next_share(PHASES, standing(share=1.0), said("phase-down")) == 0.25
    assert next_share(PHASES, standing(), said("phase-down")) == 0.05


def test_too_deep_a_fall_calls_for_the_phase_before_and_other_shares_for_theirs():
    assert due_share(PHASES, seen(share=0.25, drawdown=0.11)) == 0.05
    assert due_share(PHASES, seen(share=0.05, drawdown=0.5)) == 0.0, "there is none before the first"
    assert due_share(PHASES, seen(share=0.25)) == 0.0
    assert due_share(PHASES, seen(share=0.4)) == 0.25, "the config has other shares now"
    assert standing(share=0.4)["number"] == 2


@pytest.mark.parametrize("shares", [["25 %", "5 %", "100 %"], ["0 %", "100 %"], ["5 %", "50 %"], ["5 %", "5 %", "1"]])
def test_shares_that_do_not_rise_to_all_are_refused(shares):
    with pytest.raises(Misconfigured, match="let them rise from above 0 % to 100 %"):
        validated(CapitalPhases, {"shares": shares}, "bot.capital_phases")
