"""Instruments and candles on the market's own clock: what a simulated exchange without an account publishes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from backtesting.funding import SPAN_MS
from bot.times import DAY

if TYPE_CHECKING:
    from backtesting.funding import FundingHistory
    from bot.candles import Candles
    from bot.instrument import Instrument


@dataclass
class MarketSource:
    """One market: the minute that opens at `now` is still forming."""

    instruments: dict[str, Instrument]
    candles: dict[str, Candles]
    histories: dict[str, FundingHistory] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)  # since when symbols are no longer traded, ms

    def __post_init__(self) -> None:
        self.clock = np.unique(np.concatenate([one.ts for one in self.candles.values()]))
        self.bar_ms = next(iter(self.candles.values())).bar_ms
        self.at, self.now = 0, int(self.clock[0])

    @property
    def finished(self) -> bool:
        """Whether the candles are used up."""
        return self.at >= len(self.clock)

    def delist(self, symbol: str) -> None:
        """Trade a symbol no more."""
        self.closed[symbol] = self.now

    def step(self) -> list[tuple[str, int]]:
        """Close a minute; returns its bars as symbols and indices into their candles."""
        ts = int(self.clock[self.at])
        self.at, self.now = self.at + 1, ts + self.bar_ms
        found = []
        for symbol, candles in self.candles.items():
            index = int(np.searchsorted(candles.ts, ts))
            if symbol not in self.closed and index < len(candles) and int(candles.ts[index]) == ts:
                found.append((symbol, index))
        return found

    def closed_bars(self, symbol: str, start: int | None, end: int, limit: int) -> range:
        """Indices of at most `limit` closed bars that open in [start, end]: the first ones, without start the last."""
        ts = self.candles[symbol].ts
        end = min(end, self.closed.get(symbol, end + 1) - 1)
        last = int(min(np.searchsorted(ts, self.now - self.bar_ms, "right"), np.searchsorted(ts, end, "right")))
        if start is None:
            return range(max(last - limit, 0), last)
        first = int(np.searchsorted(ts, start))
        return range(first, min(first + limit, last))

    def turnover(self, symbol: str) -> float:
        """Quote currency traded in the last day."""
        candles = self.candles[symbol]
        day = slice(*np.searchsorted(candles.ts, [self.now - DAY, self.now - self.bar_ms + 1]))
        return float(np.dot(candles.volume[day], candles.close[day]))

    def settled(self, symbol: str, start: int, end: int) -> list[tuple[int, float]]:
        """Settlements of funding in [start, end], oldest first; every eight hours at no rate without a history."""
        end, history = min(end, self.now), self.histories.get(symbol)
        if history is None:
            return [(ts, 0.0) for ts in range(-(-start // SPAN_MS) * SPAN_MS, end + 1, SPAN_MS)]
        inside = (history.ts >= start) & (history.ts <= end)
        return list(zip(history.ts[inside].tolist(), history.rate[inside].tolist(), strict=True))
