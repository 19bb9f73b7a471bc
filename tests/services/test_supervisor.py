"""Loops that break, and a check of listings in which one pair has trouble."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from bot.ports import NotPermitted, Refusal, Refused, Unanswered, Unreachable
from coordinator.messages import InstrumentListed
from coordinator.vocabulary import HeldOff
from services.runtime.hosts import PairHost
from services.runtime.supervisor import LIVES, MOST_PAUSE, WINDOW, Supervisor
from tests.runtime.house import config, exchange_for


class Time:
    """A clock that goes by what is slept, and by what a loop says that it has lived."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def clock(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class Broken(Exception):
    pass


def kept(lives):
    """Keep a loop that lives so many seconds each time, as many times as are given, and then ends the test."""
    time, left = Time(), iter(lives)

    class Loop:
        async def run(self):
            time.now += next(left)
            raise Broken

    async def renew():
        pass

    supervisor = Supervisor(time.clock, time.sleep)
    with pytest.raises((Broken, RuntimeError)) as caught:  # RuntimeError: the lives have run out
        asyncio.run(supervisor.keep("x", Loop, renew))
    return caught.type, supervisor.broken, time.slept


def test_a_wait_that_a_broken_task_ends_leaves_nothing_waiting():
    async def main():
        async def broken():
            raise Broken

        supervisor = Supervisor(Time().clock, Time().sleep)
        supervisor.tasks = [asyncio.create_task(broken())]
        with pytest.raises(Broken):
            await supervisor.wait(asyncio.Event().wait())
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert asyncio.run(main()) == []


def test_row_12_a_loop_that_breaks_again_and_again_ends_the_bot_after_growing_pauses():
    ended, broken, slept = kept([0.0] * 1000)
    assert (ended, broken) == (Broken, LIVES + 1)
    assert slept[:4] == [0.1, 0.2, 0.4, 0.8]
    assert max(slept) == MOST_PAUSE


def test_row_12_a_loop_that_breaks_now_and_then_lives_for_ever_and_is_back_at_once():
    class Enough(Exception):
        pass

    time, supervisor, left = Time(), None, iter([WINDOW + 1.0] * 100)

    class Loop:
        async def run(self):
            seconds = next(left, None)
            if seconds is None:
                raise KeyboardInterrupt
            time.now += seconds
            raise Broken

    async def renew():
        pass

    supervisor = Supervisor(time.clock, time.sleep)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(supervisor.keep("x", Loop, renew))
    assert supervisor.broken == 100
    assert set(time.slept) == {0.1}


def test_row_12_a_loop_that_cannot_be_made_anew_is_tried_again():
    time, tries = Time(), []

    class Loop:
        async def run(self):
            if len(tries) == 3:
                raise KeyboardInterrupt
            raise Broken

    async def renew():
        tries.append(1)
        if len(tries) < 3:
            raise Broken

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(Supervisor(time.clock, time.sleep).keep("x", Loop, renew))
    assert len(tries) == 3


class TroubledVenue:
    """What a check asks, with trouble by symbol."""

    def __init__(self, instruments):
        self.instruments, self.listing_trouble, self.prepare_trouble = instruments, {}, {}

    async def listing(self, symbols):
        for one in symbols:
            if one in self.listing_trouble:
                raise self.listing_trouble[one]
        return {one: self.instruments[one] for one in symbols}

    async def prepare(self, symbol, leverage):
        if symbol in self.prepare_trouble:
            raise self.prepare_trouble[symbol]
        return False


def looked_at(*rounds):
    """Look once for each round of troubles; what was reported each time, and who was told of its instrument."""
    chosen = config()
    gateway = TroubledVenue(exchange_for(chosen).instruments)
    reports, told = [], []
    host = PairHost("x", chosen, gateway, None, None, reports.append, None)
    for symbol in chosen.pairs:
        host.loops[symbol] = SimpleNamespace(tell=told.append)
    found = []
    for name, trouble in rounds:
        gateway.listing_trouble, gateway.prepare_trouble = {}, {}
        setattr(gateway, name, trouble)
        reports.clear()
        asyncio.run(host.check_listings())
        found.append({(one.symbol, one.reason, one.over) for one in reports})
    return found, [one.instrument.symbol for one in told if isinstance(one, InstrumentListed)]


def test_row_13_leverage_that_cannot_be_set_back_holds_off_that_pair_until_it_can():
    trouble = {"BTCUSDT": NotPermitted("BTCUSDT: leverage 3 cannot be set")}
    (first, second), told = looked_at(("prepare_trouble", trouble), ("prepare_trouble", {}))
    assert first == {("BTCUSDT", HeldOff.LEVERAGE, False), ("SOLUSDT", HeldOff.LEVERAGE, True)}
    assert second == {("BTCUSDT", HeldOff.LEVERAGE, True), ("SOLUSDT", HeldOff.LEVERAGE, True)}
    assert told == ["BTCUSDT", "SOLUSDT"] * 2


@pytest.mark.parametrize("where", ["listing_trouble", "prepare_trouble"])
@pytest.mark.parametrize("trouble", [Unreachable("x"), Unanswered("x"), Refused(Refusal.OTHER, "x")])
def test_row_13_trouble_with_one_pair_leaves_the_check_of_the_others(where, trouble):
    (found,), _ = looked_at((where, {"BTCUSDT": trouble}))
    assert found == {("SOLUSDT", HeldOff.LEVERAGE, True)}
