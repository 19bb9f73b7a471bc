"""Renders pages and the parts of them that change, and says with each how old what it shows is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import yaml
from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from bot.ports import Unreachable
from services.web import figures
from services.web.access import ConsoleSession
from services.web.context import Console, console_of, session_of
from services.web.guard import tagged
from services.web.telling import spoken
from services.web.watch import SeenBot
from services.web.words import PageWords
from services.words import LANGUAGES, chosen

LANGUAGE, THEME = "language", "theme"  # cookies: how somebody likes to see it
# Pages by what one comes for; and those that are reached from another page.
MENU = {
    "watching": (
        *(("overview", "/"), ("bots", "/bots"), ("portfolio", "/portfolio"), ("history", "/history/fills")),
        *(("decisions", "/decisions"), ("drift", "/drift"), ("signals", "/signals")),
    ),
    "research": (
        *(("backtest", "/backtest"), ("scan", "/scan"), ("jobs", "/jobs"), ("searches", "/sessions")),
        *(("matrix", "/matrix"), ("strategies", "/strategies"), ("replays", "/replays"), ("journal", "/journal")),
        *(("data", "/data"),),
    ),
    "running": (("config", "/config"), ("audit", "/audit"), ("settings", "/settings")),
}
INNER = {"results": "research", "search": "research", "replay": "research"}
SHARED_SECONDS, MOST_PARTS = 1.0, 200  # that a part is shared by those who ask for it, and how many are kept

templates = Environment(
    loader=PackageLoader("services.web"), autoescape=select_autoescape(), undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
for _name in (
    "money",
    "whole",
    "signed",
    "per_cent",
    "exact",
    "when",
    "told_at",
    "gain",
    "plain",
    "figure",
    "of_window",
    "bps",
    "cost",
):
    templates.filters[_name] = getattr(figures, _name)


templates.globals["spoken"] = spoken
templates.globals["menu"] = MENU
templates.globals["group_of"] = {name: group for group, places in MENU.items() for name, _ in places} | INNER
templates.filters["yaml"] = lambda document: yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
templates.filters["rough"] = figures.rough
templates.filters["countdown"] = lambda minutes: f"{int(minutes)}:{int(minutes * 60) % 60:02d}"
templates.filters["spoken_word"] = lambda name, words: words.word(name)


async def visitor(request: Request) -> ConsoleSession | None:
    """Who looks; nobody, where nobody is known or the database that knows is away."""
    try:
        return await session_of(request)
    except Unreachable:
        return None


def language(request: Request) -> str:
    """Return the language of a page."""
    return chosen(request.headers.get("accept-language", ""), request.cookies.get(LANGUAGE))


async def page(
    request: Request, name: str, bots: list[SeenBot], lay: Callable[[Console, PageWords], Awaitable[dict[str, Any]]],
    shared: bool = True, **more: Any,
) -> Response:  # fmt: skip
    """Render a page or, for X-Part, the part of it that changes; whoever is not signed in is led to the door.

    `shared`: the part is the same for everybody, so that browsers which ask for it at once share one.
    """
    session = await visitor(request)
    part = "x-part" in request.headers
    if session is None:
        return Response(status_code=401) if part else RedirectResponse("/sign-in", 303)
    console, words = console_of(request), PageWords(language(request))

    async def made() -> str:
        values = await _values(request, session, name, bots, await _laid(console, words, lay))
        template = templates.get_template("away.html" if values["trouble"] else f"{name}.html")
        values |= more
        return "".join(template.blocks["live"](template.new_context(values))) if part else template.render(values)

    key = (str(request.url), words.language)
    text = await parts.of(key, console, made) if part and shared else await made()
    response = Response(text, media_type="text/html")
    # A bot that has ended beside others that run is greyed by itself, and has its sentence.
    ages = [console.watcher.age(one.bot) for one in [one for one in bots if not one.trouble] or bots]
    response.headers["X-Age"] = (
        "" if None in ages else f"{max((one for one in ages if one is not None), default=0.0):.1f}"
    )
    return tagged(request, response) if part else response


async def _laid(
    console: Console, words: PageWords, lay: Callable[[Console, PageWords], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    """What a page shows; only `trouble` where the database is away."""
    try:
        return await lay(console, words) | {"trouble": ""}
    except Unreachable as error:
        console.watcher.note("database", str(error))
        return {"trouble": words("database_away")}


async def _values(
    request: Request, session: ConsoleSession, name: str, bots: list[SeenBot], laid: dict[str, Any]
) -> dict[str, Any]:
    """Everything that a template may say."""
    console = console_of(request)
    return laid | {
        "t": PageWords(language(request)),
        "page": name,
        "bots": bots,
        "all_bots": console.watcher.bots(),
        "session": session,
        "away": console.watcher.trouble,
        "theme": request.cookies.get(THEME, ""),
        "languages": LANGUAGES,
        "path": request.url.path,
        "version": console.version,
    }


class Parts:
    """Parts as they were rendered last, until something has changed, a second at most."""

    def __init__(self) -> None:
        self._kept: dict[Any, tuple[int, float, str]] = {}
        self._turns: dict[Any, asyncio.Lock] = {}

    async def of(self, key: Any, console: Console, make: Callable[[], Awaitable[str]]) -> str:
        """Return what is kept under a key, or make it: once, however many ask meanwhile."""
        watcher = console.watcher
        whole = (id(watcher), *key)
        async with self._turns.setdefault(whole, asyncio.Lock()):
            version, at, text = self._kept.get(whole, (-1, 0.0, ""))
            if version == watcher.version and watcher.clock() - at < SHARED_SECONDS:
                return text
            if len(self._kept) >= MOST_PARTS:
                self._kept.clear()
                self._turns.clear()
            version, at = watcher.version, watcher.clock()
            text = await make()
            self._kept[whole] = version, at, text
            return text


parts = Parts()
