"""Public trades of a bar, as a simulated exchange tells them: its four prices in the order in which it visits them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bot.candles import Candles

OF_A_BAR: Final = 4


@dataclass(frozen=True, slots=True)
class SimulatedTrade:
    """One trade; `number` counts the symbol's trades from its first bar on, `direction` is that of who took it."""

    number: int
    ts: int
    price: float
    quantity: float
    direction: int


def trades_of(candles: Candles, index: int) -> list[SimulatedTrade]:
    """Trades that make a bar: open, the extreme nearer to it, the other one, close; none where nobody traded."""
    if not candles.volume[index]:
        return []
    opened, high, low, close = (float(getattr(candles, name)[index]) for name in ("open", "high", "low", "close"))
    prices = (opened, *((low, high) if opened - low < high - opened else (high, low)), close)
    begin, quantity = int(candles.ts[index]), float(candles.volume[index]) / OF_A_BAR
    return [
        SimulatedTrade(
            index * OF_A_BAR + at,
            begin + at * candles.bar_ms // OF_A_BAR,
            price,
            quantity,
            1 if at == 0 or price >= prices[at - 1] else -1,
        )
        for at, price in enumerate(prices)
    ]


def trades_between(candles: Candles, closed: range, since: int, limit: int) -> list[SimulatedTrade]:
    """The first trades of closed bars from `since` (ms) on."""
    found: list[SimulatedTrade] = []
    for index in closed:
        found += [one for one in trades_of(candles, index) if one.ts >= since]
        if len(found) >= limit:
            break
    return found[:limit]
