"""The state of a collector: symbols by market, with their minutes and holes. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from services.market_data.canonical import CanonicalMinutes, Receipt
from services.market_data.collecting import SymbolRule
from services.market_data.feed import Feed
from services.market_data.holes import HoleCause, SeriesHoles
from services.market_data.markets import VenueMarket
from services.market_data.public_trades import CollectedTrades
from services.market_data.store import SeriesName

log = structlog.get_logger()


@dataclass
class CollectedSeries:
    """One symbol of one market."""

    market: VenueMarket
    symbol: str
    minutes: CanonicalMinutes
    holes: SeriesHoles
    lag_ms: int = 0  # of the last minute that a stream told: from its end to its receipt
    newest: int = 0  # opening of the newest minute, ms
    saved_ms: int = 0  # when its minutes were last put into the store
    received: list[Receipt] = field(default_factory=list)  # rows since then

    @property
    def name(self) -> SeriesName:
        """Its name in the store."""
        return SeriesName(self.market.exchange, str(self.market.market), self.symbol)


@dataclass
class CollectedMarket:
    """One market and the symbols that are collected of it."""

    market: VenueMarket
    feed: Feed
    wanted: tuple[str, ...] | SymbolRule
    wanted_trades: tuple[str, ...] = ()
    trades: dict[str, CollectedTrades] = field(default_factory=dict)  # of those that are traded
    series: dict[str, CollectedSeries] = field(default_factory=dict)
    listening: bool = False
    reachable: bool = True

    def answered(self, trouble: str = "") -> None:
        """Note whether the venue answered, and tell when that changes; `trouble` says why not."""
        if trouble and self.reachable:
            log.warning("venue_unreachable", market=str(self.market), reason=trouble)
        if not trouble and not self.reachable:
            log.info("venue_answers", market=str(self.market))
        self.reachable = not trouble

    @property
    def cause(self) -> HoleCause:
        """Why a minute that is not heard now is missing."""
        return HoleCause.NOT_HEARD if self.listening else HoleCause.STREAM_LOST

    @property
    def now(self) -> int:
        """The venue's time, ms."""
        return self.feed.clock()

    @property
    def traded(self) -> list[str]:
        """Symbols that are still traded."""
        return [symbol for symbol, one in self.series.items() if not one.holes.ended]
