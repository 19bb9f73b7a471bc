"""Portfolio, market data, dashboard, settings and the audit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from bot.candles import COLUMNS, rolled_up
from bot.errors import Misconfigured
from bot.ports import Unreachable
from bot.times import DAY
from services.account_statement import StatementFormat
from services.web.access import LEAST_PASSWORD, SESSION
from services.web.allocation import allocation_marks, risk_groups
from services.web.api_bots import shown_bot
from services.web.context import Console, KnownBot, Reader, console_of, seen_bot
from services.web.failures import Problem, not_found
from services.web.models import (
    AccountShown,
    AllocationList,
    AllocationMark,
    AuditList,
    Dashboard,
    MarketList,
    MarketRow,
    Name,
    Pair,
    PortfolioShown,
    SettingsShown,
)
from services.web.portfolio import correlations
from services.web.research import refusal
from services.words import LANGUAGES

if TYPE_CHECKING:
    from services.web.watch import SeenBot

router = APIRouter()
MARKS = 4000  # of the account's worth
LENGTHS = (1, 5, 15, 30, 60, 240, 1440)
Moment = Annotated[int | None, Query(ge=0, le=253_402_300_799_000, description="ms, UTC")]


@router.get("/dashboard", tags=["dashboard"])
async def dashboard(request: Request, _by: Reader) -> Dashboard:
    """Everything at a glance."""
    return at_a_glance(console_of(request))


def at_a_glance(console: Console) -> Dashboard:
    """Lay out every bot, and what they come to."""
    seen = console.watcher.bots()
    told = [one.status for one in seen if one.status is not None and not one.trouble]
    return Dashboard(
        items=[shown_bot(console, one) for one in seen],
        equity=sum(one["equity"] for one in told),
        exposure=sum(one["exposure"] for one in told),
        trouble=console.watcher.trouble,
    )


@router.get("/portfolio/{bot}", tags=["portfolio"])
async def portfolio(request: Request, seen: KnownBot) -> PortfolioShown:
    """Where the money of a bot is, what it was worth, and what it has earned by day and pair."""
    console = console_of(request)
    earned = await console.sources.history.earned(seen.bot)
    return PortfolioShown.model_validate(
        {
            "bot": shown_bot(console, seen),
            "earned": earned,
            "contributions": await console.sources.history.contributions(seen.bot),
            "correlations": correlations(earned),
            "groups": [] if seen.status is None else risk_groups(seen.status),
            "equity": await equity_marks(console, seen.bot),
        }
    )


@router.get("/portfolio/{bot}/allocation", tags=["portfolio"])
async def allocation(request: Request, seen: KnownBot, since: Moment = None) -> AllocationList:
    """Say what was allocated to each pair over time, and what was free."""
    marks = await allocated(console_of(request), seen, since)
    return AllocationList(items=[AllocationMark.model_validate(one) for one in marks])


async def allocated(console: Console, seen: SeenBot, since: int | None) -> list[dict[str, Any]]:
    """Lay out what a bot allocated from a moment on."""
    traded = {one["pair"] for one in (seen.status or {"pairs": []})["pairs"]}
    return allocation_marks(await console.sources.history.allocations(seen.bot, since), traded)


@router.get("/portfolio/{bot}/account", tags=["portfolio"])
async def account(request: Request, seen: KnownBot, since: Moment = None, until: Moment = None) -> AccountShown:
    """Say what moved a bot's wallet from one moment up to another, and whether the rows add up to it."""
    statement = await console_of(request).sources.history.account(seen.bot)
    period = statement.between(since, until)
    return AccountShown(
        bot=seen.bot, coin=statement.coin, entries=len(period.entries), sums=period.sums(), before=period.before,
        change=period.change, wallet=statement.wallet, differences=list(statement.differences),
    )  # fmt: skip


