"""The loop of one pair: decide, remember, act, tell. It owns the pair's machine and nobody else touches it.

A crash between any two of these loses nothing: what was decided is stored before it is acted on, and acting twice is
harmless because an order's name is its slot and generation. Starting is recovering; there is no second way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, assert_never

import structlog

from bot.order import OrderKind
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
    Saved,
    Store,
    Unanswered,
    Unreachable,
)
from bot.record import new_records
from bot.rollup import BAR
from coordinator.machine import PairMachine, layout, pack, unpack
from coordinator.messages import Adopt, Directive, PairReport, Recover, Room
from coordinator.portfolio import differs
from coordinator.reconcile import Action, Change, as_resting, difference, wishes

log = structlog.get_logger()

Message = Event | Directive | Room | Recover | Adopt
ROUNDS = 20  # refusals answered by new wishes, within one event
RETRY_SECONDS = 1.0


class StrategyLoop:
    """One pair, from its events to its orders."""

    def __init__(
        self,
        bot: str,
        machine: PairMachine,
        gateway: Gateway,
        store: Store,
        bus: Bus,
        report: Callable[[PairReport], None],
        *,
        warmup_ms: int,
        start: int,
    ) -> None:
        self.bot, self.machine, self.gateway, self.store, self.bus = bot, machine, gateway, store, bus
        self.symbol = machine.instrument.symbol
        self.linear = bool(machine.pairs[0].instrument.linear)
        self.warmup_ms, self.start = warmup_ms, start
        self.mailbox: asyncio.Queue[Message] = asyncio.Queue()
        self.resting: dict[str, Resting] = {}
        self.orders: dict[str, Order] = {}  # every order that may still be filled, by link
        self.filled: dict[str, int] = {}  # lots
        self.seen: set[str] = set()
        self.sequence = 0
        self.directed = 0
        self.corrections = 0
        self.recovered = asyncio.Event()
        self._report = report
        self._log = log.bind(pair=self.symbol)

    def tell(self, message: Message) -> None:
        """Put a message into the mailbox."""
        self.mailbox.put_nowait(message)

    async def run(self) -> None:
        """Handle messages, one after the other, for ever."""
        while True:
            message = await self.mailbox.get()
            try:
                await self._handle(message)
            except (Unreachable, Unanswered, NotPermitted) as error:
                self._log.error("venue_trouble", reason=str(error))
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
            case Directive():
                await self._on_directive(message)
            case Room():
                self.machine.states[0].directive.exposure_limit = message.limit
                await self.rest()
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
        if self.machine.take_bars(bars):
            await self._act([])
        self._tell_portfolio()

    async def _on_execution(self, execution: Execution) -> None:
        if not self.recovered.is_set():
            return  # recovery asks for it
        booked = await self._book(execution)
        if booked is not None:
            await self._act([booked])

    async def _book(self, execution: Execution) -> tuple[Execution, Any] | None:
        """Take an execution into the books, once."""
        if execution.id in self.seen or await self.store.has_execution(execution.id):
            return None
        self.seen.add(execution.id)
        if execution.funding:
            self.machine.take_funding(-execution.fee)
            return execution, None
        order = self.orders.get(execution.link)
        if order is None:
            self._log.error("foreign_execution", execution=execution.id, order=execution.link)
            return None
        found = self.resting.get(order.link)
        self.filled[order.link] = self.filled.get(order.link, 0) + execution.lots
        if found is not None and self.filled[order.link] >= found.lots:
            self.resting.pop(order.link)
        record = self.machine.take_fill(
            order, execution.ts, execution.price, execution.lots, execution.fee, maker=execution.maker
        )
        self._log.info("filled", order=order.link, side=execution.side, price=execution.price, lots=execution.lots)
        return execution, record

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
        wish = self.orders[order.link]
        if not self.machine.wishes(wish):
            return
        self._log.warning("order_ended_by_venue", order=order.link, state=order.state.value, filled=order.filled)
        if wish.reduce_only and order.state is OrderState.CANCELLED:
            self.machine.wish_anew(wish)  # somebody's hand, or no volume: what is left goes as a new order
        else:
            self.machine.take_refusal(wish.slot)
        await self._act([])

    async def _on_directive(self, directive: Directive) -> None:
        if directive.sequence < self.directed:
            return
        self.directed = directive.sequence
        if differs(self.machine.states[0].directive, directive.record[0]):
            self.machine.take_directive(directive.record)
            await self._act([])
        self._tell_portfolio(answers=max(directive.sequence, 1))

    def _tell_portfolio(self, answers: int = 0) -> None:
        self.sequence += 1
        self.machine.reports[0].alive = True
        record = self.machine.reports[0].copy()
        self._report(PairReport(self.symbol, self.sequence, self.machine.time, record, answers))

    # Remember and act

    async def _act(self, fills: list[tuple[Execution, Any]]) -> None:
        """Store what was decided, then make the venue match it; refusals are decided on at once."""
        for _ in range(ROUNDS):
            wished = self._wishes()
            await self._remember(wished, fills)
            fills = []
            refused, again = await self._reconcile(wished)
            if not refused and not again:
                return
            for order, reason in refused:
                self._log.warning("order_refused", order=order.link, reason=reason)
                self._take_refusal(order)
        self._log.error("refusals_without_end", rounds=ROUNDS)

    def _take_refusal(self, order: Order) -> None:
        """A stop that the price has passed is refused by venues, and is what it would have become: a market order."""
        if order.kind == OrderKind.STOP and order.reduce_only:
            self.machine.slots[order.slot].kind = OrderKind.MARKET
            self.machine.wish_anew(order)
        else:
            self.machine.take_refusal(order.slot)

    def _wishes(self) -> list[Order]:
        return wishes(
            *(self.machine.slots, self.machine.position),
            linear=self.linear,
            bot=self.bot,
            symbol=self.symbol,
            filled=self.filled,
        )

    async def _remember(self, wished: list[Order], fills: list[tuple[Execution, Any]]) -> None:
        sent = [order for order in wished if self.orders.get(order.link) != order]
        notes = [(self.symbol, note) for note in self.machine.take_notes()]
        arrays = self.machine.remembered()
        saved = Saved(layout(arrays), pack(arrays))
        await self.store.save(self.symbol, saved, self.machine.time, sent, fills, notes)
        self.orders.update((order.link, order) for order in sent)
        for _, note in notes:
            self.bus.publish("note", {"pair": self.symbol, "note": note})
        for execution, _ in fills:
            self.bus.publish("fill", {"pair": self.symbol, "execution": execution})

    async def rest(self) -> None:
        """Remember everything, also what called for no action."""
        if self.recovered.is_set():
            await self._remember(self._wishes(), [])

    async def _reconcile(self, wished: list[Order]) -> tuple[list[tuple[Order, str]], bool]:
        """Make the venue match; returns the orders it refused, and whether wishes have changed their names."""
        refused, again = [], False
        for change in difference(wished, self.resting):
            try:
                await self._ask(change)
            except Refused as refusal:
                if change.order is None:
                    raise Unreachable(f"{change.link} could not be cancelled: {refusal}") from None
                refused.append((change.order, str(refusal)))
            except Gone:
                self.resting.pop(change.link, None)  # its execution, or its end, is on the way
                if change.action is Action.PLACE:
                    assert change.order is not None
                    self._log.warning("order_had_ended", order=change.link)
                    self.machine.wish_anew(change.order)
                    again = True
        return refused, again

    async def _ask(self, change: Change) -> None:
        if change.action is Action.CANCEL:
            await self.gateway.cancel(self.symbol, change.link)
            self.resting.pop(change.link, None)
            return
        assert change.order is not None
        if change.action is Action.PLACE:
            await self.gateway.place(self.symbol, change.order)
        else:
            await self.gateway.amend(self.symbol, change.order)
        self.resting[change.link] = as_resting(change.order, self.filled.get(change.link, 0))

    # Recovery

    async def _recover(self) -> None:
        """Catch up with the venue and make it match, until that has worked; trading waits for it."""
        while True:
            try:
                await self._catch_up()
            except (Unreachable, Unanswered, NotPermitted) as error:
                self._log.warning("recovery_waits", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
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
        if first and since == 0:
            bars = bars[bars["ts"] < self.start] if self.start else bars
        fills = []
        for execution in executions:
            due = bars["ts"] + machine.pairs[0].bar_ms <= execution.ts
            machine.take_bars(bars[due])
            bars = bars[~due]
            booked = await self._book(execution)
            fills += [booked] if booked is not None else []
        decided = machine.take_bars(bars) if len(bars) else False
        shown = {one.link: one for one in await self.gateway.resting(self.symbol) if self._is_ours(one.link)}
        corrected = shown.keys() != self.resting.keys()
        machine.asked[0] = max(since, asked)
        self.resting = shown
        self.filled.update((link, one.filled) for link, one in shown.items())
        if first or fills or decided or corrected:
            self.corrections += int(corrected and not first)
            await self._act(fills)

    async def _load(self) -> None:
        saved = await self.store.load(self.symbol)
        if saved is not None:
            unpack(self.machine.remembered(), saved.data)
            self.orders = await self.store.orders(self.symbol)

    def _is_ours(self, link: str) -> bool:
        return link.startswith(f"{self.bot}-{self.symbol}-")


MINUTE = 60_000
NEVER = 1 << 52


def _joined(first: Any, second: Any) -> Any:
    bars = new_records(BAR, len(first) + len(second))
    bars[: len(first)], bars[len(first) :] = first, second
    return bars
