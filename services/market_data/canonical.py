"""Closed minutes of one symbol, from everything that was received of them: one rule, no I/O, no clock.

The last receipt of a closed minute wins; between two of the same millisecond, the one that was handed over later. Every
change of a minute that had values already is a Revision, which holds both versions, so nothing changes silently.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum

from bot.times import DAY, MINUTE


class Source(StrEnum):
    """How a row came."""

    STREAM = "stream"
    REST = "rest"
    STORE = "store"  # read back from the candle store, which has forgotten when it was received


@dataclass(frozen=True, slots=True)
class Receipt:
    """One closed minute as it was received. `ts` is its opening and `received_ms` the time of receipt, both ms UTC."""

    market_id: int
    symbol: str
    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    received_ms: int
    source: Source

    @classmethod
    def of(cls, market_id: int, symbol: str, row: Sequence[float], received_ms: int, source: Source) -> Receipt:
        """Build one from a row: opening time, open, high, low, close, volume."""
        ts, opened, high, low, close, volume = row
        return cls(market_id, symbol, int(ts), opened, high, low, close, volume, received_ms, source)

    @property
    def values(self) -> tuple[float, float, float, float, float]:
        """Open, high, low, close and volume."""
        return self.open, self.high, self.low, self.close, self.volume


class Reception(Enum):
    """What a receipt did to its minute."""

    NEW = "new"  # the first one
    SAME = "same"  # equal values again
    REVISED = "revised"
    OUTDATED = "outdated"  # received before the version that is held
    FAULTY = "faulty"  # no minute: values or time that cannot be


@dataclass(frozen=True, slots=True)
class Revision:
    """A minute that changed: its version before and after, and whether bots had been told the one before."""

    before: Receipt
    after: Receipt
    decided: bool


def faulty(receipt: Receipt) -> bool:
    """Whether no candle can have these values, or no minute opens at this time."""
    opened, high, low, close, volume = receipt.values
    finite = all(math.isfinite(one) for one in receipt.values)
    ordered = 0.0 < low <= min(opened, close) and max(opened, close) <= high
    return not (finite and ordered and volume >= 0.0 and receipt.ts % MINUTE == 0)


class CanonicalMinutes:
    """The minutes of one symbol that may still change, and which of them are not stored yet.

    What was stored long ago is forgotten; where `forgets` says so, a day is to be recalled before a minute of it comes.
    """

    def __init__(self) -> None:
        self.held: dict[int, Receipt] = {}
        self.unsaved: set[int] = set()
        self.decided: set[int] = set()
        self.forgotten_before = 0
        self._recalled: set[int] = set()  # openings of days, ms

    def receive(self, receipt: Receipt) -> tuple[Reception, Revision | None]:
        """Take a receipt by the rule."""
        if faulty(receipt):
            return Reception.FAULTY, None
        held = self.held.get(receipt.ts)
        if held is None:
            self._hold(receipt)
            return Reception.NEW, None
        if receipt.received_ms < held.received_ms:
            return Reception.OUTDATED, None
        if receipt.values == held.values:
            self.held[receipt.ts] = receipt  # the newer receipt, against which a later one is measured
            return Reception.SAME, None
        self._hold(receipt)
        return Reception.REVISED, Revision(held, receipt, receipt.ts in self.decided)

    def _hold(self, receipt: Receipt) -> None:
        self.held[receipt.ts] = receipt
        self.unsaved.add(receipt.ts)

    def decide(self, ts: int) -> None:
        """Note that somebody may have decided on a minute."""
        self.decided.add(ts)

    def forgets(self, ts: int) -> bool:
        """Whether a minute may have been forgotten, so that its day is to be recalled before it is received."""
        return ts < self.forgotten_before and ts not in self.held and ts // DAY * DAY not in self._recalled

    def recall(self, day: int, stored: Iterable[Receipt]) -> None:
        """Hold the minutes of a day (its opening, ms) as they are stored, except those that are held already."""
        self._recalled.add(day)
        for one in stored:
            if self.held.setdefault(one.ts, one) is one:
                self.decided.add(one.ts)  # whoever reads the store may have

    def take_unsaved(self) -> list[Receipt]:
        """Minutes that are to be stored, by time; `saved` tells that they are."""
        return [self.held[ts] for ts in sorted(self.unsaved)]

    def saved(self, stored: Iterable[Receipt]) -> None:
        """Note what was stored; a minute that changed meanwhile is still to be."""
        for one in stored:
            if self.held.get(one.ts) is one:
                self.unsaved.discard(one.ts)

    def forget(self, before: int) -> None:
        """Forget stored minutes that open before a time, ms."""
        for ts in [ts for ts in self.held if ts < before and ts not in self.unsaved]:
            del self.held[ts]
            self.decided.discard(ts)
        self._recalled.clear()
        self.forgotten_before = max(self.forgotten_before, before)
