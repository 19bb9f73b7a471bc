"""Tells a bot something: recorded before it is done, done once under its key, and its outcome recorded after."""

from __future__ import annotations

from typing import Any

from bot.errors import Misconfigured, TradingError, cut
from bot.ports import Unreachable
from services.web.access import ConsoleSession
from services.web.context import Console
from services.web.failures import Failure
from services.web.models import CommandDone, CommandGiven
from services.web.scopes import allows, needed_for


async def command(
    console: Console, by: ConsoleSession, where: str, bot: str, given: CommandGiven, key: str, source: str
) -> CommandDone:
    """Tell the bot, through its control interface; raises Failure with its refusal.

    A database that is away keeps nobody from commanding: the bot records what it is told itself.
    """
    needed = needed_for(given.command)
    if not allows(by.scope, needed):
        sentence = f"{given.command} asks for the scope {needed}; the session has {by.scope}."
        raise Failure(403, "scope", sentence, f"use a session or token with {needed}", "command")
    fields: dict[str, Any] = {"command": str(given.command), "force": given.force, "amount": given.amount}
    rows = console.sources.access
    try:
        number = await rows.begin_audit(
            console.access.now(), by.name, where, given.command, bot, given.pair or "", key, fields
        )
        if number is None:
            return await _said_before(console, bot, given, key, fields)
    except Unreachable:
        number = None
    try:
        done = await console.sources.bots.command(
            bot, fields | {"pair": given.pair, "key": key[:64], "who": by.name, "source": source}
        )
    except (Misconfigured, TradingError) as error:
        await _end(console, number, cut(str(error), 1000), refused=True)
        raise Failure(409, "refused", cut(str(error), 1000), "do what the message says", "command") from None
    await _end(console, number, done, refused=False)
    return CommandDone(done=done, again=False)


async def _end(console: Console, number: int | None, outcome: str, *, refused: bool) -> None:
    if number is None:
        return
    try:
        await console.sources.access.end_audit(number, outcome, refused=refused)
    except Unreachable as error:
        console.watcher.note("database", str(error))


async def _said_before(
    console: Console, bot: str, given: CommandGiven, key: str, fields: dict[str, Any]
) -> CommandDone:
    """Answer a key that was used before as then; raises Failure where that was something else, or is not known."""
    before = await console.sources.access.audited(bot, key)
    if before is None or (before["fields"], before["pair"]) != (fields, given.pair):
        sentence = "this Idempotency-Key was used for another command."
        raise Failure(422, "key_used", sentence, "use a new key", "Idempotency-Key")
    if before["outcome"] is None:
        sentence = "it was begun before, and its outcome is not known."
        raise Failure(409, "unknown_outcome", sentence, "look at the status, then use a new key", "Idempotency-Key")
    if before["refused"]:
        raise Failure(409, "refused", before["outcome"], "do what the message says", "command")
    return CommandDone(done=before["outcome"], again=True)
