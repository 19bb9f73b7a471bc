"""The pages: rendered here, refreshed by `console.js`, which asks for the part of a page that changes.

A part comes with X-Age, seconds since the bots on it last spoke. Whatever is away is a sentence on the page.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from bot.candles import parse_time
from bot.errors import Misconfigured, TradingError
from bot.ports import Unreachable
from bot.times import DAY
from services.account_statement import StatementFormat
from services.web import figures
from services.web.access import LEAST_PASSWORD, OWNER
from services.web.allocation import layers, most_of, risk_groups
from services.web.api_bots import Cursor, OnPair, why_now
from services.web.api_market import account_rows, allocated
from services.web.context import Console, console_of, seen_bot
from services.web.failures import Failure
from services.web.halt import choices, held_positions, minutes_left
from services.web.models import Name, Pair
from services.web.pairs import counted, laid_orders, protection
from services.web.portfolio import by_month, by_week, correlations, earned_table, line
from services.web.rendering import THEME, language, page, templates, visitor
from services.web.scopes import Scope
from services.web.watch import SeenBot
from services.web.words import PageWords

router = APIRouter(include_in_schema=False)
ROWS = 100  # of a page of a table
MOST_ROWS = 20_000  # of an export
ALLOCATION_DAYS = (7, 30, 365)  # that the portfolio's allocation is shown of, or all
WHAT = ("fills", "orders", "trades")


@router.get("/sign-in")
async def sign_in(request: Request) -> Response:
    """The door."""
    words = PageWords(language(request))
    try:
        has, trouble = await console_of(request).access.has_password(), ""
    except Unreachable:
        has, trouble = True, words("database_away")
    values = {"t": words, "has": has, "theme": request.cookies.get(THEME, ""), "trouble": trouble}
    return Response(templates.get_template("sign_in.html").render(values), media_type="text/html")


@router.get("/")
async def overview(request: Request) -> Response:
    """Every bot; those that wait for a decision first."""
    console = console_of(request)
    seen = console.watcher.bots()

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        told = [one.status for one in seen if one.status is not None]
        decisions: dict[str, list[Any]] = {one.bot: [] for one in seen}
        try:
            found = await asyncio.gather(*(console.sources.history.decisions(one.bot, limit=6) for one in seen))
            decisions |= {one.bot: rows for one, (rows, _) in zip(seen, found, strict=True)}
        except Unreachable as error:  # the page says so, and goes on with what the bots say
            console.watcher.note("database", str(error))
        return {
            "equity": sum(one["equity"] for one in told),
            "exposure": sum(one["exposure"] for one in told),
            "decisions": decisions,
            "minutes_left": minutes_left,
        }

    return await page(request, "overview", seen, lay)


@router.get("/bots/{bot}/pairs/{pair}")
async def pair(request: Request, bot: Name, pair: Pair) -> Response:
    """A pair: chart, desired and open orders, and why it holds what it holds."""
    seen = await _seen(request, bot)

    async def lay(console: Console, words: PageWords) -> dict[str, Any]:
        status = next((one for one in (seen.status or {"pairs": []})["pairs"] if one["pair"] == pair), None)
        try:
            orders, refused = laid_orders(await console.sources.bots.orders(bot, pair)), ""
        except TradingError as error:
            orders, refused = [], str(error)
        try:
            why = (await why_now(console, bot, pair, words)).sentences
            fills, _ = await console.sources.history.fills(bot, pair, limit=12)
        except Unreachable as error:
            console.watcher.note("database", str(error))
            why, fills = [], []
        return {
            "one": status,
            "orders": orders,
            "refused": refused,
            "why": why,
            "fills": fills,
            "protection": protection(status, words) if status else [],
            "counted": counted(status, words) if status else [],
        }

    return await page(request, "pair", [seen], lay, seen=seen, pair=pair)


async def _seen(request: Request, bot: str) -> SeenBot:
    """What is known of a bot; before anybody is signed in, nothing is told of whether there is one."""
    if await visitor(request) is None:
        return SeenBot(bot)
    return seen_bot(console_of(request), bot)


async def chosen_bot(request: Request, bot: str) -> SeenBot:
    """Return the bot that is asked for, else the first there is."""
    seen = console_of(request).watcher.bots()
    if bot:
        return await _seen(request, bot)
    return seen[0] if seen else SeenBot("")


Bot = Annotated[str, Query(pattern="^[a-z0-9]{0,8}$")]


@router.get("/portfolio")
async def portfolio(
    request: Request, bot: Bot = "", days: Annotated[int, Query(ge=0, le=100_000, description="0: all")] = 0
) -> Response:
    """Where the money of a bot is and was, and what it has earned."""
    seen = await chosen_bot(request, bot)

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        earned = await console.sources.history.earned(seen.bot)
        marks: list[dict[str, Any]] = []
        if console.sources.events is not None and seen.bot:
            try:
                marks = await console.sources.events.equity(seen.bot, 4000)
            except Unreachable:
                marks = []
        names = sorted({one["pair"] for one in earned})
        periods = (("day", lambda day: day), ("week", by_week), ("month", by_month))
        tables = [(name, earned_table(earned, names, key)) for name, key in periods]
        return {
            "tables": tables,
            "pairs_earned": names,
            "contributions": await console.sources.history.contributions(seen.bot),
            "correlations": correlations(earned),
            "line": line([one["equity"] for one in marks]),
            **await _allocation(console, seen, days),
        }

    periods = (*ALLOCATION_DAYS, 0)
    return await page(request, "portfolio", [seen] if seen.bot else [], lay, seen=seen, days=days, periods=periods)


async def _allocation(console: Console, seen: SeenBot, days: int) -> dict[str, Any]:
    """Risk groups as they are, and the allocation of the last so many days of the bot's market (0: of all)."""
    known = seen.status["at"] if seen.status else None
    now = parse_time(known) if known else console.access.now()
    marks = await allocated(console, seen, max(now - days * DAY, 0) if days else None) if seen.bot else []
    last = max((mark["at"] for mark in marks), default=0)
    until = max(now, last) if known else last
    drawn = {"layers": layers(marks, until), "most": most_of(marks), "until": until}
    return {"groups": risk_groups(seen.status) if seen.status else [], "allocation": marks, **drawn}


