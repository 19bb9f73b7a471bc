"""A pair and a portfolio as things that remember: the records their steps work on, and how they are stored.

Nothing here waits, asks or decides. Whoever drives a machine feeds it what happened and reads what it desires.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.candles import iso
from bot.errors import Misconfigured, OutOfStep
from bot.events import Decision
from bot.gate import UNGATED
from bot.instrument import in_ticks
from bot.order import WHOLE_POSITION, Liquidity, OrderKind, Side, Signal, new_slots, set_order
from bot.ports import Order, Refusal, client_order_id_of
from bot.record import new_records
from bot.rollup import BAR, ROLLUP
from bot.strategy import PAIR, guard_price
from coordinator.allocation import ALLOCATION
from coordinator.columns import Columns, inputs_start, row_dtype
from coordinator.compiled import PairEventKind, compiled_dispatch, compiled_portfolio
from coordinator.correlation import HISTORY
from coordinator.decisions import decision_of, decisions_of
from coordinator.pair_state import OWN, state_dtype
from coordinator.phase import Phase, fault_sentence
from coordinator.portfolio import PORTFOLIO, PortfolioState, begin
from coordinator.raw_state import read_raw
from coordinator.reconcile import position_stop
from coordinator.regime import REGIME
from coordinator.roster import VARIANTS, Roster, all_variants
from coordinator.router import ROUTE
from coordinator.saved_state import LAYOUT, Packer, Piece, Stored, fill, read
from coordinator.vocabulary import DECISION, DIRECTIVE, NO_PAIR, NO_STRATEGY, REPORT, DecisionKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bot.instrument import Instrument
    from bot.ports import Execution, ReceivedSignal, Saved
    from coordinator.parameters import AlgorithmParameters

NO_BARS = new_records(BAR, 0)
NOTHING_GIVEN = new_records(DIRECTIVE, 1)
NAME = "portfolio"  # under which its memory is stored; a pair's is under its symbol
OWN_ROLES = ("pair/stop", "pair/target", "pair/close")


def slots_of(algorithm: AlgorithmParameters) -> int:
    """Count the orders of a pair: the most of any variant, and the pair's own."""
    each = [
        strategy.slots(one)
        for strategy, configured in algorithm.trading()
        for one, _ in all_variants(strategy, configured)
    ]
    return max(each) + OWN


@lru_cache(maxsize=64)
def roles_of(roster: Roster, family: int, count: int) -> tuple[str, ...]:
    """Name the slots of a pair's table of `count` while this family runs; by position while none does."""
    own = count - OWN
    named = [f"slot/{k}" for k in range(own)] if family == NO_STRATEGY else roster.strategies[family].roles(own)
    return (*named, *OWN_ROLES)


def _strategies(roster: Roster) -> Piece:
    """Store the names of the families: what is stored numbers them, and another roster may number them otherwise."""
    return Piece("strategies", np.zeros(len(roster.names), np.int8), roster.names)


def _renumber(stored: Stored, roster: Roster, *families: str) -> None:
    """Number the families in these columns as this roster does; one that is gone leaves what it held to nobody."""
    before = stored.keys.get("strategies", Roster().names)
    if before == roster.names:
        return
    places = [roster.names.index(name) if name in roster.names else NO_STRATEGY for name in before]
    columns = stored.columns
    for path in families:
        columns[path] = np.array([places[old] if old != NO_STRATEGY else NO_STRATEGY for old in columns[path].tolist()])
    bars = columns.pop("state.signal_bars", None)
    if bars is not None:
        known = {name: bars[:, old] for old, name in enumerate(before)}
        none = np.zeros(len(bars), bars.dtype)
        columns["state.signal_bars"] = np.stack([known.get(name, none) for name in roster.names], axis=1)
    for gone in set(before) - set(roster.names):
        for path in [path for path in columns if path.startswith(f"state.{gone}.")]:
            del columns[path]


