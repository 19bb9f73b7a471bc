"""Market data that is stored: coverage by day, markets by their fixed ids, symbols, instruments as of a date."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from bot.errors import Misconfigured
from services.web import research
from services.web.context import Console, Reader, console_of
from services.web.failures import Failure
from services.web.research_models import CoverageShown, DatedInstruments, TradableSymbols, VenueMarketList

router = APIRouter(prefix="/market-data", tags=["market-data"])

Text = Annotated[str, Query(pattern="^[A-Z0-9]{0,30}$", description="part of a symbol")]
Day = Annotated[str, Query(pattern=r"^(\d{4}-\d{2}-\d{2})?$", description="a UTC day, such as 2024-03-05")]
Days = Annotated[int, Query(ge=1, le=400, description="how many")]
MarketId = Annotated[int, Query(ge=1, le=1000, description="of GET /market-data/venue-markets")]


@router.get("/venue-markets")
async def venue_markets(request: Request, _by: Reader) -> VenueMarketList:
    """List the markets of exchanges by the ids that they keep for ever."""
    return VenueMarketList.model_validate({"items": await console_of(request).sources.answers.ask("markets")})


@router.get("/symbols")
async def symbols(
    request: Request, _by: Reader, text: Text = "", market_id: Annotated[int | None, Query(ge=1, le=1000)] = None,
    cursor: Annotated[str | None, Query(pattern=r"^\d{1,9}$", description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> TradableSymbols:  # fmt: skip
    """List the symbols that can be traded, by name and market id: the order never changes."""
    start = int(cursor or 0)
    said = {"text": text, "market_id": market_id, "start": start, "limit": limit}
    found = await console_of(request).sources.answers.ask("symbols", said)
    following = str(start + limit) if start + limit < found["count"] else None
    return TradableSymbols.model_validate({**found, "next": following})


@router.get("/instruments")
async def instruments(
    request: Request, _by: Reader, market_id: MarketId, as_of: Day, text: Text = ""
) -> DatedInstruments:
    """List tick, lot, minimum and fees of a market's instruments as they were stated at a day."""
    if not as_of:
        raise Failure(422, "invalid", "as_of is empty.", "give a UTC day, such as 2024-03-05", "as_of")
    return DatedInstruments.model_validate(await instruments_at(console_of(request), market_id, as_of, text))


async def instruments_at(console: Console, market_id: int, as_of: str, text: str) -> Any:
    """Ask for instruments; raises Failure with the refusal."""
    try:
        return await console.sources.answers.ask("instruments", {"market_id": market_id, "as_of": as_of, "text": text})
    except Misconfigured as error:
        raise research.refusal(error) from None


@router.get("/coverage")
async def coverage(request: Request, _by: Reader, text: Text = "", until: Day = "", days: Days = 90) -> CoverageShown:
    """Say how much of each day is stored of each series; without `until` up to the last stored day."""
    return CoverageShown.model_validate(await stored_days(console_of(request), text, until, days))


async def stored_days(console: Console, text: str, until: str, days: int) -> Any:
    """Ask for coverage; raises Failure with the refusal."""
    try:
        return await console.sources.answers.ask("coverage", {"text": text, "until": until, "days": days})
    except Misconfigured as error:
        raise research.refusal(error) from None
