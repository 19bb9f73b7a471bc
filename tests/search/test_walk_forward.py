"""Walk-forward: windows that follow each other, each traded by what the days before it chose, and joined."""

from __future__ import annotations

import numpy as np
import pytest

from backtesting.run import simulate
from bot.errors import Misconfigured
from bot.times import DAY
from search.reading import read_space
from search.sweep import sweep
from search.walk_forward import _look_back, walk_forward, windows_of
from search.window import market_of
from services.app.research import config_of_windows
from tests.conftest import walk

CANDLES = walk(130 * 1440, seed=6, volatility=0.0007)
SPACE = {
    "strategy": "grid",
    "pair": "BTCUSDT",
    "exchange": "synth",
    "grid": {"levels": [6, 12], "profit_per_grid": ["0.4%", "0.8%"], "warmup_bars": 30},
    "search": {"walk_forward": {"train_days": 40, "test_days": 20}},
}


def told(**walk_forward):
    windows = {**SPACE["search"]["walk_forward"], **walk_forward}
    return {**SPACE, "search": {**SPACE["search"], "walk_forward": windows}}


@pytest.fixture(scope="module")
def found():
    return walk_forward(SPACE, CANDLES, workers=2)


def test_windows_follow_each_other_behind_the_embargo(found):
    assert found.embargo_days == 2  # 30 bars of 1h
    assert len(found.folds) == 4
    for fold in found.folds:
        assert fold.test[0] - fold.train[1] == 2 * DAY
        assert fold.train[1] - fold.train[0] == 40 * DAY and fold.test[1] - fold.test[0] == 20 * DAY
    for before, fold in zip(found.folds, found.folds[1:], strict=False):
        assert fold.test[0] == before.test[1]


@pytest.mark.parametrize(
    ("strategy", "section", "days"),
    [
        ("trend", {"timeframe": ["1h", "1d"], "warmup_bars": [50, 200]}, 200),
        ("rules", {"timeframe": "4h", "when": [{"indicator": "RSI", "timeperiod": [14, 200]}]}, 34),
        ("rules", {"timeframe": ["1h", "4h"], "when": [{"indicator": "RSI", "timeperiod": [14, 200]}]}, 34),
    ],
)
def test_the_embargo_is_the_longest_look_back_of_the_space_indicators_too(strategy, section, days):
    space = read_space({"strategy": strategy, "pair": "BTCUSDT", "exchange": "synth", strategy: section})
    assert _look_back(space) == days


def test_anchored_windows_choose_on_everything_before_them():
    space = read_space(told(anchored=True, embargo_days=0))
    embargo, windows = windows_of(space, market_of(space.first, CANDLES, None, None))
    assert embargo == 0
    assert len({first for first, *_ in windows}) == 1
    assert [until - first for first, until, *_ in windows] == [days * DAY for days in (40, 60, 80, 100)]


def test_every_window_is_traded_by_what_a_sweep_of_the_days_before_it_finds(found):
    fold = found.folds[1]
    results = {}
    for number in range(found.space.size):
        config = found.space.config(number).changed(start=fold.train[0], end=fold.train[1])
        score = sweep_score(config)
        results[number] = score
    assert fold.number == max(results, key=lambda one: results[one][0])
    assert fold.in_sample["information_ratio"] == pytest.approx(results[fold.number][0], rel=1e-9)
    out = simulate(found.space.config(fold.number).changed(start=fold.test[0], end=fold.test[1]), CANDLES)
    assert fold.out_of_sample["total_return_pct"] == pytest.approx(out.metrics.total_return_pct, rel=1e-9)
    earned = float(out.recording.equity()[-1])
    cost = abs(float(out.recording.pair.ledger.position)) * float(out.recording.prepared.close[-1])
    cost *= out.recording.prepared.instrument.tick_value * (float(out.recording.prepared.instrument.taker_fee) + 1e-4)
    assert fold.closing == pytest.approx(cost / earned)
    assert fold.returned == pytest.approx(((earned - cost) / 10_000 - 1) * 100, abs=1e-4)


@pytest.mark.parametrize("anchored", [False, True])
def test_the_next_window_is_traded_by_what_the_last_days_choose(anchored):
    found = walk_forward(told(anchored=anchored), CANDLES, workers=2)
    end = int(CANDLES.ts[-1]) + 60_000
    first = found.folds[0].train[0] if anchored else end - 40 * DAY
    assert found.next.train == (first, end) and found.next.tried == 4
    configs = {number: found.space.config(number) for number in range(found.space.size)}
    ratios = {number: sweep_score(one.changed(start=first, end=end))[0] for number, one in configs.items()}
    assert found.next.number == max(ratios, key=ratios.__getitem__)
    assert found.next.in_sample["information_ratio"] == pytest.approx(ratios[found.next.number], rel=1e-9)
    assert found.next_config == configs[found.next.number]


def sweep_score(config):
    from search.score import scored

    result = simulate(config, CANDLES)
    score, daily = scored(result.recording, result.first)
    return float(score.information_ratio), daily


def test_the_joined_equity_is_that_of_all_windows_one_after_the_other(found):
    product = np.prod([1 + fold.returned / 100 for fold in found.folds])
    assert found.equity[-1] == pytest.approx(product)
    assert len(found.days) == len(found.pair_days) == 4 * 20
    inside, outside = found.expectancy
    assert outside == pytest.approx(found.days.mean() * 36500)
    assert found.efficiency is None if inside <= 0 else found.efficiency == pytest.approx(outside / inside)
    slope = np.polyfit(found.pair_days, found.days, 1)[0]
    assert found.beta == pytest.approx(slope)


def test_the_verdict_says_what_it_is_of(found):
    words = " ".join(found.verdict)
    assert ("Passed" in words) == found.passed
    assert "out of sample" in words and "alpha" in words and "windows ended with a gain" in words
    assert found.next.passed and "of those that fail" not in words + config_of_windows(found)


def test_what_fails_the_filters_is_said_and_does_not_pass():
    """Something trades a window for which nothing passed; nobody may take it for what was asked for."""
    search = {**SPACE["search"], "filters": ["trades >= 100000"]}
    found = walk_forward({**SPACE, "search": search}, CANDLES, workers=2)
    assert [fold.passed for fold in found.folds] == [False] * 4 and not found.passed
    assert not found.frame["passed"].any()
    assert "Before 4 of 4 windows no variant passed the filters" in " ".join(found.verdict)
    said = "the next is the best of those that fail"
    assert not found.next.passed and said in " ".join(found.verdict) and said in config_of_windows(found)


def test_the_rows_are_the_same_in_one_thread(found):
    assert walk_forward(SPACE, CANDLES, workers=1).frame.equals(found.frame)


def test_a_period_too_short_is_refused_with_one_sentence():
    with pytest.raises(Misconfigured, match=r"too short for search\.walk_forward: 40 days to choose, 2 between and 20"):
        walk_forward(SPACE, CANDLES.rows(slice(0, 50 * 1440)))


def test_a_sweep_and_a_walk_forward_of_the_same_days_choose_the_same(found):
    first = found.folds[0]
    period = {"from": first.train[0], "to": first.train[1] + 20 * DAY}
    again = sweep(
        {**SPACE, **{key: str(value) for key, value in period.items()}, "search": {"held_out": 1 / 3}}, CANDLES
    )
    assert again.split == first.train[1]
    assert int(again.numbers[0]) == first.number
