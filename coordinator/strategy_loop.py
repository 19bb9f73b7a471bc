"""The loop of one pair: decide, remember, act, tell. It owns the pair's machine and nobody else touches it.

A crash between any two of these loses nothing: what was decided is stored before it is acted on, and acting twice is
harmless because an order's name is its slot and generation. Starting is recovering; there is no second way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, assert_never

import structlog

from bot.instrument import Instrument
from bot.order import OrderKind, Signal
from bot.ports import (
    Bus,
    Changed,
    Closed,
    Event,
    Execution,
    Gap,
    Gateway,
    Gone,
    NotPermitted,
    Order,
    OrderState,
    Refused,
    Resting,
    Store,
    Unanswered,
    Unreachable,
)
from bot.record import new_records
from bot.rollup import BAR
from coordinator.breaker import Breaker
from coordinator.machine import PairMachine
from coordinator.memory import Memory
from coordinator.messages import Adopt, Directive, HoldOff, Listed, PairReport, Recover, Remember, Room
from coordinator.portfolio import differs
from coordinator.reaction import Reactions
from coordinator.reconcile import Action, Change, as_resting, difference, wishes
from coordinator.vocabulary import HeldOff

log = structlog.get_logger()

Message = Event | Directive | Room | Recover | Remember | Listed | Adopt
ROUNDS = 20  # refusals answered by new wishes, within one event
RETRY_SECONDS, MOST_RETRY_SECONDS = 1.0, 30.0
# Besides an order that is refused: also a question that is, as for a symbol the venue no longer knows.
TROUBLE = (Unreachable, Unanswered, NotPermitted, Refused)
PATIENCE_SECONDS = 2.0  # with a stop that does not rest
SILENCE_SECONDS = 180.0  # without a candle, of stream and REST together
NOTHING_TO_REDUCE = 110017


class StrategyLoop:
    """One pair, from its events to its orders."""

    def __init__(
        self,
        bot: str,
        machine: PairMachine,
        gateway: Gateway,
        store: Store,
        bus: Bus,
        report: Callable[[PairReport | HoldOff], None],
        *,
        warmup_ms: int,
        start: int,
        clock: Callable[[], float],
        most_actions: int,
        patience: float | None,
    ) -> None:
        self.bot, self.machine, self.gateway = bot, machine, gateway
        self.memory = Memory(machine, store, bus, lambda: self.tell(Remember()), patience)
        self.symbol = machine.instrument.symbol
        self.linear = bool(machine.pairs[0].instrument.linear)
        self.warmup_ms, self.start = warmup_ms, start
        self.mailbox: asyncio.Queue[Message] = asyncio.Queue()
        self.resting: dict[str, Resting] = {}
        self.filled: dict[str, int] = {}  # lots
        self.breaker = Breaker(most_actions)
        self.reactions = Reactions()
        self.fills = 0
        self.awaited: Instrument | None = None  # of other ticks or lots: taken up once the pair is flat
        self.exposed: dict[str, float] = {}  # stops that could not be placed, since when (seconds of the clock)
        self.sequence = 0
        self.directed = 0
        self.corrections = 0
        self.behind = True  # something that was decided may not have been done
        self.recovered = asyncio.Event()
        self._report, self._clock = report, clock
        self._bar_at = clock()
        self._silent = False
        self._log = log.bind(pair=self.symbol)

    def tell(self, message: Message) -> None:
        """Put a message into the mailbox."""
        self.mailbox.put_nowait(message)

    async def run(self) -> None:
        """Handle messages, one after the other, for ever."""
        try:
            await self._listen()
        finally:
            self.memory.close()

    async def _listen(self) -> None:
        while True:
            message = await self.mailbox.get()
            try:
                await self._handle(message)
                await self._take_up()
            except TROUBLE as error:
                self._log.error("venue_trouble", reason=str(error))
                self.behind = True
                await self._recover()
            finally:
                self.mailbox.task_done()

    async def _handle(self, message: Message) -> None:
        match message:
            case Closed():
                await self._on_bar(message)
            case Execution():
                await self._on_execution(message)
            case Changed():
                await self._on_change(message)
            case Gap() | Recover():
                await self._recover()
            case _:
                await self._on_word(message)

    async def _on_word(self, message: Directive | Room | Remember | Listed | Adopt) -> None:
        match message:
            case Directive():
                await self._on_directive(message)
            case Room():
                self.machine.states[0].directive.exposure_limit = message.limit
                await self.rest()
            case Remember():
                if self.recovered.is_set():
                    await self._act()
            case Listed():
                self._meet(message.instrument)
            case Adopt():
                self.machine.params[...] = message.params
            case _:
                assert_never(message)

    # Events

    async def _on_bar(self, bar: Closed) -> None:
        if not self.recovered.is_set() or bar.ts < self.machine.time:
            return
        bars = new_records(BAR, 1)
        bars[0] = (bar.ts, bar.open, bar.high, bar.low, bar.close, bar.volume)
        if bar.ts > self.machine.time:
            missed = await self.gateway.candles(self.symbol, self.machine.time, bar.ts)
            bars = _joined(missed, bars)
        if self._take_bars(bars):
            await self._act()
        self._tell_portfolio()

    def _take_bars(self, bars: Any) -> bool:
        """Let the machine take closed bars; whether anything was decided."""
        if not len(bars):
            return False
        self._bar_at = self._clock()
        if self._silent:
            self._silent = False
            self._hold_off(HeldOff.SILENCE, "candles are back", over=True)
        return self.machine.take_bars(bars)

    def _hold_off(self, reason: HeldOff, sentence: str, *, over: bool = False) -> None:
        self._report(HoldOff(self.symbol, reason, f"{self.symbol}: {sentence}", over))

    async def _on_execution(self, execution: Execution) -> None:
        if not self.recovered.is_set():
            return  # recovery asks for it
        if self._book(execution):
            self.reactions.heard(execution.heard)
            await self._act()
            self.reactions.heard(0.0)

    def _book(self, execution: Execution) -> bool:
        """Take an execution into the books, once; it is stored with the next memory, whatever happens until then."""
        if execution.id in self.memory.booked:
            return False
        if execution.funding:
            self.machine.take_funding(-execution.fee)
            self.memory.book(execution, None)
            return True
        order = self._sent(execution.link)
        if order is None:
            self._log.error("foreign_execution", execution=execution.id, order=execution.link)
            return False
        self.fills += 1
        found = self.resting.get(order.link)
        self.filled[order.link] = self.filled.get(order.link, 0) + execution.lots
        if found is not None and self.filled[order.link] >= found.lots:
            self.resting.pop(order.link)
        record = self.machine.take_fill(
            order, execution.ts, execution.price, execution.lots, execution.fee, maker=execution.maker
        )
        self.memory.book(execution, record)
        self._log.info("filled", order=order.link, side=execution.side, price=execution.price, lots=execution.lots)
        return True

    def _sent(self, link: str) -> Order | None:
        """The order of this name. One that was sent while the store was away, or long ago, is what is wished still."""
        return self.memory.orders.get(link) or next((one for one in self._wishes() if one.link == link), None)

    async def _on_change(self, changed: Changed) -> None:
        order = changed.order
        if order.state in (OrderState.RESTING, OrderState.FILLED) or order.link not in self.resting:
            return  # a fill is an execution and nothing else
        if order.state is OrderState.UNKNOWN:
            self._log.error("order_unknown", order=order.link)
            await self._recover()
            return
        await self._ended(order)

    async def _ended(self, order: Resting) -> None:
        """The venue ended an order that we did not cancel."""
        self.resting.pop(order.link)
        wish = self._sent(order.link)
        if wish is None or not self.machine.wishes(wish):
            return
        self._log.warning("order_ended_by_venue", order=order.link, state=order.state.value, filled=order.filled)
        if wish.reduce_only and order.state is OrderState.CANCELLED:
            self.machine.wish_anew(wish)  # somebody's hand, or no volume: what is left goes as a new order
        else:
            self._take_refusal(wish)
        await self._act()

    async def _on_directive(self, directive: Directive) -> None:
        if directive.sequence < self.directed:
            return
        self.directed = directive.sequence
        if differs(self.machine.states[0].directive, directive.record[0]):
            self.machine.take_directive(directive.record)
            await self._act()
        self._tell_portfolio(answers=max(directive.sequence, 1))

    def _tell_portfolio(self, answers: int = 0) -> None:
        self.sequence += 1
        self.machine.reports[0].alive = True
        record = self.machine.reports[0].copy()
        self._report(PairReport(self.symbol, self.sequence, self.machine.time, record, answers))

    # Remember and act

    async def _act(self) -> None:
        """Store what was decided, then make the venue match it; refusals are decided on at once.

        While the store is away nothing is opened: entries leave the venue, exits are placed and kept.
        """
        for _ in range(ROUNDS):
            wished = self._wishes()
            if not await self.memory.save(wished):
                wished = [order for order in wished if order.signal != Signal.ENTRY]
            refused, again = await self._reconcile(wished)
            if not refused and not again:
                return
            for order, refusal in refused:
                self._log.warning("order_refused", order=order.link, reason=str(refusal))
                self._take_refusal(order, refusal.code)
        self._log.error("refusals_without_end", rounds=ROUNDS)

    def _take_refusal(self, order: Order, code: int = 0) -> None:
        """Withdraw an entry that the venue will not have; an exit is never given up while there is what to reduce.

        A stop that the price has passed is refused by venues, and is what it would have become: a market order.
        """
        if not order.reduce_only or code == NOTHING_TO_REDUCE:
            self.machine.take_refusal(order.slot)
            return
        if order.kind == OrderKind.STOP:
            self.machine.slots[order.slot].kind = OrderKind.MARKET
        self.machine.wish_anew(order)
        self.breaker.exit_failed(self.machine.time)
        if self.breaker.barred(self.machine.time):
            self._hold_off(HeldOff.EXITS, "exits fail again and again; look at the position at the venue, then resume.")

    def _wishes(self) -> list[Order]:
        return wishes(
            *(self.machine.slots, self.machine.position),
            linear=self.linear,
            bot=self.bot,
            symbol=self.symbol,
            filled=self.filled,
        )

    async def rest(self) -> None:
        """Remember everything, also what called for no action; forget what no restart can meet again."""
        if not self.recovered.is_set():
            return
        self.memory.forget()
        self.filled = {link: lots for link, lots in self.filled.items() if link in self.memory.orders}
        await self.memory.save([])

    async def _reconcile(self, wished: list[Order]) -> tuple[list[tuple[Order, Refused]], bool]:
        """Make the venue match; returns the orders it refused, and whether wishes have changed their names."""
        refused, again = [], False
        for change in difference(wished, self.resting):
            if not self._may(change):
                continue
            try:
                await self._ask(change)
            except Refused as refusal:
                if change.order is None:
                    raise Unreachable(f"{change.link} could not be cancelled: {refusal}") from None
                refused.append((change.order, refusal))
            except Gone:
                self.resting.pop(change.link, None)  # its execution, or its end, is on the way
                if change.action is Action.PLACE:
                    assert change.order is not None
                    self._log.warning("order_had_ended", order=change.link)
                    self.machine.wish_anew(change.order)
                    again = True
        return refused, again

    def _may(self, change: Change) -> bool:
        """Whether a loop gone wild may do this now; what reduces always may, a failing exit but a few times."""
        now = self.machine.time
        if change.order is not None and change.order.signal == Signal.ENTRY and self.breaker.wild(now):
            self._hold_off(HeldOff.ACTIONS, "more order actions in a minute than a sound loop needs; look, then resume")
            return False
        if change.order is not None and change.order.reduce_only and self.breaker.barred(now):
            return False
        self.breaker.act(now)
        return True

    async def _ask(self, change: Change) -> None:
        if change.action is Action.CANCEL:
            await self.gateway.cancel(self.symbol, change.link)
            self.resting.pop(change.link, None)
            return
        assert change.order is not None
        self.reactions.sent(self._clock())
        if change.action is Action.PLACE:
            await self._place(change.order)
        else:
            await self.gateway.amend(self.symbol, change.order)
        self.resting[change.link] = as_resting(change.order, self.filled.get(change.link, 0))

    async def _place(self, order: Order) -> None:
        """Place an order; a stop that cannot be placed in time leaves the position no protection, so that it closes."""
        try:
            await self.gateway.place(self.symbol, order)
        except (Unreachable, Unanswered):
            if order.kind == OrderKind.STOP and order.reduce_only:
                since = self.exposed.setdefault(order.link, self._clock())
                if self._clock() - since >= PATIENCE_SECONDS:
                    self._log.error("stop_does_not_rest", order=order.link, remedy="closing the position")
                    self.exposed.pop(order.link)
                    self._take_refusal(order)
            raise
        self.exposed.pop(order.link, None)

    # Another instrument

    def _meet(self, listed: Instrument) -> None:
        """Follow the venue's other minima at once; other ticks or lots mean other numbers in the whole memory."""
        known = self.machine.instrument
        if (listed.tick_size, listed.lot_size) == (known.tick_size, known.lot_size):
            if listed != known:
                self._log.warning("instrument_changed", known=str(known), listed=str(listed))
            self.machine.take_terms(listed)
            self.gateway.know(listed)
            if self.awaited is not None:
                self.awaited = None
                self._hold_off(HeldOff.INSTRUMENT, "tick and lot size are what they were", over=True)
            return
        if self.awaited is None:
            self._hold_off(
                HeldOff.INSTRUMENT,
                f"tick or lot size has changed ({known.tick_size}, {known.lot_size} to {listed.tick_size}, "
                f"{listed.lot_size}); nothing is opened until the position has left.",
            )
        self.awaited = listed

    async def _take_up(self) -> None:
        """Begin anew in the venue's new ticks and lots, once nothing is left in the old ones."""
        listed = self.awaited
        if listed is None or self.machine.position or self.resting or self._wishes() or not self.recovered.is_set():
            return
        self.awaited, self.start = None, self.machine.time
        self.machine.begin_anew(listed)
        self.gateway.know(listed)
        await self._recover()
        self._hold_off(HeldOff.INSTRUMENT, "trades in the new tick and lot size", over=True)

    # Recovery

    async def _recover(self) -> None:
        """Catch up with the venue and make it match, until that has worked; trading waits for it."""
        pause = RETRY_SECONDS
        while True:
            try:
                await self._catch_up()
            except TROUBLE as error:
                self._log.warning("recovery_waits", reason=str(error))
                self.behind = True
                await asyncio.sleep(pause)
                pause = min(2.0 * pause, MOST_RETRY_SECONDS)
            else:
                break
        self.recovered.set()
        self._tell_portfolio()

    async def _catch_up(self) -> None:
        machine = self.machine
        first = not self.recovered.is_set()
        if first:
            await self._load()
        since = machine.time
        asked = int(machine.asked[0]) or self.start
        executions = await self.gateway.executions(self.symbol, asked - MINUTE)
        bars = await self.gateway.candles(self.symbol, since or self.start - self.warmup_ms, NEVER)
        if since == 0:
            bars = bars[bars["ts"] < self.start] if self.start else bars
        booked = False
        for execution in executions:
            due = bars["ts"] + machine.pairs[0].bar_ms <= execution.ts
            self._take_bars(bars[due])
            bars = bars[~due]
            booked = self._book(execution) or booked
        decided = self._take_bars(bars)
        self._mind_silence()
        shown = {one.link: one for one in await self.gateway.resting(self.symbol) if self._is_ours(one.link)}
        corrected = shown.keys() != self.resting.keys()
        machine.asked[0] = max(since, asked)
        self.resting = shown
        self.filled.update((link, one.filled) for link, one in shown.items())
        if self.behind or booked or decided or corrected:
            self.corrections += int(corrected and not first)
            await self._act()
        self.behind = False

    async def _load(self) -> None:
        if await self.memory.load():
            listed = self.machine.instrument
            tick, lot = self.machine.remembered_units()
            self.machine.instrument = listed.model_copy(update={"tick_size": tick, "lot_size": lot})
            self.gateway.know(self.machine.instrument)
            self._meet(listed)

    def _mind_silence(self) -> None:
        """Hold the pair off while neither stream nor REST brings a candle: its entries stand on old news."""
        if not self._silent and self._clock() - self._bar_at > SILENCE_SECONDS:
            self._silent = True
            self._hold_off(HeldOff.SILENCE, f"no candle for {SILENCE_SECONDS:.0f} s; entries wait for the next.")

    def _is_ours(self, link: str) -> bool:
        return link.startswith(f"{self.bot}-{self.symbol}-")


MINUTE = 60_000
NEVER = 1 << 52


def _joined(first: Any, second: Any) -> Any:
    bars = new_records(BAR, len(first) + len(second))
    bars[: len(first)], bars[len(first) :] = first, second
    return bars
