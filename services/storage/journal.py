"""The journal of trades in Postgres, and its outbox: what of it is still to be sent, and to whom.

A record is written once and edited as often as somebody likes; each time it has one revision more. What is to be sent
is written in the same transaction, one row for each revision and target, so nothing is lost and nothing sent that is
not written.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bot.errors import Misconfigured, shown
from bot.order import Signal
from bot.rollup import TIMEFRAMES
from services.storage.closed_trades import chained
from services.storage.store import epoch, moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.storage.history import History
    from services.storage.read_pool import ReadPool

ADD = """
INSERT INTO journal (record, revision, source, origin, entered, "left", trade, pictures, notes, tags)
VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, '[]') ON CONFLICT DO NOTHING
"""
EDIT = """
UPDATE journal SET revision = revision + 1, notes = $3, tags = $4 WHERE record = $1 AND revision = $2
"""
QUEUE = """
INSERT INTO journal_outbox (record, revision, target, state, tries, due, fault)
VALUES ($1, $2, $3, 'waiting', 0, $4, '') ON CONFLICT DO NOTHING
"""
# A newer revision says all that an older one would have said.
REPLACED = "UPDATE journal_outbox SET state = 'replaced' WHERE record = $1 AND revision < $2 AND state = 'waiting'"
LIST = """
SELECT * FROM journal
WHERE ($1 = '' OR concat_ws(' ', record, source, origin, trade::text, notes, tags::text) ILIKE '%' || $1 || '%')
AND ($2 = '' OR source = $2) AND ($3 = '' OR trade ->> 'symbol' = $3) AND ($4 = '' OR tags::jsonb ? $4)
ORDER BY "left" DESC, record DESC LIMIT $5 OFFSET $6
"""
# What was being sent by a process that is gone is tried again under the same key, once its time is over.
TAKE = """
UPDATE journal_outbox SET state = 'sending', tries = tries + 1, due = $2
WHERE (record, revision, target) IN (
    SELECT record, revision, target FROM journal_outbox
    WHERE state IN ('waiting', 'sending') AND due <= $1 AND target = ANY($3)
    ORDER BY due, record, revision LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING record, revision, target, tries
"""
SETTLE = """
UPDATE journal_outbox SET state = $4, due = $5, fault = $6 WHERE record = $1 AND revision = $2 AND target = $3
"""
OUTBOX = "SELECT state, count(*) AS rows, max(fault) AS fault FROM journal_outbox GROUP BY state"
LIVE = """
SELECT f.symbol, f.side, f.lots, f.price, f.fee, f.cause, f.position, f.realised, f.at, f.execution, o.signal,
    o.planned_stop, o.timeframe
FROM fills f LEFT JOIN orders o ON o.bot = f.bot AND o.client_order_id = f.client_order_id
WHERE f.bot = $1 ORDER BY f.at, f.execution
"""
NEWEST = "SELECT count(*), max(at) FROM fills WHERE bot = $1"
NAMES: dict[int | None, str] = {length: name for name, length in TIMEFRAMES.items()}
LEASE = timedelta(seconds=120)  # that sending one may take


class JournalStore:
    """Records and outbox. `targets`: names of those to whom a record is sent."""

    def __init__(self, pool: ReadPool, targets: Sequence[str] = ()) -> None:
        self.pool, self.targets = pool, tuple(targets)
        self._synced: dict[str, Any] = {}  # of each bot: how many fills there were, and when the last one was

    async def add(
        self, record: str, source: str, origin: str, trade: dict[str, Any], pictures: Sequence[str], notes: str
    ) -> None:
        """Write a record, unless there is one of this name; `trade` has its times as entry_ts and exit_ts, ms."""
        times = moment(trade["entry_ts"]), moment(trade["exit_ts"])
        values = (record, source, origin, *times, json.dumps(trade), json.dumps(list(pictures)), notes)
        async with self.pool.connection() as connection, connection.transaction():
            done = await connection.execute(ADD, *values)
            if done.endswith(" 1"):
                await self._queue(connection, record, 1)

    async def edit(self, record: str, revision: int, notes: str, tags: Sequence[str]) -> dict[str, Any]:
        """Give a record other notes and tags; raises Misconfigured where somebody else has done so meanwhile."""
        async with self.pool.connection() as connection, connection.transaction():
            done = await connection.execute(EDIT, record, revision, notes, json.dumps(list(tags)))
            if done.endswith(" 1"):
                await connection.execute(REPLACED, record, revision + 1)
                await self._queue(connection, record, revision + 1)
        found = await self.record(record)
        if found is None:
            raise Misconfigured(f"record {shown(record)} is not in the journal; choose one that is listed.")
        if not done.endswith(" 1"):
            raise Misconfigured(f"revision is {revision}, but the record has {found['revision']}; load the page again.")
        return found

    async def _queue(self, connection: Any, record: str, revision: int) -> None:
        for target in self.targets:
            await connection.execute(QUEUE, record, revision, target, datetime.now(UTC))

    async def record(self, record: str) -> dict[str, Any] | None:
        """One record; None where there is none of this name."""
        row = await self.pool.fetchrow("SELECT * FROM journal WHERE record = $1", record)
        return None if row is None else _record(row)

    async def records(
        self, search: str = "", source: str = "", symbol: str = "", tag: str = "", start: int = 0, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Records by exit, the newest first."""
        words = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return [_record(row) for row in await self.pool.fetch(LIST, words, source, symbol, tag, limit, start)]

    async def sync_live(self, history: History, bots: Iterable[str]) -> None:
        """Write the closed trades of bots that the journal does not have yet."""
        for bot in bots:
            newest = tuple(await self.pool.fetchrow(NEWEST, bot))
            if self._synced.get(bot) == newest:
                continue
            rows = await self.pool.fetch(LIVE, bot)
            known = {
                one["record"] for one in await self.pool.fetch("SELECT record FROM journal WHERE origin = $1", bot)
            }
            for trade in live_trades(rows):
                name = f"live-{bot}-{trade.pop('execution')}"
                if name not in known:
                    tick, lot = await history.units_of(bot, trade["symbol"])
                    await self.add(name, "live", bot, _in_money(trade, tick, lot), [], "")
            self._synced[bot] = newest

    # Outbox

    async def take(self) -> dict[str, Any] | None:
        """Take what is to be sent next, marked as being sent; None where nothing is due."""
        now = datetime.now(UTC)
        row = await self.pool.fetchrow(TAKE, now, now + LEASE, list(self.targets))
        return None if row is None else dict(row)

    async def settle(self, taken: dict[str, Any], state: str, seconds: float = 0.0, fault: str = "") -> None:
        """Write down what became of it: sent, failed, or waiting for so many seconds more."""
        due = datetime.now(UTC) + timedelta(seconds=seconds)
        await self.pool.execute(SETTLE, taken["record"], taken["revision"], taken["target"], state, due, fault[:300])

    async def outbox(self) -> dict[str, Any]:
        """How many rows of the outbox stand how, and the fault of one that failed or waits."""
        rows = await self.pool.fetch(OUTBOX)
        counts = {row["state"]: int(row["rows"]) for row in rows}
        faults = [row["fault"] for row in rows if row["state"] in ("failed", "waiting") and row["fault"]]
        return {**{name: counts.get(name, 0) for name in ("waiting", "sending", "sent", "failed")}, "faults": faults}


def _record(row: Any) -> dict[str, Any]:
    trade, times = json.loads(row["trade"]), {"entry": epoch(row["entered"]), "exit": epoch(row["left"])}
    names = ("symbol", "timeframe", "side", "quantity", "entry_price", "exit_price", "reason", "pnl", "r")
    return {
        **{name: row[name] for name in ("record", "revision", "source", "origin", "notes")},
        **{name: trade.get(name) for name in names},
        **times,
        "pictures": json.loads(row["pictures"]),
        "tags": json.loads(row["tags"]),
    }


def _in_money(trade: dict[str, Any], tick: float, lot: float) -> dict[str, Any]:
    """A trade of `live_trades` in quote and base currency, with its R where a stop was planned."""
    risk = trade.pop("risk") * tick * lot
    prices = {key: trade[key] * tick for key in ("entry_price", "exit_price")}
    r = trade["pnl"] / risk if risk > 0 else None
    return {**trade, **prices, "quantity": trade["quantity"] * lot, "r": r}


def live_trades(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Closed trades of fills by time, from flat to flat: prices in ticks at their averages, quantities in lots.

    `risk` is the loss at the stops that were planned as it was entered, ticks times lots, as a backtest sums it. Its
    timeframe is that of the strategy which opened it.
    """
    open_: dict[str, dict[str, Any]] = {}
    found = []
    for row in chained([one for one in rows if one["position"] is not None]):
        pair, after, change = row["symbol"], row["position"], row["side"] * row["lots"]
        before, at = after - change, epoch(row["at"])
        closes = min(abs(before), abs(change)) if before * change < 0 else 0
        one = open_.get(pair)
        if closes and one is not None:
            one["left"] += closes
            one["out"] += closes * row["price"]
            one["pnl"] += row["realised"] - row["fee"]
            if after == 0 or after * before < 0:
                found.append(_closed(open_.pop(pair), row, at))
        opens = abs(change) - closes
        if opens:
            side = "long" if change > 0 else "short"
            one = open_.setdefault(pair, _opened(pair, side, at, row["timeframe"]))
            if row["planned_stop"]:
                one["risk"] += abs(row["price"] - row["planned_stop"]) * opens
            one["in"] += opens * row["price"]
            one["lots"] += opens
            one["pnl"] -= 0.0 if closes else row["fee"]
    return found


def _opened(pair: str, side: str, at: int, length: int | None) -> dict[str, Any]:
    """A trade that begins; `length`: signal bars of its strategy, ms, None or 0 where nobody knows."""
    sums = dict.fromkeys(("in", "out", "pnl", "risk"), 0.0)
    return {"symbol": pair, "side": side, "at": at, "timeframe": NAMES.get(length, ""), "lots": 0, "left": 0, **sums}


def _closed(one: dict[str, Any], row: Any, at: int) -> dict[str, Any]:
    reason = row["cause"] if row["signal"] is None else Signal(row["signal"]).name
    return {
        **{name: one[name] for name in ("symbol", "side", "pnl", "timeframe", "risk")},
        "quantity": one["lots"], "entry_price": one["in"] / one["lots"],
        "exit_price": one["out"] / one["left"], "entry_ts": one["at"], "exit_ts": at, "reason": reason,
        "execution": row["execution"],
    }  # fmt: skip
