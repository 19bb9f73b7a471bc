"""A pair and a portfolio as things that remember: the records their steps work on, and how they are stored.

Nothing here waits, asks or decides. Whoever drives a machine feeds it what happened and reads what it wishes.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.errors import Misconfigured
from bot.instrument import in_ticks
from bot.order import SLOT, WHOLE_POSITION, Liquidity, OrderKind, Side, Signal, want
from bot.ports import Order, link_of
from bot.record import new_records
from bot.rollup import BAR, ROLLUP
from bot.strategy import PAIR
from coordinator.allocation import ALLOCATION
from coordinator.columns import Columns, inputs_start, row_dtype
from coordinator.compiled import Happening, compiled_play, compiled_tick
from coordinator.correlation import HISTORY
from coordinator.pair_state import OWN, state_dtype
from coordinator.portfolio import PORTFOLIO, Desk, begin
from coordinator.protection import guard_price
from coordinator.reconcile import position_stop
from coordinator.regime import REGIME
from coordinator.roster import VARIANTS, all_variants
from coordinator.router import ROUTE
from coordinator.vocabulary import DIRECTIVE, NOTE, REPORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bot.instrument import Instrument
    from bot.ports import Execution, Saved
    from coordinator.parameters import AlgorithmParameters

NO_BARS = new_records(BAR, 0)
NOTHING_GIVEN = new_records(DIRECTIVE, 1)


def slots_of(algorithm: AlgorithmParameters) -> int:
    """Count the wishes of a pair: the hungriest variant's, and the pair's own."""
    each = [
        strategy.slots(one)
        for strategy, configured in algorithm.trading()
        for one, _ in all_variants(strategy, configured)
    ]
    return max(each) + OWN


def new_desk(count: int) -> Desk:
    """An empty desk for so many pairs."""
    return Desk(
        portfolio=new_records(PORTFOLIO, 1)[0],
        regimes=new_records(REGIME, count),
        routes=new_records(ROUTE, count),
        allocations=new_records(ALLOCATION, count),
        histories=new_records(HISTORY, count),
        groups=np.zeros(count, np.int64),
        group_sums=np.zeros((count, 2)),
        reports=new_records(REPORT, count),
        directives=new_records(DIRECTIVE, count),
        notes=new_records(NOTE, 64 + 8 * count),
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
        self.slots = new_records(SLOT, slots_of(algorithm))
        self.events = self.roster.new_events()
        self.columns = self._new_columns(bar_ms)
        self.timeframes = np.array(algorithm.timeframes(), np.int64)
        self.rollups = new_records(ROLLUP, len(self.timeframes))
        self.reports = new_records(REPORT, 1)
        self.paid = np.zeros(1, np.int64)  # 1: funding was booked since the last bar
        self.renamed: dict[int, int] = {}  # generation that each slot's wish had before it was renamed
        self.asked = np.zeros(1, np.int64)  # ms: executions up to here are all known

    @property
    def time(self) -> int:
        """End of what the pair knows, ms."""
        return int(self.pairs[0].time)

    @property
    def position(self) -> int:
        """Lots held, signed."""
        return int(self.pairs[0].ledger.position)

    def _play(
        self, happening: Happening, bars: Any = NO_BARS, given: Any = NOTHING_GIVEN, index: int = 0, amount: float = 0.0
    ) -> bool:
        return bool(
            compiled_play(self.roster)(
                *(int(happening), self.pairs, self.params, self.states, self.slots, self.events, self.rollups),
                *(self.timeframes, self.reports, bars, given, index, amount),
            )
        )

    def take_bars(self, bars: Any) -> bool:
        """Take closed base bars as the venue gives them, BAR (n,); whether anything was decided."""
        own, acted = self._on_grid(bars), False
        for part in self._parts(own):
            paid = int(self.paid[0]) if len(part) else 0
            self.paid[0] *= not len(part)
            acted = self._play(Happening.BARS, part, index=paid) or acted
        return acted

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

    def take_fill(self, order: Any, ts: int, ticks: int, lots: int, fee: float, *, maker: bool) -> Any:
        """Book an execution of `order` (an Order) and let the pair answer; returns the FILL record as booked."""
        current = self.wishes(order) or self._was_renamed(order)
        self._describe(order, ts, ticks, lots, fee, maker=maker, current=current)
        self._play(Happening.FILL, index=int(current))
        return self.events[0].execution.copy()

    def _describe(
        self, order: Order, ts: int, ticks: int, lots: int, fee: float, *, maker: bool, current: bool
    ) -> None:
        """Write an execution of `order` into the event."""
        record = self.events[0].execution
        record.ts, record.bar, record.slot, record.generation = ts, 0, order.slot, order.generation
        record.price, record.quantity, record.fee = ticks, lots, fee
        record.part, record.entry = order.part, order.entry
        record.stop = int(self.slots[order.slot].stop) if current else order.stop
        record.side, record.kind, record.signal = order.side, order.kind, order.signal
        record.liquidity = Liquidity.MAKER if maker else Liquidity.TAKER
        aimed = order.price if order.price > 0 else round(self.pairs[0].price / self.pairs[0].instrument.tick_size)
        record.slippage = 0.0 if maker else abs(ticks - aimed) * lots * float(self.pairs[0].instrument.tick_value)

    def take_foreign(self, execution: Execution) -> Any:
        """Book an execution that nobody here asked for; returns its FILL record.

        What it takes from the position leaves the running strategy as an emergency exit does; what it adds makes the
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
        self._play(Happening.FOREIGN)
        return self.events[0].execution.copy()

    def close(self, lots: int) -> None:
        """Wish to leave so many lots (signed) at the market: they cannot be protected."""
        side = Side.SELL if lots > 0 else Side.BUY
        want(
            self.slots, len(self.slots) - 1, side, OrderKind.MARKET, 0, abs(lots), Signal.EXIT_EMERGENCY, WHOLE_POSITION
        )

    def leaves(self, lots: int) -> bool:
        """Whether a position of so many lots (signed) is leaving at the market."""
        return self._triggered(Side.SELL if lots > 0 else Side.BUY) >= 0

    def guard(self, lots: int, average: float) -> int:
        """Ticks of the stop of a position that nobody else protects; `average` in quote currency, 0 if unknown."""
        price = float(self.pairs[0].price)
        tick = float(self.pairs[0].instrument.tick_size)
        return max(round(guard_price(lots, average, price, float(self.params[0].protective_stop)) / tick), 1)

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
        return f"{self.instrument.quantity(lots).normalize():f} {self.instrument.symbol}"

    def stop_order(self, bot: str, lots: int) -> Order:
        """Build the order that a fill of `lots` by the position's stop stands for: its slot's, as it is wished."""
        side = Side.SELL if self.position > 0 else Side.BUY
        found = position_stop(self.slots, self.position)
        index = self._triggered(side) if found is None else found.slot
        signal = Signal.EXIT_SL if index < 0 else Signal(int(self.slots[index].signal))
        index = index if index >= 0 else len(self.slots) - OWN
        order = self._nameless(index, side, OrderKind.STOP, lots, signal)
        generation = int(self.slots[index].generation)
        link = link_of(bot, self.instrument.symbol, index, generation)
        return replace(order, link=link, generation=generation, price=0 if found is None else found.price)

    def _triggered(self, side: int) -> int:
        """Slot of a stop that was triggered and has not left whole; -1 for none."""
        for index in range(len(self.slots)):
            slot = self.slots[index]
            leaves = slot.wanted and slot.reduce_only and slot.kind == OrderKind.MARKET and slot.side == side
            if leaves and slot.part == WHOLE_POSITION:
                return index
        return -1

    def _nameless(self, slot: int, side: int, kind: OrderKind, lots: int, signal: Signal) -> Order:
        reduces = signal is not Signal.ENTRY
        return Order("", slot, 0, side, kind, 0, lots, reduces, False, int(signal), WHOLE_POSITION, 0, 0)

    def wishes(self, order: Any) -> bool:
        """Whether the slot of `order` (an Order) still wishes this very order."""
        slot = self.slots[order.slot]
        return bool(slot.wanted) and int(slot.generation) == order.generation

    def wish_anew(self, order: Any) -> None:
        """Let what is wished of `order` go under a new name, since this one is used up."""
        self.renamed[order.slot] = order.generation
        self.slots[order.slot].generation += 1

    def _was_renamed(self, order: Any) -> bool:
        """Whether what is left of this very order is wished under its next name: a late fill still counts to it."""
        slot, before = self.slots[order.slot], self.renamed.get(order.slot)
        return bool(slot.wanted) and before == order.generation == int(slot.generation) - 1

    def begin_anew(self, instrument: Instrument) -> None:
        """Forget, while flat, all but the money and the names already used: ticks and lots are others from now on."""
        ledger, used, asked = self.pairs[0].ledger.copy(), self.slots["generation"].copy(), int(self.asked[0])
        fresh = PairMachine(self.algorithm, instrument, self.leverage, int(self.pairs[0].bar_ms))
        for own, new in zip(self.remembered(), fresh.remembered(), strict=True):
            own[...] = new
        self.instrument, self.asked[0] = instrument, asked
        self.pairs[0]["ledger"], self.slots["generation"] = ledger, used
        self.columns = fresh.columns

    def remembered_units(self) -> tuple[Decimal, Decimal]:
        """Tick and lot size that the memory is written in."""
        known = self.pairs[0].instrument
        return Decimal(repr(float(known.tick_size))), Decimal(repr(float(known.lot_size)))

    def take_terms(self, instrument: Instrument) -> None:
        """Follow other minima and fees, of an instrument with the same tick and lot."""
        self.instrument = instrument
        self.pairs[0]["instrument"] = instrument.record(self.leverage)

    def take_refusal(self, slot: int) -> None:
        """Withdraw the wish of this slot: the venue will not have it."""
        self._play(Happening.REFUSAL, index=slot)

    def take_directive(self, directive: Any) -> None:
        """Follow a directive, DIRECTIVE (1,)."""
        self._play(Happening.DIRECTIVE, given=directive)

    def take_funding(self, amount: float) -> None:
        """Book funding received, quote currency; negative is paid."""
        self._play(Happening.FUNDING, amount=amount)
        self.paid[0] = 1

    def take_notes(self) -> list[Any]:
        """Hand out what was decided since the last time, as NOTE records."""
        state = self.states[0]
        count = min(int(state.noted), len(state.notes))
        notes = [state.notes[k].copy() for k in range(count)]
        state.noted = 0
        return notes

    def remembered(self) -> tuple[Any, ...]:
        """The arrays that are the pair's whole memory."""
        return self.pairs, self.states, self.slots, self.rollups, self.reports, self.paid, self.asked


