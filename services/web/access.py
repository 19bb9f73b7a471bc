"""Who may: passwords, links that sign in once, sessions of browsers, tokens of programs, and limits on tries.

What a holder shows (a cookie, a token, a link) is random and is kept only as its SHA-256. One user, `owner`; a session
that was verified is remembered here, so that the page of somebody who has signed in works while the database is away.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from limits import parse

from bot.times import DAY
from services.web.failures import Failure
from services.web.ports import AccessStore, FactorSecrets
from services.web.request_limits import RequestLimits
from services.web.scopes import Scope
from services.web.second_factor import SecondFactor

OWNER = "owner"

SESSION, LINK = 30 * DAY, DAY // 96  # ms that they last: a link a quarter of an hour
LEAST_PASSWORD, LONGEST_PASSWORD = 12, 256
TRIES = (parse("5/minute"), parse("30/hour"))  # to sign in, from an address
ANONYMOUS, SIGNED_IN = parse("240/minute"), parse("12000/minute")  # requests of an address, of a session
BROWSER, TOKEN = "browser", "token"  # kinds of sessions


@dataclass(frozen=True)
class ConsoleSession:
    """Somebody who has signed in."""

    id: str  # SHA-256 of what is shown
    name: str
    kind: str
    label: str
    scope: Scope
    created: int  # ms
    expires: int

    @property
    def csrf(self) -> str:
        """What a form of this session carries: nobody who cannot read its page knows it."""
        return hashlib.sha256(f"csrf {self.id}".encode()).hexdigest()


def digest(shown: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(shown.encode(errors="surrogatepass")).hexdigest()


class Access:
    """Signs in and out, and knows who has."""

    def __init__(
        self, rows: AccessStore, kept: FactorSecrets, now: Callable[[], int], hasher: PasswordHasher | None = None
    ) -> None:
        """`now`: wall clock, ms."""
        self.rows, self.now, self.limits = rows, now, RequestLimits()
        self._hasher = hasher or PasswordHasher()
        self.factor = SecondFactor(rows, kept, now, self._hasher, self.limits)
        self._known: dict[str, ConsoleSession] = {}
        self._nobodys = self._hasher.hash(secrets.token_urlsafe())  # a sign-in takes as long where no password is set

    # Signing in

    async def has_password(self) -> bool:
        """Whether there is one to sign in with."""
        return await self.rows.password(OWNER) is not None

    async def with_password(
        self, password: str, address: str, label: str, code: str = ""
    ) -> tuple[str, ConsoleSession]:
        """Sign in; returns what the browser has to show from now on. Raises Failure.

        `code`: of the second factor, where it is on; whoever gives none is told to, once the password is right.
        """
        self.limits.hit(address, "sign-in", *TRIES)
        kept = await self.rows.password(OWNER)
        right = await asyncio.to_thread(self._verify, kept, password)
        await self.record(address, "sign in by password", who=OWNER * right, refused=not right)
        if not right:
            raise Failure(401, "wrong_password", "the password is wrong.", "try again, or use a link", "password")
        if await self.factor.is_on(OWNER):
            await self._second(code, address)
        return await self._begin(BROWSER, label, Scope.MONEY, SESSION)

    async def _second(self, code: str, address: str) -> None:
        """Take a code of the second factor; raises Failure."""
        if not code:
            sentence = "this sign-in asks for a code of your authenticator too."
            raise Failure(401, "code_needed", sentence, "give its six digits, or a recovery code", "code")
        try:
            await self.factor.check(OWNER, code)
        except Failure:
            await self.record(address, "sign in by code", refused=True)
            raise

    def _verify(self, kept: str | None, password: str) -> bool:
        try:
            return self._hasher.verify(kept or self._nobodys, password) and kept is not None
        except (VerificationError, InvalidHashError):
            return False

    async def with_link(self, link: str, address: str, label: str) -> tuple[str, ConsoleSession]:
        """Sign in with what `link` gave; raises Failure."""
        self.limits.hit(address, "sign-in", *TRIES)
        right = await self.rows.use_link(digest(link), self.now())
        await self.record(address, "sign in by link", who=OWNER * right, refused=not right)
        if not right:
            remedy = "take a new one from `traderagent web`, or sign in with the password"
            raise Failure(401, "used_link", "the link was used before, or is too old.", remedy, "link")
        return await self._begin(BROWSER, label, Scope.MONEY, SESSION)

    async def link(self) -> str:
        """Make what signs in once within a quarter of an hour."""
        shown = secrets.token_urlsafe(24)
        await self.rows.add_link(digest(shown), self.now() + LINK)
        return shown

    async def token(
        self, by: ConsoleSession, address: str, label: str, scope: Scope, days: int
    ) -> tuple[str, ConsoleSession]:
        """Make a token for a program; it is shown once."""
        await self.record(address, f"token {label!r} with scope {scope}", who=by.name)
        return await self._begin(TOKEN, label, scope, days * DAY)

    async def _begin(self, kind: str, label: str, scope: Scope, lasts: int) -> tuple[str, ConsoleSession]:
        shown, now = secrets.token_urlsafe(32), self.now()
        session = ConsoleSession(digest(shown), OWNER, kind, label[:80], scope, now, now + lasts)
        await self.rows.add_session(
            *(session.id, session.name, kind, session.label, str(scope), session.created, session.expires)
        )
        self._known[session.id] = session
        return shown, session

    # What was shown

    async def session(self, shown: str) -> ConsoleSession | None:
        """Whose session it is; raises Unreachable for one that was never seen while the database is away."""
        name = digest(shown)
        known = self._known.get(name)
        if known is None:
            row = await self.rows.session(name)
            if row is None:
                return None
            known = self._known[name] = _session(row)
        if known.expires <= self.now():
            self._known.pop(name, None)
            return None
        return known

    async def sessions(self) -> list[ConsoleSession]:
        """List the sessions and tokens that have not ended."""
        return [_session(row) for row in await self.rows.sessions(self.now())]

    async def end(self, session: str, by: ConsoleSession, address: str) -> None:
        """End a session or token, at once; raises Failure where there is none."""
        self._known.pop(session, None)
        if not await self.rows.end_session(session):
            raise Failure(404, "not_found", "this session has ended already.", "look at the list again", "session")
        await self.record(address, "session ended", who=by.name)

    async def set_password(self, old: str | None, new: str, by: ConsoleSession, address: str) -> None:
        """Set or change the password, and end every other browser's session. Raises Failure."""
        self.limits.hit(address, "password", *TRIES)
        kept = await self.rows.password(OWNER)
        if kept is not None and not await asyncio.to_thread(self._verify, kept, old or ""):
            raise Failure(422, "wrong_password", "the present password is wrong.", "give the present one", "old")
        await self.rows.set_password(OWNER, await asyncio.to_thread(self._hasher.hash, new), self.now())
        await self.record(address, "password set", who=by.name)
        await self._end_other_browsers(by)

    async def confirm_second_factor(self, code: str, by: ConsoleSession, address: str) -> list[str]:
        """Turn the second factor on, and end every other browser's session; returns the recovery codes."""
        codes = await self.factor.confirm(by.name, code)
        await self.record(address, "second factor on", who=by.name)
        await self._end_other_browsers(by)
        return codes

    async def end_second_factor(self, code: str, by: ConsoleSession, address: str) -> None:
        """Turn the second factor off by a code; raises Failure."""
        await self.factor.turn_off(by.name, code)
        await self.record(address, "second factor off", who=by.name)

    async def _end_other_browsers(self, by: ConsoleSession) -> None:
        for one in await self.sessions():
            if one.kind == BROWSER and one.id != by.id:
                await self.rows.end_session(one.id)
                self._known.pop(one.id, None)

    async def record(self, address: str, action: str, *, who: str = "", refused: bool = False) -> None:
        """Write into the audit what was done through the console."""
        number = await self.rows.begin_audit(self.now(), who, address, action, "", "", "", {})
        if number is not None:
            await self.rows.end_audit(number, "refused" if refused else "done", refused=refused)


def _session(row: dict[str, Any]) -> ConsoleSession:
    who = row["session"], row["name"], row["kind"], row["label"]
    return ConsoleSession(*who, Scope(row["scopes"]), row["created"], row["expires"])


def same(given: str, right: str) -> bool:
    """Compare what somebody shows with what is right, in a time that tells nothing."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), right.encode())
