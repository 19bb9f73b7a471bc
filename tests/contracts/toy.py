"""A second exchange, in memory: the ports on the project's own matching, with nothing of Bybit between them."""

from __future__ import annotations

import asyncio

from bot.errors import Misconfigured
from bot.ports import (
    Account,
    Cause,
    Changed,
    Closed,
    Execution,
    Gap,
    Gone,
    KeyRights,
    OpenOrder,
    OrderState,
    PartialStop,
    Position,
    Refusal,
    Refused,
    StreamHealth,
    Traffic,
)
from bot.record import new_records
from bot.rollup import BAR
from services.simulated_bybit.checks import BybitRefusal
from services.simulated_bybit.records import FILLED, LIVE, PARTIAL_STOP, STOP_LOSS, Trade, VenueOrder

MISSING, SAME = (110001,), (34040, 110043)  # how the matching says that an order is gone, that nothing changes
FORCED = ("BustTrade", "AdlTrade", "Delivery")
REASONS = {
    110017: Refusal.NOTHING_TO_REDUCE,
    110094: Refusal.TOO_SMALL,
    110090: Refusal.TOO_LARGE,
    110007: Refusal.NO_MONEY,
    110059: Refusal.NOT_AMENDABLE,
}
WORDS = {
    "zero position": Refusal.NOTHING_TO_REDUCE,
    "StopLoss:": Refusal.TRIGGER_PASSED,
    "too large": Refusal.TOO_LARGE,
    "below minimum": Refusal.TOO_SMALL,
}