def new_portfolio_state(count: int) -> PortfolioState:
    """An empty portfolio for so many pairs."""
    return PortfolioState(
        portfolio=new_records(PORTFOLIO, 1)[0],
        regimes=new_records(REGIME, count),
        routes=new_records(ROUTE, count),
        allocations=new_records(ALLOCATION, count),
        histories=new_records(HISTORY, count),
        groups=np.zeros(count, np.int64),
        group_sums=np.zeros((count, 2)),
        reports=new_records(REPORT, count),
        directives=new_records(DIRECTIVE, count),
        decisions=new_records(DECISION, 64 + 8 * count),
    )


class PairMachine:
    """One pair's memory and its step."""

    def __init__(self, algorithm: AlgorithmParameters, instrument: Instrument, leverage: float, bar_ms: int) -> None:
        self.algorithm, self.instrument, self.leverage = algorithm, instrument, leverage
        self.pairs = new_records(PAIR, 1)
        self.pairs[0]["instrument"] = instrument.record(leverage)
        self.pairs[0].bar_ms = bar_ms
        self.pairs[0].coordinated = algorithm.alone is None
        self.pairs[0].shared = True
        record = algorithm.record([instrument.symbol])
        self.params = new_records(record.dtype, 1)
        self.params[0] = record
        self.roster = algorithm.roster
        self.states = new_records(state_dtype(self.roster.strategies), 1)
        self.slots = new_slots(slots_of(algorithm))
        self.next_number = np.array([len(self.slots)])  # of a slot; those below have names of orders used up
        self.events = self.roster.new_events()
        self.columns = self._new_columns(bar_ms)
        self.timeframes = np.array(algorithm.timeframes(), np.int64)
        self.rollups = new_records(ROLLUP, len(self.timeframes))
        self.reports = new_records(REPORT, 1)
        self.paid = np.zeros(1, np.int64)  # 1: funding was booked since the last bar
        self.renamed = np.zeros(len(self.slots), np.int64)  # generation of each slot's order before it was renamed
        self.asked = np.zeros(1, np.int64)  # ms: executions up to here are all known
        self.heard = np.zeros(1, np.int64)  # number of the last signal that was heard

    @property
    def time(self) -> int:
        """End of what the pair knows, ms."""
        return int(self.pairs[0].time)

    @property
    def position(self) -> int:
        """Lots held, signed."""
        return int(self.pairs[0].ledger.position)

    @property
    def timeframe(self) -> int:
        """Length of the signal bars of the strategy that runs, ms; 0 while none does."""
        family = int(self.states[0].family)
        return 0 if family == NO_STRATEGY else int(self.params[0].timeframes[family])

    @property
    def incomplete(self) -> dict[int, int]:
        """Longer bars that nobody was given, because a base bar of them is missing: how many, by length in ms."""
        return dict(zip(self.timeframes.tolist(), self.rollups["incomplete"].tolist(), strict=True))

    @property
    def large_positions(self) -> bool:
        """Whether a position may be larger than one market order closes."""
        instrument = self.pairs[0].instrument
        return bool(instrument.max_position_lots > instrument.max_market_lots)

    def _dispatch(
        self,
        event_kind: PairEventKind,
        bars: Any = NO_BARS,
        given: Any = NOTHING_GIVEN,
        index: int = 0,
        amount: float = 0.0,
    ) -> bool:
        """Let the pair take an event; whether it decided anything. Raises OutOfStep after what cannot happen."""
        before = Phase(int(self.states[0].phase))
        decided = bool(
            compiled_dispatch(self.roster)(
                *(int(event_kind), self.pairs, self.params, self.states, self.slots, self.events, self.rollups),
                *(self.timeframes, self.reports, bars, given, index, amount),
            )
        )
        fault, self.states[0].fault = int(self.states[0].fault), 0
        if fault:
            raise OutOfStep(
                f"{fault_sentence(fault)}; it was {before.name.lower()}, took {event_kind.name.lower()} at "
                f"{iso(self.time)} and holds {self.position} lots"
            )
        return decided

    def take_bars(self, bars: Any) -> bool:
        """Take closed base bars as the venue gives them, BAR (n,); whether anything was decided."""
        own, acted = self._on_grid(bars), False
        for part in self._parts(own):
            paid = int(self.paid[0]) if len(part) else 0
            self.paid[0] *= not len(part)
            acted = self._dispatch(PairEventKind.BARS, part, index=paid) or acted
        return acted

    def drop_late_entries(self) -> bool:
        """Refuse the market entries that are desired now: their price is one of long ago. Whether there were any."""
        dropped = False
        for index in range(len(self.slots) - OWN):
            slot = self.slots[index]
            if slot.active and slot.kind == OrderKind.MARKET and not slot.reduce_only:
                self._dispatch(PairEventKind.REFUSAL, index=index)
                dropped = True
        return dropped

    def _on_grid(self, bars: Any) -> Any:
        """Bars with prices on the grid of ticks, as simulation has them."""
        tick = float(self.instrument.tick_size)
        own = new_records(BAR, len(bars))
        own["ts"], own["volume"] = bars["ts"], bars["volume"]
        for name in ("open", "high", "low", "close"):
            own[name] = in_ticks(bars[name], tick) * tick
        return own

    # Inputs of strategies

    def _new_columns(self, bar_ms: int) -> Columns | None:
        has_inputs = row_dtype(self.roster.strategies, VARIANTS) is not None
        return Columns(self.algorithm.asked(), bar_ms) if has_inputs else None

    def _parts(self, bars: Any) -> Iterator[Any]:
        """Base bars in parts, each to be played before the next: one that completes a signal bar has its inputs."""
        if self.columns is None:
            yield bars
            return
        first = 0
        for end, row in zip(*self.columns.take(bars), strict=True):
            if end > first:
                yield bars[first:end]
            self.events[0].inputs = row
            yield bars[end : end + 1]
            first = end + 1
        if first < len(bars) or not len(bars):
            yield bars[first:]

    @property
    def history_since(self) -> int | None:
        """Time from which the inputs need the base bars before `time`, ms; None without inputs."""
        return None if self.columns is None else inputs_start(self.algorithm.asked(), self.time)

    def take_history(self, bars: Any) -> None:
        """Know the closed base bars before `time`, BAR (n,), which a start has not: nothing is decided on them."""
        self.columns = self._new_columns(int(self.pairs[0].bar_ms))
        assert self.columns is not None
        self.columns.take(self._on_grid(bars))

    # Signals of somebody else

    @property
    def listens(self) -> bool:
        """Whether an input of a strategy takes signals while the pair trades."""
        return self.columns is not None and self.columns.listens

    @property
    def heard_signal(self) -> int:
        """Number of the last signal that was heard."""
        return int(self.heard[0])

    def hear(self, signals: list[ReceivedSignal], bar: int) -> None:
        """Hear signals at the close of the bar that opens at `bar` (ms), which is taken next.

        One counts: the first that closes, else the first; those that are too late count for nothing.
        """
        for one in signals:
            self.heard[0] = one.number
            self._record_signal(one)
        fresh = [one for one in signals if not one.expired]
        if fresh:
            assert self.columns is not None
            self.columns.hear(next((one for one in fresh if one.direction == 0), fresh[0]), bar)

    def _record_signal(self, signal: ReceivedSignal) -> None:
        asked = signal.number, signal.direction, signal.expired, signal.stop, signal.target
        self._record(DecisionKind.SIGNAL, *asked, float(self.pairs[0].price))

    def _record(self, kind: DecisionKind, a: int, b: int, c: int, x: float, y: float, z: float) -> None:
        """Write a decision down as kernels do."""
        state = self.states[0]
        place = min(int(state.decided), len(state.decisions) - 1)
        state.decisions[place] = (self.time, NO_PAIR, int(kind), a, b, c, x, y, z, 0.0, 0.0)
        state.decided += 1

    def take_fill(self, order: Any, ts: int, ticks: int, lots: int, fee: float, *, maker: bool) -> Any:
        """Book an execution of `order` (an Order) and let the pair answer; returns the FILL record as booked."""
        current = self.desires(order) or self._was_renamed(order)
        self._describe(order, ts, ticks, lots, fee, maker=maker, current=current)
        self._dispatch(PairEventKind.FILL, index=int(current))
        return self.events[0].execution.copy()

    def _describe(
        self, order: Order, ts: int, ticks: int, lots: int, fee: float, *, maker: bool, current: bool
    ) -> None:
        """Write an execution of `order` into the event."""
        record = self.events[0].execution
        index = self.index_of(order)
        ts -= ts % int(self.pairs[0].bar_ms)  # as a simulation knows it: the opening of the bar that forms
        record.ts, record.bar, record.slot, record.generation = ts, 0, index, order.generation
        record.price, record.quantity, record.fee = ticks, lots, fee
        record.part, record.entry = order.part, order.entry
        record.stop = int(self.slots[index].stop) if current else order.stop
        record.side, record.kind, record.signal = order.side, order.kind, order.signal
        record.liquidity = Liquidity.MAKER if maker else Liquidity.TAKER
        aimed = order.price if order.price > 0 else round(self.pairs[0].price / self.pairs[0].instrument.tick_size)
        record.slippage = 0.0 if maker else abs(ticks - aimed) * lots * float(self.pairs[0].instrument.tick_value)

    def take_foreign(self, execution: Execution) -> Any:
        """Book an execution that nobody here asked for; returns its FILL record.

        What it takes from the position counts to the running strategy as an emergency exit; what it adds makes the
        position nobody's. The pair is paused until its next directive.
        """
        held, side = self.position, execution.side
        self.states[0].directive.paused = True
        reduces = min(execution.lots, abs(held)) if held * side < 0 else 0
        record, realised = None, 0.0
        if reduces:
            record = self._take_part(execution, reduces, Signal.EXIT_EMERGENCY)
            realised = float(record.realised)
        if execution.lots > reduces:
            record = self._take_part(execution, execution.lots - reduces, Signal.ENTRY)
        assert record is not None
        record.realised, record.quantity, record.fee = float(record.realised) + realised, execution.lots, execution.fee
        return record

    def _take_part(self, execution: Execution, lots: int, signal: Signal) -> Any:
        fee = execution.fee * lots / execution.lots
        order = self._nameless(len(self.slots) - 1, execution.side, OrderKind.MARKET, lots, signal)
        if signal is not Signal.ENTRY:
            return self.take_fill(order, execution.ts, execution.price, lots, fee, maker=execution.maker)
        self._describe(order, execution.ts, execution.price, lots, fee, maker=execution.maker, current=False)
        self._dispatch(PairEventKind.FOREIGN)
        return self.events[0].execution.copy()

    def close(self, lots: int) -> None:
        """Set an order to close so many lots (signed) at the market: they cannot be protected."""
        side = Side.SELL if lots > 0 else Side.BUY
        set_order(
            self.slots, len(self.slots) - 1, side, OrderKind.MARKET, 0, abs(lots), Signal.EXIT_EMERGENCY, WHOLE_POSITION
        )

    def exits_at_market(self, lots: int) -> bool:
        """Whether a position of so many lots (signed) is being closed at the market."""
        return self._triggered(Side.SELL if lots > 0 else Side.BUY) >= 0

    def guard(self, lots: int, average: float) -> int:
        """Ticks of the stop of a position that nobody else protects; `average` in quote currency, 0 if unknown."""
        price = float(self.pairs[0].price)
        tick = float(self.pairs[0].instrument.tick_size)
        return max(round(guard_price(lots, average, price, float(self.params[0].protective_stop)) / tick), 1)

    @property
    def counts(self) -> dict[str, int]:
        """What its strategies have counted, such as conflicting_signals."""
        own = ((self.states[0][one.name], one.counters) for one in self.roster.strategies)
        return {name: int(state[name]) for state, counters in own for name in counters}

    @property
    def average(self) -> float:
        """Average entry of the position, quote currency; 0 when flat."""
        ledger, lot = self.pairs[0].ledger, float(self.pairs[0].instrument.lot_size)
        return float(ledger.cost) / (int(ledger.position) * lot) if ledger.position else 0.0

    @property
    def ticks(self) -> int:
        """Last price, ticks."""
        return round(float(self.pairs[0].price) / float(self.pairs[0].instrument.tick_size))

    def readable(self, lots: int) -> str:
        """Name a position of so many lots (signed) as people do."""
        return f"{self.instrument.quantity_text(lots)} {self.instrument.symbol}"

    def stop_order(self, bot: str, lots: int) -> Order:
        """Build the order that a fill of `lots` by the position's stop stands for: its slot's, as it is desired."""
        side = Side.SELL if self.position > 0 else Side.BUY
        found = position_stop(self.slots, self.position)
        index = self._triggered(side) if found is None else found.slot
        signal = Signal.EXIT_SL if index < 0 else Signal(int(self.slots[index].signal))
        index = index if index >= 0 else len(self.slots) - OWN
        order = self._nameless(index, side, OrderKind.STOP, lots, signal)
        generation = int(self.slots[index].generation)
        client_order_id = client_order_id_of(bot, self.instrument.symbol, order.slot, generation)
        return replace(
            order, client_order_id=client_order_id, generation=generation, price=0 if found is None else found.price
        )

    def _triggered(self, side: int) -> int:
        """Slot of a stop that was triggered and has not left whole; -1 for none."""
        for index in range(len(self.slots)):
            slot = self.slots[index]
            closes = slot.active and slot.reduce_only and slot.kind == OrderKind.MARKET and slot.side == side
            if closes and slot.part == WHOLE_POSITION:
                return index
        return -1

    def _nameless(self, index: int, side: int, kind: OrderKind, lots: int, signal: Signal) -> Order:
        reduces = signal is not Signal.ENTRY
        return Order(
            "", int(self.slots[index].number), 0, side, kind, 0, lots, reduces, False, int(signal), WHOLE_POSITION, 0, 0
        )

    def knows(self, order: Order) -> bool:
        """Whether the table has the slot of this order: it may be of one that was longer."""
        return bool(np.any(self.slots["number"] == order.slot))

    def index_of(self, order: Order) -> int:
        """Where the slot of this order is in the table."""
        return int(np.flatnonzero(self.slots["number"] == order.slot)[0])

    def desires(self, order: Order) -> bool:
        """Whether the slot of `order` still holds this very order."""
        if not self.knows(order):
            return False
        slot = self.slots[self.index_of(order)]
        return bool(slot.active) and int(slot.generation) == order.generation

    def set_anew(self, order: Order) -> None:
        """Let what is desired of `order` go under a new name, since this one is used up."""
        index = self.index_of(order)
        self.renamed[index] = order.generation
        self.slots[index].generation += 1

    def set_at_market(self, order: Order) -> None:
        """Let what is desired of `order`, a stop, go at the market."""
        self.slots[self.index_of(order)].kind = OrderKind.MARKET

    def _was_renamed(self, order: Order) -> bool:
        """Whether what is left of this very order is desired under its next name: a late fill still counts to it."""
        index = self.index_of(order)
        slot, before = self.slots[index], int(self.renamed[index])
        return bool(slot.active) and before == order.generation == int(slot.generation) - 1

    def begin_anew(self, instrument: Instrument) -> None:
        """Forget, while flat, all but the money and the names already used: ticks and lots are others from now on."""
        ledger, used, asked = self.pairs[0].ledger.copy(), self.slots.copy(), int(self.asked[0])
        fresh = PairMachine(self.algorithm, instrument, self.leverage, int(self.pairs[0].bar_ms))
        fresh.slots, fresh.next_number = new_slots(len(used)), self.next_number
        fresh.renamed = np.zeros(len(used), np.int64)
        for own, new in zip(self.remembered(), fresh.remembered(), strict=True):
            own.array[...] = new.array
        self.instrument, self.asked[0] = instrument, asked
        self.pairs[0]["ledger"] = ledger
        self.slots["generation"], self.slots["number"] = used["generation"], used["number"]
        self.columns = fresh.columns

    def remembered_units(self) -> tuple[Decimal, Decimal]:
        """Tick and lot size that the memory is written in."""
        known = self.pairs[0].instrument
        return Decimal(repr(float(known.tick_size))), Decimal(repr(float(known.lot_size)))

    def take_terms(self, instrument: Instrument) -> None:
        """Follow other minima and fees, of an instrument with the same tick and lot."""
        self.instrument = instrument
        self.pairs[0]["instrument"] = instrument.record(self.leverage)

    def take_refusal(self, order: Order, reason: Refusal = Refusal.OTHER) -> None:
        """Clear the slot of this order: the venue will not have it, and which is recorded of every entry.

        Not of one that would have crossed: that is nothing but a price that moved.
        """
        self._dispatch(PairEventKind.REFUSAL, index=self.index_of(order))
        crosses = order.post_only and reason in (Refusal.OTHER, Refusal.POST_ONLY_WOULD_CROSS)
        if not (order.reduce_only or crosses):
            price, quantity = self.instrument.price(order.price), self.instrument.quantity(order.lots)
            said = list(Refusal).index(reason), order.side, 0, float(price), float(quantity)
            self._record(DecisionKind.REFUSED, *said, 0.0)

    def take_directive(self, directive: Any) -> None:
        """Follow a directive, DIRECTIVE (1,)."""
        self._dispatch(PairEventKind.DIRECTIVE, given=directive)

    def take_funding(self, amount: float) -> None:
        """Book funding received, quote currency; negative is paid."""
        self._dispatch(PairEventKind.FUNDING, amount=amount)
        self.paid[0] = 1

    def take_decisions(self) -> list[Decision]:
        """Hand out what was decided since the last time."""
        state = self.states[0]
        taken = state.decisions[: min(int(state.decided), len(state.decisions))]
        state.decided = 0
        return [decision_of(one, self.instrument.symbol, self.roster) for one in taken]

    def remembered(self) -> tuple[Piece, ...]:
        """List the pieces of the pair's whole memory; a slot is known by what it is for."""
        roles = roles_of(self.roster, int(self.states[0].family), len(self.slots))
        return (
            Piece("pair", self.pairs),
            Piece("state", self.states),
            Piece("slots", self.slots, roles),
            Piece("renamed", self.renamed, roles),
            Piece("rollups", self.rollups, tuple(str(length) for length in self.timeframes)),
            Piece("report", self.reports),
            Piece("paid", self.paid),
            Piece("asked", self.asked),
            Piece("heard", self.heard),
            Piece("next_number", self.next_number),
            _strategies(self.roster),
        )

    @cached_property
    def _packer(self) -> Packer:
        return Packer(self.remembered())

    def saved(self) -> Saved:
        """The memory as it is stored."""
        return self._packer.pack(self.remembered())

    def restore(self, saved: Saved) -> None:
        """Fill a machine that was just made from what was stored; raises Misconfigured for what does not fit.

        Each slot of the table finds its role's order, and that keeps its name; a role that is new has a number that no
        order ever had. While something is held or desired the table is as long as it was, else as the parameters ask.
        """
        name = self.instrument.symbol
        stored = self._read(saved)
        count = len(stored.columns["slots.number"])
        if count > len(self.slots) and _in_use(stored):
            self.slots, self.renamed = new_slots(count), np.zeros(count, np.int64)
            self.__dict__.pop("_packer", None)  # it packs the other table
        self.states[0].family = stored.columns["state.family"][0]  # which says what each slot is for
        fill(name, self.remembered(), stored)
        known = set(stored.keys["slots"])
        for index, role in enumerate(roles_of(self.roster, int(self.states[0].family), len(self.slots))):
            if role not in known:
                self.slots[index].number = self.next_number[0]
                self.next_number[0] += 1
        for strategy in self.roster.strategies:
            if strategy.ungated is None and strategy.state.names and "gate" in strategy.state.names:
                self.states[strategy.name]["gate"] = UNGATED  # its `when` may have been taken out since

    def _read(self, saved: Saved) -> Stored:
        """Read what was stored, by 0.1.0 too: there a slot's number was its index, and nothing else named it."""
        name = self.instrument.symbol
        stored = _stored_pair(name, saved)
        if saved.layout == LAYOUT:
            _renumber(stored, self.roster, "state.family", "state.directive.family", "report.family")
            return stored
        count, family = len(stored.columns["slots.active"]), int(stored.columns["state.family"][0])
        if len(stored.columns["rollups.bars"]) != len(self.timeframes):
            raise Misconfigured(
                f"the stored state of {name} was written with other timeframes; start this version with those once."
            )
        stored.columns["slots.number"], stored.columns["next_number"] = np.arange(count), np.array([count])
        stored.keys["slots"] = roles_of(Roster(), family, count)
        _renumber(stored, self.roster, "state.family", "state.directive.family", "report.family")
        return stored


