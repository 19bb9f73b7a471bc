"""Requests of a core to venue and store, one at a time.

A core is a generator: it yields an instruction and is sent its result, or the error is thrown in at the yield. So it
never waits itself, and a test can play venue and store.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from bot.instrument import Instrument
from bot.ports import Order, Saved

T = TypeVar("T")


@dataclass(frozen=True)
class Load:
    """Read what was stored under this name; answered by Loaded, or None when nothing was."""

    name: str


@dataclass(frozen=True)
class Loaded:
    """A memory, its orders by client order id, oldest first, and the ids of the executions that are booked."""

    saved: Saved
    orders: dict[str, Order]
    booked: list[str]


@dataclass(frozen=True)
class Save:
    """Save the machine's state and whatever is not saved yet; the result is False while the store does not answer."""


@dataclass(frozen=True)
class Place:
    """Place an order."""

    order: Order


@dataclass(frozen=True)
class Amend:
    """Give an order another price or size."""

    order: Order


@dataclass(frozen=True)
class Cancel:
    """Cancel the order of this name."""

    client_order_id: str


@dataclass(frozen=True)
class SetStop:
    """Set the position's stop at `price` (ticks); answered by the price as the venue shows it.

    A TimeoutError is thrown in when there is no answer after `within` seconds; None waits as long as it takes.
    """

    price: int
    within: float | None = None


@dataclass(frozen=True)
class SetPartialStops:
    """Have partial stops of exactly these sizes (lots) at `price` (ticks)."""

    price: int
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class FetchPosition:
    """Ask for the position; answered by Position."""


@dataclass(frozen=True)
class FetchExecutions:
    """Ask for the executions since `since` (ms); answered by a list of Execution."""

    since: int


@dataclass(frozen=True)
class FetchExecutionsOf:
    """Ask for an order's executions; answered by a list of Execution."""

    client_order_id: str


@dataclass(frozen=True)
class FetchOpenOrders:
    """Ask for the orders that rest; answered by a list of OpenOrder."""


@dataclass(frozen=True)
class FetchCandles:
    """Ask for closed bars from `since` to before `until` (ms); answered by BAR records (n,)."""

    since: int
    until: int


@dataclass(frozen=True)
class FetchSignals:
    """Ask for the signals received after number `after`; answered by a list of ReceivedSignal, in order.

    They are heard at the close of the bar that opens at `bar` (ms).
    """

    after: int
    bar: int


@dataclass(frozen=True)
class SetInstrument:
    """Use this instrument's tick and lot size from now on."""

    instrument: Instrument


@dataclass(frozen=True)
class Wait:
    """Let so many seconds pass."""

    seconds: float


Instruction = (
    Load
    | Save
    | Place
    | Amend
    | Cancel
    | SetStop
    | SetPartialStops
    | FetchPosition
    | FetchExecutions
    | FetchExecutionsOf
    | FetchOpenOrders
    | FetchCandles
    | FetchSignals
    | SetInstrument
    | Wait
)
Steps = Generator[Instruction, Any, T]
