"""Conditions: what each kind of rule says, how several combine, and what can never hold is refused."""

from __future__ import annotations

import numpy as np
import pytest

from bot.conditions import CONFLICT, condition_of, when_input
from bot.errors import Misconfigured
from bot.indicator_functions import outputs_of
from bot.indicator_registry import INDICATORS
from bot.inputs import HOUR, SHORT_BLOCK, ByColumn, anchor, made_up_bars, values

BARS = made_up_bars(400)
CLOSE = BARS["close"]


def sides(**given):
    return condition_of(given, "when").sides(BARS)


def outputs(name, **parameters):
    return outputs_of(name, INDICATORS[name].values(parameters), ByColumn(BARS))


def same(found, long, short):
    assert found[0].tolist() == np.asarray(long).tolist() and found[1].tolist() == np.asarray(short).tolist()
    assert any(long) or any(short)


def test_a_threshold_holds_beyond_its_limits():
    rsi = outputs("RSI", timeperiod=7)["real"]
    same(sides(indicator="RSI", timeperiod=7), rsi < 30, rsi > 70)
    same(sides(indicator="RSI", timeperiod=7, long_above=60), rsi > 60, [False] * 400)
    inside = (rsi > 40) & (rsi < 50)
    same(sides(indicator="RSI", timeperiod=7, short_above=40, short_below=50), [False] * 400, inside)


def test_a_state_holds_as_long_as_one_output_is_above_the_other():
    both = outputs("MACD")
    same(sides(indicator="MACD"), both["macd"] > 0, both["macd"] < 0)
    against = sides(indicator="macd", against="macdsignal")
    same(against, both["macd"] > both["macdsignal"], both["macd"] < both["macdsignal"])
    average = outputs("EMA")["real"]
    same(sides(indicator="EMA"), average < CLOSE, average > CLOSE)


def test_a_cross_holds_on_its_bar_alone():
    both = outputs("MACD")
    above = both["macd"] > both["macdsignal"]
    below = both["macd"] < both["macdsignal"]
    up = np.flatnonzero(above[1:] & ~above[:-1] & ~np.isnan(both["macd"][:-1])) + 1
    long, short = sides(indicator="MACD", rule="cross", against="macdsignal")
    assert np.flatnonzero(long).tolist() == up.tolist() and len(up) > 5
    assert not (long & short).any() and not (short & ~below).any()
    level, _ = sides(indicator="RSI", rule="cross", against=30)
    rsi = outputs("RSI")["real"]
    assert np.flatnonzero(level).tolist() == [i for i in range(1, 400) if rsi[i] > 30 >= rsi[i - 1]]


def test_a_slope_compares_with_bars_before():
    average = outputs("SMA")["real"]
    before = np.concatenate((np.full(3, np.nan), average[:-3]))
    same(sides(indicator="SMA", rule="slope", bars=3), average > before, average < before)


def test_a_band_is_left_above_or_below():
    bands = outputs("DONCHIAN")
    upper, lower = (np.concatenate(([np.nan], bands[name][:-1])) for name in ("upperband", "lowerband"))
    same(sides(indicator="DONCHIAN"), upper < CLOSE, lower > CLOSE)
    bands = outputs("BBANDS")
    same(sides(indicator="BBANDS", invert=True), bands["lowerband"] > CLOSE, bands["upperband"] < CLOSE)


def test_what_has_no_direction_allows_both():
    adx = outputs("ADX")["real"]
    same(sides(indicator="ADX"), adx > 25, adx > 25)


def test_without_a_value_nothing_is_said():
    long, short = sides(indicator="SMA", timeperiod=300, invert=True)
    assert not long[:299].any() and not short[:299].any() and (long | short)[299:].all()


def said(when, combine, bars=None):
    one = when_input(when, combine, "rules.when")
    one.check("x")
    bars = BARS if bars is None else bars
    return one.column(ByColumn(bars), slice(None))


ONE, TWO, FILTER = {"indicator": "SMA", "timeperiod": 5}, {"indicator": "RSI", "timeperiod": 5}, {"indicator": "ADX"}


