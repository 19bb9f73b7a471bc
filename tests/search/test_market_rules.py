"""Rules at the market, many in one call: every figure is that of the ordinary loop, or the variant is left to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from backtesting.run import prepare
from backtesting.simulator import UniversalSimulator
from bot.kernel import interpreted
from bot.record import new_records
from bot.strategy import inputs_of
from coordinator.config import load_config
from search import market_rules
from search import signals as signals_module
from search.market_rules import MarketRules, at_least, farthest, next_set
from search.reading import read_space
from search.score import SCORE, scored
from search.signals import Signals
from search.window import SingleWindow, joined, market_of
from tests.conftest import play_interpreted
from tests.search.test_score import hours

POOL = [
    {"indicator": "RSI", "timeperiod": 3, "long_below": 35, "short_above": 65},
    {"indicator": "RSI", "timeperiod": 5, "long_below": 45, "short_above": 55},
    {"indicator": "CCI", "timeperiod": 5, "long_below": 0, "short_above": 0},
    {"indicator": "ADX", "timeperiod": 4, "long_above": 15, "short_above": 15},
    {"indicator": "OBV", "rule": "slope", "bars": 3},
]


@pytest.fixture
def plain(monkeypatch):
    """Both ways as plain Python: each would be code of its own."""
    play_interpreted(monkeypatch)
    player = interpreted(market_rules.play_all)

    def play(*arguments):
        with np.errstate(all="ignore"):
            return player(*arguments)

    monkeypatch.setattr(market_rules, "_player", lambda: play)


def both(candles, rules, paid=True, **more):
    """Outcome of one call, and of the ordinary loop; `paid`: whether there is funding."""
    section = {"when": POOL[:1], "timeframe": "1h", "warmup_bars": 0, **rules}
    config = load_config({"strategy": "rules", "pair": "BTCUSDT", "exchange": "synth", "rules": section, **more})
    made = prepare(config, candles)
    if not paid:
        made = replace(made, candles=replace(made.candles, payments=made.candles.payments[:0]))
    simulator = UniversalSimulator(made.config)
    signals = Signals(made.candles, config.parameters.timeframe_ms)
    together = MarketRules.of(made, simulator, signals)
    record = new_records(config.parameters.dtype(), 1)
    record[0] = config.parameters.record()
    assert together.takes(record[0])
    recording = simulator.run(made.candles)
    return together.play(record, [config.parameters])[0], recording, made.first


def agrees(outcome, recording, first):
    """Hold a score against that of the recording; gives the recording's."""
    score, daily = scored(recording, first)
    for name in SCORE.names:
        assert outcome[0][name] == pytest.approx(score[name], rel=1e-9, abs=1e-11, nan_ok=True), name
    assert outcome[1] == pytest.approx(daily, rel=1e-9, abs=1e-15)
    return score


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    when=st.lists(st.sampled_from(POOL), min_size=1, max_size=4, unique_by=str),
    combine=st.sampled_from(["all", "any", {"at_least": 1}]),
    direction=st.sampled_from(["long_only", "short_only", "long_short"]),
    sizing=st.sampled_from(["all_in", "fixed_quote", "compound", "compound_profit_lock"]),
    market=st.sampled_from(["linear", "spot"]),
    leverage=st.sampled_from([1, 3]),
    timeframe=st.sampled_from(["1h", "4h"]),
    warm=st.tuples(st.integers(0, 3), st.integers(0, 40)),
    gap=st.tuples(st.integers(72, 500), st.integers(1, 50)),
    seed=st.integers(1, 10**6),
    volatility=st.sampled_from([0.002, 0.006, 0.02]),
    execution=st.fixed_dictionaries(
        {"slippage_bps": st.sampled_from([0, 5]), "slippage_impact": st.sampled_from([0.0, 0.1])}
    ),
)
def test_every_figure_is_that_of_the_ordinary_loop(
    plain, when, combine, direction, sizing, market, leverage, timeframe, warm, gap, seed, volatility, execution
):
    candles = hours(1500, seed, volatility, slice(gap[0], sum(gap)))
    candles = replace(candles, volume=candles.volume * 50)
    rules = {"when": when, "combine": combine, "direction": direction, "sizing": sizing, "timeframe": timeframe}
    more = {"execution": execution, "market": market, "leverage": leverage if market == "linear" else 1}
    outcome, recording, first = both(
        candles,
        {**rules, "quote": 3000, "warmup_bars": warm[1]},
        **{"from": int(candles.ts[warm[0] * 24]), **more},
    )
    if outcome is not None:
        agrees(outcome, recording, first)
    event("left" if outcome is None else "played" if len(recording.fills) else "nothing traded")


