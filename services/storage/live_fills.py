"""A bot's fills and a pair's stored memory, for whoever simulates beside it; the bot may run meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from backtesting.drift import TradedFill
from bot.errors import Misconfigured
from bot.order import Signal
from bot.ports import Cause, Saved, Unreachable
from coordinator.machine import remembered_units
from services.storage.store import AWAY, CONNECT_SECONDS, epoch, moment

FILLS = """
SELECT f.*, o.signal FROM fills f LEFT JOIN orders o ON o.bot = f.bot AND o.client_order_id = f.client_order_id
WHERE f.bot = $1 AND f.cause <> 'funding' AND f.at >= coalesce($2::timestamptz, '-infinity')
AND f.at < coalesce($3::timestamptz, 'infinity') ORDER BY f.at, f.execution
"""


MEMORY = "SELECT name, layout, data FROM memory WHERE bot = $1 AND name = coalesce($2, name)"


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Any]:
    """Connect for a few questions; raises Unreachable while the database is away, with the kind of trouble."""
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
        try:
            yield connection
        finally:
            await connection.close()
    except AWAY as error:
        raise Unreachable(
            f"the database does not answer ({type(error).__name__}); look whether it runs, and ask again."
        ) from None


async def _memories(connection: Any, bot: str, pair: str | None) -> dict[str, Saved]:
    """Read what a bot has stored, by name; nothing where there are no tables."""
    try:
        rows = await connection.fetch(MEMORY, bot, pair)
    except asyncpg.UndefinedTableError:
        return {}
    return {one["name"]: Saved(one["layout"], one["data"]) for one in rows}


async def memory_of(dsn: str, bot: str, pair: str) -> Saved:
    """Read a pair's stored memory; raises Misconfigured where there is none."""
    async with _connected(dsn) as connection:
        kept = await _memories(connection, bot, pair)
    if pair not in kept:
        raise Misconfigured(f"bot {bot!r} has never traded pair {pair}; choose one of its own.")
    return kept[pair]


async def memories_of(dsn: str, bot: str) -> dict[str, Saved]:
    """Read everything that a bot has stored, by name."""
    async with _connected(dsn) as connection:
        return await _memories(connection, bot, None)


@dataclass(frozen=True)
class LiveFills:
    """Fills without their marks, which candles tell, and the causes of those that were not asked for."""

    fills: list[TradedFill] = field(default_factory=list)
    causes: dict[str, str] = field(default_factory=dict)  # by execution


async def live_fills(dsn: str, bot: str, since: int | None, until: int | None) -> LiveFills:
    """Read the fills of [since, until), ms; raises Misconfigured for a bot that has no rows."""
    async with _connected(dsn) as connection:
        kept = await _memories(connection, bot, None)
        times = [None if one is None else moment(one) for one in (since, until)]
        rows = await connection.fetch(FILLS, bot, *times) if kept else []
    if not kept:
        raise Misconfigured(f"bot {bot!r} has no rows in this database; give its config, or another name.")
    units = {pair: remembered_units(pair, kept[pair]) for pair in {row["symbol"] for row in rows} & kept.keys()}
    found = LiveFills()
    for row in rows:
        pair, order = row["symbol"], row["client_order_id"]
        tick, lot = units.get(pair, (1.0, 1.0))
        own = order.startswith(f"{bot}-{pair}-") and row["cause"] != Cause.FORCED.value
        price = row["price"] * tick
        reason = row["cause"] if row["signal"] is None else Signal(row["signal"]).name.lower()
        found.fills.append(
            TradedFill(
                *(pair, epoch(row["at"]), order if own else "", row["side"], price, row["lots"], lot),
                *(row["fee"], row["maker"], price, reason, row["execution"]),
            )
        )
        found.causes[row["execution"]] = row["cause"]
    return found
