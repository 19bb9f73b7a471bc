"""Every indicator of the registry: as TA-Lib has it, causal, and the same bits however much history there is."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import talib as library
import talib.abstract

from bot.errors import Misconfigured
from bot.indicator_functions import FUNCTIONS, IndicatorInput, indicator, lookback_of, outputs_of
from bot.indicator_registry import INDICATORS, Rule, indicator_named
from bot.inputs import HOUR, SHORT_BLOCK, ByColumn, anchor, made_up_bars, values
from bot.sources import ROOT
from bot.times import DAY

EDGE = 600 * SHORT_BLOCK
NAMES = list(INDICATORS)
AFTER = 60  # bars behind the block's edge


def bars_around(one, more=0):
    """Hourly bars from `more` bars before the anchor of the block at EDGE to AFTER bars behind it."""
    begin = anchor(one, HOUR, EDGE) - more * HOUR
    count = (EDGE - begin) // HOUR + AFTER
    bars = made_up_bars(count)
    bars["ts"] = begin + np.arange(count) * HOUR
    return bars


def inputs_of(name):
    one = INDICATORS[name]
    return [IndicatorInput(name=name, output=output, parameters=one.values({})) for output in one.outputs]


def of_block(one, bars, upto=None):
    """Values at the bars of the block, as bytes, with so many bars known."""
    bars = bars[:upto]
    at = np.flatnonzero(bars["ts"] >= EDGE)
    return values(one, HOUR, ByColumn(bars), at, int(bars["ts"][0]))


@pytest.mark.parametrize("name", NAMES)
def test_a_value_needs_neither_what_follows_nor_what_lies_before_its_anchor(name):
    for one in inputs_of(name):
        bars = bars_around(one, more=100)
        whole = of_block(one, bars)
        restarted = of_block(one, bars[100:])
        assert restarted.tobytes() == whole.tobytes(), one.output
        for cut in (1, 7, 31):
            short = of_block(one, bars, len(bars) - cut)
            assert short.tobytes() == whole[: len(whole) - cut].tobytes(), (one.output, cut)
        other = bars.copy()
        for field in ("open", "high", "low", "close", "volume"):
            other[field][-7:] = other[field][-7:] * 3.0
        assert of_block(one, other)[:-7].tobytes() == whole[:-7].tobytes(), one.output
        alone = [of_block(one, bars, len(bars) - back)[-1] for back in range(5, -1, -1)]
        assert np.array(alone).tobytes() == whole[-6:].tobytes(), one.output
        late = bars[101:]
        assert np.isnan(of_block(one, late)).all()
        if name not in ("ACOS", "ASIN"):
            assert np.isfinite(whole).any()


def test_all_functions_of_talib_are_there_but_one_that_needs_a_column_of_periods():
    assert set(library.get_functions()) - set(NAMES) == {"MAVP"}
    assert set(NAMES) - set(library.get_functions()) == set(FUNCTIONS)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FUNCTIONS])
def test_outputs_parameters_and_defaults_are_those_of_talib(name):
    info, one = library.abstract.Function(name).info, INDICATORS[name]
    assert tuple(info["output_names"]) == one.outputs
    assert dict(info["parameters"]) == {setting.name: setting.default for setting in one.settings}


@pytest.mark.parametrize("name", NAMES)
def test_bounds_hold_and_a_parameter_that_is_not_searched_changes_nothing(name):
    one, bars = INDICATORS[name], made_up_bars(3000)
    plain = outputs_of(name, one.values({}), ByColumn(bars))
    for values_ in plain.values():
        known = values_[np.isfinite(values_)]
        assert ((known >= one.least - 1e-9) & (known <= one.most + 1e-9)).all()
    for setting in one.settings:
        for edge in (setting.least, setting.most):
            assert lookback_of(name, one.values({setting.name: edge})) >= 0
        tried = (setting.default + 2 * setting.step, setting.default - 2 * setting.step)
        tried = (0, 1) if "matype" in setting.name else tried
        chosen = [number for number in tried if setting.least <= number <= setting.most and number != setting.default]
        if not chosen or name.startswith("CDL"):
            continue
        other = outputs_of(name, one.values({setting.name: chosen[0]}), ByColumn(bars))
        for output in one.outputs:
            known = np.isfinite(plain[output]) & np.isfinite(other[output])
            known[:1500] = False
            same = np.allclose(plain[output][known], other[output][known], rtol=1e-9, atol=1e-12)
            assert same == (setting.name in one.ignored.get(output, ())), (setting.name, output)


def test_what_cannot_change_a_signal_is_not_searched():
    macd, band = INDICATORS["MACD"], INDICATORS["BBANDS"]
    assert macd.searched(macd.rule) == ("fastperiod", "slowperiod")
    assert macd.searched(Rule("state", "macd", "macdsignal")) == ("fastperiod", "slowperiod", "signalperiod")
    assert band.searched(Rule("state", "close", "middleband")) == ("timeperiod", "matype")
    assert INDICATORS["STDDEV"].searched(INDICATORS["STDDEV"].rule) == ("timeperiod",)
    assert INDICATORS["STDDEV"].searched(Rule("threshold", "real", long_above=3.0)) == ("timeperiod", "nbdev")


@pytest.mark.parametrize("name", NAMES)
def test_each_says_in_words_what_is_long_and_short(name):
    one = INDICATORS[name]
    assert set(one.rule.reads) <= {*one.outputs, "open", "high", "low", "close"}
    assert any(word in one.rule.sentence for word in ("LONG while", "SHORT while", "either direction while"))
    assert one.source and one.group


# Those that are computed here, against plain references


def frame():
    bars = made_up_bars(400)
    return bars, pd.DataFrame({name: bars[name] for name in bars.dtype.names})


def found(name, bars, **parameters):
    return outputs_of(name, INDICATORS[name].values(parameters), ByColumn(bars))


def near(ours, theirs, after=0):
    np.testing.assert_allclose(np.asarray(ours)[after:], np.asarray(theirs)[after:], rtol=1e-9, atol=1e-9)


def test_bands_and_means():
    bars, table = frame()
    mean, spread = table.close.rolling(20).mean(), table.close.rolling(20).std(ddof=0)
    near(found("BB_PERCENT", bars)["real"], (table.close - mean + 2 * spread) / (4 * spread))
    near(found("BB_WIDTH", bars)["real"], 4 * spread / mean)
    near(found("DISTANCE_TO_MEAN", bars)["real"], 100 * (table.close / table.close.rolling(50).mean() - 1))
    volume = table.volume.rolling(20).mean()
    near(found("VOLUME_MEAN", bars)["mean"], volume)
    near(found("VOLUME_MEAN", bars)["ratio"], table.volume / volume)
    moves = np.log(table.close / table.close.shift()).rolling(20).std() * np.sqrt(365) * 100
    near(found("HISTORICAL_VOLATILITY", bars)["real"], moves)


def test_candles():
    bars, table = frame()
    size = table.high - table.low
    ours = found("CANDLE_BODY", bars)
    near(ours["body"], (table.close - table.open) / size)
    near(ours["range"], size / size.rolling(20).mean().shift())
    near(ours["upper_wick"] + ours["lower_wick"] + np.abs(ours["body"]), np.ones(len(bars)))
    plain, opened, before = [], None, 0.0
    for row in table.itertuples():
        closed = (row.open + row.high + row.low + row.close) / 4
        opened = (row.open + row.close) / 2 if opened is None else (opened + before) / 2
        plain.append(np.sign(closed - opened))
        before = closed
    near(found("HEIKIN_ASHI_TREND", bars)["real"], plain)


def test_exits_and_clouds():
    bars, table = frame()
    atr = library.ATR(bars["high"].copy(), bars["low"].copy(), bars["close"].copy(), timeperiod=22)
    ours = found("CHANDELIER_EXIT", bars)
    near(ours["long_stop"], table.high.rolling(22).max() - 3 * atr)
    near(ours["short_stop"], table.low.rolling(22).min() + 3 * atr)

    def middle(period):
        return (table.high.rolling(period).max() + table.low.rolling(period).min()) / 2

    ours = found("ICHIMOKU", bars)
    near(ours["conversion_line"], middle(9))
    near(ours["base_line"], middle(26))
    near(ours["span_a"], ((middle(9) + middle(26)) / 2).shift(26))
    near(ours["span_b"], middle(52).shift(26))


def test_fisher():
    bars, table = frame()
    price = (table.high + table.low) / 2
    low, high = price.rolling(9).min(), price.rolling(9).max()
    x = value = 0.0
    plain = []
    for share in (price - low) / (high - low):
        if not np.isnan(share):
            x = min(max(0.66 * (share - 0.5) + 0.67 * x, -0.999), 0.999)
            value = 0.5 * np.log((1 + x) / (1 - x)) + 0.5 * value
        plain.append(np.nan if np.isnan(share) else value)
    ours = found("FISHER", bars)
    near(ours["fisher"], plain)
    near(ours["trigger"], pd.Series(plain).shift())


def test_levels_of_the_day():
    bars, table = frame()
    typical = (table.high + table.low + table.close) / 3
    day = table.ts // DAY
    worth = (typical * table.volume).groupby(day).cumsum() / table.volume.groupby(day).cumsum()
    near(found("DAILY_VWAP", bars)["real"], worth)
    near(found("VWAP_DEVIATION", bars)["real"], 100 * (table.close / worth - 1))
    days = table.groupby(day).agg({"high": "max", "low": "min", "close": "last"})
    pivot = (days.high + days.low + days.close) / 3
    ours = found("PIVOTS", bars)
    near(ours["pivot"][24:], day.map(pivot.shift())[24:])
    near(ours["r1"][24:], day.map((2 * pivot - days.low).shift())[24:])
    near(ours["s2"][24:], day.map((pivot - days.high + days.low).shift())[24:])
    assert np.isnan(ours["pivot"][:24]).all()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: indicator_named("SUPERTRED"), "indicator 'SUPERTRED' is unknown; did you mean 'SUPERTREND'."),
        (lambda: indicator_named("qqqqq"), "`traderagent indicators` lists them"),
        (lambda: indicator("RSI", period=3), "indicator RSI has no parameter 'period'; did you mean 'timeperiod'."),
        (lambda: indicator("RSI", timeperiod=1), "timeperiod is 1; give a whole number from 2 to 500"),
        (lambda: indicator("RSI", timeperiod=2.5), "give a whole number"),
        (lambda: indicator("KC", nbdev="wide"), "nbdev is 'wide'; give a number from 0.1 to 10"),
        (lambda: indicator("RSI", timeperiod=True), "timeperiod is True"),
        (lambda: indicator("OBV", timeperiod=3), "leave it out, it has none"),
        (lambda: indicator("MACD", output="signal"), "has no output 'signal'; did you mean 'macdsignal'"),
    ],
)
def test_what_is_wrong_is_one_sentence(wrong, sentence):
    with pytest.raises(Misconfigured) as error:
        wrong()
    assert sentence in str(error.value)


def test_names_are_understood_in_any_case_and_as_they_are_called_elsewhere():
    assert indicator_named("rsi").name == "RSI" and indicator_named("Keltner").name == "KC"


def test_the_registry_is_light():
    code = "import sys; import bot.indicator_registry; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"numpy", "numba", "talib", "polars"} & set(done.stdout.split())
