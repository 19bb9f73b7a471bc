"""The import contracts can fail: each is broken once, in a copy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bot.sources import ROOT

BREAKS = {
    "a floor above": ("bot/ledger.py", "import strategies.grid"),
    "a strange strategy": ("strategies/grid.py", "import strategies.dca"),
    "a filter in a strategy": ("strategies/trend.py", "import filters.smc"),
    "a strategy in a filter": ("filters/smc.py", "import strategies.trend"),
    "the coordinator below": ("filters/zones.py", "import coordinator.risk"),
    "the front door": ("services/settings.py", "import bot.__main__"),
    "the outside": ("backtesting/candles.py", "import ccxt"),
    "the clock": ("strategies/trend.py", "import time"),
    "the clock in the portfolio": ("coordinator/portfolio.py", "import time"),
    "chance": ("backtesting/exchange.py", "import random"),
    "the command line": ("services/market_data/store.py", "import services.command_line.main"),
    "the database below": ("coordinator/strategy_loop.py", "import asyncpg"),
    "waiting outside the loops": ("coordinator/machine.py", "import asyncio"),
    "a service in another": ("services/exchanges/bybit/gateway.py", "import services.storage.store"),
    "a backtest in a bot": ("services/runtime/status.py", "import backtesting.exchange"),
    "data frames in a bot": ("coordinator/config.py", "import polars"),
    "Ray elsewhere": ("services/runtime/local.py", "import ray"),
    "a composition root in a service": ("services/simulated_bybit/server.py", "import services.runtime.local"),
}


@pytest.mark.parametrize("name", list(BREAKS))
def test_a_broken_contract_is_found(tmp_path, name):
    """F-40: also that no strategy needs another."""
    for package in ("bot", "filters", "strategies", "coordinator", "backtesting", "services"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file, line = BREAKS[name]
    path = tmp_path / file
    path.write_text(path.read_text() + f"\n{line}\n")
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([str(linter), "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
