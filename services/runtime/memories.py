"""What a bot of a config remembers, empty: the machines that a stored memory must fit to be loaded."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from bot.instrument import Instrument
from bot.times import MINUTE
from coordinator.machine import NAME, PairMachine, PortfolioMachine

if TYPE_CHECKING:
    from coordinator.config import PortfolioConfig


def empty_memories(config: PortfolioConfig) -> dict[str, PairMachine | PortfolioMachine]:
    """Machines of the portfolio and of every pair, by the name that their memory is stored under."""
    portfolio = PortfolioMachine(config.algorithm, list(config.pairs), config.capital)
    return {NAME: portfolio, **{pair: machine_of(config, pair) for pair in config.pairs}}


def machine_of(config: PortfolioConfig, pair: str) -> PairMachine:
    """A pair's machine, empty; its form does not depend on the venue's ticks and lots."""
    instrument = Instrument(symbol=pair, market=config.market, tick_size=Decimal(1), lot_size=Decimal(1))
    return PairMachine(config.algorithm, instrument, config.leverage, MINUTE)
