"""The control interface of a running bot: loopback only, every command with the token of the day.

`/health` and `/ready` and `/metrics` are open to whoever is on this machine; they change nothing. Every answer but
that of `/metrics` is one line of JSON. A request that was made for another host is refused: a browser on this machine
can be led here by a name that somebody else's server resolves to 127.0.0.1.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from bot.errors import Misconfigured, TradingError
from coordinator.bot_status import BotStatus, PairOrders
from coordinator.operator import OperatorCommand
from services.whole_file import write_private

log = structlog.get_logger()

Ask = Callable[[], Awaitable[BotStatus]]
Act = Callable[[OperatorCommand], Awaitable[str]]
AskOrders = Callable[[str], Awaitable[PairOrders]]

LARGEST_BODY = 64 << 10  # bytes
MOST_MONEY = 1e12  # of one command, quote currency
LONGEST_WORD = 64
PIECE = 8 << 10
LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)


class BadRequest(Exception):
    """A request that cannot be understood; its text is the sentence to answer with."""


class ControlServer:
    """Says how the bot stands, and hands the operator's commands on."""

    def __init__(
        self,
        file: Path,
        status: Ask,
        act: Act,
        registry: CollectorRegistry,
        *,
        orders: AskOrders | None = None,
        venue: dict[str, str | None] | None = None,
    ) -> None:
        """`venue` says in the file where the bot trades, so that others find its candles without asking it."""
        self.file, self._ask, self.act, self.registry = file, status, act, registry
        self._orders, self._venue = orders, venue
        self._last: BotStatus | None = None
        self.token = secrets.token_urlsafe(24)
        self._runner: web.ServerRunner | None = None
        self._routes: dict[tuple[str, str], Callable[[web.BaseRequest], Awaitable[web.Response]]] = {
            ("GET", "/health"): self._health,
            ("GET", "/ready"): self._ready,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/status"): self._status,
            ("GET", "/orders"): self._pair_orders,
            ("POST", "/command"): self._command,
        }

    async def start(self, port: int = 0) -> int:
        """Open it on loopback, and leave address and token where only this user can read them.

        Raises Misconfigured for a port that is taken.
        """
        self._runner = web.ServerRunner(_Server(self._respond, access_log=None))
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", port).start()
        except OSError as error:
            raise Misconfigured(
                f"bot.control_port {port} cannot be opened ({os.strerror(error.errno or 0)}); choose 0."
            ) from None
        port = int(self._runner.addresses[0][1])
        address = f"http://127.0.0.1:{port}"
        self._leave({"address": address, "token": self.token, "process": os.getpid(), "venue": self._venue})
        return port

    def _leave(self, known: dict[str, Any]) -> None:
        """Write the file anew: one that is there may be readable by others, or half written."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_private(self.file, json.dumps(known))

    async def status(self) -> BotStatus:
        """How the bot stands now."""
        self._last = now = await self._ask()
        return now

    def last(self) -> BotStatus | None:
        """How it stood when last asked: a collector of metrics cannot wait."""
        return self._last

    async def stop(self) -> None:
        """Close it."""
        self.file.unlink(missing_ok=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        """Answer a request, whatever is wrong with it or with the bot, in one line."""
        try:
            if not _is_for_loopback(request):
                return _refusal("the Host of the request is not this machine's loopback address", 403)
            handler = self._routes.get((request.method, request.path))
            if handler is None:
                return _refusal("there is no such route", 404)
            return await handler(request)
        except BadRequest as error:
            return _refusal(str(error), 400)
        except TradingError as error:  # a refusal, or a part of the bot that is away
            return _refusal(str(error), 409)
        except Exception:
            log.exception("control_failed", method=request.method, path=request.path)
            return _refusal("the bot could not answer; its log says why", 500)

    def _trusts(self, request: web.BaseRequest) -> bool:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        # A header may hold any byte, which aiohttp keeps as a lone surrogate.
        return hmac.compare_digest(given.encode(errors="surrogatepass"), self.token.encode())

    async def _health(self, _request: web.BaseRequest) -> web.Response:
        return web.json_response({"alive": True})

    async def _ready(self, _request: web.BaseRequest) -> web.Response:
        now = await self.status()
        ready = all(now["streams"].values()) and all(one["recovered"] for one in now["pairs"])
        return web.json_response({"ready": ready}, status=200 if ready else 503)

    async def _metrics(self, _request: web.BaseRequest) -> web.Response:
        await self.status()
        return web.Response(body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _status(self, request: web.BaseRequest) -> web.Response:
        if not self._trusts(request):
            return _refusal("the token is not this bot's", 403)
        return web.json_response(await self.status())

    async def _pair_orders(self, request: web.BaseRequest) -> web.Response:
        if not self._trusts(request):
            return _refusal("the token is not this bot's", 403)
        if self._orders is None:
            return _refusal("there is no such route", 404)
        return web.json_response(await self._orders(_text(dict(request.query), "pair")))

    async def _command(self, request: web.BaseRequest) -> web.Response:
        if not self._trusts(request):
            return _refusal("the token is not this bot's", 403)
        return web.json_response({"done": await self.act(_command_in(await _body(request)))})


def _is_for_loopback(request: web.BaseRequest) -> bool:
    hosts = request.headers.getall("Host", [])
    return len(hosts) == 1 and LOOPBACK.fullmatch(hosts[0]) is not None


async def _body(request: web.BaseRequest) -> bytes:
    """Read the body, as far as it may go; raises BadRequest."""
    data = bytearray()
    try:
        async for piece in request.content.iter_chunked(PIECE):
            data += piece
            if len(data) > LARGEST_BODY:
                raise BadRequest(f"the body is larger than {LARGEST_BODY >> 10} kB")
    except (web.RequestPayloadError, HttpProcessingError):
        raise BadRequest("the body does not arrive as its headers announce it") from None
    return bytes(data)


def _command_in(body: bytes) -> OperatorCommand:
    """Read a command. Raises BadRequest."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is no JSON") from None
    if not isinstance(said, dict):
        raise BadRequest('the body is no JSON object such as {"command": "pause", "pair": "BTCUSDT"}')
    force = said.get("force", False)
    if not isinstance(force, bool):
        raise BadRequest("force is neither true nor false")
    amount = said.get("amount", 0.0)
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not abs(amount) <= MOST_MONEY:
        raise BadRequest(f"amount is no number up to {MOST_MONEY:g}")
    pair = None if said.get("pair") is None else _text(said, "pair")
    origin = {name: _text(said, name) for name in ("who", "source", "key") if said.get(name) is not None}
    return OperatorCommand.parse(_text(said, "command"), pair, force=force, amount=float(amount), **origin)


def _text(said: dict[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_WORD or not value.isprintable():
        raise BadRequest(f"{name} is missing, or no text of one short line")
    return value


def _refusal(sentence: str, status: int) -> web.Response:
    answer = web.json_response({"error": sentence}, status=status)
    answer.force_close()  # what is left of the request is not read
    return answer


class _Protocol(web.RequestHandler):
    """Answers also what is no HTTP in one line, and logs no trace of it: anybody can send that."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002, aiohttp's signature
    ) -> web.StreamResponse:
        """Answer what never came as far as the handlers."""
        if status < 500:
            return _refusal("this is no HTTP request that can be read", 400)
        log.error("control_failed", path=request.path, exc_info=exc)
        return _refusal("the bot could not answer; its log says why", 500)


class _Server(web.Server):
    """aiohttp's server with our protocol."""

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of a new connection."""
        return _Protocol(self, loop=self._loop, **self._kwargs)
