"""Write what the bot of this version stores, for the versions after it to load.

uv run python -m tests.golden.make_states tests/golden/states_VERSION.zip
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import zipfile
from pathlib import Path

from bot.record import new_records
from coordinator.machine import NAME, PairMachine
from coordinator.vocabulary import DIRECTIVE, HaltAnswer
from services.storage.embedded import EmbeddedPostgres
from tests.conftest import Family
from tests.runtime.house import Bot, config, exchange_for, venue

MINUTE = 60_000


def written(archive, scene, saved, facts):
    archive.writestr(f"{scene}/{saved.layout}", saved.data)
    archive.writestr(f"{scene}/facts.json", json.dumps(facts, indent=1))


def facts_of(machine):
    """What must be found again, by the names of today."""
    state, ledger = machine.states[0], machine.pairs[0].ledger
    return {
        "family": int(state.family),
        "phase": int(state.phase),
        "position": int(ledger.position),
        "cost": float(ledger.cost),
        "time": machine.time,
        "held": [int(one) for one in state.grid.cells["held"]],
        "ladder": [bool(state.dca.in_deal), bool(state.dca.ladder_laid)],
        "orders": [
            [index, *(int(slot[key]) for key in ("generation", "side", "kind", "price", "quantity", "part"))]
            for index, slot in enumerate(machine.slots)
            if slot.active or slot.suspended
        ],
    }


async def main(file):
    with tempfile.TemporaryDirectory() as folder:
        postgres = EmbeddedPostgres(Path(folder))
        dsn = await postgres.start()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for router in ("grid", "dca", "trend"):
                await scenes(archive, dsn, router)
        await postgres.stop()


async def scenes(archive, dsn, router):
    chosen = config(auto={"router": router})
    exchange = exchange_for(chosen, 5)
    async with venue(exchange) as house:
        bot = Bot(chosen, house.address, dsn, router, server=house.server)
        await bot.start()
        await bot.steps.minute()
        if router == "grid":
            machine = bot.runtime.loops["SOLUSDT"].core.machine
            written(archive, "flat", machine.saved(), facts_of(machine))
        while not (machine := held(bot)):
            assert await bot.steps.minute(), router
        for _ in range(90 if router == "grid" else 5):
            await bot.steps.minute()
        machine = held(bot) or machine
        written(archive, router, machine.saved(), facts_of(machine))
        if router == "grid":
            portfolio = bot.runtime.master.core.machine
            told = {
                "symbols": list(chosen.pairs),
                "deposits": float(portfolio.portfolio_state.portfolio.deposits),
                "targets": [float(one.target) for one in portfolio.portfolio_state.allocations],
                "families": [int(one.family) for one in portfolio.portfolio_state.routes],
            }
            written(archive, NAME, portfolio.saved(), told)
            for scene, change in (
                ("draining", {"family": Family.DCA}),
                ("halted", {"halted": True, "answer": HaltAnswer.HOLD}),
            ):
                other = PairMachine(chosen.algorithm, machine.instrument, chosen.leverage, MINUTE)
                other.restore(machine.saved())
                given = new_records(DIRECTIVE, 1)
                given[0] = other.states[0].directive
                for key, value in change.items():
                    given[0][key] = value
                other.take_directive(given)
                written(archive, scene, other.saved(), facts_of(other))
        await bot.stop()


def held(bot):
    found = [loop.core.machine for loop in bot.runtime.loops.values() if loop.core.machine.position]
    return found[-1] if found else None


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
