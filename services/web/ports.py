"""What the console needs of the world: `services.sources`, and who may. `services.app.console` brings it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from services.sources import BotLink, CandleSource, EventSource, HistoryRows, TwinAnswers


class AccessStore(Protocol):
    """Passwords, sessions, links and the audit."""

    async def password(self, name: str) -> str | None:
        """Return the hash of a user's password."""
        ...

    async def set_password(self, name: str, password: str, at: int) -> None:
        """Keep it."""
        ...

    async def add_session(
        self, session: str, name: str, kind: str, label: str, scopes: str, created: int, expires: int
    ) -> None:
        """Keep a session."""
        ...

    async def session(self, session: str) -> dict[str, Any] | None:
        """Return a session by its hash."""
        ...

    async def sessions(self, now: int) -> list[dict[str, Any]]:
        """List those that have not expired."""
        ...

    async def end_session(self, session: str) -> bool:
        """Forget it; whether there was one."""
        ...

    async def add_link(self, link: str, expires: int) -> None:
        """Keep a link that signs in once."""
        ...

    async def use_link(self, link: str, now: int) -> bool:
        """Take it away; whether it was there and has not expired."""
        ...

    async def last_code(self, name: str) -> int | None:
        """Return the step of the last code of a second factor; None where it is off."""
        ...

    async def take_code(self, name: str, counter: int) -> bool:
        """Take the code of a step; whether it is later than the last one."""
        ...

    async def begin_second_factor(self, name: str, counter: int, codes: list[str], at: int) -> bool:
        """Turn it on, with the hashes of its recovery codes; whether it was off."""
        ...

    async def end_second_factor(self, name: str) -> bool:
        """Turn it off; whether it was on."""
        ...

    async def recovery_codes(self, name: str) -> list[str]:
        """Return the hashes of those that are left."""
        ...

    async def take_recovery_code(self, name: str, code: str) -> bool:
        """Take one away; whether it was there."""
        ...

    async def begin_audit(
        self, at: int, who: str, address: str, action: str, bot: str, pair: str, key: str, fields: dict[str, Any]
    ) -> int | None:
        """Record something before it is done; None for a key of this bot that is known."""
        ...

    async def end_audit(self, number: int, outcome: str, *, refused: bool) -> None:
        """Record what became of it."""
        ...

    async def audited(self, bot: str, key: str) -> dict[str, Any] | None:
        """Return what this bot was told under this key."""
        ...

    async def audit(self, bot: str, before: int, limit: int) -> list[dict[str, Any]]:
        """List what was done, the newest first."""
        ...


class FactorSecrets(Protocol):
    """Secrets of second factors, sealed; each raises Misconfigured where the master key is not the right one."""

    def read(self, user: str) -> str | None:
        """Return one."""
        ...

    def keep(self, user: str, secret: str) -> None:
        """Keep one, in the place of a former one."""
        ...

    def remove(self, user: str) -> bool:
        """Delete one; whether it was there."""
        ...


class SignalInbox(Protocol):
    """Signals as they come; each raises Unreachable while the database is away."""

    async def add(
        self, bot: str, symbol: str, signal: str, direction: int, stop: float, target: float, seconds: float
    ) -> int | None:
        """Write a signal down, which is good for so many seconds; its number, None where its id was used before."""
        ...

    async def newest(self, bot: str, symbol: str, limit: int) -> list[dict[str, Any]]:
        """List the last that came with what the bot did, the newest first; of every pair where `symbol` is empty."""
        ...

    async def heard(self, bot: str, symbol: str) -> list[dict[str, Any]]:
        """List the signals that a bot heard in time, as a backtest takes them from a file."""
        ...


class SignalKeys(Protocol):
    """Secrets by which signals are signed; each raises Misconfigured where the master key is not the right one."""

    def read(self, bot: str) -> str | None:
        """Return one."""
        ...

    def keep(self, bot: str, secret: str) -> None:
        """Keep one, in the place of a former one."""
        ...

    def remove(self, bot: str) -> bool:
        """Delete one; whether it was there."""
        ...


