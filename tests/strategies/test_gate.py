"""Conditions as a gate: grids are laid, deals start and trends are entered only where `when` says so."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from backtesting import simulator
from backtesting.run import simulate
from backtesting.simulator import PreparedCandles, UniversalSimulator
from bot.conditions import CONFLICT
from bot.errors import Misconfigured
from bot.inputs import SHORT_BLOCK
from bot.order import Signal
from bot.times import DAY, HOUR
from coordinator.config import load_config, load_portfolio
from tests.conftest import instrument, play_interpreted, walk

WALK = walk(4 * 1440, seed=11, volatility=0.002)
# Two days before a calendar block of inputs, so that they have values from its start.
CANDLES = replace(WALK, ts=WALK.ts - WALK.ts[0] + 658 * SHORT_BLOCK - DAY)
BEGIN = int(CANDLES.ts[0]) + DAY + 6 * HOUR  # 120 bars of a quarter of an hour
QUARTER = 15 * 60_000
RSI = {"indicator": "RSI", "timeperiod": 5, "long_below": 40, "short_above": 60}
QUIET = {"indicator": "ADX", "timeperiod": 5, "long_below": 30, "either": True}
TREND = {**RSI, "long_below": None, "short_above": None, "long_above": 50, "short_below": 50}
OF = {"dca": RSI, "trend": TREND}
ALWAYS = {"indicator": "RSI", "timeperiod": 5, "long_above": 0.001, "either": True}
OFTEN = {
    "grid": {"range_factor": 2.0, "cooldown_hours": 0, "max_drawdown": 0.01, "trailing": "off"},
    "dca": {"start": "immediately", "deal_cooldown_seconds": 0, "take_profit": 0.006},
    "trend": {"preset": "classic", "trend_confirmation_bars": 1, "max_atr": 1.0, "breakout_volume": 0},
}


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch):
    """Play without the compiler: it is the decisions that count here."""
    play_interpreted(monkeypatch)


def config(name, **section):
    section = {"timeframe": "15m", "warmup_bars": 120, **OFTEN[name], **section}
    return load_config({"strategy": name, "pair": "BTCUSDT", "exchange": "synth", "from": BEGIN, name: section})


def played(name, **section):
    return simulate(config(name, **section), CANDLES).recording


def prepared():
    return PreparedCandles.of(CANDLES, instrument())


def said(name, **section):
    """What the conditions say at each signal bar, by the time at which it closes."""
    chosen = config(name, **section)
    bars, _, _ = UniversalSimulator(chosen)._signal_bars(prepared())
    values = bars["inputs"][name]["gate"][:, 0]
    return dict(zip((bars["bar"]["ts"] + QUARTER).tolist(), values.tolist(), strict=True))


def openings(recording):
    """Fills that open a position, with the position that each opens."""
    fills = recording.fills
    before = np.concatenate(([0], fills["position"][:-1]))
    return fills[(before == 0) & (fills["signal"] == Signal.ENTRY)]


@pytest.mark.parametrize("name", ["dca", "trend"])
def test_what_opens_at_the_market_opens_after_a_bar_that_let_it(name):
    free, gated = openings(played(name)), openings(played(name, when=[OF[name]]))
    assert len(free) > len(gated) > 2
    values = said(name, when=[OF[name]])
    assert {values[one["ts"]] == np.sign(one["position"]) for one in gated} == {True}
    assert {values[one["ts"]] == np.sign(one["position"]) for one in free if one["ts"] in values} == {True, False}


def test_a_grid_is_laid_only_where_the_gate_is_open_and_then_trades_on():
    simulator = UniversalSimulator(config("grid", when=[QUIET]), keep_desired_orders=True)
    recording = simulator.run(prepared())
    values = said("grid", when=[QUIET])
    bars, entries = CANDLES.ts, recording.desired_orders
    laid = entries[(entries["slot"] == 0) & (entries["price"] > 0)]["bar"]
    first_fills = openings(recording)["ts"].tolist()
    assert values[int(bars[laid[0]]) + 60_000] == CONFLICT
    assert len(recording.fills) > 20
    assert {values[ts // QUARTER * QUARTER] for ts in first_fills} >= {0.0}  # the gate may close behind it


@pytest.mark.parametrize("name", list(OFTEN))
def test_a_gate_that_is_always_open_changes_no_fill_and_one_that_is_shut_lets_nothing_in(name):
    always, free = played(name, when=[ALWAYS]).fills, played(name).fills
    assert always.tolist() == free.tolist() != []
    never = [ALWAYS, {**RSI, "long_below": 0.001, "short_above": 99.999}]
    assert len(played(name, when=never).fills) == 0


def test_a_deal_may_start_by_the_conditions_alone():
    free = played("dca", start="signal", when=[RSI]).fills
    assert free.tolist() == played("dca", when=[RSI]).fills.tolist()
    with pytest.raises(Misconfigured, match="start is signal but when has no condition"):
        config("dca", start="signal")


def test_other_parameters_are_played_on_inputs_that_are_computed_once(monkeypatch):
    asked = []
    compute = simulator.inputs_over
    monkeypatch.setattr(simulator, "inputs_over", lambda *what: asked.append(what) or compute(*what))
    chosen, tape = config("dca", when=[RSI]), prepared()
    first = UniversalSimulator(chosen)
    for take_profit in (0.006, 0.01):
        other = chosen.parameters.changed(take_profit=take_profit)
        fills = first.with_parameters(other, other.record()).run(tape).fills
        assert fills.tolist() == UniversalSimulator(chosen.changed(parameters=other)).run(prepared()).fills.tolist()
    assert len([tapes for tapes, *_ in asked if tapes is tape]) == 1


def test_either_way_is_let_into_a_neutral_grid_and_the_other_way_is_not_into_a_long_one():
    short = {"indicator": "RSI", "timeperiod": 5, "short_above": 0.001}
    assert len(played("grid", when=[short]).fills)
    assert len(played("grid", when=[short], direction="short").fills)
    assert not len(played("grid", when=[short], direction="long").fills)


def test_a_wrong_condition_is_told_with_its_place():
    with pytest.raises(Misconfigured, match=r"grid\.when\[0\]: .*RSY.*RSI"):
        config("grid", when=[{"indicator": "RSY"}])


def test_a_gated_strategy_travels_and_is_plain_again_without_conditions():
    gated = config("grid", when=[QUIET])
    assert pickle.loads(pickle.dumps(gated)).loaded is gated.loaded
    plain = gated.changed(parameters=gated.parameters.changed(when=[]))
    assert plain.loaded is config("grid").loaded is not gated.loaded


def test_in_auto_the_gate_holds_for_its_own_strategy():
    values = {"strategy": "auto", "pairs": ["BTCUSDT"], "exchange": "synth", "dca": {"when": [RSI]}}
    algorithm = load_portfolio(values).algorithm
    assert [one.ungated is not None for one in algorithm.roster.strategies] == [False, True, False]
    assert load_portfolio({**values, "dca": {}}).algorithm.roster.names == algorithm.roster.names


def test_simulate_takes_it_like_any_option():
    result = simulate(config("dca", when=[RSI]), CANDLES)
    assert len(result.trades) > 3
