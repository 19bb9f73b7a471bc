"""The core of one pair: takes events, yields instructions (requests to venue and store), and is sent their results.

The strategy loop that drives it does all I/O. The core owns the pair's machine: the state of strategy, phase and
desired orders, stepped by compiled code. A crash between any two instructions loses nothing: decisions are stored
before they are acted on, and sending an order twice is harmless, because its client order id is made of its slot (the
place in the strategy's table of orders) and its generation (how often that slot was set anew). A start uses the same
path as a recovery. The venue is the source of truth: every reconciliation compares the position, and a missing
position is a flat one. The core never waits and reads no clock: `now` (seconds) comes with events and results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

import numpy as np
import structlog

from bot.candles import bar_name
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
    FetchSignals,
    Load,
    Loaded,
    Save,
    SetInstrument,
    Steps,
    Wait,
)
from coordinator.machine import PairMachine
from coordinator.memory import Memory
from coordinator.messages import (
    Directive,
    ExposureLimit,
    HeldOffReport,
    InstrumentListed,
    PairReport,
    Recover,
    SaveState,
    SetParameters,
    ShutDown,
    StoreUnavailable,
)
from coordinator.portfolio import differs
from coordinator.position_watch import PositionWatch
from coordinator.reconcile import desired_orders, only_reducing, opening_lots
from coordinator.vocabulary import HaltAnswer, HeldOff

log = structlog.get_logger()

Message = (
    Event
    | Directive
    | ExposureLimit
    | Recover
    | SaveState
    | InstrumentListed
    | SetParameters
    | StoreUnavailable
    | ShutDown
)
MOST_ROUNDS = 20  # of saving and sending within one event, each answering refusals of the one before
RETRY_SECONDS, MOST_RETRY_SECONDS = 1.0, 30.0
# Refused also covers refused queries, as for a symbol that the venue has delisted.
VENUE_ERRORS = (Unreachable, Unanswered, NotPermitted, Refused, Gone)
SILENCE_SECONDS = 180.0  # without a candle, of stream and REST together
LATE_ENTRY = 5 * MINUTE  # an entry at the market that was decided longer before the present is not sent


class PairCore:
    """One pair, from its events to its orders."""

    def __init__(
        self,
        bot: str,
        machine: PairMachine,
        report: Callable[[PairReport | HeldOffReport], None],
        request_recovery: Callable[[], None],
        *,
        start: int,
        now: float,
        most_actions: int,
        adopt: bool = False,
    ) -> None:
        """`request_recovery` asks for a Recover message soon; `now` in seconds.

        `adopt`: at the first reconciliation, take over a position that no known fill explains.
        """
        self.bot, self.machine, self.now = bot, machine, now
        self.symbol = machine.instrument.symbol
        self.linear = bool(machine.pairs[0].instrument.linear)
        self.start = start
        self.memory = Memory()
        self.books = Books(bot, machine, self.memory, self._desired_orders)
        self.breaker = Breaker(most_actions)
        self.executor = Executor(
            self.books, self.breaker, lambda: self.now, lambda why: self._report_held_off(HeldOff.ACTIONS, why)
        )
        self.watch = PositionWatch(self.books, self.executor, self._report_held_off, request_recovery, adopt=adopt)
        self.stopping = self.closing = False  # the bot shuts down: it opens nothing more, or closes everything
        self.next_instrument: Instrument | None = None  # with another tick or lot size: used once the pair is flat
        self.sequence = 0
        self.last_directive = 0  # sequence number
        self.reconciled = now  # when state and venue were compared last, by the clock that `now` is read from
        self.corrections = 0  # reconciliations that found other open orders than expected
        self.unsynced = True  # something that was decided may not have been done
        self.recovered = False  # the venue has been caught up with: events count
        self.queued_positions = 0  # position updates still in the mailbox; only the newest counts
        self._report, self._request_recovery = report, request_recovery
        self._bar_at = now
        self._silent = False  # no candle for long
        self._not_permitted = False  # the API key may not trade
        self._log = log.bind(pair=self.symbol)

    @property
    def open_orders(self) -> dict[str, OpenOrder]:
        """Orders at the venue, by client order id."""
        return self.books.open_orders

    def handle(self, message: Message) -> Steps[None]:
        """Process a message and act on it until the venue's orders are the desired ones."""
        try:
            yield from self._handle(message)
            yield from self._begin_in_new_units()
        except OutOfStep as error:
            self._report_held_off(HeldOff.OUT_OF_STEP, str(error))
            yield from self._recover()
        except VENUE_ERRORS as error:
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
                yield from self._on_command(message)

    def _on_command(
        self,
        message: Directive | ExposureLimit | SaveState | InstrumentListed | SetParameters | StoreUnavailable | ShutDown,
    ) -> Steps[None]:
        match message:
            case Directive():
                yield from self._on_directive(message)
            case ExposureLimit():
                self.machine.states[0].directive.exposure_limit = message.limit
                self.machine.states[0].directive.others = message.others
                yield from self.checkpoint()
            case SaveState():
                if self.recovered:
                    yield from self._act()
            case StoreUnavailable():
                self.memory.unavailable = True
                if self.recovered:
                    yield from self._carry_out()
            case ShutDown():
                yield from self._on_shut_down(message)
            case InstrumentListed():
                yield from self._take_instrument(message.instrument)
            case SetParameters():
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
        heard = yield from self._hear_signals(bars)
        if self._take_bars(bars, bar.ts) or heard:
            yield from self._act()
        self._tell_portfolio()

    def _hear_signals(self, bars: Any) -> Steps[bool]:
        """Ask for signals that came since the last time, before the last of these bars is taken; whether there are any.

        What was heard is stored with what was decided on it, so each is acted on at most once.
        """
        if not self.machine.listens or not len(bars):
            return False
        bar = int(bars["ts"][-1])
        signals = yield FetchSignals(self.machine.heard_signal, bar)
        self.machine.hear(signals, bar)
        return bool(signals)

    def _take_bars(self, bars: Any, newest: int) -> bool:
        """Let the machine take closed bars; whether anything was decided.

        `newest`: opening (ms) of the last bar that is known. Entries at the market that were decided long before it,
        while nobody could send them, are not sent any more.
        """
        if not len(bars):
            return False
        self._bar_at = self.now
        if self._silent:
            self._silent = False
            self._report_held_off(HeldOff.SILENCE, "candles are back", over=True)
        late, before = bars["ts"] < newest - LATE_ENTRY, self.machine.incomplete
        decided = False
        if np.any(late):
            decided = self.machine.take_bars(bars[late])
            decided = self.machine.drop_late_entries() or decided
        decided = (not np.all(late) and self.machine.take_bars(bars[~late])) or decided
        for length, count in self.machine.incomplete.items():
            if count > before[length]:
                self._log.info(
                    "bars_withheld",
                    timeframe=bar_name(length),
                    bars=count - before[length],
                    reason="not all of its minutes are known",
                )
        return decided

    def _report_held_off(self, reason: HeldOff, sentence: str, *, over: bool = False) -> None:
        """Tell the portfolio that the pair may open nothing for this reason, or with `over` that the reason is gone."""
        self._report(HeldOffReport(self.symbol, reason, f"{self.symbol}: {sentence}", over))

    def _on_execution(self, execution: Execution) -> Steps[None]:
        if not self.recovered:
            return  # the recovery fetches it
        if self.books.book(execution):
            if self.watch.lots == self.machine.position:
                self.watch.clear_difference()  # a fill that was reported late may explain the difference
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
            self.machine.set_anew(
                desired_order
            )  # cancelled by hand or for lack of volume: send the rest as a new order
            self._exit_failed()
        else:
            self._take_refusal(desired_order)
        yield from self._act()

    def _on_position(self, position: Position) -> Steps[None]:
        """Query the venue when a pushed position differs from the known one.

        The venue pushes the position with every order update, so an update that waited in the mailbox may be older than
        the last query: only the newest counts.
        """
        known = self.watch.lots
        if self.queued_positions or not self.recovered or (position.lots, position.stop) == (known, self.books.stop):
            return
        if position.lots == known:  # only the stop differs: the update may be older than its last change
            self.books.stop = (yield FetchPosition()).stop
            yield from self._act()
            return
        yield from self._recover()

    def _on_directive(self, directive: Directive) -> Steps[None]:
        if directive.sequence < self.last_directive:
            return
        self.last_directive = directive.sequence
        if not self.recovered:  # its loop was made anew: nothing is stored before what is stored was read
            yield from self._recover()
        record = self.watch.followed(directive.record)
        if differs(self.machine.states[0].directive, record[0]):
            self.machine.take_directive(record)
            yield from self._act()
        self._tell_portfolio(answers=max(directive.sequence, 1))

    def _on_shut_down(self, message: ShutDown) -> Steps[None]:
        """Shut down: cancel what could increase exposure and, with `close`, close the position too."""
        self.stopping, self.closing = True, message.close
        if not self.recovered:
            yield from self._recover()
        if message.close:
            given = new_records(self.machine.states["directive"].dtype, 1)
            given[0] = self.machine.states[0].directive
            given[0].halted, given[0].answer = True, HaltAnswer.CLOSE_ALL
            self.machine.take_directive(given)
        yield from self._recover()

    def _tell_portfolio(self, answers: int = 0) -> None:
        self.sequence += 1
        self.machine.reports[0].alive = True
        record = self.machine.reports[0].copy()
        self._report(PairReport(self.symbol, self.sequence, self.machine.time, record, answers))

    # Save and act

    def _act(self) -> Steps[None]:
        """Save what was decided, then make the venue match it; react to refusals in further rounds.

        While the store is unavailable nothing is opened: entries are cancelled, exits are placed and kept.
        """
        self.watch.tell_of_others()
        for _ in range(MOST_ROUNDS):
            yield from self._save(self._desired_orders())
            if (yield from self._carry_out()):
                return
        self._log.error("refusals_without_end", rounds=MOST_ROUNDS)

    def _carry_out(self) -> Steps[bool]:
        """Make the venue match the desired orders; False when something changed, so that another round must follow.

        While the position's stop cannot be moved, no entry is sent; exits are.
        """
        trouble: Unreachable | Unanswered | Refused | None = None
        try:
            opening = opening_lots(self.due(), self.open_orders) if self.machine.large_positions else 0
            if self.linear and not (yield from self.watch.protect(opening)):
                return False
        except (Unreachable, Unanswered, Refused) as error:
            trouble = error
        if self.closing and self.watch.differs and not self.machine.exits_at_market(self.watch.lots):
            self.machine.close(self.watch.lots)  # unexplained, and to be closed all the same
        outcome = yield from self.executor.carry_out(self.due() if trouble is None else only_reducing(self.due()))
        for order, refusal in outcome.refused:
            self._log.warning("order_refused", order=order.client_order_id, reason=str(refusal))
            self._take_refusal(order, refusal)
        if trouble is not None:
            self.unsynced = True
            if not isinstance(trouble, Refused):
                raise trouble
            self._log.error("stop_not_moved", reason=str(trouble), remedy="the older stop stands; entries wait")
            self._exit_failed()  # a recovery would be refused as well, and hear nothing meanwhile
        return not (outcome.refused or outcome.renamed or outcome.booked)

    def _save(self, desired: list[Order]) -> Steps[None]:
        """Save state, decisions and desired orders; a save that fails marks the store as unavailable."""
        self.memory.keep(desired, self.machine.take_decisions())
        stored = yield Save()
        self.memory.unavailable = not stored

    def due(self) -> list[Order]:
        """List the orders that should be open now: the desired ones, without entries while they are held back."""
        desired = self._desired_orders()
        held_back = self.memory.unavailable or self.stopping or self.watch.differs
        return only_reducing(desired) if held_back else desired

    def _take_refusal(self, order: Order, refusal: Refused | None = None) -> None:
        """Clear an entry that the venue refused; set a refused exit anew as long as there is a position to reduce.

        Venues refuse a stop whose trigger has passed; a market order is sent instead.
        """
        reason = Refusal.OTHER if refusal is None else refusal.reason
        held = self.machine.position != 0 and self.linear
        if reason is Refusal.NOTHING_TO_REDUCE and held:
            self._request_recovery()  # the position may not be what it was
        if not order.reduce_only or (reason is Refusal.NOTHING_TO_REDUCE and not held):
            self.machine.take_refusal(order, reason)
            return
        if order.kind == OrderKind.STOP and reason is Refusal.TRIGGER_PASSED:
            self.machine.set_at_market(order)
        self.machine.set_anew(order)
        self._exit_failed()

    def _exit_failed(self) -> None:
        """Count an exit that was refused, or that the venue ended; report several in a minute."""
        self.breaker.exit_failed(self.machine.time)
        if self.breaker.barred(self.machine.time):
            self._report_held_off(
                HeldOff.EXITS, "exits fail again and again; look at the position at the venue, then resume."
            )

    def _desired_orders(self) -> list[Order]:
        return desired_orders(
            *(self.machine.slots, self.watch.lots),
            linear=self.linear,
            bot=self.bot,
            symbol=self.symbol,
            filled=self.books.filled,
            largest=int(self.machine.pairs[0].instrument.max_market_lots),
            timeframe=self.machine.timeframe,
        )

    def checkpoint(self) -> Steps[None]:
        """Save the whole state, also what called for no action, and drop records that no restart can need.

        Without orders: the desired ones were saved when they were decided.
        """
        if not self.recovered:
            return
        self.books.forget()
        yield from self._save([])

    # Another instrument

    def _take_instrument(self, listed: Instrument) -> Steps[None]:
        """Apply changed minimums at once; keep a changed tick or lot size until the pair is flat.

        All of the state is in whole ticks and lots.
        """
        known = self.machine.instrument
        if (listed.tick_size, listed.lot_size) == (known.tick_size, known.lot_size):
            if listed != known:
                self._log.warning("instrument_changed", known=str(known), listed=str(listed))
            self.machine.take_terms(listed)
            yield SetInstrument(listed)
            if self.next_instrument is not None:
                self.next_instrument = None
                self._report_held_off(HeldOff.INSTRUMENT, "tick and lot size are what they were", over=True)
            return
        if self.next_instrument is None:
            self._report_held_off(
                HeldOff.INSTRUMENT,
                f"tick or lot size has changed ({known.tick_size}, {known.lot_size} to {listed.tick_size}, "
                f"{listed.lot_size}); nothing is opened until the position is closed.",
            )
        self.next_instrument = listed

    def _begin_in_new_units(self) -> Steps[None]:
        """Start again with the new tick and lot size, once no position and no order is left in the old ones."""
        listed = self.next_instrument
        if listed is None or self.machine.position or self.open_orders or self._desired_orders() or not self.recovered:
            return
        self.next_instrument, self.start = None, self.machine.time
        self.machine.begin_anew(listed)
        yield SetInstrument(listed)
        yield from self._recover()
        self._report_held_off(HeldOff.INSTRUMENT, "trades in the new tick and lot size", over=True)

    # Recovery

    def _recover(self) -> Steps[None]:
        """Reconcile with the venue, retrying until that has worked; the pair does not trade before."""
        pause = RETRY_SECONDS
        while True:
            try:
                yield from self._reconcile()
            except VENUE_ERRORS as error:
                self._log.warning("recovery_waits", reason=str(error))
                self.unsynced = True
                if isinstance(error, NotPermitted):
                    self._watch_permission(str(error))
                    pause = MOST_RETRY_SECONDS
                yield Wait(pause)
                pause = min(2.0 * pause, MOST_RETRY_SECONDS)
            else:
                break
        self._watch_permission(None)
        self.recovered, self.reconciled = True, self.now
        self._tell_portfolio()

    def _watch_permission(self, trouble: str | None) -> None:
        """Hold the pair off while the API key may not trade; its exits are tried again every 30 s."""
        if (trouble is not None) != self._not_permitted:
            self._not_permitted = trouble is not None
            self._report_held_off(HeldOff.PERMISSION, trouble or "the key may trade again", over=trouble is None)

    def _reconcile(self) -> Steps[None]:
        """Bring state and venue together.

        1. The first time, load what is stored, and the candles that inputs are computed over.
        2. Replay the executions and candles since the last reconciliation in the order of their times: a fill is booked
           after the bars that closed before it. A minute more is asked for, since a venue may list a fill late; what is
           booked already is ignored.
        3. Compare the position and its stop, then the open orders and how much of each is filled.
        4. Act if anything differs or was decided.
        """
        machine, books = self.machine, self.books
        first = not self.recovered
        if first:
            yield from self._load()
            yield from self._learn_history()
        since = machine.time
        asked = int(machine.asked[0]) or self.start  # ms: up to when executions are known
        executions = yield FetchExecutions(asked - MINUTE)
        bars = yield FetchCandles(since or machine.algorithm.history_start(self.start), NEVER)
        if since == 0:
            bars = bars[bars["ts"] < self.start] if self.start else bars
        if since == 0:  # what its owner did by hand before the first start is in the position already
            executions = [one for one in executions if books.is_ours(one.client_order_id)]
        newest = int(bars["ts"][-1]) if len(bars) else 0
        booked, decided = False, (yield from self._hear_signals(bars))
        for execution in executions:
            before = bars["ts"] + machine.pairs[0].bar_ms <= execution.ts
            decided = self._take_bars(bars[before], newest) or decided
            bars = bars[~before]
            booked = books.book(execution) or booked
        decided = self._take_bars(bars, newest) or decided
        self._watch_silence()
        if self.linear:
            booked = (yield from self.watch.compare(asked)) or booked
        shown = {one.client_order_id: one for one in (yield FetchOpenOrders()) if books.is_ours(one.client_order_id)}
        corrected = shown.keys() != books.open_orders.keys()
        machine.asked[0] = max(since, asked)
        books.open_orders = shown
        booked = (yield from self._learn_fills(shown, first=first)) or booked
        if (
            self.unsynced
            or booked
            or decided
            or corrected
            or self.watch.differs
            or self.stopping
            or (self.linear and self.watch.stop_differs)
            or machine.large_positions  # whose partial stops are compared while acting
        ):
            self.corrections += int(corrected and not first)
            yield from self._act()
        self.unsynced = False

    def _learn_history(self) -> Steps[None]:
        """Fetch the candles before those of the stored state, over which the inputs of strategies are computed."""
        since = self.machine.history_since
        if since is not None and self.machine.time:
            self.machine.take_history((yield FetchCandles(since, self.machine.time)))

    def _learn_fills(self, shown: dict[str, OpenOrder], *, first: bool) -> Steps[bool]:
        """Update how much of each order is filled; True if an execution was booked.

        After a start the venue's figure counts; later only executions do, which are fetched where some are missing.
        """
        filled, booked = self.books.filled, False
        for client_order_id, one in shown.items():
            if first:
                if one.filled > 0:  # since the executions were listed, perhaps
                    booked = (yield from self.executor.learn_fills(client_order_id, one.filled))[0] or booked
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
            yield SetInstrument(self.machine.instrument)
            yield from self._take_instrument(listed)

    def _watch_silence(self) -> None:
        """Hold the pair off while neither stream nor REST delivers candles: its entries rest on old prices."""
        if not self._silent and self.now - self._bar_at > SILENCE_SECONDS:
            self._silent = True
            self._report_held_off(HeldOff.SILENCE, f"no candle for {SILENCE_SECONDS:.0f} s; entries wait for the next.")


NEVER = 1 << 52


def _joined(first: Any, second: Any) -> Any:
    bars = new_records(BAR, len(first) + len(second))
    bars[: len(first)], bars[len(first) :] = first, second
    return bars
