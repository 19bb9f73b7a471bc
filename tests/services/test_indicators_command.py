"""`traderagent indicators` as a person meets it: the list, one explained, and a series."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import talib

from backtesting.candles import to_frame
from services.app import indicator_series
from services.app.research_answers import answer
from services.market_data.store import CandleStore
from tests.conftest import walk
from tests.services.test_command_line import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("indicators")
    to_frame(walk(30 * 1440, seed=3)).write_parquet(folder / "mine.parquet")
    return folder


def test_all_are_listed_by_group():
    shown = run("indicators").stdout
    assert "213 indicators" in shown and "momentum" in shown and "pattern" in shown
    for name in ("RSI", "CDLHAMMER", "ICHIMOKU", "SUPERTREND"):
        assert f" {name} " in shown


def test_one_is_explained():
    shown = run("indicators", "macd").stdout
    assert "outputs: macd, macdsignal, macdhist" in shown
    assert "rule (state): LONG while macd is above 0, SHORT while macd is below 0" in shown
    assert "2 … 200" in shown and "not searched" in shown


@pytest.mark.parametrize("name", ["series.csv", "series.parquet"])
def test_a_series_is_written_and_is_that_of_the_library(folder, name):
    options = (
        "compute",
        "RSI",
        "--pair",
        "BTCUSDT",
        "--candles",
        "mine.parquet",
        "--set",
        "timeperiod=7",
        "--out",
        name,
    )
    assert "bars of 1h in" in run("indicators", *options, cwd=folder).stdout
    frame = (pl.read_csv if name.endswith("csv") else pl.read_parquet)(folder / name)
    assert frame.columns == ["time", "close", "real"] and len(frame) > 300
    close = walk(30 * 1440, seed=3).close[59::60]
    np.testing.assert_allclose(frame["real"], talib.RSI(close, timeperiod=7)[-len(frame) :], atol=1e-3)


def test_a_series_is_printed(folder):
    shown = run("indicators", "compute", "KC", "--pair", "BTCUSDT", "--candles", "mine.parquet", cwd=folder).stdout
    assert "upperband" in shown and "KC, the last of" in shown


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("RSY",), "indicator 'RSY' is unknown; did you mean 'RSI'."),
        (("compute", "RSI", "--pair", "BTCUSDT", "--set", "length=3"), "indicator RSI has no parameter 'length'"),
        (("compute", "RSI", "--pair", "BTCUSDT", "--set", "timeperiod=0"), "give a whole number from 2 to 500"),
        (("compute", "RSI", "--pair", "BTCUSDT", "--out", "x.txt"), "name a file that ends with .csv or .parquet"),
        (("compute", "RSI", "--pair", "B CUSDT"), "which is no symbol"),
    ],
)
def test_a_mistake_is_one_sentence(options, sentence):
    done = run("indicators", *options, code=2)
    assert done.stderr.startswith("error: ") and sentence in done.stderr and done.stderr.count("\n") == 1


def test_the_console_computes_the_same_from_the_store_and_says_before_how_much_it_is(tmp_path, monkeypatch):
    candles = walk(30 * 1440, seed=3)
    CandleStore(tmp_path).write("bybit", "linear", "BTCUSDT", candles)

    def asked(question, **more):
        said = {"indicator": "RSI", "parameters": {"timeperiod": 7}, "pair": "BTCUSDT", "timeframe": "1h", **more}
        return answer(json.dumps({"question": question, "said": said}), tmp_path)

    told = asked("indicator_estimate")["answer"]
    assert told == {"read": 30 * 1440, "bars": 720, "told": 720, "outputs": ["real"], "refused": False}
    found = asked("indicator_compute")["answer"]
    assert found["at"][-1] + 3_600_000 == int(candles.ts[-1]) + 60_000  # the opening of the last bar
    known = [one for one in found["outputs"]["real"] if one is not None]
    np.testing.assert_allclose(known, talib.RSI(candles.close[59::60], timeperiod=7)[-len(known) :], rtol=1e-4)
    assert asked("indicator_compute", indicator="RSY")["refused"].startswith("indicator is 'RSY'; did you mean 'RSI'")
    assert "timeperiod" in asked("indicator_compute", parameters={"timeperiod": 1e9})["refused"]
    monkeypatch.setattr(indicator_series, "MOST_READ", 1000)
    assert asked("indicator_estimate")["answer"]["refused"]
    assert "over 1,000; give a shorter period" in asked("indicator_compute")["refused"]
