"""Signals of others as they come: written down, each once, before the bot that they are for hears of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import asyncpg

from bot.order import OrderKind, Signal
from services.storage.history import History
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
# A signal is heard at the opening of the bar that it is traded with. What counted, the first of its bar, has what was
# ordered from that bar's close on, until the close of the bar of the next that counted.
LISTED = """
WITH came AS (
    SELECT *, expires <= clock_timestamp() AS expired FROM signals
    WHERE bot = $1 AND ($2 = '' OR symbol = $2) ORDER BY at DESC, number DESC LIMIT $3
), told AS (
    SELECT pair, at, (fields->>'number')::bigint AS number, (fields->>'late')::boolean AS late,
        (fields->>'price')::float AS price, row_number() OVER (
            PARTITION BY pair, at, fields->>'late' ORDER BY fields->>'asked' <> 'close', (fields->>'number')::bigint
        ) AS place
    FROM decisions WHERE bot = $1 AND kind = 'signal'
), counted AS (
    SELECT pair, number, at + interval '1 minute' AS since,
        lead(at) OVER (PARTITION BY pair ORDER BY at) + interval '1 minute' AS until
    FROM told WHERE NOT late AND place = 1
)
SELECT came.*, told.at AS heard, told.late, told.price, counted.since IS NOT NULL AS counts,
    coalesce(held.position, 0) AS position, sent.client_order_id IS NOT NULL AS sent, filled.lots, filled.ticks,
    coalesce(others.rows, '[]') AS decisions
FROM came
LEFT JOIN told ON told.pair = came.symbol AND told.number = came.number
LEFT JOIN counted ON counted.pair = came.symbol AND counted.number = came.number
LEFT JOIN LATERAL (
    SELECT position FROM fills WHERE bot = $1 AND symbol = came.symbol AND position IS NOT NULL AND at < counted.since
    ORDER BY at DESC, execution DESC LIMIT 1
) AS held ON true
LEFT JOIN LATERAL (
    SELECT client_order_id FROM orders WHERE bot = $1 AND symbol = came.symbol AND at >= counted.since
    AND (counted.until IS NULL OR at < counted.until)
    AND CASE WHEN came.direction = 0 THEN reduce_only AND kind = $4 ELSE signal = $5 END ORDER BY at LIMIT 1
) AS sent ON true
LEFT JOIN LATERAL (
    SELECT sum(lots)::bigint AS lots, sum(price::float * lots) / sum(lots) AS ticks FROM fills
    WHERE bot = $1 AND symbol = came.symbol AND at >= told.at AND client_order_id = sent.client_order_id
) AS filled ON true
LEFT JOIN LATERAL (
    SELECT json_agg(json_build_object('id', id, 'pair', nullif(pair, ''), 'kind', kind, 'fields', fields,
        'at', round(extract(epoch FROM at) * 1000)::bigint) ORDER BY id) AS rows
    FROM decisions WHERE bot = $1 AND (pair = came.symbol OR pair = '') AND kind <> 'signal'
    AND at BETWEEN told.at AND counted.since AND filled.lots IS NULL
) AS others ON true
ORDER BY came.at DESC, came.number DESC
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
        self.pool, self.units_of = pool, History(pool).units_of

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
        """List the last that came with what the bot did, the newest first; of every pair where `symbol` is empty."""
        rows = await self.pool.fetch(LISTED, bot, symbol, limit, int(OrderKind.MARKET), int(Signal.ENTRY))
        return [await self._shown(bot, row) for row in rows]

    async def _shown(self, bot: str, row: Any) -> dict[str, Any]:
        tick, lot = await self.units_of(bot, row["symbol"]) if row["lots"] else (1.0, 1.0)
        named = ("signal", "number", "direction", "stop", "target", "expired", "price")
        return {name: row[name] for name in named} | {
            "pair": row["symbol"],
            "at": epoch(row["at"]),
            "heard": None if row["heard"] is None else epoch(row["heard"]),
            "outcome": _outcome(row),
            "quantity": (row["lots"] or 0) * lot,
            "fill_price": (row["ticks"] or 0.0) * tick,
            "decisions": json.loads(row["decisions"]),
        }

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


def _outcome(row: Any) -> str:
    """What became of a signal, by what is stored; see `services.web.models.SignalShown`."""
    if row["heard"] is None:
        return "unheard" if row["expired"] else "waiting"
    if row["late"] or not row["counts"]:
        return "late" if row["late"] else "passed_over"
    if row["sent"]:
        refused = any(one["kind"] == "refused" for one in json.loads(row["decisions"]))
        return "filled" if row["lots"] else "refused" if refused else "ordered"
    direction = row["direction"]
    if direction == 0:
        return "not_left" if row["position"] else "nothing_held"
    if row["position"]:
        return "held"
    passed = min((row["price"] - row["stop"]) * direction, (row["target"] - row["price"]) * direction) <= 0.0
    return "price_passed" if passed else "not_opened"
