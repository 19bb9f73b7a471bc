"""Compiles, or loads from the cache, what the simulated exchange runs; as a program, a bot's steps too."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from bot.candles import Candles
from bot.instrument import Instrument
from bot.times import MINUTE
from coordinator.config import load_portfolio
from services.runtime.warm import warm
from services.simulated_bybit.book import Book
from services.simulated_bybit.exchange import exchange_settings

if TYPE_CHECKING:
    from coordinator.config import PortfolioConfig


def warm_exchange(config: PortfolioConfig) -> None:
    """Walk one bar of one symbol on a book of its own."""
    one = np.ones(2)
    candles = Candles(MINUTE * np.arange(2), one, one, one, one, one, MINUTE)
    instrument = Instrument(symbol="X", market=config.market, tick_size=Decimal(1), lot_size=Decimal(1))
    book = Book(instrument, candles, exchange_settings(config.execution), config.leverage)
    for _ in book.minute(0, config.capital):
        pass


def main() -> None:
    """Compile what the config on the standard input needs, on the simulated exchange."""
    config = load_portfolio(json.load(sys.stdin))
    warm_exchange(config)
    warm(config)


if __name__ == "__main__":
    main()
