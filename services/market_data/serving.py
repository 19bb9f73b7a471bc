"""What a collector answers on this machine: `/metrics` to Prometheus, `/minutes` to bots that warm up.

    GET /minutes?market_id=4&symbol=BTCUSDT&first=MS&after=MS      rows of [ts, open, high, low, close, volume]

Minutes are told where every one of [first, after) is there, and 404 otherwise: then the exchange is to be asked. Its
address is in `<data dir>/collector.json` as long as it runs.
"""

from __future__ import annotations

import json
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from bot.candles import COLUMNS
from bot.errors import Misconfigured
from bot.times import MINUTE
from services.market_data.address import address_file
from services.market_data.collector import Collector
from services.market_data.collector_metrics import CollectorMetrics
from services.market_data.store import StoreUnreachable

MOST_MINUTES: Final = 100_000  # of one answer


class MinuteServer:
    """The interface of a collector."""

    def __init__(self, collector: Collector, port: int) -> None:
        self.collector, self.port = collector, port
        self.registry = CollectorRegistry()
        self.registry.register(CollectorMetrics(collector))
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Open the door; returns its address. Raises Misconfigured for a port that is taken."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/minutes", self._minutes)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        except OSError:
            raise Misconfigured(f"port {self.port} is taken on this machine; give another, or 0 for any.") from None
        address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        path = address_file(self.collector.settings.data_dir)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"address": address}), encoding="utf-8")
        partial.replace(path)
        return address

    async def stop(self) -> None:
        """Close the door."""
        address_file(self.collector.settings.data_dir).unlink(missing_ok=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _minutes(self, request: web.Request) -> web.Response:
        try:
            number, first, after = (int(request.query[name]) for name in ("market_id", "first", "after"))
            series = self.collector.markets[number].series[request.query["symbol"]]
        except (KeyError, ValueError):
            raise web.HTTPNotFound(text="this symbol is not collected") from None
        if not 0 < (after - first) // MINUTE <= MOST_MINUTES:
            raise web.HTTPNotFound(text=f"1 to {MOST_MINUTES} minutes are told at once")
        rows = {}
        try:
            if self.collector.store.holds(series.name):
                stored = self.collector.store.read(series.name, first, after)
                columns = [getattr(stored, name).tolist() for name in COLUMNS]
                rows = {row[0]: row for row in zip(*columns, strict=True)}
        except StoreUnreachable:
            raise web.HTTPNotFound(text="the store does not answer") from None
        rows |= {ts: (ts, *one.values) for ts, one in series.minutes.held.items() if first <= ts < after}
        if len(rows) < (after - first) // MINUTE:
            raise web.HTTPNotFound(text=f"{(after - first) // MINUTE - len(rows)} minutes are missing")
        return web.json_response([rows[ts] for ts in sorted(rows)])
