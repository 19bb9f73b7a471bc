"""The control interface of a running bot: loopback only, every command with the token of the day.

`/health` and `/ready` and `/metrics` are open to whoever is on this machine; they change nothing.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from bot.errors import Misconfigured, TradingError

Ask = Callable[[], Awaitable[dict[str, Any]]]
Act = Callable[[str, str | None, bool], Awaitable[str]]


class ControlServer:
    """Says how the bot stands, and hands the operator's words on."""

    def __init__(self, file: Path, status: Ask, act: Act, registry: CollectorRegistry) -> None:
        self.file, self._ask, self.act, self.registry = file, status, act, registry
        self._last: dict[str, Any] = {}
        self.token = secrets.token_urlsafe(24)
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> int:
        """Open it on loopback, and leave address and token where only this user can read them.

        Raises Misconfigured for a port that is taken.
        """
        app = web.Application(middlewares=[_refusals])
        app.router.add_get("/health", self._health)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/status", self._status)
        app.router.add_post("/command", self._command)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", port).start()
        except OSError as error:
            raise Misconfigured(
                f"bot.control_port {port} cannot be opened ({os.strerror(error.errno or 0)}); choose 0."
            ) from None
        port = int(self._runner.addresses[0][1])
        self.file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as out:
            json.dump({"address": f"http://127.0.0.1:{port}", "token": self.token, "process": os.getpid()}, out)
        return port

    async def status(self) -> dict[str, Any]:
        """How the bot stands now."""
        self._last = await self._ask()
        return self._last

    def last(self) -> dict[str, Any]:
        """How it stood when last asked: a collector of metrics cannot wait."""
        return self._last

    async def stop(self) -> None:
        """Close it."""
        self.file.unlink(missing_ok=True)
        if self._runner is not None:
            await self._runner.cleanup()

    def _trusts(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), self.token.encode())

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def _ready(self, _request: web.Request) -> web.Response:
        now = await self.status()
        ready = all(now["streams"].values()) and all(one["recovered"] for one in now["pairs"])
        return web.json_response({"ready": ready}, status=200 if ready else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        await self.status()
        return web.Response(body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _status(self, request: web.Request) -> web.Response:
        if not self._trusts(request):
            return web.json_response({"error": "the token is not this bot's"}, status=403)
        return web.json_response(await self.status())

    async def _command(self, request: web.Request) -> web.Response:
        if not self._trusts(request):
            return web.json_response({"error": "the token is not this bot's"}, status=403)
        said = await request.json()
        done = await self.act(str(said["word"]), said.get("pair"), bool(said.get("force")))
        return web.json_response({"done": done})


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A refusal, or a part of the bot that is away, is a sentence."""
    try:
        return await handler(request)
    except TradingError as error:
        return web.json_response({"error": str(error)}, status=409)