class ToyExchange:
    """One account at an exchange that answers at once; its only stream is called `all`."""

    def __init__(self, exchange):
        self.exchange, self.known, self.sink = exchange, {}, None
        self.symbols, self.heard, self.sent = [], 0, {}
        self.running, self.broken = asyncio.Event(), asyncio.Event()

    # Market data

    async def listing(self, symbols):
        return {one: self.exchange.instruments.get(one, "not listed here") for one in symbols}

    async def instruments(self, symbols):
        found = await self.listing(symbols)
        for symbol, one in found.items():
            if isinstance(one, str):
                raise Misconfigured(f"pairs has {symbol}, which cannot be traded: {one}; remove it.")
            self.know(one)
        return found

    def know(self, instrument):
        self.known[instrument.symbol] = instrument

    async def candles(self, symbol, since, until):
        candles = self.exchange.books[symbol].candles
        last = min(until, self.exchange.now)
        chosen = [index for index, ts in enumerate(candles.ts) if since <= ts < last]
        bars = new_records(BAR, len(chosen))
        for name in BAR.names:
            bars[name] = getattr(candles, name)[chosen]
        return bars

    async def newest(self, symbol):
        return self.exchange.now

    async def price(self, symbol):
        return self.exchange.books[symbol].here * float(self.known[symbol].tick_size)

    async def now(self):
        return self.exchange.now

    async def measure_clock(self):
        return 0

    # Trading

    def _ask(self, change, *arguments, **named):
        """Let the matching do it, and say in the ports' words what it refuses; True when nothing was to be done."""
        self.sent[change.__name__] = self.sent.get(change.__name__, 0) + 1
        try:
            change(*arguments, **named)
        except BybitRefusal as answer:
            if answer.code in MISSING:
                raise Gone(answer.message) from None
            if answer.code not in SAME and "not modified" not in answer.message:
                reason = next((why for word, why in WORDS.items() if word in answer.message), Refusal.OTHER)
                raise Refused(REASONS.get(answer.code, reason), answer.message) from None
            return True
        finally:
            self.tell()
        return False

    async def place(self, symbol, order):
        found = await self.find(symbol, order.client_order_id)
        if found is None:
            names = ("side", "kind", "price", "lots")
            given = {name: int(getattr(order, name)) for name in names}
            flags = {"reduce_only": order.reduce_only, "post_only": order.post_only, "stop": order.stop}
            self._ask(self.exchange.create, symbol, **given, **flags, client_order_id=order.client_order_id)
        elif found.state is not OrderState.RESTING:
            raise Gone(f"{order.client_order_id} has ended", found)

    async def amend(self, symbol, order):
        self._ask(self.exchange.amend, symbol, "", order.client_order_id, order.price, order.lots, order.stop)

    async def cancel(self, symbol, client_order_id):
        self._ask(self.exchange.cancel, symbol, "", client_order_id)

    async def find(self, symbol, client_order_id):
        found = self.exchange.client_order_ids.get(client_order_id)
        return None if found is None else open_order(found)

    async def open_orders(self, symbol):
        return [open_order(one) for one in self.exchange.live(symbol) if not one.stop_type]

    async def executions(self, symbol, since):
        return [execution(one) for one in self.exchange.trades if one.symbol == symbol and one.ts >= since]

    async def executions_of(self, symbol, client_order_id):
        return [one for one in await self.executions(symbol, 0) if one.client_order_id == client_order_id]

    def _rows(self, symbol, stop_type):
        return [one for one in self.exchange.books[symbol].live if one.stop_type == stop_type]

    async def set_stop(self, symbol, price):
        if price or self.exchange.books[symbol].position:
            self._ask(self.exchange.trading_stop, symbol, price, None)
        return price

    async def set_partial_stops(self, symbol, price, sizes):
        wanted = [(price, lots) for lots in sizes]
        if [(one.price, one.lots) for one in self._rows(symbol, PARTIAL_STOP)] != wanted:
            for one in self._rows(symbol, PARTIAL_STOP):
                self._ask(self.exchange.cancel, symbol, one.id, "")
            for lots in sizes:
                self._ask(self.exchange.add_partial_stop, symbol, price, lots)

    async def partial_stops(self, symbol):
        return [PartialStop(one.id, one.price, one.lots) for one in self._rows(symbol, PARTIAL_STOP)]

    # Account

    async def account(self):
        books = {one: self.exchange.books[one] for one in self.known}
        held = {one: book.position for one, book in books.items()}
        return Account(self.exchange.wallet, held, {one: float(book.pair.ledger.cost) for one, book in books.items()})

    async def transfers(self, since):
        return None

    async def position(self, symbol):
        book = self.exchange.books[symbol]
        stop = next((one.price for one in self._rows(symbol, STOP_LOSS)), 0)
        lots = book.position * float(book.instrument.lot_size)
        return Position(symbol, book.position, stop, float(book.pair.ledger.cost) / lots if lots else 0.0)

    async def open_positions(self):
        return [symbol for symbol, book in self.exchange.books.items() if book.position]

    async def open_names(self):
        return [one.client_order_id for one in self.exchange.live(None) if one.client_order_id]

    async def prepare(self, symbol, leverage):
        return not self._ask(self.exchange.set_leverage, symbol, leverage)

    async def key_rights(self):
        return KeyRights(trade=True, withdraw=False, transfer=False, bound=True)

    async def use_key(self, key, secret):
        del key, secret

    # Stream

    async def listen(self, symbols, sink):
        self.symbols, self.sink = symbols, sink
        while True:
            self.running.set()
            for symbol in symbols:
                sink(Gap(symbol))
            await self.broken.wait()
            self.broken.clear()
            await asyncio.sleep(0)

    async def listening(self):
        await self.running.wait()

    def health(self):
        return StreamHealth({"all": self.running.is_set()}, {"all": self.heard}, 0.0)

    def drop(self):
        """Break the stream: it is back at once, and has left a Gap."""
        self.running.clear()
        self.broken.set()

    def tell(self):
        """Tell what has happened since the last time."""
        events, self.exchange.events = self.exchange.events, []
        for event in [self._told(one) for one in events if one.symbol in self.symbols]:
            if event is not None and self.running.is_set():
                self.heard += 1
                self.sink(event)

    def _told(self, one):
        if isinstance(one, Trade):
            return execution(one)
        if isinstance(one, VenueOrder):
            return None if one.stop_type else Changed(one.symbol, open_order(one))
        candles = self.exchange.books[one.symbol].candles
        prices = (candles.open, candles.high, candles.low, candles.close, candles.volume)
        return Closed(one.symbol, int(candles.ts[one.index]), *(float(each[one.index]) for each in prices))

    # All of it

    def traffic(self):
        return Traffic({}, dict(self.sent))

    async def close(self):
        self.sink = None

    def play(self):
        """Let the market go on to the next thing that concerns a trader; False at a minute's end."""
        more = self.exchange.step()
        self.tell()
        return more


def open_order(one):
    ended = OrderState.FILLED if one.status == FILLED else OrderState.CANCELLED
    state = OrderState.RESTING if one.status in LIVE else ended
    sizes = (one.side, one.kind, one.price, one.lots, one.filled)
    return OpenOrder(one.client_order_id, *sizes, state, one.stop, one.reduce_only)


def execution(one):
    cause = Cause.STOP if one.stop_type else Cause.FORCED if one.kind in FORCED else Cause.ORDER
    if one.kind == "Funding":
        cause = Cause.FUNDING
    name = one.client_order_id if cause is Cause.ORDER else ""
    return Execution(one.id, one.symbol, name, one.side, one.price, one.lots, one.fee, one.maker, one.ts, cause)
