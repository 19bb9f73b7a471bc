"""Four markets of two simulated exchanges over the same hours, for tests of what collects them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from bot.candles import COLUMNS
from coordinator.config import SimulationRules
from services.market_data.markets import BY_ID
from services.simulated_binance.server import BinanceServer
from services.simulated_bybit.exchange import Exchange, exchange_settings
from services.simulated_bybit.records import Key
from services.simulated_bybit.server import VenueServer
from services.simulated_market.source import MarketSource
from services.simulated_market.told import BarFaults, BarTeller
from tests.conftest import START, instrument, walk

MINUTE = 60_000
FAULTS = {"drop": 0.03, "duplicate": 0.05, "late": 0.05, "unfinished": 0.03}


@dataclass
class House:
    """The servers by market id, their addresses, and the candles that they play."""

    servers: dict
    addresses: dict
    truth: dict  # by market id, then symbol
    now: int = START

    async def minute(self):
        """Close one minute in every market."""
        for number, server in self.servers.items():
            if number in (1, 2):
                await server.advance()
            else:
                while await server.advance():
                    pass
        self.now += MINUTE

    @property
    def told(self):
        """Bars that were sent so far, by market id."""
        return {
            number: server.sent if number in (1, 2) else server.told_bars for number, server in self.servers.items()
        }


def market_of(number, symbols, minutes):
    """Instruments and candles of one market; each symbol differs a little from market to market."""
    market = BY_ID[number].market
    of = {one: instrument(market=market).model_copy(update={"symbol": one}) for one in symbols}
    candles = {}
    for at, symbol in enumerate(symbols):
        start = 50_000.0 / (at + 1)
        made = walk(minutes, seed=at, start=start)
        shifted = {name: np.round(getattr(made, name) + 0.1 * number, 10) for name in ("open", "high", "low", "close")}
        volume = np.round(made.volume + number, 3)
        candles[symbol] = type(made)(made.ts, *shifted.values(), volume, made.bar_ms)
    return of, candles


@asynccontextmanager
async def house_of(symbols, minutes, numbers=(1, 2, 3, 4), faults=None):
    """Start the simulated exchanges; `faults`: of the bars that they tell."""
    servers, addresses, truth = {}, {}, {}
    for number in numbers:
        of, candles = market_of(number, symbols, minutes)
        teller = BarTeller(BarFaults(seed=number, **(faults or {})))
        if BY_ID[number].exchange == "binance":
            server = BinanceServer(MarketSource(of, candles), BY_ID[number].market, teller)
        else:
            settings = exchange_settings(SimulationRules())
            server = VenueServer(Exchange(of, candles, 1e6, settings), [Key("k", "s")], teller=teller)
        servers[number], truth[number] = server, candles
        addresses[number] = f"http://127.0.0.1:{await server.start()}"
    try:
        yield House(servers, addresses, truth)
    finally:
        for server in servers.values():
            await server.stop()


async def until(what, patience=20.0):
    """Wait for a condition as long as the loop has something to do; fails after `patience` seconds."""
    deadline = asyncio.get_running_loop().time() + patience
    while not what():
        assert asyncio.get_running_loop().time() < deadline, "waited in vain"
        await asyncio.sleep(0.001)


def rows_of(candles):
    """Candles as rows, such as the store and a feed have them."""
    return [tuple(row) for row in zip(*(getattr(candles, name).tolist() for name in COLUMNS), strict=True)]
