"""Streaming channels and oscillators: TA-Lib's values to 1e-9, plain references where it has another convention."""

from __future__ import annotations

import numpy as np
import pytest
import talib

from bot import channels as ch
from bot import oscillators as osc
from bot.inputs import made_up_bars
from bot.record import new_record
from bot.times import DAY, HOUR
from tests.conftest import real

NEAR = {"rtol": 1e-9, "atol": 1e-9}


def hourly(name):
    """Bars of an hour (n,): made up, or of a real market."""
    if name == "made up":
        bars = made_up_bars(750)
        bars["high"][300:330] = bars["low"][300:330] = bars["open"][300:330] = bars["close"][300:330] = 100.0
        bars["volume"][400:410] = 0.0
        bars["close"][618] += 0.01  # else a tie of two typical prices, which rounding decides
        return bars
    candles = real(name)
    n = min(len(candles) // 60, 750)
    bars = made_up_bars(n)
    shaped = {field: getattr(candles, field)[: n * 60].reshape(n, 60) for field in ("ts", "open", "high", "low")}
    bars["ts"], bars["open"] = shaped["ts"][:, 0], shaped["open"][:, 0]
    bars["high"], bars["low"] = shaped["high"].max(1), shaped["low"].min(1)
    bars["close"] = candles.close[: n * 60].reshape(n, 60)[:, -1]
    bars["volume"] = candles.volume[: n * 60].reshape(n, 60).sum(1)
    return bars


@pytest.fixture(scope="module", params=["made up", "ftx/linear/BTCPERP/1m.parquet"])
def bars(request):
    return hourly(request.param)


def run(dtype, update, bars, *fields):
    """Values of these fields after each bar, (n,) each."""
    state, found = new_record(dtype), np.zeros((len(fields), len(bars)))
    for i, bar in enumerate(bars):
        update(state, bar)
        found[:, i] = [state[field] for field in fields]
    return found


def prices(bars, *names):
    return [np.ascontiguousarray(bars[name]) for name in names]


HLC = ("high", "low", "close")


def same(ours, theirs, after):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one[after:], other[after:], **NEAR)


def test_donchian(bars):
    ours = run(ch.DONCHIAN, lambda s, b: ch.donchian_update(s, b.high, b.low, 20), bars, "upper", "lower")
    upper, _, lower = talib.DONCHIAN(*prices(bars, "high", "low"), timeperiod=20)
    same(ours, (upper, lower), 19)


def test_keltner(bars):
    def update(s, b):
        ch.keltner_update(s, b.high, b.low, b.close, 20, 10, 2.0)

    ours = run(ch.KELTNER, update, bars, "upper", "middle", "lower")
    middle, width = talib.EMA(*prices(bars, "close"), timeperiod=20), talib.ATR(*prices(bars, *HLC), timeperiod=10)
    same(ours, (middle + 2 * width, middle, middle - 2 * width), 400)


def test_supertrend(bars):
    def update(s, b):
        ch.supertrend_update(s, b.high, b.low, b.close, 10, 3.0)

    ours = run(ch.SUPERTREND, update, bars, "value", "direction")
    same(ours, talib.SUPERTREND(*prices(bars, *HLC), timeperiod=10, multiplier=3.0), 10)
    assert {-1, 1} == set(ours[1][10:])


