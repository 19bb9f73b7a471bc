"""A person's orders: what somebody asked for at the closes of bars, carried out as any other strategy's wishes are.

The orders stand in the parameters as a table, a row for each close at which something was asked: an entry, at the
market or at a limit, with its stop and target; stop and target of what is held; a close at the market. One entry rests
at a time, and one position is held. An exit goes before an entry, so a position may be turned over.
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

CLOSE, ENTRY, STOP, TARGET = range(4)
KEEP, SET, CLEAR = 0, 1, -1  # what a row says of the entry
MOST_ROWS = 20_000


class ManualOrder(NamedTuple):
    """What was asked for at the close of one bar. Prices are whole ticks, 0 for none; quantities whole lots."""

    bar: int  # its opening, epoch ms
    entry: int = KEEP
    side: int = 0
    limit: int = 0  # 0: at the market
    lots: int = 0
    entry_stop: int = 0
    entry_target: int = 0
    protect: int = 0  # 1: stop and target of what is held become these
    stop: int = 0
    target: int = 0
    close: int = 0  # 1: close at the market


COLUMNS = ManualOrder._fields[1:]


def table_of(orders: Iterable[ManualOrder]) -> str:
    """Write orders as the text that the parameters hold, by time."""
    return "".join(",".join(map(str, one)) + "\n" for one in sorted(orders))


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
    if len(found) > MOST_ROWS or len({one.bar for one in found}) != len(found):
        raise Misconfigured(f"manual.table has more than {MOST_ROWS:,} rows, or two for one bar; give one for each.")
    return tuple(sorted(found))


def _order(row: list[str]) -> ManualOrder | None:
    try:
        one = ManualOrder(*map(int, row))
    except (TypeError, ValueError):
        return None
    fine = len(row) == len(one) and abs(one.entry) <= 1 and abs(one.side) <= 1 and min(one[3:]) >= 0
    return one if fine and max(one) < 2**53 else None


class ManualParameters(Parameters):
    """What was asked for."""

    timeframe: Timeframe = Field("1m", description="bars at whose close something is asked for")
    warmup_bars: int = Field(0, ge=0, le=100_000, description="signal bars seen before the first entry, bars")
    table: str = Field("", max_length=4_000_000, description="what was asked for, a row for each bar")

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
        times, values = _arrays(self.table, self.field)
        starts = bars["ts"][at]
        place = np.minimum(np.searchsorted(times, starts), max(len(times) - 1, 0))
        if not len(times):
            return np.zeros(len(starts))
        return np.where(times[place] == starts, values[place], 0.0)


@lru_cache(maxsize=64)
def _arrays(table: str, field: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The bars at which something was asked for, and a field of it, (n,) each; `asked` is 1 at each of them."""
    orders = orders_in(table)
    values = [1.0 if field == "asked" else float(getattr(one, field)) for one in orders]
    return np.array([one.bar for one in orders], np.int64), np.array(values, np.float64)


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
    position = pair.ledger.position
    if asked.close == 1.0 and position != 0:
        side = -1 if position > 0 else 1
        set_order(slots, CLOSE, side, OrderKind.MARKET, 0, abs(position), Signal.EXIT_TP, 0)  # nothing forces it
    if asked.entry == CLEAR:
        clear_order(slots, ENTRY)
    elif asked.entry == SET:
        clear_order(slots, ENTRY)
        state.entry_stop, state.entry_target = int(asked.entry_stop), int(asked.entry_target)
        kind = OrderKind.LIMIT if asked.limit > 0.0 else OrderKind.MARKET
        slot = enter(pair, slots, ENTRY, int(asked.side), kind, int(asked.limit), int(asked.lots), 0)
        slot.stop = state.entry_stop
    if asked.protect == 1.0:
        state.stop, state.target = int(asked.stop), int(asked.target)
        _protect(pair, state, slots)


@kernel
def _on_fill(pair: Record, state: Record, slots: Record, fill: Record) -> None:
    if pair.ledger.position == 0:
        state.stop = state.target = 0
        for index in (CLOSE, STOP, TARGET):
            clear_order(slots, index)
        return
    if fill.slot == ENTRY:
        state.stop = state.entry_stop if state.entry_stop > 0 else state.stop
        state.target = state.entry_target if state.entry_target > 0 else state.target
    _protect(pair, state, slots)


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
        one.entry == SET and one.side < 0 for one in orders_in(parameters.table)
    ):
        raise Misconfigured("manual.table sells short, but spot cannot be sold short; leave it out, or market: linear.")


MANUAL = Strategy(
    name="manual",
    version=1,
    parameters=ManualParameters,
    state=np.dtype([(name, "i8") for name in ("entry_stop", "entry_target", "stop", "target")]),
    slots=lambda _parameters: 4,
    decide=decide,
    check=check,
    own_stop=True,
    inputs=_inputs,
    roles=lambda count: ("close", "entry", "stop", "target")[:count],
    heeds="asked",
)
