"""The page of drift, its rows as CSV, and the part of a pair's page that says what would be at another price."""

from __future__ import annotations

import csv
import io
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from services.web import figures
from services.web.api_drift import ALONE, Price, kept_day, kept_days, supposed
from services.web.context import Console, console_of, seen_bot
from services.web.failures import Failure
from services.web.models import Name, Pair
from services.web.pages import Bot, chosen_bot
from services.web.rendering import language, page, templates, visitor
from services.web.words import PageWords

router = APIRouter(include_in_schema=False)
KINDS = ("fees", "slippage", "late", "missed", "unexpected")
DAYS_AS_TABS = 14
DayAsked = Annotated[str, Query(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]


def bars(sums: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lay out bps by kind as bars from a middle line: `left` and `width` in hundredths of the picture."""
    largest = max((abs(one["bps"] or 0.0) for one in sums), default=0.0)
    found = []
    for one in sums:
        width = 50.0 * abs(one["bps"] or 0.0) / largest if largest else 0.0
        found.append(one | {"width": round(width, 2), "left": round(50.0 - (width if one["cost"] < 0 else 0.0), 2)})
    return found


@router.get("/drift")
async def drift(request: Request, bot: Bot = "", day: DayAsked = "") -> Response:
    """Each live fill of a day beside its simulated twin, and what the difference cost by kind."""
    seen = await chosen_bot(request, bot)

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        days = await kept_days(console, seen.bot) if seen.bot else []
        shown = day or (days[0]["day"] if days else "")
        try:
            said = await kept_day(console, seen.bot, shown) if shown else None
        except Failure:
            said = None
        fills, _ = await console.sources.history.fills(seen.bot, limit=1) if seen.bot else ([], None)
        newest = figures.when(fills[0]["at"])[:10] if fills else ""
        pairs = sorted({one["pair"] for one in said["sums"] if one["pair"]}) if said else []
        return {
            "said": said,
            "day": shown,
            "days": days[:DAYS_AS_TABS],
            "propose": shown or newest,
            "whole": bars([one for one in said["sums"] if not one["pair"]]) if said else [],
            "by_pair": [(pair, {one["kind"]: one for one in said["sums"] if one["pair"] == pair}) for pair in pairs]
            if said
            else [],
            "alone": ALONE,
        }

    return await page(request, "drift", [seen] if seen.bot else [], lay, seen=seen, kinds=KINDS)


@router.get("/drift.csv")
async def drift_file(request: Request, bot: Name, day: DayAsked = "") -> Response:
    """Write every fill of a day with its twin as CSV, times as UTC text."""
    if await visitor(request) is None:
        return RedirectResponse("/sign-in", 303)
    console = console_of(request)
    seen = seen_bot(console, bot)
    day = day or next(iter(await console.sources.twins.days(seen.bot)), "")
    said = await kept_day(console, seen.bot, day) if day else {"rows": []}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    sides = [f"{side}_{name}" for side in ("live", "simulated") for name in ("at", "price", "fee", "maker")]
    named = ("kind", "pair", "side", "quantity", "order", "reason", "seconds", "bps", "why")
    writer.writerow([*named, *sides, *(f"cost_{kind}" for kind in KINDS)])
    for row in said["rows"]:
        values = [row[name] for name in named]
        for side in (row["live"], row["simulated"]):
            told = ("", "", "", "") if side is None else tuple(side[name] for name in ("at", "price", "fee", "maker"))
            values += [figures.when(told[0]) if told[0] else "", *told[1:]]
        writer.writerow([*values, *(row["costs"].get(kind, 0.0) for kind in KINDS)])
    headers = {"Content-Disposition": f'attachment; filename="{bot}-drift-{day or "none"}.csv"'}
    return Response(out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/bots/{bot}/pairs/{pair}/what-if")
async def what_if_part(request: Request, bot: Name, pair: Pair, price: Price) -> Response:
    """Render what a pair would do at a price, for its page to put in place."""
    if await visitor(request) is None:
        return RedirectResponse("/sign-in", 303)
    console, words = console_of(request), PageWords(language(request))
    try:
        values: dict[str, Any] = {"one": await supposed(console, seen_bot(console, bot), pair, price), "refused": ""}
    except Failure as failure:
        values = {"one": None, "refused": f"{failure.problem.message} {failure.problem.remedy}"}
    text = templates.get_template("what_if.html").render(values | {"t": words})
    return Response(text, media_type="text/html; charset=utf-8")
