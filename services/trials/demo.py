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
from bot.candles import Candles
from bot.times import HOUR
from coordinator.bot_status import BotStatus
from coordinator.config import PortfolioConfig, load_portfolio
from services.app.backing import backing
from services.app.simulated import build_simulated
from services.control.client import control_file
from services.control.server import ControlServer
from services.exchanges.registry import BYBIT
from services.market_data.synth import DEMO_PAST, DEMO_SCRIPT, demo_schedule, generate
from services.runtime.live import as_live
from services.runtime.live_config import settings_shown
from services.runtime.local import LocalRuntime, status
from services.runtime.stages import Stages
from services.runtime.view import News
from services.runtime.warm import Compilation, compiled_meanwhile
from services.simulated_bybit.exchange import Exchange, exchange_settings
from services.simulated_bybit.records import Key
from services.simulated_bybit.server import VenueServer
from services.trials import warm_exchange
from services.trials.lockstep import LockStep

NAME = "demo"
KEY = Key("demo-key", "demo-secret")
PAIRS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT")
DAYS = 60
HISTORY_DAYS = 12
PAST_HOURS = sum(hours for _, hours in DEMO_PAST)
SCRIPT_MINUTES = 60 * sum(hours for _, hours in DEMO_SCRIPT)
# Bolder than the defaults, and with a narrower limit of the day: what a careful account meets once in months, this one
# meets within the script. Performance forgets in hours, because the market changes in hours.
CHOICES: dict[str, dict[str, Any]] = {
    "auto": {"preset": "classic"},
    "grid": {"preset": "classic", "direction": "long", "risk_budget": 0.10},
    "trend": {"preset": "classic", "breakout_volume": 0.0},
    "allocation": {"strategy_cap": 1.0, "performance_days": 0.25},
    "risk": {"reduce_day_loss": 0.01, "group_exposure": 0.60},
}


@dataclass
class Demo:
    """A running demonstration."""

    runtime: LocalRuntime
    steps: LockStep
    news: News
    exchange: Exchange
    address: str
    compilation: Compilation
    database: str
    redis: str | None

    def status(self) -> BotStatus:
        """How the bot stands."""
        return status(self.runtime)


def demo_config(pairs: tuple[str, ...] = PAIRS) -> PortfolioConfig:
    """What the demo's bot is told; its operator is whoever watches, so a halt waits for `ctl resume`."""
    return as_live(load_portfolio({"strategy": "auto", "pairs": list(pairs), **CHOICES}))


def demo_candles(pairs: tuple[str, ...], seed: int) -> dict[str, Candles]:
    """The market of the demo: its past, its script, and then what the seed brings."""
    days = HISTORY_DAYS + DAYS
    return generate(list(pairs), days, seed, schedule=demo_schedule(24 * days, seed))


@asynccontextmanager
async def demonstration(
    seed: int, data_dir: Path, pairs: tuple[str, ...] = PAIRS, stages: Stages | None = None
) -> AsyncIterator[Demo]:
    """Start everything, stage by stage; it ends, and forgets, with the context."""
    stages = stages or Stages()
    stages.begin("market")
    config = demo_config(pairs)
    candles = await asyncio.to_thread(demo_candles, pairs, seed)
    instruments = {pair: instrument_for(pair, config.market, candles[pair])[0] for pair in pairs}
    stages.begin("exchange")
    exchange = Exchange(instruments, candles, config.capital, exchange_settings(config.execution), config.leverage)
    exchange.begin(int(exchange.clock[0]) + PAST_HOURS * HOUR)
    server = VenueServer(exchange, [KEY])
    async with AsyncExitStack() as stack:
        compiling = compiled_meanwhile(config, warm_exchange.__name__, compiled_next_fill)
        stages.compilation = compilation = await stack.enter_async_context(compiling)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address = f"http://127.0.0.1:{await server.start()}"
        stack.push_async_callback(server.stop)
        behind = await stack.enter_async_context(backing(NAME, folder, begin=stages.begin))
        stages.begin("trading")
        news = News(behind.bus, instruments, config.algorithm)
        runtime = build_simulated(NAME, config, address, KEY, behind.store, news)
        stack.push_async_callback(runtime.stop)
        await runtime.start()
        steps = LockStep(address, runtime)
        stack.push_async_callback(steps.end)
        await steps.begin()
        control = ControlServer(
            *(control_file(data_dir, NAME), runtime.status, runtime.apply_command, CollectorRegistry()),
            orders=runtime.orders,
            config=lambda: settings_shown(None, config),
            venue={"exchange": BYBIT, "environment": "live", "address": address, "market": config.market.value},
        )
        await control.start()
        stack.push_async_callback(control.stop)
        stages.end()
        yield Demo(runtime, steps, news, exchange, address, compilation, behind.database, behind.redis)


class Pace:
    """Keeps so many market minutes a second, as far as the machine can."""

    def __init__(self, minutes_per_second: float) -> None:
        self.pause = 1.0 / minutes_per_second
        self.due = time.monotonic()

    async def wait(self) -> None:
        """Wait for the next minute's turn."""
        self.due = max(self.due + self.pause, time.monotonic() - 1.0)
        await asyncio.sleep(max(self.due - time.monotonic(), 0.0))
