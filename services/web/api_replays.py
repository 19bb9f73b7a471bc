"""The manual backtester and the journal: sessions, their actions, and records of trades."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from bot.errors import Misconfigured
from services.web import research
from services.web.context import Controller, Reader, address, console_of
from services.web.failures import Failure, not_found
from services.web.guard import LARGEST_PICTURE
from services.web.replay_models import (
    ActionGiven,
    BotName,
    BotSeen,
    CandleSpan,
    JournalList,
    JournalRecord,
    PictureKept,
    RecordGiven,
    RecordName,
    ReplayBegun,
    ReplayChoices,
    ReplayDetail,
    ReplayGiven,
    ReplayList,
    ReplayName,
    ReplayStatistics,
    Symbol,
    UndoGiven,
    Word,
)

router = APIRouter()

Since = Annotated[int, Query(ge=0, le=10**8, description="bars that the asker has")]
Search = Annotated[str, Query(max_length=100, description="words that a record has, as they stand")]
Source = Annotated[str, Query(pattern="^(replay|live)?$")]
Tag = Annotated[str, Query(max_length=40)]
OfSymbol = Annotated[str, Query(pattern="^[A-Z0-9]{0,30}$")]
Start = Annotated[int, Query(ge=0, le=10**7, description="`next` of the page before")]
PNG: dict[str, Any] = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
BROUGHT = {"requestBody": {"required": True, "content": PNG}}


@router.get("/replays/choices", tags=["replays"])
async def replay_choices(request: Request, _by: Reader) -> ReplayChoices:
    """List pairs that have candles, timeframes, and bots to compare with."""
    return ReplayChoices.model_validate(await console_of(request).sources.replays.choices())


@router.get("/replays/span", tags=["replays"])
async def replay_span(
    request: Request, _by: Reader, pair: Annotated[Symbol, Query()], exchange: Annotated[Word, Query()] = "bybit",
    market: Annotated[str, Query(pattern="^(linear|spot)$")] = "linear",
) -> CandleSpan:  # fmt: skip
    """Say from when to when there are candles of a pair."""
    return await _told(CandleSpan, console_of(request).sources.replays.span(pair, exchange, market))


async def _told(model: Any, asked: Any) -> Any:
    """Wait for an answer; a refusal names the field that its sentence begins with."""
    try:
        return model.model_validate(await asked)
    except Misconfigured as error:
        raise research.refusal(error) from None


@router.get("/replays", tags=["replays"])
async def replays(request: Request, _by: Reader) -> ReplayList:
    """List the newest sessions of the manual backtester."""
    return ReplayList.model_validate({"items": await console_of(request).sources.replays.replays()})


@router.post("/replays", tags=["replays"])
async def begin_replay(request: Request, by: Controller, given: ReplayGiven) -> ReplayBegun:
    """Begin a session."""
    console = console_of(request)
    if given.days is None and (given.start is None or given.end is None):
        sentence = "start and end are missing, and days too."
        raise Failure(422, "missing", sentence, "give start and end, or days for hidden dates", "start")
    await research.recorded(console, by, address(request), f"replay of {given.pair} {given.timeframe}")
    try:
        name = await console.sources.replays.begin(by.name, given.model_dump())
    except Misconfigured as error:
        raise research.refusal(error) from None
    return ReplayBegun(replay=name)


@router.get("/replays/{replay}", tags=["replays"])
async def replay(request: Request, _by: Reader, replay: ReplayName, since: Since = 0) -> ReplayDetail:
    """Show where a session stands, with its bars from a number on; nothing that comes later is told."""
    return await _told(ReplayDetail, console_of(request).sources.replays.show(replay, since))


@router.post("/replays/{replay}/actions", tags=["replays"])
async def act_in_replay(request: Request, _by: Controller, replay: ReplayName, given: ActionGiven) -> ReplayDetail:
    """Let bars pass, or order something at the last bar that was shown."""
    action = given.model_dump(exclude={"number", "since"})
    if given.do == "order" and given.side is None:
        raise Failure(422, "missing", "side is missing.", "give buy or sell", "side")
    if given.do == "note" and not given.text.strip():
        raise Failure(422, "missing", "text is missing.", "write something", "text")
    done = console_of(request).sources.replays.act(replay, given.number, action, given.since)
    return await _told(ReplayDetail, done)


@router.post("/replays/{replay}/undo", tags=["replays"])
async def undo_in_replay(request: Request, _by: Controller, replay: ReplayName, given: UndoGiven) -> ReplayDetail:
    """Take back the last action; orders that were taken back are counted."""
    return await _told(ReplayDetail, console_of(request).sources.replays.undo(replay, given.number, given.since))


@router.post("/replays/{replay}/pictures", tags=["replays"], openapi_extra=BROUGHT)
async def keep_picture(
    request: Request, _by: Controller, replay: ReplayName,
    number: Annotated[int, Query(ge=0, le=10**7, description="actions so far")] = 0,
) -> PictureKept:  # fmt: skip
    """Keep a picture of the chart, a PNG of at most 2 MB, with the record of the trade that it was made in."""
    image = await request.body()
    if len(image) > LARGEST_PICTURE:
        raise Failure(413, "too_large", "the picture is too large.", "make the window smaller")
    return await _told(PictureKept, console_of(request).sources.replays.picture(replay, number, image))


@router.get("/replays/{replay}/bot", tags=["replays"])
async def bot_in_replay(
    request: Request, _by: Reader, replay: ReplayName, bot: Annotated[BotName, Query()] = "trend"
) -> BotSeen:
    """Say what a bot would have done on the bars that were shown."""
    return await _told(BotSeen, console_of(request).sources.replays.bot(replay, bot))


@router.get("/replays/{replay}/statistics", tags=["replays"])
async def replay_statistics(
    request: Request, _by: Reader, replay: ReplayName, bot: Annotated[BotName, Query()] = ""
) -> ReplayStatistics:
    """Compare the person with a bot, on the bars that were shown."""
    return await _told(ReplayStatistics, console_of(request).sources.replays.statistics(replay, bot))


@router.post("/replays/{replay}/end", tags=["replays"], status_code=204)
async def end_replay(request: Request, by: Controller, replay: ReplayName) -> Response:
    """End a session: its closed trades go into the journal, and hidden dates are told."""
    console = console_of(request)
    await research.recorded(console, by, address(request), f"end of replay {replay}")
    try:
        await console.sources.replays.end(replay)
    except Misconfigured as error:
        raise research.refusal(error) from None
    return Response(status_code=204)


@router.delete("/replays/{replay}", tags=["replays"], status_code=204)
async def delete_replay(request: Request, by: Controller, replay: ReplayName) -> Response:
    """Forget a session; its journal stays."""
    console = console_of(request)
    await research.recorded(console, by, address(request), f"deletion of replay {replay}")
    try:
        await console.sources.replays.delete(replay)
    except Misconfigured as error:
        raise research.refusal(error) from None
    return Response(status_code=204)


# Journal


@router.get("/journal", tags=["journal"])
async def journal(
    request: Request, _by: Reader, search: Search = "", source: Source = "", symbol: OfSymbol = "", tag: Tag = "",
    start: Start = 0, limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> JournalList:  # fmt: skip
    """List records of manual and live trades, the newest exit first."""
    rows = console_of(request).sources.journal
    found = await rows.records(search, source, symbol, tag, start, limit + 1)
    following = start + limit if len(found) > limit else None
    return JournalList.model_validate({"items": found[:limit], "next": following, "outbox": await rows.outbox()})


@router.post("/journal/{record}", tags=["journal"])
async def edit_record(request: Request, _by: Controller, record: RecordName, given: RecordGiven) -> JournalRecord:
    """Give a record other notes and tags; it gets a revision more, which is sent to whoever is told."""
    rows = console_of(request).sources.journal
    if await rows.record(record) is None:
        raise not_found("record", record, "choose one of GET /api/v1/journal")
    return await _told(JournalRecord, rows.edit(record, given.revision, given.notes, given.tags))


@router.get(
    "/journal/pictures/{replay}/{name}", tags=["journal"], response_class=Response,
    responses={200: {"content": PNG}},
)  # fmt: skip
async def journal_picture(request: Request, _by: Reader, replay: ReplayName, name: str) -> Response:
    """Give a picture of a record."""
    image = await console_of(request).sources.journal.image(f"{replay}/{name}")
    if image is None:
        raise not_found("picture", name, "choose one of a record's")
    return Response(image, media_type="image/png")
