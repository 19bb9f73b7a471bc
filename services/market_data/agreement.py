"""Whether venues agree on what a symbol was worth at the end of a minute: no I/O, no clock.

Spot is compared with spot and linear with linear: a contract rightly differs from its coin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bot.market import Market
from bot.times import MINUTE
from services.market_data.markets import BY_ID

KEPT_MINUTES: Final = 30  # a venue that is later than the newest minute of any by more is not compared


@dataclass(frozen=True)
class Disagreement:
    """Two closes of one minute that lie too far apart: the lower market id first, and by how many basis points."""

    symbol: str
    ts: int
    market_ids: tuple[int, int]
    closes: tuple[float, float]
    bps: float


def apart_bps(one: float, other: float) -> float:
    """How far two prices lie apart, in basis points of the lower."""
    return abs(one - other) / min(one, other) * 1e4


class CrossVenueCheck:
    """The newest closes of every symbol, by market."""

    def __init__(self, limit_bps: float) -> None:
        self.limit_bps = limit_bps
        self._closes: dict[tuple[Market, str], dict[int, dict[int, float]]] = {}  # by minute, then by market id

    def note(self, market_id: int, symbol: str, ts: int, close: float) -> list[Disagreement]:
        """Take the close of a minute, and compare it with those of the other venues; a new one replaces the old."""
        minutes = self._closes.setdefault((BY_ID[market_id].market, symbol), {})
        newest = max(minutes, default=ts)
        if ts <= newest - KEPT_MINUTES * MINUTE:
            return []
        told = minutes.setdefault(ts, {})
        told[market_id] = close
        for old in [one for one in minutes if one <= ts - KEPT_MINUTES * MINUTE]:
            del minutes[old]
        return [
            Disagreement(symbol, ts, (one, other), (told[one], told[other]), apart_bps(told[one], told[other]))
            for one, other in sorted((min(market_id, two), max(market_id, two)) for two in told if two != market_id)
            if apart_bps(told[one], told[other]) > self.limit_bps
        ]