def test_they_trade_pay_funding_and_are_stopped_here(plain):
    """What the property compares is not nothing, and hardly anything is left."""
    played, stopped = 0, 0
    for seed in range(8):
        candles = hours(1500, seed, 0.02)
        candles = replace(candles, volume=candles.volume * 500)
        outcome, recording, first = both(candles, {"direction": "long_short"})
        if outcome is None:
            continue
        score = agrees(outcome, recording, first)
        assert score.trades > 20 and score.funding != 0.0
        played += 1
        stopped += bool((recording.fills["slot"] == 4).any())
    assert played >= 7 and stopped >= 4


@pytest.mark.parametrize("sizing", ["all_in", "fixed_quote", "compound", "compound_profit_lock"])
def test_every_sizing(plain, sizing):
    candles = hours(1500, 4, 0.01)
    candles = replace(candles, volume=candles.volume * 500)
    rules = {"direction": "long_short", "sizing": sizing, "quote": 3000, "safe_profit_percent": 80}
    outcome, recording, first = both(candles, rules)
    assert agrees(outcome, recording, first).win_rate_pct > 20
    locked = float(recording.state.safe)
    assert (locked > 100.0) is (sizing == "compound_profit_lock")


@pytest.mark.parametrize("direction", ["long_only", "short_only"])
def test_a_liquidation_without_any_payment_is_seen(plain, direction):
    found = []
    for seed in range(12):
        candles = hours(900, seed, 0.02)
        candles = replace(candles, volume=candles.volume * 5000)
        outcome, recording, _ = both(candles, {"direction": direction}, paid=False, leverage=20)
        found.append((outcome is None, recording.outcome != 0))
    assert all(left for left, ended in found if ended) and sum(ended for _, ended in found) >= 6


def test_what_fills_in_parts_or_is_liquidated_is_left_to_the_ordinary_loop(plain):
    candles = hours(1500, 3, 0.02)
    thin = replace(candles, volume=candles.volume / 1000)
    outcome, recording, _ = both(thin, {})
    assert outcome is None and len(recording.fills) > 20
    deep = replace(candles, volume=candles.volume * 5000)
    assert both(deep, {}, leverage=1)[0] is not None
    outcome, recording, _ = both(deep, {"direction": "long_short"}, leverage=20)
    assert outcome is None and recording.outcome != 0
    still = replace(deep, volume=np.where(np.arange(len(deep)) % 7 == 0, 0.0, deep.volume))
    assert both(still, {"direction": "long_short"})[0] is None


@given(
    st.integers(1, 20).flatmap(lambda count: st.tuples(st.just(count), st.integers(1, count))), st.integers(0, 2**32)
)
def test_bits_are_counted(counts, seed):
    count, least = counts
    bits = np.random.default_rng(seed).integers(-(2**63), 2**63, (count, 1, 2))
    held = np.unpackbits(bits.view(np.uint8).reshape(count, 16), axis=1, bitorder="little").sum(axis=0) >= least
    found = np.array([at_least(bits, np.arange(count), count, least, 0, k) for k in range(2)])
    assert np.array_equal(np.unpackbits(found.view(np.uint8), bitorder="little"), held)


@given(st.lists(st.integers(0, 199), max_size=5), st.integers(0, 210))
def test_the_next_bit_is_found(places, begin):
    rows = np.zeros(256, np.bool_)
    rows[places] = True
    words = np.packbits(rows, bitorder="little").view(np.int64)
    assert next_set(words, begin, 200) == min((one for one in places if one >= begin), default=200)