@router.get(
    "/portfolio/{bot}/account.csv",
    tags=["portfolio"],
    response_class=Response,
    responses={200: {"description": "Rows.", "content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def account_file(
    request: Request, seen: KnownBot,
    program: Annotated[StatementFormat, Query(description="which one reads it")] = StatementFormat.CSV,
    since: Moment = None, until: Moment = None,
) -> Response:  # fmt: skip
    """Give every trade, fee, payment of funding and transfer of a bot, for taxes and books."""
    return await account_rows(console_of(request), seen.bot, program, since, until)


async def account_rows(
    console: Console, bot: str, form: StatementFormat, since: int | None, until: int | None
) -> Response:
    """Write the rows of a period as a file; written beside the loop, as they may be many."""
    statement = await console.sources.history.account(bot)
    text = await asyncio.to_thread(lambda: statement.between(since, until).written(form))
    headers = {"Content-Disposition": f'attachment; filename="{bot}-{form}.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


async def equity_marks(console: Console, bot: str) -> list[dict[str, float]]:
    """What the account was worth by the bus; nothing while that is away."""
    if console.sources.events is None:
        return []
    try:
        marks = await console.sources.events.equity(bot, MARKS)
    except Unreachable:
        return []
    return [{"at": one["at"], "equity": one["equity"]} for one in marks]


@router.get("/market-data/markets", tags=["market-data"])
async def markets(request: Request, _by: Reader) -> MarketList:
    """List the pairs of the bots that answer, by bot and symbol."""
    rows = [
        MarketRow(bot=seen.bot, pair=pair["pair"], price=pair["price"])
        for seen in sorted(console_of(request).watcher.bots(), key=lambda one: one.bot)
        for pair in sorted((seen.status or {"pairs": []})["pairs"], key=lambda one: one["pair"])
    ]
    return MarketList(items=rows)


@router.get(
    "/market-data/candles",
    tags=["market-data"],
    response_class=Response,
    responses={
        200: {
            "description": "Columns ts (ms), open, high, low, close, volume, one after the other: float64, little "
            "endian, X-Rows of each. X-Incomplete longer ones are withheld, as a minute of them is missing or to come.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        503: {"model": Problem},
    },
)
async def candles(
    request: Request,
    _by: Reader,
    bot: Name,
    pair: Pair,
    minutes: Annotated[int, Query(description="length of a candle: 1, 5, 15, 30, 60, 240 or 1440", ge=1, le=1440)] = 1,
    bars: Annotated[int, Query(ge=1, le=20_000, description="how many at most")] = 2000,
    until: Annotated[int | None, Query(ge=0, le=253_402_300_799_000, description="ms; those that open before")] = None,
) -> Response:
    """Give candles of a pair where a bot trades, the last ones or those before a moment, in one binary body."""
    console = console_of(request)
    _refuse_untraded(console, bot, pair)
    length = max(one for one in LENGTHS if one <= minutes)
    found = await console.sources.candles.candles(bot, pair, until, min(bars * length, 20_000))
    rolled, incomplete = rolled_up(found, length)
    rolled = rolled[-bars:]
    body = b"".join(np.ascontiguousarray(rolled[name], "<f8").tobytes() for name in COLUMNS)
    headers = {"X-Rows": str(len(rolled)), "X-Minutes": str(length), "X-Incomplete": str(incomplete)}
    return Response(body, media_type="application/octet-stream", headers=headers)


@router.get(
    "/market-data/stored-candles",
    tags=["market-data"],
    response_class=Response,
    responses={
        200: {
            "description": "Columns as of `/market-data/candles`; X-Rows is 0 where nothing is stored. X-Incomplete "
            "longer ones of the period are withheld, as a minute of them is missing.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        404: {"model": Problem},
    },
)
async def stored_candles(
    request: Request,
    _by: Reader,
    bot: Name,
    pair: Pair,
    minutes: Annotated[int, Query(description="length of a candle: 1, 5, 15, 30, 60, 240 or 1440", ge=1, le=1440)] = 60,
    bars: Annotated[int, Query(ge=1, le=20_000, description="how many at most, the last ones")] = 20_000,
    since: Annotated[
        int | None, Query(ge=0, le=253_402_300_799_000, description="ms; those that open from then")
    ] = None,
    until: Annotated[int | None, Query(ge=0, le=253_402_300_799_000, description="ms; those that open before")] = None,
) -> Response:
    """Give candles of a pair as they are stored of the exchange where a bot trades, years of them where there are."""
    console = console_of(request)
    _refuse_untraded(console, bot, pair)
    length = max(one for one in LENGTHS if one <= minutes)
    try:
        found, incomplete = await console.sources.candles.stored(bot, pair, length, since, until, bars)
    except Misconfigured as error:
        raise refusal(error) from None
    headers = {"X-Rows": str(found.shape[1]), "X-Minutes": str(length), "X-Incomplete": str(incomplete)}
    return Response(found.tobytes(), media_type="application/octet-stream", headers=headers)


def _refuse_untraded(console: Console, bot: str, pair: str) -> None:
    """Raise Failure for a pair that a bot does not trade, as far as it has said."""
    traded = [one["pair"] for one in (seen_bot(console, bot).status or {"pairs": []})["pairs"]]
    if pair not in traded:
        raise not_found("pair", pair, f"choose one of {', '.join(traded)}" if traded else "wait until the bot answers")


@router.get("/settings", tags=["settings"])
async def settings(request: Request, _by: Reader) -> SettingsShown:
    """Say what this console is."""
    console = console_of(request)
    return SettingsShown(
        version=console.version,
        languages=list(LANGUAGES),
        session_days=SESSION // DAY,
        least_password=LEAST_PASSWORD,
        bus=console.sources.events is not None,
    )


@router.get("/audit", tags=["audit"])
async def audit(
    request: Request,
    _by: Reader,
    bot: Annotated[str, Query(pattern="^[a-z0-9]{0,8}$", description="of this bot alone")] = "",
    cursor: Annotated[int, Query(ge=0, le=2**62, description="`next` of the page before; 0: the newest")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> AuditList:
    """List what was done through this console, the newest first."""
    rows = await console_of(request).sources.access.audit(bot, cursor, limit + 1)
    following = str(rows[limit - 1]["id"]) if len(rows) > limit else None
    return AuditList.model_validate({"items": rows[:limit], "next": following})
