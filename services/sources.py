"""What watching bots needs of the world: their rows, control interfaces, events and candles. `services.app` has it.

Whatever is away raises Unreachable; a bot that refuses, or does not run, raises Misconfigured with its sentence.
"""

from __future__ import annotations

from typing import Any, Protocol

from coordinator.bot_status import PairOrders
from services.account_statement import AccountStatement

Rows = tuple[list[dict[str, Any]], str | None]  # of a page, and the cursor of the next one


class HistoryRows(Protocol):
    """What bots have done, from their database."""

    async def bots(self) -> list[str]:
        """Names of the bots that have rows."""
        ...

    async def decisions(
        self, bot: str, pair: str = "", kind: str = "", cursor: str | None = None, since: int | None = None,
        limit: int = 100,
    ) -> Rows:  # fmt: skip
        """Decisions, the newest first."""
        ...

    async def last_of_each(self, bot: str, pair: str) -> list[dict[str, Any]]:
        """The last decision of each kind about a pair and the account, oldest first."""
        ...

    async def fills(
        self, bot: str, pair: str = "", cursor: str | None = None, since: int | None = None, limit: int = 100
    ) -> Rows:
        """Fills and payments of funding, the newest first."""
        ...

    async def orders(
        self, bot: str, pair: str = "", cursor: str | None = None, since: int | None = None, limit: int = 100
    ) -> Rows:
        """Orders as they were sent last, the newest first."""
        ...

    async def commands(
        self, bot: str, pair: str = "", cursor: str | None = None, since: int | None = None, limit: int = 100
    ) -> Rows:
        """What operators have said, the newest first."""
        ...

    async def trades(self, bot: str) -> tuple[list[Any], dict[str, float]]:
        """Closed trades, oldest first, and what funding paid by pair."""
        ...

    async def account(self, bot: str) -> AccountStatement:
        """Every change of the bot's wallet, and where they do not add up to what it holds."""
        ...

    async def earned(self, bot: str) -> list[dict[str, Any]]:
        """What was realised by day and pair, oldest first."""
        ...

    async def contributions(self, bot: str) -> list[dict[str, Any]]:
        """What was realised by strategy and regime, the most first."""
        ...

    async def allocations(self, bot: str, since: int | None = None) -> list[dict[str, Any]]:
        """What was allocated to each pair from a moment (ms) on, oldest first, thinned."""
        ...

    async def exits(self, bot: str) -> list[dict[str, Any]]:
        """What was realised by reason to leave, the most first."""
        ...


class BotLink(Protocol):
    """The control interfaces of the bots that run here."""

    def names(self) -> list[str]:
        """Names of those that run."""
        ...

    def began(self, bot: str) -> float:
        """When it was started, seconds since 1970; 0 where that is not known."""
        ...

    async def status(self, bot: str) -> dict[str, Any]:
        """How it says that it stands."""
        ...

    async def orders(self, bot: str, pair: str) -> PairOrders:
        """What should be open for a pair, and what is."""
        ...

    async def config(self, bot: str) -> list[dict[str, Any]]:
        """The values of its config: `key`, `value`, whether it may change `live`, its `bounds` and `meaning`."""
        ...

    async def command(self, bot: str, said: dict[str, Any]) -> str:
        """Tell it; what it has done, in words."""
        ...


class EventSource(Protocol):
    """What bots tell as it happens."""

    async def newest(self, bot: str) -> str:
        """Return the place of the newest event."""
        ...

    async def wait(self, after: dict[str, str], seconds: float) -> dict[str, list[dict[str, Any]]]:
        """Wait so long for events after these places, by bot."""
        ...

    async def told(self, bot: str, after: str, until: str) -> list[dict[str, Any]]:
        """Events after one place up to another, oldest first."""
        ...

    async def equity(self, bot: str, count: int) -> list[dict[str, Any]]:
        """What the account was worth, the last so many marks, oldest first."""
        ...


class TwinAnswers(Protocol):
    """What twins of live pairs tell, which the simulated exchange fills: drift by day, and what would be at a price."""

    async def days(self, bot: str) -> list[str]:
        """UTC days of which a comparison is kept, the newest first."""
        ...

    async def day(self, bot: str, day: str) -> dict[str, Any] | None:
        """A comparison that is kept; None where there is none."""
        ...

    async def compare(self, bot: str, day: str) -> dict[str, Any]:
        """Compare a day anew, and keep it where anything is known of it."""
        ...

    async def what_if(self, bot: str, pair: str, price: float, price_now: float | None) -> dict[str, Any]:
        """How a pair would stand at a price, from `price_now` or else from the price that is stored."""
        ...

    async def command_outcomes(self, bot: str, prices: dict[str, float]) -> dict[str, Any]:
        """What halt, hold, reduce-50, close-all and close would do now to each of these pairs, by present price."""
        ...


class CandleSource(Protocol):
    """Candles of the venues where the bots trade."""

    async def candles(self, bot: str, pair: str, until: int | None, count: int) -> Any:
        """The last minute bars that open before `until` (ms; the market's present without one), BAR (n,)."""
        ...

    async def stored(
        self, bot: str, pair: str, minutes: int, since: int | None, until: int | None, bars: int
    ) -> tuple[Any, int]:
        """Candles of so many minutes that are stored of where a bot trades, in [since, until) ms, the last `bars`.

        Columns (6, n) as float64, ts first; and how many are withheld, as a minute of them is missing.
        """
        ...
