"""What is looked at before a bot joins or leaves a fleet: its config, as `traderagent run` reads it; its positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from bot.errors import Misconfigured, cut
from bot.ports import Saved, Unreachable
from coordinator.machine import NAME, remembered_money, remembered_units
from services.runtime.config import load_bot
from services.storage.store import AWAY

if TYPE_CHECKING:
    from pathlib import Path

    from coordinator.config import PortfolioConfig
    from services.runtime.config import BotSettings

MEMORY = "SELECT name, layout, data FROM memory WHERE bot = $1 AND name <> $2 ORDER BY name"


def read_bot(path: Path, data_dir: Path) -> tuple[BotSettings, PortfolioConfig]:
    """Read the config of a bot that is to run in the fleet of a data directory; raises Misconfigured."""
    settings, config = load_bot(path)
    if settings.data_dir.resolve() != data_dir.resolve():
        raise Misconfigured(
            f"bot.data_dir is {cut(str(settings.data_dir))}, but this fleet is that of {cut(str(data_dir))}; leave it "
            "out of the config, or set TRADERAGENT_DATA_DIR."
        )
    return settings, config


async def stored_positions(dsn: str, bot: str) -> dict[str, float]:
    """What a bot that does not run held when it stored last, base currency by pair; none where it is flat."""
    try:
        connection = await asyncpg.connect(dsn)
        try:
            rows = await connection.fetch(MEMORY, bot, NAME)
        finally:
            await connection.close()
    except asyncpg.UndefinedTableError:  # nobody has traded on this database yet
        return {}
    except (*AWAY, TimeoutError) as error:
        raise Unreachable(f"the database does not answer ({type(error).__name__})") from None
    found = {}
    for row in rows:
        saved = Saved(row["layout"], row["data"])
        lots = remembered_money(row["name"], saved)[0]
        if lots:
            found[row["name"]] = lots * remembered_units(row["name"], saved)[1]
    return found


def refuse_open(bot: str, positions: dict[str, float]) -> None:
    """Raise Misconfigured where a bot that is to leave the fleet holds something."""
    if positions:
        told = ", ".join(f"{held:.10g} {pair}" for pair, held in positions.items())
        raise Misconfigured(
            f"bot {bot!r} holds {cut(told)}, which would have nobody but its stop at the exchange; start it and say "
            "`traderagent ctl shutdown`, or remove it with --leave-positions."
        )