class ResearchRows(Protocol):
    """Jobs, sessions of searches and saved strategies; moments in ms."""

    async def jobs(self, owner: str | None, before: int, limit: int, *, active: bool) -> list[dict[str, Any]]:
        """The newest jobs before a number (0: from the newest), without request and result."""
        ...

    async def job(self, job: int) -> dict[str, Any] | None:
        """One job with its request and result."""
        ...

    async def submit(self, owner: str, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        """Queue a request that was read, or find the same one that waits or runs."""
        ...

    async def cancel(self, job: int) -> None:
        """End a job that waits or runs."""
        ...

    async def retry(self, job: int) -> None:
        """Queue a failed or cancelled job anew; raises Misconfigured for any other."""
        ...

    async def workers(self) -> int:
        """How many workers are connected."""
        ...

    async def sessions(self, before: int | None, limit: int) -> list[dict[str, Any]]:
        """The newest sessions begun before a moment."""
        ...

    async def session(self, session: str) -> dict[str, Any] | None:
        """One session with its space and what came of it."""
        ...

    async def pace(self, kind: str, strategy: str) -> float | None:
        """Seconds that one variant took in the last jobs of a kind with a strategy; None where none has ended."""
        ...

    async def scores(self) -> list[dict[str, Any]]:
        """What finished sessions earned out of sample, by strategy, pair and timeframe."""
        ...

    async def strategies(self) -> list[dict[str, Any]]:
        """Every saved strategy, newest first."""
        ...

    async def save(self, taken: dict[str, Any], cloned_from: str | None) -> tuple[str, bool]:
        """Save a strategy that was taken out of a config; its name, and whether it is new."""
        ...

    async def delete(self, content: str) -> None:
        """Forget a strategy; raises Misconfigured for one that a bot runs."""
        ...


class SearchAnswers(Protocol):
    """What needs the search's code, which lives in a process of its own."""

    async def ask(self, question: str, said: dict[str, Any] | None = None) -> Any:
        """Ask; raises Misconfigured with its refusal, and Unreachable where it ends without an answer."""
        ...


class ReportPages(Protocol):
    """Reports of runs, played one after the other in a process of their own."""

    def begin(self, report: str, config: str) -> dict[str, Any]:
        """Play a report unless it is there or being played; says how it stands."""
        ...

    def state(self, report: str) -> dict[str, Any]:
        """How a report stands; raises Misconfigured for one that nobody has asked for."""
        ...

    async def read(self, report: str) -> bytes:
        """Read the page of a report that is ready."""
        ...

    async def curve(self, report: str) -> Any:
        """Read the line of equity of a report that is ready."""
        ...


class FleetLink(Protocol):
    """The fleet of the data directory; what it refuses, or that none runs, is Misconfigured."""

    async def bots(self) -> tuple[bool, list[dict[str, Any]]]:
        """Whether a supervisor runs, and how the bots stand, else how they stood last."""
        ...

    async def choices(self) -> dict[str, Any]:
        """What a bot can be made of."""
        ...

    async def create(self, given: dict[str, Any], saved: dict[str, Any] | None) -> str:
        """Take a new bot into the fleet; `saved`: the document of a saved strategy."""
        ...

    async def command(self, word: str, bot: str) -> str:
        """Have a bot started, stopped or restarted."""
        ...

    async def remove(self, bot: str, *, leave_positions: bool) -> str:
        """Take a stopped bot out."""
        ...


class Replays(Protocol):
    """Sessions of the manual backtester; a refusal raises Misconfigured."""

    async def choices(self) -> dict[str, Any]:
        """What a session may be about."""
        ...

    async def span(self, pair: str, exchange: str, market: str) -> dict[str, Any]:
        """From when to when there are candles of a pair, ms."""
        ...

    async def begin(self, owner: str, asked: dict[str, Any]) -> str:
        """Begin a session; returns its name."""
        ...

    async def replays(self) -> list[dict[str, Any]]:
        """The newest sessions."""
        ...

    async def show(self, replay: str, since: int) -> dict[str, Any]:
        """A session as it stands, with its bars from number `since` on."""
        ...

    async def act(self, replay: str, number: int, action: dict[str, Any], since: int) -> dict[str, Any]:
        """Take up an action that follows `number` others; where the session stands then."""
        ...

    async def undo(self, replay: str, number: int, since: int) -> dict[str, Any]:
        """Take back the last of `number` actions; where the session stands then."""
        ...

    async def picture(self, replay: str, number: int, image: bytes) -> dict[str, Any]:
        """Keep a picture of the chart as an action."""
        ...

    async def bot(self, replay: str, bot: str) -> dict[str, Any]:
        """What a bot would have done up to here."""
        ...

    async def statistics(self, replay: str, bot: str) -> dict[str, Any]:
        """What the person came to, and a bot beside it."""
        ...

    async def end(self, replay: str) -> dict[str, Any]:
        """End a session, and write its closed trades into the journal."""
        ...

    async def delete(self, replay: str) -> None:
        """Forget a session."""
        ...


class JournalRows(Protocol):
    """Records of manual and live trades."""

    async def records(
        self, search: str = "", source: str = "", symbol: str = "", tag: str = "", start: int = 0, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Records by exit, the newest first, with what bots have closed meanwhile."""
        ...

    async def record(self, record: str) -> dict[str, Any] | None:
        """One record; None where there is none of this name."""
        ...

    async def edit(self, record: str, revision: int, notes: str, tags: list[str]) -> dict[str, Any]:
        """Give a record other notes and tags; raises Misconfigured where somebody else has done so meanwhile."""
        ...

    async def outbox(self) -> dict[str, Any]:
        """How many revisions wait, were sent and failed."""
        ...

    async def image(self, place: str) -> bytes | None:
        """A picture of a record; None where there is none."""
        ...

    def csv(self, records: list[dict[str, Any]]) -> str:
        """Records as CSV."""
        ...

    async def exported(self, records: list[dict[str, Any]]) -> bytes:
        """Records as Markdown with their pictures, a ZIP."""
        ...


@dataclass(frozen=True)
class Sources:
    """All of it."""

    history: HistoryRows
    access: AccessStore
    bots: BotLink
    candles: CandleSource
    events: EventSource | None  # None: there is no bus; what bots tell is asked of the database
    research: ResearchRows
    answers: SearchAnswers
    reports: ReportPages
    fleet: FleetLink
    twins: TwinAnswers
    replays: Replays
    journal: JournalRows
    signals: SignalInbox
    signal_keys: SignalKeys
