"""A bot with positions goes on trading through another number of levels and another version: nothing is cancelled."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
import urllib.request
from types import SimpleNamespace

import asyncpg
import pytest

from bot.instrument import Market
from bot.order import OrderKind
from bot.ports import OrderState
from services.app.backing import embedded
from services.exchanges.bybit.gateway import Bybit
from services.storage.embedded import shared_by_all
from services.storage.schema import VERSION
from tests.conftest import ROOT
from tests.runtime.processes import heard, minute

PAIRS = ("BTCUSDT", "SOLUSDT")
CAPITAL = 20_000
PAUSE = 0.1  # seconds between things of the market, for a bot that is not compiled
# Every cell buys at once what lies above the price, so the upper cells hold, and the range stays where it is.
GRID = {"direction": "long", "trailing": "off", "profit_per_grid": 0.02}
TABLES = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "{}", "{}", None, None


def upgrade():
    op.add_column("memory", sa.Column("note", sa.Text))
"""
PACKAGES = ("bot", "strategies", "filters", "coordinator", "backtesting", "search", "services")
LAST = """        for ring in ("highs", "lows", "volumes")
    ),
"""
MIGRATED = """    Migration("state.grid.peak", "state.grid.summit"),
    Migration("state.dca.next_start", None),
"""


def sources(folder, *changes):
    """The sources with other text in some files."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in changes:
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text, f"{file} has no {old!r} any more: choose another text"
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    return folder


def next_version(folder):
    """The sources with a field of the grid renamed, one of DCA given up, and one more of a pair and of a slot."""
    return sources(
        folder,
        ("strategies/grid/state.py", "peak", "summit"),
        ("strategies/grid/decisions.py", "peak", "summit"),
        ("strategies/dca_start.py", '    ("next_start", "i8"),  # ms: of the schedule; 0 before it is known\n', ""),
        ("strategies/dca_start.py", "state.next_start", "next_start"),
        ("coordinator/pair_state.py", '    ("family", "i8"),', '    ("mood", "f8"),\n    ("family", "i8"),'),
        ("bot/order.py", '        ("version", "i8"),', '        ("weight", "f8"),\n        ("version", "i8"),'),
        ("coordinator/migrations.py", LAST, LAST + MIGRATED),
    )


def with_other_tables(folder):
    """Give sources one more migration, of a column that bots do not use."""
    newest = f"{int(VERSION) + 1:04}"
    (folder / f"services/storage/migrations/versions/{newest}_next.py").write_text(TABLES.format(newest, VERSION))
    schema = folder / "services/storage/schema.py"
    schema.write_text(schema.read_text().replace(f'VERSION = "{VERSION}"', f'VERSION = "{newest}"'))
    return newest


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
    ends = fates(address, before)
    cancelled = [
        client_order_id
        for client_order_id, state in ends.items()
        if state not in (OrderState.RESTING, OrderState.FILLED)
    ]
    assert cancelled == [], what
    return assert_protected(address, before, what)


def assert_protected(address, before, what):
    """Every position has kept its stop all the time."""
    after = at_venue(address)
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


def stored(folder):
    """Version of the tables, and the databases of the server."""

    async def main():
        async with embedded(shared_by_all(folder)) as dsn:
            session = await asyncpg.connect(dsn)
            try:
                found = await session.fetch("SELECT datname FROM pg_database WHERE NOT datistemplate")
                return await session.fetchval("SELECT version_num FROM alembic_version"), {row[0] for row in found}
            finally:
                await session.close()

    return asyncio.run(main())


def versions(folder):
    """Sources that cannot read what is stored, and sources that decide otherwise, with what they are refused for."""
    files = [f"strategies/grid/{name}.py" for name in ("state", "decisions", "cells")]
    unreadable = sources(folder / "unreadable", *((file, "laid_at", "built_at") for file in files))
    lower = ("low_stop = state.range_low_stop", "low_stop = state.range_low_stop - 1")
    other = sources(folder / "other", ("strategies/grid/decisions.py", *lower))
    return (unreadable, "which this version does not know"), (other, "would decide otherwise on")


def played(address, minutes):
    for _ in range(minutes):
        minute(address, PAUSE)
        time.sleep(PAUSE)


@pytest.fixture
def old(processes, tmp_path):
    """A bot of this version that holds positions, with its process; `upgraded` runs the command of other sources."""
    address = processes.venue(PAIRS, CAPITAL)
    config = processes.config("u", address, PAIRS, CAPITAL, auto={"router": "grid"}, grid={**GRID, "levels": 15})
    running = processes.run(config)
    played(address, 65)  # grids are laid when an hour closes
    assert any(position.lots and position.stop for _, position in at_venue(address).values()), "shows nothing"

    def upgraded(version, *options):
        processes.root = version
        return processes.finished("upgrade", config, *options)

    return SimpleNamespace(address=address, config=config, running=running, upgraded=upgraded, tables=stored(tmp_path))


def assert_refused(old, folder, version, sentence):
    """Nothing but a backup came of an upgrade: bot, database and orders are as they were."""
    before = at_venue(old.address)
    refused = old.upgraded(version)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert sentence in refused.stderr
    assert old.running.poll() is None
    assert stored(folder) == old.tables
    assert at_venue(old.address) == before


@pytest.mark.slow
def test_an_upgrade_refuses_what_it_cannot_read_or_decides_otherwise_and_else_cancels_nothing(processes, old, tmp_path):
    for version, sentence in versions(tmp_path):
        with_other_tables(version)
        assert_refused(old, tmp_path, version, sentence)
    newest = with_other_tables(next_version(tmp_path / "next"))
    tried = old.upgraded(tmp_path / "next", "--check")
    assert tried.returncode == 0, tried.stderr
    assert "decided the very same" in tried.stdout
    assert stored(tmp_path) == old.tables
    played(old.address, 1)
    assert old.running.poll() is None
    before = at_venue(old.address)
    done = old.upgraded(tmp_path / "next")
    assert done.returncode == 0, done.stderr
    assert old.running.wait(60) == 0
    assert_kept(old.address, before, "while no bot runs")
    assert stored(tmp_path) == (newest, old.tables[1])
    running = processes.run(old.config)
    played(old.address, 5)
    assert_kept(old.address, before, "the next version")
    late = old.upgraded(ROOT)
    assert (late.returncode, "written by a newer version" in late.stderr) == (2, True), late.stderr
    assert processes.finished("ctl", "stop", "--leave-entries", "--bot", "u").returncode == 0
    assert running.wait(60) == 0
    restored = processes.finished("restore", str(max((tmp_path / "backups").glob("before-*"))), "--replace")
    assert restored.returncode == 0, restored.stderr
    assert stored(tmp_path) == old.tables
    back = processes.start("run", old.config, "--adopt")
    heard(back, '"running"')
    played(old.address, 2)
    assert_kept(old.address, before, "the version before again")
