"""The simulated exchange with answers that a test writes itself, and a gateway that does not wait between attempts."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from services.exchanges.bybit import changing
from services.exchanges.bybit.connection import Connection
from services.simulated_bybit.server import Faults, VenueServer
from tests.runtime.house import KEY, config, exchange_for, gateway_to

OK = {"retCode": 0, "retMsg": "OK"}


class Hooked(VenueServer):
    """`answers` by path: a response, a code and message, a result, or what makes one of them from the parameters.

    A list of them is used up one by one, the last again and again; None is what the exchange itself would answer.
    """

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.answers, self.asked = {}, []
        self.altered = None  # messages of the private stream, before they are sent

    async def _rest(self, request):
        path = request.path.removeprefix("/v5/")
        query = dict(request.query) if request.method == "GET" else json.loads(await request.text() or "{}")
        self.asked.append((path, query))
        answer = self.answers.get(path)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer(query)
        if answer is None:
            return await super()._rest(request)
        if isinstance(answer, tuple):
            code, message = answer
            return web.json_response({"retCode": code, "retMsg": message, "result": {}})
        if isinstance(answer, dict):
            return web.json_response({**OK, "result": answer})
        return answer

    async def _send(self, one, message):
        if self.altered is None or not one.private:
            await super()._send(one, message)
            return
        for text in self.altered(message):
            await one.socket.send_str(text)
            one.sent += 1

    def queries(self, path):
        return [query for each, query in self.asked if each == path]


def text(body, status=200, kind="application/json"):
    """A response that is no answer of the exchange."""
    return lambda _query: web.Response(text=body, status=status, content_type=kind)


async def at_once(*_):
    """No pause."""


def with_gateway(play, answers=None, faults=None, symbols=("BTCUSDT", "SOLUSDT")):
    """`play(gateway, exchange, server)`; `answers` hold from the moment on when the instruments are known."""

    async def main():
        exchange = exchange_for(config())
        server = Hooked(exchange, [KEY], faults=faults or Faults())
        gateway = gateway_to(f"http://127.0.0.1:{await server.start()}")
        pauses, Connection._ask.retry.sleep = Connection._ask.retry.sleep, at_once
        pause, changing.PAUSE = changing.PAUSE, 0.0
        try:
            await gateway.instruments(list(symbols))
            server.answers |= answers or {}
            return await play(gateway, exchange, server)
        finally:
            Connection._ask.retry.sleep, changing.PAUSE = pauses, pause
            await gateway.close()
            await server.stop()

    return asyncio.run(main())