def test_all_any_and_at_least():
    each = [condition_of(one, "x").sides(BARS) for one in (ONE, TWO, FILTER)]
    for combine, least in (("all", 3), ("any", 1), ({"at_least": 2}, 2)):
        long, short = (sum(one[k].astype(int) for one in each) >= least for k in (0, 1))
        expected = np.where(long & short, CONFLICT, long.astype(float) - short)
        found = said([ONE, TWO, FILTER], combine)
        assert found.tolist() == expected.tolist()
    assert CONFLICT in said([ONE, TWO], "any") and {1.0, -1.0} <= set(said([ONE, FILTER], "all"))


def test_the_column_is_the_same_cut_off_restarted_and_after_a_longer_history():
    one = when_input([ONE, TWO, {"indicator": "MACD", "rule": "cross", "against": "macdsignal"}], {"at_least": 2}, "x")
    edge = 600 * SHORT_BLOCK
    begin = anchor(one, HOUR, edge) - 100 * HOUR
    bars = made_up_bars((edge - begin) // HOUR + 200)
    bars["ts"] = begin + np.arange(len(bars)) * HOUR

    def of_block(part):
        return values(one, HOUR, ByColumn(part), np.flatnonzero(part["ts"] >= edge), int(part["ts"][0]))

    whole = of_block(bars)
    assert {0.0, 1.0, -1.0} <= set(whole)
    assert of_block(bars[100:]).tobytes() == whole.tobytes()
    assert np.isnan(of_block(bars[101:])).all()
    for cut in range(1, 20):
        assert of_block(bars[:-cut]).tobytes() == whole[:-cut].tobytes()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"indicator": "RSY"}, "indicator 'RSY' is unknown; did you mean 'RSI'"),
        ("RSI", "it is 'RSI'; write it like {indicator: RSI, timeperiod: 14}"),
        ({"indicator": "RSI", "timeperiods": 3}, "indicator RSI knows no 'timeperiods'; did you mean 'timeperiod'"),
        ({"indicator": "RSI", "timeperiod": 1}, "give a whole number from 2 to 500"),
        ({"indicator": "MACD", "output": "signal"}, "output is 'signal', which MACD does not give; did you mean"),
        ({"indicator": "MACD", "rule": "crossing"}, "rule is 'crossing'; did you mean 'cross'"),
        ({"indicator": "RSI", "long_below": 0}, "long_below is 0, which can never be true: real of RSI lies from 0 to"),
        ({"indicator": "RSI", "short_above": 120}, "short_above is 120, which can never be true"),
        ({"indicator": "RSI", "long_above": 60, "long_below": 40}, "long_above (60) must lie under long_below (40)"),
        ({"indicator": "RSI", "rule": "cross", "against": 100}, "against is 100, which cross can never turn on"),
        ({"indicator": "WILLR", "rule": "state", "against": 20}, "against is 20, which state can never turn on"),
        ({"indicator": "EMA", "rule": "threshold"}, "a threshold needs a limit; give one of long_below"),
        ({"indicator": "EMA", "rule": "slope", "bars": 0}, "bars is 0"),
        ({"indicator": "EMA", "rule": "slope", "bars": 2.5}, "bars is 2.5; give a whole number"),
        ({"indicator": "RSI", "bars": 2}, "a rule of kind threshold takes no bars"),
        ({"indicator": "RSI", "long_below": "low"}, "long_below is 'low'; give a number"),
        ({"indicator": "EMA", "output": "close", "against": "close"}, "name two different ones"),
        ({"indicator": "EMA", "invert": "yes"}, "invert is 'yes'; say true or false"),
        ({"indicator": "MACDEXT", "fastmatype": 9}, "give a whole number from 0 to 8"),
    ],
)
def test_what_cannot_hold_is_one_sentence(wrong, sentence):
    with pytest.raises(Misconfigured) as error:
        when_input([ONE, wrong], "all", "rules.when")
    assert str(error.value).startswith("rules.when[1]: ") and sentence in str(error.value)


@pytest.mark.parametrize(
    ("when", "combine", "sentence"),
    [
        ([ONE], "most", "combine is 'most'; say all, any or"),
        ([ONE], {"at_least": 2}, "at_least 2 of 1 conditions, which can never be true"),
        ([ONE], {"at_least": 0}, "say all, any or"),
        ([ONE] * 21, "all", "holds 21 conditions; give at most 20"),
        ([], "all", "there is no condition"),
    ],
)
def test_what_cannot_be_combined_is_one_sentence(when, combine, sentence):
    with pytest.raises(Misconfigured) as error:
        said(when, combine)
    assert sentence in str(error.value)
