"""One-time codes: what a button may do, for whom, under which message and in which state. Pure: time arrives."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

SECONDS = 60.0
MOST = 200  # codes that are kept


class CodeOutcome(Enum):
    """What a code is worth."""

    GOOD = auto()
    UNKNOWN = auto()  # never given, used, or somebody else's
    LATE = auto()
    CHANGED = auto()  # positions are not those that were asked about


@dataclass(frozen=True)
class AskedCode:
    """What somebody was asked to confirm."""

    user: int
    bot: str
    command: str
    pair: str
    state: str
    until: float
    setting: str = ""  # set: which value of the config
    value: str = ""  # set: what it is to be


class Codes:
    """The codes that were given."""

    def __init__(self) -> None:
        self._asked: dict[str, AskedCode] = {}

    def give(
        self, user: int, bot: str, command: str, pair: str, state: str, now: float, setting: str = "", value: str = ""
    ) -> str:
        """Give a code for a command in the state that the user has seen."""
        while len(self._asked) >= MOST:
            self._asked.pop(next(iter(self._asked)))
        code = secrets.token_urlsafe(9)
        self._asked[code] = AskedCode(user, bot, command, pair, state, now + SECONDS, setting, value)
        return code

    def asked(self, code: str, user: int) -> AskedCode | None:
        """What a code of this user's is for; None for any other."""
        found = self._asked.get(code)
        return found if found is not None and found.user == user else None

    def use(self, code: str, user: int, state: str, now: float) -> CodeOutcome:
        """Use a code: it is worth nothing afterwards. Somebody else's stays as it is."""
        if self.asked(code, user) is None:
            return CodeOutcome.UNKNOWN
        found = self._asked.pop(code)
        if now > found.until:
            return CodeOutcome.LATE
        return CodeOutcome.GOOD if found.state == state else CodeOutcome.CHANGED


def state_of(status: dict[str, Any], present: object = None) -> str:
    """What a confirmation is bound to: positions, whether a halt waits for which answer, a setting's present value."""
    held = sorted((one["pair"], one["position"]) for one in status["pairs"] if one["position"])
    return repr((held, status["halted"], status["answer"], present))
