"""Compiles what most of the suite runs, in two processes side by side, before the workers of a whole run begin.

Each worker would compile the same for itself otherwise, at the same time as the other.

    uv run python -m tests.machine_code 0
"""

from __future__ import annotations

import subprocess
import sys

import numba

from backtesting.portfolio_run import simulate_portfolio
from backtesting.portfolio_simulator import compiled_loop as portfolio_loop
from backtesting.run import simulate
from backtesting.simulator import compiled_loop
from bot.kernel_cache import on_stderr
from coordinator.compiled import compiled_dispatch
from coordinator.config import load_portfolio, strategy_named
from coordinator.roster import Roster
from services.market_data.synth import generate
from services.runtime.warm import warm
from tests.coordinator.test_pair_machine import LifeOfAPair


def loops() -> None:
    """Compile the loops of a simulation: the whole algorithm's, and a grid's."""
    candles = generate(["BTCUSDT"], 2, 1)
    simulate_portfolio({"strategy": "auto", "pairs": ["BTCUSDT"], "exchange": "synth"}, candles)
    simulate({"strategy": "grid", "pair": "BTCUSDT", "exchange": "synth"}, candles["BTCUSDT"])


def steps() -> None:
    """Compile the steps of a bot, and of the life of a pair."""
    warm(load_portfolio({"strategy": "auto", "pairs": ["BTCUSDT"], "exchange": "synth"}))
    LifeOfAPair()


PARTS = (loops, steps)


def prepare() -> None:
    """Compile in two processes, where something is missing."""
    if numba.config.DISABLE_JIT:
        return
    entries = (portfolio_loop(Roster()), compiled_dispatch(Roster()), compiled_loop(strategy_named("grid")))
    if all(one._cache.holds_any() for one in entries):
        return
    on_stderr("what most tests run", None)
    parts = [subprocess.Popen([sys.executable, "-m", __name__, str(part)]) for part in range(len(PARTS))]
    for one in parts:
        one.wait()


if __name__ == "__main__":
    PARTS[int(sys.argv[1])]()