class PortfolioMachine:
    """The portfolio's memory and its step."""

    def __init__(self, algorithm: AlgorithmParameters, symbols: list[str], capital: float) -> None:
        record = algorithm.record(symbols)
        self.roster = algorithm.roster
        self.params = new_records(record.dtype, 1)
        self.params[0] = record
        self.portfolios = new_records(PORTFOLIO, 1)
        self.desk = new_desk(len(symbols))._replace(portfolio=self.portfolios[0])
        begin(self.params[0], self.desk, capital)
        self.judged = np.zeros(1, np.int64)  # ms: the last close that was judged

    def judge(self, now: int) -> bool:
        """Look at the reports; whether the directives were written anew."""
        self.judged[0] = now
        return bool(compiled_tick(self.roster)(self.params, self.desk, now, False))

    def share_room(self) -> None:
        """Set every pair's exposure limit from the reports as they are."""
        compiled_tick(self.roster)(self.params, self.desk, 0, True)

    def take_notes(self) -> list[Any]:
        """Hand out what was decided since the last time, as NOTE records."""
        portfolio = self.desk.portfolio
        count = min(int(portfolio.noted), len(self.desk.notes))
        notes = [self.desk.notes[k].copy() for k in range(count)]
        portfolio.noted = 0
        return notes

    def remembered(self) -> tuple[Any, ...]:
        """The arrays that are the portfolio's whole memory."""
        desk = self.desk
        return (
            *(self.portfolios, desk.regimes, desk.routes, desk.allocations, desk.histories, desk.groups),
            *(desk.reports, desk.directives, self.judged),
        )


