"""Streaming channels and overlays: Donchian, Keltner, Supertrend, VWAP of the day, Heikin-Ashi candles.

Like those of bot/indicators.py: a record and an `*_update(state, ...)` kernel each, one update per closed bar; the
docstring says from which `count` on the value is meaningful. Prices are in quote currency. A DONCHIAN, STOCHASTIC or
other windowed state remembers WINDOW bars, which is the longest period.
"""

from __future__ import annotations

import numpy as np

from bot.indicators import ATR, EMA, RING, atr_update, ema_update, ring_highest, ring_lowest, ring_push
from bot.kernel import Record, kernel
from bot.times import DAY

DONCHIAN = np.dtype([("highs", RING), ("lows", RING), ("upper", "f8"), ("lower", "f8"), ("count", "i8")])
KELTNER = np.dtype(
    [("average", EMA), ("atr", ATR), ("upper", "f8"), ("middle", "f8"), ("lower", "f8"), ("count", "i8")]
)
SUPERTREND = np.dtype(
    [
        ("atr", ATR),
        ("upper", "f8"),
        ("lower", "f8"),
        ("close", "f8"),
        ("value", "f8"),
        ("direction", "i8"),
        ("count", "i8"),
    ]
)
VWAP = np.dtype([("day", "i8"), ("worth", "f8"), ("volume", "f8"), ("value", "f8"), ("count", "i8")])
HEIKIN_ASHI = np.dtype([("open", "f8"), ("high", "f8"), ("low", "f8"), ("close", "f8"), ("count", "i8")])


@kernel
def donchian_update(channel: Record, high: float, low: float, period: int) -> None:
    """Highest high and lowest low of the last `period` bars, the present one among them. Use after `period`."""
    ring_push(channel.highs, high)
    ring_push(channel.lows, low)
    channel.upper = ring_highest(channel.highs, period)
    channel.lower = ring_lowest(channel.lows, period)
    channel.count += 1


@kernel
def keltner_update(
    channel: Record, high: float, low: float, close: float, period: int, atr_period: int, width: float
) -> None:
    """EMA of the close +- `width` Wilder ATRs. Use after `period` and atr_period+1.

    C. Keltner, How to Make Money in Commodities, 1960, as L. Raschke uses it.
    """
    ema_update(channel.average, close, period)
    atr_update(channel.atr, high, low, close, atr_period)
    channel.middle = channel.average.value
    channel.upper = channel.middle + width * channel.atr.value
    channel.lower = channel.middle - width * channel.atr.value
    channel.count += 1


@kernel
def supertrend_update(trend: Record, high: float, low: float, close: float, period: int, width: float) -> None:
    """Band at (high+low)/2 +- `width` Wilder ATRs that only comes nearer; a close beyond it turns the direction.

    `value` is the band in force, `direction` +1 above the lower one, with which it starts, and -1 under the upper one.
    Use after period+1. O. Seban, 2009.
    """
    atr_update(trend.atr, high, low, close, period)
    trend.count += 1
    if trend.count <= period:
        trend.close = close
        return
    middle, distance = (high + low) / 2.0, width * trend.atr.value
    upper, lower = middle + distance, middle - distance
    if trend.count > period + 1:
        upper = upper if upper < trend.upper or trend.close > trend.upper else trend.upper
        lower = lower if lower > trend.lower or trend.close < trend.lower else trend.lower
        if trend.direction < 0:
            trend.direction = 1 if close > upper else -1
        else:
            trend.direction = -1 if close < lower else 1
    else:
        trend.direction = 1
    trend.upper, trend.lower, trend.close = upper, lower, close
    trend.value = lower if trend.direction > 0 else upper


@kernel
def vwap_update(vwap: Record, ts: int, high: float, low: float, close: float, volume: float) -> None:
    """Mean of (high+low+close)/3 weighted by volume, since 00:00 UTC; the close while nothing was traded.

    `ts` is the bar's opening, ms.
    """
    day = ts // DAY
    if vwap.count == 0 or day != vwap.day:
        vwap.day, vwap.worth, vwap.volume = day, 0.0, 0.0
    vwap.worth += (high + low + close) / 3.0 * volume
    vwap.volume += volume
    vwap.value = vwap.worth / vwap.volume if vwap.volume > 0.0 else close
    vwap.count += 1


@kernel
def heikin_ashi_update(candle: Record, open_: float, high: float, low: float, close: float) -> None:
    """Close = mean of the four prices, open = middle of the candle before; the first opens at (open+close)/2."""
    mean = (open_ + high + low + close) / 4.0
    candle.open = (open_ + close) / 2.0 if candle.count == 0 else (candle.open + candle.close) / 2.0
    candle.close = mean
    candle.high = max(high, candle.open, mean)
    candle.low = min(low, candle.open, mean)
    candle.count += 1
