"""Scores against the figures of the whole result, against plain NumPy, and in cases made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backtesting.exchange import Outcome
from backtesting.loop import CHANGE
from backtesting.metrics import daily_returns, measure
from backtesting.run import simulate
from backtesting.simulator import PreparedCandles, Recording
from backtesting.trades import trades_of
from bot.candles import Candles
from bot.inputs import SHORT_BLOCK
from bot.order import FILL, Signal
from bot.record import new_records
from bot.strategy import PAIR
from bot.times import DAY, HOUR
from search.score import DESCRIPTIONS, SCORE, score_of
from tests.conftest import START, instrument, play_interpreted, walk

SINCE = 658 * SHORT_BLOCK - DAY  # a day before inputs have values
OTHER_NAMES = {"coverage_pct": "position_coverage_pct"}
OFTEN = {
    "grid": {"range_factor": 2.0, "cooldown_hours": 0, "trailing": "off"},
    "dca": {"start": "immediately", "deal_cooldown_seconds": 0, "take_profit": 0.006},
    "trend": {"trend_confirmation_bars": 1, "max_atr": 1.0, "breakout_volume": 0},
    "rules": {"timeframe": "1h", "when": [{"indicator": "RSI", "timeperiod": 3, "long_below": 35, "short_above": 65}]},
}


def hours(bars, seed, volatility=0.004, gap=slice(0, 0), since=SINCE):
    """A random walk in bars of an hour, some of them missing."""
    candles = walk(bars, seed=seed, volatility=volatility)
    candles = replace(candles, ts=since + HOUR * np.arange(bars), bar_ms=HOUR)
    kept = np.delete(np.arange(bars), gap)
    return candles.rows(kept)


def expected(recording, first):
    """Every figure, from `measure` where it has it, else by plain NumPy."""
    equity, prepared = recording.equity(), recording.prepared
    figures = measure(recording, trades_of(recording), equity, first).model_dump()
    found = {name: figures.get(OTHER_NAMES.get(name, name)) for name in SCORE.names}
    ts, capital = prepared.candles.ts[first : recording.bars], float(recording.pair.ledger.deposits)
    own = daily_returns(equity[first:], ts, capital)
    market = daily_returns(prepared.close[first : recording.bars], ts, float(prepared.open[first]))
    found["worst_day_pct"] = own.min() * 100
    found["transition_cost"] = 0.0
    found["liquidated"] = float(recording.outcome != Outcome.COMPLETE)
    deepest = found["max_drawdown_pct"]
    found["return_over_max_drawdown"] = found["total_return_pct"] / deepest if deepest > 0 else None
    if len(own) >= 30:
        beta, alpha = np.polyfit(market, own, 1)
        left = own - alpha - beta * market
        found |= {"beta": beta, "alpha_pct": alpha * 36_500}
        if np.any(own != 0.0):
            found["information_ratio"] = alpha * 365 / (math.sqrt(left @ left / (len(own) - 2)) * math.sqrt(365))
    return found


def compare(recording, first=0):
    """Hold a score against what is expected; gives the score."""
    score = score_of(recording, first)
    for name, value in expected(recording, first).items():
        wanted = math.nan if value is None else value
        assert score[name] == pytest.approx(wanted, rel=1e-9, abs=1e-11, nan_ok=True), name
    return score


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(list(OFTEN)),
    days=st.integers(4, 45),
    warm=st.integers(0, 2),
    hour=st.integers(0, 23),
    gap=st.tuples(st.integers(72, 900), st.integers(1, 100)),
    seed=st.integers(1, 10**6),
    volatility=st.sampled_from([0.002, 0.006, 0.02]),
    leverage=st.sampled_from([1, 3, 20]),
)
def test_every_figure_is_that_of_the_whole_result(monkeypatch, name, days, warm, hour, gap, seed, volatility, leverage):
    play_interpreted(monkeypatch)
    candles = hours(days * 24, seed, volatility, slice(gap[0], sum(gap)), SINCE - hour * HOUR)
    config = {"strategy": name, "pair": "BTCUSDT", "exchange": "synth", "leverage": leverage}
    section = {"timeframe": "4h", "warmup_bars": 20, **OFTEN[name]}
    result = simulate({**config, "from": int(candles.ts[warm * 24]), name: section}, candles)
    compare(result.recording, result.first)


@pytest.mark.parametrize("name", list(OFTEN))
def test_every_strategy_trades_here(monkeypatch, name):
    """What the property compares is not nothing."""
    play_interpreted(monkeypatch)
    section = {"timeframe": "4h", "warmup_bars": 20, **OFTEN[name]}
    result = simulate({"strategy": name, "pair": "BTCUSDT", "exchange": "synth", name: section}, hours(1500, 5))
    score = compare(result.recording, result.first)
    assert score.trades > 3 and score.coverage_pct > 1 and not np.isnan(score.tolist()).any()


def recording(closes, changes=(), fills=(), outcome=Outcome.COMPLETE, bar_ms=DAY, capital=1000.0, **steps):
    """A run over bars with these closes, each opening at the close before, whose ledger holds nothing but its capital.

    `changes` are (bar, cash, position), `fills` (bar, side, quantity, price).
    """
    closes = np.array(closes, float)
    opens = np.concatenate((closes[:1], closes[:-1]))
    prices = (opens, np.maximum(opens, closes), np.minimum(opens, closes), closes)
    candles = Candles(START + bar_ms * np.arange(len(closes)), *prices, np.ones(len(closes)), bar_ms)
    prepared = PreparedCandles.of(candles, instrument(**{"tick": "1", "lot": "1", **steps}))
    pair = new_records(PAIR, 1)[0]
    pair.ledger.deposits = capital
    noted, filled = new_records(CHANGE, len(changes)), new_records(FILL, len(fills))
    for record, (bar, cash, position) in zip(noted, changes, strict=True):
        record.bar, record.cash, record.position = bar, cash, position
    for record, (bar, side, quantity, price) in zip(filled, fills, strict=True):
        record.bar, record.side, record.quantity, record.price, record.part = bar, side, quantity, price, -1
        record.signal = Signal.ENTRY
    rest = (new_records(FILL, 0), pair, None, None, 0, 0, 0.0, 0.0)
    return Recording(prepared, outcome, len(closes), filled, noted, *rest)


def swinging(days=40, seed=2):
    """Closes of a market that goes up and down, whole numbers."""
    return np.rint(1000 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.03, days))))


def test_the_pair_itself_held_has_a_beta_of_one_and_nothing_of_its_own():
    closes = swinging()
    lots = {"tick": "0.1", "lot": "0.001", "capital": closes[0] * 0.007}
    held = recording(closes, [(0, 0.0, 7)], [(0, 1, 7, closes[0] * 10)], **lots)
    score = score_of(held, 0)
    assert (score.beta, score.alpha_pct) == pytest.approx((1.0, 0.0), abs=1e-12)
    assert np.isnan(score.information_ratio)  # what is left is rounding
    assert score.total_return_pct == pytest.approx((closes[-1] / closes[0] - 1) * 100)
    assert (score.coverage_pct, score.mean_exposure_pct, score.max_exposure_pct) == pytest.approx((100.0, 100.0, 100.0))


def test_a_steady_income_beside_a_short_is_alpha_and_not_beta():
    """Every day the run earns 0.2 % of its equity and loses half of what the pair gains."""
    closes, rng = swinging(200), np.random.default_rng(3)
    market = closes / np.concatenate((closes[:1], closes[:-1])) - 1
    own = 0.002 - 0.5 * market + rng.normal(0, 0.001, len(closes))
    equity = 1000 * np.cumprod(1 + own)
    score = compare(recording(closes, [(bar, cash, 0) for bar, cash in enumerate(equity)]))
    assert score.beta == pytest.approx(-0.5, abs=0.01)
    assert score.alpha_pct == pytest.approx(73, abs=8)
    assert score.information_ratio == pytest.approx(2 * math.sqrt(365), rel=0.2)


def test_figures_of_six_bars_by_hand():
    """1000 in cash, 2 bought at 100, 1 sold at 150, the other at 60; at 120, 150, 90 and 60 the equity is as below."""
    changes = [(0, 800.0, 2), (2, 950.0, 1), (4, 1010.0, 0)]
    fills = [(0, 1, 2, 100), (2, -1, 1, 150), (4, -1, 1, 60)]
    score = compare(recording([100, 120, 150, 90, 60, 70], changes, fills, bar_ms=HOUR))
    equity = [1000.0, 1040.0, 1100.0, 1040.0, 1010.0, 1010.0]
    by_hand = {
        "total_return_pct": 1.0,
        "max_drawdown_pct": (1 - 1010 / 1100) * 100,
        "coverage_pct": 400 / 6,
        "mean_exposure_pct": (200 / equity[0] + 240 / equity[1] + 150 / equity[2] + 90 / equity[3]) / 6 * 100,
        "max_exposure_pct": 240 / 1040 * 100,
        "trades": 1.0,
        "win_rate_pct": 100.0,
        "profit_factor": 1000.0,
        "worst_day_pct": 1.0,
        "fills": 3.0,
    }
    assert {name: score[name] for name in by_hand} == pytest.approx(by_hand)
    assert score.return_over_max_drawdown == pytest.approx(score.total_return_pct / score.max_drawdown_pct)
    undefined = ("annualised_return_pct", "sharpe", "sortino", "beta", "alpha_pct", "information_ratio")
    assert all(np.isnan(score[name]) for name in undefined)


@pytest.mark.parametrize(("outcome", "last"), [(Outcome.RUINED, 1), (Outcome.LIQUIDATED, 200)])
def test_a_run_that_lost_everything(outcome, last):
    """Ten held on a credit of 900 times ten: at a price of 1 the equity is negative."""
    closes = [*([1000.0, 950.0] * 20), last]
    changes = [(0, -9000.0, 10)] if outcome is Outcome.RUINED else [(0, -9000.0, 10), (40, 0.0, 0)]
    score = compare(recording(closes, changes, [(0, 1, 10, 1000)], outcome))
    assert score.liquidated == 1.0
    assert (score.max_drawdown_pct, score.annualised_return_pct) == (100.0, -100.0)
    assert score.total_return_pct <= -100.0


def test_equity_below_zero_for_a_while_has_no_returns_and_no_exposure():
    """In an account that others hold up."""
    closes = [1000.0] * 10 + [850.0] * 5 + [1000.0] * 25
    score = compare(recording(closes, [(0, -9000.0, 10)], [(0, 1, 10, 1000)]))
    assert score.max_exposure_pct == 1000.0 and score.mean_exposure_pct == pytest.approx(875.0)
    assert score.worst_day_pct == pytest.approx(-150.0)


def test_a_run_that_did_nothing_has_no_ratios():
    score = compare(recording(swinging()))
    zero = ("total_return_pct", "max_drawdown_pct", "trades", "coverage_pct", "beta", "alpha_pct", "worst_day_pct")
    assert [score[name] for name in zero] == [0.0] * len(zero)
    undefined = ("profit_factor", "return_over_max_drawdown", "sharpe", "sortino", "win_rate_pct", "information_ratio")
    assert all(np.isnan(score[name]) for name in undefined)


def test_ratios_need_thirty_days_and_a_pair_that_moves():
    closes = swinging(30)
    changes = [(bar, 1000.0 + bar % 3, 0) for bar in range(30)]
    assert not np.isnan(compare(recording(closes, changes)).information_ratio)
    assert np.isnan(score_of(recording(closes[:29], changes[:29]), 0).beta)
    still = score_of(recording(np.full(30, 500.0), changes), 0)
    assert np.isnan(still.beta) and np.isnan(still.alpha_pct) and not np.isnan(still.sharpe)


def test_weeks_are_days_too_and_a_gap_of_days_is_one():
    weekly = recording(swinging(60), [(3, 200.0, 1), (20, 1300.0, 0)], bar_ms=7 * DAY)
    compare(weekly)
    candles = weekly.prepared.candles
    odd = replace(candles, ts=START + np.cumsum(np.tile([HOUR, DAY, 5 * DAY], 20)), bar_ms=HOUR)
    compare(replace(weekly, prepared=PreparedCandles.of(odd, weekly.prepared.instrument)))


def test_every_figure_is_described_in_a_line():
    assert set(DESCRIPTIONS) == set(SCORE.names)
    assert all(text and "\n" not in text for text in DESCRIPTIONS.values())
