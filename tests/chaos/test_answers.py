"""Answers that are none, lists of many pages, executions that come late or never: what is traded stays the same."""

from __future__ import annotations

import asyncio

import pytest

from services.runtime.local import status
from services.simulated_bybit import answers, rest
from services.simulated_bybit.rest import ROUTES
from services.simulated_bybit.server import Faults, VenueServer
from tests.chaos.test_crash_points import what_is_left
from tests.chaos.test_faults import assert_same, played
from tests.runtime.house import Bot, config, exchange_for, venue

MINUTE = 60_000


@pytest.mark.slow
@pytest.mark.parametrize(("share", "path"), [(0.15, ""), (0.4, "order/")])
def test_answers_that_cannot_be_read_change_nothing(dsn, name, undisturbed, share, path):
    faults = Faults(malformed=share, malformed_path=path, seed=3)
    found, _ = asyncio.run(played(dsn, name, faults=faults))
    assert faults.struck["malformed"] >= 10
    assert_same(found, undisturbed[0])


@pytest.mark.slow
def test_lists_of_many_pages_are_read_to_the_end(dsn, name, undisturbed, monkeypatch):
    """Two rows a page, so that orders and executions fill more than two; and the bot lives by lists alone."""
    cursors = []

    def small(server, query, rows, most):
        cursors.append(int(query.get("cursor") or 0))
        return answers.page(server, {**query, "limit": 2}, rows, most)

    monkeypatch.setattr(rest, "page", small)

    async def restart(bot, house):
        await bot.crash()
        await bot.start()

    faults = Faults(silent_executions=1.0, seed=1)
    found, _ = asyncio.run(played(dsn, name, faults=faults, trouble=restart, every=200))
    assert max(cursors) >= 4, "a third page was asked for"
    assert_same(found, undisturbed[0])


class Tardy(VenueServer):
    """An exchange that tells and lists executions so many milliseconds of the market late."""

    def __init__(self, *arguments, late_ms=0, **options):
        super().__init__(*arguments, **options)
        self.late_ms, self.kept = late_ms, []

    def _withheld(self, message):
        self.kept.append((self.exchange.now + self.late_ms, message))
        return True

    async def _flush(self):
        await super()._flush()
        due = [one for one in self.kept if one[0] <= self.exchange.now]
        self.kept = [one for one in self.kept if one[0] > self.exchange.now]
        for _, message in due:
            await self._spread("execution", True, message)


def tardy_list(known):
    def executions(server, query):
        trades = server.exchange.trades
        shown = [one for one in trades if one.ts + server.late_ms <= server.exchange.now]
        server.exchange.trades = shown
        try:
            return known(server, query)
        finally:
            server.exchange.trades = trades

    return executions


async def tardily(dsn, name, late_ms, seed, minutes, *, poll=True):
    """Play with executions that are told and listed late; returns the exchange, and by minutes who was held off."""
    chosen = config(risk={"exposure": LIMIT, "stress_exposure": LIMIT})
    exchange, held_off = exchange_for(chosen, 1, seed), []
    async with venue(exchange, kind=Tardy, late_ms=late_ms) as house:
        bot = Bot(chosen, house.address, dsn, name)
        await bot.start()
        end = exchange.at + minutes
        while exchange.at < end:
            await bot.steps.minute()
            if poll:  # as a running bot does every 20 s
                await bot.runtime.poll()
            await bot.runtime.settled()
            held_off.append(any(one["held_off"] for one in status(bot.runtime)["pairs"]))
        house.server.late_ms = 0
        await house.server._flush()
        await bot.runtime.poll()
        await bot.runtime.settled()
        await what_is_left(bot, exchange)
        await bot.stop()
    return exchange, held_off


LIMIT = 0.05  # low enough to bind


SEEDS = [(20_000, 7), (60_000, 7), *(pytest.param(60_000, seed, marks=pytest.mark.slow) for seed in (9, 11, 12, 17))]


@pytest.mark.slow
@pytest.mark.parametrize(("late_ms", "seed"), SEEDS)
def test_f_82_exposure_stays_under_its_limit_however_late_fills_are_told(
    dsn, name, watches, monkeypatch, late_ms, seed
):
    monkeypatch.setitem(ROUTES, ("GET", "execution/list"), tardy_list(ROUTES["GET", "execution/list"]))
    monkeypatch.setattr("coordinator.executor.PAUSE_SECONDS", 0.001)
    exchange, _ = asyncio.run(tardily(dsn, name, late_ms, seed, 250))
    assert exchange.trades
    peak = max(watch.peak for watch in watches)
    assert 0.5 * LIMIT <= peak <= 1.02 * LIMIT


def test_an_execution_that_is_told_late_and_explains_the_position_releases_the_pair_at_once(dsn, name, monkeypatch):
    """Without waiting for the next look, which nobody asks for here."""
    monkeypatch.setitem(ROUTES, ("GET", "execution/list"), tardy_list(ROUTES["GET", "execution/list"]))
    monkeypatch.setattr("coordinator.executor.PAUSE_SECONDS", 0.001)
    exchange, held_off = asyncio.run(tardily(dsn, name, 120_000, 7, 250, poll=False))
    assert exchange.trades
    assert True in held_off, "a fill that nobody knows of holds the pair off"
    assert not held_off[-1]
