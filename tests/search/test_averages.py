"""Conditions on two moving averages share them: the same bits as each condition by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.simulator import PreparedCandles
from bot.conditions import when_input
from bot.times import HOUR
from search import averages
from search.averages import Averages
from search.signals import Signals
from tests.conftest import instrument
from tests.search.test_score import hours

CANDLES = hours(3500, 3, 0.004)
GAPPY = CANDLES.rows(np.flatnonzero(np.arange(len(CANDLES)) % 701 > 130))
PREPARED = {gappy: PreparedCandles.of(GAPPY if gappy else CANDLES, instrument()) for gappy in (False, True)}


def apo(fast, slow, **more):
    return {"indicator": "APO", "fastperiod": fast, "slowperiod": slow, "against": 0, "output": "real", **more}


def signals(gappy=False):
    return Signals(PREPARED[gappy], HOUR)


def by_itself(conditions, gappy=False):
    """Bits of conditions as they are found without shared averages."""
    alone = signals(gappy)
    alone._averages.sides = lambda *_: None
    return alone.sides(conditions)


CROSSES = st.builds(
    apo,
    st.integers(2, 60),
    st.integers(2, 110),
    rule=st.sampled_from(["cross", "state"]),
    against=st.sampled_from([0, 0, 12.5, -40]),
    matype=st.sampled_from([1, 1, 1, 0]),
    invert=st.booleans(),
    either=st.booleans(),
)

PIVOTS = {"indicator": "PIVOTS"}  # whose history begins a day before a block, whatever stands beside it


@settings(max_examples=60, deadline=None)
@given(st.lists(CROSSES | st.just(PIVOTS), min_size=1, max_size=4), st.booleans())
def test_every_bit_is_that_of_the_condition_by_itself(conditions, gappy):
    together = signals(gappy)
    for some in (conditions[:1], conditions, [*conditions, PIVOTS]):  # anchored as the longest of them is
        when = when_input(some, "any", "when")
        for ours, theirs in zip(together.sides(when), by_itself(when, gappy), strict=True):
            assert np.array_equal(ours, theirs)


def test_an_average_is_computed_once_for_all_that_have_it(monkeypatch):
    made = []
    ema = averages.average
    monkeypatch.setattr(averages, "average", lambda period: lambda bars: made.append(period) or ema(period)(bars))
    together = signals()
    crosses = [when_input([apo(fast, slow, rule="cross")], "all", "when") for fast in (5, 9) for slow in (20, 30, 40)]
    for one in crosses:
        (bits,) = together.sides(one)
        assert bits[0].any() and bits[1].any()
        assert np.array_equal(bits, by_itself(one)[0])
    blocks = len(together._own_blocks(crosses[0].reach(), 0))
    assert blocks >= 4
    # Five over all bars, and each at the beginnings of blocks for every anchor that it has.
    assert len(made) == (5 + (2 * 3 + 3)) * blocks


def test_averages_that_have_not_met_are_left(monkeypatch):
    when = when_input([apo(5, 20, rule="cross")], "all", "when")
    begun = averages.at_beginnings
    monkeypatch.setattr(averages, "at_beginnings", lambda *given: np.nextafter(begun(*given), np.inf))
    together = signals()
    assert np.array_equal(together.sides(when)[0], by_itself(when)[0])
    assert (
        together._averages.sides(when.conditions[0], together._own_blocks(when.reach(), 0), (when.reach(), 0)) is None
    )


@pytest.mark.parametrize(
    "other",
    [
        apo(5, 20, matype=0),
        apo(5, 20, against="close"),
        {"indicator": "APO", "rule": "slope", "bars": 2},
        {"indicator": "PPO"},
    ],
)
def test_other_conditions_are_left(other):
    (condition,) = when_input([other], "all", "when").conditions
    assert averages.periods_of(condition) is None


def test_what_no_longer_fits_into_memory_is_computed_again(monkeypatch):
    monkeypatch.setattr(averages, "MEMORY", 1)
    known, made = Averages(3), []

    def one(value):
        return lambda: made.append(value) or np.full(3, float(value))

    for value in (1, 2, 1, 1):
        assert known._once((value, 0), one(value))[0] == value
    assert made == [1, 2, 1]
