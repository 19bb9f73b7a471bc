"""Signing in and out, passwords, sessions and tokens."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from services.web.access import BROWSER, SESSION, ConsoleSession, same
from services.web.context import COOKIE, Banker, Reader, address, console_of, session_of, shown_by
from services.web.failures import Failure
from services.web.models import (
    CodeGiven,
    LinkGiven,
    NewPassword,
    NewToken,
    PasswordGiven,
    RecoveryCodes,
    SecondFactorBegun,
    SecondFactorState,
    SessionId,
    SessionList,
    SessionShown,
    SignedIn,
    SignInState,
    TokenMade,
)

router = APIRouter(prefix="/auth", tags=["auth"])


@router.get("/state")
async def state(request: Request) -> SignInState:
    """Say whether there is a password, and whether somebody is signed in. Open to everybody."""
    session = await session_of(request)
    has = await console_of(request).access.has_password()
    return SignInState(password=has, signed_in=session is not None, scope=session and session.scope)


def _welcome(request: Request, response: Response, begun: tuple[str, ConsoleSession]) -> SignedIn:
    shown, session = begun
    secure = console_of(request).secure
    response.set_cookie(COOKIE, shown, max_age=SESSION // 1000, httponly=True, samesite="strict", secure=secure)
    return SignedIn(scope=session.scope, csrf=session.csrf, expires=session.expires)


def _label(request: Request) -> str:
    agent = request.headers.get("user-agent", "")
    return "".join(one for one in agent if one.isprintable())[:80] or "a browser"


@router.post("/sign-in")
async def sign_in(request: Request, response: Response, given: PasswordGiven) -> SignedIn:
    """Sign in with the password, and a code where the second factor is on. Open to everybody, five times a minute."""
    access = console_of(request).access
    begun = await access.with_password(given.password, address(request), _label(request), given.code)
    return _welcome(request, response, begun)


@router.post("/link")
async def link(request: Request, response: Response, given: LinkGiven) -> SignedIn:
    """Sign in with a link that the terminal printed; it works once. Open to everybody, five times a minute."""
    access = console_of(request).access
    return _welcome(request, response, await access.with_link(given.link, address(request), _label(request)))


@router.post("/sign-out", status_code=204)
async def sign_out(request: Request, response: Response, by: Reader) -> None:
    """End the session that asks."""
    await console_of(request).access.end(by.id, by, address(request))
    response.delete_cookie(COOKIE)


@router.put("/password", status_code=204)
async def password(request: Request, by: Banker, given: NewPassword) -> None:
    """Set or change the password; every other browser is signed out."""
    if by.kind != BROWSER:
        raise Failure(403, "token", "a token sets no password.", "sign in by a browser")
    await console_of(request).access.set_password(given.old, given.new, by, address(request))


@router.get("/second-factor")
async def second_factor(request: Request, by: Banker) -> SecondFactorState:
    """Say whether a sign-in by password asks for a code too."""
    factor = console_of(request).access.factor
    on = await factor.is_on(by.name)
    return SecondFactorState(on=on, recovery_codes=await factor.recovery_codes(by.name) if on else 0)


@router.post("/second-factor")
async def begin_second_factor(request: Request, by: Banker) -> SecondFactorBegun:
    """Make a secret for an authenticator; nothing is on until a code of it has been given, within ten minutes."""
    _of_a_browser(by)
    begun = await console_of(request).access.factor.begin(by.name, request.headers["host"])
    return SecondFactorBegun(secret=begun.secret, uri=begun.uri, picture=begun.picture)


@router.put("/second-factor")
async def confirm_second_factor(request: Request, by: Banker, given: CodeGiven) -> RecoveryCodes:
    """Turn the second factor on by its first code; every other browser is signed out.

    The recovery codes are shown this once; each signs in once in place of a code.
    """
    _of_a_browser(by)
    return RecoveryCodes(codes=await console_of(request).access.confirm_second_factor(given.code, by, address(request)))


@router.post("/second-factor/off", status_code=204)
async def end_second_factor(request: Request, by: Banker, given: CodeGiven) -> None:
    """Turn the second factor off by a code, or a recovery code."""
    _of_a_browser(by)
    await console_of(request).access.end_second_factor(given.code, by, address(request))


def _of_a_browser(by: ConsoleSession) -> None:
    if by.kind != BROWSER:
        raise Failure(403, "token", "a token changes no second factor.", "sign in by a browser")


@router.get("/sessions")
async def sessions(request: Request, by: Banker) -> SessionList:
    """List the sessions and tokens that have not ended."""
    items = [
        SessionShown.model_validate(
            {name: getattr(one, name) for name in ("id", "kind", "label", "scope", "created", "expires")}
            | {"own": same(one.id, by.id)}
        )
        for one in await console_of(request).access.sessions()
    ]
    return SessionList(items=items)


@router.delete("/sessions/{session}", status_code=204)
async def end_session(request: Request, session: SessionId, by: Banker) -> None:
    """End a session or a token, at once."""
    await console_of(request).access.end(session, by, address(request))


@router.post("/tokens", status_code=201)
async def token(request: Request, by: Banker, given: NewToken) -> TokenMade:
    """Make a token for a program, with a scope and an end; it is shown this once."""
    if not shown_by(request)[1]:
        raise Failure(403, "token", "a token makes no tokens.", "sign in by a browser")
    access = console_of(request).access
    shown, session = await access.token(by, address(request), given.label, given.scope, given.days)
    return TokenMade(token=shown, expires=session.expires)