def test_vwap_starts_anew_at_midnight(bars):
    def update(s, b):
        ch.vwap_update(s, b.ts, b.high, b.low, b.close, b.volume)

    (ours,) = run(ch.VWAP, update, bars, "value")
    typical = (bars["high"] + bars["low"] + bars["close"]) / 3
    for i in range(len(bars)):
        day = slice(int(np.searchsorted(bars["ts"], bars["ts"][i] // DAY * DAY)), i + 1)
        volume = bars["volume"][day].sum()
        plain = (typical[day] * bars["volume"][day]).sum() / volume if volume else bars["close"][i]
        assert ours[i] == pytest.approx(plain, rel=1e-12)


def test_heikin_ashi(bars):
    fields = ("open", "high", "low", "close")
    ours = run(ch.HEIKIN_ASHI, lambda s, b: ch.heikin_ashi_update(s, b.open, b.high, b.low, b.close), bars, *fields)
    same(ours, talib.HA(*prices(bars, *fields)), 0)


def test_macd(bars):
    ours = run(osc.MACD, lambda s, b: osc.macd_update(s, b.close, 12, 26, 9), bars, "value", "signal", "histogram")
    same(ours, talib.MACD(*prices(bars, "close")), 600)


def test_stochastic(bars):
    def update(s, b):
        osc.stochastic_update(s, b.high, b.low, b.close, 5, 3, 4)

    ours = run(osc.STOCHASTIC, update, bars, "k", "d")
    theirs = talib.STOCH(*prices(bars, *HLC), fastk_period=5, slowk_period=3, slowd_period=4)
    same(ours, theirs, 5 + 3 + 4 - 3)


def test_cci(bars):
    (ours,) = run(osc.CCI, lambda s, b: osc.cci_update(s, b.high, b.low, b.close, 14), bars, "value")
    theirs = talib.CCI(*prices(bars, *HLC), timeperiod=14)
    moved = np.abs(ours) < 1000  # where all that is left of the window is rounding, so is the value
    assert moved.mean() > 0.95
    np.testing.assert_allclose(ours[13:][moved[13:]], theirs[13:][moved[13:]], rtol=1e-9, atol=1e-6)


def test_mfi(bars):
    (ours,) = run(osc.MFI, lambda s, b: osc.mfi_update(s, b.high, b.low, b.close, b.volume, 14), bars, "value")
    same((ours,), (talib.MFI(*prices(bars, *HLC, "volume"), timeperiod=14),), 14)


def test_obv(bars):
    (ours,) = run(osc.OBV, lambda s, b: osc.obv_update(s, b.close, b.volume), bars, "value")
    same((ours,), (talib.OBV(*prices(bars, "close", "volume")),), 0)


def test_slope(bars):
    (ours,) = run(osc.SLOPE, lambda s, b: osc.slope_update(s, b.close, 14), bars, "value")
    scale = bars["close"].mean()
    theirs = talib.LINEARREG_SLOPE(*prices(bars, "close"), timeperiod=14)
    np.testing.assert_allclose(ours[13:] / scale, theirs[13:] / scale, rtol=0, atol=1e-9)


def test_z_score(bars):
    (ours,) = run(osc.Z_SCORE, lambda s, b: osc.z_score_update(s, b.close, 30), bars, "value")
    close = bars["close"]
    for i in range(29, len(bars)):
        window = close[i - 29 : i + 1]
        deviation = np.std(window)
        plain = (close[i] - window.mean()) / deviation if deviation > 1e-9 else 0.0
        assert ours[i] == pytest.approx(plain, rel=1e-9, abs=1e-6)


def test_a_period_of_one_and_a_market_that_stands_still_divide_by_nothing():
    bars = made_up_bars(200)
    for name in ("open", "high", "low", "close"):
        bars[name] = 5.0
    bars["volume"] = 0.0
    assert not np.any(
        run(osc.STOCHASTIC, lambda s, b: osc.stochastic_update(s, 5.0, 5.0, 5.0, 1, 1, 1), bars, "k", "d")
    )
    assert not np.any(run(osc.CCI, lambda s, b: osc.cci_update(s, 5.0, 5.0, 5.0, 1), bars, "value"))
    assert not np.any(run(osc.MFI, lambda s, b: osc.mfi_update(s, 5.0, 5.0, 5.0, 0.0, 1), bars, "value"))
    assert not np.any(run(osc.SLOPE, lambda s, b: osc.slope_update(s, 5.0, 1), bars, "value"))
    assert not np.any(run(osc.Z_SCORE, lambda s, b: osc.z_score_update(s, 5.0, 1), bars, "value"))
    (vwap,) = run(ch.VWAP, lambda s, b: ch.vwap_update(s, b.ts + HOUR, 5.0, 5.0, 5.0, 0.0), bars, "value")
    assert (vwap == 5.0).all()
