"""What each address of the venue answers: (server, query) to the `result` of Bybit's v5 interface, or `BybitRefusal`.

Orders, positions and executions are here; answers.py has the market and the account.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from bot.order import OrderKind, Side
from services.simulated_bybit import answers, codec
from services.simulated_bybit.answers import Served, page
from services.simulated_bybit.checks import BybitRefusal
from services.simulated_bybit.records import LIVE, Trade, VenueOrder

if TYPE_CHECKING:
    from services.simulated_bybit.book import Book

PAGE = 50


def _positions(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    """One symbol's row, flat too, or every position that is held in contracts of a coin."""
    exchange = server.exchange
    if query.get("symbol"):
        chosen = [exchange.book(query["symbol"])]
    elif query.get("settleCoin"):
        coin = query["settleCoin"]
        chosen = [one for name, one in exchange.books.items() if one.position and codec.coins(name)[1] == coin]
    else:
        raise BybitRefusal(10001, "params error: symbol or settleCoin is required")
    rows = [codec.position(book, index) for book in chosen for index in ((1, 2) if exchange.hedge else (0,))]
    return page(server, query, rows, 200)


def _realtime(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    exchange = server.exchange
    if _names_one(query):  # like Bybit: the latest state, also of what has just ended
        one = _named_one(server, query)
        return page(server, query, _orders(server, [one] if one is not None else []), PAGE)
    only = query.get("orderFilter") or ""
    found = [one for one in exchange.live(query.get("symbol")) if only in ("", one.filter)]
    return page(server, query, _orders(server, found), PAGE)


def _history(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    symbol = query.get("symbol")
    if _names_one(query):
        one = _named_one(server, query)
        found = [one] if one is not None and one.status not in LIVE else []
    else:
        found = [one for one in reversed(server.exchange.ended) if symbol in (None, one.symbol)]
    return page(server, query, _orders(server, found), PAGE)


def _executions(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    client_order_id, number = query.get("orderLinkId"), query.get("orderId")
    symbol, kind = query.get("symbol"), query.get("execType") or None
    start, end = int(query.get("startTime", 0)), int(query.get("endTime", 1 << 60))

    def wanted(one: Trade) -> bool:
        if number:  # an order's name overrides every other filter
            return one.order == number
        if client_order_id:
            return one.client_order_id == client_order_id
        return symbol in (None, one.symbol) and kind in (None, one.kind) and start <= one.ts <= end

    found = [
        codec.execution(one, server.exchange.books[one.symbol], server.category)
        for one in reversed(server.exchange.trades)
        if wanted(one)
    ]
    return page(server, query, found, 100)


def _names_one(query: dict[str, Any]) -> bool:
    return bool(query.get("orderId") or query.get("orderLinkId"))


def _named_one(server: Served, query: dict[str, Any]) -> VenueOrder | None:
    """The order that a query names, whatever else it says; the venue's own id goes first."""
    if query.get("orderId"):
        return server.exchange.known.get(query["orderId"])
    return server.exchange.client_order_ids.get(query["orderLinkId"])


def _orders(server: Served, orders: list[VenueOrder]) -> list[dict[str, Any]]:
    return [codec.order(one, server.exchange.books[one.symbol], server.category) for one in orders]


def _named(order: VenueOrder) -> dict[str, Any]:
    return {"orderId": order.id, "orderLinkId": order.client_order_id}


def _create(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    book = server.exchange.book(query.get("symbol", ""))
    if query.get("side") not in ("Buy", "Sell"):
        raise BybitRefusal(10001, "params error: side invalid")
    if query.get("orderType") not in ("Limit", "Market"):
        raise BybitRefusal(10001, "params error: orderType invalid")
    client_order_id = str(query.get("orderLinkId", ""))
    if len(client_order_id) > 36:
        raise BybitRefusal(10001, "params error: orderLinkId is longer than 36")
    if query.get("positionIdx", 0) not in (0, "0"):
        raise BybitRefusal(10001, "position idx not match position mode")
    trigger = query.get("triggerPrice")
    kind = OrderKind.STOP if trigger else OrderKind.LIMIT if query["orderType"] == "Limit" else OrderKind.MARKET
    price = 0 if kind == OrderKind.MARKET else _ticks(server, book, trigger or query.get("price"))
    order = server.exchange.create(
        *(book.instrument.symbol, Side.BUY if query["side"] == "Buy" else Side.SELL, kind, price),
        _lots(server, book, query.get("qty")),
        client_order_id=client_order_id,
        reduce_only=query.get("reduceOnly") in (True, "true"),
        post_only=query.get("timeInForce") == "PostOnly",
        stop=_attached(server, book, query) or 0,
        stop_by=query.get("slTriggerBy") or "LastPrice",
    )
    return _named(order)


def _attached(server: Served, book: Book, query: dict[str, Any]) -> int | None:
    """The stop that an order brings for its position, ticks; 0 takes it away, None says nothing of it."""
    if query.get("takeProfit") not in (None, "", "0"):
        raise BybitRefusal(10001, "this venue takes no takeProfit with an order")
    if query.get("stopLoss") in (None, ""):
        return None
    if server.category != "linear":
        raise BybitRefusal(10001, "this venue takes no stopLoss with a spot order")
    _refuse_other_modes(query)
    return _ticks(server, book, query["stopLoss"])


def _refuse_other_modes(query: dict[str, Any]) -> None:
    """Orders and the position's one stop have tpslMode Full alone: market stops of the whole position."""
    if query.get("tpslMode") not in (None, "", "Full"):
        raise BybitRefusal(10001, "this venue has tpslMode Full only")
    if query.get("slOrderType") not in (None, "", "Market"):
        raise BybitRefusal(10001, "slOrderType only support Market when tpSlMode is Full")


def _batch(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    rows = []
    for one in query.get("request", []):
        try:
            rows.append({**_create(server, one), "code": 0, "msg": "OK"})
        except BybitRefusal as refused:
            rows.append({"orderLinkId": one.get("orderLinkId", ""), "code": refused.code, "msg": refused.message})
    return {"list": rows}


def _amend(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    book = server.exchange.book(query.get("symbol", ""))
    price, lots = query.get("triggerPrice") or query.get("price"), query.get("qty")
    order = server.exchange.amend(
        *(book.instrument.symbol, query.get("orderId", ""), query.get("orderLinkId", "")),
        _ticks(server, book, price) if price else None,
        _lots(server, book, lots) if lots else None,
        _attached(server, book, query),
    )
    return _named(order)


def _cancel(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    symbol = query.get("symbol", "")
    return _named(server.exchange.cancel(symbol, query.get("orderId", ""), query.get("orderLinkId", "")))


def _cancel_all(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    only, stop_type = query.get("orderFilter") or "", query.get("stopOrderType") or ""
    return {"list": [_named(one) for one in server.exchange.cancel_all(query.get("symbol"), only, stop_type)]}


def _leverage(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    server.exchange.set_leverage(query.get("symbol", ""), float(query.get("buyLeverage", 0)))
    return {}


def _mode(_server: Served, query: dict[str, Any]) -> dict[str, Any]:
    if int(query.get("mode", 0)) == 0:
        raise BybitRefusal(110025, "Position mode is not modified")
    raise BybitRefusal(110027, "this venue has one-way mode only")


def _trading_stop(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    """A stop and a target for the whole position; each given one replaces the one before, zero takes it away.

    In mode Partial: another stop, of a part of it.
    """
    book = server.exchange.book(query.get("symbol", ""))
    if not query.get("tpslMode"):
        raise BybitRefusal(10001, "params error: tpslMode is required")
    if query.get("positionIdx") not in (0, "0"):
        raise BybitRefusal(10001, "position idx not match position mode")
    if query.get("trailingStop") not in (None, "", "0"):
        raise BybitRefusal(10001, "this venue has no trailing stops")
    if query["tpslMode"] == "Partial":
        return _partial_stop(server, book, query)
    _refuse_other_modes(query)
    stop, target = (
        None if query.get(name) in (None, "") else _ticks(server, book, query[name])
        for name in ("stopLoss", "takeProfit")
    )
    server.exchange.trading_stop(book.instrument.symbol, stop, target)
    return {}


def _partial_stop(server: Served, book: Book, query: dict[str, Any]) -> dict[str, Any]:
    if query.get("takeProfit") not in (None, "", "0") or query.get("slOrderType") not in (None, "", "Market"):
        raise BybitRefusal(10001, "this venue has partial stops at the market only")
    if not query.get("stopLoss") or not query.get("slSize"):
        raise BybitRefusal(10001, "slSize and stopLoss need to input in pairs when tpslMode is Partial")
    stop, lots = _ticks(server, book, query["stopLoss"]), _lots(server, book, query["slSize"])
    server.exchange.add_partial_stop(book.instrument.symbol, stop, lots)
    return {}


def _ticks(server: Served, book: Book, price: Any) -> int:
    """Whole ticks of the book; the price has to be on the grid that is listed now."""
    step = server.exchange.instruments[book.instrument.symbol].tick_size
    wrong = BybitRefusal(110003, "Order price is no multiple of the tick size.")
    return _whole(price, step, book.instrument.tick_size, wrong)


def _lots(server: Served, book: Book, quantity: Any) -> int:
    step = server.exchange.instruments[book.instrument.symbol].lot_size
    return _whole(quantity, step, book.instrument.lot_size, BybitRefusal(10001, "Qty invalid: no multiple of the step"))


def _whole(text: Any, step: Decimal, unit: Decimal, wrong: BybitRefusal) -> int:
    """How many units a number is, which has to be a multiple of the step."""
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        raise BybitRefusal(10001, "params error: no number") from None
    if value % step:
        raise wrong
    return int(value / unit)


ROUTES: dict[tuple[str, str], Any] = {
    ("GET", "market/time"): answers.time,
    ("GET", "market/instruments-info"): answers.instruments,
    ("GET", "market/risk-limit"): answers.risk_limit,
    ("GET", "market/kline"): answers.kline,
    ("GET", "market/recent-trade"): answers.recent_trades,
    ("GET", "market/tickers"): answers.tickers,
    ("GET", "market/orderbook"): answers.orderbook,
    ("GET", "market/funding/history"): answers.funding,
    ("GET", "account/wallet-balance"): answers.wallet,
    ("GET", "account/transaction-log"): answers.transactions,
    ("GET", "account/info"): answers.account,
    ("GET", "account/fee-rate"): answers.fees,
    ("GET", "user/query-api"): answers.key,
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
