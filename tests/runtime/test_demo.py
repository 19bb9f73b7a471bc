"""The demonstration as whoever watches it commands it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from services.runtime import demo as demo_module
from services.runtime.demo import demonstration
from tests.runtime.house import entries

MOST_MINUTES = 1000  # until it trades again


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

    async def main():
        async with demonstration(11, tmp_path, ("SOLUSDT",)) as show:
            for _ in range(10):
                await show.steps.minute()
            await show.runtime.obey("halt", None, False)
            for _ in range(minutes):
                await show.steps.minute()
            halted, during = show.status(), len(entries(SimpleNamespace(runtime=show.runtime), show.exchange))
            await show.runtime.obey("resume", None, False)
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
