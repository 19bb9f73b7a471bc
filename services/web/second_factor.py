"""The second factor of a sign-in: six digits of an authenticator (TOTP, RFC 6238), or a recovery code.

A code is taken once, and none that is older than one that was taken. What is given for a recovery code is kept as its
argon2 hash alone, the authenticator's secret sealed by the master key. Where it cannot be checked nobody is let in.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyotp
import segno
from argon2.exceptions import InvalidHashError, VerificationError
from limits import parse

from bot.errors import Misconfigured, cut
from services.web.failures import Failure

if TYPE_CHECKING:
    from argon2 import PasswordHasher

    from services.web.ports import AccessStore, FactorSecrets
    from services.web.request_limits import RequestLimits

STEP = 30  # s that a code lasts
WINDOW = (0, -1, 1)  # steps that a clock may be off
RECOVERY_CODES = 10
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # without those that look like others
BEGUN_MS = 600_000  # that an enrolment may take
CODES = (parse("5/minute"), parse("20/hour"))  # of a user, from wherever, right ones too
ISSUER = "traderagent"
OFF = "`traderagent second-factor off` on its machine"


@dataclass(frozen=True)
class Enrolment:
    """What an authenticator is given: its secret as a text, as an address, and as a picture of that."""

    secret: str
    uri: str
    picture: str  # a QR code, as an address with its SVG in it


class SecondFactor:
    """Turns second factors on and off, and checks their codes."""

    def __init__(
        self,
        rows: AccessStore,
        kept: FactorSecrets,
        now: Callable[[], int],
        hasher: PasswordHasher,
        limits: RequestLimits,
    ) -> None:
        """`now`: wall clock, ms."""
        self.rows, self.kept, self.now, self._hasher, self.limits = rows, kept, now, hasher, limits
        self._begun: dict[str, tuple[str, int]] = {}  # secrets that no code has confirmed yet, and since when

    async def is_on(self, name: str) -> bool:
        """Whether a sign-in of this user asks for a code."""
        return await self.rows.last_code(name) is not None

    async def recovery_codes(self, name: str) -> int:
        """How many are left."""
        return len(await self.rows.recovery_codes(name))

    # Turning it on and off

    async def begin(self, name: str, place: str) -> Enrolment:
        """Make a secret that a code has to confirm; `place` says which console it is. Raises Failure."""
        if await self.is_on(name):
            raise Failure(409, "on", "the second factor is on already.", "turn it off first")
        if await self.rows.password(name) is None:
            raise Failure(409, "no_password", "no password is set, so there is nothing to add to.", "set one first")
        secret = pyotp.random_base32()
        self._begun[name] = secret, self.now()
        uri = pyotp.TOTP(secret, name=f"{name}@{place}", issuer=ISSUER).provisioning_uri()
        return Enrolment(secret, uri, segno.make(uri, error="m").svg_data_uri(scale=4, light="#fff", dark="#000"))

    async def confirm(self, name: str, code: str) -> list[str]:
        """Turn it on by a code of what `begin` has given; returns the recovery codes, this once. Raises Failure."""
        secret, since = self._begun.get(name, ("", 0))
        if not secret or self.now() - since > BEGUN_MS:
            raise Failure(409, "not_begun", "no second factor is being turned on.", "begin again")
        self.limits.hit(name, "code", *CODES)
        counter = matching(secret, bare(code), self.now())
        if counter is None:
            raise Failure(422, "wrong_code", "the code is wrong.", "look at the clocks, and give the next one", "code")
        codes = [f"{_letters()}-{_letters()}" for _ in range(RECOVERY_CODES)]
        hashes = await asyncio.to_thread(lambda: [self._hasher.hash(bare(one)) for one in codes])
        try:
            await asyncio.to_thread(self.kept.keep, name, secret)
        except Misconfigured as error:
            raise Failure(409, "not_kept", cut(str(error), 400), "put the master key right") from None
        if not await self.rows.begin_second_factor(name, counter, hashes, self.now()):
            raise Failure(409, "on", "the second factor is on already.", "turn it off first")
        del self._begun[name]
        return codes

    async def turn_off(self, name: str, code: str) -> None:
        """Turn it off by a code; raises Failure."""
        if not await self.is_on(name):
            raise Failure(409, "off", "the second factor is off already.", "turn it on if you want it")
        await self.check(name, code)
        await self.rows.end_second_factor(name)
        await asyncio.to_thread(self.kept.remove, name)

    # Codes

    async def check(self, name: str, code: str) -> None:
        """Take a code, which is worth nothing afterwards; raises Failure for a wrong one."""
        self.limits.hit(name, "code", *CODES)
        given = bare(code)
        taken = await (self._take_digits(name, given) if given.isdecimal() else self._take_recovery(name, given))
        if not taken:
            remedy = f"give the next one, or a recovery code; who has neither takes {OFF}"
            raise Failure(401, "wrong_code", "the code is wrong, or was used before.", remedy, "code")

    async def _take_digits(self, name: str, given: str) -> bool:
        try:
            secret = await asyncio.to_thread(self.kept.read, name)
        except Misconfigured as error:
            secret, why = None, cut(str(error), 400).rstrip(".")
        else:
            why = "its secret is missing"
        if secret is None:
            raise Failure(503, "no_second_factor", f"the second factor cannot be checked: {why}.", OFF)
        counter = matching(secret, given, self.now())
        return counter is not None and await self.rows.take_code(name, counter)

    async def _take_recovery(self, name: str, given: str) -> bool:
        for kept in await self.rows.recovery_codes(name):
            if await asyncio.to_thread(self._verify, kept, given):
                return await self.rows.take_recovery_code(name, kept)
        return False

    def _verify(self, kept: str, given: str) -> bool:
        try:
            return self._hasher.verify(kept, given)
        except (VerificationError, InvalidHashError):
            return False


def bare(code: str) -> str:
    """Return a code as it is compared: without the spaces and dashes that people read it by."""
    return "".join(one for one in code.lower() if one not in " -")


def matching(secret: str, code: str, now: int) -> int | None:
    """Return the number of the step that a code belongs to at a moment (ms); None for none that is near."""
    totp, step = pyotp.TOTP(secret), now // 1000 // STEP
    for offset in WINDOW:
        if pyotp.utils.strings_equal(code, totp.at((step + offset) * STEP)):
            return step + offset
    return None


def _letters() -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(5))
