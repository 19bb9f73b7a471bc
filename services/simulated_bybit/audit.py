"""How well positions were protected: what each held, what of it had a stop, and for how long any of it had none.

Looked at after every step of the market and every answered request; nothing here changes the market.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.order import OrderKind

if TYPE_CHECKING:
    from services.simulated_bybit.book import Book


@dataclass
class BareSpell:
    """How long a symbol's position was not wholly protected."""

    minutes: int = 0  # of the market, at whose end it was bare
    longest_minutes: int = 0  # in a row
    longest_s: float = 0.0  # of real time, from the look that found it bare to the one that found it covered
    running_minutes: int = 0
    since: float | None = None  # monotonic seconds; None while it is covered or flat


def protection(book: Book) -> tuple[int, int]:
    """Lots held, and how many of them a stop or a market order is to close; the position's own stop is one of them."""
    held = book.position
    covered = sum(
        one.lots - one.filled
        for one in book.live
        if one.reduce_only and one.side * held < 0 and one.kind in (OrderKind.STOP, OrderKind.MARKET)
    )
    return abs(held), min(covered, abs(held))


class Audit:
    """The spells of every symbol."""

    def __init__(self, books: dict[str, Book], monotonic: Callable[[], float]) -> None:
        self.books, self.monotonic = books, monotonic
        self.bare = {symbol: BareSpell() for symbol in books}
        self.touched: set[str] = set()  # symbols of which something was told since the last look

    def look(self, *, minute_ended: bool = False) -> None:
        """Note who has become bare or covered, and count the minute if it has ended."""
        now = self.monotonic()
        for symbol in self.touched:
            spell = self.bare[symbol]
            held, covered = protection(self.books[symbol])
            if covered < held:
                spell.since = now if spell.since is None else spell.since
            elif spell.since is not None:
                spell.longest_s = max(spell.longest_s, now - spell.since)
                spell.since, spell.running_minutes = None, 0
        self.touched.clear()
        if minute_ended:
            self._count()

    def _count(self) -> None:
        for spell in self.bare.values():
            if spell.since is not None:
                spell.minutes += 1
                spell.running_minutes += 1
                spell.longest_minutes = max(spell.longest_minutes, spell.running_minutes)

    def report(self) -> dict[str, dict[str, float]]:
        """What each symbol holds, what of it is protected, and its spells; one that still lasts counts so far."""
        now = self.monotonic()
        rows = {}
        for symbol, spell in self.bare.items():
            held, covered = protection(self.books[symbol])
            lasting = now - spell.since if spell.since is not None else 0.0
            rows[symbol] = {
                "held": held,
                "protected": covered,
                "bare_minutes": spell.minutes,
                "longest_minutes": spell.longest_minutes,
                "longest_s": max(spell.longest_s, lasting),
                "bare_s": lasting,
            }
        return rows
