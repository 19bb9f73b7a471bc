"""What must hold at the exchange at every moment, whether the bot lives or not: positions protected, exposure limited.

It takes the place of an exchange's audit, looks whenever that would, and changes nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.simulated_bybit.audit import Audit, protection

if TYPE_CHECKING:
    from services.simulated_bybit.exchange import Exchange


@dataclass(frozen=True)
class Bare:
    """A position that was not wholly protected, in lots; `bot` is what the bot was doing then."""

    ts: int  # ms, of the market
    symbol: str
    held: int
    protected: int
    bot: str
    minute_ended: bool


class Watch(Audit):
    """An audit that keeps what it saw."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange.books, exchange.monotonic)
        self.exchange = exchange
        self.bot = "running"  # what it does, for the record
        self.minutes: Counter[str] = Counter()  # market minutes, by what the bot did
        self.bare_moments: list[Bare] = []
        self.peak = 0.0  # largest exposure after an order that adds to it was taken, as a share of equity
        self._entries: dict[str, int] = {}  # lots of the orders that can increase exposure, by their id

    @classmethod
    def over(cls, exchange: Exchange) -> Watch:
        """Watch this exchange from now on."""
        watch = cls(exchange)
        exchange.audit = watch
        return watch

    @property
    def bare_minutes(self) -> list[Bare]:
        """Positions that were bare when a minute of the market ended."""
        return [one for one in self.bare_moments if one.minute_ended]

    def look(self, *, minute_ended: bool = False) -> None:
        """Note who is bare: of those that something happened to, and of all of them at a minute's end."""
        concerned = set(self.books) if minute_ended else set(self.touched)
        super().look(minute_ended=minute_ended)
        for symbol in sorted(concerned):
            held, protected = protection(self.books[symbol])
            if protected < held:
                self.bare_moments.append(Bare(self.exchange.now, symbol, held, protected, self.bot, minute_ended))
        if concerned:
            self._weigh()
        self.minutes[self.bot] += minute_ended

    def _weigh(self) -> None:
        """Measure the exposure where an order that adds to it is new, or larger than before."""
        entries = {one.id: one.lots for book in self.books.values() for one in book.live if not one.reduce_only}
        grown = any(lots > self._entries.get(number, 0) for number, lots in entries.items())
        self._entries = entries
        if grown and self.exchange.equity > 0.0:
            self.peak = max(self.peak, self.exposure() / self.exchange.equity)

    def exposure(self) -> float:
        """Notional of positions and of the orders that could increase them, quote currency."""
        total = 0.0
        for book in self.books.values():
            value = float(book.pair.instrument.tick_value)
            total += abs(book.position) * book.here * value
            total += sum(
                (one.lots - one.filled) * (one.price or book.here) * value for one in book.live if not one.reduce_only
            )
        return total

    def longest(self) -> tuple[float, int]:
        """Longest bare spell of any symbol: seconds of real time, and minutes of the market."""
        rows = self.report().values()
        return max(row["longest_s"] for row in rows), int(max(row["longest_minutes"] for row in rows))
