"""What is prepared cannot be written, wherever the candles lie: kernels see the same types, and are compiled once."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest

from backtesting import portfolio_simulator, simulator
from backtesting.portfolio_run import play_portfolio, prepare_portfolio
from backtesting.run import prepare
from backtesting.simulator import PreparedCandles, UniversalSimulator
from bot.candles import COLUMNS
from bot.record import new_records, read_only
from bot.rollup import ROLLUP, roll_up
from bot.times import HOUR
from coordinator.config import load_config, load_portfolio
from search import market_rules
from search.market_rules import MarketRules
from search.signals import Signals
from tests.conftest import instrument
from tests.search.test_score import hours

CANDLES = hours(900, 1)
AS_RAY_GIVES_THEM = replace(CANDLES, **{name: read_only(getattr(CANDLES, name)) for name in COLUMNS})
WITH_GAPS = replace(CANDLES, **{name: np.repeat(getattr(CANDLES, name), 2)[::2] for name in COLUMNS})  # in memory
RULES = {"when": [{"indicator": "RSI", "timeperiod": 5, "long_below": 45, "short_above": 55}], "timeframe": "4h"}
RULES = {"strategy": "rules", "pair": "BTCUSDT", "exchange": "synth", "rules": RULES}
GRID = {"strategy": "grid", "pair": "BTCUSDT", "exchange": "synth", "grid": {"timeframe": "4h"}}


class CaughtError(Exception):
    """What a kernel was asked with."""


def caught(run, monkeypatch, module, name):
    """Arguments with which `run` asks a kernel that `name` of `module` makes."""

    def ask(*arguments):
        raise CaughtError(arguments)

    monkeypatch.setattr(module, name, lambda *_: ask)
    with pytest.raises(CaughtError) as found:
        run()
    return found.value.args[0]


def single(values, candles, monkeypatch):
    made = prepare(load_config(values), candles)
    played = UniversalSimulator(made.config)
    return caught(lambda: played.run(made.candles), monkeypatch, simulator, "compiled_loop")[:10]


def several(values, candles, monkeypatch):
    made = prepare_portfolio(load_portfolio(values), {"BTCUSDT": candles})
    return caught(lambda: play_portfolio(made), monkeypatch, portfolio_simulator, "compiled_loop")[:6]


def together(values, candles, monkeypatch):
    made = prepare(load_config(values), candles)
    played, parameters = UniversalSimulator(made.config), made.config.parameters
    rules = MarketRules.of(made, played, Signals(made.candles, parameters.timeframe_ms))
    record = new_records(parameters.dtype(), 1)
    return caught(lambda: rules.play(record, [parameters]), monkeypatch, market_rules, "_player")[0]


@pytest.mark.parametrize(
    ("way", "values"), [(single, RULES), (single, GRID), (several, RULES), (several, GRID), (together, RULES)]
)
def test_kernels_see_one_type_that_cannot_be_written(monkeypatch, way, values):
    given = way(values, CANDLES, monkeypatch)
    types = [numba.typeof(one) for one in given]
    assert all(not one.mutable for one in types)
    for candles in (AS_RAY_GIVES_THEM, WITH_GAPS):
        assert [numba.typeof(one) for one in way(values, candles, monkeypatch)] == types


def test_bars_of_the_candles_own_length_are_their_own_roll_up():
    candles = CANDLES.rows(np.flatnonzero(np.arange(len(CANDLES)) % 97 > 2))
    prepared = PreparedCandles.of(candles, instrument())
    rolled = prepared.rollup(HOUR)
    bars, ends = roll_up(new_records(ROLLUP, 1), next(prepared.base_bars()), HOUR, HOUR)
    assert rolled.bars.tobytes() == bars.tobytes() and np.array_equal(rolled.ends, ends) and rolled.incomplete == 0
    assert rolled.at(np.array([3, 5])).tobytes() == bars[[3, 5]].tobytes()
    assert numba.typeof(rolled.bars) == numba.typeof(prepared.rollup(4 * HOUR).bars)
    columns = prepared.by_column(HOUR)
    part = columns.part(100, 10_000).part(7, 20)
    for name in COLUMNS:
        assert columns[name].tobytes() == bars[name].tobytes() and not columns[name].flags.writeable
        assert part[name].tobytes() == bars[107:120][name].tobytes() == part.records[name].tobytes()
    assert len(columns) == len(bars) and len(part) == 13 and len(columns.part(100, 10_000)) == len(bars) - 100


def test_nothing_is_copied_for_it():
    """An actor plays the candles of the object store, and those of a caller stay as they are."""
    for candles in (CANDLES, AS_RAY_GIVES_THEM):
        prepared = PreparedCandles.of(candles, instrument())
        assert np.shares_memory(prepared.candles.ts, candles.ts)
        assert np.shares_memory(prepared.candles.volume, candles.volume)
    assert CANDLES.ts.flags.writeable and CANDLES.volume.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        prepared.rollup(4 * HOUR).bars["close"][0] = 1.0
