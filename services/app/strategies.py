"""Opens the saved strategies of a data directory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from services.app.backing import database
from services.storage.strategies import StrategyStore

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = ""  # whose rows strategies are: no bot's


@asynccontextmanager
async def strategy_store(data_dir: Path) -> AsyncIterator[StrategyStore]:
    """Start, or join, the database of a data directory, and open its strategies."""
    async with database(data_dir, NOBODY) as dsn:
        store = await StrategyStore.open(dsn)
        try:
            yield store
        finally:
            await store.close()
