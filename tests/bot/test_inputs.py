"""Inputs of strategies: the same bits for a whole history, one bar at a time, and from a restart's history on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import talib as library
import talib.abstract
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import Misconfigured
from bot.inputs import DAY, HOUR, SHORT_BLOCK, ByColumn, made_up_bars, python, talib, values
from bot.parameters import Parameters
from bot.rollup import MINUTE
from bot.sources import ROOT
from bot.strategy import load_strategy
from coordinator.columns import Columns, inputs_start

PULLBACK = load_strategy(str(ROOT / "tests/examples/pullback.py") + ":PULLBACK")
QUARTER = 15 * MINUTE
# Where a block of hourly bars begins, so that a short walk crosses it.
EDGE = 600 * SHORT_BLOCK


def spread(bars):
    return bars.high.max() - bars.low.min()


def strategy(inputs, timeframe="1h"):
    class Own(Parameters):
        pass

    own = replace(PULLBACK, inputs=inputs, parameters=Own)
    return own, [Own(timeframe=timeframe)]


def base_bars(count, bar_ms=QUARTER, start=EDGE, missing=()):
    bars = made_up_bars(count)
    bars["ts"] = start + np.arange(count) * bar_ms
    return np.delete(bars, list(missing)).view(np.recarray)


def taken(asked, bars, step=None, columns=None, bar_ms=QUARTER):
    """Rows of a strategy's first variant, by the closing base bar's time, fed `step` base bars at a time."""
    columns = columns or Columns(asked, bar_ms)
    found = {}
    for first in range(0, len(bars), step or len(bars)):
        part = bars[first : first + (step or len(bars))]
        ends, rows = columns.take(part)
        for end, row in zip(ends, rows):
            found[int(part["ts"][end])] = row["pullback"][0].tobytes()
    return found


def numbers(found):
    return {ts: np.frombuffer(row) for ts, row in found.items()}


TWO = {"rsi": talib("RSI", timeperiod=5), "average": talib("EMA", timeperiod=3, timeframe="4h", warmup=6)}
MIXED = {
    **TWO,
    "signal": talib("MACD", fastperiod=2, slowperiod=4, signalperiod=2, output="macdsignal", warmup=20),
    "spread": python(spread, window=4, timeframe="30m", warmup=9),
}


@settings(max_examples=10)
@given(
    start=st.integers(200, 560),
    step=st.integers(5, 60),
    missing=st.sets(st.integers(0, 599), max_size=4),
    cut=st.data(),
)
def test_a_value_is_the_same_whole_in_pieces_and_after_a_restart(start, step, missing, cut):
    asked = [strategy(MIXED)]
    bars = base_bars(600, start=EDGE - start * QUARTER, missing=missing)
    whole = taken(asked, bars)
    assert not np.isnan(list(numbers(whole).values())).all(axis=0).any()
    assert taken(asked, bars, step) == whole
    at = cut.draw(st.integers(1, len(bars) - 1))
    now = int(bars["ts"][at - 1]) + QUARTER
    since = inputs_start(asked, now)
    restarted = Columns(asked, QUARTER)
    restarted.take(bars[(bars["ts"] >= since) & (bars["ts"] < now)])
    after = taken(asked, bars[at:], step, restarted)
    assert after == {ts: row for ts, row in whole.items() if ts >= now}


def test_a_longer_history_changes_no_value_that_a_shorter_one_has():
    asked = [strategy(MIXED)]
    bars = base_bars(4000, start=EDGE - 25 * DAY)
    whole = numbers(taken(asked, bars))
    later = numbers(taken(asked, bars[2200:]))
    compared = 0
    for ts, row in later.items():
        known = ~np.isnan(row)
        compared += int(known.sum())
        assert row[known].tobytes() == whole[ts][known].tobytes()
    assert compared > 1000


def test_a_block_starts_anew_from_its_anchor_alone():
    """At the block's edge the series is cut to the warm-up: what lies before it cannot matter."""
    asked = [strategy({"rsi": talib("RSI", timeperiod=5)})]
    bars = base_bars(3600, start=EDGE - 34 * DAY)
    other, before_anchor = bars.copy(), 34 * 96 - 50 * 4
    other["close"][:before_anchor] = other["close"][:before_anchor][::-1]
    ours, theirs = taken(asked, bars), taken(asked, other)
    before = [ts for ts in ours if ts + QUARTER <= EDGE]
    after = [ts for ts in ours if ts + QUARTER > EDGE]
    assert [ours[ts] for ts in after] == [theirs[ts] for ts in after] and len(after) > 50
    assert [ours[ts] for ts in before] != [theirs[ts] for ts in before]


def test_without_all_of_the_history_there_is_no_value():
    asked = [strategy({"rsi": talib("RSI", timeperiod=5)})]
    anchor = EDGE - 50 * HOUR
    late = numbers(taken(asked, base_bars(800, start=anchor + QUARTER)))
    early = numbers(taken(asked, base_bars(800, start=anchor)))
    inside = [ts for ts in early if ts >= EDGE]
    assert inside and not np.isnan([early[ts][0] for ts in inside]).any()
    assert np.isnan([row[0] for row in late.values()]).all()


