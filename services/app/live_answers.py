"""Questions about live bots that need the simulated exchange, for a process of its own (`research_answers`)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from bot.kernel import interpreting_first
from services.app.drift import compare, document
from services.app.whatif import outcomes, supposed
from services.drift_days import keep_day, times_of
from services.storage.live_fills import live_fills, memories_of, memory_of


def drift(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Compare a UTC day of a bot with its simulation; a day of which something is known is kept.

    `said`: bot, the database's address, and the day.
    """
    bot, day = said["bot"], said["day"]
    since, until = times_of(day)
    live = asyncio.run(live_fills(said["database"], bot, since, until))
    with interpreting_first():  # what is not compiled yet takes longer to compile than weeks of minutes to play
        found = compare(data_dir, bot, live, since, until)
    told = document(bot, found, since, until) | {"day": day}
    if any(found.minutes.values()) or live.fills:
        keep_day(data_dir, bot, day, told)
    return told


def whatif(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Say how a pair would stand at a price."""
    bot, pair = said["bot"], said["pair"]
    saved = asyncio.run(memory_of(said["database"], bot, pair))
    with interpreting_first():  # an answer does not wait for a compiler
        return supposed(data_dir, bot, pair, saved, float(said["price"]), said.get("price_now"))


def command_outcomes(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Say what each command that ends in a halt or closes would do now; `said`: bot, database, price by pair."""
    kept = asyncio.run(memories_of(said["database"], said["bot"]))
    with interpreting_first():
        return outcomes(data_dir, said["bot"], kept, said["prices"])
