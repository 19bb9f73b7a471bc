"""The example configs are read, told back as they are, and trade on candles made here."""

from __future__ import annotations

import pytest

from backtesting.instruments import instrument_for
from backtesting.portfolio_simulator import PortfolioSimulator, PreparedPortfolio
from backtesting.run import simulate
from bot.instrument import Market
from bot.sources import ROOT
from coordinator.config import load_config
from coordinator.regime import Regime
from services.market_data.synth import generate
from services.runtime.config import load_bot
from tests.conftest import instrument, walk

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
PRESETS = [path for path in CONFIGS if path.parent.name == "presets"]
SINGLE = [path for path in CONFIGS if path.stem != "auto_routes" and path not in PRESETS]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_an_example_is_read_alike_for_a_backtest_and_a_bot_and_told_back(path):
    config = load_config(path)
    assert load_config(config.document()).document() == config.document()  # which says what a preset means
    assert load_bot(path)[1].strategy == config.strategy
    assert f"backtest {path.relative_to(ROOT)}" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_says_its_level_where_it_comes_from_and_until_when(path):
    cluster, _, level = path.stem.rpartition("_")
    assert load_config(path).risk_level == level
    words = path.read_text(encoding="utf-8").lower()
    assert cluster.replace("_", " ") in words
    assert "in sample" in words
    assert "expires 2027" in words


@pytest.mark.parametrize("path", SINGLE, ids=lambda path: path.stem)
def test_an_example_of_one_strategy_trades(path):
    config = load_config(path)
    candles = walk(
        90_000 if path.stem == "trend" else 45_000 if config.strategy == "rules" else 8_000, seed=3, volatility=0.0015
    )
    result = simulate(config, candles, fetched=instrument(market=config.market))
    signals = set(result.fills["signal"])
    assert "ENTRY" in signals
    assert len(signals) > 1, "nothing was left"


def test_the_example_of_own_routes_trades_and_calls_for_cash_where_it_says_so():
    config = load_config(ROOT / "configs" / "auto_routes.yaml")
    candles = generate(list(config.pairs), 10, 7)
    instruments = {pair: instrument_for(pair, Market.LINEAR, candles[pair])[0] for pair in config.pairs}
    played = PortfolioSimulator(config).run(PreparedPortfolio.of(candles, instruments))
    assert sum(len(one.fills) for one in played.recordings) > 10
    calls = config.algorithm.record(list(config.pairs)).calls
    assert {regime.name for regime in Regime if calls[regime][0] == -1} >= {
        "QUIET_TRANSITION",
        "VOLATILE_TRANSITION",
        "BEAR_TREND",
    }
