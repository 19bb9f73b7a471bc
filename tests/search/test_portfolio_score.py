"""Scores of runs on several pairs against the figures of the whole result, and in a case made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.exchange import Outcome
from backtesting.loop import CHANGE
from backtesting.metrics import daily_returns
from backtesting.portfolio_run import play_portfolio, prepare_portfolio
from bot.record import new_records
from bot.times import DAY
from coordinator.config import load_portfolio
from search.portfolio_score import (
    add_worth,
    extremes,
    first_from,
    follow_account,
    follow_equity,
    score_portfolio,
)
from search.score import NAMES, OWN, SCORE
from search.window import held_equally_over
from tests.conftest import walk


def expected(result, held):
    """Every figure by the whole result, or by plain NumPy."""
    metrics, daily = result.metrics, daily_returns(result.equity, result.ts, result.config.deposits)
    found = {name: getattr(metrics, name) for name in set(NAMES) - set(OWN)}
    found["coverage_pct"] = metrics.position_coverage_pct
    found["transition_cost"] = result.figures.transition_cost
    found["liquidated"] = float(result.recording.outcome is not Outcome.COMPLETE)
    found["worst_day_pct"] = daily.min() * 100.0
    deepest = metrics.max_drawdown_pct
    found["return_over_max_drawdown"] = metrics.total_return_pct / deepest if deepest > 0.0 else None
    if len(daily) >= 30:
        market = held[: len(daily)]
        beta, alpha = np.polyfit(market, daily, 1)
        left = daily - alpha - beta * market
        found |= {"beta": beta, "alpha_pct": alpha * 36_500}
        if np.any(daily != 0.0):
            found["information_ratio"] = alpha / math.sqrt(left @ left / (len(daily) - 2)) * math.sqrt(365)
    return found, daily


def compare(config, candles):
    """Hold the score of a run against what is expected; gives the score."""
    made = prepare_portfolio(load_portfolio(config), candles)
    result = play_portfolio(made)
    held = held_equally_over(made.pairs.tapes, made.pairs.clock[made.pairs.clock >= (made.config.start or 0)])
    score, daily = score_portfolio(result, held)
    wanted, days = expected(result, held)
    for name in SCORE.names:
        value = wanted.get(name)
        assert score[name] == pytest.approx(math.nan if value is None else value, rel=1e-9, abs=1e-9, nan_ok=True), name
    assert daily == pytest.approx(days, rel=1e-9, abs=1e-14)
    return score


@settings(max_examples=15)
@given(
    days=st.integers(15, 45),
    later=st.integers(0, 4),
    earlier=st.integers(0, 3),
    gap=st.tuples(st.integers(2000, 15_000), st.integers(1, 3000)),
    seed=st.integers(1, 10**6),
    volatility=st.sampled_from([0.0005, 0.001, 0.003]),
    leverage=st.sampled_from([1, 3]),
    warm=st.integers(0, 10),
    auto=st.fixed_dictionaries({"enter_range": st.integers(15, 22), "exit_range": st.integers(23, 25)}),
)
def test_every_figure_is_that_of_the_whole_result(days, later, earlier, gap, seed, volatility, leverage, warm, auto):
    first, second = (walk(days * 1440, seed=seed + one, volatility=volatility) for one in range(2))
    second = second.rows(np.delete(np.arange(later * 1440, (days - earlier) * 1440), slice(gap[0], sum(gap))))
    start = int(first.ts[0]) + max(warm, later) * DAY
    config = {
        "strategy": "auto",
        "pairs": ["BTCUSDT", "ETHUSDT"],
        "exchange": "synth",
        "capital": 100_000,
        "leverage": leverage,
        "from": start,
        "auto": {"preset": "classic", **auto},
    }
    compare(config, {"BTCUSDT": first, "ETHUSDT": second})


def test_all_of_the_algorithm_trades_here():
    """What the property compares is not nothing."""
    candles = {"BTCUSDT": walk(50 * 1440, seed=3), "ETHUSDT": walk(50 * 1440, seed=5, volatility=0.002)}
    config = {"strategy": "auto", "pairs": list(candles), "exchange": "synth", "capital": 100_000}
    config["auto"] = {"preset": "classic"}
    score = compare(config, candles)
    assert score.trades > 20 and score.transition_cost > 0.0 and score.coverage_pct > 5.0
    assert not np.isnan(score.tolist()).any()


def test_what_a_pair_holds_stands_at_every_time_of_the_clock():
    """Bars at 10, 20, 40; 2 held from the second bar on, -1 from the third: the clock goes on when its bars end."""
    changes = new_records(CHANGE, 2)
    changes["bar"], changes["position"] = [1, 2], [2, -1]
    exposure = np.zeros(6)
    clock, ts = np.array([10, 20, 30, 40, 50, 60]), np.array([10, 20, 40])
    add_worth(clock, exposure, ts, np.array([5.0, 6.0, 7.0]), 10, changes, 3, 1.0)
    assert exposure.tolist() == [0.0, 12.0, 12.0, 7.0, 7.0, 7.0]


@given(st.integers(2, 60), st.integers(0, 5), st.integers(0, 5), st.integers(1, 5), st.integers(0, 1000))
def test_what_is_held_is_added_whatever_bars_are_missing(count, missing, absent, held, seed):
    """From the clock and from the pair, whose times are among those of the clock."""
    rng = np.random.default_rng(seed)
    clock = np.delete(np.arange(count), rng.choice(count, min(missing, count - 1), replace=False))
    ts = np.delete(clock, rng.choice(len(clock), min(absent, len(clock) - 1), replace=False))
    changes = new_records(CHANGE, min(held, len(ts)))
    changes["bar"] = np.sort(rng.choice(len(ts), len(changes), replace=False))
    changes["position"] = rng.integers(-2, 3, len(changes))
    close, exposure = rng.uniform(1.0, 9.0, len(ts)), np.zeros(len(clock))
    add_worth(clock, exposure, ts, close, 1, changes, len(ts), 0.5)
    for time, found in zip(clock.tolist(), exposure.tolist()):
        bar = np.searchsorted(ts, time, side="right") - 1
        change = np.searchsorted(changes["bar"], bar, side="right") - 1
        position = changes["position"][change] if bar >= 0 and change >= 0 else 0
        assert found == abs(position * close[bar] * 0.5)


@given(st.integers(1, 40), st.integers(0, 60), st.integers(0, 1000))
def test_a_time_is_found_from_where_one_looks(count, ts, seed):
    clock = np.sort(np.random.default_rng(seed).choice(60, count, replace=False))
    for k in range(np.searchsorted(clock, ts) + 1):
        assert first_from(clock, k, ts) == np.searchsorted(clock, ts)


@given(st.integers(1, 40), st.integers(0, 1000))
def test_equity_is_followed_in_parts_as_in_one(count, seed):
    """The high so far and its low since then, the deepest drawdown before it, and highest and lowest of all."""
    equity = 100.0 + np.cumsum(np.random.default_rng(seed).normal(0, 5, count))
    reached = (100.0, 100.0, 0.0)
    for part in np.array_split(equity, 3):
        if len(part):
            reached = follow_equity(part, *reached)
            assert extremes(part) == (part.max(), part.min())
    high, low, depth = reached
    highs = np.maximum.accumulate(np.concatenate(([100.0], equity)))
    assert high == highs[-1]
    assert max(depth, 1.0 - low / high) == np.max(1.0 - np.concatenate(([100.0], equity)) / highs)


def test_an_account_of_four_bars_by_hand():
    score, closes = new_records(SCORE, 1)[0], np.zeros(4)
    clock = np.array([0, DAY - 1, DAY, 3 * DAY])
    exposure = np.array([55.0, 0.0, 30.0, 10.0])
    days = follow_account(clock, np.array([110.0, 88.0, 120.0, -5.0]), exposure, 1, 100.0, score, closes)
    assert not exposure.any()
    assert days == 3 and closes.tolist() == [100.0, 88.0, 120.0, -5.0]
    assert score.max_drawdown_pct == 100.0 and score.coverage_pct == 75.0
    assert score.mean_exposure_pct == pytest.approx(75.0 / 4) and score.max_exposure_pct == 50.0
