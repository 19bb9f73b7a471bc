"""Messages between the loops of pairs and portfolio. A higher sequence number replaces a lower one."""

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
    """State of a pair at a close, or after it has applied a directive (`answers` is then its sequence number)."""

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
class ExposureLimit:
    """Exposure up to which the pair's entries may rest until the next evaluation; quote currency."""

    sequence: int
    limit: float
    others: float  # equity outside the pair, where shares are fixed


@dataclass(frozen=True)
class Recover:
    """Load what was stored (the first time), and reconcile with the venue."""


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
class LoopRenewed:
    """A pair's loop was replaced by a new one: send it its directive again."""

    symbol: str


@dataclass(frozen=True)
class HeldOffReport:
    """A pair may open nothing for this reason, until a report with `over` or the operator resumes it."""

    symbol: str
    reason: HeldOff
    sentence: str  # for the operator
    over: bool = False


@dataclass(frozen=True)
class InstrumentListed:
    """The pair's instrument as the venue lists it now."""

    instrument: Instrument


@dataclass(frozen=True)
class SaveState:
    """Save the state and make the venue match; entries that cannot be saved are not sent."""


@dataclass(frozen=True)
class StoreUnavailable:
    """The store does not answer: entries are cancelled until it does."""


@dataclass(frozen=True)
class ShutDown:
    """The bot shuts down: cancel what could increase exposure and, with `close`, close the position too."""

    close: bool = False


@dataclass(frozen=True)
class SetParameters:
    """Parameters to use from now on: a record of the same layout, in an array of one."""

    params: Any
