"""The venue behind HTTP and WebSocket, in the shapes of Bybit's v5 interface: stock clients need only its address.

The market stands still until `POST /venue/advance` (lock-step), or runs by itself at so many times real time.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from bot.instrument import Market
from bot.times import MINUTE
from services.simulated_bybit import codec
from services.simulated_bybit.checks import BybitRefusal
from services.simulated_bybit.exchange import Bar, Exchange
from services.simulated_bybit.faults import Faults
from services.simulated_bybit.records import Key, LogRow, Trade
from services.simulated_bybit.rest import ROUTES
from services.simulated_market.public_trades import trades_of
from services.simulated_market.told import BarTeller

RATE = 600  # requests a key may send in five seconds, per address
NOT_IN_DEMO = ("account/fee-rate", "user/query-api")
SPOT_CODES = {110001: 170213, 110003: 170132, 110007: 170131, 110072: 170141, 110094: 170140, 110020: 170810}


@dataclass(eq=False)
class Listener:
    """One WebSocket and what it listens to."""

    socket: web.WebSocketResponse
    transport: Any
    private: bool
    topics: set[str] = field(default_factory=set)
    key: str = ""  # that it signed in with
    held: list[dict[str, Any]] = field(default_factory=list)  # late ones
    sent: int = 0


class VenueServer:
    """Routes, sockets and the clock around an Exchange."""

    def __init__(
        self,
        exchange: Exchange,
        keys: list[Key],
        *,
        speed: float = 0.0,
        faults: Faults | None = None,
        teller: BarTeller | None = None,
    ) -> None:
        self.exchange, self.keys, self.speed = exchange, {one.key: one for one in keys}, speed
        self.faults = faults or Faults()
        self.teller = teller or BarTeller()  # of the bars that its public stream tells
        self.trade_teller = BarTeller()  # of trades of others
        self.told_bars = 0  # bars sent to listeners
        self.asking = keys[0]
        self.listeners: list[Listener] = []
        self.requests: dict[str, list[float]] = {}
        self.category = "spot" if next(iter(exchange.instruments.values())).market is Market.SPOT else "linear"
        self._runner: web.AppRunner | None = None
        self._clock: asyncio.Task[None] | None = None
        self._held: set[asyncio.TimerHandle] = set()  # executions that are told late
        self._telling: set[asyncio.Task[None]] = set()

    # Life

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> int:
        """Open the door; returns the port."""
        app = web.Application()
        app.router.add_get("/v5/public/{category}", self._public)
        app.router.add_get("/v5/private", self._private)
        app.router.add_get("/venue/status", self._status)
        app.router.add_get("/venue/audit", self._audit)
        app.router.add_post("/venue/advance", self._advance)
        app.router.add_post("/venue/faults", self._set_faults)
        app.router.add_post("/venue/drop", self._drop)
        app.router.add_route("*", "/v5/{path:.*}", self._rest)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        if self.speed > 0.0:
            self._clock = asyncio.create_task(self._run())
        return int(self._runner.addresses[0][1])

    def stand_still(self) -> None:
        """Let the market go no further."""
        if self._clock is not None:
            self._clock.cancel()

    async def stop(self) -> None:
        """Close everything."""
        self.stand_still()
        for late in self._held:
            late.cancel()
        for task in self._telling:
            task.cancel()
        for one in list(self.listeners):
            await one.socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _run(self) -> None:
        """Play minutes at `speed` times real time."""
        pause = self.exchange.bar_ms / 1000.0 / self.speed
        due = time.monotonic()
        while not self.exchange.finished:
            while self.exchange.step():
                await self._flush()
                await asyncio.sleep(pause / (2 * len(self.exchange.books)))  # no minute has all its fills at once
            await self._flush()
            due += pause
            await asyncio.sleep(max(due - time.monotonic(), 0.0))

    # Control, for tests and demonstrations

    async def _status(self, _request: web.Request) -> web.Response:
        exchange = self.exchange
        return web.json_response(
            {
                "now": exchange.now,
                "finished": exchange.finished,
                "equity": exchange.equity,
                "sent": {"public": self._sent(private=False), "private": self._sent(private=True)},
            }
        )

    async def _audit(self, _request: web.Request) -> web.Response:
        """How well positions were protected, and whether a client order id was used twice."""
        exchange = self.exchange
        exchange.audit.look()
        names = [one.client_order_id for one in exchange.known.values() if one.client_order_id]
        duplicates = {"taken": len(names) - len(set(names)), "refused": exchange.duplicates}
        return web.json_response({"symbols": exchange.audit.report(), "duplicate_ids": duplicates})

    def _sent(self, *, private: bool) -> int:
        return sum(one.sent for one in self.listeners if one.private is private)

    async def advance(self) -> bool:
        """Go on to the next thing that concerns a trader, or to the minute's end; False at such an end."""
        more = False
        if not self.exchange.finished:
            more = self.exchange.step()
            await self._flush()
        return more

    async def _advance(self, _request: web.Request) -> web.Response:
        more = await self.advance()
        return web.json_response(
            {
                "now": self.exchange.now,
                "inside": more,
                "finished": self.exchange.finished,
                "public": self._sent(private=False),
                "private": self._sent(private=True),
            }
        )

    async def _set_faults(self, request: web.Request) -> web.Response:
        self.faults = Faults(**await request.json())
        return web.json_response({})

    def drop(self) -> None:
        """Break every line, as a broken one does: no farewell."""
        for one in list(self.listeners):
            one.transport.abort()

    async def _drop(self, _request: web.Request) -> web.Response:
        self.drop()
        return web.json_response({})

    def revoke(self, key: str) -> None:
        """Delete a key, as its owner does on the website: what it opened ends."""
        del self.keys[key]
        for one in list(self.listeners):
            if one.key == key:
                one.transport.abort()

    # REST

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        faults = self.faults
        if faults.latency_ms:
            await asyncio.sleep(faults.latency_ms / 1000.0)
        path, body = request.path.removeprefix("/v5/"), await request.text()
        if faults.maintenance or faults.at(faults.down_path, path) or faults.strikes("error"):
            return web.Response(status=503, text="<html>Service Unavailable</html>")
        answer = await self._done(request, path, body)
        if faults.at(faults.slow_path, path):
            await asyncio.sleep(faults.slow_s)
        garbage = faults.garbage(path)
        return answer if garbage is None else web.Response(text=garbage[1], content_type=garbage[0])

    async def _done(self, request: web.Request, path: str, body: str) -> web.Response:
        """Do what is asked, tell whoever listens, and give the answer."""
        faults = self.faults
        try:
            public = path.startswith("market/")
            key = None if public else self._authentic(request, body)
            self._within_rate(request, key)
            query = dict(request.query) if request.method == "GET" else _parsed(body)
            answer = ROUTES.get((request.method, path))
            if answer is None:
                return web.Response(status=404)
            self._permitted(request, path, key)
            self.asking = key or self.asking
            result = answer(self, query)
            self.exchange.audit.look()
        except BybitRefusal as refused:
            self.exchange.audit.look()
            await self._flush()
            return self._answer(refused.code, refused.message, {})
        await self._flush()
        if request.method == "POST" and faults.strikes("lose_response"):
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return self._answer(0, "OK", result)

    def _answer(self, code: int, message: str, result: dict[str, Any]) -> web.Response:
        code = SPOT_CODES.get(code, code) if self.category == "spot" else code
        body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": self.wall()}
        left = str(max(RATE - len(next(iter(self.requests.values()), [])), 0))
        headers = {"X-Bapi-Limit": str(RATE), "X-Bapi-Limit-Status": left}
        headers["X-Bapi-Limit-Reset-Timestamp"] = str(self.wall() + 1000)
        return web.json_response(body, headers=headers)

    def wall(self) -> int:
        """The time its clock shows, ms."""
        return int(time.time() * 1000) + self.faults.clock_skew_ms

    def _authentic(self, request: web.Request, body: str) -> Key:
        headers = request.headers
        key = self.keys.get(headers.get("X-BAPI-API-KEY", ""))
        if key is None:
            raise BybitRefusal(10003, "API key is invalid.")
        if key.expires is not None and key.expires <= self.wall():
            raise BybitRefusal(33004, "Your api key has expired.")
        if key.addresses and request.remote not in key.addresses:
            raise BybitRefusal(10010, "Unmatched IP, please check your API key's bound IP addresses.")
        stamp, window = headers.get("X-BAPI-TIMESTAMP", "0"), headers.get("X-BAPI-RECV-WINDOW", "5000")
        payload = request.query_string if request.method == "GET" else body
        wanted = signature(key.secret, f"{stamp}{key.key}{window}{payload}")
        if not hmac.compare_digest(wanted, headers.get("X-BAPI-SIGN", "")):
            raise BybitRefusal(10004, "error sign! please check your signature generation algorithm.")
        if not (self.wall() - int(window) <= int(stamp) < self.wall() + 1000):
            raise BybitRefusal(10002, "invalid request, please check your server timestamp or recv_window param.")
        return key

    def _permitted(self, request: web.Request, path: str, key: Key | None) -> None:
        if request.method == "POST" and key is not None and not key.may_trade:
            raise BybitRefusal(10005, "Permission denied, please check your API key permissions.")
        if self.faults.demo and path in NOT_IN_DEMO:
            raise BybitRefusal(10032, "Demo trading are not supported.")

    def _within_rate(self, request: web.Request, key: Key | None) -> None:
        if key is None:
            return
        if self.faults.strikes("rate_limit"):
            raise BybitRefusal(10006, "Too many visits. Exceeded the API Rate Limit.")
        now, name = time.monotonic(), f"{key.key} {request.path}"
        recent = [one for one in self.requests.get(name, []) if now - one < 5.0]
        if len(recent) >= RATE:
            raise BybitRefusal(10006, "Too many visits. Exceeded the API Rate Limit.")
        self.requests[name] = [*recent, now]

    # Streams

    async def _public(self, request: web.Request) -> web.WebSocketResponse:
        return await self._listen(request, private=False)

    async def _private(self, request: web.Request) -> web.WebSocketResponse:
        return await self._listen(request, private=True)

    async def _listen(self, request: web.Request, *, private: bool) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        one, trusted = Listener(socket, request.transport, private), not private
        self.listeners.append(one)
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                said = json.loads(message.data)
                operation, number = said.get("op"), said.get("req_id", "")
                answer = {"success": True, "ret_msg": "", "op": operation, "req_id": number, "conn_id": "1"}
                if operation == "auth":
                    trusted = self._trusted(said.get("args", []))
                    one.key = said["args"][0] if trusted else ""
                    answer["success"] = trusted
                elif operation == "ping":
                    answer = {**answer, "op": "pong" if private else "ping", "ret_msg": "pong"}
                elif operation == "subscribe" and trusted:
                    one.topics.update(said["args"])
                elif operation == "unsubscribe":
                    one.topics.difference_update(said["args"])
                else:
                    answer["success"] = False
                await socket.send_json(answer)
        finally:
            self.listeners.remove(one)
        return socket

    def _trusted(self, arguments: list[Any]) -> bool:
        if len(arguments) != 3:
            return False
        key = self.keys.get(arguments[0])
        if key is None or not str(arguments[1]).isdigit() or int(arguments[1]) <= self.wall():
            return False
        return hmac.compare_digest(signature(key.secret, f"GET/realtime{arguments[1]}"), arguments[2])

    async def _flush(self) -> None:
        """Tell everybody what has happened since the last time."""
        events, self.exchange.events = self.exchange.events, []
        if any(isinstance(event, Bar) for event in events):
            for _, late in [*self.trade_teller.next_minute(), *self.teller.next_minute()]:
                await self._spread(late["topic"], False, late)
        for event in events:
            for topic, private, data in self._told(event):
                message = {"topic": topic, "type": "snapshot", "ts": self.exchange.now, "data": data}
                if private:
                    message = {"id": "1", "topic": topic, "creationTime": self.exchange.now, "data": data}
                if topic == "execution" and self._withheld(message):
                    continue
                for each in self._versions(event, topic, message):
                    await self._spread(topic, private, each)

    def _versions(self, event: Any, topic: str, message: dict[str, Any]) -> list[dict[str, Any]]:
        """What is told of a message: of bars and of trades of others as the faults of the stream have it."""
        if isinstance(event, Bar) and topic.startswith("kline."):
            return self.teller.tell(event.symbol, message, _unfinished(message))
        if isinstance(event, Bar) and topic.startswith("publicTrade."):
            return self.trade_teller.tell(event.symbol, message, message)
        return [message]

    async def _spread(self, topic: str, private: bool, message: dict[str, Any]) -> None:
        for one in list(self.listeners):
            if one.private is private and topic in one.topics:
                await self._send(one, message)
                self.told_bars += topic.startswith("kline.")

    def _withheld(self, message: dict[str, Any]) -> bool:
        """Whether an execution is not told now: never, or later."""
        if self.faults.strikes("silent_executions"):
            return True
        if self.faults.hold_executions_s <= 0.0:
            return False

        def tell() -> None:
            self._held.discard(handle)
            task = asyncio.ensure_future(self._spread("execution", True, message))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

        self.faults.struck["hold_executions_s"] += 1
        handle = asyncio.get_running_loop().call_later(self.faults.hold_executions_s, tell)
        self._held.add(handle)
        return True

    def _told(self, event: Any) -> list[tuple[str, bool, Any]]:
        if isinstance(event, Bar):
            book = self.exchange.books[event.symbol]
            minutes = book.candles.bar_ms // MINUTE
            trades = [codec.public_trade(book, one) for one in trades_of(book.candles, event.index)]
            return [
                (f"publicTrade.{event.symbol}", False, trades),
                (f"kline.{minutes}.{event.symbol}", False, [codec.kline(book, event.index)]),
                (f"tickers.{event.symbol}", False, codec.ticker(book)),
            ]
        if isinstance(event, LogRow):
            return [("wallet", True, [codec.wallet(self.exchange)])]
        book = self.exchange.books[event.symbol]
        if isinstance(event, Trade):
            public = {
                "T": event.ts,
                "s": event.symbol,
                "S": codec.side(event.side),
                "i": event.id,
                "BT": False,
                "v": codec.plain(book.instrument.quantity(event.lots)),
                "p": codec.plain(book.instrument.price(event.price)),
            }
            return [
                ("execution", True, [codec.execution(event, book, self.category)]),
                ("position", True, [codec.position(book, average_name="entryPrice")]),
                ("wallet", True, [codec.wallet(self.exchange)]),
                (f"publicTrade.{event.symbol}", False, [public]),
            ]
        told = [("order", True, [codec.order(event, book, self.category)])]
        if (
            self.category == "linear"
        ):  # like Bybit: with every change of an order, whether it concerns the position or not
            told.append(("position", True, [codec.position(book, average_name="entryPrice")]))
        return told

    async def _send(self, one: Listener, message: dict[str, Any]) -> None:
        faults = self.faults
        if one.private and faults.strikes("late"):
            one.held.append(message)
            return
        messages = [message, *one.held]
        one.held = []
        if one.private and faults.strikes("duplicate"):
            messages.append(message)
        for each in messages:
            try:
                await one.socket.send_json(each)
            except ConnectionError:  # the client is gone; it will ask for what it missed
                return
            one.sent += 1


def signature(secret: str, payload: str) -> str:
    """HMAC-SHA256, hexadecimal, as Bybit has it."""
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def _unfinished(message: dict[str, Any]) -> dict[str, Any]:
    """A bar as it was before its last trade."""
    (bar,) = message["data"]
    return {**message, "data": [{**bar, "volume": codec.number(float(bar["volume"]) / 2)}]}


def _parsed(body: str) -> dict[str, Any]:
    try:
        parsed = json.loads(body or "{}")
    except ValueError:
        raise BybitRefusal(10001, "Request parameter error: not JSON.") from None
    return dict(parsed)
