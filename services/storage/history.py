"""What bots have decided, sent, filled and been told, page by page, the newest first; bots may run meanwhile.

Times are ms, prices quote currency, quantities base currency. A page ends with the cursor of the next one.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Any

from bot.errors import BadCursor, shown
from bot.order import OrderKind, Side, Signal
from bot.ports import Cause, Saved
from coordinator.machine import remembered_units
from services.account_statement import AccountStatement
from services.storage.account_entries import account_statement
from services.storage.closed_trades import QUERY, ClosedTrade, paid, trades_of
from services.storage.read_pool import ReadPool
from services.storage.schema import bots_of
from services.storage.store import epoch, moment

Page = tuple[list[dict[str, Any]], str | None]

DECISIONS = """
SELECT id, pair, kind, fields, at FROM decisions
WHERE bot = $1 AND ($2 = '' OR pair = $2 OR pair = '') AND ($3 = '' OR kind = $3)
AND ($4::timestamptz IS NULL OR (at, id) < ($4, $5::bigint)) AND ($6::timestamptz IS NULL OR at >= $6)
ORDER BY at DESC, id DESC LIMIT $7
"""
LAST_OF_EACH = """
SELECT DISTINCT ON (kind) id, pair, kind, fields, at FROM decisions
WHERE bot = $1 AND (pair = $2 OR pair = '') ORDER BY kind, id DESC
"""
FILLS = """
SELECT f.*, o.signal FROM fills f LEFT JOIN orders o ON o.bot = f.bot AND o.client_order_id = f.client_order_id
WHERE f.bot = $1 AND ($2 = '' OR f.symbol = $2)
AND ($3::timestamptz IS NULL OR (f.at, f.execution) < ($3, $4)) AND ($5::timestamptz IS NULL OR f.at >= $5)
ORDER BY f.at DESC, f.execution DESC LIMIT $6
"""
ORDERS = """
SELECT * FROM orders WHERE bot = $1 AND ($2 = '' OR symbol = $2)
AND ($3::timestamptz IS NULL OR (at, client_order_id) < ($3, $4)) AND ($5::timestamptz IS NULL OR at >= $5)
ORDER BY at DESC, client_order_id DESC LIMIT $6
"""
COMMANDS = """
SELECT * FROM commands WHERE bot = $1 AND ($2 = '' OR pair = $2)
AND ($3::timestamptz IS NULL OR (at, key) < ($3, $4)) AND ($5::timestamptz IS NULL OR at >= $5)
ORDER BY at DESC, key DESC LIMIT $6
"""
MEMORY = "SELECT layout, data FROM memory WHERE bot = $1 AND name = $2"
NEWEST = "SELECT count(*) AS rows, max(at) AS at FROM fills WHERE bot = $1"
EARNED = """
SELECT (at AT TIME ZONE 'UTC')::date AS day, symbol, coalesce(sum(realised), 0) AS realised, sum(fee) AS fees,
    coalesce(sum(fee) FILTER (WHERE cause = 'funding'), 0) AS funding, count(position) AS fills
FROM fills WHERE bot = $1 GROUP BY 1, 2 ORDER BY 1, 2
"""
# Each fill counts to the strategy that was started last and to the regime that was confirmed last, of its pair.
CONTRIBUTIONS = """
WITH told AS (
    SELECT symbol AS pair, at, 1 AS rank, NULL AS strategy, NULL AS regime, coalesce(realised, 0) AS realised, fee,
        cause = 'funding' AS funds, (position IS NOT NULL)::int AS filled
    FROM fills WHERE bot = $1
    UNION ALL
    SELECT pair, at, 0, CASE kind WHEN 'start' THEN fields->>'strategy' END,
        CASE kind WHEN 'regime' THEN fields->>'regime' END, 0, 0, false, 0
    FROM decisions WHERE bot = $1 AND (kind = 'regime' OR kind = 'start' AND fields->>'strategy' <> 'cash')
), numbered AS (
    SELECT *, count(strategy) OVER own AS started, count(regime) OVER own AS confirmed FROM told
    WINDOW own AS (PARTITION BY pair ORDER BY at, rank)
), known AS (
    SELECT *, max(strategy) OVER (PARTITION BY pair, started) AS by_strategy,
        max(regime) OVER (PARTITION BY pair, confirmed) AS in_regime FROM numbered
)
SELECT coalesce(by_strategy, 'unknown') AS strategy, coalesce(in_regime, 'unknown') AS regime,
    sum(realised - fee) AS profit, coalesce(sum(fee) FILTER (WHERE NOT funds), 0) AS fees,
    0 - coalesce(sum(fee) FILTER (WHERE funds), 0) AS funding, sum(filled) AS fills
