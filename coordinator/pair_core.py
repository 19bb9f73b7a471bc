"""The core of one pair: events in, instructions out. It decides, and leaves the doing to its loop.

It owns the pair's machine and nobody else touches it. A crash between any two instructions loses nothing: what was
decided is stored before it is acted on, and acting twice is harmless because an order's name is its slot and
generation. Starting is recovering; there is no second way. The venue is right: at every look the position
is compared, and absence is zero. It never waits and knows no clock: `now` (seconds) comes with events and answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

import structlog

from bot.errors import OutOfStep
from bot.instrument import Instrument
from bot.order import OrderKind
from bot.ports import (
    Changed,
    Closed,
    Event,
    Execution,
    Gap,
    Gone,
    NotPermitted,
    OpenOrder,
    Order,
    OrderState,
    Position,
    Refusal,
    Refused,
    Unanswered,
    Unreachable,
)
from bot.record import new_records
from bot.rollup import BAR
from bot.times import MINUTE
from coordinator.books import Books
from coordinator.breaker import Breaker
from coordinator.executor import Executor
from coordinator.instructions import (
    FetchCandles,
    FetchExecutions,
    FetchOpenOrders,
    FetchPosition,
    Know,
    Load,
    Loaded,
    Save,
    Steps,
    Wait,
)
from coordinator.machine import PairMachine
from coordinator.memory import Memory
from coordinator.messages import (
    Adopt,
    Directive,
    HoldOff,
    Listed,
    PairReport,
    Recover,
    Remember,
    Room,
    StoreAway,
    Withdraw,
)
from coordinator.portfolio import differs
from coordinator.position_watch import PositionWatch
from coordinator.reconcile import desired_orders, only_reducing, opening_lots
from coordinator.vocabulary import Answer, HeldOff

log = structlog.get_logger()

Message = Event | Directive | Room | Recover | Remember | Listed | Adopt | StoreAway | Withdraw
ROUNDS = 20  # refusals answered by other orders, within one event
RETRY_SECONDS, MOST_RETRY_SECONDS = 1.0, 30.0
# Besides an order that is refused: also a question that is, as for a symbol the venue no longer knows.
TROUBLE = (Unreachable, Unanswered, NotPermitted, Refused, Gone)
SILENCE_SECONDS = 180.0  # without a candle, of stream and REST together


class PairCore:
    """One pair, from its events to its orders."""

    def __init__(
        self,
        bot: str,
        machine: PairMachine,
        report: Callable[[PairReport | HoldOff], None],
        look: Callable[[], None],
        *,
        start: int,
        now: float,
        most_actions: int,
        adopt: bool = False,
    ) -> None:
        """`look` asks for a Recover soon; `now`: seconds; `adopt`: take over what nothing explains, once."""
        self.bot, self.machine, self.now = bot, machine, now
        self.symbol = machine.instrument.symbol
        self.linear = bool(machine.pairs[0].instrument.linear)
        self.start = start
        self.memory = Memory()
        self.books = Books(bot, machine, self.memory, self._desired_orders)
        self.breaker = Breaker(most_actions)
        self.executor = Executor(
            self.books, self.breaker, lambda: self.now, lambda why: self._hold_off(HeldOff.ACTIONS, why)
        )
        self.watch = PositionWatch(self.books, self.executor, self._hold_off, look, adopt=adopt)
        self.leaving = self.closing = False  # the bot is ending: nothing is opened any more, or everything is closed
        self.awaited: Instrument | None = None  # of other ticks or lots: taken up once the pair is flat
        self.sequence = 0
        self.directed = 0
        self.corrections = 0
        self.unsynced = True  # something that was decided may not have been done
        self.recovered = False  # the venue has been caught up with: events count
        self.waiting = 0  # news of the position that are still to come; only the newest counts
        self._report, self._look = report, look
        self._bar_at = now
        self._silent = self._barred = False
        self._log = log.bind(pair=self.symbol)

    @property
    def open_orders(self) -> dict[str, OpenOrder]:
        """Orders at the venue, by client order id."""
        return self.books.open_orders

    def handle(self, message: Message) -> Steps[None]:
        """Take a message in, and do what it calls for, until the venue is as desired."""
        try:
            yield from self._handle(message)
            yield from self._take_up()
        except OutOfStep as error:
            self._hold_off(HeldOff.OUT_OF_STEP, str(error))
            yield from self._recover()
        except TROUBLE as error:
            self._log.error("venue_trouble", reason=str(error))
            self.unsynced = True
            yield from self._recover()

    def _handle(self, message: Message) -> Steps[None]:
        match message:
            case Closed():
                yield from self._on_bar(message)
            case Execution():
                yield from self._on_execution(message)
            case Changed():
                yield from self._on_change(message)
            case Position():
                yield from self._on_position(message)
            case Gap() | Recover():
                yield from self._recover()
            case _:
                yield from self._on_word(message)

    def _on_word(self, message: Directive | Room | Remember | Listed | Adopt | StoreAway | Withdraw) -> Steps[None]:
        match message:
            case Directive():
                yield from self._on_directive(message)
            case Room():
                self.machine.states[0].directive.exposure_limit = message.limit
                self.machine.states[0].directive.others = message.others
                yield from self.rest()
            case Remember():
                if self.recovered:
                    yield from self._act()
            case StoreAway():
                self.memory.away = True
                if self.recovered:
                    yield from self._carry_out()
            case Withdraw():
                yield from self._on_withdraw(message)
            case Listed():
                yield from self._meet(message.instrument)
            case Adopt():
                self.machine.params[...] = message.params
            case _:
                assert_never(message)

    # Events

    def _on_bar(self, bar: Closed) -> Steps[None]:
        if not self.recovered or bar.ts < self.machine.time:
            return
        bars = new_records(BAR, 1)
        bars[0] = (bar.ts, bar.open, bar.high, bar.low, bar.close, bar.volume)
        if bar.ts > self.machine.time:
            missed = yield FetchCandles(self.machine.time, bar.ts)
            bars = _joined(missed, bars)
        if self._take_bars(bars):
            yield from self._act()
        self._tell_portfolio()

    def _take_bars(self, bars: Any) -> bool:
        """Let the machine take closed bars; whether anything was decided."""
        if not len(bars):
            return False
        self._bar_at = self.now
        if self._silent:
            self._silent = False
            self._hold_off(HeldOff.SILENCE, "candles are back", over=True)
        return self.machine.take_bars(bars)

    def _hold_off(self, reason: HeldOff, sentence: str, *, over: bool = False) -> None:
        self._report(HoldOff(self.symbol, reason, f"{self.symbol}: {sentence}", over))

    def _on_execution(self, execution: Execution) -> Steps[None]:
        if not self.recovered:
            return  # recovery asks for it
        if self.books.book(execution):
            if self.watch.lots == self.machine.position:
                self.watch.agree()  # it may have been told late, and explain what differed
            self.executor.reactions.heard(execution.heard)
            yield from self._act()
            self.executor.reactions.heard(0.0)

    def _on_change(self, changed: Changed) -> Steps[None]:
        order = changed.order
        if not self.recovered or not self.books.is_ours(order.client_order_id):
            return
        more = (
            order.filled > self.books.filled.get(order.client_order_id, 0)
            and order.client_order_id in self.memory.orders
        )
        if more and (yield from self.executor.learn_fills(order.client_order_id, order.filled))[0]:
            yield from self._act()  # a fill is an execution and nothing else
        if order.state in (OrderState.RESTING, OrderState.FILLED) or order.client_order_id not in self.open_orders:
            return
        if order.state is OrderState.UNKNOWN:
            self._log.error("order_unknown", order=order.client_order_id)
            yield from self._recover()
            return
        yield from self._ended(order)

    def _ended(self, order: OpenOrder) -> Steps[None]:
        """The venue ended an order that we did not cancel."""
        self.open_orders.pop(order.client_order_id)
        desired_order = self.books.sent(order.client_order_id)
        if desired_order is None or not self.machine.desires(desired_order):
            return
        self._log.warning("order_ended_by_venue", order=order.client_order_id, state=order.state.value)
        if desired_order.reduce_only and order.state is OrderState.CANCELLED:
            self.machine.set_anew(desired_order)  # somebody's hand, or no volume: what is left goes as a new order
            self._exit_failed()
        else:
            self._take_refusal(desired_order)
        yield from self._act()

    def _on_position(self, position: Position) -> Steps[None]:
        """The venue tells of the position: news only where it is not as it is known; then it is asked for.

        It is told with every order, so that what waited while others were handled is of before what was asked since.
        """
        known = self.watch.lots
        if self.waiting or not self.recovered or (position.lots, position.stop) == (known, self.books.stop):
            return
        if position.lots == known:  # the stop alone: it may be news of before the last change
            self.books.stop = (yield FetchPosition()).stop
            yield from self._act()
            return
        yield from self._recover()

    def _on_directive(self, directive: Directive) -> Steps[None]:
        if directive.sequence < self.directed:
            return
        self.directed = directive.sequence
        if not directive.record[0].paused:
            self.watch.resumed()
        if differs(self.machine.states[0].directive, directive.record[0]):
            self.machine.take_directive(directive.record)
            yield from self._act()
        self._tell_portfolio(answers=max(directive.sequence, 1))

    def _on_withdraw(self, message: Withdraw) -> Steps[None]:
        """Take back what could increase exposure; with `close`, leave the position too."""
        self.leaving, self.closing = True, message.close
        if message.close:
            given = new_records(self.machine.states["directive"].dtype, 1)
            given[0] = self.machine.states[0].directive
            given[0].halted, given[0].answer = True, Answer.CLOSE_ALL
            self.machine.take_directive(given)
        yield from self._recover()

    def _tell_portfolio(self, answers: int = 0) -> None:
        self.sequence += 1
        self.machine.reports[0].alive = True
        record = self.machine.reports[0].copy()
        self._report(PairReport(self.symbol, self.sequence, self.machine.time, record, answers))

    # Remember and act

    def _act(self) -> Steps[None]:
        """Store what was decided, then make the venue match it; refusals are decided on at once.

        While the store is away nothing is opened: entries leave the venue, exits are placed and kept.
        """
        self.watch.tell_of_others()
        for _ in range(ROUNDS):
            yield from self._save(self._desired_orders())
            if (yield from self._carry_out()):
                return
        self._log.error("refusals_without_end", rounds=ROUNDS)

    def _carry_out(self) -> Steps[bool]:
        """Make the venue match; True when nothing has changed on the way that calls for another round.

        A stop that cannot be moved at present holds up what opens, never an exit.
        """
        trouble: Unreachable | Unanswered | Refused | None = None
        try:
            opening = opening_lots(self.due(), self.open_orders) if self.machine.large_positions else 0
            if self.linear and not (yield from self.watch.protect(opening)):
                return False
        except (Unreachable, Unanswered, Refused) as error:
            trouble = error
        if self.closing and self.watch.differs and not self.machine.leaves(self.watch.lots):
            self.machine.close(self.watch.lots)  # nothing explains it, and it is to leave all the same
        outcome = yield from self.executor.carry_out(self.due() if trouble is None else only_reducing(self.due()))
        for order, refusal in outcome.refused:
            self._log.warning("order_refused", order=order.client_order_id, reason=str(refusal))
            self._take_refusal(order, refusal)
        if trouble is not None:
            raise trouble
        return not (outcome.refused or outcome.renamed or outcome.booked)

    def _save(self, desired: list[Order]) -> Steps[None]:
        """Store what was decided, with the orders that are desired; without the store nothing is opened."""
        self.memory.keep(desired, self.machine.take_decisions())
        stored = yield Save()
        self.memory.away = not stored

    def due(self) -> list[Order]:
        """List what should rest at the venue now: what is desired, less what is held back."""
        desired = self._desired_orders()
        held_back = self.memory.away or self.leaving or self.watch.differs
        return only_reducing(desired) if held_back else desired

    def _take_refusal(self, order: Order, refusal: Refused | None = None) -> None:
        """Withdraw an entry that the venue will not have; an exit is never given up while there is what to reduce.

        A stop that the price has passed is refused by venues, and is what it would have become: a market order.
        """
        reason = Refusal.OTHER if refusal is None else refusal.reason
        held = self.machine.position != 0 and self.linear
        if reason is Refusal.NOTHING_TO_REDUCE and held:
            self._look()  # the position may not be what it was
        if not order.reduce_only or (reason is Refusal.NOTHING_TO_REDUCE and not held):
            self.machine.take_refusal(order)
            return
        if order.kind == OrderKind.STOP and reason is Refusal.TRIGGER_PASSED:
            self.machine.set_at_market(order)
        self.machine.set_anew(order)
        self._exit_failed()

    def _exit_failed(self) -> None:
        """Count an exit that was refused, or that the venue ended; several in a minute are told."""
        self.breaker.exit_failed(self.machine.time)
        if self.breaker.barred(self.machine.time):
            self._hold_off(HeldOff.EXITS, "exits fail again and again; look at the position at the venue, then resume.")

    def _desired_orders(self) -> list[Order]:
        return desired_orders(
            *(self.machine.slots, self.watch.lots),
            linear=self.linear,
            bot=self.bot,
            symbol=self.symbol,
            filled=self.books.filled,
            largest=int(self.machine.pairs[0].instrument.max_market_lots),
        )

    def rest(self) -> Steps[None]:
        """Remember everything, also what called for no action; forget what no restart can meet again."""
        if not self.recovered:
            return
        self.books.forget()
        yield from self._save([])

    # Another instrument

    def _meet(self, listed: Instrument) -> Steps[None]:
        """Follow the venue's other minima at once; other ticks or lots mean other numbers in the whole memory."""
        known = self.machine.instrument
        if (listed.tick_size, listed.lot_size) == (known.tick_size, known.lot_size):
            if listed != known:
                self._log.warning("instrument_changed", known=str(known), listed=str(listed))
            self.machine.take_terms(listed)
            yield Know(listed)
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

    def _take_up(self) -> Steps[None]:
        """Begin anew in the venue's new ticks and lots, once nothing is left in the old ones."""
        listed = self.awaited
        if listed is None or self.machine.position or self.open_orders or self._desired_orders() or not self.recovered:
            return
        self.awaited, self.start = None, self.machine.time
        self.machine.begin_anew(listed)
        yield Know(listed)
        yield from self._recover()
        self._hold_off(HeldOff.INSTRUMENT, "trades in the new tick and lot size", over=True)

    # Recovery

    def _recover(self) -> Steps[None]:
        """Catch up with the venue and make it match, until that has worked; trading waits for it."""
        pause = RETRY_SECONDS
        while True:
            try:
                yield from self._catch_up()
            except TROUBLE as error:
                self._log.warning("recovery_waits", reason=str(error))
                self.unsynced = True
                if isinstance(error, NotPermitted):
                    self._mind_permission(str(error))
                    pause = MOST_RETRY_SECONDS
                yield Wait(pause)
                pause = min(2.0 * pause, MOST_RETRY_SECONDS)
            else:
                break
        self._mind_permission(None)
        self.recovered = True
        self._tell_portfolio()

    def _mind_permission(self, trouble: str | None) -> None:
        """Hold the pair off while the key may not trade; what reduces is tried on, slowly."""
        if (trouble is not None) != self._barred:
            self._barred = trouble is not None
            self._hold_off(HeldOff.PERMISSION, trouble or "the key may trade again", over=trouble is None)

    def _catch_up(self) -> Steps[None]:
        machine, books = self.machine, self.books
        first = not self.recovered
        if first:
            yield from self._load()
            yield from self._learn_history()
        since = machine.time
        asked = int(machine.asked[0]) or self.start
        executions = yield FetchExecutions(asked - MINUTE)
        bars = yield FetchCandles(since or machine.algorithm.history_start(self.start), NEVER)
        if since == 0:
            bars = bars[bars["ts"] < self.start] if self.start else bars
        booked = False
        for execution in executions:
            due = bars["ts"] + machine.pairs[0].bar_ms <= execution.ts
            self._take_bars(bars[due])
            bars = bars[~due]
            booked = books.book(execution) or booked
        decided = self._take_bars(bars)
        self._mind_silence()
        if self.linear:
            booked = (yield from self.watch.compare(asked)) or booked
        shown = {one.client_order_id: one for one in (yield FetchOpenOrders()) if books.is_ours(one.client_order_id)}
        corrected = shown.keys() != books.open_orders.keys()
        machine.asked[0] = max(since, asked)
        books.open_orders = shown
        booked = (yield from self._learn_of(shown, first=first)) or booked
        if (
            self.unsynced
            or booked
            or decided
            or corrected
            or self.watch.differs
            or self.leaving
            or (self.linear and self.watch.stop_differs)
            or machine.large_positions
        ):
            self.corrections += int(corrected and not first)
            yield from self._act()
        self.unsynced = False

    def _learn_history(self) -> Steps[None]:
        """Ask for the candles before what is remembered, over which the inputs of strategies are computed."""
        since = self.machine.history_since
        if since is not None and self.machine.time:
            self.machine.take_history((yield FetchCandles(since, self.machine.time)))

    def _learn_of(self, shown: dict[str, OpenOrder], *, first: bool) -> Steps[bool]:
        """Know how much of each order is filled: after a start as the venue shows it, later by executions alone."""
        filled, booked = self.books.filled, False
        for client_order_id, one in shown.items():
            if first:
                filled[client_order_id] = one.filled
            elif one.filled > filled.get(client_order_id, 0):
                booked = (yield from self.executor.learn_fills(client_order_id, one.filled))[0] or booked
        return booked

    def _load(self) -> Steps[None]:
        loaded: Loaded | None = yield Load(self.symbol)
        if loaded is not None:
            self.machine.restore(loaded.saved)
            self.memory.fill(loaded)
            listed = self.machine.instrument
            tick, lot = self.machine.remembered_units()
            self.machine.instrument = listed.model_copy(update={"tick_size": tick, "lot_size": lot})
            yield Know(self.machine.instrument)
            yield from self._meet(listed)

    def _mind_silence(self) -> None:
        """Hold the pair off while neither stream nor REST brings a candle: its entries stand on old news."""
        if not self._silent and self.now - self._bar_at > SILENCE_SECONDS:
            self._silent = True
            self._hold_off(HeldOff.SILENCE, f"no candle for {SILENCE_SECONDS:.0f} s; entries wait for the next.")


NEVER = 1 << 52


def _joined(first: Any, second: Any) -> Any:
    bars = new_records(BAR, len(first) + len(second))
    bars[: len(first)], bars[len(first) :] = first, second
    return bars
