"""A suggestion by class: chosen on the first two thirds, told by the last, and written as it was played."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from backtesting.run import simulate
from bot.errors import Misconfigured
from coordinator.config import load_config
from search import pair_classes
from search.pair_classes import PairClass
from search.suggested import suggested
from search.window import MarketHistory
from services.market_data.store import CandleStore
from tests.conftest import instrument
from tests.search.test_pair_classes import hours
from tests.services.test_batch import command

PLACE = {"pair": "BTCUSDT", "exchange": "binance", "capital": 100_000}
TREND = {"timeframe": "4h", "range_bars": [15, 30], "exit_channel_bars": [10, 15], "direction": ["long", "both"]}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Ranges with few variants."""
    for kind in PairClass:
        monkeypatch.setitem(pair_classes.SEARCH_RANGES[kind], "trend", TREND)


def market(candles):
    return MarketHistory({"BTCUSDT": candles}, {"BTCUSDT": instrument()}, {})


def test_the_choice_knows_nothing_of_what_it_is_told_by():
    candles, heard = hours(180, 0.006, 3), []
    found = suggested(PLACE, "trend", "total_return_pct", market(candles), heard.append)
    split = found.found.split
    assert (split - candles.ts[0]) / (candles.ts[-1] - candles.ts[0]) == pytest.approx(2 / 3, abs=0.01)
    late = candles.ts >= split
    other = type(candles)(
        candles.ts,
        *(
            np.where(late, np.round(getattr(candles, name) * 0.5, 1), getattr(candles, name))
            for name in ("open", "high")
        ),
        *(
            np.where(late, np.round(getattr(candles, name) * 0.5, 1), getattr(candles, name))
            for name in ("low", "close")
        ),
        candles.volume,
        candles.bar_ms,
    )
    again = suggested(PLACE, "trend", "total_return_pct", market(other))
    assert (found.kind, found.values) == (again.kind, again.values)
    assert found.found.scores[0] == again.found.scores[0]
    assert found.words[1] != again.words[1]
    assert set(found.values) == {"range_bars", "exit_channel_bars", "direction"}
    assert heard[-1].done == heard[-1].total == len(found.found.numbers) == 8


def test_what_it_earned_afterwards_is_what_a_backtest_of_its_config_gives():
    candles = hours(180, 0.006, 4)
    found = suggested(PLACE, "trend", "total_return_pct", market(candles))
    document = {**found.found.best.document(), "instrument": instrument().model_dump(mode="json")}
    for part, start, end in ((0, found.found.start, found.found.split), (1, found.found.split, found.found.end)):
        result = simulate(load_config(document).changed(start=start, end=end), candles)
        score = (found.found.scores, found.found.held_out)[part][0]
        assert result.metrics.total_return_pct == pytest.approx(float(score["total_return_pct"]), rel=1e-9)
        assert f"{result.metrics.total_return_pct:+.2f} %" in found.words[part]


def test_too_few_days_are_a_sentence():
    with pytest.raises(Misconfigured, match="the part in sample has 20 days of candles, 30 are needed for a class"):
        suggested(PLACE, "trend", "total_return_pct", market(hours(30, 0.006)))


def test_the_command_writes_a_config_that_says_what_it_is_worth(store_dir, tmp_path, monkeypatch, capsys):
    CandleStore(store_dir).write("binance", "linear", "BTCUSDT", hours(180, 0.006, 5))
    out = tmp_path / "trend.yaml"
    words = ("suggest", "trend", "--pair", "btc/usdt", "--days", "150", "--out", out)
    code, said, err = command(monkeypatch, capsys, *words)
    assert code == 0, err
    assert (
        "the best of 8" in said and "chosen on 2024-01-31 to 2024-05-" in said and "afterwards, to 2024-06-29" in said
    )
    text = out.read_text()
    assert text.startswith("# Suggested by `traderagent suggest`. Trials: 8.\n# chosen on ")
    written = load_config(yaml.safe_load(text))
    assert (written.pair, written.exchange, written.bar, written.strategy) == ("BTCUSDT", "binance", "1h", "trend")
    code, _, err = command(monkeypatch, capsys, *words)
    assert code == 2 and "exists; choose another file, or give --replace." in err
    for more, sentence in (
        (("--capital", "-3"), "capital is -3.0: input should be greater than 0; change it."),
        (("--objective", "sharp"), "search.objective names 'sharp', no known figure"),
        (("--market", "spot"), "pair BTCUSDT has no candles in the store for spot"),
        (("--exchange", "okx"), "pair BTCUSDT has no candles in the store for okx linear"),
    ):
        code, _, err = command(monkeypatch, capsys, *words, "--replace", *more)
        assert code == 2 and sentence in err and err.count("\n") == 1, err
    assert out.read_text() == text
