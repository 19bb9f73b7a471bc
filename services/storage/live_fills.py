"""A bot's fills as they happened, for whoever compares them with simulated ones; the bot may run meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

import asyncpg

from backtesting.drift import TradedFill
from bot.errors import Misconfigured
from bot.order import Signal
from bot.ports import Cause, Saved
from coordinator.machine import remembered_units
from services.storage.store import epoch, moment

FILLS = """
SELECT f.*, o.signal FROM fills f LEFT JOIN orders o ON o.bot = f.bot AND o.client_order_id = f.client_order_id
WHERE f.bot = $1 AND f.cause <> 'funding' AND f.at >= coalesce($2::timestamptz, '-infinity')
AND f.at < coalesce($3::timestamptz, 'infinity') ORDER BY f.at, f.execution
"""


@dataclass(frozen=True)
class LiveFills:
    """Fills without their marks, which candles tell, and the causes of those that were not asked for."""

    fills: list[TradedFill] = field(default_factory=list)
    causes: dict[str, str] = field(default_factory=dict)  # by execution


async def live_fills(dsn: str, bot: str, since: int | None, until: int | None) -> LiveFills:
    """Read the fills of [since, until), ms; raises Misconfigured for a bot that has no rows."""
    connection = await asyncpg.connect(dsn)
    try:
        memories = await connection.fetch("SELECT name, layout, data FROM memory WHERE bot = $1", bot)
        times = [None if one is None else moment(one) for one in (since, until)]
        rows = await connection.fetch(FILLS, bot, *times) if memories else []
    except asyncpg.UndefinedTableError:
        memories = rows = []
    finally:
        await connection.close()
    if not memories:
        raise Misconfigured(f"bot {bot!r} has no rows in this database; give its config, or another name.")
    kept = {one["name"]: Saved(one["layout"], one["data"]) for one in memories}
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
