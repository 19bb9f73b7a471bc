"""What every request passes first: its Host and Origin, its size, its rate; and what every answer carries.

A page of somebody else can send a browser here, by a name of theirs that means 127.0.0.1 too. Nothing is answered to
a Host that is not one of ours, and nothing is changed for an Origin that is not.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import urlsplit

import structlog
from limits import parse
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.web.access import ANONYMOUS
from services.web.failures import Failure, answer
from services.web.request_limits import RequestLimits

log = structlog.get_logger()

GENEROUS = parse("24000/minute")  # of an address that shows something
UNFORESEEN = Failure(500, "failed", "the console could not answer.", "look at its log, which says why")
SAFE = {"GET", "HEAD", "OPTIONS"}
LARGEST_BODY = 64 << 10
LARGEST_PICTURE = 2 << 20  # of a chart, which a page of the manual backtester sends
PICTURES = re.compile(r"/api/v1/replays/[0-9a-f]{16}/pictures")
LONGEST_TARGET = 8 << 10
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# The one style is that which the chart's library puts in for its mark.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-{mark}'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """Refuses what does not belong here, before anything else sees it."""

    def __init__(
        self, app: ASGIApp, hosts: tuple[str, ...], origin: str | None, limits: RequestLimits, mark: str
    ) -> None:
        """`hosts`: names by which this console is called; `origin`: the one of a proxy before it, such as https://x."""
        outer = urlsplit(origin).netloc if origin else None
        self.app, self.limits = app, limits
        self.hosts, self.outer, self.origin = hosts, outer, origin
        self.policy = POLICY.format(mark=mark)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it through, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        failure = self._fault(scope, headers)
        if scope["type"] == "websocket":
            if failure is not None:
                await send({"type": "websocket.close", "code": 4403, "reason": failure.problem.code})
                return
            await self.app(scope, receive, send)
            return
        furnished = self._furnished(scope, send)
        if failure is not None:
            await answer(failure)(scope, receive, furnished)
            return
        began = False

        async def sending(message: Message) -> None:
            nonlocal began
            began = True
            await furnished(message)

        try:
            await self.app(scope, _counted(receive, _largest(scope)), sending)
        except Exception:
            log.exception("console_failed", method=scope["method"], path=scope["path"])
            if not began:
                await answer(UNFORESEEN)(scope, receive, furnished)

    def _fault(self, scope: Scope, headers: Headers) -> Failure | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._ours(hosts[0]):
            return Failure(
                403, "host", "the Host of the request is not this console's.", "see `traderagent web --help`"
            )
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE
        if changes and origin is not None and origin not in self._origins(hosts[0]):
            return Failure(403, "origin", "the request comes from another site.", "use the console's own page")
        if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_TARGET:
            return Failure(414, "too_long", "the address is too long.", "ask for less at once")
        length = headers.get("content-length", "0")
        largest = _largest(scope)
        if not length.isdecimal() or int(length[:10]) > largest:
            return Failure(413, "too_large", f"the body is larger than {largest >> 10} kB.", "send less")
        try:
            self.limits.hit(address_of(scope), "address", ANONYMOUS if _anonymous(headers) else GENEROUS)
        except Failure as failure:
            return failure
        return None

    def _ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, _ = parts.hostname, parts.port
        except ValueError:
            return False
        return parts.username is None and (name in self.hosts or host == self.outer)

    def _origins(self, host: str) -> set[str]:
        return {f"http://{host}"} | ({self.origin} if self.origin else set())

    def _furnished(self, scope: Scope, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", self.policy)
                static = scope["path"].startswith("/static/")
                headers.setdefault("Cache-Control", "no-cache" if static else "no-store")
            await send(message)

        return sending


def _anonymous(headers: Headers) -> bool:
    return "cookie" not in headers and "authorization" not in headers


def address_of(scope: Any) -> str:
    """Return the address from which something is asked."""
    return scope["client"][0] if scope.get("client") else "unknown"


def _largest(scope: Scope) -> int:
    """How many bytes a request may bring."""
    return LARGEST_PICTURE if PICTURES.fullmatch(scope["path"]) else LARGEST_BODY


def _counted(receive: Receive, largest: int) -> Receive:
    """Cut off a body that is longer than it may be, whatever its headers say."""
    came = 0

    async def receiving() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if came > largest:
            raise Failure(413, "too_large", f"the body is larger than {largest >> 10} kB.", "send less")
        return message

    return receiving


def tagged(request: Request, response: Response) -> Response:
    """Give a response the tag of its body, or answer that what the browser has is still right."""
    tag = f'"{hashlib.sha256(bytes(response.body)).hexdigest()[:32]}"'
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "no-cache, private"
    if request.headers.get("if-none-match") == tag:
        kept = {name: value for name, value in response.headers.items() if name.startswith(("etag", "cache", "x-"))}
        return Response(status_code=304, headers=kept)
    return response
