"""An interface on this machine's loopback: every command with the token of the day, every answer one line of JSON.

A request that was made for another host is refused: a browser on this machine can be led here by a name that somebody
else's server resolves to 127.0.0.1.
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

from bot.errors import Misconfigured, TradingError
from services.whole_file import write_private

log = structlog.get_logger()

Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]

LARGEST_BODY = 64 << 10  # bytes
PIECE = 8 << 10
LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)


class BadRequest(Exception):
    """A request that cannot be understood; its text is the sentence to answer with."""


class LoopbackServer:
    """Answers its routes, and leaves address and token in a file for this user alone."""

    def __init__(self, file: Path, who: str, port_key: str) -> None:
        """`who` answers, as sentences call it; `port_key` is where its port is configured."""
        self.file, self.who, self.port_key = file, who, port_key
        self.token = secrets.token_urlsafe(24)
        self._runner: web.ServerRunner | None = None
        self._routes: dict[tuple[str, str], Handler] = {}

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
                f"{self.port_key} {port} cannot be opened ({os.strerror(error.errno or 0)}); choose 0."
            ) from None
        port = int(self._runner.addresses[0][1])
        self._leave({"address": f"http://127.0.0.1:{port}", "token": self.token, "process": os.getpid()})
        return port

    def _leave(self, known: dict[str, Any]) -> None:
        """Write the file anew: one that is there may be readable by others, or half written."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_private(self.file, json.dumps(known))

    async def stop(self) -> None:
        """Close it."""
        self.file.unlink(missing_ok=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        """Answer a request, whatever is wrong with it or with who answers, in one line."""
        try:
            if not _is_for_loopback(request):
                return refusal("the Host of the request is not this machine's loopback address", 403)
            handler = self._routes.get((request.method, request.path))
            if handler is None:
                return refusal("there is no such route", 404)
            return await handler(request)
        except BadRequest as error:
            return refusal(str(error), 400)
        except TradingError as error:  # a refusal, or a part that is away
            return refusal(str(error), 409)
        except Exception:
            log.exception("control_failed", method=request.method, path=request.path)
            return refusal(f"the {self.who} could not answer; its log says why", 500)

    def trusted(self, handler: Handler) -> Handler:
        """Return a handler that answers only to the token."""

        async def answered(request: web.BaseRequest) -> web.Response:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            # A header may hold any byte, which aiohttp keeps as a lone surrogate.
            if not hmac.compare_digest(given.encode(errors="surrogatepass"), self.token.encode()):
                return refusal(f"the token is not this {self.who}'s", 403)
            return await handler(request)

        return answered


def _is_for_loopback(request: web.BaseRequest) -> bool:
    hosts = request.headers.getall("Host", [])
    return len(hosts) == 1 and LOOPBACK.fullmatch(hosts[0]) is not None


async def body_of(request: web.BaseRequest) -> dict[str, Any]:
    """Read the body, a JSON object, as far as it may go; raises BadRequest."""
    try:
        said = json.loads(await _read(request))
    except (ValueError, RecursionError):
        raise BadRequest("the body is no JSON") from None
    if not isinstance(said, dict):
        raise BadRequest('the body is no JSON object such as {"command": "pause", "pair": "BTCUSDT"}')
    return said


async def _read(request: web.BaseRequest) -> bytes:
    data = bytearray()
    try:
        async for piece in request.content.iter_chunked(PIECE):
            data += piece
            if len(data) > LARGEST_BODY:
                raise BadRequest(f"the body is larger than {LARGEST_BODY >> 10} kB")
    except (web.RequestPayloadError, HttpProcessingError):
        raise BadRequest("the body does not arrive as its headers announce it") from None
    return bytes(data)


def text_of(said: dict[str, Any], name: str, longest: int = 64) -> str:
    """Return a text of one short line; raises BadRequest."""
    value = said.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        raise BadRequest(f"{name} is missing, or no text of one short line")
    return value


def refusal(sentence: str, status: int) -> web.Response:
    """Answer with what is wrong."""
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
            return refusal("this is no HTTP request that can be read", 400)
        log.error("control_failed", path=request.path, exc_info=exc)
        return refusal("it could not be answered; the log says why", 500)


class _Server(web.Server):
    """aiohttp's server with our protocol."""

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of a new connection."""
        return _Protocol(self, loop=self._loop, **self._kwargs)
