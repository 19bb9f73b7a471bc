"""The control interface of a fleet's supervisor, as that of a bot: loopback only, with the token of the day."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from services.control.loopback import LoopbackServer, body_of

List = Callable[[], list[dict[str, Any]]]
Act = Callable[[dict[str, Any]], Awaitable[str]]


class FleetServer(LoopbackServer):
    """Says how the bots of a fleet stand, and takes commands."""

    def __init__(self, file: Path, bots: List, act: Act) -> None:
        """`act` reads a command itself and says what it has done; it raises TradingError with a refusal."""
        super().__init__(file, "fleet", "port")
        self._bots, self._act = bots, act
        self._routes = {
            ("GET", "/health"): self._health,
            ("GET", "/bots"): self.trusted(self._list),
            ("POST", "/command"): self.trusted(self._command),
        }

    async def _health(self, _request: web.BaseRequest) -> web.Response:
        return web.json_response({"alive": True})

    async def _list(self, _request: web.BaseRequest) -> web.Response:
        return web.json_response({"bots": self._bots()})

    async def _command(self, request: web.BaseRequest) -> web.Response:
        return web.json_response({"done": await self._act(await body_of(request))})
