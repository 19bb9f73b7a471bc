"""Streaming indicators: one update per closed bar, the same update live and in simulation.

Each has a record dtype and an `*_update(state, ...)` kernel; nothing is ever recomputed over a window, so a
long history, a restart and a simulation agree to the last bit. `count` is the number of values seen; the
docstring says from which count on the value is meaningful.
"""

from __future__ import annotations

import numpy as np

from bot.kernel import Record, kernel
from bot.times import DAY, HOUR

WINDOW = 128  # longest window of the windowed indicators, bars

EMA = np.dtype([("value", "f8"), ("count", "i8")])
WILDER = np.dtype([("value", "f8"), ("count", "i8")])
RSI = np.dtype([("previous", "f8"), ("gain", WILDER), ("loss", WILDER), ("value", "f8"), ("count", "i8")])
ATR = np.dtype([("previous", "f8"), ("smooth", WILDER), ("value", "f8"), ("count", "i8")])
ADX = np.dtype(
    [
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("true_range", "f8"),
        ("plus", "f8"),
        ("minus", "f8"),
        ("plus_di", "f8"),
        ("minus_di", "f8"),
        ("smooth", WILDER),
        ("value", "f8"),
        ("count", "i8"),
    ]
)
RING = np.dtype([("values", "f8", (WINDOW,)), ("count", "i8")])
LONG_WINDOW = 512
LONG_RING = np.dtype([("values", "f8", (LONG_WINDOW,)), ("count", "i8")])
BOLLINGER = np.dtype([("ring", RING), ("middle", "f8"), ("deviation", "f8"), ("count", "i8")])


@kernel
def ema_update(ema: Record, value: float, period: int) -> None:
    """EMA_t = EMA_{t-1} + 2/(period+1) (x_t - EMA_{t-1}); the first value starts it. Use after `period`."""
    ema.value = value if ema.count == 0 else ema.value + 2.0 / (period + 1) * (value - ema.value)
    ema.count += 1


@kernel
def wilder_update(mean: Record, value: float, period: int) -> None:
    """Smooth by Wilder: the plain mean of the first `period` values, then m_t = m_{t-1} + (x_t - m_{t-1})/period.

    Before `period` values it is the mean of those seen. J. W. Wilder, New Concepts in Technical Trading
    Systems, 1978.
    """
    mean.count += 1
    mean.value += (value - mean.value) / min(mean.count, period)


@kernel
def rsi_update(rsi: Record, close: float, period: int) -> None:
    """RSI = 100 G/(G+L), G and L Wilder means of rises and falls; flat is 50, no fall is 100. Use after period+1."""
    if rsi.count > 0:
        change = close - rsi.previous
        wilder_update(rsi.gain, max(change, 0.0), period)
        wilder_update(rsi.loss, max(-change, 0.0), period)
    moved = rsi.gain.value + rsi.loss.value
    rsi.value = 100.0 * rsi.gain.value / moved if moved > 0.0 else 50.0
    rsi.previous = close
    rsi.count += 1


@kernel
def on_ticks(move: float, tick: float) -> float:
    """A difference of two prices as a whole multiple of `tick`, so that equal ones are equal; as it is if that is 0."""
    return np.rint(move / tick) * tick if tick > 0.0 else move


@kernel
def true_range(high: float, low: float, previous_close: float) -> float:
    """Wilder's true range: the bar with the gap before it."""
    return max(high, previous_close) - min(low, previous_close)


@kernel
def atr_update(atr: Record, high: float, low: float, close: float, period: int, tick: float = 0.0) -> None:
    """ATR = Wilder mean of the true range; the first bar only gives the previous close. Use after period+1.

    With a `tick` (quote currency) ranges are whole multiples of it.
    """
    if atr.count > 0:
        wilder_update(atr.smooth, on_ticks(true_range(high, low, atr.previous), tick), period)
        atr.value = atr.smooth.value
    else:
        atr.value = on_ticks(high - low, tick)
    atr.previous = close
    atr.count += 1


@kernel
def adx_update(adx: Record, high: float, low: float, close: float, period: int, tick: float = 0.0) -> None:
    """ADX = Wilder mean of DX = 100 |DI+ - DI-| / (DI+ + DI-). Use DI after period+1, ADX after 2*period.

    The sums start with the first period-1 moves and then decay, s_t = s_{t-1} - s_{t-1}/period + x_t, which is
    how TA-Lib reads Wilder. With a `tick` (quote currency) moves and ranges are whole multiples of it: of two equal
    moves neither counts, and binary fractions would decide which is larger.
    """
    if adx.count > 0:
        up = on_ticks(high - adx.high, tick)
        down = on_ticks(adx.low - low, tick)
        plus = up if up > down and up > 0.0 else 0.0
        minus = down if down > up and down > 0.0 else 0.0
        decay = 1.0 / period if adx.count >= period else 0.0
        adx.plus += plus - adx.plus * decay
        adx.minus += minus - adx.minus * decay
        adx.true_range += on_ticks(true_range(high, low, adx.close), tick) - adx.true_range * decay
        if adx.count >= period:
            _directions(adx, period)
    adx.high = high
    adx.low = low
    adx.close = close
    adx.count += 1


