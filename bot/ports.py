"""What a bot needs of the world, as small protocols by role, and the words in which the world answers.

A venue has four roles (market data, trading, account, stream); beside it stand store, bus and clock. Services fulfil
them; nothing below `services` knows how. Prices are whole ticks, quantities whole lots, times epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from bot.errors import TradingError
from bot.events import BotEvent, Decision
from bot.instrument import Instrument


class Cause(Enum):
    """Why an execution happened."""

    ORDER = "order"  # an order filled: ours by its client order id, somebody else's without
    STOP = "stop"  # the position's own stop fired; it has none
    FUNDING = "funding"  # a payment: no lots, `fee` is what was paid
    FORCED = "forced"  # liquidation, auto-deleveraging, settlement or delivery; no client order id


class Refusal(Enum):
    """Why the venue said no to an order: all that anybody below the adapter may act on."""

    NOTHING_TO_REDUCE = "nothing to reduce"
    TRIGGER_PASSED = "trigger passed"
    POST_ONLY_WOULD_CROSS = "post-only would cross"
    TOO_SMALL = "too small"
    TOO_LARGE = "too large"
    NO_MONEY = "no money"
    NOT_AMENDABLE = "not amendable"  # a partly filled entry keeps the stop it was sent with
    OTHER = "other"


class OrderState(Enum):
    """What became of an order. A word nobody knows is UNKNOWN, and is never taken for a fill."""

    RESTING = "resting"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Order:
    """One order as it was sent: enough to know what an execution of it means, long after another is desired."""

    client_order_id: str  # bot, pair, number of the slot, generation
    slot: int  # number of its slot, which is the index in a table that was never made longer or shorter
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
    stop: int  # ticks: the stop that the position gets with this order's first fill, 0 for none
    planned_stop: int = (
        0  # ticks: where what it opens is to be closed at a loss; spot too, where no order carries a stop
    )
    timeframe: int = field(default=0, compare=False)  # ms: signal bars of the strategy whose it is, 0 where none runs


@dataclass(frozen=True)
class OpenOrder:
    """An order as the venue shows it. The position's own stop is none."""

    client_order_id: str
    side: int
    kind: int
    price: int
    lots: int  # in all
    filled: int
    state: OrderState
    stop: int = 0  # ticks: attached, as in Order
    reduce_only: bool = False


@dataclass(frozen=True)
class Position:
    """A symbol's position as the venue shows it; absence is a position of zero lots."""

    symbol: str
    lots: int = 0  # signed
    stop: int = 0  # ticks: the stop of the whole position, which follows its size and leaves with it; 0 for none
    price: float = 0.0  # average entry, quote currency


@dataclass(frozen=True)
class PartialStop:
    """A stop of a part of a position. It has no client order id."""

    order_id: str  # the venue's own
    price: int  # ticks
    lots: int


@dataclass(frozen=True)
class Transfer:
    """Money that came into the account or left it, by the venue's own log."""

    id: str
    ts: int  # ms
    amount: float  # settlement coin; negative when it left


@dataclass(frozen=True)
class ReceivedSignal:
    """A signal of somebody else for one pair, as it was recorded before anybody acted on it."""

    number: int  # of the pair, rising by one
    id: str  # of the sender's making; each is taken once
    direction: int  # +1 enters long, -1 short, 0 closes what is held
    stop: float  # quote currency; 0 with a signal to close, as `target`
    target: float
    expired: bool = False  # when it was read, the time that its sender gave it was over


@dataclass(frozen=True)
class Execution:
    """A fill that happened, or a payment of funding (`client_order_id` is then empty and `fee` what was paid)."""

    id: str
    symbol: str
    client_order_id: str
    side: int
    price: int
    lots: int
    fee: float  # quote currency
    maker: bool
    ts: int
    cause: Cause = Cause.ORDER
    heard: float = field(default=0.0, compare=False)  # seconds of the clock when a stream told it; 0: it was asked for

    @property
    def funding(self) -> bool:
        """Whether it is a payment and no fill."""
        return self.cause is Cause.FUNDING


@dataclass(frozen=True)
class Changed:
    """The venue said that an order has ended, or is as it was last seen."""

    symbol: str
    order: OpenOrder


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

    symbol: str


Event = Execution | Changed | Closed | Gap | Position
Sink = Callable[[Event], None]


@dataclass(frozen=True)
class Account:
    """What the venue holds: the settlement coin's own wallet without unrealised profit, and lots by symbol.

    Every symbol of the bot is among the positions, a flat one with zero.
    """

    wallet: float
    positions: dict[str, int] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)  # quantity at the average entry by symbol, signed, quote


