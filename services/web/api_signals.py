"""Signals of others for a bot: signed, each once, written down before the bot hears of them.

Whoever sends one is no session: a secret of its own signs for one bot and nothing else. `X-Signal-Signature` is the
HMAC-SHA256 (hex) of `X-Signal-Timestamp` (ms), a full stop and the body as it is sent. The signature is looked at
before anything else, and whatever is wrong with it is one answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query, Request
from limits import parse

from bot.errors import Misconfigured, cut
from bot.times import MINUTE
from services.web.access import same
from services.web.context import Banker, KnownBot, address, console_of, seen_bot
from services.web.failures import Failure, as_failure, not_found
from services.web.models import (
    HeardSignal,
    HeardSignals,
    Name,
    Pair,
    SignalGiven,
    SignalList,
    SignalSecret,
    SignalSecretState,
    SignalShown,
    SignalTaken,
)

if TYPE_CHECKING:
    from services.web.context import Console
    from services.web.watch import SeenBot

router = APIRouter(prefix="/signals", tags=["signals"])

TIMESTAMP, SIGNATURE = "X-Signal-Timestamp", "X-Signal-Signature"
SIGNING = {
    "parameters": [
        {"name": name, "in": "header", "required": True, "description": said, "schema": {"type": "string"}}
        for name, said in ((TIMESTAMP, "ms, UTC"), (SIGNATURE, "HMAC-SHA256 of timestamp, full stop and body, hex"))
    ]
}
WINDOW = MINUTE  # that a signature is good for, either way, in ms
TRIES = parse("120/minute")  # of an address, right ones too
SIGNALS = parse("60/minute")  # for a bot
LISTENS = "signals.listens"
DIRECTIONS = {"long": 1, "short": -1, "close": 0}


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Sign a body as a sender does."""
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def no_secret(error: Misconfigured) -> Failure:
    """Return the answer where a secret cannot be opened."""
    return Failure(503, "no_secret", cut(str(error), 400), "put the master key right")


async def _signed(request: Request, bot: Name) -> str:
    """Return the bot that the request is signed for; raises Failure, also without headers that sign it."""
    console = console_of(request)
    stated, given = (request.headers.get(name, "")[:128] for name in (TIMESTAMP, SIGNATURE))
    timestamp = int(stated[:16]) if stated.isdecimal() and stated.isascii() else 0
    where = address(request)
    console.access.limits.hit(where, "signature", TRIES)
    try:
        secret = await asyncio.to_thread(console.sources.signal_keys.read, bot)
    except Misconfigured as error:
        raise no_secret(error) from None
    right = signature(secret or secrets.token_urlsafe(), timestamp, await request.body())
    fresh = abs(console.access.now() - timestamp) <= WINDOW
    if secret is None or not fresh or not same(given, right):
        raise Failure(
            401, "signature", "the signal is not signed for this bot, or not within the last minute.",
            "sign timestamp (ms), full stop and body by the bot's secret; look at the clock",
        )  # fmt: skip
    console.access.limits.hit(bot, "signals", SIGNALS)
    return bot


Signed = Annotated[str, Depends(_signed)]


@router.post("/{bot}", status_code=201, openapi_extra=SIGNING)
async def send_signal(request: Request, bot: Signed, given: SignalGiven) -> SignalTaken:
    """Write a signal down, which the bot trades when its next bar closes. Signed by the bot's own secret."""
    console, where = console_of(request), address(request)
    try:
        number = await _taken(console, seen_bot(console, bot), given)
    except Failure as failure:
        await console.access.record(where, f"signal for {bot}: {failure.problem.code}", refused=True)
        raise
    await console.access.record(where, f"signal {number} for {bot} on {given.pair}: {given.side}")
    return SignalTaken(number=number)


async def _taken(console: Console, seen: SeenBot, given: SignalGiven) -> int:
    """Write the signal down; returns its number. Raises Failure for one that the bot would not hear, or has had."""
    await _check_receiver(console, seen, given)
    number = await console.sources.signals.add(
        *(seen.bot, given.pair, given.id, DIRECTIONS[given.side], given.stop, given.target, float(given.seconds))
    )
    if number is None:
        raise Failure(409, "used", "this id was used before.", "give each signal an id of its own", "id")
    return number


