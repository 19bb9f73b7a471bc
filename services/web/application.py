"""The console as an application: its routes, what guards them, and the watcher that runs beside them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from starlette.middleware.gzip import GZipMiddleware

from services.web import (
    api_auth,
    api_bots,
    api_data,
    api_drift,
    api_fleet,
    api_market,
    api_replays,
    api_research,
    api_signals,
    failures,
    pages,
    pages_data,
    pages_drift,
    pages_fleet,
    pages_replays,
    pages_research,
    pages_signals,
    stream,
)
from services.web.context import Console, console_of
from services.web.failures import Problem
from services.web.guard import Guard, tagged
from services.web.models import ConsoleReady, Health

API = "/api/v1"
CHART = ("lightweight-charts.js", "columns.js", "overlays.js", "chart.js", "chart.css")
OWN = (
    *("console.js", "pair.js", "history.js", "research.js", "builder.js", "fleet.js", "drift.js", "whatif.js"),
    *("replay.js", "journal.js", "data.js", "scan.js", "compare.js", "settings.js", "config.js", "signals.js"),
    *("console.css", "icon.svg"),
)
TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "description": description}
    for code, description in (
        (401, "Nobody is signed in"),
        (403, "The scope is another, or the request comes from elsewhere"),
        (404, "There is no such thing"),
        (409, "The bot refuses, or does not run"),
        (413, "The body is too large"),
        (422, "Something that was given is wrong"),
        (429, "Too many requests"),
        (503, "Something that is needed is away"),
    )
}

watching = APIRouter(tags=["watching"])


@watching.get("/health")
async def health() -> Health:
    """Say that the console lives. Open to everybody."""
    return Health()


@watching.get("/ready", responses={503: {"model": ConsoleReady}})
async def ready(request: Request) -> Any:
    """Say whether everything that the console reads answers. Open to everybody."""
    trouble = dict(console_of(request).watcher.trouble)
    shown = ConsoleReady(ready=not trouble, trouble=trouble)
    return JSONResponse(shown.model_dump(), 503) if trouble else shown


@watching.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Figures of the console for Prometheus; of bots it has only whether they answer. Open to everybody."""
    watcher, registry = console_of(request).watcher, CollectorRegistry()
    answers = Gauge("traderagent_console_bot_answers", "Whether a bot answers", ["bot"], registry=registry)
    for one in watcher.bots():
        answers.labels(one.bot).set(not one.trouble)
    readers = Gauge("traderagent_console_subscribers", "Pages that hear the stream", registry=registry)
    readers.set(len(watcher.subscribers))
    Gauge("traderagent_console_events", "Events told since the start", registry=registry).set(watcher.events)
    away = Gauge("traderagent_console_source_away", "Whether a source is away", ["source"], registry=registry)
    for name in ("database", "bus"):
        away.labels(name).set(name in watcher.trouble)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def application(console: Console, hosts: tuple[str, ...], origin: str | None) -> FastAPI:
    """Build it; the watcher runs as long as it does."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(console.watcher.run())
        yield
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    app = FastAPI(
        title="traderagent",
        version=console.version,
        description="Bots of this machine: how they stand, what they did, and telling them something.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,  # which the client's methods are called
    )
    app.state.console = console
    failures.install(app)
    own = (api_auth, api_bots, api_data, api_drift, api_fleet, api_market, api_replays, api_research, api_signals)
    for one in (*own, stream):
        app.include_router(one.router, prefix=API, responses=PROBLEMS)
    app.include_router(watching)
    for one in (pages, pages_data, pages_drift, pages_fleet, pages_replays, pages_research, pages_signals):
        app.include_router(one.router)
    _serve_files(app)
    app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=5)
    app.add_middleware(Guard, hosts=hosts, origin=origin, limits=console.access.limits, mark=chart_mark())
    return app


def chart_mark() -> str:
    """Return the hash of the one style that the chart's library puts into a page, for its mark."""
    text = _text("backtesting.reports", "chart", CHART[0]).decode()
    start = text.index('innerText="a#tv-attr-logo') + len('innerText="')
    return _sha(text[start : text.index('"', start)])


def _sha(style: str) -> str:
    import base64  # noqa: PLC0415

    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _text(package: str, *parts: str) -> bytes:
    return files(package).joinpath(*parts).read_bytes()


def _serve_files(app: FastAPI) -> None:
    """Serve the files of the console and those of the chart component, which reports share."""
    kept = {name: _text("services.web", "static", name) for name in OWN}
    kept |= {name: _text("backtesting.reports", "chart", name) for name in CHART}

    @app.get("/static/{name}", include_in_schema=False)
    async def static(request: Request, name: str) -> Response:
        if name not in kept:
            raise failures.not_found("file", name, "load the page again")
        return tagged(request, Response(kept[name], media_type=TYPES[name.rpartition(".")[2]]))
