"""Candles of one pair as arrays, and times and bar lengths as text.

A candle's time is its opening, UTC, epoch milliseconds.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.errors import Misconfigured, shown
from bot.times import DAY, HOUR, MINUTE, SECOND, WEEK

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = ("ts", "open", "high", "low", "close", "volume")

BAR_LENGTHS = tuple(
    SECOND * s
    for s in (1, 5, 15, 30, 60, 180, 300, 900, 1800, 3600, 7200, 14400, 21600, 28800, 43200, 86400, 259200, 604800)
)
EARLIEST_MS = 1_230_768_000_000  # 2009-01-01: no coin was traded before
LATEST_MS = 253_402_300_799_000  # the last second that has a date
NEARLY_ALL, OFTEN = 0.99, 0.02  # shares of a file's steps


# Any time that is read lies between: 1900 and 2200.
FIRST_MS, LAST_MS = -2_208_988_800_000, 7_258_118_400_000


@dataclass(frozen=True, slots=True)
class Candles:
    """Base bars of one pair: six arrays of shape (n,), ascending in `ts` once checked, gaps allowed.

    `ts` is int64 (ms, opening time); prices are float64 in quote currency, `volume` float64 in base currency;
    `bar_ms` is the length of one bar.
    """

    ts: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    bar_ms: int

    def __len__(self) -> int:
        return len(self.ts)

    def snapshot(self) -> str:
        """Data snapshot id: SHA-256 over the six arrays, first 16 hex digits; equal data, equal id."""
        digest = hashlib.sha256(str(self.bar_ms).encode())
        for name in COLUMNS:
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return digest.hexdigest()[:16]

    def rows(self, chosen: Any) -> Candles:
        """Rows chosen by a slice, mask or index array."""
        return Candles(bar_ms=self.bar_ms, **{name: getattr(self, name)[chosen] for name in COLUMNS})

    def between(self, start_ms: int | None, end_ms: int | None) -> Candles:
        """Bars that open in [start_ms, end_ms); None is unbounded. The candles must be ascending."""
        first = 0 if start_ms is None else int(np.searchsorted(self.ts, start_ms))
        last = len(self) if end_ms is None else int(np.searchsorted(self.ts, end_ms))
        return self.rows(slice(first, max(first, last)))


def parse_time(text: str) -> int:
    """Epoch milliseconds of "2024-03-05", "20240305", "2024-03-05T12:00[Z]" or epoch digits; naive means UTC.

    Raises Misconfigured when it is none of these.
    """
    text = text.strip()
    if re.fullmatch(r"-?[0-9]{1,20}", text) and not re.fullmatch(r"(19|20)\d{6}", text):
        found = int(to_ms(np.array([float(text)]))[0])
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise Misconfigured(
                f"time {shown(text)} is no date; write it like 2024-03-05 or 2024-03-05T12:00."
            ) from None
        found = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
    if not FIRST_MS <= found <= LAST_MS:
        raise Misconfigured(f"time {shown(text)} lies outside the years 1900 to 2200; correct it.")
    return found


def iso(ms: int) -> str:
    """UTC time of epoch milliseconds, such as 2024-03-05T12:00:00Z; the number itself where it is no time of ours."""
    if not FIRST_MS <= ms <= LAST_MS:
        return f"{ms} ms"
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def bar_length(ts: NDArray[np.int64], named_ms: int | None = None) -> int:
    """Length of a bar in ms, by the steps between times and by the length that the file's name tells.

    It is the longest known length that divides nearly every step and is a usual step itself: minutes of which mostly
    every second one is there are minutes still. Steps that are all alike overrule the name. Raises Misconfigured when
    it is no known length.
    """
    steps, counts = np.unique(np.abs(np.diff(ts)), return_counts=True)
    steps, counts = steps[steps > 0], counts[steps > 0]
    if not len(steps):
        if named_ms is not None:
            return named_ms
        raise Misconfigured("candles: a single row does not tell the length of a bar; give at least two.")
    if np.all((steps >= 28 * DAY) & (steps <= 31 * DAY)):
        raise Misconfigured("candles: bars of a month differ in length; give bars of a week or shorter.")
    shares = counts / counts.sum()

    def divides(length: int) -> bool:
        return bool(shares[steps % length == 0].sum() >= NEARLY_ALL)

    if named_ms in BAR_LENGTHS and divides(named_ms) and (named_ms in steps or shares.max() < NEARLY_ALL):
        return named_ms
    usual = [length for length in BAR_LENGTHS if shares[steps == length].sum() >= OFTEN]
    step = max((length for length in usual if divides(length)), default=int(steps[np.argmax(counts)]))
    if step not in BAR_LENGTHS:
        raise Misconfigured(f"candles: the usual step between rows is {step} ms, which is no bar length known.")
    return step


def grid_offset(ts: NDArray[np.int64], bar_ms: int) -> int:
    """How far bars begin after multiples of their length since the epoch, ms: whole hours, of long bars only.

    Weeks begin on Mondays, and some exchanges' days at 16:00 UTC.
    """
    if bar_ms <= HOUR or not len(ts):
        return 0
    offsets, counts = np.unique(ts % bar_ms, return_counts=True)
    offset = int(offsets[np.argmax(counts)])
    return offset if offset % HOUR == 0 else 0


def bar_name(bar_ms: int) -> str:
    """Name of a bar's length: 1m, 5m, 1h, 1d, 1w."""
    if bar_ms == WEEK:
        return "1w"
    for unit, length in (("d", DAY), ("h", HOUR), ("m", MINUTE)):
        if bar_ms % length == 0:
            return f"{bar_ms // length}{unit}"
    return f"{bar_ms // SECOND}s"


def to_ms(values: NDArray[Any]) -> NDArray[np.int64]:
    """Epoch numbers in seconds, ms, µs or ns to ms; the size of each tells its unit, what is no number becomes -1."""
    numbers = values.astype(np.float64)
    with np.errstate(invalid="ignore"):
        size = np.abs(numbers)
        scale = np.select([size < 1e11, size < 1e14, size < 1e17], [1000.0, 1.0, 1e-3], 1e-6)
        scaled = np.clip(np.nan_to_num(numbers * scale, nan=-1.0), -LATEST_MS, LATEST_MS)
    return np.rint(scaled).astype(np.int64)


def rolled_up(bars: NDArray[Any], minutes: int) -> tuple[NDArray[Any], int]:
    """Candles of so many minutes, each of which is there, from those of one; and how many are withheld.

    Both are records (n,) of `COLUMNS`.
    """
    if minutes == 1 or not len(bars):
        return bars, 0
    bucket = bars["ts"] // (minutes * MINUTE)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(bucket)) + 1))
    ends = np.concatenate((starts[1:], [len(bars)])) - 1
    rolled = np.empty(len(starts), bars.dtype)
    rolled["ts"], rolled["open"], rolled["close"] = (
        bucket[starts] * minutes * MINUTE,
        bars["open"][starts],
        bars["close"][ends],
    )
    rolled["high"] = np.maximum.reduceat(bars["high"], starts)
    rolled["low"] = np.minimum.reduceat(bars["low"], starts)
    rolled["volume"] = np.add.reduceat(bars["volume"], starts)
    complete = ends - starts + 1 == minutes
    return rolled[complete], int((~complete).sum())
