"""The control interface of a running bot: loopback only, every command with the token of the day.

`/health` and `/ready` and `/metrics` are open to whoever is on this machine; they change nothing. Every answer but
that of `/metrics` is one line of JSON.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from coordinator.bot_status import BotStatus, PairOrders
from coordinator.operator import OperatorCommand
from services.control.loopback import BadRequest, LoopbackServer, body_of, refusal, text_of

Ask = Callable[[], Awaitable[BotStatus]]
Act = Callable[[OperatorCommand], Awaitable[str]]
AskOrders = Callable[[str], Awaitable[PairOrders]]
AskConfig = Callable[[], list[Any]]

MOST_MONEY = 1e12  # of one command, quote currency


class ControlServer(LoopbackServer):
    """Says how the bot stands, and hands the operator's commands on."""

    def __init__(
        self,
        file: Path,
        status: Ask,
        act: Act,
        registry: CollectorRegistry,
        *,
        orders: AskOrders | None = None,
        config: AskConfig | None = None,
        venue: dict[str, str | None] | None = None,
    ) -> None:
        """`venue` says in the file where the bot trades, so that others find its candles without asking it."""
        super().__init__(file, "bot", "bot.control_port")
        self._ask, self.act, self.registry = status, act, registry
        self._orders, self._config, self._venue = orders, config, venue
        self._last: BotStatus | None = None
        self._routes = {
            ("GET", "/health"): self._health,
            ("GET", "/ready"): self._ready,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/status"): self.trusted(self._status),
            ("GET", "/orders"): self.trusted(self._pair_orders),
            ("GET", "/config"): self.trusted(self._shown_config),
            ("POST", "/command"): self.trusted(self._command),
        }

    def _leave(self, known: dict[str, Any]) -> None:
        super()._leave({**known, "venue": self._venue})

    async def status(self) -> BotStatus:
        """How the bot stands now."""
        self._last = now = await self._ask()
        return now

    def last(self) -> BotStatus | None:
        """How it stood when last asked: a collector of metrics cannot wait."""
        return self._last

    async def _health(self, _request: web.BaseRequest) -> web.Response:
        return web.json_response({"alive": True})

    async def _ready(self, _request: web.BaseRequest) -> web.Response:
        now = await self.status()
        ready = all(now["streams"].values()) and all(one["recovered"] for one in now["pairs"])
        return web.json_response({"ready": ready}, status=200 if ready else 503)

    async def _metrics(self, _request: web.BaseRequest) -> web.Response:
        await self.status()
        return web.Response(body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _status(self, _request: web.BaseRequest) -> web.Response:
        return web.json_response(await self.status())

    async def _pair_orders(self, request: web.BaseRequest) -> web.Response:
        if self._orders is None:
            return refusal("there is no such route", 404)
        return web.json_response(await self._orders(text_of(dict(request.query), "pair")))

    async def _shown_config(self, _request: web.BaseRequest) -> web.Response:
        if self._config is None:
            return refusal("this bot was started without a config file", 404)
        return web.json_response({"settings": self._config()})

    async def _command(self, request: web.BaseRequest) -> web.Response:
        return web.json_response({"done": await self.act(_command_in(await body_of(request)))})


def _command_in(said: dict[str, Any]) -> OperatorCommand:
    """Read a command. Raises BadRequest."""
    force = said.get("force", False)
    if not isinstance(force, bool):
        raise BadRequest("force is neither true nor false")
    amount = said.get("amount", 0.0)
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not abs(amount) <= MOST_MONEY:
        raise BadRequest(f"amount is no number up to {MOST_MONEY:g}")
    pair = None if said.get("pair") is None else text_of(said, "pair")
    named = ("who", "source", "key", "setting", "value")
    more = {name: text_of(said, name) for name in named if said.get(name) is not None}
    return OperatorCommand.parse(text_of(said, "command"), pair, force=force, amount=float(amount), **more)