@kernel
def _directions(adx: Record, period: int) -> None:
    if adx.true_range <= 0.0:
        return
    adx.plus_di = 100.0 * adx.plus / adx.true_range
    adx.minus_di = 100.0 * adx.minus / adx.true_range
    both = adx.plus_di + adx.minus_di
    if both > 0.0:
        wilder_update(adx.smooth, 100.0 * abs(adx.plus_di - adx.minus_di) / both, period)
        adx.value = adx.smooth.value


@kernel
def ring_push(ring: Record, value: float) -> None:
    """Remember `value`; as many of the last ones as the ring is long stay readable."""
    ring.values[ring.count % len(ring.values)] = value
    ring.count += 1


@kernel
def ring_mean(ring: Record, period: int) -> float:
    """Mean of the last `period` values (of those seen, while fewer); 0 when none."""
    n = min(period, ring.count)
    total = 0.0
    for back in range(n):
        total += ring.values[(ring.count - 1 - back) % len(ring.values)]
    return total / n if n > 0 else 0.0


@kernel
def ring_highest(ring: Record, period: int) -> float:
    """Highest of the last `period` values (of those seen, while fewer); -inf when none."""
    highest = -np.inf
    for back in range(min(period, ring.count)):
        highest = max(highest, ring.values[(ring.count - 1 - back) % len(ring.values)])
    return highest


@kernel
def ring_lowest(ring: Record, period: int) -> float:
    """Lowest of the last `period` values (of those seen, while fewer); +inf when none."""
    lowest = np.inf
    for back in range(min(period, ring.count)):
        lowest = min(lowest, ring.values[(ring.count - 1 - back) % len(ring.values)])
    return lowest


@kernel
def bollinger_update(bands: Record, close: float, period: int) -> None:
    """Middle = mean, deviation = population standard deviation of the last `period` closes. Use after `period`.

    Bands lie at middle +- k * deviation. Both passes run over the window itself, so no error accumulates.
    """
    ring_push(bands.ring, close)
    bands.count += 1
    n = min(period, bands.count)
    middle = ring_mean(bands.ring, period)
    squares = 0.0
    for back in range(n):
        distance = bands.ring.values[(bands.count - 1 - back) % WINDOW] - middle
        squares += distance * distance  # a power has other bits where it is interpreted, and so has NumPy's sum below
    bands.middle = middle
    bands.deviation = np.sqrt(squares / n)


HOURS, DAYS = 24, 30

VOLUME = np.dtype(
    [
        ("hours", "f8", (HOURS,)),
        ("days", "f8", (DAYS,)),
        ("hour", "i8"),  # hour and day since the epoch that are being filled
        ("day", "i8"),
        ("today", "f8"),
        ("complete_days", "i8"),
        ("ratio", "f8"),
        ("count", "i8"),
    ]
)


@kernel
def volume_update(volume: Record, ts: int, amount: float) -> None:
    """Ratio of the volume of the last 24 clock hours to the mean of the last 30 complete UTC days; 0 before a day.

    `ts` is the bar's opening, ms; the hour and the day that hold it are the present ones. Days without a bar
    do not count.
    """
    hour, day = ts // HOUR, ts // DAY
    if volume.count == 0:
        volume.hour, volume.day = hour, day
    for passed in range(volume.hour + 1, min(hour, volume.hour + HOURS) + 1):
        volume.hours[passed % HOURS] = 0.0
    if hour > volume.hour + HOURS:
        volume.hours[:] = 0.0
    if day != volume.day:
        volume.days[volume.complete_days % DAYS] = volume.today
        volume.complete_days += 1
        volume.today = 0.0
    volume.hour, volume.day = hour, day
    volume.hours[hour % HOURS] += amount
    volume.today += amount
    volume.count += 1
    known = min(volume.complete_days, DAYS)
    total = 0.0
    for index in range(known):
        total += volume.days[index]
    volume.ratio = 0.0
    if total > 0.0:
        hours = 0.0
        for index in range(HOURS):
            hours += volume.hours[index]
        volume.ratio = hours / (total / known)
