"""Drift of a bot by day, and what a pair would do at another price."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from bot.errors import Misconfigured
from services.web.context import Console, Controller, KnownBot, Reader, console_of
from services.web.drift_models import DriftDayList, DriftDocument, WhatIfShown
from services.web.failures import Failure, as_failure, not_found
from services.web.models import Pair
from services.web.watch import SeenBot

router = APIRouter(prefix="/bots", tags=["drift"])
ALONE = ("missed", "unexpected")
SHOWN_DAYS = 30

DayPath = Annotated[str, Path(pattern=r"^\d{4}-\d{2}-\d{2}$", description="UTC day", examples=["2024-03-05"])]
Price = Annotated[float, Query(gt=0, le=1e15, allow_inf_nan=False, description="quote currency", examples=[61_000.0])]


def shown_day(said: dict[str, Any]) -> dict[str, Any]:
    """Lay out what a day cost in all."""
    return {
        **{name: said[name] for name in ("day", "cost", "volume", "bps")},
        "costs": {one["kind"]: one["cost"] for one in said["sums"] if not one["pair"]},
        "alone": sum(row["kind"] in ALONE for row in said["rows"]),
        "uncompared": sum(one["fills"] for one in said["uncompared"]),
    }


async def kept_days(console: Console, bot: str, most: int = SHOWN_DAYS) -> list[dict[str, Any]]:
    """Read the newest days that are kept."""
    twins = console.sources.twins
    found = [await twins.day(bot, day) for day in (await twins.days(bot))[:most]]
    return [shown_day(one) for one in found if one is not None]


async def kept_day(console: Console, bot: str, day: str) -> dict[str, Any]:
    """Read a day that is kept; raises Failure where there is none."""
    try:
        found = await console.sources.twins.day(bot, day)
    except Misconfigured as error:
        raise Failure(422, "invalid", str(error), "give a day such as 2024-03-05", "day") from None
    if found is None:
        raise not_found("day", day, "compare it first: POST the same path")
    return found


@router.get("/{bot}/drift")
async def drift_days(request: Request, seen: KnownBot) -> DriftDayList:
    """List what the last days cost beside their simulation, the newest first."""
    return DriftDayList.model_validate({"items": await kept_days(console_of(request), seen.bot)})


@router.get("/{bot}/drift/{day}")
async def drift_day(request: Request, seen: KnownBot, day: DayPath) -> DriftDocument:
    """Give each live fill of a day beside its simulated twin."""
    return DriftDocument.model_validate(await kept_day(console_of(request), seen.bot, day))


@router.post("/{bot}/drift/{day}")
async def compare_day(request: Request, seen: KnownBot, _by: Controller, day: DayPath) -> DriftDocument:
    """Compare a day anew, by the sessions of the bot's pairs; it takes seconds."""
    try:
        return DriftDocument.model_validate(await console_of(request).sources.twins.compare(seen.bot, day))
    except Misconfigured as error:
        raise as_failure(error) from None


@router.get("/{bot}/pairs/{pair}/what-if")
async def what_if(request: Request, seen: KnownBot, _by: Reader, pair: Pair, price: Price) -> WhatIfShown:
    """Say what a pair would do if its price went somewhere: a copy of its state, moved by the same kernels."""
    return WhatIfShown.model_validate(await supposed(console_of(request), seen, pair, price))


async def supposed(console: Console, seen: SeenBot, pair: str, price: float) -> dict[str, Any]:
    """Ask how a pair would stand at a price; raises Failure with what is wrong."""
    rows = [] if seen.status is None else seen.status["pairs"]
    now = next((float(one["price"]) for one in rows if one["pair"] == pair), 0.0)
    try:
        return await console.sources.twins.what_if(seen.bot, pair, price, now or None)
    except Misconfigured as error:
        raise as_failure(error) from None
