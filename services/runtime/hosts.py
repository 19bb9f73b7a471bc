"""Where loops live: the pairs of one process, and the portfolio. A runtime decides how many processes there are."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from bot.events import Alarm
from bot.ports import Gap, NotPermitted, Refused, Unanswered, Unreachable
from bot.record import new_records, to_dict
from bot.times import MINUTE
from coordinator.machine import NAME, PairMachine, PortfolioMachine
from coordinator.master_loop import MasterLoop
from coordinator.messages import (
    Command,
    HeldOffReport,
    InstrumentListed,
    LoopRenewed,
    Recover,
    SaveState,
    SetParameters,
    ShutDown,
    StoreUnavailable,
)
from coordinator.operator import OF_THE_BOT, CommandRejected, OperatorCommand
from coordinator.pair_core import Message as ToPair
from coordinator.portfolio_core import Message as ToPortfolio
from coordinator.saved_state import LAYOUT
from coordinator.saving import PATIENCE_SECONDS
from coordinator.session import head
from coordinator.strategy_loop import StrategyLoop
from coordinator.vocabulary import HeldOff
from services.alert_conditions import by_id
from services.runtime.config import MOST_ACTIONS
from services.runtime.preflight import StartupSnapshot
from services.runtime.sessions import session_file
from services.runtime.status import loop_status, pair_orders, portfolio_status

if TYPE_CHECKING:
    from pathlib import Path

    from bot.instrument import Instrument
    from bot.ports import Bus, Clock, Event, Gateway, Store
    from coordinator.bot_status import LoopPair, PairOrders, PortfolioStatus
    from coordinator.config import PortfolioConfig
    from services.runtime.supervisor import Supervisor


log = structlog.get_logger()

STORE_SECONDS = 1.0
STORE_AWAY = by_id("store_away")
NO_NUMBER = re.compile(r"-?Infinity|NaN")


class PairHost:
    """The strategy loops of some pairs, and the streams that feed them."""

    def __init__(
        self,
        name: str,
        config: PortfolioConfig,
        gateway: Gateway,
        store: Store,
        bus: Bus,
        report: Callable[[ToPortfolio], None],
        supervisor: Supervisor,
        *,
        most_actions: int = MOST_ACTIONS,
        clock: Clock = time.monotonic,
        patience: float | None = PATIENCE_SECONDS,
        adopt: bool = False,
        sessions: Path | None = None,
    ) -> None:
        """`adopt`: take over positions that nothing explains, when starting; `sessions`: where to keep them."""
        self.sessions = sessions
        self.name, self.config, self.gateway, self.store, self.bus = name, config, gateway, store, bus
        self.report, self.supervisor = report, supervisor
        self.most_actions, self.clock, self.patience = most_actions, clock, patience
        self.adopting = adopt
        self.loops: dict[str, StrategyLoop] = {}
        self.instruments: dict[str, Instrument] = {}  # as the venue listed them last
        self.delisted: set[str] = set()  # pairs that the venue did not trade at the last check

    async def start(self, symbols: list[str], startup: StartupSnapshot, first: int = 0) -> None:
        """Load what is remembered, catch up with the venue, and begin; reports are numbered from `first` on."""
        self.instruments = dict(startup.instruments)
        self.startup = startup
        for symbol in symbols:
            self.gateway.know(startup.instruments[symbol])  # only of these will it tell
            self.loops[symbol] = self._made(symbol)
            self.loops[symbol].core.sequence = first
            self.loops[symbol].tell(Recover())
            self.supervisor.add(self._kept(symbol))
        self.supervisor.add(self.gateway.listen(symbols, self._heard))
        if self.patience is not None:
            self.supervisor.add(self._watch_store(self.patience))
        await self.supervisor.wait(self.gateway.listening())
        await self.supervisor.wait(*(loop.recovered.wait() for loop in self.loops.values()))
        self.adopting = False  # a loop that is made anew later finds its own

    def _made(self, symbol: str) -> StrategyLoop:
        algorithm = self.config.algorithm
        instrument = self.instruments[symbol]
        machine = PairMachine(algorithm, instrument, self.config.leverage, MINUTE)
        loop = StrategyLoop(
            *(self.name, machine, self.gateway, self.store, self.bus, self.report),
            start=self.startup.at,
            clock=self.clock,
            most_actions=self.most_actions,
            patience=self.patience,
            adopt=self.adopting,
            record=None if self.sessions is None else session_file(self.sessions, symbol),
        )
        if loop.record is not None:
            loop.record(head(loop.core, self.config, most_actions=self.most_actions, adopt=self.adopting))
        return loop

    async def _watch_store(self, patience: float) -> None:
        """See every second whether the store can be written to: without it nothing may stay open that can be filled."""
        away = False
        while True:
            await asyncio.sleep(STORE_SECONDS)
            try:
                async with asyncio.timeout(patience):
                    answers = await self.store.alive()
            except TimeoutError:
                answers = False
            if answers is away:  # news
                away = not answers
                (log.error if away else log.warning)("store_away" if away else "store_back", remedy=STORE_AWAY.remedy)
                self.bus.publish(_store_alarm(away=away))
                for loop in self.loops.values():
                    loop.tell(StoreUnavailable() if away else SaveState())

    async def _kept(self, symbol: str) -> None:
        async def renew() -> None:
            fresh, old = self._made(symbol), self.loops[symbol]
            fresh.take_over(old)
            self.loops[symbol] = fresh
            fresh.tell(Recover())
            self.report(LoopRenewed(symbol))  # which hears its directive again

        await self.supervisor.keep(symbol, lambda: self.loops[symbol], renew)

    def _heard(self, event: Event) -> None:
        self.loops[event.symbol].tell(event)

    def tell(self, symbol: str, message: ToPair) -> None:
        """Hand a message to a pair."""
        self.loops[symbol].tell(message)

    def poll(self, only: str | None = None) -> None:
        """Let every pair, or one, ask the venue for what the streams may not have told."""
        for symbol, loop in self.loops.items():
            if only in (None, symbol):
                loop.tell(Gap(symbol))

    def adopt(self, config: PortfolioConfig) -> None:
        """Follow another config."""
        self.config = config
        for symbol, loop in self.loops.items():
            loop.tell(SetParameters(params_of(config, [symbol])))

    def mailboxes(self) -> list[asyncio.Queue[Any]]:
        """What the loops still have to read."""
        return [loop.mailbox for loop in self.loops.values()]

    def status(self) -> dict[str, LoopPair]:
        """How each loop stands, by pair."""
        return {symbol: loop_status(loop) for symbol, loop in self.loops.items()}

    def orders(self, symbol: str) -> PairOrders:
        """What should be open for a pair, and what is."""
        return pair_orders(self.loops[symbol])

    async def check_listings(self) -> None:
        """See whether instruments and leverage are still what they were, and tell whom it concerns.

        Trouble with one pair is that pair's: the check goes on to the others.
        """
        for symbol in self.loops:
            try:
                await self._check_listing(symbol)
            except (Unreachable, Unanswered, Refused, NotPermitted) as error:
                log.warning("listing_check_failed", pair=symbol, reason=str(error))

    async def _check_listing(self, symbol: str) -> None:
        listed = (await self.gateway.listing([symbol]))[symbol]
        if isinstance(listed, str):
            sentence = f"{symbol}: the venue trades it no more ({listed}); what is held is closed by its exits."
            self.delisted.add(symbol)
            self.report(HeldOffReport(symbol, HeldOff.INSTRUMENT, sentence))
            return
        if symbol in self.delisted:
            self.delisted.remove(symbol)
            self.report(HeldOffReport(symbol, HeldOff.INSTRUMENT, f"{symbol}: the venue trades it again", over=True))
        self.instruments[symbol] = listed
        self.loops[symbol].tell(InstrumentListed(listed))
        try:
            changed = await self.gateway.prepare(symbol, self.config.leverage)
        except NotPermitted as error:  # margin and sizes are reckoned with the leverage of the config
            sentence = f"{symbol}: the account does not trade it as the bot needs it; nothing is opened. {error}"
            self.report(HeldOffReport(symbol, HeldOff.LEVERAGE, sentence))
            return
        if changed:
            log.warning("leverage_restored", pair=symbol, leverage=self.config.leverage)
        self.report(HeldOffReport(symbol, HeldOff.LEVERAGE, f"{symbol}: leverage is as configured", over=True))

    def cancel_entries(self, *, close: bool) -> None:
        """Let every pair cancel what could increase exposure, and with `close` close its position."""
        for loop in self.loops.values():
            loop.tell(ShutDown(close))

    async def snapshot(self, only: str | None = None) -> None:
        """Store every pair's memory, or one's, and a readable copy of it."""
        for symbol, loop in self.loops.items():
            if only not in (None, symbol):
                continue
            loop.tell(SaveState())
            machine = loop.core.machine
            state = {
                "pair": to_dict(machine.pairs[0]),
                "state": to_dict(machine.states[0]),
                "slots": [to_dict(slot) for slot in machine.slots],
            }
            await self.store.snapshot(symbol, LAYOUT, as_json(state), machine.time)

    async def stop(self) -> None:
        """Remember everything, after the loops have ended; what rests at the venue stays there."""
        for loop in self.loops.values():
            await loop.checkpoint()
        await self.gateway.close()


class PortfolioHost:
    """The master loop."""

    def __init__(
        self,
        config: PortfolioConfig,
        store: Store,
        bus: Bus,
        tell: Callable[[str, ToPair], None],
        supervisor: Supervisor,
        *,
        patience: float | None = PATIENCE_SECONDS,
        first_share: float = 0.0,
    ) -> None:
        """`first_share`: of the capital in its first phase; 0 for no phases."""
        self.patience, self.first_share = patience, first_share
        self.config, self.store, self.bus, self.supervisor = config, store, bus, supervisor
        self._tell = tell
        self.symbols = list(config.pairs)
        self.loop: MasterLoop

    async def start(self, startup: StartupSnapshot) -> None:
        """Load what is remembered, and begin."""
        self.startup = startup
        self.loop = await self._made()
        self.supervisor.add(self.supervisor.keep(NAME, lambda: self.loop, self._renew))

    async def _made(self) -> MasterLoop:
        machine = PortfolioMachine(self.config.algorithm, self.symbols, self.startup.wallet)
        loop = MasterLoop(machine, self.symbols, self.store, self.bus, self._tell, self.patience)
        await loop.start(self.startup.at, self.startup.transferred, self.first_share)
        return loop

    async def _renew(self) -> None:
        fresh, old = await self._made(), self.loop
        fresh.mailbox, fresh.core.heard = old.mailbox, old.core.heard
        self.loop = fresh
        self.call()

    def call(self) -> None:
        """Let every pair report again; each then hears again what it is to do."""
        for symbol in self.symbols:
            self._tell(symbol, Recover())

    def tell(self, message: ToPortfolio) -> None:
        """Hand a message to the portfolio."""
        self.loop.tell(message)

    async def apply_command(self, said: OperatorCommand) -> str:
        """Do what the operator says of the portfolio; raises CommandRejected for what makes no sense at present."""
        if said.kind in OF_THE_BOT:
            raise CommandRejected(f"{said.kind} is not for the portfolio; say it to the bot.")
        command = Command(said)
        self.loop.tell(command)
        return await command.answer

    def adopt(self, config: PortfolioConfig) -> None:
        """Follow another config."""
        self.config = config
        self.loop.tell(SetParameters(params_of(config, self.symbols)))

    def mailboxes(self) -> list[asyncio.Queue[Any]]:
        """What the loop still has to read."""
        return [self.loop.mailbox]

    def status(self) -> PortfolioStatus:
        """How the portfolio stands."""
        return portfolio_status(self.loop, self.startup.instruments, self.config.algorithm.risk.groups)

    async def snapshot(self, only: str | None = None) -> None:
        """Keep a readable copy of the portfolio's state, unless a pair's alone is meant."""
        if only not in (None, NAME):
            return
        machine = self.loop.core.machine
        state = to_dict(machine.portfolio_state.portfolio)
        await self.store.snapshot(NAME, LAYOUT, as_json(state), self.loop.core.at)


def params_of(config: PortfolioConfig, symbols: list[str]) -> Any:
    """The kernels' view of the parameters, in an array of one."""
    record = config.algorithm.record(symbols)
    params = new_records(record.dtype, 1)
    params[0] = record
    return params


def as_json(state: dict[str, Any]) -> str:
    """JSON of a state; what JSON has no number for (infinities) stands as a word."""
    return NO_NUMBER.sub(r'"\g<0>"', json.dumps(state))


def _store_alarm(*, away: bool) -> Alarm:
    """That the database takes no changes, or takes them again; every process of the bot says it under one name."""
    sentence = STORE_AWAY.meaning if away else "the database takes changes again"
    now = int(time.time() * 1000)
    return Alarm("", now, STORE_AWAY.id, STORE_AWAY.severity.value, sentence, STORE_AWAY.remedy, over=not away)
