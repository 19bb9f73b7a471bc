"""A chaos run: a market that does not wait, and a bot that is killed, frozen and stopped again and again.

The exchange is watched at every step and every minute of its market, also while the bot is dead. At the end the market
stands still, a last bot catches up, and exchange, database and bot are compared. Nothing is left behind.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from backtesting.instruments import instrument_for
from bot.candles import iso
from bot.errors import TradingError
from bot.times import DAY
from services.app.backing import database
from services.app.simulated import build_simulated
from services.messaging.embedded import EmbeddedRedis
from services.messaging.silent_bus import SilentBus
from services.runtime.config import EMBEDDED, NONE
from services.runtime.live import as_live
from services.simulated_bybit.exchange import Exchange, exchange_settings
from services.simulated_bybit.faults import Faults
from services.simulated_bybit.records import Key
from services.simulated_bybit.server import VenueServer
from services.simulated_bybit.watch import Watch
from services.storage.embedded import shared_by_all
from services.storage.store import PostgresStore
from services.trials.agreement import Agreement, compare
from services.trials.chaos_plan import Life, LifeEnd, lives
from services.trials.nursery import Born, Nursery

if TYPE_CHECKING:
    from bot.candles import Candles
    from coordinator.config import PortfolioConfig
    from services.runtime.config import BotSettings

KEY = Key("chaos-key-0123456789", "chaos-secret-9876543210")
SHOWN = 5  # examples of bare minutes
START_SECONDS = 60.0  # for a bot to run
STOP_SECONDS = 60.0  # for one to stop in order
FAILURES = 10  # starts that fail, one after the other, before the run is given up
LIFE_SECONDS = 15.0  # at most for a life, on the average: for so long candles are made
SLACK = 1.02  # of the exposure limit: the bot reckons with the last close, the exchange with the present price


class NotRun(TradingError):
    """The bot could not be started again; the sentence says why."""


@dataclass(frozen=True)
class ChaosPlan:
    """What is asked of a run."""

    kills: int
    seed: int
    speed: float  # of the market, times real time
    log: Path | None = None  # where every line of the bots' logs goes


@dataclass
class Findings:
    """What a run has seen."""

    plan: ChaosPlan
    config: str  # hash of what the bot was told
    pairs: tuple[str, ...]
    limit: float  # of the exposure, share of the equity
    lives: Counter[str] = field(default_factory=Counter)  # by how they ended
    freezes: int = 0
    unasked: Counter[str] = field(default_factory=Counter)  # ends that nobody asked for, by reason
    entries_left: int = 0  # orderly stops after which an entry rested, though the bot did not say so
    faults: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)  # warnings and errors of the bots, by event
    minutes: Counter[str] = field(default_factory=Counter)  # of the market, by what the bot did
    fills: int = 0
    orders: int = 0
    duplicates: int = 0  # orders that the exchange refused because their id was taken
    bare: int = 0  # minutes at whose end a position was not wholly protected
    bare_examples: list[str] = field(default_factory=list)
    bare_seconds: float = 0.0  # longest
    bare_minutes: int = 0  # longest, in a row
    peak: float = 0.0  # exposure, share of the equity
    agreement: Agreement = field(default_factory=Agreement)
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        """Lives that ended by SIGKILL."""
        return self.lives[LifeEnd.KILLED] + self.lives[LifeEnd.KILLED_STARTING]

    def faulty(self) -> list[str]:
        """What should not be, beyond the numbers of the last line."""
        found = list(self.agreement.differences)
        if self.peak > self.limit * SLACK:
            found.append(f"exposure reached {self.peak:.3f} of the equity, above its limit of {self.limit:g}")
        if self.entries_left:
            found.append(f"{self.entries_left} orderly stops left entries at the exchange")
        return found

    def verdict(self) -> str:
        """The last line."""
        return f"{len(self.agreement.doubled)} doubled, {len(self.agreement.lost)} lost, {self.bare} bare"

    @property
    def passed(self) -> bool:
        """Whether everything was as it should be."""
        return not (self.agreement.doubled or self.agreement.lost or self.bare or self.faulty())


def days_needed(plan: ChaosPlan) -> int:
    """Days of candles that a run of this plan may use up."""
    planned = lives(plan.kills, plan.seed)
    return 2 + int(len(planned) * LIFE_SECONDS * plan.speed * 1000.0 / DAY)


def exchange_of(config: PortfolioConfig, candles: dict[str, Candles]) -> Exchange:
    """Build the exchange; it opens where the bot has the history that it needs."""
    instruments = {
        pair: instrument_for(pair, config.market, candles[pair], config.instruments.get(pair))[0]
        for pair in config.pairs
    }
    chosen = {pair: candles[pair] for pair in config.pairs}
    exchange = Exchange(instruments, chosen, config.capital, exchange_settings(config.execution), config.leverage)
    exchange.begin(max(int(one.ts[0]) for one in chosen.values()) + config.algorithm.most_history_ms + DAY)
    return exchange


class Chaos:
    """One run."""

    def __init__(
        self,
        settings: BotSettings,
        config: PortfolioConfig,
        values: dict[str, Any],
        exchange: Exchange,
        plan: ChaosPlan,
        progress: Callable[[Findings], None] = lambda _: None,
    ) -> None:
        """`values`: the config as it was read, without its section `bot`; `progress` hears of every life's end."""
        self.settings, self.config, self.values, self.plan = settings, config, values, plan
        self.exchange, self.progress = exchange, progress
        self.watch = Watch.over(exchange)
        self.server = VenueServer(exchange, [KEY], speed=plan.speed)
        plain = yaml.safe_dump(values, sort_keys=True).encode()
        self.findings = Findings(
            plan, hashlib.sha256(plain).hexdigest()[:12], config.pairs, float(config.algorithm.risk.exposure)
        )

    async def run(self) -> Findings:
        """Kill, freeze and stop as planned, and compare at the end."""
        begun = time.monotonic()
        self.watch.bot = "dead"
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)))
            dsn = await stack.enter_async_context(database(folder, self.settings.name))
            # Bots that are killed leave theirs to the next; the last one has none.
            stack.push_async_callback(EmbeddedRedis(shared_by_all(folder)).stop)
            stack.push_async_callback(self.server.stop)
            address = f"http://127.0.0.1:{await self.server.start()}"
            nursery = Nursery(self.plan.log)
            stack.push_async_callback(nursery.close)
            await nursery.open(self._written(folder, address), _environment(folder))
            await self._live_all(nursery)
            self.server.stand_still()
            self._change_faults(Faults())
            await self._compare(dsn, address)
            self._sum_up(nursery)
        self.findings.seconds = time.monotonic() - begun
        return self.findings

    def _written(self, folder: Path, address: str) -> Path:
        """Write the config that every life reads: the user's, with the exchange and the database of this run."""
        settings = self.settings
        bot = {
            "name": settings.name,
            "environment": "venue",
            "address": address,
            "foreign": settings.foreign.value,
            "requests_per_second": 100_000,  # the market is fast, and the exchange has limits of its own
            "max_actions_per_minute": settings.max_actions_per_minute,
            "redis": NONE if settings.redis == NONE else EMBEDDED,
            "data_dir": str(folder),
        }
        path = folder / "bot.yaml"
        path.write_text(yaml.safe_dump({**self.values, "bot": bot}))
        return path

    # Lives

    async def _live_all(self, nursery: Nursery) -> None:
        failures = 0
        for life in lives(self.plan.kills, self.plan.seed):
            while not await self._live(nursery, life, failures):
                failures += 1
                if failures >= FAILURES:
                    reason = next(iter(self.findings.unasked.most_common(1)), ("", 0))[0]
                    raise NotRun(f"the bot ended by itself {failures} times, one after the other: {reason}")
            failures = 0
            self.progress(self.findings)
            if self.exchange.finished:
                raise NotRun("the candles are used up before the last kill; take more days, or a lower --speed.")

    async def _live(self, nursery: Nursery, life: Life, failures: int) -> bool:
        """Live one life to its planned end; False when it ended by itself before, as `failures` times already."""
        self._change_faults(self._faults(life, failures))
        self.watch.bot = "starting"
        born = await nursery.bear()
        if life.end is not LifeEnd.KILLED_STARTING:
            await _first(START_SECONDS, born.running, born.ended)
            self.watch.bot = "running" if born.running.is_set() else self.watch.bot
        await _first(life.after, born.ended)
        if life.freeze and not born.ended.is_set():
            await self._freeze(born, life)
        by_plan = not born.ended.is_set()
        if life.end is LifeEnd.STOPPED:
            await self._stop(born)
        born.send(signal.SIGKILL)
        await born.ended.wait()
        self.watch.bot = "dead"
        if by_plan:
            self.findings.lives[life.end] += 1
        else:
            self.findings.unasked[born.last or f"exit code {born.code}"] += 1
        await asyncio.sleep(life.dead)
        return by_plan

    async def _freeze(self, born: Born, life: Life) -> None:
        self.findings.freezes += 1
        born.send(signal.SIGSTOP)
        before, self.watch.bot = self.watch.bot, "frozen"
        await asyncio.sleep(life.freeze * 60.0 / self.plan.speed)
        born.send(signal.SIGCONT)
        self.watch.bot = before
        await _first(life.after, born.ended)

    async def _stop(self, born: Born) -> None:
        """Let the bot end in order; unless it said that it could not, it leaves no entry behind."""
        self.watch.bot = "stopping"
        born.send(signal.SIGTERM)
        await _first(STOP_SECONDS, born.ended)
        entries = any(not one.reduce_only for one in self.exchange.live(None))
        self.findings.entries_left += entries and "entries_not_cancelled" not in born.events

    def _faults(self, life: Life, failures: int) -> Faults:
        """Faults of a life; a start that is made again meets others, or it would fail for ever."""
        given = {**life.faults, "seed": life.faults["seed"] + failures}
        held = given.pop("hold", 0.0) / self.plan.speed
        return Faults(**given, hold_executions_s=held)

    def _change_faults(self, faults: Faults) -> None:
        self.findings.faults.update(self.server.faults.struck)
        self.server.faults = faults

    # The end

    async def _compare(self, dsn: str, address: str) -> None:
        """Let a last bot catch up with the market that stands still, and compare."""
        self.watch.bot = "comparing"
        store = await PostgresStore.open(dsn, self.settings.name)
        runtime = build_simulated(
            *(self.settings.name, as_live(self.config), address, KEY, store, SilentBus()),
            foreign=self.settings.foreign,
            most_actions=self.settings.max_actions_per_minute,
        )
        try:
            await runtime.start()
            await runtime.poll()
            await runtime.settled()
            self.findings.agreement = compare(self.exchange, await store.fills(), runtime.loops)
        finally:
            await runtime.stop()
            await store.close()

    def _sum_up(self, nursery: Nursery) -> None:
        found, exchange = self.findings, self.exchange
        found.told, found.minutes = nursery.told, self.watch.minutes
        found.fills = sum(one.kind != "Funding" for one in exchange.trades)
        found.orders, found.duplicates = len(exchange.known), exchange.duplicates
        found.bare = len(self.watch.bare_minutes)
        found.bare_examples = [
            f"{iso(one.ts)[:16]} {one.symbol}: {one.protected} of {one.held} lots, bot {one.bot}"
            for one in self.watch.bare_minutes[:SHOWN]
        ]
        found.bare_seconds, found.bare_minutes = self.watch.longest()
        found.peak = self.watch.peak


async def _first(seconds: float, *events: asyncio.Event) -> None:
    """Wait until one of these is set, or so many seconds."""
    waits = [asyncio.create_task(one.wait()) for one in events]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for one in waits:
        one.cancel()


def _environment(folder: Path) -> dict[str, str]:
    """Environment of the bots: this process', without what it says of a bot, and with the exchange's key."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRADERAGENT_")}
    kept |= {name: os.environ[name] for name in ("TRADERAGENT_CACHE_DIR",) if name in os.environ}
    given = {"KEY": KEY.key, "SECRET": KEY.secret, "DATA_DIR": str(folder)}
    return {**kept, **{f"TRADERAGENT_{name}": value for name, value in given.items()}}
