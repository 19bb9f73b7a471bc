"""The markets that can be collected, by their fixed ids: what is stored names them for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bot.errors import Misconfigured, shown
from bot.market import Market


@dataclass(frozen=True, order=True)
class VenueMarket:
    """One market of one exchange."""

    id: int
    exchange: str
    market: Market

    def __str__(self) -> str:
        return f"{self.exchange} {self.market}"


MARKETS: Final = (
    VenueMarket(1, "binance", Market.SPOT),
    VenueMarket(2, "binance", Market.LINEAR),
    VenueMarket(3, "bybit", Market.SPOT),
    VenueMarket(4, "bybit", Market.LINEAR),
)
BY_ID: Final = {one.id: one for one in MARKETS}


def market_named(name: str) -> VenueMarket:
    """Find a market by a name such as `binance spot`; raises Misconfigured."""
    for one in MARKETS:
        if str(one) == " ".join(name.split()).lower():
            return one
    raise Misconfigured(f"markets: {shown(name)} is no market; choose from {', '.join(map(str, MARKETS))}.")
