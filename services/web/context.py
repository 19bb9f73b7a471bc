"""What a request is asked with: the console's parts, who asks, and what they may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from services.command_outcomes import Outcomes
from services.web.access import SIGNED_IN, Access, ConsoleSession, same
from services.web.failures import Failure, not_found
from services.web.guard import SAFE, address_of
from services.web.models import Name
from services.web.ports import Sources
from services.web.scopes import Scope, allows
from services.web.watch import SeenBot, Watcher

COOKIE = "traderagent_session"


@dataclass(frozen=True)
class Console:
    """The parts of a running console."""

    sources: Sources
    access: Access
    watcher: Watcher
    outcomes: Outcomes  # of commands, as they would be now
    version: str
    secure: bool  # it is reached by https: its cookie goes no other way


def console_of(connection: HTTPConnection) -> Console:
    """Return the console that answers."""
    found: Console = connection.app.state.console
    return found


def shown_by(connection: HTTPConnection) -> tuple[str, bool]:
    """What a request shows to say who asks, and whether a browser sends it by itself."""
    header = connection.headers.get("authorization", "")
    if header.startswith("Bearer "):
        return header.removeprefix("Bearer "), False
    return connection.cookies.get(COOKIE, ""), True


async def session_of(connection: HTTPConnection) -> ConsoleSession | None:
    """Who asks; None for nobody that is known."""
    shown, _ = shown_by(connection)
    if not shown or len(shown) > 200:
        return None
    console = console_of(connection)
    session = await console.access.session(shown)
    if session is not None:
        console.access.limits.hit(session.id, "session", SIGNED_IN)
    return session


async def signed_in(connection: HTTPConnection, needed: Scope) -> ConsoleSession:
    """Who asks; raises Failure for nobody, and for whoever may not."""
    session = await session_of(connection)
    if session is None:
        raise Failure(401, "sign_in", "nobody is signed in.", "sign in, or send a token as Authorization: Bearer")
    if not allows(session.scope, needed):
        sentence = f"this asks for the scope {needed}; the session has {session.scope}."
        raise Failure(403, "scope", sentence, f"use a session or token with {needed}")
    if connection.scope.get("method", "GET") not in SAFE and shown_by(connection)[1]:
        given = connection.headers.get("x-csrf-token", "")
        if not same(given, session.csrf):
            raise Failure(403, "csrf", "X-CSRF-Token is not that of this session.", "load the page again")
    return session


def needs(scope: Scope) -> Callable[[Request], Awaitable[ConsoleSession]]:
    """Return what makes a route ask for a scope."""

    async def asked(request: Request) -> ConsoleSession:
        return await signed_in(request, scope)

    return asked


Reader = Annotated[ConsoleSession, Depends(needs(Scope.READ))]
Controller = Annotated[ConsoleSession, Depends(needs(Scope.CONTROL))]
Banker = Annotated[ConsoleSession, Depends(needs(Scope.MONEY))]


async def _known_bot(request: Request, bot: Name, _by: Reader) -> SeenBot:
    return seen_bot(console_of(request), bot)


KnownBot = Annotated[SeenBot, Depends(_known_bot)]


def seen_bot(console: Console, bot: str) -> SeenBot:
    """What is known of a bot; raises Failure for one that is not here."""
    found = console.watcher.seen.get(bot)
    if found is None:
        raise not_found("bot", bot, "choose one of GET /api/v1/bots")
    return found


def address(request: Any) -> str:
    """From where is asked."""
    return address_of(request.scope)
