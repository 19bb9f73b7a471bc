"""Every exchange of these tests is watched, also while the bot is dead; and the run that nobody disturbs."""

from __future__ import annotations

import asyncio

import pytest

from services.simulated_bybit.exchange import Exchange
from services.simulated_bybit.watch import Watch
from tests.chaos.test_crash_points import played

LIMIT = 0.7 * 1.02  # exposure as the algorithm has it; the bot reckons with the last close, the exchange with now


@pytest.fixture(autouse=True)
def watches(monkeypatch):
    """Watch every exchange after each step, each answer and each minute: no position bare, exposure under its limit.

    A test that plays the exchange by harder rules looks at the watches itself, and clears them.
    """
    found, begin = [], Exchange.begin

    def watched(self, start):
        begin(self, start)
        found.append(Watch.over(self))

    monkeypatch.setattr(Exchange, "begin", watched)
    yield found
    for watch in found:
        assert watch.bare_moments == []
        assert watch.peak <= LIMIT


@pytest.fixture(scope="session")
def undisturbed(dsn):
    left, _, burnt = asyncio.run(played(dsn, "calm", []))
    assert len(left[0]) >= 20, "the market has to be livelier for these tests to mean anything"
    return left, burnt
