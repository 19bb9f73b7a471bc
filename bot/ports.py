"""What an actor needs of the world, as small protocols, and the words in which the world answers.

Services fulfil them; nothing below `services` knows how. Prices are whole ticks and quantities whole lots, times
epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from bot.errors import TradingError
from bot.instrument import Instrument
from bot.order import OrderKind, Side


class OrderState(Enum):
    """What became of an order. A word nobody knows is UNKNOWN, and is never taken for a fill."""

    RESTING = "resting"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Order:
    """One wish as it was sent: enough to know what an execution of it means, long after the wish has changed."""

    link: str  # client order id: bot, pair, slot and generation
    slot: int
    generation: int
    side: int
    kind: int
    price: int  # ticks: limit, or a stop's trigger; 0 for the market
    lots: int  # in all, filled ones included
    reduce_only: bool
    post_only: bool
    signal: int
    part: int
    entry: int
    stop: int


@dataclass(frozen=True)
class Resting:
    """An order as the venue shows it."""

    link: str
    side: int
    kind: int
    price: int
    lots: int  # in all
    filled: int
    state: OrderState


@dataclass(frozen=True)
class Execution:
    """A fill that happened, or a payment of funding (`link` is then empty and `fee` what was paid)."""

    id: str
    symbol: str
    link: str
    side: int
    price: int
    lots: int
    fee: float  # quote currency
    maker: bool
    ts: int
    funding: bool = False


@dataclass(frozen=True)
class Changed:
    """The venue said that an order has ended, or is as it was last seen."""

    symbol: str
    order: Resting


@dataclass(frozen=True)
class Closed:
    """A base bar closed; prices in quote currency."""

    symbol: str
    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True)
class Gap:
    """A stream was lost and is back: whatever happened meanwhile is to be asked for."""


Event = Execution | Changed | Closed | Gap
Sink = Callable[[Event], None]


@dataclass(frozen=True)
class Account:
    """What the venue holds: wallet without unrealised profit, and lots by symbol."""

    wallet: float
    positions: dict[str, int] = field(default_factory=dict)


class Unreachable(TradingError):
    """The venue, or what lies between, did not answer; a question may be asked again."""


class Unanswered(TradingError):
    """A change was sent and its outcome is not known: the order is to be looked up by its link."""


class Refused(TradingError):
    """The venue said no to this order, for good."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"the venue refused ({code}): {message}")
        self.code = code


class Gone(TradingError):
    """The order to change is no longer there: filled or cancelled, which its executions tell."""


class NotPermitted(TradingError):
    """The key may not do this, or the account is not as the bot needs it; a person has to act."""


class Gateway(Protocol):
    """One account at one venue."""

    async def instruments(self, symbols: list[str]) -> dict[str, Instrument]: ...
    async def candles(self, symbol: str, since: int, until: int) -> Any: ...
    async def now(self) -> int: ...
    async def account(self) -> Account: ...
    async def prepare(self, symbol: str, leverage: float) -> None: ...
    async def resting(self, symbol: str) -> list[Resting]: ...
    async def executions(self, symbol: str, since: int) -> list[Execution]: ...
    async def find(self, symbol: str, link: str) -> Resting | None: ...
    async def place(self, symbol: str, order: Order) -> None: ...
    async def amend(self, symbol: str, order: Order) -> None: ...
    async def cancel(self, symbol: str, link: str) -> None: ...
    def listen(self, symbols: list[str], sink: Sink) -> Awaitable[None]: ...


@dataclass(frozen=True)
class Saved:
    """A pair's or the portfolio's memory as it was stored."""

    layout: str
    data: bytes


class Store(Protocol):
    """The truth about what the bot did. `save` is one transaction: memory, orders about to be sent, fills booked."""

    async def load(self, name: str) -> Saved | None: ...
    async def orders(self, symbol: str) -> dict[str, Order]: ...
    async def has_execution(self, execution: str) -> bool: ...
    async def save(
        self, name: str, saved: Saved, at: int, orders: list[Order], fills: list[tuple[Execution, Any]], notes: list[Any]
    ) -> None: ...


class Bus(Protocol):
    """Tells whoever watches; trading never waits for it."""

    def publish(self, kind: str, fields: dict[str, Any]) -> None: ...


class Clock(Protocol):
    """Time of day, and waiting for it."""

    def now(self) -> int: ...
    async def sleep(self, seconds: float) -> None: ...


def link_of(bot: str, symbol: str, slot: int, generation: int) -> str:
    """Client order id: the same wish is the same order for ever. At most 36 characters."""
    return f"{bot}-{symbol}-{slot:03d}-{generation}"


def wishes(slots: Any, position: int, *, linear: bool, bot: str, symbol: str, filled: dict[str, int]) -> list[Order]:
    """List what should rest now: wanted slots, but those that could only reduce where nothing is to reduce.

    `filled`: lots already filled by link, since a venue counts an order's quantity from its birth.
    """
    found = []
    for index in range(len(slots)):
        slot = slots[index]
        if not slot.wanted:
            continue
        side, market = int(slot.side), int(slot.kind) == OrderKind.MARKET
        if slot.reduce_only and position * side >= 0:
            continue
        if side == Side.SELL and position <= 0 and not linear:
            continue
        link = link_of(bot, symbol, index, int(slot.generation))
        found.append(
            Order(
                link=link,
                slot=index,
                generation=int(slot.generation),
                side=side,
                kind=int(slot.kind),
                price=0 if market else int(slot.price),
                lots=int(slot.quantity) + filled.get(link, 0),
                reduce_only=bool(slot.reduce_only),
                post_only=bool(slot.post_only),
                signal=int(slot.signal),
                part=int(slot.part),
                entry=int(slot.entry),
                stop=int(slot.stop),
            )
        )
    return found
