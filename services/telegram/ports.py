"""What Telegram needs of the world: bots, their rows and what they tell. `services.app.telegram` brings them.

Whatever is away raises Unreachable; a bot that refuses, or does not run, raises Misconfigured with its sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from coordinator.bot_status import PairOrders


class Bots(Protocol):
    """The bots that run here."""

    def names(self) -> list[str]:
        """Name them."""
        ...

    async def status(self, bot: str) -> dict[str, Any]:
        """How one says that it stands."""
        ...

    async def orders(self, bot: str, pair: str) -> PairOrders:
        """What should be open for a pair, and what is."""
        ...

    async def command(self, bot: str, said: dict[str, Any]) -> str:
        """Tell it; what it has done, in words."""
        ...


class Past(Protocol):
    """What bots have done, from their database, the newest first."""

    async def decisions(self, bot: str, pair: str = "", *, limit: int = 100) -> tuple[list[dict[str, Any]], str | None]:
        """Decisions."""
        ...

    async def fills(self, bot: str, pair: str = "", *, limit: int = 100) -> tuple[list[dict[str, Any]], str | None]:
        """Fills and payments of funding."""
        ...

    async def trades(self, bot: str) -> tuple[list[Any], dict[str, float]]:
        """Closed trades, oldest first, and what funding paid by pair."""
        ...

    async def earned(self, bot: str) -> list[dict[str, Any]]:
        """What was realised by UTC day and pair, oldest first."""
        ...


class Told(Protocol):
    """What bots tell as it happens."""

    async def newest(self, bot: str) -> str:
        """Return the place of the newest event."""
        ...

    async def wait(self, after: dict[str, str], seconds: float) -> dict[str, list[dict[str, Any]]]:
        """Wait so long for events after these places, by bot."""
        ...

    async def equity(self, bot: str, count: int) -> list[dict[str, Any]]:
        """What the account was worth, the last so many marks, oldest first."""
        ...


class Candles(Protocol):
    """Candles of the venues where the bots trade."""

    async def candles(self, bot: str, pair: str, until: int | None, count: int) -> Any:
        """The last minute bars, BAR (n,)."""
        ...


@dataclass(frozen=True)
class World:
    """All of it."""

    bots: Bots
    past: Past
    told: Told | None  # None: there is no bus, and nothing is heard of as it happens
    candles: Candles
