"""Signals of others as they come: written down, each once, before the bot that they are for hears of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg

from services.storage.store import epoch

if TYPE_CHECKING:
    from services.storage.read_pool import ReadPool

# A number is taken after the one before it is there to be read: two that come at once meet in the primary key.
ADD = """
INSERT INTO signals (bot, symbol, number, signal, direction, stop, target, at, expires)
SELECT $1, $2, coalesce(max(number), 0) + 1, $3, $4, $5, $6, clock_timestamp(),
    clock_timestamp() + $7 * interval '1 second'
FROM signals WHERE bot = $1 AND symbol = $2
RETURNING number
"""
LISTED = """
SELECT *, expires <= clock_timestamp() AS expired FROM signals
WHERE bot = $1 AND ($2 = '' OR symbol = $2) ORDER BY at DESC, number DESC LIMIT $3
"""
ID = "signals_bot_signal_key"
MOST_TRIES = 20


class SignalRows:
    """Every question and change raises Unreachable while the database is away."""

    def __init__(self, pool: ReadPool) -> None:
        self.pool = pool

    async def add(
        self, bot: str, symbol: str, signal: str, direction: int, stop: float, target: float, seconds: float
    ) -> int | None:
        """Write a signal down, which is good for so many seconds; its number, None where its id was used before."""
        for left in reversed(range(MOST_TRIES)):
            try:
                return int(await self.pool.fetchval(ADD, bot, symbol, signal, direction, stop, target, seconds))
            except asyncpg.UniqueViolationError as error:
                if error.constraint_name == ID:
                    return None
                if not left:
                    raise
        raise AssertionError

    async def newest(self, bot: str, symbol: str, limit: int) -> list[dict[str, Any]]:
        """List the last that came, the newest first; of every pair where `symbol` is empty."""
        rows = await self.pool.fetch(LISTED, bot, symbol, limit)
        named = ("signal", "number", "direction", "stop", "target", "expired")
        return [{"pair": row["symbol"], "at": epoch(row["at"])} | {name: row[name] for name in named} for row in rows]