def layout(arrays: tuple[Any, ...]) -> str:
    """Name of the arrays' layout: 16 hex digits that change with any field, type or length."""
    described = repr([(_described(array.dtype), array.shape) for array in arrays])
    return hashlib.sha256(described.encode()).hexdigest()[:16]


@cache
def _described(dtype: np.dtype[Any]) -> str:
    return str(dtype)


def pack(arrays: tuple[Any, ...]) -> bytes:
    """Every byte of the arrays, one after the other, compressed: most of a state is empty."""
    return zlib.compress(b"".join(array.tobytes() for array in arrays), 1)


def unpack(name: str, arrays: tuple[Any, ...], saved: Saved) -> None:
    """Fill the arrays from what was stored under `name`; raises Misconfigured for another layout, or damaged bytes."""
    if saved.layout != layout(arrays):
        raise Misconfigured(
            f"the stored state of {name} was written by another version, or with other grid.levels; start with those, "
            "or with another bot name once its positions are closed."
        )
    data, at = _decompressed(saved.data, sum(array.nbytes for array in arrays)), 0
    if data is None:
        raise Misconfigured(f"the stored state of {name} is damaged; restore a backup with `traderagent restore`.")
    for array in arrays:
        array[...] = np.frombuffer(data, array.dtype, array.size, at).reshape(array.shape)
        at += array.nbytes


def _decompressed(data: bytes, size: int) -> bytes | None:
    """Decompress exactly `size` bytes, and never more; None for anything else."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, size + 1)
    except zlib.error:
        return None
    return found if len(found) == size and stream.eof and not stream.unused_data else None