def _stored_pair(symbol: str, saved: Saved) -> Stored:
    return read(symbol, saved) if saved.layout == LAYOUT else read_raw(symbol, saved, "pair")


def remembered_units(symbol: str, saved: Saved) -> tuple[float, float]:
    """Tick size (quote currency) and lot size (base currency) that a pair's stored memory is written in."""
    columns = _stored_pair(symbol, saved).columns
    return float(columns["pair.instrument.tick_size"][0]), float(columns["pair.instrument.lot_size"][0])


def remembered_money(symbol: str, saved: Saved) -> tuple[int, float]:
    """Lots that a pair's stored memory holds, signed, and what the pair has added to the wallet, quote currency."""
    columns = _stored_pair(symbol, saved).columns
    position, realised, fees, funding = (
        columns[f"pair.ledger.{key}"][0] for key in ("position", "realised", "fees", "funding")
    )
    return int(position), float(realised - fees + funding)


def remembered_deposits(saved: Saved) -> tuple[float, list[str]]:
    """Money that no present pair has earned, quote currency, and the present pairs, by a stored portfolio.

    Pairs are none where it does not name them, as 0.1.0 did not.
    """
    stored = read(NAME, saved) if saved.layout == LAYOUT else read_raw(NAME, saved, "portfolio")
    return float(stored.columns["portfolio.deposits"][0]), symbols_of(saved)


