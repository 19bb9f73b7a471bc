"""A saved strategy is its content: what is told of money, pairs and venue changes nothing, every parameter does."""

from __future__ import annotations

import pytest
import yaml

from bot.errors import Misconfigured
from coordinator.config import load_config, load_portfolio
from coordinator.saved_strategy import OF_THE_RUN, saved_strategy, strategy_of
from services.runtime.config import load_bot
from tests.conftest import ROOT

TREND = {"strategy": "trend", "pair": "BTCUSDT"}


def content(values, **changes):
    return saved_strategy(load_config({**values, **changes})).content


def test_what_belongs_to_the_run_alone_changes_nothing():
    own = content(TREND)
    assert content(TREND, pair="ETHUSDT", capital=5, leverage=3, exchange="binance") == own
    assert content({"strategy": "trend", "pairs": ["BTCUSDT", "ETHUSDT"]}) == own
    assert content(TREND, execution={"slippage_bps": 9}, trend={"stop": 2.5}) == own  # a default, written out
    assert content({**TREND, "from": "2024-01-01", "to": "2024-02-01"}) == own
    assert content(TREND, market="spot", trend={"direction": "long"}) != own


def test_every_parameter_and_section_changes_it():
    own = content(TREND)
    for changes in (
        {"trend": {"stop": 3}},
        {"reinvest": True},
        {"risk": {"exposure": 0.5}},
        {"smc": {"enabled": True}},
    ):
        assert content(TREND, **changes) != own
    auto = {"strategy": "auto", "pairs": ["BTCUSDT"]}
    assert content(auto) != content(auto, risk_level="low")
    assert content(auto) != content(auto, grid={"levels": 9})
    assert content(auto) == content(auto, risk_level="medium")


def test_a_bot_and_a_backtest_of_the_same_file_have_the_same_strategy(tmp_path):
    path = tmp_path / "bot.yaml"
    bot = {"environment": "live", "name": "main"}
    path.write_text(yaml.safe_dump({**TREND, "trend": {"stop": 3}, "bot": bot}))
    assert saved_strategy(load_bot(path)[1]) == saved_strategy(load_config(path))


def test_its_name_says_what_it_is_and_is_always_the_same():
    one = strategy_of({**TREND, "trend": {"timeframe": "1h"}})
    assert one.name == f"trend-1h-{one.content[:6]}"
    assert one.name == strategy_of({**TREND, "trend": {"timeframe": "1h"}}).name
    assert strategy_of({"strategy": "auto", "pairs": ["BTCUSDT"]}).name.startswith("auto-4h-")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_its_document_is_read_back_as_itself(path):
    one = strategy_of(path)
    assert not OF_THE_RUN & one.document.keys()
    assert strategy_of(one.document) == one
    whole = load_portfolio({**one.document, "pairs": list(load_portfolio(path).pairs)})
    assert saved_strategy(whole) == one


def test_a_change_is_another_strategy_and_a_wrong_one_a_sentence():
    one = strategy_of(TREND)
    other = strategy_of(one.document, {"stop": 3})
    assert other.content != one.content and other.document["trend"]["stop"] == 3.0
    assert strategy_of(other.document, {"trend.stop": 2.5}) == one
    with pytest.raises(Misconfigured, match="stpo is no known key; did you mean"):
        strategy_of(one.document, {"stpo": 3})


def test_weights_name_their_pairs_and_belong_to_it():
    values = {
        "strategy": "grid",
        "pairs": ["BTCUSDT", "ETHUSDT"],
        "allocation": {"weights": {"BTCUSDT": 2, "ETHUSDT": 1}},
    }
    one = strategy_of(values)
    assert strategy_of(one.document) == one
    assert one.content != strategy_of({**values, "allocation": {"weights": {"BTCUSDT": 1, "ETHUSDT": 1}}}).content


def test_one_of_the_users_is_its_source_wherever_it_lies(tmp_path):
    source = (ROOT / "tests" / "examples" / "ema_cross.py").read_text()
    changed = source.replace("state.fast.value > state.slow.value", "state.fast.value >= state.slow.value")
    found = {}
    for place, text in {"here": source, "there": source, "told": f"{source}# told\n", "changed": changed}.items():
        (tmp_path / place).mkdir()
        (tmp_path / place / "ema_cross.py").write_text(text)
        found[place] = strategy_of({"strategy": str(tmp_path / place / "ema_cross.py"), "pair": "BTCUSDT"})
    assert found["here"].name.startswith("ema_cross-1h-")
    assert found["here"].content == found["there"].content == found["told"].content
    assert found["here"].content != found["changed"].content
