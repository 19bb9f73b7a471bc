"""Records the golden sessions: a pair on the simulated exchange with something going wrong.

uv run python -m tests.golden.sessions

It plays each anew and writes `sessions.json.xz`, which `tests/golden/README.md` explains.
"""

from __future__ import annotations

import asyncio
import json
import lzma
import tempfile
from pathlib import Path

from services.app.backing import backing
from services.runtime.config import NONE
from services.simulated_bybit.faults import Faults
from tests.runtime.house import Bot, config, exchange_for, venue

FILE = Path(__file__).parent / "sessions.json.xz"
PAIR, SEED, MINUTES = "SOLUSDT", 7, 170


async def _nothing(bot, exchange):
    pass


async def _closed_by_hand(bot, exchange):
    exchange.close_by_hand(PAIR)


async def _deleveraged(bot, exchange):
    exchange.deleverage(PAIR, max(abs(exchange.books[PAIR].position) // 2, 1))


async def _stop_taken_away(bot, exchange):
    exchange.trading_stop(PAIR, 0, None)


async def _entries_cancelled(bot, exchange):
    for one in [each for each in exchange.live(PAIR) if not each.reduce_only]:
        exchange.cancel(PAIR, one.id, "")


async def _executions_silent(bot, exchange):
    bot.server.faults = Faults(silent_executions=1.0)


async def _restarted(bot, exchange):
    await bot.crash()
    await bot.start()


SESSIONS = {
    "undisturbed": _nothing,
    "closed_by_hand": _closed_by_hand,
    "deleveraged": _deleveraged,
    "stop_taken_away": _stop_taken_away,
    "entries_cancelled": _entries_cancelled,
    "executions_silent": _executions_silent,
    "restarted": _restarted,
}


async def play(dsn, session, folder):
    """Play a session, each life of the bot to a file of `folder`; its fault comes once the pair holds something."""
    chosen = config()
    exchange = exchange_for(chosen, 1, SEED)
    async with venue(exchange) as house:
        bot = Bot(chosen, house.address, dsn, "golden", server=house.server, options={"sessions": folder})
        await bot.start()
        struck = False
        for _ in range(MINUTES):
            await bot.steps.minute()
            if exchange.books[PAIR].position and not struck:
                struck = True
                await SESSIONS[session](bot, exchange)
                await house.server._flush()
                await bot.runtime.settled()
                await bot.steps.begin()
        assert struck, "the market has to be livelier for this session"
        await bot.stop()


def recorded():
    """Lines of each recorded session by its name; one with a restart has two."""
    return json.loads(lzma.decompress(FILE.read_bytes()))


async def record():
    """Play every session on a database of its own, and write them all."""
    found = {}
    for session in SESSIONS:
        with tempfile.TemporaryDirectory() as place:
            async with backing("golden", Path(place), bus=NONE) as behind:
                await play(behind.database, session, Path(place) / "sessions")
            for number, file in enumerate(sorted((Path(place) / "sessions").glob(f"{PAIR}-*.jsonl")), 1):
                found[f"{session}-{number}"] = [json.loads(line) for line in file.read_text().splitlines()]
    FILE.write_bytes(lzma.compress(json.dumps(found).encode(), preset=9))  # what they share is stored once


if __name__ == "__main__":
    asyncio.run(record())
