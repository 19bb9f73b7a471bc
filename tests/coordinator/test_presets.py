"""The preset `classic` of the whole algorithm, its levels of risk, and what a section that is given means."""

from __future__ import annotations

import pytest

from bot.errors import Misconfigured
from coordinator.config import load_config
from coordinator.presets import RiskLevel
from strategies.grid import GridParameters
from strategies.trend import TrendParameters


def auto(**values):
    return load_config({"strategy": "auto", "pairs": ["BTCUSDT"], **values}).algorithm


def test_classic_is_what_version_0_1_did():
    found = auto(auto={"preset": "classic"})
    assert (found.auto.router, found.auto.regime_timeframe, found.auto.warmup_bars) == ("regime", "1h", 200)
    assert (found.smc.enabled, found.allocation.strategy_cap, found.risk.pair_day_loss) == (True, 0.4, 0.03)
    grid, trend = found.grid, found.trend
    assert (grid.range_factor, grid.profit_per_grid, grid.trailing) == (3.0, 0.005, "atr")
    assert (trend.timeframe, trend.warmup_bars, trend.stop, trend.target, trend.partial_at) == (
        "1h",
        200,
        None,
        None,
        0.7,
    )
    assert (trend.trail_distance, trend.break_even_at, trend.exit, trend.sizing) == (0.5, 1.0, "atr", "risk")


def test_what_is_given_goes_before_a_preset_and_a_level():
    found = auto(auto={"preset": "classic", "warmup_bars": 80}, trend={"stop": 3.0}, risk_level="low")
    assert (found.auto.router, found.auto.warmup_bars) == ("regime", 80)
    assert (found.trend.stop, found.trend.timeframe) == (3.0, "1h")
    assert auto(risk_level="low", allocation={"reserve": 0.2}).allocation.reserve == 0.2


def test_levels_put_more_or_less_of_the_account_to_work():
    low, medium, high = (auto(risk_level=level) for level in RiskLevel)
    assert medium == auto()
    assert low.allocation.reserve > medium.allocation.reserve > high.allocation.reserve
    assert high.risk.exposure > medium.risk.exposure
    assert high.risk.exposure <= 1.0, "a level borrows nothing"


def test_routes_mean_a_router_by_regime_and_a_filter_s_section_means_the_filter():
    assert auto().auto.router == "trend"
    assert not auto().smc.enabled
    assert auto(auto={"routes": {"bull_trend": "cash"}}).auto.router == "regime"
    assert auto(auto={"bear_strategy": "cash"}).auto.router == "regime"
    assert auto(auto={"routes": {"bull_trend": "cash"}, "router": "dca"}).auto.router == "dca"
    assert auto(smc={"min_confidence": 0.5}).smc.enabled
    assert not auto(smc={"min_confidence": 0.5, "enabled": False}).smc.enabled


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"risk_level": "bold"}, "risk_level is 'bold'; choose one of: low, medium, high."),
        ({"risk_level": [1]}, "risk_level is [1]; choose one of: low, medium, high."),
        ({"auto": {"preset": ["classic"]}}, "auto.preset is ['classic']; choose one of: classic."),
        ({"auto": {"preset": "modern"}}, "auto.preset is 'modern'; choose one of: classic."),
        ({"strategy": "grid", "risk_level": "low"}, "risk_level is for strategy auto; "),
    ],
)
def test_unknown_names_are_one_sentence(values, sentence):
    with pytest.raises(Misconfigured) as told:
        auto(**values)
    assert str(told.value).startswith(sentence)


@pytest.mark.parametrize(("strategy", "model"), [("trend", TrendParameters), ("grid", GridParameters)])
def test_what_is_written_of_a_preset_is_read_back_without_it(strategy, model):
    for name in model.presets():
        config = load_config({"strategy": strategy, "pair": "BTCUSDT", strategy: {"preset": name}})
        again = load_config(config.document())
        assert again.parameters.record().tobytes() == config.parameters.record().tobytes(), name
    whole = load_config({"strategy": "auto", "pairs": ["BTCUSDT"], "auto": {"preset": "classic"}, "risk_level": "high"})
    again = load_config(whole.document())
    assert again.algorithm.record(["BTCUSDT"]).tobytes() == whole.algorithm.record(["BTCUSDT"]).tobytes()
    assert again.risk_level == "high"
