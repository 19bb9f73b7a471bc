"""Bots: how they stand, what they have done, and telling them something."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from pydantic import Field

from bot.candles import iso
from bot.errors import Misconfigured
from services.web.commands import command
from services.web.context import Console, Controller, KnownBot, Reader, address, console_of
from services.web.failures import Failure, as_failure
from services.web.models import (
    BotList,
    BotShown,
    BotStatusModel,
    CommandDone,
    CommandGiven,
    CommandList,
    DecisionList,
    FillList,
    OrderList,
    Pair,
    PairOrdersModel,
    SettingShown,
    TradeList,
    Why,
)
from services.web.telling import reasons
from services.web.watch import SeenBot
from services.web.words import PageWords

router = APIRouter(prefix="/bots", tags=["bots"])

Limit = Annotated[int, Query(ge=1, le=1000, description="rows of a page")]
Cursor = Annotated[
    str | None, Query(max_length=400, pattern="^[A-Za-z0-9_-]*$", description="`next` of the page before")
]
Since = Annotated[int | None, Query(ge=0, le=253_402_300_799_000, description="ms, UTC")]
OnPair = Annotated[str, Query(pattern="^[A-Z0-9]{0,30}$", description="of this pair alone")]
Key = Annotated[
    str,
    Header(alias="Idempotency-Key", min_length=8, max_length=64, pattern="^[A-Za-z0-9_-]+$"),
    Field(description="of your making; said again under it, a command is not done again", examples=["0d1f6a9c"]),
]


def shown_bot(console: Console, seen: SeenBot) -> BotShown:
    """Lay out what is known of a bot."""
    return BotShown(
        bot=seen.bot,
        runs=seen.status is not None and not seen.trouble,
        age=console.watcher.age(seen.bot),
        trouble=seen.trouble,
        status=None if seen.status is None else BotStatusModel.model_validate(seen.status),
    )


@router.get("")
async def bots(request: Request, _by: Reader) -> BotList:
    """List every bot; those that wait for a decision first."""
    console = console_of(request)
    return BotList(items=[shown_bot(console, one) for one in console.watcher.bots()])


@router.get("/{bot}/status")
async def status(request: Request, seen: KnownBot) -> BotShown:
    """Say how a bot stands, as it said last."""
    return shown_bot(console_of(request), seen)


@router.get("/{bot}/decisions")
async def decisions(
    request: Request, seen: KnownBot, pair: OnPair = "",
    kind: Annotated[str, Query(pattern="^[a-z_]{0,30}$", description="of this kind alone")] = "",
    cursor: Cursor = None, since: Since = None, limit: Limit = 100,
) -> DecisionList:  # fmt: skip
    """List what a bot decided, the newest first; of a pair with what concerns the account."""
    rows, following = await console_of(request).sources.history.decisions(seen.bot, pair, kind, cursor, since, limit)
    return DecisionList.model_validate({"items": rows, "next": following})


@router.get("/{bot}/fills")
async def fills(
    request: Request, seen: KnownBot, pair: OnPair = "", cursor: Cursor = None, since: Since = None, limit: Limit = 100
) -> FillList:
    """List executions and payments of funding, the newest first."""
    rows, following = await console_of(request).sources.history.fills(seen.bot, pair, cursor, since, limit)
    return FillList.model_validate({"items": rows, "next": following})


@router.get("/{bot}/orders")
async def orders(
    request: Request, seen: KnownBot, pair: OnPair = "", cursor: Cursor = None, since: Since = None, limit: Limit = 100
) -> OrderList:
    """List orders as they were sent last, the newest first."""
    rows, following = await console_of(request).sources.history.orders(seen.bot, pair, cursor, since, limit)
    return OrderList.model_validate({"items": rows, "next": following})


@router.get("/{bot}/trades")
async def trades(
    request: Request, seen: KnownBot, pair: OnPair = "", cursor: Cursor = None, limit: Limit = 100
) -> TradeList:
    """List closed trades, the newest first; the cursor is how many came before."""
    closed, funding = await console_of(request).sources.history.trades(seen.bot)
    found = [one for one in reversed(closed) if pair in ("", one.pair)]
    start = _skipped(cursor)
    rows = [one.as_dict() for one in found[start : start + limit]]
    following = str(start + limit) if start + limit < len(found) else None
    return TradeList.model_validate({"items": rows, "next": following, "funding": funding})


def _skipped(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isdecimal() or len(cursor) > 9:
        raise Failure(422, "invalid", "cursor is none of this list.", "give the `next` of the page before", "cursor")
    return int(cursor)


@router.get("/{bot}/config")
async def config(request: Request, seen: KnownBot) -> list[SettingShown]:
    """List every value of a running bot's config, with meaning and bounds; asked of the bot, without secrets."""
    try:
        found = await console_of(request).sources.bots.config(seen.bot)
    except Misconfigured as error:
        raise as_failure(error) from None
    return [SettingShown.model_validate(one) for one in found]


@router.get("/{bot}/commands")
async def said(
    request: Request, seen: KnownBot, pair: OnPair = "", cursor: Cursor = None, since: Since = None, limit: Limit = 100
) -> CommandList:
    """List what operators have said to a bot from wherever, the newest first."""
    rows, following = await console_of(request).sources.history.commands(seen.bot, pair, cursor, since, limit)
    return CommandList.model_validate({"items": rows, "next": following})


@router.post("/{bot}/commands")
async def say(request: Request, seen: KnownBot, by: Controller, given: CommandGiven, key: Key) -> CommandDone:
    """Tell a bot something. What moves money (close, reduce-50, invest, phases, shutdown, …) asks for scope `money`."""
    console = console_of(request)
    source = "api" if request.headers.get("authorization") else "console"
    return await command(console, by, address(request), seen.bot, given, key, source)


@router.get("/{bot}/pairs/{pair}/orders", response_model=PairOrdersModel)
async def pair_orders(request: Request, seen: KnownBot, pair: Pair) -> Any:
    """What should be open at the venue for a pair, and what is; asked of the bot."""
    try:
        return await console_of(request).sources.bots.orders(seen.bot, pair)
    except Misconfigured as error:
        raise as_failure(error) from None


@router.get("/{bot}/pairs/{pair}/why")
async def why(request: Request, seen: KnownBot, pair: Pair) -> Why:
    """Say in sentences why a bot holds what it holds on a pair."""
    return await why_now(console_of(request), seen.bot, pair, PageWords("en"))


async def why_now(console: Console, bot: str, pair: str, words: PageWords) -> Why:
    """Read the last decision of each kind, and say what follows."""
    rows = await console.sources.history.last_of_each(bot, pair)
    return Why(at=iso(rows[-1]["at"]) if rows else None, sentences=reasons(words, rows, pair))