async def _rows(
    console: Console, what: str, bot: str, pair: str, cursor: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    history = console.sources.history
    if not bot:
        return [], None
    if what == "trades":
        closed, _ = await history.trades(bot)
        found = [one.as_dict() for one in reversed(closed) if pair in ("", one.pair)]
        start = int(cursor) if cursor and cursor.isdecimal() and len(cursor) < 10 else 0
        return found[start : start + limit], str(start + limit) if start + limit < len(found) else None
    if what == "decisions":
        rows, following = await history.decisions(bot, pair, "", cursor, None, limit)
        return [one | {"fields": json.dumps(one["fields"])} for one in rows], following
    return await {"fills": history.fills, "orders": history.orders}[what](bot, pair, cursor, None, limit)


@router.get("/history/{what}")
async def history(request: Request, what: str, bot: Bot = "", pair: OnPair = "", cursor: Cursor = None) -> Response:
    """Orders, fills or closed trades of a bot; `.csv` of them for other programs."""
    what, _, ending = what.partition(".")
    if (what not in WHAT and (what, ending) != ("decisions", "csv")) or ending not in ("", "csv"):
        raise Failure(404, "not_found", "there is no such page.", "choose fills, orders or trades")
    seen = await chosen_bot(request, bot)
    if ending == "csv":
        return await _export(request, what, seen.bot, pair)

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        rows, following = await _rows(console, what, seen.bot, pair, cursor, ROWS)
        return {"rows": rows, "following": following, "account": await _account(console, what, seen.bot)}

    named: dict[str, Any] = {
        "what": what,
        "pair": pair,
        "cursor": cursor,
        "kinds": WHAT,
        "forms": list(StatementFormat),
    }
    return await page(request, "history", [seen] if seen.bot else [], lay, seen=seen, **named)


async def _account(console: Console, what: str, bot: str) -> dict[str, Any] | None:
    """What moved the wallet since the bot began, beside its trades."""
    if what != "trades" or not bot:
        return None
    statement = await console.sources.history.account(bot)
    period = statement.between(None, None)
    return {
        "sums": period.sums(),
        "change": period.change,
        "coin": statement.coin,
        "differences": statement.differences,
    }


Day = Annotated[str, Query(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]


@router.get("/bots/{bot}/account.csv")
async def account(
    request: Request, bot: Name, since: Day = "", until: Day = "",
    program: Annotated[StatementFormat, Query()] = StatementFormat.CSV,
) -> Response:  # fmt: skip
    """The account of a bot as a file, from one UTC day up to another."""
    if await visitor(request) is None:
        return RedirectResponse("/sign-in", 303)
    first, last = _moment(since, "since"), _moment(until, "until")
    if first is not None and last is not None and first >= last:
        raise Failure(
            422, "invalid", f"since ({since}) must lie before until ({until}).", "swap or widen them", "since"
        )
    return await account_rows(console_of(request), seen_bot(console_of(request), bot).bot, program, first, last)


def _moment(day: str, field: str) -> int | None:
    try:
        return round(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() * 1000) if day else None
    except ValueError:
        raise Failure(
            422, "invalid", f"{field} is {day}, which is no day.", "write it like 2024-03-05", field
        ) from None


async def _export(request: Request, what: str, bot: str, pair: str) -> Response:
    """Every row as CSV, the newest first, times as UTC text."""
    if await visitor(request) is None:
        return RedirectResponse("/sign-in", 303)
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(rows) < MOST_ROWS:
        more, cursor = await _rows(console_of(request), what, bot, pair, cursor, 1000)
        rows += more
        if cursor is None:
            break
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(rows[0] if rows else ["empty"])
    for row in rows:
        writer.writerow([figures.when(one) if name == "at" else one for name, one in row.items()])
    headers = {"Content-Disposition": f'attachment; filename="{bot}-{what}.csv"'}
    return Response(out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/decisions")
async def decisions(
    request: Request, bot: Bot = "", pair: OnPair = "", cursor: Cursor = None,
    kind: Annotated[str, Query(pattern="^[a-z_]{0,30}$")] = "",
) -> Response:  # fmt: skip
    """What a bot decided, with its numbers."""
    seen = await chosen_bot(request, bot)

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        if not seen.bot:
            return {"rows": [], "following": None}
        rows, following = await console.sources.history.decisions(seen.bot, pair, kind, cursor, None, ROWS)
        return {"rows": rows, "following": following}

    named: dict[str, Any] = {"pair": pair, "kind": kind, "cursor": cursor}
    return await page(request, "decisions", [seen] if seen.bot else [], lay, seen=seen, **named)


@router.get("/bots/{bot}/halt")
async def halt(request: Request, bot: Name) -> Response:
    """A halt: what each answer would do now."""
    seen = await _seen(request, bot)

    async def lay(console: Console, words: PageWords) -> dict[str, Any]:
        now = seen.status
        if now is None:
            return {"positions": [], "choices": []}
        return {
            "positions": held_positions(now),
            "choices": choices(now, console.outcomes, words) if now["halted"] else [],
        }

    return await page(request, "halt", [seen], lay, seen=seen, minutes_left=minutes_left)


@router.get("/audit")
async def audit(request: Request, bot: Bot = "", cursor: Annotated[int, Query(ge=0, le=2**62)] = 0) -> Response:
    """Who commanded what: through this console, and what bots were told from elsewhere."""

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        rows = await console.sources.access.audit(bot, cursor, ROWS + 1)
        following = rows[ROWS - 1]["id"] if len(rows) > ROWS else None
        said: list[dict[str, Any]] = []
        for one in console.watcher.bots():
            told, _ = await console.sources.history.commands(one.bot, limit=50)
            said += [row | {"bot": one.bot} for row in told if row["source"] not in ("console", "api")]
        elsewhere = sorted(said, key=lambda row: -row["at"])[:ROWS]
        return {"rows": rows[:ROWS], "following": following, "elsewhere": elsewhere}

    return await page(request, "audit", [], lay, bot=bot)


@router.get("/config")
async def config(request: Request, bot: Bot = "") -> Response:
    """What a bot is told, with meaning and bounds, and what of it may change while it runs."""
    seen = await chosen_bot(request, bot)

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        if not seen.bot:
            return {"settings": [], "refusal": ""}
        try:
            return {"settings": await console.sources.bots.config(seen.bot), "refusal": ""}
        except (Misconfigured, Unreachable) as error:
            return {"settings": [], "refusal": str(error)}

    return await page(request, "config", [seen] if seen.bot else [], lay, seen=seen)


@router.get("/settings")
async def settings(request: Request) -> Response:
    """Language, password, second factor, sessions and tokens."""
    by = await visitor(request)

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        sees = by is not None and by.scope is Scope.MONEY  # who may end them
        return {
            "sessions": await console.access.sessions() if sees else [],
            "has": await console.access.has_password(),
            "factor": await console.access.factor.is_on(OWNER),
            "recovery_codes": await console.access.factor.recovery_codes(OWNER),
        }

    return await page(request, "settings", [], lay, shared=False, least=LEAST_PASSWORD)
