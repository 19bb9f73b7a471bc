"""The same candles through the simulator and through the bot on the venue, and every difference between the two."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.portfolio_simulator import PortfolioSimulator, PreparedPortfolio
from bot.times import DAY
from coordinator.decisions import decisions_of
from coordinator.operator import CommandKind, OperatorCommand
from coordinator.vocabulary import DecisionKind
from services.app.backing import backing
from services.app.simulated import build_simulated
from services.runtime.config import NONE
from services.runtime.local import LocalRuntime
from services.runtime.warm import warm
from services.simulated_bybit.exchange import Exchange, exchange_settings
from services.simulated_bybit.records import Key
from services.simulated_bybit.server import VenueServer
from services.trials.lockstep import LockStep
from services.trials.warm_exchange import warm_exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from backtesting.funding import FundingHistory
    from bot.candles import Candles
    from bot.events import Decision
    from bot.instrument import Instrument
    from coordinator.config import PortfolioConfig

NAME = "parity"
# What the account and the exchange say, of which a simulation writes nothing down.
TOLD_LIVE = tuple(kind.name.lower() for kind in (DecisionKind.WALLET, DecisionKind.REFUSED))
KEY = Key("parity-key", "parity-secret")
# What a simulation adds for realism and a venue cannot know: why an order leaves.
WITHOUT_SURCHARGE = {"forced_exit_bps": 0.0}


@dataclass(frozen=True)
class Fill:
    """One fill, as both sides know it; `minute` opens the bar (ms)."""

    pair: str
    minute: int
    slot: int
    generation: int
    side: int
    ticks: int
    lots: int


@dataclass(frozen=True)
class Decided:
    """A decision that can be counted: its fields to the last digit, in the order of their names."""

    pair: str
    at: int
    kind: str
    fields: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, decision: Decision) -> Decided:
        """Freeze a decision."""
        values = ((name, tuple(v) if isinstance(v, list) else v) for name, v in sorted(decision.fields.items()))
        return cls(decision.pair, decision.at, decision.kind, tuple(values))


@dataclass(frozen=True)
class Parity:
    """Both sides, and what only one of them has."""

    minutes: int
    fills: Counter[Fill]
    live_fills: Counter[Fill]
    decisions: Counter[Decided]
    live_decisions: Counter[Decided]

    @property
    def differences(self) -> list[tuple[str, Fill | Decided]]:
        """What one side did and the other did not, earliest first."""
        found: list[tuple[str, Fill | Decided]] = []
        for ours, theirs in ((self.fills, self.live_fills), (self.decisions, self.live_decisions)):
            found += [("simulation", one) for one in (ours - theirs).elements()]  # type: ignore[operator]
            found += [("live", one) for one in (theirs - ours).elements()]  # type: ignore[operator]
        return sorted(found, key=lambda one: one[1].minute if isinstance(one[1], Fill) else one[1].at)


async def parity(
    config: PortfolioConfig,
    candles: dict[str, Candles],
    instruments: dict[str, Instrument],
    progress: Callable[[float], None] | None = None,
    *,
    restart: bool = False,
    histories: Mapping[str, FundingHistory] | None = None,
) -> Parity:
    """Run both; `config.start` to `config.end` is compared, what lies before it (at most the warm-up) is history.

    Both pay the funding of `histories`, and the constant rate of pairs that have none.
    With `restart` the bot is stopped half-way and another is started on what it stored. The last minute belongs to
    neither: the simulation ends its pairs there, a venue does not.
    """
    start = config.start
    assert start is not None
    execution = config.execution.model_copy(update=WITHOUT_SURCHARGE)
    config = config.changed(execution=execution)
    begin = config.algorithm.history_start(start)
    played = {pair: candles[pair].between(begin, config.end) for pair in config.pairs}
    last = max(int(one.ts[-1]) for one in played.values())
    histories = dict(histories or {})
    live = _live(config, played, instruments, last, progress, restart=restart, histories=histories)
    live_fills, live_decisions, minutes = await live
    recording = PortfolioSimulator(config).run(PreparedPortfolio.of(dict(played), instruments, histories))
    fills: Counter[Fill] = Counter()
    for pair, one in zip(recording.pairs, recording.recordings, strict=True):
        for fill in one.fills:
            whole = (int(fill[name]) for name in ("ts", "slot", "generation", "side", "price", "quantity"))
            fills[Fill(pair, *whole)] += int(fill["ts"]) < last
    roster = config.algorithm.roster
    decided = decisions_of(recording.decisions, recording.pairs, roster)
    decisions = Counter(Decided.of(one) for one in decided if start <= one.at <= last)
    return Parity(minutes, +fills, live_fills, decisions, live_decisions)


async def _live(
    config: PortfolioConfig,
    candles: dict[str, Candles],
    instruments: dict[str, Instrument],
    last: int,
    progress: Callable[[float], None] | None,
    *,
    restart: bool,
    histories: dict[str, FundingHistory],
) -> tuple[Counter[Fill], Counter[Decided], int]:
    assert config.start is not None
    chosen = {pair: instruments[pair] for pair in config.pairs}
    shown = {pair: one.between(None, last) for pair, one in candles.items()}
    rules = exchange_settings(config.execution)
    exchange = Exchange(chosen, shown, config.deposits, rules, config.leverage, histories=histories)
    exchange.begin(config.start)
    warm(config)  # a stream is lost while a minute of compilation keeps the bot from answering
    warm_exchange(config)
    total, minutes, investments = len(exchange.clock) - exchange.at, 0, list(config.investments)
    config = config.changed(investments=())  # it is an operator who adds capital to a bot, or takes it out
    server = VenueServer(exchange, [KEY])
    address = f"http://127.0.0.1:{await server.start()}"
    with tempfile.TemporaryDirectory() as folder:
        async with backing(NAME, Path(folder), bus=NONE) as behind:
            halves = (total // 2, total) if restart else (total,)
            large = any(one.large_positions for one in chosen.values())
            try:
                for until in halves:
                    runtime = build_simulated(
                        *(NAME, config, address, KEY, behind.store, behind.bus), large_positions=large
                    )
                    async with _in_lock_step(address, runtime) as steps:
                        more = minutes < until
                        while more and minutes < until:
                            more = await steps.minute()
                            minutes += 1
                            while investments and investments[0].at <= steps.now:
                                amount = investments.pop(0).amount
                                await runtime.apply_command(OperatorCommand(CommandKind.INVEST, amount=amount))
                            if progress is not None and minutes % 60 == 0:
                                progress(minutes / total)
            finally:
                await server.stop()
            rows = await behind.store.fills()
            decided = await behind.store.decisions(config.start)
    fills: Counter[Fill] = Counter()
    for row in rows:
        if not row.funding:
            _, pair, slot, generation = row.client_order_id.split("-")
            fills[Fill(pair, row.ts, int(slot), int(generation), row.side, row.price, row.lots)] += 1
    decisions = Counter(Decided.of(one) for one in decided if one.kind not in TOLD_LIVE)
    return fills, decisions, minutes


@asynccontextmanager
async def _in_lock_step(address: str, runtime: LocalRuntime) -> AsyncIterator[LockStep]:
    """Start a bot with its market waiting for it; stop it afterwards."""
    steps = LockStep(address, runtime)
    try:
        await runtime.start()
        await steps.begin()
        yield steps
    finally:
        await steps.end()
        await runtime.stop()


def sensible_start(candles: dict[str, Candles], days: float) -> int:
    """Opening time (ms) of the minute from which `days` are left."""
    end = min(int(one.ts[-1]) + one.bar_ms for one in candles.values())
    first = max(int(one.ts[0]) for one in candles.values())
    return int(np.maximum(end - round(days * DAY), first))


def told(one: Fill | Decided, instruments: dict[str, Instrument]) -> dict[str, Any]:
    """A plain dict, for a table: price and quantity instead of ticks and lots."""
    fields = dict(vars(one))
    if isinstance(one, Fill):
        of, ticks, lots = instruments[one.pair], fields.pop("ticks"), fields.pop("lots")
        fields |= {"price": of.price_text(ticks), "quantity": of.quantity_text(lots)}
    return fields
