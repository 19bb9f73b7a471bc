"""The page of stored data: a map of days by series, downloads and repairs, instruments as of a date."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from bot.errors import Misconfigured
from bot.ports import Unreachable
from services.web.api_data import Day, Days, Text, stored_days
from services.web.context import Console, console_of
from services.web.rendering import page
from services.web.words import PageWords

router = APIRouter(include_in_schema=False)
KINDS = ("download", "repair")
LATEST = 200  # jobs, among which those of data are looked for
JOBS, INSTRUMENTS = 12, 200  # that are shown
LEVELS = ((1.0, "whole"), (0.99, "most"), (0.5, "some"), (0.0, "few"))  # of a day: at least this share


@router.get("/data")
async def data(
    request: Request, text: Text = "", until: Day = "", days: Days = 90, as_of: Day = "",
    market_id: Annotated[int, Query(ge=1, le=1000)] = 4,
) -> Response:  # fmt: skip
    """What is stored, day by day; what is being downloaded; instruments as of a day."""
    whole = "x-part" not in request.headers  # the map and the instruments are those of when the page was loaded
    day = as_of or datetime.fromtimestamp(console_of(request).access.now() / 1000, UTC).strftime("%Y-%m-%d")

    async def lay(console: Console, words: PageWords) -> dict[str, Any]:
        rows = console.sources.research
        jobs = [one for one in await rows.jobs(None, 0, LATEST, active=False) if one["kind"] in KINDS][:JOBS]
        laid = {"jobs": jobs, "workers": await rows.workers()}
        return laid | await _stored(console, words, text, until, days, market_id, day) if whole else laid

    named: dict[str, Any] = {"text": text, "until": until, "days": days, "as_of": day, "market_id": market_id}
    return await page(request, "data", [], lay, levels=[name for _, name in LEVELS], **named)


async def _stored(
    console: Console, words: PageWords, text: str, until: str, days: int, market_id: int, as_of: str
) -> dict[str, Any]:
    """What the process that reads the store says; a sentence where it does not answer."""
    empty: dict[str, Any] = {"coverage": None, "markets": [], "instruments": None, "refused": ""}
    try:
        found = await stored_days(console, text, until, days)
        said = {"market_id": market_id, "as_of": as_of, "text": text}
        instruments = await console.sources.answers.ask("instruments", said)
        markets = await console.sources.answers.ask("markets")
    except Unreachable as error:
        return empty | {"refused": str(error)}
    except Misconfigured as error:
        return empty | {"refused": str(error)}
    items = [{**one, "runs": runs_of(one["shares"], found["first"], words)} for one in found["items"]]
    kept = {
        "items": instruments["items"][:INSTRUMENTS],
        "count": len(instruments["items"]),
        "later": instruments["later"],
    }
    return {"coverage": {**found, "items": items}, "markets": markets, "instruments": kept, "refused": ""}


def runs_of(shares: list[float | None], first: str, words: PageWords) -> list[dict[str, Any]]:
    """Days of one level that follow each other, each with what is said of it; `first` is the first day."""
    runs, at = [], 0
    for level, group in groupby(shares, key=level_of):
        count = len(list(group))
        told = [str(date.fromisoformat(first) + timedelta(days=at + k)) for k in (0, count - 1)]
        days = told[0] if count == 1 else f"{told[0]} \N{EN DASH} {told[1]}"
        runs.append({"at": at, "days": count, "level": level, "told": f"{days}: {words(f'level_{level}')}"})
        at += count
    return runs


def level_of(share: float | None) -> str:
    """Name how much of a day is there; the word for nothing stored where none is expected."""
    if share is None:
        return "none"
    return next(name for least, name in LEVELS if share >= least)
