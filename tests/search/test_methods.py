"""Methods of a search: what they propose, how much, and that the same answers give the same proposals."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import Misconfigured
from search.methods import NAMES, Feedback, Lattice, method_of, proposals
from search.numbered import SearchParameters

SIZES = (12, 9, 7)
LATTICE = Lattice(SIZES, (False, False, False), (False, False, True))
BEST = np.array([8, 2, 5])


def told(method, **more):
    return SearchParameters(**{"method": method, **more})


def bowl(numbers, lattice=LATTICE):
    """Distance from a best variant in the middle of the space: lower is better."""
    return np.sum((lattice.digits(numbers) - BEST) ** 2, axis=1).astype(float)


def answer(numbers, values, passed=None):
    passed = np.ones(len(numbers), bool) if passed is None else passed
    order = np.lexsort((numbers, values, ~passed))
    return Feedback(numbers[order], values[order, None], passed[order], values[order])


def run(search, lattice=LATTICE, value=bowl, invalid=frozenset()):
    """Play a method to its end; returns what it proposed, in order, by round."""
    method, rounds = proposals(lattice, search), []
    try:
        proposed = next(method)
        while True:
            batches = list(proposed.batches)
            assert all(1 <= len(one) <= 64 for one in batches)
            numbers = np.concatenate(batches)
            rounds.append(numbers)
            valid = np.array([one for one in numbers.tolist() if one not in invalid], np.int64)
            proposed = method.send(answer(valid, value(valid)))
    except StopIteration:
        return rounds


def every(rounds):
    return np.concatenate(rounds).tolist()


METHODS = ["grid", "random:100", "sobol:100", "tpe:100", "cmaes:100", "nsga2:100", "coarse_fine", "staged"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_proposes_variants_of_the_space_each_once_and_the_same_again(method):
    rounds = run(told(method, preselect=5))
    found = every(rounds)
    assert len(set(found)) == len(found)
    assert min(found) >= 0 and max(found) < LATTICE.size
    assert [one.tolist() for one in run(told(method, preselect=5))] == [one.tolist() for one in rounds]
    assert len(found) <= told(method, preselect=5).method.most(LATTICE, told(method, preselect=5))
    if ":" in method:
        assert len(found) == 100
        assert every(run(told(method, seed=1))) != found


@pytest.mark.parametrize("method", ["tpe:150", "cmaes:150", "coarse_fine"])
def test_what_is_guided_comes_nearer_to_the_best_than_chance_does(method):
    found = every(run(told(method)))
    drawn = every(run(told("random:300")))
    assert bowl(np.array(found)).min() <= 1.0
    late = bowl(np.array(found[-50:])).mean()
    assert late < 0.7 * bowl(np.array(drawn)).mean()


def test_nsga2_comes_near_the_best_of_two_metrics():
    search = told("nsga2:300", objective=["total_return_pct", "max_drawdown_pct"])
    method, found = proposals(LATTICE, search), []
    proposed = next(method)
    with contextlib.suppress(StopIteration):
        while True:
            numbers = np.concatenate(list(proposed.batches))
            found += numbers.tolist()
            digits = LATTICE.digits(numbers)
            values = np.stack((bowl(numbers), np.sum((digits - [4, 2, 5]) ** 2, axis=1).astype(float)), axis=1)
            order = np.lexsort(values.T)
            proposed = method.send(
                Feedback(numbers[order], values[order], np.ones(len(numbers), bool), values[order, 0])
            )
    between = {(first, 2, 5) for first in range(4, 9)}  # what no other variant beats in both
    assert len(between & {tuple(one) for one in LATTICE.digits(np.array(found)).tolist()}) >= 3


def test_grid_is_everything_in_order():
    assert every(run(told("grid"))) == list(range(LATTICE.size))
    assert every(run(told(f"random:{LATTICE.size}"))) == list(range(LATTICE.size))


@pytest.mark.parametrize("method", ["random:200", "sobol:200", "tpe:60", "cmaes:60"])
def test_what_contradicts_itself_is_replaced_where_chance_draws_and_counts_where_it_is_asked(method):
    invalid = frozenset(range(0, LATTICE.size, 3))
    found = every(run(told(method), invalid=invalid))
    valid = [one for one in found if one not in invalid]
    if method.startswith(("random", "sobol")):
        assert len(valid) == 200
    else:
        assert len(found) == 60


def test_a_space_smaller_than_the_count_ends():
    small = Lattice((3, 2), (False, False), (False, False))
    for method in ("random:50", "sobol:50", "tpe:50", "cmaes:50", "nsga2:50"):
        found = every(run(told(method), small, lambda numbers: numbers.astype(float)))
        assert sorted(found) == sorted(set(found)) and len(found) <= 6, method
    assert len(every(run(told("random:50"), small, lambda numbers: numbers.astype(float)))) == 6


def test_staged_keeps_the_risk_axes_for_its_second_stage():
    first, second = run(told("staged", preselect=10))
    assert set(LATTICE.digits(first)[:, 2].tolist()) == {0} and len(first) == 12 * 9
    kept = {tuple(row[:2]) for row in LATTICE.digits(second).tolist()}
    best = sorted(first.tolist(), key=lambda one: (bowl(np.array([one]))[0], one))[:10]
    assert {tuple(row[:2]) for row in LATTICE.digits(np.array(best)).tolist()} <= kept
    assert len(kept) <= 10 + 10 + 1 and len(second) == 6 * len(kept)


def test_coarse_fine_begins_with_few_values_of_each_axis_and_all_words():
    lattice = Lattice((40, 5), (False, True), (False, False))
    first = run(told("coarse_fine", coarse=3), lattice, lambda numbers: np.abs(numbers - 101.0))[0]
    digits = lattice.digits(first)
    assert sorted(set(digits[:, 0].tolist())) == [0, 20, 39]
    assert sorted(set(digits[:, 1].tolist())) == [0, 1, 2, 3, 4]


@pytest.mark.slow  # every method, forty spaces
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.sampled_from(METHODS),
    st.integers(0, 5),
    st.integers(1, 40),
)
@settings(max_examples=40, deadline=None)
def test_no_method_leaves_a_space_or_plays_more_than_it_says(sizes, method, seed, count):
    name = method.split(":")[0]
    search = told(f"{name}:{count}" if ":" in method else name, seed=seed, preselect=4, coarse=2)
    lattice = Lattice(tuple(sizes), tuple(one % 2 == 0 for one in sizes), tuple(one == 3 for one in sizes))
    assert lattice.size == math.prod(sizes)
    found = every(run(search, lattice, lambda numbers: (numbers * 7 % 11).astype(float)))
    assert len(set(found)) == len(found) <= search.method.most(lattice, search)
    assert all(0 <= one < lattice.size for one in found)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gird", "did you mean 'grid'"),
        ("random", "write random:500"),
        ("grid:5", "write grid"),
        ("tpe:0", "give tpe 1 to 2000"),
        ("tpe:2001", "give tpe 1 to 2000"),
        (5, "choose one of"),
        ("", "choose one of"),
    ],
)
def test_a_method_that_is_none_is_one_sentence(given, said):
    with pytest.raises(Misconfigured, match=said):
        method_of(given)
    assert all(str(method_of(one if one in NAMES[:3] else f"{one}:7")).startswith(one) for one in NAMES)
