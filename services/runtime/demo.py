"""The whole thing trading on a market of its own: generated candles, the venue, the bot, its database and its bus."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from backtesting.instruments import instrument_for
from backtesting.stepwise import compiled_next_fill
from coordinator.config import load_portfolio
from services.bybit.gateway import Bybit
from services.control.client import control_file
from services.control.server import ControlServer
from services.data.synth import generate
from services.runtime import warm_exchange
from services.runtime.backing import backing
from services.runtime.live import as_live
from services.runtime.local import LocalRuntime
from services.runtime.lockstep import LockStep
from services.runtime.status import status
from services.runtime.view import News
from services.runtime.warm import compiled_meanwhile
from services.venue.exchange import Exchange, exchange_settings
from services.venue.server import Key, VenueServer

NAME = "demo"
KEY = Key("demo-key", "demo-secret")
PAIRS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT")
DAYS = 60
HISTORY_DAYS = 12
DAY = 86_400_000


@dataclass
class Demo:
    """A running demonstration."""

    runtime: LocalRuntime
    steps: LockStep
    news: News
    exchange: Exchange
    address: str

    def status(self) -> dict[str, Any]:
        """How the bot stands."""
        return status(self.runtime)


@asynccontextmanager
async def demonstration(seed: int, data_dir: Path, pairs: tuple[str, ...] = PAIRS) -> AsyncIterator[Demo]:
    """Start everything; it ends, and forgets, with the context."""
    config = load_portfolio({"strategy": "auto", "pairs": list(pairs)})
    config = as_live(config)  # the operator is whoever watches: a halt waits for `ctl resume`
    candles = await asyncio.to_thread(generate, list(pairs), HISTORY_DAYS + DAYS, seed)
    instruments = {pair: instrument_for(pair, config.market, candles[pair])[0] for pair in pairs}
    exchange = Exchange(instruments, candles, config.capital, exchange_settings(config.execution), config.leverage)
    exchange.begin(int(exchange.clock[0]) + HISTORY_DAYS * DAY)
    server = VenueServer(exchange, [KEY])
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(compiled_meanwhile(config, warm_exchange.__name__, compiled_next_fill))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address = f"http://127.0.0.1:{await server.start()}"
        stack.push_async_callback(server.stop)
        behind = await stack.enter_async_context(backing(NAME, folder))
        news = News(behind.bus, instruments, config.algorithm.roster)
        gateway = Bybit(key=KEY.key, secret=KEY.secret, market=config.market, address=address, rate=100_000.0)
        runtime = LocalRuntime(NAME, config, gateway, behind.store, news, patience=None)
        stack.push_async_callback(runtime.stop)
        await runtime.start()
        steps = LockStep(address, runtime)
        stack.push_async_callback(steps.end)
        await steps.begin()
        control = ControlServer(control_file(data_dir, NAME), runtime.status, runtime.obey, CollectorRegistry())
        await control.start()
        stack.push_async_callback(control.stop)
        yield Demo(runtime, steps, news, exchange, address)


class Pace:
    """Keeps so many market minutes a second, as far as the machine can."""

    def __init__(self, minutes_per_second: float) -> None:
        self.pause = 1.0 / minutes_per_second
        self.due = time.monotonic()

    async def wait(self) -> None:
        """Wait for the next minute's turn."""
        self.due = max(self.due + self.pause, time.monotonic() - 1.0)
        await asyncio.sleep(max(self.due - time.monotonic(), 0.0))