FROM known WHERE rank = 1 GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""
# What a pair was given last in each of so many steps of equal length.
ALLOCATIONS = """
WITH told AS (
    SELECT id, at, pair, (fields->>'target')::float AS target, (fields->>'equity')::float AS equity FROM decisions
    WHERE bot = $1 AND kind = 'allocation' AND fields->>'target' IS NOT NULL
    AND ($2::timestamptz IS NULL OR at >= $2)
), span AS (SELECT min(at) AS first, greatest(extract(epoch FROM max(at) - min(at)), 1) AS seconds FROM told)
SELECT DISTINCT ON (step, pair) floor($3 * extract(epoch FROM at - first) / seconds) AS step, pair, id, at, target,
    equity
FROM told, span ORDER BY step, pair, id DESC
"""
NEWEST_ALLOCATION = """
SELECT id FROM decisions WHERE bot = $1 AND kind = 'allocation' ORDER BY at DESC, id DESC LIMIT 1
"""
STEPS = 120  # of an allocation over time
EXITS = """
SELECT o.signal, f.cause, sum(f.realised - f.fee) AS profit, count(*) AS fills
FROM fills f LEFT JOIN orders o ON o.bot = f.bot AND o.client_order_id = f.client_order_id
WHERE f.bot = $1 AND f.realised <> 0 GROUP BY 1, 2
"""


class History:
    """Reads the rows of every bot of a database. Every question raises Unreachable while the database is away."""

    def __init__(self, pool: ReadPool) -> None:
        self.pool = pool
        self._units: dict[tuple[str, str], tuple[float, float]] = {}
        self._allocations: dict[str, tuple[Any, list[dict[str, Any]]]] = {}  # with the newest that was known
        self._trades: dict[str, tuple[Any, list[ClosedTrade], dict[str, float]]] = {}

    async def bots(self) -> list[str]:
        """Names of the bots that have rows."""
        async with self.pool.connection() as connection:
            return await bots_of(connection)

    async def decisions(
        self, bot: str, pair: str = "", kind: str = "", cursor: str | None = None, since: int | None = None,
        limit: int = 100,
    ) -> Page:  # fmt: skip
        """Decisions about a pair and the account, or about all."""
        at, last = _place(cursor)
        found = await self.pool.fetch(DECISIONS, bot, pair, kind, at, _number(last, cursor), _time(since), limit + 1)
        return _page([_decision(one) for one in found], found, "id", limit)

    async def last_of_each(self, bot: str, pair: str) -> list[dict[str, Any]]:
        """The last decision of each kind about a pair and the account, oldest first."""
        found = await self.pool.fetch(LAST_OF_EACH, bot, pair)
        return [_decision(one) for one in sorted(found, key=lambda one: int(one["id"]))]

    async def fills(
        self, bot: str, pair: str = "", cursor: str | None = None, since: int | None = None, limit: int = 100
    ) -> Page:
        """Fills and payments of funding."""
        found = await self.pool.fetch(FILLS, bot, pair, *_place(cursor), _time(since), limit + 1)
        return _page([await self._fill(bot, one) for one in found], found, "execution", limit)

    async def _fill(self, bot: str, row: Any) -> dict[str, Any]:
        tick, lot = await self.units_of(bot, row["symbol"])
        funding = row["cause"] == Cause.FUNDING.value
        reason = _reason(row)
        return {
            "execution": row["execution"],
            "pair": row["symbol"],
            "client_order_id": row["client_order_id"],
            "side": None if funding else Side(row["side"]).name.lower(),
            "price": row["price"] * tick,
            "quantity": row["lots"] * lot,
            "fee": row["fee"],
            "maker": row["maker"],
            "cause": row["cause"],
            "reason": reason,
            "position": None if row["position"] is None else row["position"] * lot,
            "realised": row["realised"],
            "at": epoch(row["at"]),
        }

    async def orders(
        self, bot: str, pair: str = "", cursor: str | None = None, since: int | None = None, limit: int = 100
    ) -> Page:
        """Orders as they were sent last."""
        found = await self.pool.fetch(ORDERS, bot, pair, *_place(cursor), _time(since), limit + 1)
        return _page([await self._order(bot, one) for one in found], found, "client_order_id", limit)

    async def _order(self, bot: str, row: Any) -> dict[str, Any]:
        tick, lot = await self.units_of(bot, row["symbol"])
        return {
            "client_order_id": row["client_order_id"],
            "pair": row["symbol"],
            "side": Side(row["side"]).name.lower(),
            "kind": OrderKind(row["kind"]).name.lower(),
            "price": row["price"] * tick,
            "quantity": row["lots"] * lot,
            "reduce_only": row["reduce_only"],
            "reason": Signal(row["signal"]).name.lower(),
            "stop": row["stop"] * tick,
            "at": epoch(row["at"]),
        }

    async def commands(
        self, bot: str, pair: str = "", cursor: str | None = None, since: int | None = None, limit: int = 100
    ) -> Page:
        """What operators have said to the bot, from wherever."""
        found = await self.pool.fetch(COMMANDS, bot, pair, *_place(cursor), _time(since), limit + 1)
        rows = [
            {name: one[name] for name in ("key", "command", "force", "amount", "who", "source", "refused", "outcome")}
            | {"pair": one["pair"] or None, "at": epoch(one["at"])}
            for one in found
        ]
        return _page(rows, found, "key", limit)

    async def trades(self, bot: str) -> tuple[list[ClosedTrade], dict[str, float]]:
        """Closed trades, oldest first, and what funding paid by pair; reckoned anew when something has filled."""
        (newest,) = await self.pool.fetch(NEWEST, bot)
        if bot not in self._trades or self._trades[bot][0] != newest:
            rows = await self.pool.fetch(QUERY, bot)
            self._trades[bot] = newest, trades_of(rows), paid(rows)
        return self._trades[bot][1:]

    async def earned(self, bot: str) -> list[dict[str, Any]]:
        """What was realised on each UTC day on each pair, oldest first, less fees and funding."""
        return [
            {"day": one["day"].isoformat(), "pair": one["symbol"], "profit": one["realised"] - one["fees"]}
            | {"fees": one["fees"] - one["funding"], "funding": -one["funding"], "fills": one["fills"]}
            for one in await self.pool.fetch(EARNED, bot)
        ]

    async def contributions(self, bot: str) -> list[dict[str, Any]]:
        """What was realised under each strategy in each regime, less fees and funding, the most first."""
        return [dict(one) for one in await self.pool.fetch(CONTRIBUTIONS, bot)]

    async def allocations(self, bot: str, since: int | None = None) -> list[dict[str, Any]]:
        """What was allocated to each pair, from `since` (ms) on, oldest first: of each of 120 steps the last."""
        newest = await self.pool.fetch(NEWEST_ALLOCATION, bot) if since is None else None
        if newest is None or bot not in self._allocations or self._allocations[bot][0] != newest:
            found = await self.pool.fetch(ALLOCATIONS, bot, _time(since), STEPS)
            rows = [dict(one) | {"at": epoch(one["at"])} for one in found]
            if newest is None:
                return rows
            self._allocations[bot] = newest, rows
        return self._allocations[bot][1]

    async def exits(self, bot: str) -> list[dict[str, Any]]:
        """What each reason to leave has realised, less the fees of leaving, the most first."""
        sums: dict[str, dict[str, Any]] = {}
        for row in await self.pool.fetch(EXITS, bot):
            one = sums.setdefault(_reason(row), {"reason": _reason(row), "profit": 0.0, "fills": 0})
            one["profit"] += row["profit"]
            one["fills"] += row["fills"]
        return sorted(sums.values(), key=lambda one: (-one["profit"], one["reason"]))

    async def account(self, bot: str) -> AccountStatement:
        """Every change of the bot's wallet, and where they do not add up to what it holds."""
        async with self.pool.connection() as connection:
            return await account_statement(connection, bot)

    async def units_of(self, bot: str, symbol: str) -> tuple[float, float]:
        """Tick and lot size in which the bot's rows count."""
        if (bot, symbol) not in self._units:
            rows = await self.pool.fetch(MEMORY, bot, symbol)
            if not rows:
                return 1.0, 1.0
            self._units[bot, symbol] = remembered_units(symbol, Saved(rows[0]["layout"], rows[0]["data"]))
        return self._units[bot, symbol]


