"""Streaming indicators in Decimal, written from the conventions beside docs/execution.md alone."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from tests.oracle.numbers import ONE, ZERO

HUNDRED = Decimal(100)
HOUR = 3_600_000
DAY = 24 * HOUR


class Ema:
    """EMA_t = EMA_{t-1} + 2 / (p + 1) (x - EMA_{t-1}); the first value starts it."""

    def __init__(self, period: int) -> None:
        self.alpha = Decimal(2) / (period + 1)
        self.value = ZERO
        self.count = 0

    def update(self, x: Decimal) -> Decimal:
        self.value = x if self.count == 0 else self.value + self.alpha * (x - self.value)
        self.count += 1
        return self.value


class Wilder:
    """Running mean of the values while there are fewer than p, then m += (x - m) / p."""

    def __init__(self, period: int) -> None:
        self.period = period
        self.value = ZERO
        self.count = 0

    def update(self, x: Decimal) -> Decimal:
        self.count += 1
        self.value += (x - self.value) / min(self.count, self.period)
        return self.value


class Atr:
    """Wilder mean of the true range; until the second bar the first bar's H - L."""

    def __init__(self, period: int) -> None:
        self.mean = Wilder(period)
        self.close: Decimal | None = None
        self.value = ZERO

    def update(self, high: Decimal, low: Decimal, close: Decimal) -> Decimal:
        if self.close is None:
            self.value = high - low
        else:
            self.value = self.mean.update(max(high, self.close) - min(low, self.close))
        self.close = close
        return self.value


class Rsi:
    """100 G / (G + L) of the Wilder means of rises and falls; 50 if both are 0."""

    def __init__(self, period: int) -> None:
        self.gain, self.loss = Wilder(period), Wilder(period)
        self.close: Decimal | None = None
        self.value = Decimal(50)

    def update(self, close: Decimal) -> Decimal:
        if self.close is not None:
            move = close - self.close
            gain, loss = self.gain.update(max(move, ZERO)), self.loss.update(max(-move, ZERO))
            self.value = HUNDRED * gain / (gain + loss) if gain + loss > 0 else Decimal(50)
        self.close = close
        return self.value


class Adx:
    """TA-Lib's ADX: sums of moves up to p - 1, s = s - s/p + x from move p on, Wilder mean of the DX."""

    def __init__(self, period: int) -> None:
        self.period = period
        self.moves = 0
        self.plus = self.minus = self.range = ZERO
        self.last: tuple[Decimal, Decimal, Decimal] | None = None
        self.mean = Wilder(period)

    @property
    def value(self) -> Decimal:
        return self.mean.value

    def update(self, high: Decimal, low: Decimal, close: Decimal) -> Decimal:
        last, self.last = self.last, (high, low, close)
        if last is not None:
            up, down = high - last[0], last[1] - low
            plus = up if up > down and up > 0 else ZERO
            minus = down if down > up and down > 0 else ZERO
            self._move(plus, minus, max(high, last[2]) - min(low, last[2]))
        return self.value

    def _move(self, plus: Decimal, minus: Decimal, true_range: Decimal) -> None:
        self.moves += 1
        keep = ONE if self.moves < self.period else ONE - ONE / self.period
        self.plus = self.plus * keep + plus
        self.minus = self.minus * keep + minus
        self.range = self.range * keep + true_range
        if self.moves < self.period or self.range <= 0:
            return
        di_plus, di_minus = HUNDRED * self.plus / self.range, HUNDRED * self.minus / self.range
        if di_plus + di_minus > 0:
            self.mean.update(HUNDRED * abs(di_plus - di_minus) / (di_plus + di_minus))


class Bollinger:
    """Mean and population deviation of the last closes; a band is the mean -+ 2 deviations."""

    def __init__(self, period: int) -> None:
        self.closes: deque[Decimal] = deque(maxlen=period)
        self.lower = self.upper = ZERO

    def update(self, close: Decimal) -> None:
        self.closes.append(close)
        count = len(self.closes)
        mean = sum(self.closes, ZERO) / count
        deviation = (sum(((x - mean) ** 2 for x in self.closes), ZERO) / count).sqrt()
        self.lower, self.upper = mean - 2 * deviation, mean + 2 * deviation


class VolumeRatio:
    """Volume of the last 24 clock hours over the mean volume of the last (at most 30) complete days."""

    def __init__(self) -> None:
        self.hours: deque[tuple[int, Decimal]] = deque()
        self.days: deque[Decimal] = deque(maxlen=30)
        self.day: int | None = None
        self.today = ZERO
        self.value = ZERO

    def update(self, opened: int, volume: Decimal) -> Decimal:
        hour, day = opened // HOUR, opened // DAY
        self.hours.append((hour, volume))
        while self.hours[0][0] < hour - 23:
            self.hours.popleft()
        if self.day is not None and day > self.day:
            self.days.append(self.today)
            self.today = ZERO
        self.day = day
        self.today += volume
        mean = sum(self.days, ZERO) / len(self.days) if self.days else ZERO
        self.value = sum((v for _, v in self.hours), ZERO) / mean if mean > 0 else ZERO
        return self.value
