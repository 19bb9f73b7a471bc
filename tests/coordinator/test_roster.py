"""Rosters: what a config asks of which strategy, and what becomes of a memory when the roster is another."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import yaml

from bot.errors import Misconfigured
from bot.record import to_dict
from bot.strategy import JudgedAs
from coordinator.config import BacktestConfig, PortfolioConfig, load_config, load_portfolio, load_single
from coordinator.machine import PairMachine, PortfolioMachine
from coordinator.parameters import AlgorithmParameters, Own
from coordinator.regime import Regime
from coordinator.roster import BUILT_IN, Roster
from coordinator.router import called_for, forbids
from coordinator.vocabulary import NO_STRATEGY, Variant
from services.runtime.preflight import changes
from tests.conftest import MINUTE, ROOT, Family, classic, instrument

OWN = f"{ROOT / 'tests' / 'examples' / 'ema_cross.py'}:EMA_CROSS"


def alone(strategy, **more):
    return load_portfolio({"strategy": strategy, "pairs": ["BTCUSDT", "ETHUSDT"], **more})


@pytest.mark.parametrize("strategy", ["grid", "dca", "trend", OWN])
def test_one_strategy_has_no_router_and_no_limit_but_a_stop(strategy):
    algorithm = alone(strategy).algorithm
    record = algorithm.record(["BTCUSDT", "ETHUSDT"])
    assert record.solo
    assert record.fixed_shares
    assert algorithm.roster.names[record.pinned] == strategy.rpartition(":")[2].lower()
    assert not record.smc.enabled
    assert math.isinf(record.exposure)
    assert record.protective_stop == 0.2
    assert record.capital == 10_000.0


def test_its_own_strategy_stands_alone_in_its_roster_and_built_in_ones_share_theirs():
    assert alone(OWN).algorithm.roster.names == ("ema_cross",)
    assert alone("dca").algorithm.roster == alone("grid").algorithm.roster == Roster()


def test_sections_count_where_they_are_given():
    config = alone("grid", risk={"halt_drawdown": 0.2}, smc={"enabled": True}, allocation={"reserve": 0.3})
    record = config.algorithm.record(list(config.pairs))
    assert (record.halt_drawdown, record.exposure) == (0.2, 0.7)
    assert record.smc.enabled
    assert not record.fixed_shares
    assert (
        alone("grid", allocation={"weights": {"BTCUSDT": 3, "ETHUSDT": 1}}).algorithm.record(["BTCUSDT"]).fixed_shares
    )


def test_reinvest_takes_the_cap_of_the_capital_away():
    assert math.isinf(alone("grid", reinvest=True).algorithm.record(["BTCUSDT"]).capital)
    assert alone("grid").changed(capital=500.0).algorithm.record(["BTCUSDT"]).capital == 500.0
    with pytest.raises(Misconfigured, match="reinvest is for one strategy"):
        load_portfolio({"strategy": "auto", "pairs": ["BTCUSDT"], "reinvest": True})


@pytest.mark.parametrize("strategy", ["grid", OWN, "auto"])
@pytest.mark.parametrize("sections", [{}, {"risk": {"losing_trades": 5}, "smc": {"enabled": True}}])
def test_what_is_written_down_is_read_back(strategy, sections):
    config = alone(strategy, **sections)
    again = load_portfolio(yaml.safe_load(yaml.safe_dump(config.document())))
    assert again == config
    records = [to_dict(one.algorithm.record(list(one.pairs))) for one in (again, config)]
    assert str(records[0]) == str(records[1])  # as text, since no NaN equals another


def test_one_pair_alone_is_a_single_backtest_and_anything_more_a_portfolio():
    one = {"strategy": "grid", "pairs": ["BTCUSDT"]}
    assert isinstance(load_config(one), BacktestConfig)
    for more in ({"pairs": "BTCUSDT, ETHUSDT"}, {"risk": {}}, {"smc": {}}, {"strategy": "auto"}):
        assert isinstance(load_config({**one, **more}), PortfolioConfig)
    with pytest.raises(Misconfigured, match="is a portfolio; choose one strategy and one pair"):
        load_single({**one, "pairs": ["BTCUSDT", "ETHUSDT"]})


def test_a_section_of_another_strategy_is_refused():
    with pytest.raises(Misconfigured, match="dca is no known key"):
        alone("grid", dca={"take_profit": 0.01})


@pytest.mark.parametrize("name", ["grid", "risk", "parts", "two words"])
def test_a_name_that_is_taken_is_refused(name):
    strategy = replace(BUILT_IN[0], name=name)
    with pytest.raises(Misconfigured, match="has a name that is taken or is no word"):
        AlgorithmParameters(own=(Own("x.py:Y", strategy, strategy.parameters()),))


def test_a_reload_names_what_a_section_that_comes_or_goes_changes():
    without, limited = alone("grid"), alone("grid", risk={"losing_trades": 5})
    assert "risk.losing_trades" in changes(without, limited)
    assert "risk.losing_trades" in changes(limited, without)
    assert changes(limited, alone("grid", risk={"losing_trades": 7})) == ["risk.losing_trades"]
    assert changes(without, without) == []


@pytest.mark.parametrize("strategy", ["grid", "auto"])
def test_pairs_that_are_no_names_are_one_sentence(strategy):
    with pytest.raises(Misconfigured, match="pairs is 7; name them in a list"):
        load_config({"strategy": strategy, "pairs": 7})


# Routes


def routed(**auto):
    return classic(auto=auto, own=own(*auto.get("routes", {}).values())).record(["BTCUSDT"])


def own(*references):
    from bot.strategy import load_strategy

    found = {one: load_strategy(one) for one in references if ":" in one}
    return tuple(Own(one, strategy, strategy.parameters()) for one, strategy in found.items())


def test_a_regime_may_be_routed_to_any_strategy():
    record = routed(routes={"bull_trend": OWN, "tight_range": "dca", "wide_range": "cash"})
    mine = len(BUILT_IN)
    assert called_for(record, int(Regime.BULL_TREND)) == (mine, Variant.LONG)
    assert called_for(record, int(Regime.TIGHT_RANGE)) == (Family.DCA, Variant.ARITHMETIC)
    assert called_for(record, int(Regime.WIDE_RANGE))[0] == NO_STRATEGY
    assert called_for(record, int(Regime.QUIET_TRANSITION)) == (Family.GRID, Variant.CAUTIOUS)
    assert not any(forbids(record, int(regime), mine, False) for regime in Regime)
    assert record.judged_as[mine] == JudgedAs.ENTRY
    assert record.own_stop.tolist() == [1, 1, 1, 0]


def test_a_regime_does_not_forbid_what_it_is_routed_to():
    assert forbids(routed(), int(Regime.BULL_TREND), int(Family.GRID), False)
    assert not forbids(routed(routes={"bull_trend": "grid"}), int(Regime.BULL_TREND), int(Family.GRID), False)


@pytest.mark.parametrize(
    ("auto", "told"),
    [
        ({"routes": {"sideways": "grid"}}, "'sideways', which is no regime; choose of tight_range"),
        (
            {"routes": {"bull_trend": "breakout"}},
            "auto.routes.bull_trend is 'breakout'; choose one of grid, dca, trend",
        ),
        ({"router": "breakout"}, "auto.router is 'breakout'"),
    ],
)
def test_a_route_to_nowhere_is_refused(auto, told):
    with pytest.raises(Misconfigured, match=told):
        load_portfolio({"strategy": "auto", "pairs": ["BTCUSDT"], "auto": auto})


# Memory


def machine(strategy):
    return PairMachine(alone(strategy).algorithm, instrument(), 1.0, MINUTE)


def test_another_roster_keeps_what_it_knows_by_name_and_leaves_the_rest_to_nobody():
    before = machine("trend")
    before.states[0].family, before.states[0].directive.family = Family.TREND, Family.TREND
    before.states[0].signal_bars[:] = 11, 12, 13
    before.states[0].trend["slow"].value = 5.0
    before.pairs[0].ledger.position = 7
    same, other = machine("auto"), machine(OWN)
    same.restore(before.saved())
    assert (int(same.states[0].family), same.position) == (Family.TREND, 7)
    assert same.states[0].signal_bars.tolist() == [11, 12, 13]
    other.restore(before.saved())
    assert (int(other.states[0].family), int(other.states[0].directive.family), other.position) == (
        NO_STRATEGY,
        NO_STRATEGY,
        7,
    )
    assert other.states[0].signal_bars.tolist() == [0]
    assert len(other.slots) >= len(before.slots)
    back = machine("trend")
    back.restore(other.saved())
    assert int(back.states[0].family) == NO_STRATEGY


def test_a_portfolio_knows_its_routes_by_name():
    pairs = ["BTCUSDT", "ETHUSDT"]
    before = PortfolioMachine(alone("dca").algorithm, pairs, 100.0)
    before.portfolio_state.routes["family"][:] = Family.DCA, Family.GRID
    mixed = load_portfolio({"strategy": "auto", "pairs": pairs, "auto": {"routes": {"bull_trend": OWN}}})
    after = PortfolioMachine(mixed.algorithm, pairs, 100.0)
    after.restore(before.saved())
    assert after.portfolio_state.routes["family"].tolist() == [Family.DCA, Family.GRID]
    own_alone = PortfolioMachine(alone(OWN).algorithm, pairs, 100.0)
    own_alone.restore(before.saved())
    np.testing.assert_array_equal(own_alone.portfolio_state.routes["family"], [NO_STRATEGY, NO_STRATEGY])
