"""All loops of a bot as tasks of one process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from bot.errors import Misconfigured
from bot.ports import Gap, NotPermitted
from bot.record import new_records
from coordinator.machine import PairMachine, PortfolioMachine, slots_of
from coordinator.master_loop import MasterLoop
from coordinator.messages import Adopt, Command, Directive, PairReport, Recover, Room
from coordinator.operator import Word
from coordinator.strategy_loop import StrategyLoop
from services.runtime.config import Foreign

if TYPE_CHECKING:
    from backtesting.config import PortfolioConfig
    from bot.ports import Account, Bus, Event, Store
    from services.bybit.gateway import Bybit

log = structlog.get_logger()

MINUTE = 60_000
LIVES = 20  # of one loop, within one run of the bot


class LocalRuntime:
    """The master loop, a strategy loop per pair, and the streams that feed them."""

    def __init__(
        self,
        name: str,
        config: PortfolioConfig,
        gateway: Bybit,
        store: Store,
        bus: Bus,
        *,
        foreign: Foreign = Foreign.REFUSE,
    ) -> None:
        self.name, self.config, self.gateway, self.store, self.bus = name, config, gateway, store, bus
        self.foreign = foreign
        self.loops: dict[str, StrategyLoop] = {}
        self.master: MasterLoop | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.broken = 0  # loops that had to be made anew

    async def start(self) -> None:
        """Check the account, load what is remembered, catch up with the venue, and begin."""
        symbols = list(self.config.pairs)
        await self.gateway.measure_clock()
        instruments = await self.gateway.instruments(symbols)
        for symbol in symbols:
            await self.gateway.prepare(symbol, self.config.leverage)
        start = await self.gateway.newest(symbols[0])
        account = await self.gateway.account()
        await self._refuse_foreign(account)
        self.begun, self.wallet, self.instruments = start, account.wallet, instruments
        self.master = await self._master_loop()
        for symbol in symbols:
            self.loops[symbol] = self._strategy_loop(symbol)
            self.loops[symbol].tell(Recover())
        self.tasks = [asyncio.create_task(self._keep(symbol)) for symbol in (None, *symbols)]
        self.tasks.append(asyncio.create_task(self.gateway.listen(symbols, self._heard)))
        await self._all(*(event.wait() for event in self.gateway.hearing.values()))
        await self._all(*(loop.recovered.wait() for loop in self.loops.values()))

    async def _master_loop(self) -> MasterLoop:
        symbols, algorithm = list(self.config.pairs), self.config.algorithm
        machine = PortfolioMachine(algorithm, symbols, self.wallet)
        loop = MasterLoop(machine, symbols, self.store, self.bus, self._tell)
        await loop.start(self.begun)
        return loop

    def _strategy_loop(self, symbol: str) -> StrategyLoop:
        algorithm = self.config.algorithm
        machine = PairMachine(algorithm, self.instruments[symbol], self.config.leverage, MINUTE)
        return StrategyLoop(
            *(self.name, machine, self.gateway, self.store, self.bus, self._report),
            warmup_ms=algorithm.warmup_ms,
            start=self.begun,
        )

    def _report(self, report: PairReport) -> None:
        assert self.master is not None
        self.master.tell(report)

    async def _keep(self, symbol: str | None) -> None:
        """Run a loop (None: the master's); one that breaks is made anew from what is stored, but not for ever."""
        for life in range(LIVES):
            loop = self._loop_of(symbol)
            try:
                await loop.run()
            except Exception:
                log.exception("loop_broke", loop=symbol or "master", life=life + 1)
                self.broken += 1
                if life == LIVES - 1:
                    raise
            await self._renew(symbol)

    def _loop_of(self, symbol: str | None) -> MasterLoop | StrategyLoop:
        assert self.master is not None
        return self.master if symbol is None else self.loops[symbol]

    async def _renew(self, symbol: str | None) -> None:
        """Put a new loop in the place of a broken one; what waits in its mailbox is not lost."""
        if symbol is None:
            assert self.master is not None
            fresh, old = await self._master_loop(), self.master
            fresh.mailbox, fresh.heard = old.mailbox, old.heard
            self.master = fresh
            for one in self.loops.values():
                one.tell(Recover())  # each reports again, and hears again what it is to do
            return
        pair, before = self._strategy_loop(symbol), self.loops[symbol]
        pair.mailbox, pair.sequence = before.mailbox, before.sequence
        self.loops[symbol] = pair
        pair.tell(Recover())

    async def _refuse_foreign(self, account: Account) -> None:
        """Refuse to start beside orders or positions that are not the bot's, unless told to ignore them."""
        if self.foreign is Foreign.IGNORE:
            return
        for symbol in self.config.pairs:
            own = f"{self.name}-{symbol}-"
            others = [one.link for one in await self.gateway.resting(symbol) if not one.link.startswith(own)]
            if others:
                raise NotPermitted(
                    f"{symbol} has {len(others)} orders that are not this bot's; cancel them, "
                    "or set bot.foreign: ignore."
                )
            if account.positions.get(symbol) and await self.store.load(symbol) is None:
                raise NotPermitted(
                    f"{symbol} has a position that this bot did not open; close it, or set bot.foreign: ignore."
                )

    async def obey(self, word: str, pair: str | None, force: bool) -> str:
        """Do what the operator says; raises Misconfigured for an unknown word, Disobeyed for a senseless one."""
        if word not in set(Word):
            raise Misconfigured(f"command {word!r} is unknown here; choose one of {', '.join(Word)}.")
        assert self.master is not None
        command = Command(Word(word), pair, force)
        self.master.tell(command)
        return await command.answer

    def adopt(self, config: PortfolioConfig) -> str:
        """Follow another config of the same pairs; raises Misconfigured for what needs a restart."""
        before, after = slots_of(self.config.algorithm), slots_of(config.algorithm)
        if after > before or config.algorithm.timeframes() != self.config.algorithm.timeframes():
            raise Misconfigured(
                "more levels and other timeframes need room that a running bot does not have; "
                "stop it and start it again."
            )
        changed = [
            f"{section}.{name}"
            for section, old in self.config.algorithm
            for name, value in getattr(config.algorithm, section)
            if getattr(old, name) != value
        ]
        assert self.master is not None
        self.config = config
        self.master.tell(Adopt(_record(config, list(config.pairs))))
        for symbol, loop in self.loops.items():
            loop.tell(Adopt(_record(config, [symbol])))
        return f"adopted {', '.join(changed)}" if changed else "nothing has changed"

    async def _all(self, *waits: object) -> None:
        """Wait for all of these, or for the first loop that breaks."""
        waiting = asyncio.gather(*waits)  # type: ignore[call-overload]
        await asyncio.wait([waiting, *self.tasks], return_when=asyncio.FIRST_COMPLETED)
        self.check()
        await waiting

    def _loops(self) -> list[MasterLoop | StrategyLoop]:
        assert self.master is not None
        return [self.master, *self.loops.values()]

    def check(self) -> None:
        """Raise what broke a loop."""
        for task in self.tasks:
            if task.done() and not task.cancelled():
                task.result()

    def _heard(self, event: Event) -> None:
        self.loops[event.symbol].tell(event)

    def _tell(self, symbol: str, message: Directive | Room) -> None:
        self.loops[symbol].tell(message)

    def poll(self) -> None:
        """Let every pair ask the venue for what the streams may not have told."""
        for symbol, loop in self.loops.items():
            loop.tell(Gap(symbol))

    async def settled(self) -> None:
        """Wait until nothing is left to do about what has been heard."""
        mailboxes: list[Any] = [loop.mailbox for loop in self._loops()]
        while any(box._unfinished_tasks for box in mailboxes):  # noqa: SLF001, asyncio has no other way to ask
            await self._all(*(box.join() for box in mailboxes))

    async def stop(self) -> None:
        """Stop all loops; what rests at the venue stays there."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for loop in self.loops.values():
            await loop.rest()
        await self.gateway.close()


def _record(config: PortfolioConfig, symbols: list[str]) -> Any:
    """The kernels' view of the parameters, in an array of one."""
    record = config.algorithm.record(symbols)
    params = new_records(record.dtype, 1)
    params[0] = record
    return params
