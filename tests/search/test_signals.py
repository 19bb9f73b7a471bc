"""What conditions say, computed once for many variants: the same bits as for one variant alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.run import prepare
from backtesting.simulator import UniversalSimulator
from coordinator.config import load_config
from search.reading import read_space
from search.signals import Signals, shares
from search.sweep import sweep
from search.window import SingleWindow
from tests.conftest import walk

CANDLES = walk(70 * 1440, seed=8, volatility=0.0007)
GAPPY = CANDLES.rows(np.flatnonzero(np.arange(len(CANDLES)) % 9001 > 40))
POOL = [
    {"indicator": "RSI", "timeperiod": 5, "long_below": 45, "short_above": 55},
    {"indicator": "RSI", "timeperiod": 14, "long_below": 40, "short_above": 60},
    {"indicator": "ADX", "timeperiod": 7, "long_above": 15, "short_above": 15},
    {"indicator": "CCI", "timeperiod": 20, "long_below": 0, "short_above": 0},
    {"indicator": "MACD"},
    {"indicator": "OBV", "rule": "slope", "bars": 3},
]


def config(when, combine, strategy="rules"):
    section = {"when": when, "combine": combine, "timeframe": "1h"}
    return load_config({"strategy": strategy, "pair": "BTCUSDT", "exchange": "synth", strategy: section})


@given(
    st.lists(st.sampled_from(POOL), min_size=1, max_size=4, unique_by=str),
    st.sampled_from(["all", "any", {"at_least": 1}]),
    st.booleans(),
    st.sampled_from(["rules", "trend"]),
)
@settings(max_examples=25, deadline=None)
def test_columns_are_those_of_one_variant_alone(when, combine, gappy, strategy):
    made = prepare(config(when, combine, strategy), GAPPY if gappy else CANDLES)
    simulator = UniversalSimulator(made.config)
    inputs = made.config.loaded.inputs(made.config.parameters)
    assert shares(inputs)
    rows = simulator._inputs(made.candles).rows[made.config.loaded.name]
    signals = Signals(made.candles, made.config.parameters.timeframe_ms)
    for _ in range(2):  # the second time from memory
        for name, column in signals.columns(inputs).items():
            assert np.array_equal(column, rows[name][:, 0], equal_nan=True)
    assert np.isnan(rows[next(iter(inputs))][:, 0]).any() or gappy, "the history begins somewhere"


def test_what_no_longer_fits_into_memory_is_computed_again(monkeypatch):
    made = prepare(config(POOL[:4], "any"), CANDLES)
    inputs = made.config.loaded.inputs(made.config.parameters)
    signals = Signals(made.candles, made.config.parameters.timeframe_ms)
    before = signals.columns(inputs)["signal"]
    monkeypatch.setattr(signals, "_most", 1)
    signals._known.clear()
    for _ in range(2):
        assert np.array_equal(signals.columns(inputs)["signal"], before, equal_nan=True)
    assert len(signals._known) == 1


@pytest.mark.slow  # a loop of its own
def test_rows_of_rules_and_of_a_gate_are_those_of_single_runs():
    from backtesting.run import simulate

    when = [
        {"indicator": "RSI", "timeperiod": {"from": 5, "to": 15, "step": 5}, "long_below": [40, 45], "short_above": 55},
        {"indicator": "ADX", "timeperiod": [7, 14], "long_above": 15, "short_above": 15},
    ]
    for strategy, more in (("rules", {}), ("grid", {"levels": 6, "warmup_bars": 30})):
        section = {"when": when, "timeframe": ["30m", "1h"], **more}
        space = {"strategy": strategy, "pair": "BTCUSDT", "exchange": "synth", strategy: section}
        found = sweep({**space, "search": {"objective": "total_return_pct"}}, CANDLES, workers=2)
        assert len(found.numbers) == 24
        for number, score in zip(found.numbers.tolist(), found.scores, strict=True):
            alone = simulate(found.space.config(number).changed(start=found.start, end=found.split), CANDLES)
            assert score["total_return_pct"] == pytest.approx(alone.metrics.total_return_pct, rel=1e-9, abs=1e-12)
            assert score["fills"] == alone.metrics.fills


def test_candles_are_prepared_once_for_conditions_that_ask_for_more_history_than_there_is():
    when = [{"indicator": "RSI", "timeperiod": [5, 10, 40], "long_below": [40, 45], "short_above": 55}]
    section = {"when": when, "timeframe": ["30m", "1h"], "levels": 6, "warmup_bars": 30}
    space = read_space({"strategy": "grid", "pair": "BTCUSDT", "exchange": "synth", "grid": section})
    window = SingleWindow.__new__(SingleWindow)
    window.space, window.start, window.end = space, int(CANDLES.ts[0]), int(CANDLES.ts[-1]) + 60_000
    window._candles, window._fetched, window._funding, window._ready, window._made = CANDLES, None, None, {}, {}
    for number in range(space.size):
        window.ready_for(number, space.parameters(number))
    assert space.size == 12 and len(window._ready) == 2 and len(window._made) == 1
