"""A market, a venue in front of it and a bot on it, as tests want them: small, seeded, in lock-step."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from backtesting.instruments import instrument_for
from bot.instrument import Market
from coordinator.config import load_config
from coordinator.operator import OperatorCommand
from services.exchanges.bybit.gateway import Bybit
from services.market_data.synth import generate
from services.messaging.silent_bus import SilentBus
from services.runtime.local import LocalRuntime
from services.simulated_bybit.exchange import Exchange, exchange_settings
from services.simulated_bybit.records import Key
from services.simulated_bybit.server import Faults, VenueServer
from services.storage.store import PostgresStore
from services.trials.lockstep import LockStep

KEY = Key("house-key-0123456789", "house-secret-9876543210")
DAY = 86_400_000
HISTORY = 9  # days, a little more than the algorithm's warm-up


def config(pairs=("BTCUSDT", "SOLUSDT"), **sections):
    """A config of the preset `classic`, which trades often."""
    execution = {"forced_exit_bps": 0.0, **sections.pop("execution", {})}
    if sections.setdefault("strategy", "auto") == "auto":
        sections["auto"] = {"preset": "classic", **sections.get("auto", {})}
    return load_config({"pairs": list(pairs), "execution": execution, **sections})


def market(pairs, days, seed):
    candles = generate(list(pairs), HISTORY + days, seed)
    return candles, {pair: instrument_for(pair, Market.LINEAR, candles[pair])[0] for pair in pairs}


def exchange_for(chosen, days=1, seed=7):
    candles, instruments = market(chosen.pairs, days, seed)
    exchange = Exchange(instruments, candles, chosen.capital, exchange_settings(chosen.execution), chosen.leverage)
    exchange.begin(int(exchange.clock[0]) + HISTORY * DAY)
    return exchange


@dataclass
class Venue:
    server: VenueServer
    address: str
    exchange: Exchange


@asynccontextmanager
async def venue(exchange, *, faults=None, keys=(KEY,), speed=0.0, kind=VenueServer, **options):
    server = kind(exchange, list(keys), faults=faults or Faults(), speed=speed, **options)
    address = f"http://127.0.0.1:{await server.start()}"
    try:
        yield Venue(server, address, exchange)
    finally:
        await server.stop()


def gateway_to(address, kind=Bybit, key=KEY, **options):
    return kind(key=key.key, secret=key.secret, market=Market.LINEAR, address=address, rate=100_000.0, **options)


@dataclass
class Bot:
    """A bot that can be started, crashed and started again on the same venue and database."""

    chosen: object
    address: str
    dsn: str
    name: str
    make_gateway: object = gateway_to
    wrap_store: object = field(default=lambda store: store)
    bus: object = field(default_factory=SilentBus)
    options: dict = field(default_factory=dict)
    server: VenueServer = None
    runtime: LocalRuntime = None
    steps: LockStep = None
    store: PostgresStore = None

    async def start(self):
        self.store = await PostgresStore.open(self.dsn, self.name)
        self.runtime = self.make_runtime(self.make_gateway(self.address))
        self.steps = LockStep(self.address, self.runtime)
        try:
            await self.runtime.start()
            await self.steps.begin()
        except BaseException:
            await self.crash()
            raise

    def make_runtime(self, gateway):
        options = {"patience": None, **self.options}  # the market waits for the bot
        return LocalRuntime(*(self.name, self.chosen, gateway, self.wrap_store(self.store), self.bus), **options)

    async def crash(self):
        """End at once, remembering nothing that is not stored."""
        await self.runtime.supervisor.stop()
        await self.runtime.gateway.close()
        await self.steps.end()
        await self.store.close()

    async def stop(self):
        await self.runtime.stop()
        await self.steps.end()
        await self.store.close()


def with_bot(
    dsn,
    name,
    play,
    minutes=200,
    options=None,
    kind=Bybit,
    make=exchange_for,
    server=VenueServer,
    account=None,
    **sections,
):
    """Play so many minutes, then `play(bot, exchange)`; `options` are the runtime's, `kind` the gateway's class.

    `make` builds the exchange of a config, `server` is the class that serves it, `account` are the gateway's options.
    """

    async def main():
        chosen = config(**sections)
        exchange = make(chosen)
        async with venue(exchange, kind=server) as house:
            bot = Bot(chosen, house.address, dsn, name, options=options or {}, server=house.server)
            bot.make_gateway = lambda address: gateway_to(address, kind, **(account or {}))
            await bot.start()
            for _ in range(minutes):
                await bot.steps.minute()
            try:
                return await play(bot, exchange)
            finally:
                await bot.stop()

    return asyncio.run(main())


def entries(bot, exchange):
    """Orders at the venue that could increase exposure."""
    return [one for one in exchange.live(None) if not one.reduce_only]


def command(kind, pair=None, *, force=False, **origin):
    """What an operator says, as it is read at the rim."""
    return OperatorCommand.parse(kind, pair, force=force, **origin)