async def _check_receiver(console: Console, seen: SeenBot, given: SignalGiven) -> None:
    """Raise Failure where the prices are in no order of a trade, or the bot would not hear it."""
    direction = DIRECTIONS[given.side]
    if direction == 0 and (given.stop or given.target):
        raise Failure(422, "invalid", "stop and target say nothing with close.", "leave them out", "stop")
    for name in ("stop", "target"):
        if direction and not getattr(given, name):
            raise Failure(422, "invalid", f"{name} is missing.", "give stop and target of every entry", name)
    if direction and (given.target - given.stop) * direction <= 0.0:
        raise Failure(422, "invalid", "stop and target are on the wrong sides.", "look at side", "stop")
    if seen.status is None or seen.trouble:
        raise Failure(503, "away", f"bot {seen.bot} does not answer.", "start it, or send the signal again")
    if given.pair not in (one["pair"] for one in seen.status["pairs"]):
        raise not_found("pair", given.pair, "choose one that the bot trades")
    try:
        deaf = not await listens(console, seen.bot)
    except Misconfigured as error:
        raise as_failure(error) from None
    if deaf:
        remedy = f"run it with strategy strategies.signals:SIGNALS and {LISTENS}: true"
        raise Failure(409, "deaf", f"bot {seen.bot} does not listen to signals.", remedy)


async def listens(console: Console, bot: str) -> bool:
    """Whether a bot listens to signals, by its config; raises Misconfigured where it does not answer."""
    return any(one["key"] == LISTENS and one["value"] is True for one in await console.sources.bots.config(bot))


@router.get("/{bot}")
async def signals(
    request: Request, seen: KnownBot,
    pair: Annotated[Pair | None, Query(description="of this pair alone")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="rows of a page")] = 100,
) -> SignalList:  # fmt: skip
    """List the signals that came for a bot with what it did, the newest first."""
    rows = await console_of(request).sources.signals.newest(seen.bot, pair or "", limit)
    return SignalList(items=[SignalShown.model_validate(one) for one in rows])


@router.get("/{bot}/pairs/{pair}/heard")
async def heard_signals(request: Request, seen: KnownBot, pair: Pair) -> HeardSignals:
    """Give what a bot heard in time on a pair as a file of signals, for `traderagent backtest --signals`."""
    rows = await console_of(request).sources.signals.heard(seen.bot, pair)
    return HeardSignals(signals=[HeardSignal.model_validate(one) for one in rows])


@router.get("/{bot}/secret")
async def signal_secret(request: Request, _by: Banker, seen: KnownBot) -> SignalSecretState:
    """Say whether there is a secret that signs a bot's signals."""
    return SignalSecretState(made=await secret_made(console_of(request), seen.bot))


async def secret_made(console: Console, bot: str) -> bool:
    """Whether a bot has a secret; raises Failure where it cannot be opened."""
    try:
        return await asyncio.to_thread(console.sources.signal_keys.read, bot) is not None
    except Misconfigured as error:
        raise no_secret(error) from None


@router.post("/{bot}/secret")
async def new_signal_secret(request: Request, by: Banker, seen: KnownBot) -> SignalSecret:
    """Make the secret that signs a bot's signals, in the place of a former one; it is shown this once."""
    console, made = console_of(request), secrets.token_urlsafe(32)
    try:
        await asyncio.to_thread(console.sources.signal_keys.keep, seen.bot, made)
    except Misconfigured as error:
        raise Failure(409, "not_kept", cut(str(error), 400), "put the master key right") from None
    await console.access.record(address(request), f"secret of signals for {seen.bot}", who=by.name)
    return SignalSecret(secret=made)


@router.delete("/{bot}/secret", status_code=204)
async def end_signal_secret(request: Request, by: Banker, seen: KnownBot) -> None:
    """Forget the secret: nothing is taken for the bot any more."""
    if not await asyncio.to_thread(console_of(request).sources.signal_keys.remove, seen.bot):
        raise not_found("bot", seen.bot, "it has no secret")
    await console_of(request).access.record(address(request), f"no signals for {seen.bot}", who=by.name)
