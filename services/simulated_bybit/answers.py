"""What the venue answers about its market and the account: (server, query) to a `result`, or `BybitRefusal`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from backtesting.funding import SPAN_MS
from bot.times import DAY, MINUTE
from services.simulated_bybit import codec
from services.simulated_bybit.checks import BybitRefusal
from services.simulated_market.public_trades import OF_A_BAR, trades_of

if TYPE_CHECKING:
    from services.simulated_bybit.exchange import Exchange
    from services.simulated_bybit.records import Key


RECENT_TRADES = {"spot": 60, "linear": 1000}  # at most, by category


class Served(Protocol):
    """What an answer is made from: the account with its market, its category, its keys and the server's clock."""

    exchange: Exchange
    category: str
    keys: dict[str, Key]
    asking: Key  # whose request is answered

    def wall(self) -> int:
        """The time that the server's clock shows, ms."""
        ...


def time(server: Served, _query: dict[str, Any]) -> dict[str, Any]:
    """Answer with the time of the server."""
    wall = server.wall()
    return {"timeSecond": str(wall // 1000), "timeNano": str(wall * 1_000_000)}


def instruments(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    """Answer with the instruments."""
    known = [
        one for symbol, one in sorted(server.exchange.instruments.items()) if query.get("symbol", symbol) == symbol
    ]
    if query.get("category") != server.category:
        known = []
    rows = [codec.instrument(one, one.symbol not in server.exchange.closed) for one in known]
    if server.category == "spot":  # which has one page
        return {"category": server.category, "list": rows, "nextPageCursor": ""}
    return page(server, {"limit": 500, **query}, rows, 1000)


def risk_limit(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    """Answer with the risk tiers of one symbol, or of every one."""
    known = server.exchange.instruments
    chosen = [known[server.exchange.book(query["symbol"]).instrument.symbol]] if "symbol" in query else known.values()
    return page(server, query, [tier for one in chosen for tier in codec.risk_tiers(one)], 500)


def recent_trades(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    """Answer with the newest trades of others, newest first; what was before them is not told."""
    book, exchange = server.exchange.book(query.get("symbol", "")), server.exchange
    most = RECENT_TRADES[server.category]
    limit = min(int(query.get("limit", most)), most)
    last = int(book.candles.ts.searchsorted(exchange.now - book.candles.bar_ms, side="right"))
    found = [
        one for index in range(max(last - limit // OF_A_BAR - 1, 0), last) for one in trades_of(book.candles, index)
    ]
    rows = [codec.recent_trade(book, one) for one in found[-limit:][::-1]]
    return {"category": server.category, "list": rows}


def kline(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    """Answer with candles, newest first; the newest one still forms."""
    book, exchange = server.exchange.book(query.get("symbol", "")), server.exchange
    candles = book.candles
    if query.get("interval") != str(candles.bar_ms // MINUTE):
        raise BybitRefusal(10001, f"this venue has bars of {candles.bar_ms // MINUTE} minutes")
    limit = min(int(query.get("limit", 200)), 1000)
    last = int(candles.ts.searchsorted(exchange.now - candles.bar_ms, side="right"))
    if "end" in query:
        last = min(last, int(candles.ts.searchsorted(int(query["end"]), side="right")))
    first = max(last - limit, 0)
    if "start" in query:
        first = max(first, int(candles.ts.searchsorted(int(query["start"]))))
    rows = [codec.candle(book, index) for index in range(last - 1, first - 1, -1)]
    if int(query.get("start", 0)) <= exchange.now <= int(query.get("end", exchange.now)):
        rows = [codec.forming(book, exchange.now), *rows][:limit]
    return {"category": server.category, "symbol": book.instrument.symbol, "list": rows}


def tickers(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    """Answer with what symbols are traded at."""
    books = server.exchange.books
    chosen = [server.exchange.book(query["symbol"])] if "symbol" in query else list(books.values())
    now = server.exchange.now
    rows = [codec.ticker(book) | {"turnover24h": codec.number(book.turnover(now - DAY, now))} for book in chosen]
    return {"category": server.category, "list": rows}


def orderbook(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    """Answer with the best bid and ask."""
    book = server.exchange.book(query.get("symbol", ""))
    now = codec.ticker(book)
    return {
        "s": book.instrument.symbol,
        "b": [[now["bid1Price"], "1"]],
        "a": [[now["ask1Price"], "1"]],
        "ts": server.exchange.now,
        "u": server.exchange.at,
        "seq": server.exchange.at,
        "cts": server.exchange.now,
    }


def funding(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    """Answer with the rates of funding of a span of time, newest first."""
    book = server.exchange.book(query.get("symbol", ""))
    limit = min(int(query.get("limit", 200)), 200)
    last = min(int(query.get("endTime", server.exchange.now)), server.exchange.now)
    first = int(query.get("startTime", last - limit * SPAN_MS))
    rows = [
        {"symbol": book.instrument.symbol, "fundingRate": codec.number(rate), "fundingRateTimestamp": str(ts)}
        for ts, rate in book.settled(first - 1, last)[:limit]
    ]
    return {"category": server.category, "list": rows}


def wallet(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    """Answer with the balances; a classic account has no unified wallet, and a unified one no other."""
    wanted = query.get("accountType", "UNIFIED")
    if wanted == "UNIFIED" and not server.exchange.unified:
        raise BybitRefusal(10028, "The API can only be accessed by unified account users.")
    if wanted != ("UNIFIED" if server.exchange.unified else "CONTRACT"):
        raise BybitRefusal(10001, "accountType only support UNIFIED.")
    asked = tuple(one for one in query.get("coin", "").split(",") if one)
    return {"list": [codec.wallet(server.exchange, asked)]}


def transactions(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    """Answer with the log of what moved the money, newest first; by the market's clock, the last day if not told."""
    if not server.exchange.unified:
        raise BybitRefusal(10028, "The API can only be accessed by unified account users.")
    if query.get("accountType", "UNIFIED") != "UNIFIED":
        raise BybitRefusal(10001, "accountType only support UNIFIED.")
    start, end = _window(server, query)
    found = []
    for one in reversed(server.exchange.log):
        book = server.exchange.books[one.trade.symbol] if one.trade is not None else None
        row = codec.log_row(one, book, server.category)
        wanted = all(query.get(name) in (None, "", row[name]) for name in ("category", "currency", "type"))
        if wanted and start <= one.ts <= end:
            found.append(row)
    return page(server, query, found, 50)


def _window(server: Served, query: dict[str, Any]) -> tuple[int, int]:
    start, end = query.get("startTime"), query.get("endTime")
    if start is None:
        last = server.exchange.now if end is None else int(end)
        return last - DAY, last
    first = int(start)
    last = first + DAY if end is None else int(end)
    if last - first > 7 * DAY:
        raise BybitRefusal(10001, "The time range between startTime and endTime cannot exceed 7 days.")
    return first, last


def account(server: Served, _query: dict[str, Any]) -> dict[str, Any]:
    """Answer with what kind of account it is."""
    return {
        "marginMode": "REGULAR_MARGIN",
        "unifiedMarginStatus": 5 if server.exchange.unified else 1,
        "dcpStatus": "OFF",
        "timeWindow": 0,
        "smpGroup": 0,
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
        "updatedTime": "0",
    }


def key(server: Served, _query: dict[str, Any]) -> dict[str, Any]:
    """Answer with what the key may do."""
    key = server.asking
    rights = ["Order", "Position"] if key.may_trade else []
    wallet = ["AccountTransfer", "SubMemberTransfer"] * key.may_transfer + ["Withdraw"] * key.may_withdraw
    return {
        "userID": key.account,
        "readOnly": 0 if key.may_trade or wallet else 1,
        "ips": list(key.addresses) or ["*"],
        "uta": 1 if server.exchange.unified else 0,
        "type": 1,
        "permissions": {"ContractTrade": rights, "Spot": ["SpotTrade"] if key.may_trade else [], "Wallet": wallet},
        **({} if key.expires is None else _expiry(key.expires, server.wall())),
    }


def _expiry(at: int, now: int) -> dict[str, Any]:
    """Say until when a key works, ms, and for how many days."""
    written = datetime.fromtimestamp(at / 1000.0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"deadlineDay": max(at - now, 0) // DAY, "expiredAt": written}


def fees(server: Served, query: dict[str, Any]) -> dict[str, Any]:
    """Answer with the fees."""
    chosen = [server.exchange.book(query["symbol"])] if "symbol" in query else list(server.exchange.books.values())
    rows = [
        {
            "symbol": book.instrument.symbol,
            "makerFeeRate": codec.plain(book.instrument.maker_fee),
            "takerFeeRate": codec.plain(book.instrument.taker_fee),
        }
        for book in chosen
    ]
    return {"list": rows}


def page(server: Served, query: dict[str, Any], rows: list[Any], most: int) -> dict[str, Any]:
    """A page of a list, newest first, with the cursor of the next."""
    limit, first = min(int(query.get("limit", min(20, most))), most), int(query.get("cursor") or 0)
    cursor = str(first + limit) if first + limit < len(rows) else ""
    return {"category": server.category, "list": rows[first : first + limit], "nextPageCursor": cursor}
