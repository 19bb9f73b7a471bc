"""Keeps that a strategy may trade live untested, as its owner says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinator.saved_strategy import saved_strategy
from services.runtime.config import Environment
from services.storage.tested_runs import ACCEPTED, FinishedTest, file_of_test
from services.whole_file import write_whole

if TYPE_CHECKING:
    from coordinator.config import PortfolioConfig
    from services.runtime.config import BotSettings


def accept(settings: BotSettings, config: PortfolioConfig) -> None:
    """Keep it, for the pairs of a config, where that trades live."""
    if settings.environment is not Environment.LIVE:
        return
    one = FinishedTest(saved_strategy(config).content, ACCEPTED, settings.name, tuple(config.pairs), "", "", {})
    path, text = file_of_test(settings.data_dir, one)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
