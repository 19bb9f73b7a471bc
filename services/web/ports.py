"""What the console needs of the world: `services.sources`, and who may. `services.app.console` brings it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from services.sources import BotLink, CandleSource, EventSource, HistoryRows


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


@dataclass(frozen=True)
class Sources:
    """All of it."""

    history: HistoryRows
    access: AccessStore
    bots: BotLink
    candles: CandleSource
    events: EventSource | None  # None: there is no bus; what bots tell is asked of the database
