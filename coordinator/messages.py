"""What the loops tell each other. A later number makes an earlier one void."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from bot.instrument import Instrument
from bot.ports import Account, Transfer
from coordinator.operator import OperatorCommand
from coordinator.vocabulary import HeldOff


@dataclass(frozen=True)
class PairReport:
    """How a pair stands at a close, or after it has followed a directive (`answers` is then its number)."""

    symbol: str
    sequence: int
    at: int  # ms: the close
    record: Any  # REPORT
    answers: int = 0


@dataclass(frozen=True)
class Directive:
    """What the portfolio asks of a pair."""

    sequence: int
    at: int  # ms: the evaluation it was given at
    record: Any  # DIRECTIVE, an array of one


@dataclass(frozen=True)
class Room:
    """What exposure the pair's entries may reach until the next evaluation, and what others hold; quote currency."""

    sequence: int
    limit: float
    others: float  # equity outside the pair, where shares are fixed


@dataclass(frozen=True)
class Recover:
    """Load what was stored, catch up with the venue, and make it match."""


@dataclass(frozen=True)
class Command:
    """What the operator says. The answer, in words, or CommandRejected, goes into `answer`."""

    said: OperatorCommand
    answer: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True)
class AccountSnapshot:
    """What the venue says the account holds, to be held against what the bot believes.

    `transfers`: the newest ones of the venue's log; None where it keeps none.
    """

    account: Account
    transfers: tuple[Transfer, ...] | None = None


@dataclass(frozen=True)
class Again:
    """A pair's loop is another one now: let it hear its directive again."""

    symbol: str


@dataclass(frozen=True)
class HoldOff:
    """A pair is to open nothing, for this reason, until it is over or the operator resumes it."""

    symbol: str
    reason: HeldOff
    sentence: str  # for the operator
    over: bool = False


@dataclass(frozen=True)
class Listed:
    """What the venue says of the pair's instrument now."""

    instrument: Instrument


@dataclass(frozen=True)
class Remember:
    """Store what is known, and make the venue match; what cannot be stored is not opened."""


@dataclass(frozen=True)
class StoreAway:
    """The store does not answer: what could increase exposure leaves the venue until it does."""


@dataclass(frozen=True)
class Withdraw:
    """The bot is ending: take back what could increase exposure and, with `close`, leave the position too."""

    close: bool = False


@dataclass(frozen=True)
class Adopt:
    """Parameters to follow from now on: a record of the same layout, in an array of one."""

    params: Any
