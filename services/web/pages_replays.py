"""The pages of the manual backtester and of the journal."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from services.web.api_replays import OfSymbol, Search, Source, Start, Tag
from services.web.context import Console, console_of
from services.web.rendering import language, page, visitor
from services.web.replay_models import ReplayName
from services.web.words import PageWords

router = APIRouter(include_in_schema=False)
ROWS = 100  # of a page of the journal
MOST_ROWS = 20_000  # of an export
OPENINGS = ("asia", "london", "new_york", "day")
# What the scripts of these pages say.
SAID = (
    *("next", "play", "pause", "over", "bot_reads", "bot_nothing", "no_trades", "at_market", "closing", "refused"),
    *("liquidated", "open", "stop", "target", "picture_kept", "ended", "prepares"),
    *("change", "changes", "withdraw", "of_position", "entry_limit", "entry_stop"),
)
FIGURES = (
    *("total_return_pct", "benchmark_return_pct", "max_drawdown_pct", "trades", "win_rate_pct", "profit_factor"),
    *("average_r", "expectancy", "fees", "funding", "slippage"),
)


def _said(words: PageWords) -> dict[str, str]:
    """Texts of a script by their names, with the names of reasons, sides and figures."""
    reasons = ("ENTRY", "EXIT_SL", "EXIT_TP", "BY_HAND", "EXIT_EMERGENCY")
    found = {name: words(f"replay_{name}") for name in SAID}
    found |= {one: words(f"reason_{one.lower()}") for one in reasons}
    found |= {f"figure_{one}": words(f"figure_{one}") for one in FIGURES}
    return found | {one: words.word(one) for one in ("buy", "sell", "long", "short", "limit", "market")}


@router.get("/replays")
async def replays(request: Request) -> Response:
    """Sessions, and a form that begins one."""

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        return {"rows": await console.sources.replays.replays()}

    return await page(request, "replays", [], lay, said=_said(PageWords(language(request))))


@router.get("/replays/{replay}")
async def replay(request: Request, replay: ReplayName) -> Response:
    """A session: chart, orders, and what came of them."""

    async def lay(_console: Console, _words: PageWords) -> dict[str, Any]:
        return {}

    said = _said(PageWords(language(request)))
    return await page(request, "replay", [], lay, replay=replay, said=said, openings=OPENINGS, figures=FIGURES)


@router.get("/journal")
async def journal(
    request: Request, search: Search = "", source: Source = "", symbol: OfSymbol = "", tag: Tag = "", start: Start = 0
) -> Response:
    """Records of manual and live trades."""

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        rows = console.sources.journal
        found = await rows.records(search, source, symbol, tag, start, ROWS + 1)
        following = start + ROWS if len(found) > ROWS else None
        return {"rows": found[:ROWS], "following": following, "outbox": await rows.outbox()}

    asked: dict[str, Any] = {"search": search, "source": source, "symbol": symbol, "tag": tag, "start": start}
    return await page(request, "journal", [], lay, asked=asked, said=_said(PageWords(language(request))))


@router.get("/journal.csv")
async def journal_csv(
    request: Request, search: Search = "", source: Source = "", symbol: OfSymbol = "", tag: Tag = ""
) -> Response:
    """Records as CSV."""
    if await visitor(request) is None:
        return RedirectResponse("/sign-in", 303)
    rows = console_of(request).sources.journal
    text = rows.csv(await rows.records(search, source, symbol, tag, 0, MOST_ROWS))
    headers = {"Content-Disposition": 'attachment; filename="journal.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/journal.zip")
async def journal_zip(
    request: Request, search: Search = "", source: Source = "", symbol: OfSymbol = "", tag: Tag = ""
) -> Response:
    """Records as Markdown with their pictures."""
    if await visitor(request) is None:
        return RedirectResponse("/sign-in", 303)
    rows = console_of(request).sources.journal
    content = await rows.exported(await rows.records(search, source, symbol, tag, 0, MOST_ROWS))
    headers = {"Content-Disposition": 'attachment; filename="journal.zip"'}
    return Response(content, media_type="application/zip", headers=headers)
