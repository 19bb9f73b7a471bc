"""What a bot tells of itself, in people's units: frozen events, each of a version; docs/events.md lists them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class BotEvent:
    """Something about a pair, or about the account where `pair` is empty; `at` is the market's time, ms."""

    STREAM: ClassVar[str] = "events"  # or "metrics": figures that come by the clock
    VERSION: ClassVar[int] = 1

    pair: str
    at: int


@dataclass(frozen=True, slots=True)
class Decision(BotEvent):
    """Something the algorithm decided; `fields` are those of its `kind` below."""

    kind: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filled(BotEvent):
    """An execution was booked, or a payment of funding (`cause` funding: `fee` is what was paid, there is no order)."""

    execution: str  # the venue's id
    client_order_id: str  # empty: the position's own stop, somebody else's order, or the venue
    side: str  # buy or sell; empty for funding
    price: str  # quote currency
    quantity: str  # base currency
    fee: float  # quote currency
    maker: bool
    cause: str  # order, stop, funding or forced


@dataclass(frozen=True, slots=True)
class OrderChanged(BotEvent):
    """An order was placed, amended or cancelled at the venue."""

    change: str  # placed, amended or cancelled
    client_order_id: str
    side: str = ""  # buy or sell; empty when it was cancelled, as the next three
    kind: str = ""  # limit, stop or market
    price: str = ""  # quote currency; empty at the market
    quantity: str = ""  # base currency, filled part included


@dataclass(frozen=True, slots=True)
class Alarm(BotEvent):
    """Something needs a person, or needs one no longer (`over`)."""

    id: str  # the same while it is the same trouble: `position`, `exits`, `unexplained_money`, …
    severity: str  # critical: nothing is opened until somebody acts; warning: it goes on
    sentence: str
    remedy: str
    over: bool = False


@dataclass(frozen=True, slots=True)
class EquityMarked(BotEvent):
    """What the account is worth after an evaluation of the portfolio, quote currency."""

    STREAM: ClassVar[str] = "metrics"

    equity: float
    wallet: float  # without unrealised profit
    exposure: float  # notional of positions and resting entries
    day_loss_pct: float
    drawdown_pct: float
    modes: list[str]  # of the risk aggregator; empty: normal


@dataclass(frozen=True, slots=True)
class Heartbeat(BotEvent):
    """The bot lives; told every few seconds."""

    STREAM: ClassVar[str] = "metrics"

    stream_age_seconds: float  # since the venue's streams last said anything
    streams: dict[str, bool]  # whether each of the venue's streams is up, by its name there


def kind_of(event: type[BotEvent]) -> str:
    """Name of an event on the wire, such as order_changed."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", event.__name__).lower()


EVENTS: tuple[type[BotEvent], ...] = (Decision, Filled, OrderChanged, Alarm, EquityMarked, Heartbeat)
