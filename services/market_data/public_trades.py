"""Public trades of one symbol as they are received: each is taken once, by the venue's id. No I/O, no clock.

What a stream missed is asked for from the last trade that was known for certain. Binance numbers its trades without a
gap, so that a number left out is noticed; Bybit's ids tell nothing, and its past is short.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from services.market_data.canonical import Source

REMEMBERED: Final = 50_000  # ids of a symbol


@dataclass(frozen=True, slots=True)
class PublicTrade:
    """One trade. `direction` is that of who took it, +1 or -1; times are ms, the quantity in base units."""

    market_id: int
    symbol: str
    id: str
    ts: int
    price: float
    quantity: float
    direction: int
    received_ms: int
    source: Source


@dataclass
class CollectedTrades:
    """The trades of one symbol: which are known, and since when some may be missing."""

    symbol: str
    numbered: bool  # without a gap
    newest: int = 0  # time of the newest trade, ms; 0 before any
    since: int | None = None  # time from which trades may be missing, ms; None while none may
    ask_ms: int = 0  # when they are to be asked for
    _known: dict[str, None] = field(default_factory=dict)
    _last: int | None = None  # the venue's number, where it numbers them

    def receive(self, trade: PublicTrade) -> bool:
        """Take a trade; False for one that is known already."""
        if trade.id in self._known:
            return False
        self._known[trade.id] = None
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        if self.numbered and trade.source is Source.STREAM:
            number = int(trade.id)
            if self._last is not None and number > self._last + 1:
                self.miss(trade.received_ms)
            self._last = max(self._last or 0, number)
        self.newest = max(self.newest, trade.ts)
        return True

    def miss(self, ask_ms: int) -> None:
        """Note that trades after the newest one may be missed, to be asked for at a time, ms."""
        if self.since is None and self.newest:
            self.since, self.ask_ms = self.newest, ask_ms

    def due(self, now: int) -> bool:
        """Whether missing trades are to be asked for now."""
        return self.since is not None and now >= self.ask_ms

    def answered(self, until: int | None) -> None:
        """Note that everything is there up to a time, ms; None: up to now."""
        self.since = until
