"""Closed trades of a bot from what its database holds: from flat to flat, in quote currency.

Profit is what was realised at average cost, less the trade's fees. Payments of funding belong to the pair and are
summed beside it. A position that turns over closes one trade and opens the next, whose fill it shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import asyncpg

from bot.candles import iso
from bot.ports import Cause
from services.storage.store import epoch

QUERY = "SELECT symbol, side, lots, fee, cause, position, realised, at FROM fills WHERE bot = $1 ORDER BY at, execution"


@dataclass
class ClosedTrade:
    """One trade from flat to flat; times in ms, money in quote currency."""

    pair: str
    side: str
    opened: int
    closed: int
    profit: float
    fees: float
    fills: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data with times as text."""
        return {**asdict(self), "opened": iso(self.opened), "closed": iso(self.closed)}


async def closed_trades(dsn: str, bot: str) -> tuple[list[ClosedTrade], dict[str, float]]:
    """Read the closed trades of a bot, oldest first, and what funding paid by pair."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(QUERY, bot)
    except asyncpg.UndefinedTableError:  # a bot that never came so far
        rows = []
    finally:
        await connection.close()
    return trades_of(rows), paid(rows)


def trades_of(rows: Iterable[Any]) -> list[ClosedTrade]:
    """Trades that were closed, in the order of their ends, of fills in the order of their times."""
    open_: dict[str, ClosedTrade] = {}
    closed: list[ClosedTrade] = []
    for row in chained([one for one in rows if one["position"] is not None]):  # without payments
        pair, at, position = row["symbol"], epoch(row["at"]), row["position"]
        side = "long" if row["side"] > 0 else "short"
        trade = open_.setdefault(pair, ClosedTrade(pair, side, at, at, 0.0, 0.0, 0))
        trade.profit += row["realised"] - row["fee"]
        trade.fees += row["fee"]
        trade.fills += 1
        turned = position != 0 and (position > 0) != (trade.side == "long")
        if position == 0 or turned:
            trade.closed = at
            closed.append(open_.pop(pair))
        if turned:
            open_[pair] = ClosedTrade(pair, "long" if position > 0 else "short", at, at, 0.0, 0.0, 1)
    return closed


def chained(rows: Iterable[Any]) -> Iterator[Any]:
    """Yield fills so that each one's position follows from the one before: of one moment, the database has no order."""
    held: dict[str, int] = {}
    for _, group in groupby(rows, key=lambda one: one["at"]):
        moment = list(group)
        while moment:
            follows = (
                one for one in moment if held.get(one["symbol"], 0) + one["side"] * one["lots"] == one["position"]
            )
            row = next(follows, moment[0])
            moment.remove(row)
            held[row["symbol"]] = row["position"]
            yield row


def paid(rows: Iterable[Any]) -> dict[str, float]:
    """What funding brought, by pair; negative where it cost."""
    found: dict[str, float] = {}
    for row in rows:
        if row["cause"] == Cause.FUNDING.value:
            found[row["symbol"]] = found.get(row["symbol"], 0.0) - row["fee"]
    return found


def figures(closed: list[ClosedTrade], payments: dict[str, float]) -> dict[str, Any]:
    """What the closed trades come to, together and by pair; None where nothing can be said."""
    wins = [one.profit for one in closed if one.profit > 0]
    losses = [-one.profit for one in closed if one.profit < 0]
    pairs: dict[str, dict[str, float]] = {}
    for one in closed:
        own = pairs.setdefault(one.pair, {"trades": 0, "profit": 0.0})
        own["trades"] += 1
        own["profit"] += one.profit
    return {
        "trades": len(closed),
        "win_rate_pct": 100.0 * len(wins) / len(closed) if closed else None,
        "profit": sum(one.profit for one in closed),
        "fees": sum(one.fees for one in closed),
        "funding": sum(payments.values()),
        "profit_factor": sum(wins) / sum(losses) if losses else None,
        "best": max((one.profit for one in closed), default=None),
        "worst": min((one.profit for one in closed), default=None),
        "pairs": pairs,
    }
