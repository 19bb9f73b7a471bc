"""Candles of one pair as arrays, from a frame or a file, checked before anyone trades on them.

A candle's time is its opening, UTC, epoch milliseconds. Nothing here changes a value unless asked to repair,
and a repair reports each change.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = ("ts", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Candles:
    """Base bars of one pair: six arrays of shape (n,), ascending in `ts`, gaps allowed.

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
