"""The venue's account and market: every symbol's book on one clock, and what traders may ask of them.

Times are the market's own. Nothing here knows of HTTP: a refusal is raised as `BybitRefusal`, with the code of Bybit.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.exchange import SETTINGS
from bot.order import OrderKind
from bot.record import new_records
from services.simulated_bybit import checks, elsewhere, moneylog, stops
from services.simulated_bybit.audit import Audit, BareSpell, protection
from services.simulated_bybit.book import Book
from services.simulated_bybit.checks import BybitRefusal
from services.simulated_bybit.records import (
    CANCELLED,
    LIVE,
    PARTIAL_CANCELLED,
    PARTIAL_STOP,
    STOP_LOSS,
    TAKE_PROFIT,
    UNTRIGGERED,
    Happened,
    LogRow,
    Trade,
    VenueOrder,
    order_id,
)
from services.simulated_bybit.unverified import Unverified

if TYPE_CHECKING:
    from backtesting.funding import FundingHistory
    from bot.candles import Candles
    from bot.instrument import Instrument
    from coordinator.config import SimulationRules

KEPT = 100_000  # ended orders, executions and movements of money
SETTLED_IN = "USDT"
FILTERS = ("", "Order", "StopOrder")


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
    unverified: Unverified = field(default_factory=Unverified)
    monotonic: Callable[[], float] = time.monotonic  # seconds, for the spells of the audit
    histories: dict[str, FundingHistory] = field(default_factory=dict)  # of funding; without, the constant rate
    closed: set[str] = field(init=False, default_factory=set)  # symbols that take no new positions any more
    delisted: dict[str, int] = field(init=False, default_factory=dict)  # since when symbols have no bars, ms
    hedge: bool = field(init=False, default=False)  # two rows per position, as accounts in hedge mode show them
    unified: bool = field(init=False, default=True)  # False: a classic account
    coins: dict[str, tuple[float, float]] = field(init=False, default_factory=dict)  # others: amount and USD price
    usdt_usd: float = field(init=False, default=1.0)
    books: dict[str, Book] = field(init=False)
    known: dict[str, VenueOrder] = field(init=False, default_factory=dict)  # by order id
    client_order_ids: dict[str, VenueOrder] = field(init=False, default_factory=dict)  # by client order id, for ever
    ended: deque[VenueOrder] = field(init=False, default_factory=lambda: deque(maxlen=KEPT))
    trades: deque[Trade] = field(init=False, default_factory=lambda: deque(maxlen=KEPT))
    log: deque[LogRow] = field(init=False, default_factory=lambda: deque(maxlen=KEPT))
    events: list[Happened | Bar] = field(init=False, default_factory=list)  # not yet told
    now: int = field(init=False, default=0)  # ms
    numbers: Iterator[int] = field(init=False, default_factory=lambda: itertools.count(1))  # of orders
    transfers: Iterator[int] = field(init=False, default_factory=lambda: itertools.count(1))
    duplicates: int = field(init=False, default=0)  # orders refused because their client order id was taken

    def __post_init__(self) -> None:
        own = (self.settings, self.leverage, self.numbers, self.unverified)
        self.books = {
            symbol: Book(self.instruments[symbol], self.candles[symbol], *own, self.histories.get(symbol))
            for symbol in sorted(self.instruments)
        }
        self.audit = Audit(self.books, self.monotonic)
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

    # Protection

    @property
    def bare(self) -> dict[str, BareSpell]:
        """How long each symbol's position was not wholly protected."""
        return self.audit.bare

    def protection(self) -> dict[str, tuple[int, int]]:
        """Lots held, and lots that a stop or a market order is to close, by symbol."""
        return {symbol: protection(book) for symbol, book in self.books.items()}

    # Time

    def step(self) -> bool:
        """Go on to the next thing that concerns a trader; False at a minute's end, or when nothing is left."""
        if self._playing is None:
            if self.finished:
                return False
            self._playing = self._minute(int(self.clock[self.at]))
        ended = next(self._playing, self) is self
        self.audit.look(minute_ended=ended)
        if ended:
            self._playing = None
            self.at += 1
        return not ended

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
            if symbol in self.delisted:
                continue
            book.unverified = self.unverified
            index = int(np.searchsorted(book.candles.ts, ts))
            if index >= len(book.candles) or int(book.candles.ts[index]) != ts:
                continue
            for happened in book.minute(index, self.capital + free - frees[symbol]):
                self.tell(happened)
                yield
            closed.append(Bar(symbol, index))
        self.now = ts + self.bar_ms
        self.events.extend(closed)

    def tell(self, happened: list[Happened]) -> None:
        """Remember what happened, and keep it for whoever is to be told."""
        for one in happened:
            if isinstance(one, Trade):
                self.trades.append(one)
                self.log.append(moneylog.of_trade(one, SETTLED_IN, self.wallet))
            elif isinstance(one, LogRow):
                self.log.append(one)
            else:
                self.known.setdefault(one.id, one)
                if one.status not in LIVE:
                    self.ended.append(one)
            if not isinstance(one, LogRow):
                self.audit.touched.add(one.symbol)
            self.events.append(one)

    def transfer(self, amount: float, coin: str = SETTLED_IN) -> None:
        """Move money into the account (negative: out of it), and into its log."""
        if coin == SETTLED_IN:
            self.capital += amount
            balance = self.wallet
        else:
            held, price = self.coins.get(coin, (0.0, 1.0))
            balance = held + amount
            self.coins[coin] = (balance, price)
        self.tell([moneylog.of_transfer(next(self.transfers), self.now, coin, amount, balance)])

    # Executions that no request asked for

    def close_by_hand(self, symbol: str) -> None:
        """Close the position at the venue's own page, at the present price."""
        elsewhere.close(self, symbol, created_by="CreateByClosing")

    def trade_by_hand(self, symbol: str, side: int, lots: int) -> None:
        """Trade at the venue's own page, at the present price."""
        elsewhere.trade(self, symbol, side, lots, created_by="CreateByUser")

    def deleverage(self, symbol: str, lots: int) -> None:
        """Close so many lots of the position against a bankrupt trader's: no fee."""
        elsewhere.close(self, symbol, lots, kind="AdlTrade", created_by="CreateByAdl_PassThrough", charged=False)

    def bust(self, symbol: str) -> None:
        """Liquidate the position: every order of the symbol is cancelled, and the venue takes the position over."""
        elsewhere.cancel_everything(self, symbol, "CancelAllBeforeLiq")
        elsewhere.close(self, symbol, kind="BustTrade", created_by="CreateByTakeOver_PassThrough")

    def settle(self, symbol: str) -> None:
        """Delist the symbol: its orders are cancelled, and its position is settled by a trade that is no order."""
        self.closed.add(symbol)
        elsewhere.cancel_everything(self, symbol, "CancelBySettle")
        elsewhere.close(self, symbol, kind="Delivery", created_by="CreateBySettle", charged=False, as_order=False)

    def delist(self, symbol: str) -> None:
        """Settle the symbol, and trade it no more: no bar follows."""
        self.settle(symbol)
        self.delisted[symbol] = self.now

    # Orders

    def book(self, symbol: str) -> Book:
        """The book of a symbol that is traded here."""
        if symbol not in self.books:
            raise BybitRefusal(10001, "params error: symbol invalid")
        return self.books[symbol]

    def create(
        self,
        symbol: str,
        side: int,
        kind: int,
        price: int,
        lots: int,
        *,
        client_order_id: str,
        reduce_only: bool,
        post_only: bool,
        stop: int = 0,
        stop_by: str = "LastPrice",
    ) -> VenueOrder:
        """Take an order; price in ticks (0: market), quantity in lots.

        `stop`: what the position gets with the first fill, ticks; an order that only reduces has none.
        """
        book = self.book(symbol)
        checks.refuse_wrong(self, book, side, kind, price, lots, client_order_id)
        if reduce_only and book.position * side >= 0:
            raise BybitRefusal(110017, "current position is zero, cannot fix reduce-only order qty")
        stop = 0 if reduce_only else stop
        if not reduce_only:
            checks.refuse_too_large(self, book, kind, price, lots)
            checks.refuse_above_tier(self, book, side, price, lots)
            checks.refuse_unpayable(self, book, price, lots)
        if stop:
            checks.refuse_stop(book, side, stop, price or book.here)
        order = VenueOrder(
            id=order_id(next(self.numbers)),
            client_order_id=client_order_id,
            symbol=symbol,
            side=side,
            kind=kind,
            price=price,
            lots=lots,
            reduce_only=reduce_only,
            post_only=post_only,
            created=self.now,
            updated=self.now,
            stop=stop,
            stop_by=stop_by if stop else "",
        )
        if kind == OrderKind.STOP:
            order.status, order.created_by = UNTRIGGERED, "CreateByStopOrder"
        if client_order_id:
            self.client_order_ids[client_order_id] = order
        book.add(order)
        self.tell([order])
        return order

    def trading_stop(self, symbol: str, stop: int | None, target: int | None) -> None:
        """Set the position's stop and target (ticks): 0 takes away, None leaves as it is."""
        self.tell([*stops.request(self.book(symbol), {STOP_LOSS: stop, TAKE_PROFIT: target}, self.now)])

    def add_partial_stop(self, symbol: str, stop: int, lots: int) -> None:
        """Add a stop of a part of the position, at `stop` ticks."""
        self.tell([stops.add_partial(self.book(symbol), stop, lots, self.now)])

    def relist(self, symbol: str, **changes: Any) -> None:
        """List a symbol with other steps or minima; what rests keeps its price."""
        self.instruments = {**self.instruments, symbol: self.instruments[symbol].model_copy(update=changes)}

    def find(self, symbol: str, order_id: str, client_order_id: str) -> VenueOrder:
        """A live order by either of its names."""
        order = self.known.get(order_id) if order_id else self.client_order_ids.get(client_order_id)
        if order is None or order.symbol != symbol or order.status not in LIVE:
            raise BybitRefusal(110001, "order not exists or too late to cancel")
        return order

    def amend(
        self,
        symbol: str,
        order_id: str,
        client_order_id: str,
        price: int | None,
        lots: int | None,
        stop: int | None = None,
    ) -> VenueOrder:
        """Move an order; `lots` is its whole quantity, `stop` what the position is to get with it (0: nothing)."""
        order, book = self.find(symbol, order_id, client_order_id), self.book(symbol)
        if order.stop_type not in ("", PARTIAL_STOP):
            raise BybitRefusal(110060, "Under full TP/SL mode, it is not allowed to modify TP/SL")
        if stop is not None and order.filled:
            raise BybitRefusal(110059, "Not allowed to modify the TP/SL of a partially filled open order")
        fresh = price is not None and price != order.price
        price, lots = order.price if price is None else price, order.lots if lots is None else lots
        kept = order.stop
        stop = kept if stop is None or order.reduce_only else stop
        if (price, lots, stop) == (order.price, order.lots, kept):
            raise BybitRefusal(10001, "order not modified")
        if lots <= order.filled:
            raise BybitRefusal(10001, "The order quantity must exceed what is filled")
        if order.stop_type:
            stops.move_partial(book, order, price, lots, self.now)
            self.tell([order])
            return order
        if not order.reduce_only and lots != order.lots:
            checks.refuse_too_large(self, book, order.kind, price, lots)
            checks.refuse_above_tier(self, book, order.side, price, lots - order.lots)
        if fresh and order.kind == OrderKind.LIMIT:
            checks.refuse_outside_band(self, book, order.side, price)
        for one in {stop, kept if fresh else stop} - {0}:  # a moved price is also held against the stop of before
            checks.refuse_stop(book, order.side, one, price or book.here)
        order.stop, order.stop_by = stop, (order.stop_by or "LastPrice") if stop else ""
        book.moved(order, price, lots, self.now)
        self.tell([order])
        return order

    def cancel(self, symbol: str, order_id: str, client_order_id: str) -> VenueOrder:
        """Let an order rest no more."""
        order = self.find(symbol, order_id, client_order_id)
        order.updated = self.now
        status = PARTIAL_CANCELLED if order.filled else CANCELLED
        self.book(symbol).remove(order, status, "EC_PerCancelRequest", "CancelByUser")
        self.tell([order])
        return order

    def cancel_all(self, symbol: str | None, only: str = "", stop_type: str = "") -> list[VenueOrder]:
        """Cancel everything, of one symbol or of all; the positions' stops too, unless `only` plain orders go.

        `only` is Bybit's orderFilter, and `stop_type` its stopOrderType: Stop spares what belongs to positions.
        """
        if only not in FILTERS:
            raise BybitRefusal(10001, "params error: orderFilter invalid")
        books = [self.book(symbol)] if symbol else list(self.books.values())
        return [
            self.cancel(one.symbol, one.id, "")
            for book in books
            for one in list(book.live)
            if only in ("", one.filter) and stop_type in ("", one.stop_type or "Stop")
        ]

    def live(self, symbol: str | None) -> list[VenueOrder]:
        """Orders that rest, newest first."""
        books = [self.book(symbol)] if symbol else list(self.books.values())
        return sorted((one for book in books for one in book.live), key=lambda one: one.id, reverse=True)

    def set_leverage(self, symbol: str, leverage: float) -> None:
        """Set the leverage of a symbol."""
        book = self.book(symbol)
        most = self.instruments[symbol].max_leverage or checks.STEEPEST
        if not 1.0 <= leverage <= float(most):
            raise BybitRefusal(110013, "cannot set leverage due to risk limit level")
        if float(book.pair.instrument.leverage) == leverage:
            raise BybitRefusal(110043, "Set leverage not modified")
        book.pair.instrument.leverage = leverage


def exchange_settings(execution: SimulationRules) -> Any:
    """Build the rules of the simulated exchange as the venue plays them; a forced exit costs no more than another."""
    from coordinator.config import BarPath, FillRule  # noqa: PLC0415

    settings = new_records(SETTINGS, 1)
    chosen = settings[0]
    chosen.through = 1.0 if execution.fill_rule is FillRule.THROUGH else 0.0
    chosen.adverse = execution.path is BarPath.ADVERSE
    chosen.slippage = execution.slippage_bps / 1e4
    chosen.impact = execution.slippage_impact
    chosen.participation = execution.max_participation
    chosen.funding_rate = execution.funding_rate
    return settings
