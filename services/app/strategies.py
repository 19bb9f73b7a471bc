"""The saved strategies of a data directory: opened, and each with its status, tests and runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from coordinator.run_state import OVER
from services.app.backing import database
from services.storage.strategies import StrategyStore
from services.storage.tested_runs import ACCEPTED, CHAOS, finished_tests

if TYPE_CHECKING:
    from pathlib import Path

    from services.storage.strategies import StoredRun, StoredStrategy

DRAFT, TESTED, RUNNING = "draft", "tested", "running"
NO_BOT = ""  # whose rows strategies are: no bot's


@asynccontextmanager
async def strategy_store(data_dir: Path, address: str) -> AsyncIterator[StrategyStore]:
    """Start, or join, the database of a data directory or the one at `address`, and open its strategies."""
    async with database(data_dir, NO_BOT, address) as dsn:
        store = await StrategyStore.open(dsn)
        try:
            yield store
        finally:
            await store.close()


def listed_strategy(one: StoredStrategy, runs: list[StoredRun], data_dir: Path) -> dict[str, Any]:
    """A strategy as it is listed: draft, tested (a backtest or search is finished on it) or running."""
    tests = [test for test in finished_tests(data_dir, one.content) if test.kind not in (ACCEPTED, CHAOS)]
    own = [run for run in runs if run.content == one.content]
    status = RUNNING if any(run.state not in OVER for run in own) else TESTED if tests else DRAFT
    return {
        "name": one.name,
        "content": one.content,
        "strategy": one.strategy,
        "status": status,
        "tests": [asdict(test) for test in tests],
        "tested_on": sorted({pair for test in tests for pair in test.pairs}),
        "runs": [asdict(run) for run in own],
        "cloned_from": one.cloned_from,
        "created": one.created,
    }