def _in_use(stored: Stored) -> bool:
    """Whether a pair's stored memory holds a position, or an order that may rest."""
    columns = stored.columns
    desired = columns["slots.active"] | columns["slots.suspended"]
    return bool(np.any(desired)) or bool(columns["pair.ledger.position"][0])


class PortfolioMachine:
    """The portfolio's memory and its step."""

    def __init__(self, algorithm: AlgorithmParameters, symbols: list[str], capital: float) -> None:
        record = algorithm.record(symbols)
        self.roster = algorithm.roster
        self.params = new_records(record.dtype, 1)
        self.params[0] = record
        self.symbols = symbols
        self.portfolios = new_records(PORTFOLIO, 1)
        self.portfolio_state = new_portfolio_state(len(symbols))._replace(portfolio=self.portfolios[0])
        begin(self.params[0], self.portfolio_state, capital)
        self.evaluated_at = np.zeros(1, np.int64)  # ms: the last close that was judged

    def evaluate(self, now: int) -> bool:
        """Look at the reports; whether the directives were written anew."""
        self.evaluated_at[0] = now
        return bool(compiled_portfolio(self.roster)(self.params, self.portfolio_state, now, False))

    def share_room(self) -> None:
        """Set every pair's exposure limit from the reports as they are."""
        compiled_portfolio(self.roster)(self.params, self.portfolio_state, 0, True)

    def take_decisions(self) -> list[Decision]:
        """Hand out what was decided since the last time."""
        portfolio, recorded = self.portfolio_state.portfolio, self.portfolio_state.decisions
        taken = recorded[: min(int(portfolio.decided), len(recorded))]
        portfolio.decided = 0
        return decisions_of(taken, self.symbols, self.roster)

    def remembered(self) -> tuple[Piece, ...]:
        """List the pieces of the portfolio's whole memory; a row of a pair is known by its symbol."""
        portfolio_state, symbols = self.portfolio_state, tuple(self.symbols)
        return (
            Piece("portfolio", self.portfolios),
            _strategies(self.roster),
            Piece("regimes", portfolio_state.regimes, symbols),
            Piece("routes", portfolio_state.routes, symbols),
            Piece("allocations", portfolio_state.allocations, symbols),
            Piece("histories", portfolio_state.histories, symbols),
            Piece("groups", portfolio_state.groups, symbols),
            Piece("reports", portfolio_state.reports, symbols),
            Piece("directives", portfolio_state.directives, symbols),
            Piece("evaluated_at", self.evaluated_at),
        )

    @cached_property
    def _packer(self) -> Packer:
        return Packer(self.remembered())

    def saved(self) -> Saved:
        """The memory as it is stored."""
        return self._packer.pack(self.remembered())

    def restore(self, saved: Saved) -> list[str]:
        """Fill a machine that was just made from what was stored; raises Misconfigured for what does not fit.

        Returns the symbols of the pairs that it was stored with. What numbers pairs is numbered anew.
        """
        stored = self._read(saved)
        _renumber(stored, self.roster, "routes.family", "directives.family", "reports.family")
        known, columns = list(stored.keys["reports"]), stored.columns
        places = [self.symbols.index(symbol) if symbol in self.symbols else NO_PAIR for symbol in known]
        if self.params[0].grouped:  # as configured now
            del columns["groups"]
        else:
            columns["groups"] = _renumbered(columns["groups"], places)
        least = int(columns["portfolio.least"][0])
        columns["portfolio.least"] = np.array([places[least] if least != NO_PAIR else NO_PAIR])
        fill(NAME, self.remembered(), stored)
        if "portfolio.opened" not in columns:  # a state of an older version counts from now on
            self.portfolios[0].opened = self.portfolios[0].deposits
        return known

    def _read(self, saved: Saved) -> Stored:
        """Read what was stored, by 0.1.0 too, which did not know pairs by their symbols."""
        if saved.layout == LAYOUT:
            return read(NAME, saved)
        stored = read_raw(NAME, saved, "portfolio")
        if len(stored.columns["groups"]) != len(self.symbols):
            raise Misconfigured(
                f"the stored state of {NAME} is of {len(stored.columns['groups'])} pairs and does not name them; "
                "start this version with those once."
            )
        stored.keys = {piece.name: piece.keys for piece in self.remembered() if piece.keys}
        return stored


def symbols_of(saved: Saved) -> list[str]:
    """List the pairs of a stored portfolio; empty where it does not name them, as 0.1.0 did not."""
    return list(read(NAME, saved).keys["reports"]) if saved.layout == LAYOUT else []


def _renumbered(groups: Any, places: list[int]) -> Any:
    """Name each group by the lowest place of its pairs, as groups are; `places` (n,): where each pair is now."""
    lowest: dict[int, int] = {}
    for group, place in zip(groups.tolist(), places, strict=True):
        if place != NO_PAIR:
            lowest[group] = min(place, lowest.get(group, place))
    return np.array([lowest.get(group, 0) for group in groups.tolist()])
