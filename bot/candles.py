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

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = ("ts", "open", "high", "low", "close", "volume")

SECOND = 1000
BAR_LENGTHS = tuple(
    SECOND * s for s in (1, 5, 15, 30, 60, 180, 300, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 604800)
)


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
    """Epoch milliseconds of "2024-03-05", "2024-03-05T12:00[Z]" or epoch digits; naive means UTC.

    Raises Misconfigured when it is none of these.
    """
    text = text.strip()
    if re.fullmatch(r"-?[0-9]{1,20}", text):
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


def bar_length(ts: NDArray[np.int64]) -> int:
    """Length of a bar: the most common step between times; raises Misconfigured when it is no usual length."""
    if len(ts) < 2:
        raise Misconfigured("candles: a single row does not tell the length of a bar; give at least two.")
    steps, counts = np.unique(np.abs(np.diff(ts)), return_counts=True)
    step = int(steps[np.argmax(np.where(steps > 0, counts, 0))])
    if step not in BAR_LENGTHS:
        raise Misconfigured(f"candles: the usual step between rows is {step} ms, which is no bar length known.")
    return step


def bar_name(bar_ms: int) -> str:
    """Name of a bar's length: 1m, 5m, 1h, 1d."""
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        if bar_ms % length == 0:
            return f"{bar_ms // length}{unit}"
    return f"{bar_ms // 1000}s"


def to_ms(values: NDArray[Any]) -> NDArray[np.int64]:
    """Epoch numbers in seconds, ms, µs or ns to ms; the size of the largest tells the unit."""
    largest = float(np.nanmax(np.abs(values.astype(np.float64)), initial=0.0))
    scale = 1000.0 if largest < 1e11 else 1.0 if largest < 1e14 else 1e-3 if largest < 1e17 else 1e-6
    return np.rint(np.nan_to_num(values.astype(np.float64) * scale, nan=-1.0)).astype(np.int64)
