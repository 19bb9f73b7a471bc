"""Inputs on their way to a strategy's kernel: its own, of its variant, with SIGNAL and nothing else; in both loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backtesting.portfolio_run import simulate_portfolio
from backtesting.portfolio_simulator import PortfolioSimulator, PreparedPortfolio
from backtesting.run import simulate
from backtesting.simulator import PreparedCandles, UniversalSimulator
from bot.inputs import SHORT_BLOCK, talib
from bot.kernel import kernel
from bot.order import SLOT
from bot.parameters import Parameters
from bot.record import new_records
from bot.rollup import MINUTE
from bot.sources import ROOT
from bot.strategy import EVENT, PAIR, Event, Strategy
from coordinator.config import load_config, load_portfolio
from coordinator.pair_state import state_dtype
from coordinator.parameters import dtype
from coordinator.roster import BUILT_IN, VARIANTS, Roster, event_dtype
from coordinator.vocabulary import Variant
from tests.conftest import START, instrument, walk

PULLBACK = str(ROOT / "tests/examples/pullback.py") + ":PULLBACK"
QUARTER = 15 * MINUTE


@kernel
def note_rsi(pair, params, state, slots, event):
    state.heard += 1
    state.rsi = event.inputs.rsi
    state.close = event.bar.close
    state.slot = event.execution.slot


SEEN = np.dtype([("heard", "i8"), ("rsi", "f8"), ("close", "f8"), ("slot", "i8")])
ONE = Strategy("one", 1, Parameters, SEEN, lambda _: 1, note_rsi, inputs={"rsi": talib("RSI")})
OTHER = replace(ONE, name="other", inputs={"first": talib("EMA"), "rsi": talib("RSI", timeperiod=7)})


def quarters(days=45, seed=3):
    """Candles of fifteen minutes whose first block begins on their first day."""
    found = walk(days * 96, seed=seed, volatility=0.003)
    first = START // SHORT_BLOCK * SHORT_BLOCK
    return replace(found, ts=first + np.arange(len(found)) * QUARTER, bar_ms=QUARTER)


def values(**section):
    own = {"timeframe": "15m", "average": 5, "low": 48, "high": 52, **section}
    return {"strategy": PULLBACK, "pair": "BTCUSDT", "pullback": own}


def test_built_in_strategies_are_told_what_they_always_were():
    assert event_dtype(BUILT_IN) is EVENT and Roster().new_events().dtype == EVENT


def test_each_strategy_hears_its_own_inputs_of_its_variant_and_with_signal_alone():
    roster = Roster((ONE, OTHER))
    pair, events = new_records(PAIR, 1)[0], roster.new_events()
    params, state = new_records(dtype(roster.strategies), 1)[0], new_records(state_dtype(roster.strategies), 1)[0]
    row = events["inputs"][0].copy()
    row["one"]["rsi"], row["other"]["rsi"] = np.arange(VARIANTS), 50.0 + np.arange(VARIANTS)
    row["other"]["first"] = -1.0
    events[0].inputs = row
    event, slots, dispatch = events[0], new_records(SLOT, 1), roster.dispatch()
    event.bar.close, event.execution.slot = 7.0, 3
    for family, name, base in ((0, "one", 0.0), (1, "other", 50.0)):
        for variant in (Variant.CONFIGURED, Variant.SHORT):
            event.kind = int(Event.SIGNAL)
            dispatch(pair, params, state, slots, event, family, int(variant))
            seen = getattr(state, name)
            assert (seen.rsi, seen.close, seen.slot) == (base + variant, 7.0, 3)
            event.kind = int(Event.BASE)
            dispatch(pair, params, state, slots, event, family, int(variant))
            assert np.isnan(getattr(state, name).rsi)
    assert state.one.heard == state.other.heard == 4


@pytest.mark.slow
def test_the_loop_of_one_pair_and_the_engine_fill_the_same_by_inputs():
    candles = quarters()
    single = UniversalSimulator(load_config(values())).run(PreparedCandles.of(candles, instrument()))
    prepared_pairs = PreparedPortfolio.of({"BTCUSDT": candles}, {"BTCUSDT": instrument()})
    whole = PortfolioSimulator(load_portfolio(values())).run(prepared_pairs)
    names = ["ts", "slot", "generation", "side", "price", "quantity"]
    ours, theirs = single.fills[names].tolist(), whole.recordings[0].fills[names].tolist()
    assert ours == theirs and len(ours) >= 10
    second = START // SHORT_BLOCK * SHORT_BLOCK + SHORT_BLOCK
    assert min(ours)[0] >= second, "the first block has not all of its history"


@pytest.mark.slow  # compiles an engine of its own
def test_a_run_says_that_its_inputs_lack_history():
    candles = quarters(days=20)
    for result in (simulate(values(), candles), simulate_portfolio(values(), {"BTCUSDT": candles})):
        assert any("Inputs are computed over candles from" in one for one in result.notices)
        assert not len(getattr(result, "fills", ()))


def test_candles_too_long_for_an_input_are_one_sentence():
    import pytest

    from bot.errors import Misconfigured
    from coordinator.columns import Columns

    with pytest.raises(Misconfigured, match="an input's timeframe is 1h but the candles are 4h"):
        Columns([(ONE, [Parameters()])], 4 * 60 * MINUTE)
