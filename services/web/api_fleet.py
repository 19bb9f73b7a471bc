"""The fleet: bots as they are supervised; creating, starting, stopping and deleting them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import ValidationError

from bot.errors import Misconfigured, TradingError
from services.web import research
from services.web.access import ConsoleSession
from services.web.api_bots import Key
from services.web.commands import AuditedAction, once, refused
from services.web.context import Console, Controller, Reader, address, console_of
from services.web.failures import Failure, not_found
from services.web.fleet_models import BotChoices, BotGiven, FleetShown, RunAsked
from services.web.models import CommandDone, Name
from services.web.scopes import Scope, allows

router = APIRouter(tags=["bots"])


@router.get("/fleet")
async def fleet(request: Request, _by: Reader) -> FleetShown:
    """List the bots of the fleet, and how each stands. The database is not asked."""
    return await fleet_now(console_of(request))


async def fleet_now(console: Console) -> FleetShown:
    """Ask the supervisor, else read how they stood last."""
    runs, rows = await console.sources.fleet.bots()
    items = [{key: one[key] for key in one if key not in ("again", "process")} for one in rows]
    try:
        return FleetShown.model_validate({"runs": runs, "items": items})
    except ValidationError:
        raise Misconfigured("the fleet is of another version than this console; end it and start it again.") from None


@router.get("/fleet/choices")
async def fleet_choices(request: Request, _by: Reader) -> BotChoices:
    """Say what a bot can be made of."""
    sources = console_of(request).sources
    saved = [(one["content"], one["name"]) for one in await sources.research.strategies()]
    return BotChoices.model_validate({**await sources.fleet.choices(), "saved": saved})


@router.post("/bots")
async def create_bot(request: Request, by: Controller, given: BotGiven, key: Key) -> CommandDone:
    """Create a bot and take it into the fleet, once its config is one that `traderagent run` takes.

    One that trades real money asks for the scope `money`.
    """
    console = console_of(request)
    if given.environment == "live":
        _needs_money(by, "a bot that trades real money", "environment")
    chosen = [one for one in (given.strategy, given.preset, given.saved) if one is not None]
    if len(chosen) != 1:
        sentence = f"strategy, preset and saved name {len(chosen)} strategies together."
        raise Failure(422, "invalid", sentence, "give one of them", "strategy")
    fields = given.model_dump(mode="json")

    async def created() -> str:
        document = None if given.saved is None else await _document(console, given.saved)
        return await console.sources.fleet.create(fields, document)

    told = AuditedAction("create a bot", given.name, "", fields)
    return await once(console, by, address(request), told, key, created, _invalid)


async def _document(console: Console, content: str) -> dict[str, Any]:
    for one in await console.sources.research.strategies():
        if one["content"] == content:
            document: dict[str, Any] = one["document"]
            return document
    raise Misconfigured(f"saved is {content!r}, which is no saved strategy; choose one of GET /api/v1/strategies.")


def _invalid(error: TradingError) -> Failure:
    """Answer a refusal with the field of the body that its sentence begins with."""
    if not isinstance(error, Misconfigured):
        return refused(error)
    found = research.refusal(error)
    field = found.problem.field
    if field is None:
        return refused(error)
    found.problem.field = field.removeprefix("bot.")
    return found


def _needs_money(by: ConsoleSession, what: str, field: str | None = None) -> None:
    if not allows(by.scope, Scope.MONEY):
        sentence = f"{what} asks for the scope money; the session has {by.scope}."
        raise Failure(403, "scope", sentence, "use a session or token with money", field)


@router.post("/bots/{bot}/run")
async def run_bot(request: Request, by: Controller, bot: Name, given: RunAsked, key: Key) -> CommandDone:
    """Start, stop or restart a bot of the fleet. Starting one that trades real money asks for the scope `money`."""
    console = console_of(request)
    one = await _of_fleet(console, bot)
    if given.command != "stop" and one["environment"] == "live":
        _needs_money(by, "starting a bot that trades real money", "command")
    return await _done(request, by, bot, given.command, key, lambda: console.sources.fleet.command(given.command, bot))


@router.delete("/bots/{bot}")
async def delete_bot(
    request: Request, by: Controller, bot: Name, key: Key,
    leave_positions: Annotated[bool, Query(description="also while it holds positions; asks for `money`")] = False,
) -> CommandDone:  # fmt: skip
    """Take a stopped bot out of the fleet. Its history stays; one that holds positions is refused."""
    console = console_of(request)
    await _of_fleet(console, bot)
    if leave_positions:
        _needs_money(by, "leaving positions", "leave_positions")
    remove = console.sources.fleet.remove
    return await _done(request, by, bot, "delete", key, lambda: remove(bot, leave_positions=leave_positions))


async def _of_fleet(console: Console, bot: str) -> dict[str, Any]:
    for one in (await console.sources.fleet.bots())[1]:
        if one["name"] == bot:
            return one
    raise not_found("bot", bot, "choose one of GET /api/v1/fleet")


async def _done(
    request: Request, by: ConsoleSession, bot: str, word: str, key: str, do: Callable[[], Awaitable[str]]
) -> CommandDone:
    told = AuditedAction(f"{word} a bot", bot, "", {"command": word})
    return await once(console_of(request), by, address(request), told, key, do, refused)
