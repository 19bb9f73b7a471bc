"""What the venue keeps: keys, orders, executions, movements of money. Prices in ticks, quantities in lots, times ms."""

from __future__ import annotations

from dataclasses import dataclass

from bot.order import OrderKind

NEW, PARTIAL, FILLED, CANCELLED = "New", "PartiallyFilled", "Filled", "Cancelled"
PARTIAL_CANCELLED = "PartiallyFilledCanceled"
UNTRIGGERED, TRIGGERED = "Untriggered", "Triggered"
LIVE = (NEW, PARTIAL, UNTRIGGERED, TRIGGERED)

# What belongs to a position instead of to a trader.
STOP_LOSS, PARTIAL_STOP, TAKE_PROFIT = "StopLoss", "PartialStopLoss", "TakeProfit"


@dataclass(frozen=True)
class Key:
    """An API key and what it may do."""

    key: str
    secret: str
    may_trade: bool = True
    addresses: tuple[str, ...] = ()  # bound to these; empty: any
    may_withdraw: bool = False
    may_transfer: bool = False
    expires: int | None = None  # ms, by the server's clock; None: never
    account: str = "1"  # number of the account that it belongs to


@dataclass
class VenueOrder:
    """An order as the venue keeps it; prices in ticks, quantities in lots."""

    id: str
    client_order_id: str
    symbol: str
    side: int
    kind: int
    price: int
    lots: int
    reduce_only: bool
    post_only: bool
    created: int
    updated: int
    status: str = NEW
    filled: int = 0
    value: float = 0.0  # quote currency filled
    fee: float = 0.0
    reason: str = "EC_NoError"
    cancel_type: str = "UNKNOWN"
    stop: int = 0  # attached: the stop that the position gets with its first fill, 0 for none
    stop_by: str = ""  # which price triggers that stop
    stop_type: str = ""  # StopLoss, PartialStopLoss, TakeProfit: a row of the position
    parent: str = ""  # client order id of the order that brought such a row
    created_by: str = "CreateByUser"

    @property
    def filter(self) -> str:
        """How Bybit files it: what waits for a trigger, or belongs to a position, is a StopOrder."""
        return "StopOrder" if self.stop_type or self.kind == OrderKind.STOP else "Order"

    def __lt__(self, other: VenueOrder) -> bool:
        """Order by client order id, then by birth."""
        return (self.client_order_id, self.id) < (other.client_order_id, other.id)


@dataclass(frozen=True)
class Trade:
    """One execution; `client_order_id` and `order` are empty for funding, whose `fee` is what was paid."""

    id: str
    order: str
    client_order_id: str
    symbol: str
    side: int
    price: int
    lots: int
    fee: float
    maker: bool
    ts: int
    kind: str  # Trade, Funding, BustTrade, AdlTrade, Delivery
    left: int
    stop_type: str = ""
    created_by: str = ""
    realised: float = 0.0  # quote currency, before the fee
    closed: int = 0  # lots of it that reduced the position


@dataclass(frozen=True)
class LogRow:
    """One movement of money, as the account's transaction log has it; amounts in `currency`."""

    id: str
    ts: int
    type: str  # TRADE, SETTLEMENT, TRANSFER_IN, ...
    currency: str
    cash_flow: float  # realised profit, or what was transferred
    fee: float  # positive: paid
    funding: float  # positive: received
    balance: float  # of the wallet, after
    trade: Trade | None = None

    @property
    def change(self) -> float:
        """What the wallet gained."""
        return self.cash_flow + self.funding - self.fee


Happened = VenueOrder | Trade | LogRow


def order_id(number: int) -> str:
    """Id of the order with this number, in the shape of Bybit's."""
    return f"{number:08x}-0000-4000-8000-{number:012x}"
