"""What chance would have found: against arch, against plain definitions, and against planted truths."""

from __future__ import annotations

from itertools import combinations
from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
from arch.bootstrap import SPA
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.record import new_records
from search.chance import (
    BLOCKS,
    Looks,
    active_returns,
    deflated_sharpe,
    expected_largest,
    intervals,
    overfitting,
    resampled_days,
    variance_of,
    weights_of,
)
from search.evidence import evidence_of
from search.exploration import Explored
from search.score import SCORE

DAYS = 250


def noise(trials, days=DAYS, seed=0, together=0.5):
    """Daily returns of trials that share some of their luck, without any edge."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 0.01, days)
    return sqrt(together) * common + sqrt(1 - together) * rng.normal(0, 0.01, (trials, days))


def looks_at(daily, pair=None, parts=1):
    looks = Looks(np.zeros(daily.shape[1]) if pair is None else pair)
    blocks = [looks.add(part) for part in np.array_split(daily, parts)]
    return looks, np.concatenate(blocks)


def test_active_returns_have_no_part_of_the_pair():
    rng = np.random.default_rng(1)
    pair = rng.normal(0, 0.03, DAYS)
    daily = 0.7 * pair + 0.001 + noise(3, together=0.0)
    active = active_returns(daily, pair)
    for own, left in zip(daily, active, strict=True):
        slope = np.polyfit(pair, own, 1)[0]
        assert left == pytest.approx(own - slope * pair)
        assert np.corrcoef(left, pair)[0, 1] == pytest.approx(0.0, abs=1e-9)


@given(st.integers(2, 60), st.integers(0, 10))
@settings(max_examples=30, deadline=None)
def test_resampled_days_go_on_from_day_to_day_in_blocks_around_the_end(days, seed):
    drawn = resampled_days(days, 200, seed)
    assert drawn.min() >= 0 and drawn.max() < days
    goes_on = np.mean(drawn[:, 1:] == (drawn[:, :-1] + 1) % days)
    block = max(round(sqrt(days)), 1)
    by_chance = 1 - 1 / block + 1 / block / days  # a new block may begin at the next day too
    assert goes_on == pytest.approx(by_chance, abs=0.05 + 3 / sqrt(200 * days))
    weights = weights_of(drawn)
    assert (weights.sum(axis=1) == days).all()
    assert weights[5, drawn[5, 0]] == np.count_nonzero(drawn[5] == drawn[5, 0])


@pytest.mark.parametrize(("seed", "edge"), [(0, 0.0), (1, 0.0), (2, 0.002), (3, 0.0012)])
def test_superior_ability_is_that_of_arch(seed, edge):
    daily = noise(40, seed=seed)
    daily[7] += edge
    looks, _ = looks_at(daily)
    spa = SPA(np.zeros(DAYS), -daily.T, block_size=round(sqrt(DAYS)), reps=2000, bootstrap="stationary", seed=5)
    spa.compute()
    assert looks.superior_ability == pytest.approx(float(spa.pvalues["consistent"]), abs=0.05)


def test_what_was_taken_in_parts_or_restored_is_the_same():
    daily = noise(60, seed=4)
    whole, blocks = looks_at(daily)
    parts, others = looks_at(daily, parts=7)
    assert others == pytest.approx(blocks)
    half = Looks(np.zeros(DAYS))
    half.add(daily[:30])
    again = Looks(np.zeros(DAYS))
    again.restore(half.state())
    again.add(daily[30:])
    for one in (parts, again):
        assert (one.superior_ability, one.reality_check) == (whole.superior_ability, whole.reality_check)
        assert one.count == 60


def ratios(daily):
    return daily.mean(axis=1) / daily.std(axis=1, ddof=1) * sqrt(365)


def test_variance_is_that_of_the_sharpe_ratios_and_at_most_that_of_chance():
    alike = noise(50, together=0.99)
    assert variance_of(ratios(alike), DAYS) == pytest.approx((ratios(alike) / sqrt(365)).var(ddof=1))
    apart = noise(50, together=0.0) - np.linspace(0, 0.05, 50)[:, None]
    assert variance_of(ratios(apart), DAYS) == pytest.approx(1 / (DAYS - 1))
    assert variance_of([np.nan, 1.0], DAYS) == 0.0


def weighed(daily, others=0):
    """Evidence of the best of these trials, and which it is."""
    looks, blocks = looks_at(daily)
    scores = new_records(SCORE, len(daily))
    scores["information_ratio"] = ratios(daily)
    found = Explored(np.arange(len(daily)), scores, blocks, looks)
    best = int(np.argmax(ratios(daily)))
    days = daily[best], np.zeros(daily.shape[1])
    return evidence_of(found, others, days, days, pruned=False), best


def test_noise_that_is_searched_again_around_its_best_is_not_called_better_than_chance():
    """What was tried nearby is alike; the hurdle is that of everything that was tried."""
    for seed in range(5):
        first = noise(200, seed=seed, together=0.0)
        evidence, best = weighed(first)
        assert not evidence.better_than_chance
        again = first[best] + np.random.default_rng(seed).normal(0, 0.001, (40, DAYS))
        assert weighed(again)[0].better_than_chance, "by itself it looks like an edge"
        evidence = weighed(again, others=len(first))[0]
        assert evidence.trials == 240 and not evidence.better_than_chance


def test_what_never_moves_is_neither_good_nor_bad():
    still = np.zeros((5, DAYS))
    looks, _ = looks_at(still)
    assert looks.count == 5 and looks.superior_ability == 1.0
    daily = np.concatenate((still, noise(20)))
    assert looks_at(daily)[0].superior_ability == looks_at(noise(20))[0].superior_ability


def plain_overfitting(daily):
    """Probability of overfitting by its definition, one split after the other."""
    edges = np.linspace(0, daily.shape[1], BLOCKS + 1).astype(int)
    blocks = [daily[:, first:last] for first, last in zip(edges[:-1], edges[1:], strict=True)]
    below, splits = 0, list(combinations(range(BLOCKS), BLOCKS // 2))
    for half in splits:
        inside = np.concatenate([blocks[one] for one in half], axis=1)
        outside = np.concatenate([blocks[one] for one in range(BLOCKS) if one not in half], axis=1)
        chosen, tried = (part.mean(axis=1) / part.std(axis=1) for part in (inside, outside))
        best = int(np.argmax(chosen))
        rank = 1 + np.sum(tried < tried[best])
        below += rank / (len(daily) + 1) <= 0.5
    return below / len(splits)


@pytest.mark.parametrize(("seed", "edge"), [(0, 0.0), (1, 0.0), (2, 0.003)])
def test_overfitting_is_that_of_the_definition(seed, edge):
    daily = noise(30, seed=seed, together=0.2)
    daily[3] += edge
    _, blocks = looks_at(daily)
    assert overfitting(blocks, DAYS) == pytest.approx(plain_overfitting(daily), abs=1e-12)


def test_overfitting_of_too_little_is_not_said():
    _, blocks = looks_at(noise(1))
    assert overfitting(blocks, DAYS) is None
    _, blocks = looks_at(noise(5, days=40))
    assert overfitting(blocks, 40) is None


def test_the_expected_largest_is_the_mean_of_the_best_of_so_many():
    rng = np.random.default_rng(0)
    for trials in (10, 1000):
        drawn = rng.normal(0, 0.05, (4000, trials)).max(axis=1).mean()
        assert expected_largest(trials, 0.05**2) == pytest.approx(drawn, rel=0.03)
    assert expected_largest(1, 0.01) == 0.0


def test_the_deflated_sharpe_ratio_of_one_normal_trial_is_that_of_the_normal_distribution():
    rng = np.random.default_rng(2)
    daily = rng.normal(0.0008, 0.01, 5000)
    sharpe = daily.mean() / daily.std(ddof=1)
    plain = NormalDist().cdf(sharpe * sqrt(4999) / sqrt(1 + sharpe**2 / 2))
    assert deflated_sharpe(daily, 1, 0.0) == pytest.approx(plain, abs=1e-3)
    assert deflated_sharpe(daily, 1000, 1 / 4999) < plain
    assert deflated_sharpe(np.zeros(300), 10, 0.01) is None
    assert deflated_sharpe(daily[:20], 10, 0.01) is None


def test_intervals_hold_the_truth_nine_times_in_ten():
    within = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        pair = rng.normal(0, 0.02, 400)
        found = intervals(0.0004 + 0.5 * pair + rng.normal(0, 0.01, 400), pair)["alpha_pct"]
        within += found.low <= 0.0004 * 36500 <= found.high
        assert found.low < found.value < found.high
    assert 46 <= within <= 60
    assert intervals(np.zeros(20), np.zeros(20)) == {}


def better(daily, pair):
    looks = Looks(pair)
    for part in np.array_split(daily, max(len(daily) // 1000, 1)):
        looks.add(part)
    active = active_returns(daily, pair)
    best = int(np.argmax(active.mean(axis=1) / active.std(axis=1)))
    sure = deflated_sharpe(active[best], len(daily), variance_of(ratios(active), DAYS))
    return best, sure >= 0.95 and looks.superior_ability <= 0.05


@pytest.mark.parametrize("trials", [40, 300])
def test_superior_ability_of_noise_is_significant_about_once_in_twenty(trials):
    """Its size: with the deviations of the resamples it was three times in ten."""
    fooled = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        looks = Looks(rng.normal(0, 0.02, 365), seed=seed)
        looks.add(rng.normal(0, 0.01, (trials, 365)))
        fooled += looks.superior_ability <= 0.05
    assert fooled <= 6


def test_a_planted_edge_is_found_among_a_thousand_and_luck_is_not():
    pair = np.random.default_rng(9).normal(0, 0.03, DAYS)
    fooled = 0
    for seed in range(10):
        daily = noise(1000, seed=seed, together=0.3)
        fooled += better(daily, pair)[1]
        daily[500] += 0.005
        assert better(daily, pair) == (500, True)
    assert fooled <= 1


@pytest.mark.slow  # a hundred times ten thousand trials
def test_on_a_hundred_random_walks_the_best_of_ten_thousand_is_seldom_called_better_than_chance():
    fooled = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        pair = rng.normal(0, 0.03, DAYS)
        daily = noise(10_000, seed=1000 + seed, together=rng.uniform(0, 0.9)) + rng.uniform(-1, 1, (10_000, 1)) * pair
        fooled += better(daily, pair)[1]
    assert fooled <= 10
