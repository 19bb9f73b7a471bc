"""A suggested grid is chosen on the first part of the candles and told by the rest, and is written as it was played."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from backtesting import suggestion
from backtesting.run import simulate
from backtesting.suggestion import suggest
from bot.errors import Misconfigured
from coordinator.config import load_config
from services.command_line.main import app
from services.market_data.store import CandleStore
from tests.conftest import instrument, walk

ASKED = {"strategy": "grid", "pair": "BTCUSDT", "exchange": "synth", "grid": {"preset": "exchange"}}
PESSIMISTIC = {"fill_rule": "through", "path": "adverse"}


@pytest.fixture
def few(monkeypatch):
    """Few candidates, so that the test is quick where nothing is compiled."""
    monkeypatch.setattr(suggestion, "CUTS", (0.0, 0.05))
    monkeypatch.setattr(suggestion, "LEVELS", (8, 20))


def test_the_choice_knows_nothing_of_what_it_is_told_by(few):
    candles, shares = walk(1500, seed=41), []
    found = suggest(ASKED, candles, fetched=instrument(), progress=shares.append)
    other = candles.rows(np.r_[0:1000, 0:500])
    other = type(other)(candles.ts, *(getattr(other, n) for n in ("open", "high", "low", "close", "volume")), 60_000)
    again = suggest(ASKED, other, fetched=instrument())
    assert found.config == again.config
    assert found.chosen_on == again.chosen_on
    assert found.afterwards != again.afterwards
    assert shares == sorted(shares)
    assert found.tried == 8


def test_what_it_earned_afterwards_is_what_a_backtest_of_its_config_gives(few):
    candles = walk(1500, seed=42)
    found = suggest(ASKED, candles, fetched=instrument())
    document = {**found.config.document(), "execution": PESSIMISTIC, "instrument": instrument().model_dump(mode="json")}
    result = simulate(document, candles.rows(slice(1000, None)))
    assert result.metrics.total_return_pct == pytest.approx(found.afterwards, abs=1e-6)


def test_too_few_candles_and_too_little_capital_are_a_sentence(few):
    with pytest.raises(Misconfigured, match="they hold 500 bars, under 1000"):
        suggest(ASKED, walk(500), fetched=instrument())
    with pytest.raises(Misconfigured, match="no grid of BTCUSDT earns its costs"):
        suggest({**ASKED, "capital": 10.0}, walk(1500), fetched=instrument())


def test_the_command_writes_a_config_that_loads_and_does_not_write_over_one(few, store_dir, tmp_path):
    CandleStore(store_dir).write("synth", "linear", "BTCUSDT", walk(2000, seed=43))
    out = tmp_path / "grid.yaml"
    command = ["suggest", "grid", "--pair", "BTC/USDT", "--days", "1", "--out", str(out)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    assert "afterwards, to 2024-01-02T09:20" in done.output
    written = load_config(yaml.safe_load(out.read_text()))
    assert written.parameters.start == "now"
    assert written.parameters.lower < written.parameters.upper
    with pytest.raises(Misconfigured, match="exists; choose another file"):
        CliRunner().invoke(app, command, catch_exceptions=False)
