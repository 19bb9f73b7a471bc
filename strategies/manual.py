"""A person's orders: what somebody asked for at the closes of bars, carried out as any other strategy's wishes are.

The orders stand in the parameters as a table, a row for each slot of which something was asked at a close: an entry, at
the market, at a limit or at a stop, with its stop and target; stop and target of what is held; a close at the market,
of all or of a part. Five entries may rest, and one position is held. The first fill of an entry cancels those that
rest the other way. An exit goes before an entry, so a position may be turned over.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from bot.errors import Misconfigured, cut
from bot.inputs import ByColumn, Input
from bot.instrument import Instrument, Market
from bot.kernel import Record, kernel
from bot.order import OrderKind, Signal, clear_order, set_order
from bot.parameters import Parameters, Timeframe
from bot.strategy import Event, Strategy, enter, watch_nothing

ENTRIES = 5  # that may rest at a time
CLOSE, ENTRY, STOP, TARGET = 0, 1, 1 + ENTRIES, 2 + ENTRIES  # slots; ENTRY is the first of its five
KEEP, SET, CLEAR = 0, 1, -1  # what a row does to its slot
MOST_ROWS = 20_000


class ManualOrder(NamedTuple):
    """What was asked for at the close of one bar, for one slot. Prices are whole ticks, 0 for none; whole lots.

    Slot CLOSE exits at the market, with so many lots, or all for 0. Slot STOP gives what is held this stop and target.
    """

    bar: int  # its opening, epoch ms
    slot: int
    change: int = SET
    side: int = 0
    kind: int = OrderKind.MARKET
    price: int = 0  # of a limit, or where a stop is triggered
    lots: int = 0
    stop: int = 0
    target: int = 0


OF_SLOTS = {CLOSE: ("change", "lots"), STOP: ("change", "stop", "target")}
OF_ENTRY = ManualOrder._fields[2:]
COLUMNS = tuple(
    f"{name}_{slot}" for slot in range(CLOSE, STOP + 1) for name in OF_SLOTS.get(slot, OF_ENTRY)
)  # as the kernel reads them


def table_of(orders: Iterable[ManualOrder]) -> str:
    """Write orders as the text that the parameters hold, by time."""
    return "".join(",".join(str(int(value)) for value in one) + "\n" for one in sorted(orders))


@lru_cache(maxsize=32)
def orders_in(table: str) -> tuple[ManualOrder, ...]:
    """Read the orders of a table, by time; raises Misconfigured for a row that is none."""
    found = []
    for number, row in enumerate(csv.reader(table.splitlines()), 1):
        one = _order(row)
        if one is None:
            raise Misconfigured(
                f"manual.table, row {number} is {cut(','.join(row))!r}; give whole numbers: "
                f"{', '.join(ManualOrder._fields)}."
            )
        found.append(one)
    if len(found) > MOST_ROWS or len({one[:2] for one in found}) != len(found):
        raise Misconfigured(
            f"manual.table has more than {MOST_ROWS:,} rows, or two for one bar and slot; give one for each."
        )
    return tuple(sorted(found))


def _order(row: list[str]) -> ManualOrder | None:
    try:
        one = ManualOrder(*map(int, row))
    except (TypeError, ValueError):
        return None
    fine = len(row) == len(one) and CLOSE <= one.slot <= STOP and abs(one.change) <= 1 and abs(one.side) <= 1
    fine = fine and OrderKind.LIMIT <= one.kind <= OrderKind.MARKET and min(one[5:]) >= 0
    return one if fine and max(one) < 2**53 else None


class ManualParameters(Parameters):
    """What was asked for."""

    timeframe: Timeframe = Field("1m", description="bars at whose close something is asked for")
    warmup_bars: int = Field(0, ge=0, le=100_000, description="signal bars seen before the first entry, bars")
    table: str = Field("", max_length=4_000_000, description="what was asked for, a row for each bar and slot")

    @field_validator("table")
    @classmethod
    def _is_table(cls, value: str) -> str:
        return table_of(orders_in(value))

    @property
    def sells_short(self) -> bool:
        """Never of itself: where nothing can be sold short, a session refuses such an order."""
        return False


@dataclass(frozen=True)
class ManualColumn(Input):
    """What was asked for at a bar, 0 where nothing was."""

    table: str = ""
    field: str = ""

    def remembers(self) -> bool:
        """Nothing: a value is that of its own bar."""
        return False

    def lookback(self) -> int:
        """Bars before its own: none."""
        return 0

    def column(self, bars: ByColumn, at: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """Values at the bars numbered `at`."""
        times, columns = _arrays(self.table)
        starts = bars["ts"][at]
        if not len(times):
            return np.zeros(len(starts))
        place = np.minimum(np.searchsorted(times, starts), len(times) - 1)
        return np.where(times[place] == starts, columns[self.field][place], 0.0)


@lru_cache(maxsize=8)
def _arrays(table: str) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """The bars at which something was asked for, (n,), and each column at them; `asked` is 1 at all of them."""
    orders = orders_in(table)
    times = np.unique(np.array([one.bar for one in orders], np.int64))
    place = dict(zip(times.tolist(), range(len(times)), strict=True))
    columns = {name: np.zeros(len(times)) for name in COLUMNS}
    for one in orders:
        for name in OF_SLOTS.get(one.slot, OF_ENTRY):
            columns[f"{name}_{one.slot}"][place[one.bar]] = getattr(one, name)
    return times, {"asked": np.ones(len(times)), **columns}


def _inputs(parameters: ManualParameters) -> dict[str, Input]:
    return {name: ManualColumn(None, 0, parameters.table, name) for name in ("asked", *COLUMNS)}


@kernel
def decide(pair: Record, _params: Record, state: Record, slots: Record, event: Record) -> None:
    """Want what was asked for, and stop and target of what is held."""
    watch_nothing(pair)
    if event.kind == Event.FILL:
        _on_fill(pair, state, slots, event.execution)
    elif event.kind == Event.SIGNAL and event.inputs.asked == 1.0:
        _on_asked(pair, state, slots, event.inputs)


@kernel
def _on_asked(pair: Record, state: Record, slots: Record, asked: Record) -> None:
    _on_close(pair, slots, asked.change_0, asked.lots_0)
    _on_entry(
        pair, state, slots, 0, asked.change_1, asked.side_1, asked.kind_1, asked.price_1, asked.lots_1,
        asked.stop_1, asked.target_1,
    )  # fmt: skip
    _on_entry(
        pair, state, slots, 1, asked.change_2, asked.side_2, asked.kind_2, asked.price_2, asked.lots_2,
        asked.stop_2, asked.target_2,
    )  # fmt: skip
    _on_entry(
        pair, state, slots, 2, asked.change_3, asked.side_3, asked.kind_3, asked.price_3, asked.lots_3,
        asked.stop_3, asked.target_3,
    )  # fmt: skip
    _on_entry(
        pair, state, slots, 3, asked.change_4, asked.side_4, asked.kind_4, asked.price_4, asked.lots_4,
        asked.stop_4, asked.target_4,
    )  # fmt: skip
    _on_entry(
        pair, state, slots, 4, asked.change_5, asked.side_5, asked.kind_5, asked.price_5, asked.lots_5,
        asked.stop_5, asked.target_5,
    )  # fmt: skip
    if asked.change_6 == SET:
        state.stop, state.target = int(asked.stop_6), int(asked.target_6)
        _protect(pair, state, slots)


@kernel
def _on_close(pair: Record, slots: Record, change: float, lots: float) -> None:
    position = pair.ledger.position
    if change == CLEAR:
        clear_order(slots, CLOSE)
    elif change == SET and position != 0:
        side, held = -1 if position > 0 else 1, abs(position)
        wanted = min(int(lots), held) if lots > 0.0 else held
        set_order(slots, CLOSE, side, OrderKind.MARKET, 0, wanted, Signal.EXIT_TP, 0)  # nothing forces it


@kernel
def _on_entry(
    pair: Record, state: Record, slots: Record, number: int, change: float, side: float, kind: float, price: float,
    lots: float, stop: float, target: float,
) -> None:  # fmt: skip
    """Set entry `number` anew, or cancel it; its stop and target wait for its first fill."""
    if change == KEEP:
        return
    clear_order(slots, ENTRY + number)
    if change == CLEAR:
        return
    state.entry_stop[number], state.entry_target[number] = int(stop), int(target)
    slot = enter(pair, slots, ENTRY + number, int(side), int(kind), int(price), int(lots), 0)
    slot.stop = int(stop)


@kernel
def _on_fill(pair: Record, state: Record, slots: Record, fill: Record) -> None:
    if pair.ledger.position == 0:
        state.stop = state.target = 0
        for index in (CLOSE, STOP, TARGET):
            clear_order(slots, index)
        return
    if ENTRY <= fill.slot < ENTRY + ENTRIES:
        _on_entered(state, slots, fill)
    _protect(pair, state, slots)


@kernel
def _on_entered(state: Record, slots: Record, fill: Record) -> None:
    """Hand the stop and the target of an entry to the position, once, and cancel entries the other way."""
    number = fill.slot - ENTRY
    if state.entry_stop[number] > 0:
        state.stop = state.entry_stop[number]
    if state.entry_target[number] > 0:
        state.target = state.entry_target[number]
    state.entry_stop[number] = state.entry_target[number] = 0
    for index in range(ENTRY, ENTRY + ENTRIES):
        if slots[index].active and slots[index].side != fill.side:
            clear_order(slots, index)


@kernel
def _protect(pair: Record, state: Record, slots: Record) -> None:
    position = pair.ledger.position
    lots, side = abs(position), -1 if position > 0 else 1
    set_order(slots, STOP, side, OrderKind.STOP, state.stop, lots, Signal.EXIT_SL, 0)
    set_order(slots, TARGET, side, OrderKind.LIMIT, state.target, lots, Signal.EXIT_TP, 0)


def check(
    parameters: ManualParameters, instrument: Instrument, _capital: float, _price: float, _leverage: float
) -> None:
    """Refuse entries that sell short where nothing can be; raises Misconfigured."""
    if instrument.market is Market.SPOT and any(
        one.change == SET and one.side < 0 for one in orders_in(parameters.table)
    ):
        raise Misconfigured("manual.table sells short, but spot cannot be sold short; leave it out, or market: linear.")


MANUAL = Strategy(
    name="manual",
    version=2,
    parameters=ManualParameters,
    state=np.dtype(
        [("stop", "i8"), ("target", "i8"), ("entry_stop", "i8", (ENTRIES,)), ("entry_target", "i8", (ENTRIES,))]
    ),
    slots=lambda _parameters: TARGET + 1,
    decide=decide,
    check=check,
    own_stop=True,
    inputs=_inputs,
    roles=lambda count: ("close", *(f"entry_{one + 1}" for one in range(ENTRIES)), "stop", "target")[:count],
    heeds="asked",
)
