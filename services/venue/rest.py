"""What each address of the venue answers: (server, query) to the `result` of Bybit's v5 interface, or `Answer`."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from bot.order import OrderKind, Side
from services.venue import words
from services.venue.book import CANCELLED, VenueOrder
from services.venue.exchange import Answer

if TYPE_CHECKING:
    from services.venue.book import Book
    from services.venue.server import VenueServer

PAGE = 50


def _time(server: VenueServer, _query: dict[str, Any]) -> dict[str, Any]:
    wall = server.wall()
    return {"timeSecond": str(wall // 1000), "timeNano": str(wall * 1_000_000)}


def _instruments(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    known = [
        one for symbol, one in sorted(server.exchange.instruments.items()) if query.get("symbol", symbol) == symbol
    ]
    if query.get("category") != server.category:
        known = []
    return _page(server, query, [words.instrument(one, one.symbol not in server.exchange.closed) for one in known], 500)


def _kline(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    book, exchange = server.exchange.book(query.get("symbol", "")), server.exchange
    candles = book.candles
    if query.get("interval") != str(candles.bar_ms // 60_000):
        raise Answer(10001, f"this venue has bars of {candles.bar_ms // 60_000} minutes")
    limit = min(int(query.get("limit", 200)), 1000)
    last = int(candles.ts.searchsorted(exchange.now - candles.bar_ms, side="right"))
    if "end" in query:
        last = min(last, int(candles.ts.searchsorted(int(query["end"]), side="right")))
    first = max(last - limit, 0)
    if "start" in query:
        first = max(first, int(candles.ts.searchsorted(int(query["start"]))))
    rows = [words.candle(book, index) for index in range(last - 1, first - 1, -1)]
    if int(query.get("start", 0)) <= exchange.now <= int(query.get("end", exchange.now)):
        rows = [words.forming(book, exchange.now), *rows][:limit]
    return {"category": server.category, "symbol": book.instrument.symbol, "list": rows}


def _tickers(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    books = server.exchange.books
    chosen = [server.exchange.book(query["symbol"])] if "symbol" in query else list(books.values())
    return {"category": server.category, "list": [words.ticker(book) for book in chosen]}


def _orderbook(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    book = server.exchange.book(query.get("symbol", ""))
    now = words.ticker(book)
    return {
        "s": book.instrument.symbol,
        "b": [[now["bid1Price"], "1"]],
        "a": [[now["ask1Price"], "1"]],
        "ts": server.exchange.now,
        "u": server.exchange.at,
        "seq": server.exchange.at,
        "cts": server.exchange.now,
    }


def _funding(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    book = server.exchange.book(query.get("symbol", ""))
    last = server.exchange.now // 28_800_000 * 28_800_000
    rate = words.number(float(book.settings[0].funding_rate))
    rows = [
        {"symbol": book.instrument.symbol, "fundingRate": rate, "fundingRateTimestamp": str(last - k * 28_800_000)}
        for k in range(min(int(query.get("limit", 200)), 200))
    ]
    return {"category": server.category, "list": rows}


def _wallet(server: VenueServer, _query: dict[str, Any]) -> dict[str, Any]:
    return {"list": [words.wallet(server.exchange)]}


def _account(_server: VenueServer, _query: dict[str, Any]) -> dict[str, Any]:
    return {
        "marginMode": "REGULAR_MARGIN",
        "unifiedMarginStatus": 5,
        "dcpStatus": "OFF",
        "timeWindow": 0,
        "smpGroup": 0,
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
        "updatedTime": "0",
    }


def _key(server: VenueServer, _query: dict[str, Any]) -> dict[str, Any]:
    key = next(iter(server.keys.values()))
    rights = ["Order", "Position"] if key.may_trade else []
    return {
        "readOnly": 0 if key.may_trade else 1,
        "ips": list(key.addresses) or ["*"],
        "uta": 1,
        "type": 1,
        "permissions": {"ContractTrade": rights, "Spot": ["SpotTrade"] if key.may_trade else []},
    }


def _fees(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    chosen = [server.exchange.book(query["symbol"])] if "symbol" in query else list(server.exchange.books.values())
    rows = [
        {
            "symbol": book.instrument.symbol,
            "makerFeeRate": words.plain(book.instrument.maker_fee),
            "takerFeeRate": words.plain(book.instrument.taker_fee),
        }
        for book in chosen
    ]
    return {"list": rows}


def _positions(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    exchange = server.exchange
    held = [book for book in exchange.books.values() if book.position]
    chosen = [exchange.book(query["symbol"])] if "symbol" in query else held
    rows = [words.position(book, index) for book in chosen for index in ((1, 2) if exchange.hedge else (0,))]
    return _page(server, query, rows, 200)


def _realtime(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    exchange, symbol = server.exchange, query.get("symbol")
    found = exchange.live(symbol)
    if "orderId" in query or "orderLinkId" in query:  # like Bybit: the latest state, also of what has just ended
        one = exchange.known.get(query.get("orderId", "")) or exchange.links.get(query.get("orderLinkId", ""))
        found = [one] if one is not None else []
    return _page(server, query, _orders(server, found), PAGE)


def _history(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    symbol, link, number = query.get("symbol"), query.get("orderLinkId"), query.get("orderId")
    found = [
        one
        for one in reversed(server.exchange.ended)
        if symbol in (None, one.symbol) and link in (None, one.link) and number in (None, one.id)
    ]
    return _page(server, query, _orders(server, found), PAGE)


def _executions(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    symbol, link, number = query.get("symbol"), query.get("orderLinkId"), query.get("orderId")
    start, end = int(query.get("startTime", 0)), int(query.get("endTime", 1 << 60))
    found = [
        words.execution(one, server.exchange.books[one.symbol], server.category)
        for one in reversed(server.exchange.trades)
        if symbol in (None, one.symbol)
        and link in (None, one.link)
        and number in (None, one.order)
        and start <= one.ts <= end
    ]
    return _page(server, query, found, 100)


def _page(server: VenueServer, query: dict[str, Any], rows: list[Any], most: int) -> dict[str, Any]:
    """A page of a list, newest first, with the cursor of the next."""
    limit, first = min(int(query.get("limit", min(20, most))), most), int(query.get("cursor") or 0)
    cursor = str(first + limit) if first + limit < len(rows) else ""
    return {"category": server.category, "list": rows[first : first + limit], "nextPageCursor": cursor}


def _orders(server: VenueServer, orders: list[VenueOrder]) -> list[dict[str, Any]]:
    return [words.order(one, server.exchange.books[one.symbol], server.category) for one in orders]


def _named(order: VenueOrder) -> dict[str, Any]:
    return {"orderId": order.id, "orderLinkId": order.link}


def _create(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    book = server.exchange.book(query.get("symbol", ""))
    if query.get("side") not in ("Buy", "Sell"):
        raise Answer(10001, "params error: side invalid")
    if query.get("orderType") not in ("Limit", "Market"):
        raise Answer(10001, "params error: orderType invalid")
    link = str(query.get("orderLinkId", ""))
    if len(link) > 36:
        raise Answer(10001, "params error: orderLinkId is longer than 36")
    if query.get("positionIdx", 0) not in (0, "0"):
        raise Answer(10001, "position idx not match position mode")
    trigger = query.get("triggerPrice")
    kind = OrderKind.STOP if trigger else OrderKind.LIMIT if query["orderType"] == "Limit" else OrderKind.MARKET
    price = 0 if kind == OrderKind.MARKET else _ticks(server, book, trigger or query.get("price"))
    order = server.exchange.create(
        *(book.instrument.symbol, Side.BUY if query["side"] == "Buy" else Side.SELL, kind, price),
        _lots(server, book, query.get("qty")),
        link=link,
        reduce_only=query.get("reduceOnly") in (True, "true"),
        post_only=query.get("timeInForce") == "PostOnly",
    )
    return _named(order)


def _batch(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    rows = []
    for one in query.get("request", []):
        try:
            rows.append({**_create(server, one), "code": 0, "msg": "OK"})
        except Answer as refused:
            rows.append({"orderLinkId": one.get("orderLinkId", ""), "code": refused.code, "msg": refused.message})
    return {"list": rows}


def _amend(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    book = server.exchange.book(query.get("symbol", ""))
    price, lots = query.get("triggerPrice") or query.get("price"), query.get("qty")
    order = server.exchange.amend(
        *(book.instrument.symbol, query.get("orderId", ""), query.get("orderLinkId", "")),
        _ticks(server, book, price) if price else None,
        _lots(server, book, lots) if lots else None,
    )
    return _named(order)


def _cancel(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    symbol = query.get("symbol", "")
    return _named(server.exchange.cancel(symbol, query.get("orderId", ""), query.get("orderLinkId", "")))


def _cancel_all(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    return {"list": [_named(one) for one in server.exchange.cancel_all(query.get("symbol"))]}


def _leverage(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    server.exchange.set_leverage(query.get("symbol", ""), float(query.get("buyLeverage", 0)))
    return {}


def _mode(_server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    if int(query.get("mode", 0)) == 0:
        raise Answer(110025, "Position mode is not modified")
    raise Answer(110027, "this venue has one-way mode only")


def _trading_stop(server: VenueServer, query: dict[str, Any]) -> dict[str, Any]:
    """A stop and a target for the whole position; each given one replaces the one before, zero takes it away.

    The target rests as a limit, which is where its trigger would fill.
    """
    book = server.exchange.book(query.get("symbol", ""))
    if book.position == 0:
        raise Answer(10001, "can not set tp/sl/ts for zero position")
    way = Side.BUY if book.position > 0 else Side.SELL
    for name, kind, beyond in (("stopLoss", OrderKind.STOP, -way), ("takeProfit", OrderKind.LIMIT, way)):
        price = query.get(name)
        if price is None or price == "":
            continue
        ticks = _ticks(server, book, price)
        if ticks and (ticks - book.here) * beyond <= 0:
            raise Answer(10001, f"{name} for this position should be on the other side of the base price")
        for one in [each for each in book.live if each.kind == kind and not each.link and each.reduce_only]:
            book.remove(one, CANCELLED, "EC_PerCancelRequest")
        if ticks:
            server.exchange.create(
                *(book.instrument.symbol, -way, kind, ticks, abs(book.position)),
                link="",
                reduce_only=True,
                post_only=False,
            )
    return {}


def _ticks(server: VenueServer, book: Book, price: Any) -> int:
    """Whole ticks of the book; the price has to be on the grid that is listed now."""
    step = server.exchange.instruments[book.instrument.symbol].tick_size
    wrong = Answer(110003, "Order price is no multiple of the tick size.")
    return _whole(price, step, book.instrument.tick_size, wrong)


def _lots(server: VenueServer, book: Book, quantity: Any) -> int:
    step = server.exchange.instruments[book.instrument.symbol].lot_size
    return _whole(quantity, step, book.instrument.lot_size, Answer(10001, "Qty invalid: no multiple of the step"))


def _whole(text: Any, step: Decimal, unit: Decimal, wrong: Answer) -> int:
    """How many units a number is, which has to be a multiple of the step."""
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        raise Answer(10001, "params error: no number") from None
    if value % step:
        raise wrong
    return int(value / unit)


ROUTES: dict[tuple[str, str], Any] = {
    ("GET", "market/time"): _time,
    ("GET", "market/instruments-info"): _instruments,
    ("GET", "market/kline"): _kline,
    ("GET", "market/tickers"): _tickers,
    ("GET", "market/orderbook"): _orderbook,
    ("GET", "market/funding/history"): _funding,
    ("GET", "account/wallet-balance"): _wallet,
    ("GET", "account/info"): _account,
    ("GET", "account/fee-rate"): _fees,
    ("GET", "user/query-api"): _key,
    ("GET", "position/list"): _positions,
    ("GET", "order/realtime"): _realtime,
    ("GET", "order/history"): _history,
    ("GET", "execution/list"): _executions,
    ("POST", "order/create"): _create,
    ("POST", "order/create-batch"): _batch,
    ("POST", "order/amend"): _amend,
    ("POST", "order/cancel"): _cancel,
    ("POST", "order/cancel-all"): _cancel_all,
    ("POST", "position/set-leverage"): _leverage,
    ("POST", "position/switch-mode"): _mode,
    ("POST", "position/trading-stop"): _trading_stop,
}
