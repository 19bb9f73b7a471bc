"""Compiles, or loads from the cache, what a bot and a simulated exchange run: so that nothing waits for it later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.record import new_records
from bot.rollup import BAR
from coordinator.machine import PortfolioMachine
from services.runtime.memories import machine_of
from services.venue.book import Book

if TYPE_CHECKING:
    from coordinator.config import PortfolioConfig
    from services.venue.exchange import Exchange


def warm(config: PortfolioConfig) -> None:
    """Run each compiled step of a bot once."""
    bars = new_records(BAR, 1)
    bars[0] = (0, 1.0, 1.0, 1.0, 1.0, 1.0)
    machine_of(config, config.pairs[0]).take_bars(bars)
    PortfolioMachine(config.algorithm, list(config.pairs), config.capital).judge(0)


def warm_exchange(exchange: Exchange) -> None:
    """Walk one bar of one symbol on a book of its own."""
    known = next(iter(exchange.books.values()))
    book = Book(known.instrument, known.candles, exchange.settings, exchange.leverage)
    for _ in book.minute(0, exchange.capital):
        pass
