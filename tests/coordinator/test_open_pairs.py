"""`risk.max_open_pairs`: at no time more pairs are open, whatever trades; places go to who has waited longest."""

from __future__ import annotations

import numpy as np
import pytest

from backtesting.portfolio_simulator import PortfolioSimulator, PreparedPortfolio
from bot.errors import Misconfigured
from coordinator.config import load_config
from coordinator.decisions import explain
from coordinator.machine import new_portfolio_state
from coordinator.portfolio import begin, places_change, step
from coordinator.vocabulary import DecisionKind
from tests.conftest import instrument, walk

NAMES = ("AAAUSDT", "BBBUSDT", "CCCUSDT", "DDDUSDT")
NOW = 1_704_067_200_000
EAGER = {"start": "immediately", "timeframe": "5m", "deal_cooldown_seconds": 0, "warmup_bars": 60}


def bot(strategy="dca", section=EAGER, **more):
    return load_config({"strategy": strategy, strategy: section, "pairs": NAMES, "capital": 100_000, **more})


def played(config, bars=3000):
    candles = {
        name: walk(bars, seed=number, start=100.0, tick=0.01, volatility=0.002) for number, name in enumerate(NAMES)
    }
    listed = {name: instrument("0.01", "0.001").model_copy(update={"symbol": name}) for name in NAMES}
    return PortfolioSimulator(config).run(PreparedPortfolio.of(candles, listed))


def open_at_once(run):
    """Most pairs with a position at any time, and how many fills each pair has."""
    fills = [(int(one["ts"]), p, int(one["position"])) for p, own in enumerate(run.recordings) for one in own.fills]
    held, most = {}, 0
    for _, p, position in sorted(fills, key=lambda fill: fill[0]):
        held[p] = position
        most = max(most, sum(1 for lots in held.values() if lots))
    return most, [len(own.fills) for own in run.recordings]


@pytest.mark.parametrize(
    ("strategy", "section"),
    [("dca", EAGER), ("trend", {"timeframe": "5m"}), ("grid", {"timeframe": "5m", "preset": "classic"})],
)
def test_never_are_more_pairs_open_and_every_pair_has_its_turn(strategy, section):
    run = played(bot(strategy, section, risk={"max_open_pairs": 2}))
    most, fills = open_at_once(run)
    assert most == 2
    assert min(fills) > 0, "a place goes to whoever has been without one for longest"
    assert DecisionKind.FULL in run.decisions["kind"]
    assert open_at_once(played(bot(strategy, section)))[0] > 2


def test_why_nothing_was_opened_is_explained():
    known = {"event": "full", "at": "2026-01-01T00:00:00Z", "pair": "AAAUSDT"}
    start = known | {"event": "start", "strategy": "dca", "variant": "configured"}
    told = [known | {"asked": asked} for asked in ("buy", "rest")]
    for one, said in zip(told, ("it did not buy", "its entries wait"), strict=True):
        words = explain([start, one], "AAAUSDT", "2026-01-02T00:00:00Z")
        assert f"At 2026-01-01T00:00:00Z as many pairs are open as may be: {said}." in words


def test_as_many_places_as_pairs_change_nothing():
    whole, limited = played(bot()), played(bot(risk={"max_open_pairs": 4}))
    assert all(
        np.array_equal(one.fills, other.fills) for one, other in zip(whole.recordings, limited.recordings, strict=True)
    )


def test_one_strategy_shares_its_capital_by_the_places_and_no_other_limit_begins():
    config = bot(risk={"max_open_pairs": 2})
    assert config.algorithm.fixed_share("AAAUSDT", 4) == 0.5
    assert config.algorithm.risk.exposure == np.inf
    assert load_config(config.document()) == config
    weighted = bot(risk={"max_open_pairs": 2}, allocation={"weights": dict(zip(NAMES, (3, 2, 2, 1), strict=True))})
    assert weighted.algorithm.fixed_share("AAAUSDT", 4) == pytest.approx(0.6)
    with pytest.raises(Misconfigured, match=r"risk\.max_open_pairs"):
        bot(risk={"max_open_pairs": 0})


def desk(limit, *pairs):
    """A portfolio whose pairs hold, ask for a place, both (`ha`) or nothing (empty), after one look."""
    params = bot(risk={"max_open_pairs": limit}).algorithm.record(list(NAMES))
    state = new_portfolio_state(len(NAMES))
    begin(params, state, 100_000.0)
    look(params, state, NOW, *pairs)
    return params, state


def look(params, state, now, *pairs):
    for report, said in zip(state.reports, pairs, strict=True):
        report.alive, report.holds, report.asks = True, "h" in said, "a" in said
    step(params, state, now)
    return [not one for one in state.directives["full"].tolist()]


def test_positions_come_first_then_who_rests_then_who_has_waited_longest():
    params, state = desk(2, "", "", "", "")
    assert look(params, state, NOW + 1, "a", "a", "a", "") == [True, True, False, False]
    assert look(params, state, NOW + 2, "h", "a", "a", "a") == [True, True, False, False]
    assert not places_change(params, state), "both places are taken"
    state.reports[0].holds = False
    assert places_change(params, state)
    assert look(params, state, NOW + 3, "", "a", "a", "a") == [False, True, True, False]
    assert look(params, state, NOW + 4, "a", "", "a", "a") == [False, False, True, True], "the first had one just now"


def test_a_position_that_nobody_gave_a_place_takes_one_and_resting_entries_give_way():
    params, state = desk(1, "a", "", "", "")
    assert look(params, state, NOW + 1, "a", "h", "", "") == [False, True, False, False]
    assert look(params, state, NOW + 2, "a", "h", "h", "") == [False, True, True, False]
    assert not places_change(params, state)
    params.max_open_pairs = np.nan
    assert look(params, state, NOW + 3, "a", "h", "h", "") == [True] * 4