class Unreachable(TradingError):
    """The venue, or what lies between, did not answer; a question may be asked again."""


class Unanswered(TradingError):
    """A change was sent and its outcome is not known: the order is to be looked up by its client order id."""


class Refused(TradingError):
    """The venue said no to this order, for good: `reason` is to act on, the sentence for people."""

    def __init__(self, reason: Refusal, sentence: str) -> None:
        super().__init__(f"the venue refused: {sentence}")
        self.reason = reason


class Gone(TradingError):
    """The order to change is no longer there: filled or cancelled, which its executions tell.

    `order` is what it has become, where the venue was asked.
    """

    def __init__(self, message: str, order: OpenOrder | None = None) -> None:
        super().__init__(message)
        self.order = order


class NotPermitted(TradingError):
    """The key may not do this, or the account is not as the bot needs it; a person has to act."""


class Clock(Protocol):
    """Time for patience and ages; what a market does is dated by the market."""

    def __call__(self) -> float:
        """Seconds since any moment; never fewer than before."""
        ...


class MarketData(Protocol):
    """What a venue says of its markets. Every question raises Unreachable when it is not answered."""

    known: dict[str, Instrument]  # by symbol: what prices and quantities are translated by

    async def instruments(self, symbols: list[str]) -> dict[str, Instrument]:
        """What the venue says of these symbols, known from now on; Misconfigured for one that cannot be traded."""
        ...

    async def listing(self, symbols: list[str]) -> dict[str, Instrument | str]:
        """What the venue says of these symbols: the instrument, or in words why it is not traded."""
        ...

    def know(self, instrument: Instrument) -> None:
        """Translate prices and quantities of its symbol by this instrument from now on."""
        ...

    async def candles(self, symbol: str, since: int, until: int) -> Any:
        """Closed base candles that open in [since, until), BAR (n,), oldest first."""
        ...

    async def newest(self, symbol: str) -> int:
        """Opening time of the candle that forms now, ms: the market's own clock."""
        ...

    async def price(self, symbol: str) -> float:
        """Last price, quote currency."""
        ...

    async def now(self) -> int:
        """The venue's time, ms."""
        ...

    async def measure_clock(self) -> int:
        """Measure how far this machine's clock is ahead of the venue's (ms), and allow for it from now on."""
        ...


class Trading(Protocol):
    """Orders, executions and the stops of positions. What is asked for raises Unreachable, what is changed Unanswered.

    Both raise NotPermitted where a person has to act.
    """

    async def place(self, symbol: str, order: Order) -> None:
        """See that this order exists, with its stop attached: placed twice, it is one order.

        Raises Refused, or Gone when its name is used up, by a fill too.
        """
        ...

    async def amend(self, symbol: str, order: Order) -> None:
        """Move a resting order to the price, lots and stop of this one; raises Gone or Refused."""
        ...

    async def cancel(self, symbol: str, client_order_id: str) -> None:
        """Take an order away; raises Gone where it rests no more or never did."""
        ...

    async def find(self, symbol: str, client_order_id: str) -> OpenOrder | None:
        """What the venue knows of an order, ended or not; None if it never heard of it."""
        ...

    async def open_orders(self, symbol: str) -> list[OpenOrder]:
        """Every order that rests; the stops of a position are none."""
        ...

    async def executions(self, symbol: str, since: int) -> list[Execution]:
        """Every execution from `since` (ms) on, oldest first, each once."""
        ...

    async def executions_of(self, symbol: str, client_order_id: str) -> list[Execution]:
        """Every execution of one order, oldest first, each once."""
        ...

    async def set_stop(self, symbol: str, price: int) -> int:
        """See that the whole position has its stop at this price (ticks); 0 takes it away.

        Returns the stop that the position shows, which may be rounded. Raises Refused (NOTHING_TO_REDUCE without
        a position, except where the stop is to go, TRIGGER_PASSED) or Unanswered.
        """
        ...

    async def set_partial_stops(self, symbol: str, price: int, sizes: tuple[int, ...]) -> None:
        """See that exactly these stops of a part of the position rest, by lots, all at this price (ticks).

        They stand beside the stop of the whole position. Raises Refused or Unanswered.
        """
        ...

    async def partial_stops(self, symbol: str) -> list[PartialStop]:
        """Every stop of a part of the position."""
        ...


