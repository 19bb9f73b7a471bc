"""Does what somebody says once under its key: recorded before it is done, and its outcome recorded after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from bot.errors import Misconfigured, TradingError, cut
from bot.ports import Unreachable
from services.web.access import ConsoleSession
from services.web.context import Console
from services.web.failures import Failure
from services.web.models import CommandDone, CommandGiven
from services.web.scopes import allows, needed_for


@dataclass(frozen=True)
class AuditedAction:
    """What somebody says, as the audit has it."""

    action: str
    bot: str
    pair: str
    fields: dict[str, Any]


async def command(
    console: Console, by: ConsoleSession, where: str, bot: str, given: CommandGiven, key: str, source: str
) -> CommandDone:
    """Tell the bot, through its control interface; raises Failure with its refusal."""
    needed = needed_for(given.command)
    if not allows(by.scope, needed):
        sentence = f"{given.command} asks for the scope {needed}; the session has {by.scope}."
        raise Failure(403, "scope", sentence, f"use a session or token with {needed}", "command")
    fields: dict[str, Any] = {"command": str(given.command), "force": given.force, "amount": given.amount}
    if given.setting or given.value:
        fields |= {"setting": given.setting, "value": given.value}
    said = fields | {"pair": given.pair, "key": key[:64], "who": by.name, "source": source}
    told = AuditedAction(given.command, bot, given.pair or "", fields)
    return await once(console, by, where, told, key, lambda: console.sources.bots.command(bot, said), refused)


def refused(error: TradingError) -> Failure:
    """Answer a refusal of what was to be done."""
    return Failure(409, "refused", cut(str(error), 1000), "do what the message says", "command")


async def once(
    console: Console, by: ConsoleSession, where: str, told: AuditedAction, key: str, do: Callable[[], Awaitable[str]],
    refusal: Callable[[TradingError], Failure],
) -> CommandDone:  # fmt: skip
    """Do something unless it was done under this key; raises Failure, by `refusal` where it was refused.

    A database that is away keeps nobody from commanding.
    """
    rows = console.sources.access
    try:
        number = await rows.begin_audit(
            console.access.now(), by.name, where, told.action, told.bot, told.pair, key, told.fields
        )
        if number is None:
            return await _said_before(console, told, key)
    except Unreachable:
        number = None
    try:
        done = await do()
    except (Misconfigured, TradingError) as error:
        await _end(console, number, cut(str(error), 1000), refused=True)
        raise refusal(error) from None
    await _end(console, number, done, refused=False)
    return CommandDone(done=done, again=False)


async def _end(console: Console, number: int | None, outcome: str, *, refused: bool) -> None:
    if number is None:
        return
    try:
        await console.sources.access.end_audit(number, outcome, refused=refused)
    except Unreachable as error:
        console.watcher.note("database", str(error))


async def _said_before(console: Console, told: AuditedAction, key: str) -> CommandDone:
    """Answer a key that was used before as then; raises Failure where that was something else, or is not known."""
    before = await console.sources.access.audited(told.bot, key)
    if before is None or (before["fields"], before["pair"]) != (told.fields, told.pair or None):
        sentence = "this Idempotency-Key was used for another command."
        raise Failure(422, "key_used", sentence, "use a new key", "Idempotency-Key")
    if before["outcome"] is None:
        sentence = "it was begun before, and its outcome is not known."
        raise Failure(409, "unknown_outcome", sentence, "look at the status, then use a new key", "Idempotency-Key")
    if before["refused"]:
        raise Failure(409, "refused", before["outcome"], "do what the message says", "command")
    return CommandDone(done=before["outcome"], again=True)