def _reason(row: Any) -> str:
    """Why something was filled: by the signal of its order, or what the venue calls it where it has none."""
    return str(row["cause"]) if row["signal"] is None else Signal(row["signal"]).name.lower()


def _decision(row: Any) -> dict[str, Any]:
    told = {"id": row["id"], "pair": row["pair"] or None, "kind": row["kind"], "at": epoch(row["at"])}
    return told | {"fields": json.loads(row["fields"])}


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else moment(ms)


def _page(rows: list[dict[str, Any]], found: list[Any], name: str, limit: int) -> Page:
    """The rows of a page, of which one more was asked for, and the cursor of the next where there is one."""
    if len(found) <= limit:
        return rows, None
    last = found[limit - 1]
    return rows[:limit], cursor_of(last["at"], last[name])


def cursor_of(at: datetime, key: Any) -> str:
    """Return the place after a row, as text that nobody has to understand."""
    return urlsafe_b64encode(json.dumps([at.isoformat(), str(key)]).encode()).decode().rstrip("=")


def _place(cursor: str | None) -> tuple[datetime | None, str]:
    """Read a cursor; raises BadCursor."""
    if cursor is None:
        return None, ""
    try:
        at, key = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        found = datetime.fromisoformat(at)
        if isinstance(key, str) and key.isprintable() and found.tzinfo is not None and 1970 <= found.year < 9000:
            return found, key
    except (ValueError, TypeError, RecursionError, OverflowError):
        pass
    raise bad_cursor(cursor)


def _number(key: str, cursor: str | None) -> int:
    if cursor is None:
        return 0
    if key.isascii() and key.isdigit() and len(key) < 19:
        return int(key)
    raise bad_cursor(cursor)


def bad_cursor(cursor: str) -> BadCursor:
    """Return the error of a cursor that no page ended with."""
    return BadCursor(f"cursor is {shown(cursor)}; give the `next` of the page before, or leave it out.")
