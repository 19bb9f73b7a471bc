"""The demonstration: what its market shows, and that whoever watches it commands it."""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace

import numpy as np
import pytest

from backtesting.instruments import instrument_for
from backtesting.portfolio_simulator import PortfolioSimulator, PreparedPortfolio
from bot.candles import iso
from coordinator.decisions import as_row, decisions_of
from services.command_line.live import demo as command
from services.runtime.stages import Stages
from services.trials import demo as demo_module
from services.trials.demo import (
    HOUR,
    PAIRS,
    PAST_HOURS,
    SCRIPT_MINUTES,
    demo_candles,
    demo_config,
    demonstration,
)
from tests.conftest import MINUTE
from tests.runtime.house import command as spoken
from tests.runtime.house import entries

MOST_MINUTES = 1000  # until it trades again
CRASH = 0.10  # fall of BTCUSDT within ten minutes


def default_of(option):
    return inspect.signature(command).parameters[option].default


def played(seed):
    """Recording, events and candles of the script, as the bot of the demo trades it."""
    candles = demo_candles(PAIRS, seed)
    start = int(candles["BTCUSDT"].ts[0]) + PAST_HOURS * HOUR
    config = demo_config().changed(start=start, end=start + SCRIPT_MINUTES * MINUTE)
    instruments = {pair: instrument_for(pair, config.market, candles[pair])[0] for pair in PAIRS}
    begin = config.algorithm.history_start(start)
    shown = {pair: candles[pair].between(begin, config.end) for pair in PAIRS}
    recording = PortfolioSimulator(config).run(PreparedPortfolio.of(dict(shown), instruments))
    decided = decisions_of(recording.decisions, recording.pairs, config.algorithm.roster)
    return recording, [as_row(one) for one in decided], shown["BTCUSDT"]


def regime(name):
    return lambda one: one["event"] == "regime" and one["regime"] == name


def mode(*, reduced):
    return lambda one: one["event"] == "mode" and ("reduced" in one["modes"]) is reduced


@pytest.mark.parametrize("seed", [default_of("seed"), 5])
def test_five_minutes_of_watching_show_what_the_product_is_for(seed):
    recording, told, bitcoin = played(seed)
    fell = 1 + np.flatnonzero(bitcoin.close[10:] < (1.0 - CRASH) * bitcoin.close[:-10])[0] + 9
    told.append({"at": iso(int(bitcoin.ts[fell])), "event": "crash", "pair": "BTCUSDT"})
    told.sort(key=lambda one: one["at"])
    wanted = {
        "calm range": regime("tight_range"),
        "wild range": regime("wide_range"),
        "trend": regime("bull_trend"),
        "crash": lambda one: one["event"] == "crash",
        "REDUCED": mode(reduced=True),
        "full sizes again": mode(reduced=False),
        "transition": lambda one: one["event"] == "transition",
        "recovery": regime("bull_trend"),
    }
    rest = iter(told)  # each is looked for behind the one before
    missing = [name for name, fits in wanted.items() if not any(fits(one) for one in rest)]
    assert missing == []
    low = int(np.argmin(bitcoin.close[fell:])) + fell
    before, lowest, last = float(bitcoin.close[fell - 11]), float(bitcoin.close[low]), float(bitcoin.close[-1])
    assert last > lowest + 0.5 * (before - lowest)
    assert recording.equity[-1] > recording.equity[recording.ts >= bitcoin.ts[low]].min()


def test_the_script_takes_less_than_five_minutes_at_the_speed_of_the_demo():
    assert SCRIPT_MINUTES / default_of("speed") < 0.9 * 5 * 60


@pytest.mark.parametrize(
    ("hours", "minutes"),
    [
        (1.0, 90),  # as the simulated operator of this config would resume
        pytest.param(24.0, 25 * 60, marks=pytest.mark.slow),  # as the demo's own would
    ],
)
def test_a_halt_of_the_demo_waits_for_its_watcher_and_then_it_trades(tmp_path, monkeypatch, hours, minutes):
    """A latch opens by hand alone: the simulated operator, who resumes after some hours, is not in the demo."""
    made = demo_module.load_portfolio
    monkeypatch.setattr(
        demo_module, "load_portfolio", lambda given: made({**given, "risk": {"halt_resume_hours": hours}})
    )
    monkeypatch.setattr(demo_module, "DAYS", 3)
    ready = []

    async def main():
        async with demonstration(11, tmp_path, ("SOLUSDT",), Stages(lambda one: ready.append(one.name))) as show:
            for _ in range(10):
                await show.steps.minute()
            await show.runtime.apply_command(spoken("halt"))
            for _ in range(minutes):
                await show.steps.minute()
            halted, during = show.status(), len(entries(SimpleNamespace(runtime=show.runtime), show.exchange))
            await show.runtime.apply_command(spoken("resume"))
            traded, played = len(show.exchange.trades), 0
            while len(show.exchange.trades) == traded and played < MOST_MINUTES:
                await show.steps.minute()
                played += 1
            return halted, during, show.status(), len(show.exchange.trades) - traded

    halted, during, after, trades = asyncio.run(main())
    assert halted["halted"]
    assert halted["pairs"][0]["phase"] == "halted"
    assert during == 0
    assert not after["halted"]
    assert trades > 0
    assert ready == ["market", "exchange", "database", "bus", "trading"]
