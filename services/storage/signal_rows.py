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
HEARD = """
SELECT s.signal, s.direction, s.stop, s.target, d.at FROM decisions d
JOIN signals s ON s.bot = d.bot AND s.symbol = d.pair AND s.number = (d.fields::jsonb ->> 'number')::bigint
WHERE d.bot = $1 AND d.pair = $2 AND d.kind = 'signal' AND NOT (d.fields::jsonb ->> 'late')::boolean
ORDER BY d.at, s.direction <> 0, s.number
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

    async def heard(self, bot: str, symbol: str) -> list[dict[str, Any]]:
        """List the signals that a bot heard in time, one for each bar, as a backtest takes them from a file.

        Their time is the opening of the bar at whose close they were heard.
        """
        found: dict[int, dict[str, Any]] = {}
        for row in await self.pool.fetch(HEARD, bot, symbol):
            found.setdefault(
                at := epoch(row["at"]),
                {
                    "signal_id": row["signal"],
                    "entry_price": (row["stop"] + row["target"]) / 2.0 or 1.0,
                    "sl_price": row["stop"],
                    "tp_price": row["target"],
                    "entry_timestamp": at,
                },
            )
        return list(found.values())
