"""Answers about twins of live pairs: days that are kept, and questions to a process of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from services.app.research_process import ResearchProcess
from services.drift_days import days, read_day
from services.runtime.sessions import newest_session

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 120.0  # that a comparison of a day may take


class Twins:
    """The twins of a data directory's bots, whose rows are in one database."""

    def __init__(self, data_dir: Path, dsn: str) -> None:
        self.data_dir, self.dsn = data_dir, dsn
        self.process = ResearchProcess(data_dir, SECONDS)

    async def days(self, bot: str) -> list[str]:
        """UTC days of which a comparison is kept, the newest first."""
        return await asyncio.to_thread(days, self.data_dir, bot)

    async def day(self, bot: str, day: str) -> dict[str, Any] | None:
        """A comparison that is kept; None where there is none. Raises Misconfigured for what is no day."""
        return await asyncio.to_thread(read_day, self.data_dir, bot, day)

    async def compare(self, bot: str, day: str) -> dict[str, Any]:
        """Compare a day anew; raises Misconfigured with what is wrong, Unreachable without an answer."""
        found: dict[str, Any] = await self.process.ask("drift", {"bot": bot, "database": self.dsn, "day": day})
        return found

    async def what_if(self, bot: str, pair: str, price: float, price_now: float | None) -> dict[str, Any]:
        """How a pair would stand at a price; raises as `compare` does."""
        await asyncio.to_thread(newest_session, self.data_dir, bot, pair)  # without one nothing is begun
        said = {"bot": bot, "pair": pair, "price": price, "price_now": price_now, "database": self.dsn}
        found: dict[str, Any] = await self.process.ask("whatif", said)
        return found

    async def command_outcomes(self, bot: str, prices: dict[str, float]) -> dict[str, Any]:
        """What each command that ends in a halt or closes would do to these pairs; raises as `compare` does."""
        for pair in prices:
            await asyncio.to_thread(newest_session, self.data_dir, bot, pair)  # without one nothing is begun
        said = {"bot": bot, "prices": prices, "database": self.dsn}
        found: dict[str, Any] = await self.process.ask("command_outcomes", said)
        return found

    async def close(self) -> None:
        """End the process."""
        await self.process.close()