@given(st.integers(0, 299), st.integers(0, 299), st.sampled_from([1, -1]), st.integers(0, 1000))
def test_the_worst_price_is_found_in_blocks(first, second, direction, seed):
    prices = np.random.default_rng(seed).normal(100, 5, 300)
    begin, end = sorted((first, second))
    worst = np.min if direction > 0 else np.max
    extremes = (np.minimum if direction > 0 else np.maximum).reduceat(prices, np.arange(0, 300, market_rules.BLOCK))
    assert farthest(prices, extremes, begin, end, direction) == worst(prices[begin : end + 1])


def window_over(candles, **rules):
    when = [{"indicator": "RSI", "timeperiod": [3, 5, 8], "long_below": [30, 40], "short_above": 60}]
    section = {"when": when, "timeframe": "1h", "direction": "long_short", **rules}
    space = read_space({"strategy": "rules", "pair": "BTCUSDT", "exchange": "synth", "rules": section})
    market = market_of(space.first, candles)
    return SingleWindow(space, market, int(candles.ts[0]), int(candles.ts[-1])), np.arange(space.size)


def test_each_variant_reads_its_own_conditions_where_few_are_remembered(monkeypatch):
    """Many conditions over many bars: those of a call's first variants are forgotten before its last ones come."""
    monkeypatch.setattr(signals_module, "MEMORY", 0)
    rng, given = np.random.default_rng(0), {}
    variants = []
    for _ in range(64):
        long, lengths = rng.integers(20, 40, 3).tolist(), rng.integers(2, 30, 3).tolist()
        names = zip(("RSI", "CCI", "ADX"), lengths, ("long_below", "long_below", "long_above"), long, strict=True)
        when = [{"indicator": name, "timeperiod": length, side: level} for name, length, side, level in names]
        section = {"when": when, "timeframe": "1h", "warmup_bars": 0}
        variants.append(load_config({"strategy": "rules", "pair": "BTCUSDT", "exchange": "synth", "rules": section}))
    made = prepare(variants[0], hours(1500, 3, 0.006))
    signals = Signals(made.candles, variants[0].parameters.timeframe_ms)
    together = MarketRules.of(made, UniversalSimulator(made.config), signals)
    monkeypatch.setattr(market_rules, "_player", lambda: lambda *asked: given.update(sides=asked[4], which=asked[5]))
    records = new_records(variants[0].parameters.dtype(), len(variants))
    together.play(records, [one.parameters for one in variants])
    for row, one in enumerate(variants):
        for column, own in enumerate(signals.sides(one.parameters.combined())):
            assert np.array_equal(given["sides"][given["which"][row, column]], own[:2]), (row, column)


def test_a_window_plays_together_what_it_can_and_the_rest_by_the_loop(plain, monkeypatch):
    candles = hours(1500, 2, 0.006)
    candles = replace(candles, volume=candles.volume * 500)
    window, numbers = window_over(candles, stop=[None, 0.05], warmup_bars=2)
    alone = []
    score = SingleWindow.score
    monkeypatch.setattr(SingleWindow, "score", lambda *given: alone.append(1) or score(*given))
    rows = window.job(numbers)()
    assert len(rows) == 12 and len(alone) == 6
    single = joined([window.job(numbers[k : k + 1])() for k in range(len(numbers))])
    assert single.scores.tobytes() == rows.scores.tobytes() and np.array_equal(single.daily, rows.daily)
    monkeypatch.setattr(MarketRules, "of", lambda *_: None)
    window._ready.clear()
    ordinary = window.job(numbers)()
    assert np.array_equal(rows.numbers, ordinary.numbers)
    for name in SCORE.names:
        assert rows.scores[name] == pytest.approx(ordinary.scores[name], rel=1e-9, abs=1e-11, nan_ok=True)


def test_what_cannot_work_is_refused_as_ever(plain):
    candles = hours(1500, 3)
    window, numbers = window_over(candles, sizing="fixed_quote", quote=[1, 3000])
    rows = window.job(numbers)()
    assert len(rows) == 6 and rows.unplayable == 6 and "smallest order" in rows.refusal
    assert inputs_of(window.space.strategy, window.space.parameters(0))