class Holdings(Protocol):
    """The account itself: money, positions, and what it is allowed to do."""

    async def account(self) -> Account:
        """Wallet, and positions of every known symbol."""
        ...

    async def transfers(self, since: int) -> list[Transfer] | None:
        """What the venue's log calls a transfer of the settlement coin after `since` (ms), oldest first.

        None where it has no log.
        """
        ...

    async def position(self, symbol: str) -> Position:
        """The symbol's position and its stop; a flat one is a position of zero lots."""
        ...

    async def open_positions(self) -> list[str] | None:
        """Symbols of every position in the account, the bot's or not; None where the market has coins instead."""
        ...

    async def open_names(self) -> list[str]:
        """Client order ids of everything that rests in the account, the bot's or not."""
        ...

    async def prepare(self, symbol: str, leverage: float) -> bool:
        """See that the account trades this symbol as the bot needs it; True when it had to be changed.

        Raises NotPermitted where it cannot be changed.
        """
        ...

    async def key_rights(self) -> KeyRights | None:
        """What the key may do; None where the venue does not say."""
        ...


@dataclass(frozen=True)
class StreamHealth:
    """How a venue's streams are, each by its name."""

    up: dict[str, bool]
    messages: dict[str, int]  # heard so far
    silent_seconds: float  # since anything was heard last


class Stream(Protocol):
    """What a venue tells by itself."""

    async def listen(self, symbols: list[str], sink: Sink) -> None:
        """Tell `sink` what happens to these symbols, for ever.

        An execution is told once as long as the stream runs. A stream that begins, or was lost and is back, leaves
        a Gap of every symbol.
        """
        ...

    async def listening(self) -> None:
        """Wait until every stream runs."""
        ...

    def health(self) -> StreamHealth:
        """How the streams are now."""
        ...


@dataclass(frozen=True)
class KeyRights:
    """What an API key may do, as the venue says."""

    trade: bool  # on the gateway's market
    withdraw: bool
    transfer: bool  # to another account
    bound: bool  # to addresses: from elsewhere it does nothing
    expires: int | None = None  # ms; None: never
    account: str = ""  # the venue's number of the account; empty where it does not say


@dataclass(frozen=True)
class Traffic:
    """What was sent to a venue so far, for people: nobody decides by it."""

    errors: dict[str, int]  # answers that were errors, by the venue's own name of the error
    changes: dict[str, int]  # requests that change something, by what they were and how they ended


class Gateway(MarketData, Trading, Holdings, Stream, Protocol):
    """One account at one venue, in all roles."""

    def traffic(self) -> Traffic:
        """What was sent so far."""
        ...

    async def use_key(self, key: str, secret: str) -> None:
        """Sign by another key of the same account from now on; streams sign in anew and leave a Gap."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


@dataclass(frozen=True)
class Saved:
    """A pair's or the portfolio's memory as it was stored."""

    layout: str
    data: bytes


class Store(Protocol):
    """The truth about what the bot did. `save` is one transaction: memory, orders about to be sent, fills booked."""

    async def load(self, name: str) -> Saved | None:
        """What was stored under a name."""
        ...

    async def orders(self, symbol: str) -> dict[str, Order]:
        """The last orders sent for a symbol, by client order id, oldest first; one that was sent again is newer."""
        ...

    async def executions(self, symbol: str) -> list[str]:
        """Ids of the last executions booked for a symbol, oldest first, each once."""
        ...

    async def save(
        self,
        name: str,
        saved: Saved,
        at: int,
        orders: list[Order],
        fills: list[tuple[Execution, Any]],
        decisions: list[Decision],
    ) -> None:
        """Remember all of it, or nothing; an execution that is booked already stays as it is."""
        ...

    async def signals(self, symbol: str, after: int) -> list[ReceivedSignal]:
        """Signals received for a symbol whose number is greater than `after`, in their order, some at a time."""
        ...

    async def alive(self) -> bool:
        """Whether it can be written to now; asked without patience."""
        ...

    async def snapshot(self, name: str, schema: str, state: str, at: int) -> None:
        """Keep a readable copy (JSON) of a state."""
        ...


class Bus(Protocol):
    """Tells whoever watches, in order; trading never waits for it, and nobody may be there."""

    def publish(self, event: BotEvent) -> None:
        """Tell it when there is time."""
        ...


def client_order_id_of(bot: str, symbol: str, slot: int, generation: int) -> str:
    """Client order id, at most 36 characters: a desired order has the same one for ever; `slot` is a slot's number."""
    return f"{bot}-{symbol}-{slot:03d}-{generation}"
