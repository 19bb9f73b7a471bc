"""Every row of the algorithm's tables: regimes, families, routing, allocation, risk modes. Named after the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import Misconfigured
from bot.record import new_record, new_records
from bot.trade import TRADE
from coordinator.allocation import ALLOCATION, allocate, by_money, keep_mark, measured, performance, regime_confidence
from coordinator.config import load_config
from coordinator.correlation import HISTORY, correlation, group, history_push, stress
from coordinator.outcomes import OUTCOMES, RECENT, book_outcome, sum_outcomes
from coordinator.phase import NEXT, NOWHERE, TABLE, Phase, Trigger
from coordinator.regime import REGIME, Regime, RegimeKind, classify, confirm, family_by_adx
from coordinator.risk import (
    RISK,
    answer,
    day_loss,
    deposited,
    drawdown_factor,
    exposure_cap,
    mark,
    modes,
    note_high,
    note_stress,
    resume,
    size_multiplier,
)
from coordinator.router import ROUTE, called_for, forbids, reroute
from coordinator.vocabulary import NO_STRATEGY, REPORT, Cap, HaltAnswer, Variant
from tests.conftest import Family, classic

PARAMS = classic().record(["A"])
HOUR, DAY = 3_600_000, 86_400_000


def params(**changes):
    sections = {}
    for key, value in changes.items():
        section, _, name = key.partition("__")
        sections.setdefault(section, {})[name] = value
    return classic(**sections).record([f"P{index}" for index in range(8)])


# Regimes: section 3


@pytest.mark.parametrize(
    ("confirmed", "row"),
    [
        (RegimeKind.NONE, ["RANGE", "TRANSITION", "TRANSITION", "TRANSITION", "TREND"]),
        (RegimeKind.TRANSITION, ["RANGE", "TRANSITION", "TRANSITION", "TRANSITION", "TREND"]),
        (RegimeKind.RANGE, ["RANGE", "RANGE", "TRANSITION", "TRANSITION", "TREND"]),
        (RegimeKind.TREND, ["RANGE", "TRANSITION", "TRANSITION", "TREND", "TREND"]),
    ],
)
def test_family_by_adx_row(confirmed, row):
    columns = [(0.0, 17.99), (18.0, 22.0), (22.01, 24.99), (25.0, 32.0), (32.01, 90.0)]
    for (low, high), family in zip(columns, row, strict=True):
        for adx in (low, (low + high) / 2, high):
            assert family_by_adx(PARAMS, int(confirmed), adx) == RegimeKind[family]


REGIME_ROWS = [
    ("TIGHT_RANGE", 10.0, 0.5, 101.0, Family.GRID, Variant.ARITHMETIC, {Family.TREND}),
    ("WIDE_RANGE", 10.0, 1.5, 101.0, Family.GRID, Variant.GEOMETRIC, set()),
    ("QUIET_TRANSITION", 23.0, 1.5, 101.0, Family.GRID, Variant.CAUTIOUS, set()),
    ("VOLATILE_TRANSITION", 23.0, 2.5, 101.0, Family.DCA, Variant.CAUTIOUS, {Family.GRID}),
    ("BULL_TREND", 40.0, 1.0, 101.0, Family.TREND, Variant.LONG, {Family.GRID, Family.DCA}),
    ("BEAR_TREND", 40.0, 1.0, 99.0, Family.DCA, Variant.ACCUMULATE, {Family.GRID}),
]


@pytest.mark.parametrize(("name", "adx", "atr_pct", "fast", "family", "variant", "never"), REGIME_ROWS)
def test_regime_row(name, adx, atr_pct, fast, family, variant, never):
    regime = Regime[name]
    assert classify(PARAMS, int(Regime.UNKNOWN), adx, atr_pct, fast, 100.0) == regime
    assert called_for(PARAMS, int(regime)) == (family, variant)
    assert {one for one in Family if forbids(PARAMS, int(regime), int(one), False)} == never


def test_volatile_transition_forbids_no_grid_that_the_filter_enhances():
    assert not forbids(PARAMS, int(Regime.VOLATILE_TRANSITION), int(Family.GRID), True)


@pytest.mark.parametrize(
    ("bear", "family", "variant"),
    [
        ("dca", Family.DCA, Variant.ACCUMULATE),
        ("trend_short", Family.TREND, Variant.SHORT),
        ("cash", NO_STRATEGY, Variant.CONFIGURED),
    ],
)
def test_bear_trend_by_bear_strategy(bear, family, variant):
    assert called_for(params(auto__bear_strategy=bear), int(Regime.BEAR_TREND)) == (family, variant)


@pytest.mark.parametrize(
    ("confirmed", "adx", "atr_pct", "expected"),
    [
        ("TIGHT_RANGE", 10.0, 1.09, "TIGHT_RANGE"),
        ("TIGHT_RANGE", 10.0, 1.11, "WIDE_RANGE"),
        ("WIDE_RANGE", 10.0, 0.91, "WIDE_RANGE"),
        ("WIDE_RANGE", 10.0, 0.89, "TIGHT_RANGE"),
        ("QUIET_TRANSITION", 23.0, 2.19, "QUIET_TRANSITION"),
        ("QUIET_TRANSITION", 23.0, 2.21, "VOLATILE_TRANSITION"),
        ("VOLATILE_TRANSITION", 23.0, 1.81, "VOLATILE_TRANSITION"),
        ("VOLATILE_TRANSITION", 23.0, 1.79, "QUIET_TRANSITION"),
    ],
)
def test_atr_limits_have_a_band(confirmed, adx, atr_pct, expected):
    assert classify(PARAMS, int(Regime[confirmed]), adx, atr_pct, 101.0, 100.0) == Regime[expected]


def test_the_direction_of_a_trend_turns_only_beyond_its_band():
    assert classify(PARAMS, int(Regime.BULL_TREND), 40.0, 1.0, 99.95, 100.0) == Regime.BULL_TREND
    assert classify(PARAMS, int(Regime.BULL_TREND), 40.0, 1.0, 99.89, 100.0) == Regime.BEAR_TREND
    assert classify(PARAMS, int(Regime.BEAR_TREND), 40.0, 1.0, 100.05, 100.0) == Regime.BEAR_TREND


def confirmations(*candidates, confirmed=Regime.TIGHT_RANGE):
    regime = new_record(REGIME)
    regime.confirmed = int(confirmed)
    return [bool(confirm(PARAMS, regime, int(Regime[name]), 5)) for name in candidates], regime


def test_three_closed_bars_in_a_row_confirm():
    assert confirmations("WIDE_RANGE", "WIDE_RANGE", "WIDE_RANGE")[0] == [False, False, True]


def test_a_bar_of_the_confirmed_regime_clears_the_counter():
    steps = confirmations("WIDE_RANGE", "WIDE_RANGE", "TIGHT_RANGE", "WIDE_RANGE", "WIDE_RANGE", "WIDE_RANGE")[0]
    assert steps == [False] * 5 + [True]


def test_another_candidate_starts_again_at_one():
    steps, regime = confirmations("WIDE_RANGE", "WIDE_RANGE", "BULL_TREND", "BULL_TREND")
    assert steps == [False] * 4
    assert regime.count == 2


def test_cold_start_takes_the_first_classification_at_once():
    assert confirmations("BULL_TREND", confirmed=Regime.UNKNOWN)[0] == [True]


def routed(family, confirmed, candidate=None, count=0, switched_hours_ago=100.0, **changes):
    route, regime = new_record(ROUTE), new_record(REGIME)
    route.family, route.switched_at = int(family), int(1e12 - switched_hours_ago * HOUR)
    regime.confirmed, regime.candidate, regime.count = int(confirmed), int(candidate or confirmed), count
    switched = reroute(params(**changes), route, regime, False, int(1e12))
    return switched, route


def test_after_a_switch_the_next_waits():
    """F-37: counted from the time of the switch."""
    assert not routed(Family.TREND, Regime.WIDE_RANGE, switched_hours_ago=3.9)[0]
    assert routed(Family.TREND, Regime.WIDE_RANGE, switched_hours_ago=4.0)[0]


def test_a_regime_that_forbids_what_runs_does_not_wait():
    assert routed(Family.TREND, Regime.TIGHT_RANGE, switched_hours_ago=0.5)[0]


def test_a_candidate_that_forbids_what_runs_blocks_at_once_but_does_not_switch():
    switched, route = routed(Family.GRID, Regime.TIGHT_RANGE, Regime.BULL_TREND, 1)
    assert not switched
    assert route.blocked
    assert route.family == Family.GRID


def test_same_strategy_other_variant_is_no_switch():
    switched, route = routed(Family.GRID, Regime.QUIET_TRANSITION)
    assert not switched
    assert route.variant == Variant.CAUTIOUS


def test_unknown_is_never_routed():
    """F-35: an unknown regime opens nothing."""
    assert not routed(NO_STRATEGY, Regime.UNKNOWN)[0]


def test_a_pinned_router_never_leaves_its_strategy():
    switched, route = routed(NO_STRATEGY, Regime.BULL_TREND, auto__router="dca")
    assert switched
    assert (route.family, route.variant) == (Family.DCA, Variant.CONFIGURED)


def test_cautious_variants():
    grids, deals, trends = ([one for one, _ in variants] for variants in classic().variants())
    assert (grids[Variant.CAUTIOUS].levels, grids[Variant.CAUTIOUS].range_factor) == (10, pytest.approx(2.1))
    assert deals[Variant.CAUTIOUS].max_safety_orders == deals[Variant.ACCUMULATE].max_safety_orders == 3
    assert trends[Variant.LONG].direction == "long"
    assert PARAMS.sizes[Family.DCA, Variant.CAUTIOUS] == PARAMS.sizes[Family.DCA, Variant.ACCUMULATE] == 0.5


# Phases: section 7


@pytest.mark.parametrize("phase", list(Phase))
def test_no_phase_is_without_a_way_out(phase):
    reached, frontier = {phase}, [phase]
    while frontier:
        here = frontier.pop()
        for trigger in Trigger:
            following = NEXT.get((here, trigger))
            if following is not None and following not in reached:
                reached.add(following)
                frontier.append(following)
    assert Phase.RUNNING in reached
    assert Phase.HALTED in reached


def test_the_table_holds_exactly_what_is_legal():
    for phase in Phase:
        for trigger in Trigger:
            assert TABLE[phase, trigger] == NEXT.get((phase, trigger), NOWHERE)


# Capital: section 8


@pytest.mark.parametrize(
    ("adx", "expected"), [(41, 1.0), (40, 0.8), (31, 0.8), (30, 0.5), (21, 0.5), (20, 0.7), (5, 0.7)]
)
def test_regime_confidence(adx, expected):
    assert regime_confidence(float(adx)) == expected


@pytest.mark.parametrize(
    ("trades", "gains", "losses", "expected"),
    [
        (9, 0, 9, 0.8),
        (10, 151, 100, 1.2),
        (10, 150, 100, 1.0),
        (10, 100, 100, 0.6),
        (10, 71, 100, 0.6),
        (10, 70, 100, 0.0),
    ],
)
def test_performance_by_profit_factor(trades, gains, losses, expected):
    assert measured(PARAMS, trades, 0, float(gains), float(losses)) == expected


@pytest.mark.parametrize(("wins", "expected"), [(61, 1.2), (60, 1.0), (41, 1.0), (40, 0.6), (26, 0.6), (25, 0.0)])
def test_performance_by_win_rate(wins, expected):
    assert measured(params(allocation__performance_measure="win_rate"), 100, wins, 0.0, 0.0) == expected


def test_a_pair_at_zero_comes_back_on_probation():
    allocation, report = new_record(ALLOCATION), new_record(REPORT)
    report.trades, report.losses = 20, 5.0
    classic = params(allocation__performance="classic")
    assert performance(classic, allocation, report, HOUR) == 0.0
    assert performance(classic, allocation, report, HOUR + 72 * HOUR - 1) == 0.0
    assert performance(classic, allocation, report, HOUR + 72 * HOUR) == 0.3


def judged(days, equity_of, target=1000.0, trades=20, every=4 * HOUR, **changes):
    """Performance factors of a pair whose target stays, judged every few hours; `equity_of` by day."""
    allocation, report, given_ = new_record(ALLOCATION), new_record(REPORT), params(**changes)
    allocation.target, report.trades, found = target, trades, []
    for now in range(20_000 * DAY, 20_000 * DAY + days * DAY + 1, every):
        report.equity = equity_of((now - 20_000 * DAY) / DAY)
        keep_mark(allocation, float(report.equity), now)
        allocation.performance = performance(given_, allocation, report, now)
        found.append(float(allocation.performance))
    return found


@pytest.mark.parametrize(
    ("month", "expected"),  # profit of thirty days, and what it comes to
    [(0.0, 0.8), (50.0, 1.2), (500.0, 1.2), (25.0, 1.0), (-25.0, 0.55), (-50.0, 0.3), (-900.0, 0.3)],
)
def test_performance_by_money_is_the_profit_of_the_last_days_over_the_mean_target(month, expected):
    assert judged(40, lambda day: month * day / 30.0)[-1] == pytest.approx(expected)


def test_performance_by_money_forgets_what_is_older_than_its_days():
    assert judged(60, lambda day: 200.0 * min(day, 20.0))[-1] == pytest.approx(0.8)


def test_performance_by_money_moves_by_a_fifth_a_day_at_most_and_never_to_zero():
    found = judged(9, lambda day: -300.0 * day)
    steps = np.diff(found)
    assert found[0] == 0.8
    assert min(steps) == pytest.approx(-0.2 / 6)
    assert min(found) == pytest.approx(0.3)
    assert found[6] == pytest.approx(0.6), "a day, six looks"


def test_performance_by_money_is_unproven_with_few_deals_and_marks_what_is_open():
    """Thirty small cells won and a stop lost: by trades it is the best there is, by money the worst."""
    assert judged(30, lambda day: -90.0, trades=9)[-1] == 0.8
    thirty_wins_and_a_fall = judged(30, lambda day: 0.5 * day if day < 29 else -120.0)
    assert thirty_wins_and_a_fall[-1] < 0.7
    assert measured(PARAMS, 30, 29, 14.5, 1.0) == 1.2


def test_performance_by_money_takes_the_mean_of_targets_over_time():
    allocation, report = new_record(ALLOCATION), new_record(REPORT)
    report.trades = 20
    for day, target in ((0, 3000.0), (10, 0.0), (20, 0.0)):  # 3000 for a third of the time
        keep_mark(allocation, 0.0, (20_000 + day) * DAY)
        allocation.target = target
    keep_mark(allocation, 25.0, 20_030 * DAY)
    report.equity = 25.0
    assert by_money(PARAMS, allocation, report, 20_030 * DAY) == pytest.approx(0.8 + 0.5 * 0.4)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 99), st.sampled_from([0, 0, 3, -2]), st.sampled_from([7, 7, 7, 30])), max_size=60)
)
def test_performance_sums_the_last_trades_that_are_young_enough(steps):
    """Hours pass and trades close, one a step (none at profit 0); the sums are those of a plain list each time."""
    outcomes, trade, closed, now = new_record(OUTCOMES), new_record(TRADE), [], 0
    for hours, profit, days in steps:
        now += hours * HOUR
        if profit:
            trade.side, trade.exit_value = 1, float(profit)
            book_outcome(outcomes, trade, now)
            closed.append((now, profit))
        sum_outcomes(outcomes, days * DAY, now)
        young = [earned for ts, earned in closed[-RECENT:] if now - ts <= days * DAY]
        assert outcomes.trades == len(young)
        assert outcomes.wins == sum(earned > 0 for earned in young)
        assert outcomes.gains == sum(max(earned, 0) for earned in young)
        assert outcomes.losses == sum(max(-earned, 0) for earned in young)
    run = next((index for index, (_, earned) in enumerate(reversed(closed)) if earned > 0), len(closed))
    assert outcomes.losing == run


def allotted(families, adx, pool=1000.0, **changes):
    n = len(families)
    reports, routes, allocations = new_records(REPORT, n), new_records(ROUTE, n), new_records(ALLOCATION, n)
    for i in range(n):
        reports[i].alive, reports[i].adx, reports[i].trades = True, adx[i], 20
        reports[i].gains, reports[i].losses = 9.0, 1.0
        routes[i].family = families[i]
    names = [f"P{index}" for index in range(n)]
    given = classic(allocation=changes).record(names)
    allocate(given, pool, reports, routes, allocations, DAY)
    return allocations


@settings(deadline=None)
@given(
    st.lists(st.integers(-1, 2), min_size=1, max_size=8),
    st.floats(0, 100),
    st.booleans(),
    st.floats(0.05, 1.0),
    st.floats(0.05, 1.0),
)
def test_targets_never_exceed_the_pool_nor_a_cap(families, adx, pour, pair_cap, strategy_cap):
    n = len(families)
    given_ = allotted(families, [adx] * n, fill_pool=pour, pair_cap=pair_cap, strategy_cap=strategy_cap)
    targets = given_["target"]
    assert targets.sum() <= 1000.0 * (1 + 1e-9)
    assert targets.max() <= max(pair_cap, 1 / n) * 1000.0 * (1 + 1e-9)
    for family in range(3):
        own = sum(target for target, one in zip(targets, families, strict=True) if one == family)
        assert own <= max(strategy_cap, 1 / n) * 1000.0 * (1 + 1e-9)
    assert all(target == 0.0 for target, one in zip(targets, families, strict=True) if one == NO_STRATEGY)


def test_the_binding_cap_is_recorded_and_its_rest_stays_cash():
    given_ = allotted([0, 1, 2, 0, 1, 2, 0, 1], [50.0] * 8, weights={"P0": 9.0, **{f"P{i}": 1.0 for i in range(1, 8)}})
    assert given_[0].cap == Cap.PAIR
    assert given_[0].target <= 250.0
    assert given_["target"].sum() < 1000.0


def test_fill_pool_pours_what_the_caps_took():
    weights = {"P0": 9.0, **{f"P{i}": 1.0 for i in range(1, 8)}}
    families = [0, 1, 2, 0, 1, 2, 0, 1]
    kept = allotted(families, [50.0] * 8, weights=weights)["target"].sum()
    poured = allotted(families, [50.0] * 8, weights=weights, fill_pool=True)["target"].sum()
    assert poured > kept + 50.0


# Risk: section 9


def risk_at(*equities, start=10 * DAY, step=60_000, **changes):
    risk, given_ = new_record(RISK), params(**changes)
    begins = [bool(mark(given_, risk, float(equity), start + index * step)) for index, equity in enumerate(equities)]
    return begins, risk, given_


def test_mode_halt_by_the_days_loss():
    begins, risk, _ = risk_at(1000, 901, 899)
    assert begins == [False, False, True]
    assert modes(risk) & 8


def test_mode_halt_by_drawdown():
    begins, _, _ = risk_at(1000, 960, 920, 880, 840, 800, 760, 720, 690, step=DAY)
    assert begins == [False] * 8 + [True]


def test_mode_reduced_until_midnight():
    _, risk, given_ = risk_at(1000, 949)
    assert risk.reduced
    assert size_multiplier(given_, risk) == 0.5
    mark(given_, risk, 949.0, 11 * DAY - 1)
    assert risk.reduced
    mark(given_, risk, 949.0, 11 * DAY)
    assert not risk.reduced
    assert day_loss(risk) == 0.0


def test_mode_stress_enters_and_leaves():
    risk, given_ = new_record(RISK), params()
    for share, expected in ((0.6, False), (0.61, True), (0.55, True), (np.nan, True), (0.5, False)):
        note_stress(given_, risk, share, 0.0, 1)
        assert bool(risk.stress) is expected
    risk.stress = True
    assert exposure_cap(given_, risk) == 0.4
    assert size_multiplier(given_, risk) == 0.5


def test_mode_drawdown_enters_scales_and_leaves():
    _, risk, given_ = risk_at(1000, 975, 950, 925, 900, 875, 849, step=DAY)
    assert risk.drawdown
    assert drawdown_factor(given_, risk) == pytest.approx(1 - 0.001 / 0.2)
    mark(given_, risk, 750.0, 30 * DAY)
    assert drawdown_factor(given_, risk) == pytest.approx(0.5)
    mark(given_, risk, 879.0, 31 * DAY)
    assert risk.drawdown
    mark(given_, risk, 880.0, 32 * DAY)
    assert not risk.drawdown


def test_mode_drawdown_looks_at_the_high_of_the_last_days_and_the_halt_at_that_of_all_time():
    given_, risk = params(risk__high_days=5), new_record(RISK)
    for day, equity in enumerate((1000, 920, 850, 840, 840)):
        mark(given_, risk, float(equity), (10 + day) * DAY)
    assert risk.drawdown
    assert risk.recent_high == 1000.0
    mark(given_, risk, 840.0, 15 * DAY)
    assert (risk.recent_high, bool(risk.drawdown)) == (920.0, False), "the high has aged out"
    for day, equity in enumerate((800, 760, 730, 710)):
        assert not mark(given_, risk, float(equity), (16 + day) * DAY)
    assert mark(given_, risk, 699.0, 20 * DAY), "30 % under the high of all time"


def test_a_high_between_two_midnights_counts_for_its_day():
    given_, risk = params(risk__high_days=3), new_record(RISK)
    mark(given_, risk, 1000.0, 10 * DAY)
    mark(given_, risk, 900.0, 11 * DAY)
    mark(given_, risk, 950.0, 11 * DAY + HOUR)
    note_high(risk)
    mark(given_, risk, 900.0, 11 * DAY + 2 * HOUR)
    mark(given_, risk, 890.0, 13 * DAY)
    assert risk.recent_high == 950.0
    mark(given_, risk, 880.0, 400 * DAY)
    assert risk.recent_high == 880.0, "days without a look are gone"


def test_a_state_that_knows_only_the_high_of_all_time_begins_with_it():
    given_, risk = params(), new_record(RISK)
    risk.day, risk.high, risk.anchor, risk.drawdown = 10, 1000.0, 840.0, True
    for now in (10 * DAY + HOUR, 11 * DAY):
        mark(given_, risk, 840.0, now)
        assert (risk.recent_high, bool(risk.drawdown)) == (1000.0, True)


def test_stress_ends_when_no_share_is_known_any_more():
    risk, given_ = new_record(RISK), params()
    note_stress(given_, risk, 0.7, 0.9, 100)
    note_stress(given_, risk, np.nan, np.nan, 148)
    assert risk.stress
    note_stress(given_, risk, np.nan, np.nan, 149)
    assert not risk.stress


def test_transfers_move_every_high_of_the_last_days():
    given_, risk = params(risk__high_days=3), new_record(RISK)
    mark(given_, risk, 1000.0, 10 * DAY)
    mark(given_, risk, 900.0, 11 * DAY)
    deposited(risk, 450.0)
    mark(given_, risk, 1350.0, 12 * DAY)
    assert risk.recent_high == 1500.0
    mark(given_, risk, 1350.0, 13 * DAY)
    assert risk.recent_high == 1350.0


def test_mode_normal_caps_exposure_at_seventy_per_cent():
    _, risk, given_ = risk_at(1000)
    assert modes(risk) == 0
    assert exposure_cap(given_, risk) == 0.7


@pytest.mark.parametrize(
    ("reduced", "stressed", "fall", "expected"),
    [(True, True, 0.0, 0.25), (True, False, 0.16, 0.5), (True, False, 0.29, 0.3), (False, True, 0.25, 0.25)],
)
def test_modes_combine(reduced, stressed, fall, expected):
    risk = new_record(RISK)
    risk.reduced, risk.stress, risk.drawdown = reduced, stressed, fall > 0
    risk.high = risk.recent_high = 1000.0
    risk.equity = 1000.0 * (1 - fall)
    assert size_multiplier(params(), risk) == pytest.approx(expected)


def test_deposits_and_withdrawals_move_the_anchor_not_the_loss():
    _, risk, given_ = risk_at(1000, 980)
    before = day_loss(risk)
    deposited(risk, -500.0)
    assert risk.equity == 480.0
    assert not mark(given_, risk, 480.0, 10 * DAY + 5 * HOUR)
    assert day_loss(risk) == pytest.approx(before) == pytest.approx(0.02)
    deposited(risk, 9_520.0)
    assert day_loss(risk) == pytest.approx(0.02)


def test_a_first_deposit_and_the_last_withdrawal_move_the_anchors_by_their_amount():
    _, risk, _ = risk_at(1000, 980)
    deposited(risk, -980.0)
    assert (risk.equity, risk.anchor) == (0.0, 20.0)
    deposited(risk, 500.0)
    assert (risk.equity, risk.anchor) == (500.0, 520.0)


def test_the_halt_is_a_latch():
    _, risk, given_ = risk_at(1000, 850)
    assert not mark(given_, risk, 1500.0, 12 * DAY), "it begins once"
    assert risk.halted


def test_no_answer_within_the_time_is_hold():
    _, risk, given_ = risk_at(1000, 850)
    assert not answer(given_, risk, int(HaltAnswer.WAITING), risk.halted_at + 30 * 60_000 - 1)
    assert answer(given_, risk, int(HaltAnswer.WAITING), risk.halted_at + 30 * 60_000)
    assert risk.answer == HaltAnswer.HOLD


def test_an_answer_counts_at_once_and_once():
    _, risk, given_ = risk_at(1000, 850)
    assert answer(given_, risk, int(HaltAnswer.CLOSE_ALL), risk.halted_at)
    assert not answer(given_, risk, int(HaltAnswer.HOLD), risk.halted_at)
    assert risk.answer == HaltAnswer.CLOSE_ALL


def test_resume_anchors_anew_and_stays_reduced_once_a_day():
    _, risk, given_ = risk_at(1000, 650)
    assert resume(risk, 11 * DAY, False)
    assert (risk.anchor, risk.high, bool(risk.reduced), bool(risk.halted)) == (650.0, 650.0, True, False)
    assert not mark(given_, risk, 650.0, 11 * DAY + HOUR), "the old drawdown does not halt again"
    mark(given_, risk, 500.0, 11 * DAY + 2 * HOUR)
    assert risk.halted
    assert not resume(risk, 11 * DAY + 3 * HOUR, False)
    assert resume(risk, 11 * DAY + 3 * HOUR, True)


# Correlation


def histories(*series):
    made = new_records(HISTORY, len(series))
    for history, closes in zip(made, series, strict=True):
        for hour, close in enumerate(closes):
            if not np.isnan(close):
                history_push(history, 1000 + hour, float(close))
    return made


def test_correlation_is_pearsons_and_needs_enough_common_hours():
    rng = np.random.default_rng(1)
    a, b = (100 * np.exp(np.cumsum(rng.normal(0, 0.01, 60))) for _ in range(2))
    made = histories(a, b)
    for back in (24, 40):
        expected = np.corrcoef(np.diff(a)[-back:] / a[-back - 1 : -1], np.diff(b)[-back:] / b[-back - 1 : -1])[0, 1]
        assert correlation(made[0], made[1], 1059, back, 20) == pytest.approx(expected)
    gappy = b.copy()
    gappy[40:58:2] = np.nan
    assert np.isnan(correlation(made[0], histories(gappy)[0], 1059, 24, 20))


def test_stress_needs_three_pairs_and_counts_pairs_of_pairs():
    rng = np.random.default_rng(2)
    common = rng.normal(0, 0.01, 40)
    like = [100 * np.exp(np.cumsum(common + rng.normal(0, 0.0005, 40))) for _ in range(3)]
    other = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 40)))
    assert np.isnan(stress(histories(*like[:2]), 1039, PARAMS, np.zeros(2))[0])
    assert stress(histories(*like), 1039, PARAMS, np.zeros(3))[0] == 1.0
    assert stress(histories(*like, other), 1039, PARAMS, np.zeros(4))[0] == 0.5


def test_groups_join_each_pair_to_its_likest():
    rng = np.random.default_rng(3)
    one, two = rng.normal(0, 0.01, 300), rng.normal(0, 0.01, 300)
    series = [100 * np.exp(np.cumsum(base + rng.normal(0, 0.001, 300))) for base in (one, two, one, two)]
    series.append(100 * np.exp(np.cumsum(rng.normal(0, 0.01, 300))))
    groups = np.zeros(5, np.int64)
    group(histories(*series), 1299, PARAMS, groups, np.zeros((5, 2)))
    assert groups.tolist() == [0, 1, 0, 1, 4]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"allocation": {"performance_days": 200}},
            "allocation: performance_days is 200 but money is remembered for 120",
        ),
        ({"allocation": {"performance": "clasic"}}, "allocation.performance is 'clasic'"),
        ({"allocation": {"performance_least": 0}}, "allocation.performance_least is 0"),
        ({"risk": {"high_days": 400}}, "risk.high_days is 400"),
    ],
)
def test_bad_rules_of_capital_are_one_sentence(values, sentence):
    with pytest.raises(Misconfigured) as told:
        load_config({"strategy": "auto", "pairs": ["BTCUSDT"], **values})
    assert str(told.value).startswith(sentence), str(told.value)


def test_classic_performance_may_look_further_back():
    assert classic(allocation={"performance": "classic", "performance_days": 1000}).allocation
