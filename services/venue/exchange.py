"""The venue's account and market: every symbol's book on one clock, and what traders may ask of them.

Times are the market's own. Nothing here knows of HTTP: answers that refuse are raised as `Answer` with Bybit's code.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.exchange import SETTINGS
from bot.order import OrderKind
from bot.record import new_records
from services.venue.book import CANCELLED, LIVE, PARTIAL_CANCELLED, Book, Happened, Trade, VenueOrder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backtesting.candles import Candles
    from backtesting.config import Execution
    from bot.instrument import Instrument

MOST_ORDERS = 500  # live ones per symbol
KEPT = 100_000  # ended orders and executions


class Answer(Exception):
    """A refusal in Bybit's words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class Bar:
    """A closed minute of a symbol, as index into its candles."""

    symbol: str
    index: int


@dataclass
class Exchange:
    """One account over several books."""

    instruments: dict[str, Instrument]
    candles: dict[str, Candles]
    capital: float
    settings: Any
    leverage: float = 1.0
    closed: set[str] = field(init=False, default_factory=set)  # symbols that take no new positions any more
    hedge: bool = field(init=False, default=False)  # two rows per position, as accounts in hedge mode show them
    books: dict[str, Book] = field(init=False)
    known: dict[str, VenueOrder] = field(init=False, default_factory=dict)  # by order id
    links: dict[str, VenueOrder] = field(init=False, default_factory=dict)  # by client order id, for ever
    ended: deque[VenueOrder] = field(init=False, default_factory=lambda: deque(maxlen=KEPT))
    trades: deque[Trade] = field(init=False, default_factory=lambda: deque(maxlen=KEPT))
    events: list[Happened | Bar] = field(init=False, default_factory=list)  # not yet told
    now: int = field(init=False, default=0)  # ms
    numbered: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.books = {
            symbol: Book(self.instruments[symbol], self.candles[symbol], self.settings, self.leverage)
            for symbol in sorted(self.instruments)
        }
        self.clock = np.unique(np.concatenate([one.ts for one in self.candles.values()]))
        self.bar_ms = next(iter(self.candles.values())).bar_ms
        self.begin(int(self.clock[0]))

    def begin(self, start: int) -> None:
        """Let the market stand at the first minute that opens at `start` (ms) or later; before it is history."""
        self.at = int(np.searchsorted(self.clock, start))
        self.now = int(self.clock[min(self.at, len(self.clock) - 1)])
        for book in self.books.values():
            seen = int(np.searchsorted(book.candles.ts, self.now))
            book.here = float(book.ticks[3][seen - 1]) if seen else float(book.ticks[0][0])
            book.funded = int(book.candles.ts[max(seen - 1, 0)])
        self._playing: Iterator[None] | None = None

    # Money

    @property
    def wallet(self) -> float:
        """Balance without unrealised profit, quote currency."""
        return self.capital + sum(book.realised for book in self.books.values())

    @property
    def equity(self) -> float:
        """Balance with it."""
        return self.capital + sum(book.worth for book in self.books.values())

    # Time

    def step(self) -> bool:
        """Go on to the next thing that concerns a trader; False at a minute's end, or when nothing is left."""
        if self._playing is None:
            if self.finished:
                return False
            self._playing = self._minute(int(self.clock[self.at]))
        if next(self._playing, self) is self:
            self._playing = None
            self.at += 1
            return False
        return True

    @property
    def finished(self) -> bool:
        """Whether the candles are used up."""
        return self.at >= len(self.clock)

    def _minute(self, ts: int) -> Iterator[None]:
        self.now = ts
        free = 0.0
        frees = {}
        for symbol, book in self.books.items():
            frees[symbol] = book.free
            free += frees[symbol]
        closed = []
        for symbol, book in self.books.items():
            index = int(np.searchsorted(book.candles.ts, ts))
            if index >= len(book.candles) or int(book.candles.ts[index]) != ts:
                continue
            for happened in book.minute(index, self.capital + free - frees[symbol]):
                self._tell(happened)
                yield
            closed.append(Bar(symbol, index))
        self.now = ts + self.bar_ms
        self.events.extend(closed)

    def _tell(self, happened: list[Happened]) -> None:
        for one in happened:
            if isinstance(one, Trade):
                self.trades.append(one)
            elif one.status not in LIVE:
                self.ended.append(one)
            self.events.append(one)

    # Orders

    def book(self, symbol: str) -> Book:
        """The book of a symbol that is traded here."""
        if symbol not in self.books:
            raise Answer(10001, "params error: symbol invalid")
        return self.books[symbol]

    def create(
        self, symbol: str, side: int, kind: int, price: int, lots: int, *, link: str, reduce_only: bool, post_only: bool
    ) -> VenueOrder:
        """Take an order; price in ticks (0: market), quantity in lots."""
        book = self.book(symbol)
        self._refuse_wrong(book, kind, price, lots, link)
        if reduce_only and book.position * side >= 0:
            raise Answer(110017, "current position is zero, cannot fix reduce-only order qty")
        if not reduce_only:
            self._refuse_unpayable(book, price, lots)
        self.numbered += 1
        order = VenueOrder(
            id=f"{self.numbered:08x}-0000-4000-8000-{self.numbered:012x}",
            link=link,
            symbol=symbol,
            side=side,
            kind=kind,
            price=price,
            lots=lots,
            reduce_only=reduce_only,
            post_only=post_only,
            created=self.now,
            updated=self.now,
        )
        if kind == OrderKind.STOP:
            order.status = "Untriggered"
        self.known[order.id] = order
        if link:
            self.links[link] = order
        book.add(order)
        self._tell([order])
        return order

    def _refuse_wrong(self, book: Book, kind: int, price: int, lots: int, link: str) -> None:
        if link and link in self.links:
            raise Answer(110072, "OrderLinkedID is duplicate")
        if kind != OrderKind.MARKET and price <= 0:
            raise Answer(110003, "Order price exceeds the allowable range.")
        if lots <= 0 or book.instrument.quantity(lots) < self.instruments[book.instrument.symbol].min_quantity:
            raise Answer(10001, "The number of contracts below minimum limit allowed")
        if len(book.live) >= MOST_ORDERS:
            raise Answer(110020, "Not allowed to have more than 500 active orders")

    def _refuse_unpayable(self, book: Book, price: int, lots: int) -> None:
        """What is asked of an order that may open a position."""
        if book.instrument.symbol in self.closed:
            raise Answer(110023, "Currently you can only reduce your position")
        worth = lots * (price or book.here) * float(book.pair.instrument.tick_value)
        if worth < float(self.instruments[book.instrument.symbol].min_notional):
            raise Answer(110094, "Order does not meet minimum order value")
        if worth / self.leverage > max(self.equity, 0.0) + abs(book.worth):
            raise Answer(110007, "ab not enough for new order")

    def relist(self, symbol: str, **changes: Any) -> None:
        """List a symbol with other steps or minima; what rests keeps its price."""
        self.instruments = {**self.instruments, symbol: self.instruments[symbol].model_copy(update=changes)}

    def find(self, symbol: str, order_id: str, link: str) -> VenueOrder:
        """A live order by either of its names."""
        order = self.known.get(order_id) if order_id else self.links.get(link)
        if order is None or order.symbol != symbol or order.status not in LIVE:
            raise Answer(110001, "order not exists or too late to cancel")
        return order

    def amend(self, symbol: str, order_id: str, link: str, price: int | None, lots: int | None) -> VenueOrder:
        """Move an order; `lots` is its whole quantity."""
        order = self.find(symbol, order_id, link)
        price, lots = order.price if price is None else price, order.lots if lots is None else lots
        if (price, lots) == (order.price, order.lots):
            raise Answer(10001, "order not modified")
        if lots <= order.filled:
            raise Answer(10001, "The order quantity must exceed what is filled")
        self.book(symbol).moved(order, price, lots, self.now)
        self._tell([order])
        return order

    def cancel(self, symbol: str, order_id: str, link: str) -> VenueOrder:
        """Let an order rest no more."""
        order = self.find(symbol, order_id, link)
        order.updated = self.now
        self.book(symbol).remove(order, PARTIAL_CANCELLED if order.filled else CANCELLED, "EC_PerCancelRequest")
        self._tell([order])
        return order

    def cancel_all(self, symbol: str | None) -> list[VenueOrder]:
        """Cancel everything, of one symbol or of all."""
        books = [self.book(symbol)] if symbol else list(self.books.values())
        return [self.cancel(one.symbol, one.id, "") for book in books for one in list(book.live)]

    def live(self, symbol: str | None) -> list[VenueOrder]:
        """Orders that rest, newest first."""
        books = [self.book(symbol)] if symbol else list(self.books.values())
        return sorted((one for book in books for one in book.live), key=lambda one: one.id, reverse=True)

    def set_leverage(self, symbol: str, leverage: float) -> None:
        """Set the leverage of a symbol."""
        book = self.book(symbol)
        if not 1.0 <= leverage <= 125.0:
            raise Answer(110013, "cannot set leverage due to risk limit level")
        if float(book.pair.instrument.leverage) == leverage:
            raise Answer(110043, "Set leverage not modified")
        book.pair.instrument.leverage = leverage


def exchange_settings(execution: Execution) -> Any:
    """Build the rules of the simulated exchange as the venue plays them; a forced exit costs no more than another."""
    from backtesting.config import BarPath, FillRule  # noqa: PLC0415

    settings = new_records(SETTINGS, 1)
    chosen = settings[0]
    chosen.through = 1.0 if execution.fill_rule is FillRule.THROUGH else 0.0
    chosen.adverse = execution.path is BarPath.ADVERSE
    chosen.slippage = execution.slippage_bps / 1e4
    chosen.impact = execution.slippage_impact
    chosen.participation = execution.max_participation
    chosen.funding_rate = execution.funding_rate
    return settings