def test_an_incomplete_bar_is_left_out_of_the_series():
    asked = [strategy({"rsi": talib("RSI", timeperiod=5), "slow": talib("SMA", timeperiod=2, timeframe="4h")})]
    bars = base_bars(1200, start=EDGE - 5 * DAY)
    gap = 5 * 96 + 41  # one quarter of the eleventh hour of the block's first day
    found = numbers(taken(asked, np.delete(bars, gap)))
    close = EDGE + 10 * HOUR + 3 * QUARTER
    assert close not in found and close + HOUR in found
    hourly = bars[3::4]["close"].copy()
    complete = np.delete(hourly, 5 * 24 + 10)[5 * 24 - 50 :]
    expected = library.RSI(complete, timeperiod=5)
    assert found[close + HOUR][0] == expected[50 + 10]
    # The four hours around the gap have no value of their own until the next four have closed.
    assert not np.isnan(found[close - HOUR][1])
    assert [bool(np.isnan(found[EDGE + h * HOUR - QUARTER][1])) for h in (12, 13, 15, 16)] == [True, True, True, False]


def test_the_newest_closed_bar_of_another_timeframe_counts():
    """F-28."""
    asked = [strategy({"last": python(lambda bars: bars.close[-1], window=1, timeframe="4h")})]
    bars = base_bars(400, start=EDGE)
    found = numbers(taken(asked, bars))
    for ts, row in found.items():
        closed = (ts + QUARTER - EDGE) // (4 * HOUR) * 16
        assert np.isnan(row[0]) if not closed else row[0] == bars["close"][closed - 1]


FUNCTIONS = [name for name in library.get_functions() if name != "MAVP"]
FEW = ["RSI", "EMA", "ADX", "MACD", "BBANDS", "OBV", "SAR", "HT_SINE", "CDLDOJI", "STOCHRSI", "VWAP", "KAMA"]


def all_at_once_and_one_at_a_time(name):
    for output in library.abstract.Function(name).info["output_names"]:
        one = talib(name, output=output)
        one.check("x")
        count = 30 * 24 + one.reach() + 3
        bars = made_up_bars(count)
        bars["ts"] = EDGE + np.arange(count) * HOUR - one.reach() * HOUR
        whole = values(one, HOUR, ByColumn(bars), np.arange(count), int(bars["ts"][0]))
        for i in [*range(one.reach(), one.reach() + 60), count - 3, count - 2, count - 1]:
            alone = values(one, HOUR, ByColumn(bars[: i + 1]), np.array([i]), int(bars["ts"][0]))
            assert alone.tobytes() == whole[i : i + 1].tobytes(), (name, output, i)


@pytest.mark.parametrize("name", FEW)
def test_talib_gives_the_same_bits_for_a_block_as_for_one_bar(name):
    all_at_once_and_one_at_a_time(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_of_talib_gives_the_same_bits_for_a_block_as_for_one_bar(name):
    all_at_once_and_one_at_a_time(name)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (talib("RSY"), "TA-Lib has no function 'RSY'; did you mean 'RSI'"),
        (talib("RSI", period=3), "RSI has no parameter 'period'; choose of timeperiod, price"),
        (talib("RSI", timeperiod=1), "RSI does not take timeperiod=1"),
        (talib("RSI", timeperiod=2.5), "Invalid parameter value for timeperiod"),
        (talib("RSI", timeperiod=[2]), "timeperiod is '[2]'; give a number"),
        (talib("SMA", price="colour"), "SMA is to read 'colour'; a bar has open, high, low, close, volume"),
        (talib("MACD"), "MACD: output is 'None'; choose one of macd, macdsignal, macdhist"),
        (talib("RSI", timeframe="7m"), "timeframe is '7m'; choose one of"),
        (talib("RSI", warmup=-1), "warmup is '-1'"),
        (python(spread, window=0), "window is '0'"),
        (python("spread", window=1), "'spread' is no function"),
        (python(lambda bars: np.cumsum(bars.close), window=3, batch=True), "leave batch out"),
        ("rsi", "declare it with talib"),
    ],
)
def test_what_cannot_be_computed_is_one_sentence(wrong, sentence):
    with pytest.raises(Misconfigured) as error:
        inputs_start([strategy({"one": wrong})], 0)
    assert str(error.value).startswith("strategy pullback: input one") and sentence in str(error.value)


@pytest.mark.parametrize("name", ["mean", "two words"])
def test_a_name_that_is_no_field_is_refused(name):
    with pytest.raises(Misconfigured, match="rename it"):
        inputs_start([strategy({name: talib("RSI")})], 0)


def test_names_do_not_depend_on_parameters():
    def by_timeframe(parameters):
        return {"rsi" if parameters.timeframe == "1h" else "ema": talib("RSI")}

    with pytest.raises(Misconfigured, match="let the names stay the same"):
        inputs_start([strategy(by_timeframe, "4h")], 0)


def test_without_talib_the_sentence_says_how_to_get_it(monkeypatch):
    from bot import inputs

    inputs._library.cache_clear()
    inputs._computed.cache_clear()
    monkeypatch.setitem(sys.modules, "talib", None)
    with pytest.raises(Misconfigured, match=r"needs TA-Lib, which is not installed; .*traderagent\[indicators\]"):
        inputs_start([strategy({"rsi": talib("RSI")})], 0)
    monkeypatch.undo()
    inputs._library.cache_clear()


def test_talib_brings_no_data_frames_along():
    code = "import sys; from bot.inputs import talib; talib('RSI').check('x'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "talib" in loaded and not {"pandas", "polars"} & loaded


def test_a_batch_gives_the_bits_of_its_windows():
    own = python(lambda bars: bars.high - bars.low, window=1, batch=True)
    own.check("x")
    bars = made_up_bars(50)
    assert own.column(ByColumn(bars), slice(None)).tobytes() == (bars.high - bars.low).tobytes()


def test_a_function_cannot_change_the_bars():
    def spoil(bars):
        bars.close[0] = 0.0
        return 0.0

    with pytest.raises(ValueError, match="read-only"):
        python(spoil, window=2).column(ByColumn(made_up_bars(5)), np.array([3]))
