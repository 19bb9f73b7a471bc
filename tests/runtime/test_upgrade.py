"""A bot with positions goes on trading through another number of levels and another version: nothing is cancelled."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
import urllib.request

import pytest

from bot.instrument import Market
from bot.order import OrderKind
from bot.ports import OrderState
from services.exchanges.bybit.gateway import Bybit
from tests.conftest import ROOT
from tests.runtime.processes import minute

PAIRS = ("BTCUSDT", "SOLUSDT")
CAPITAL = 20_000
PAUSE = 0.1  # seconds between things of the market, for a bot that is not compiled
# Every cell buys at once what lies above the price, so the upper cells hold, and the range stays where it is.
GRID = {"direction": "long", "trailing": "off", "profit_per_grid": 0.02}
PACKAGES = ("bot", "strategies", "filters", "coordinator", "backtesting", "search", "services")
LAST = """        for ring in ("highs", "lows", "volumes")
    ),
"""
MIGRATED = """    Migration("state.grid.peak", "state.grid.summit"),
    Migration("state.dca.next_start", None),
"""


def next_version(folder):
    """The sources with a field of the grid renamed, one of DCA given up, and one more of a pair and of a slot."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in (
        ("strategies/grid/state.py", "peak", "summit"),
        ("strategies/grid/decisions.py", "peak", "summit"),
        ("strategies/dca_start.py", '    ("next_start", "i8"),  # ms: of the schedule; 0 before it is known\n', ""),
        ("strategies/dca_start.py", "state.next_start", "next_start"),
        ("coordinator/pair_state.py", '    ("family", "i8"),', '    ("mood", "f8"),\n    ("family", "i8"),'),
        ("bot/order.py", '        ("version", "i8"),', '        ("weight", "f8"),\n        ("version", "i8"),'),
        ("coordinator/migrations.py", LAST, LAST + MIGRATED),
    ):
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text, f"{file} has no {old!r} any more: choose another field"
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    return folder


def asked(address, play):
    """Ask the exchange as the bot does, of whatever it has."""

    async def main():
        gateway = Bybit(key="venue-key", secret="venue-secret", market=Market.LINEAR, address=address, rate=1e5)
        try:
            await gateway.instruments(list(PAIRS))
            return await play(gateway)
        finally:
            await gateway.close()

    return asyncio.run(main())


def at_venue(address):
    """Orders and stops at the exchange, by pair."""

    async def play(gateway):
        return {pair: (await gateway.open_orders(pair), await gateway.position(pair)) for pair in PAIRS}

    return asked(address, play)


def fates(address, before):
    """What became of the orders that were there, by their names."""

    async def play(gateway):
        client_order_ids = [(pair, one.client_order_id) for pair, (orders, _) in before.items() for one in orders]
        return {
            client_order_id: (await gateway.find(pair, client_order_id)).state
            for pair, client_order_id in client_order_ids
        }

    return asked(address, play)


def held_above(orders, cell, levels):
    """Counters of cells from `cell` on, by the numbers that slots of a table for so many levels have at first."""
    numbers = [
        int(one.client_order_id.split("-")[2]) for one in orders if one.reduce_only and one.kind == OrderKind.LIMIT
    ]
    return [number for number in numbers if levels + cell <= number < 2 * levels]


def audit(address):
    with urllib.request.urlopen(f"{address}/venue/audit") as answer:
        return json.load(answer)


def assert_kept(address, before, what):
    after, ends = at_venue(address), fates(address, before)
    cancelled = [
        client_order_id
        for client_order_id, state in ends.items()
        if state not in (OrderState.RESTING, OrderState.FILLED)
    ]
    assert cancelled == [], what
    for pair, (_, position) in before.items():
        now = after[pair][1]
        assert (now.stop > 0) == (now.lots != 0), what
        assert position.stop in (0, now.stop) or now.lots == 0, f"{what}: the stop of {pair} was moved"
    found = audit(address)
    assert all(one["bare_minutes"] == 0 for one in found["symbols"].values()), (what, found)
    assert found["duplicate_ids"] == {"taken": 0, "refused": 0}, what
    return after


@pytest.mark.slow
def test_other_levels_and_another_version_cancel_nothing(processes, tmp_path):
    """F-88."""

    def config(levels):
        return processes.config("u", address, PAIRS, CAPITAL, auto={"router": "grid"}, grid={**GRID, "levels": levels})

    def lived(levels, what, *, minutes=5, kill=True):
        """Start the bot with so many levels, let it trade, check what was there before, and end it."""
        before = at_venue(address)
        running = processes.run(config(levels))
        for _ in range(minutes):
            minute(address, PAUSE)
            time.sleep(PAUSE)
        after = assert_kept(address, before, what) if what else at_venue(address)
        if kill:
            running.kill()
        else:
            processes.finished("ctl", "stop", "--leave-entries", "--bot", "u")
        running.wait(60)
        return after

    address = processes.venue(PAIRS, CAPITAL)
    after = lived(15, "", minutes=65)  # grids are laid when an hour closes
    assert any(held_above(orders, 10, 15) for orders, _ in after.values()), "no upper cell holds: shows nothing"
    lived(16, "16 levels", kill=False)
    after = lived(10, "10 levels")
    assert any(held_above(orders, 10, 15) for orders, _ in after.values()), "the upper cells left: shows nothing"
    processes.root = next_version(tmp_path / "next")
    after = lived(12, "the next version, 12 levels")
    assert any(lots.lots for _, lots in after.values())
    lived(12, "the next version again")
