"""Streaming oscillators and statistics: MACD, Stochastic, CCI, MFI, OBV, slope of a regression, z-score.

Like those of bot/indicators.py: a record and an `*_update(state, ...)` kernel each, one update per closed bar; the
docstring says from which `count` on the value is meaningful. Windows are of at most WINDOW values; their sums run over
the window itself, so no error accumulates.
"""

from __future__ import annotations

import numpy as np

from bot.indicators import (
    EMA,
    RING,
    WINDOW,
    ema_update,
    ring_highest,
    ring_lowest,
    ring_mean,
    ring_push,
)
from bot.kernel import Record, kernel

MACD = np.dtype(
    [
        ("fast", EMA),
        ("slow", EMA),
        ("smooth", EMA),
        ("value", "f8"),
        ("signal", "f8"),
        ("histogram", "f8"),
        ("count", "i8"),
    ]
)
STOCHASTIC = np.dtype(
    [("highs", RING), ("lows", RING), ("raw", RING), ("smoothed", RING), ("k", "f8"), ("d", "f8"), ("count", "i8")]
)
CCI = np.dtype([("ring", RING), ("value", "f8"), ("count", "i8")])
MFI = np.dtype([("typical", "f8"), ("rises", RING), ("falls", RING), ("value", "f8"), ("count", "i8")])
OBV = np.dtype([("previous", "f8"), ("value", "f8"), ("count", "i8")])
SLOPE = np.dtype([("ring", RING), ("value", "f8"), ("count", "i8")])
Z_SCORE = np.dtype([("ring", RING), ("value", "f8"), ("count", "i8")])


@kernel
def macd_update(macd: Record, value: float, fast: int, slow: int, signal: int) -> None:
    """Fast EMA - slow EMA, its EMA as signal, and the difference of both as histogram. Use after slow+signal-1.

    G. Appel, 1979. Each EMA starts with its first value, the signal's with the MACD of bar `slow`.
    """
    ema_update(macd.fast, value, fast)
    ema_update(macd.slow, value, slow)
    macd.count += 1
    macd.value = macd.fast.value - macd.slow.value
    if macd.count >= slow:
        ema_update(macd.smooth, macd.value, signal)
        macd.signal = macd.smooth.value
        macd.histogram = macd.value - macd.signal


@kernel
def stochastic_update(
    stochastic: Record, high: float, low: float, close: float, period: int, k_period: int, d_period: int
) -> None:
    """Place of the close in the range of `period` bars, 0 to 100, its mean `k`, and the mean `d` of that.

    0 where the range is empty. Use after period+k_period+d_period-2. G. Lane's slow stochastic.
    """
    ring_push(stochastic.highs, high)
    ring_push(stochastic.lows, low)
    stochastic.count += 1
    lowest = ring_lowest(stochastic.lows, period)
    spread = ring_highest(stochastic.highs, period) - lowest
    if stochastic.count < period:
        return
    ring_push(stochastic.raw, 100.0 * (close - lowest) / spread if spread > 0.0 else 0.0)
    stochastic.k = ring_mean(stochastic.raw, k_period)
    if stochastic.raw.count >= k_period:
        ring_push(stochastic.smoothed, stochastic.k)
        stochastic.d = ring_mean(stochastic.smoothed, d_period)


@kernel
def cci_update(cci: Record, high: float, low: float, close: float, period: int) -> None:
    """CCI = (p - mean) / (0.015 mean deviation) of p = (high+low+close)/3; 0 where nothing moved. Use after `period`.

    D. Lambert, Commodity Channel Index, 1980.
    """
    typical = (high + low + close) / 3.0
    ring_push(cci.ring, typical)
    cci.count += 1
    n = min(period, cci.count)
    mean, total = ring_mean(cci.ring, period), 0.0
    for back in range(n):
        total += abs(cci.ring.values[(cci.count - 1 - back) % WINDOW] - mean)
    away = typical - mean
    cci.value = away / (0.015 * total / n) if away != 0.0 and total > 0.0 else 0.0


@kernel
def mfi_update(mfi: Record, high: float, low: float, close: float, volume: float, period: int) -> None:
    """MFI = 100 U/(U+D), U and D sums of p v over `period` bars whose p = (high+low+close)/3 rose and fell.

    0 while less than one unit of money flows, as TA-Lib has it. Use after period+1. G. Quong and A. Soudack, 1989.
    """
    typical = (high + low + close) / 3.0
    if mfi.count > 0:
        flow = typical * volume
        ring_push(mfi.rises, flow if typical > mfi.typical else 0.0)
        ring_push(mfi.falls, flow if typical < mfi.typical else 0.0)
        n = min(period, mfi.count)
        rises, falls = ring_mean(mfi.rises, period) * n, ring_mean(mfi.falls, period) * n
        mfi.value = 100.0 * rises / (rises + falls) if rises + falls >= 1.0 else 0.0
    mfi.typical = typical
    mfi.count += 1


@kernel
def obv_update(obv: Record, close: float, volume: float) -> None:
    """Volume of rising bars less that of falling ones, from the first bar's volume on. J. Granville, 1963."""
    if obv.count == 0:
        obv.value = volume
    elif close > obv.previous:
        obv.value += volume
    elif close < obv.previous:
        obv.value -= volume
    obv.previous = close
    obv.count += 1


@kernel
def slope_update(slope: Record, value: float, period: int) -> None:
    """Slope of the line of least squares through the last `period` values, per bar. Use after `period`, 2 or more."""
    ring_push(slope.ring, value)
    slope.count += 1
    n = min(period, slope.count)
    if n < 2:
        return
    middle, mean, products, squares = (n - 1) / 2.0, ring_mean(slope.ring, period), 0.0, 0.0
    for back in range(n):
        x = middle - back
        products += x * (slope.ring.values[(slope.count - 1 - back) % WINDOW] - mean)
        squares += x * x
    slope.value = products / squares


@kernel
def z_score_update(score: Record, value: float, period: int) -> None:
    """Distance of the value to the mean of the last `period`, in their population deviations; 0 where all are equal.

    Use after `period`.
    """
    ring_push(score.ring, value)
    score.count += 1
    n = min(period, score.count)
    mean, squares = ring_mean(score.ring, period), 0.0
    for back in range(n):
        distance = score.ring.values[(score.count - 1 - back) % WINDOW] - mean
        squares += distance * distance
    deviation = np.sqrt(squares / n)
    score.value = (value - mean) / deviation if deviation > 0.0 else 0.0
