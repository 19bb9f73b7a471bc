"""A market in the shapes of Binance's public interface, spot or futures: stock clients need only its address.

The market stands still until `advance`. There is no account: nothing can be traded here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from bot.instrument import Market
from services.simulated_binance import codec
from services.simulated_market.public_trades import trades_between, trades_of
from services.simulated_market.source import MarketSource
from services.simulated_market.told import BarTeller

MOST_BARS = {Market.SPOT: 1000, Market.LINEAR: 1500}
MOST_SETTLEMENTS = 1000
MOST_TRADES = 1000


class BinanceRefusal(Exception):
    """The exchange answers with a code of Binance's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(eq=False)
class KlineSubscriber:
    """One WebSocket and the streams that it listens to."""

    socket: web.WebSocketResponse
    transport: Any
    streams: set[str] = field(default_factory=set)


class BinanceServer:
    """Routes and sockets around a market."""

    def __init__(self, source: MarketSource, market: Market, teller: BarTeller | None = None) -> None:
        self.source, self.market, self.teller = source, market, teller or BarTeller()
        self.trade_teller = BarTeller()  # of its public trades
        self.maintenance = False
        self.asked: list[tuple[str, dict[str, str]]] = []  # questions that were answered
        self.subscribers: list[KlineSubscriber] = []
        self.sent = 0
        self._runner: web.AppRunner | None = None

    @property
    def prefix(self) -> str:
        """Where its REST interface begins."""
        return "/api/v3" if self.market is Market.SPOT else "/fapi/v1"

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> int:
        """Open the door; returns the port."""
        app = web.Application()
        app.router.add_get(self.prefix + "/{path:.+}", self._rest)
        # ccxt tells spot from contracts by the address of the stream, which has `stream` in it for spot.
        app.router.add_get("/stream/ws/{name}" if self.market is Market.SPOT else "/market/ws/{name}", self._listen)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close everything."""
        for one in list(self.subscribers):
            await one.socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def drop(self) -> None:
        """Break every line, without a farewell."""
        for one in list(self.subscribers):
            one.transport.abort()

    async def advance(self) -> None:
        """Close a minute, and tell who listens."""
        told, late = self.teller.next_minute(), self.trade_teller.next_minute()
        for symbol, message in late:
            await self._tell(f"{symbol.lower()}@aggTrade", message)
        for symbol, index in self.source.step():
            for one in trades_of(self.source.candles[symbol], index):
                message = codec.trade_event(symbol, one, self.source.now)
                for each in self.trade_teller.tell(symbol, message, message):
                    await self._tell(f"{symbol.lower()}@aggTrade", each)
            row = codec.candle(self.source.candles[symbol], index)
            before = [*row[:5], codec.number(float(row[5]) / 2), *row[6:]]
            bars = (codec.kline(symbol, one, self.source.now) for one in (row, before))
            told += [(symbol, one) for one in self.teller.tell(symbol, *bars)]
        for symbol, message in told:
            await self._tell(f"{symbol.lower()}@kline_1m", message)

    async def pulse(self) -> None:
        """Tell of every bar that is forming how it stands, as the exchange does several times a minute."""
        for symbol, candles in self.source.candles.items():
            row = codec.forming(candles, self.source.now)
            message = codec.kline(symbol, row, self.source.now, closed=False)
            await self._tell(f"{symbol.lower()}@kline_1m", message)

    async def _tell(self, stream: str, message: dict[str, Any]) -> None:
        for one in list(self.subscribers):
            if stream not in one.streams:
                continue
            try:
                await one.socket.send_json(message)
            except ConnectionError:  # the client is gone; it will ask for what it missed
                continue
            self.sent += stream.endswith("@kline_1m")

    # REST

    async def _rest(self, request: web.Request) -> web.Response:
        path, query = request.match_info["path"], dict(request.query)
        if self.maintenance:
            return web.Response(status=503, text="<html>Service Unavailable</html>")
        answers = {
            "ping": lambda _: {},
            "time": lambda _: {"serverTime": self.source.now},
            "exchangeInfo": self._exchange_info,
            "klines": self._klines,
            "aggTrades": self._trades,
            "ticker/24hr": self._tickers,
        }
        if self.market is Market.LINEAR:
            answers["fundingRate"] = self._funding
        if path not in answers:
            return web.Response(status=404)
        self.asked.append((path, query))
        try:
            return web.json_response(answers[path](query))
        except BinanceRefusal as refused:
            return web.json_response({"code": refused.code, "msg": refused.message}, status=400)

    def _symbol(self, query: dict[str, str]) -> str:
        if query.get("symbol") not in self.source.instruments:
            raise BinanceRefusal(-1121, "Invalid symbol.")
        return query["symbol"]

    def _exchange_info(self, _query: dict[str, str]) -> dict[str, Any]:
        listed = sorted(self.source.instruments.items())
        rows = [codec.instrument(one, symbol not in self.source.closed) for symbol, one in listed]
        return {"timezone": "UTC", "serverTime": self.source.now, "rateLimits": [], "symbols": rows}

    def _klines(self, query: dict[str, str]) -> list[Any]:
        symbol, now = self._symbol(query), self.source.now
        if query.get("interval") != "1m":
            raise BinanceRefusal(-1120, "Invalid interval.")
        limit = min(int(query.get("limit", 500)), MOST_BARS[self.market])
        start, end = int(query["startTime"]) if "startTime" in query else None, int(query.get("endTime", now))
        candles = self.source.candles[symbol]
        rows = [codec.candle(candles, index) for index in self.source.closed_bars(symbol, start, end, limit)]
        if symbol not in self.source.closed and (start or 0) <= now <= end:
            rows = (
                [*rows, codec.forming(candles, now)][:limit]
                if start is not None
                else [*rows, codec.forming(candles, now)][-limit:]
            )
        return rows

    def _trades(self, query: dict[str, str]) -> list[dict[str, Any]]:
        symbol, now = self._symbol(query), self.source.now
        start, end = int(query.get("startTime", 0)), int(query.get("endTime", now))
        limit = min(int(query.get("limit", 500)), MOST_TRADES)
        bars = self.source.closed_bars(symbol, start - self.source.bar_ms, end, len(self.source.clock))
        found = trades_between(self.source.candles[symbol], bars, start, limit)
        return [codec.aggregate_trade(one) for one in found if one.ts <= end]

    def _tickers(self, query: dict[str, str]) -> Any:
        named = json.loads(query["symbols"]) if "symbols" in query else None
        symbols = [self._symbol(query)] if "symbol" in query else (named or sorted(self.source.instruments))
        return [self._ticker(symbol) for symbol in symbols] if "symbol" not in query else self._ticker(symbols[0])

    def _ticker(self, symbol: str) -> dict[str, Any]:
        now, candles = self.source.now, self.source.candles[symbol]
        price = candles.close[max(int(candles.ts.searchsorted(now)) - 1, 0)]
        return codec.ticker(symbol, price, self.source.turnover(symbol), now)

    def _funding(self, query: dict[str, str]) -> list[dict[str, Any]]:
        symbol, now = self._symbol(query), self.source.now
        limit = min(int(query.get("limit", 100)), MOST_SETTLEMENTS)
        rows = self.source.settled(symbol, int(query.get("startTime", 0)), int(query.get("endTime", now)))
        chosen = rows[:limit] if "startTime" in query else rows[-limit:]
        return [{"symbol": symbol, "fundingTime": ts, "fundingRate": codec.number(rate)} for ts, rate in chosen]

    # Streams

    async def _listen(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        one = KlineSubscriber(socket, request.transport)
        self.subscribers.append(one)
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                said = json.loads(message.data)
                if said.get("method") == "SUBSCRIBE":
                    one.streams.update(said["params"])
                elif said.get("method") == "UNSUBSCRIBE":
                    one.streams.difference_update(said["params"])
                await socket.send_json({"result": None, "id": said.get("id")})
        finally:
            self.subscribers.remove(one)
        return socket
