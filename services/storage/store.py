"""The Store port over Postgres: one transaction remembers what was decided, the orders about to be sent, the fills.

A database that is away is waited for: nothing is sent that is not remembered, and what rests at the venue protects.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Self

import asyncpg
import structlog
from tenacity import AsyncRetrying, retry, retry_if_exception_type, stop_after_delay, wait_exponential

from bot.errors import Misconfigured
from bot.events import Decision
from bot.ports import Cause, Execution, Order, ReceivedSignal, Saved, Unreachable
from coordinator.operator import CommandRejected, OperatorCommand
from services.storage.schema import migrate

log = structlog.get_logger()

AWAY = (
    # Full or read-only is away too: somebody has to make room, and until then nothing can be remembered.
    *(asyncpg.DiskFullError, asyncpg.ReadOnlySQLTransactionError, asyncpg.TooManyConnectionsError),
    *(OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.CannotConnectNowError),
    *(asyncpg.InternalClientError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError),
)
KEPT = 5000  # orders and executions of a symbol that a restart may still meet
KEPT_SNAPSHOTS = 20
CONNECTIONS = 3  # of a bot, for what orders wait for and for everything else, each
CONNECT_SECONDS = 5.0  # for a database to answer
START_SECONDS = 30.0

REMEMBER = """
INSERT INTO memory (bot, name, layout, data, at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (bot, name) DO UPDATE SET layout = $3, data = $4, at = $5
"""
ORDER = """
INSERT INTO orders (bot, client_order_id, symbol, slot, generation, side, kind, price, lots, reduce_only, post_only,
    signal, part, entry, stop, planned_stop, timeframe, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
ON CONFLICT (bot, client_order_id) DO UPDATE SET kind = $7, price = $8, lots = $9, stop = $15, planned_stop = $16,
    at = $18
"""
FILL = """
INSERT INTO fills (bot, execution, symbol, client_order_id, side, price, lots, fee, maker, cause, position,
    realised, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (bot, execution) DO NOTHING
"""
DECISION = "INSERT INTO decisions (bot, pair, kind, fields, at) VALUES ($1, $2, $3, $4, $5)"
COMMAND = """
INSERT INTO commands (bot, key, command, pair, force, amount, who, source, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (bot, key) DO NOTHING RETURNING key
"""
SNAPSHOT = "INSERT INTO snapshots (bot, name, schema, state, at) VALUES ($1, $2, $3, $4, $5)"
FORGET = """
DELETE FROM snapshots WHERE bot = $1 AND name = $2 AND id <= (
    SELECT id FROM snapshots WHERE bot = $1 AND name = $2 ORDER BY id DESC OFFSET $3 LIMIT 1)
"""
SIGNALS = """
SELECT number, signal, direction, stop, target, expires <= clock_timestamp() AS expired FROM signals
WHERE bot = $1 AND symbol = $2 AND number > $3 AND at > now() - interval '1 day' ORDER BY number LIMIT $4
"""
MOST_SIGNALS = 50  # at a time
FIELDS = (
    "client_order_id, slot, generation, side, kind, price, lots, reduce_only, post_only, signal, part, entry, stop, "
    "planned_stop, timeframe"
)


def _complain(state: Any) -> None:
    error = state.outcome.exception()
    remedy = REMEDIES.get(type(error), "the bot opens nothing until it answers")
    log.warning("database_away", attempt=state.attempt_number, error=type(error).__name__, remedy=remedy)


REMEDIES = {
    asyncpg.DiskFullError: "the disk is full: make room; the bot opens nothing until then",
    asyncpg.ReadOnlySQLTransactionError: "the database is read-only: give this user the right to write",
}


waiting = retry(
    retry=retry_if_exception_type(AWAY), wait=wait_exponential(0.05, max=5), before_sleep=_complain, reraise=True
)


def moment(ms: int) -> datetime:
    """Aware UTC time of epoch milliseconds."""
    return datetime.fromtimestamp(ms / 1000.0, UTC)


def epoch(at: datetime) -> int:
    """Epoch milliseconds of an aware time."""
    return round(at.timestamp() * 1000.0)


async def reach(dsn: str) -> None:
    """Wait a while for a database that is starting; raises Misconfigured when it stays away or does not let us in."""
    trying = AsyncRetrying(
        retry=retry_if_exception_type((OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError)),
        stop=stop_after_delay(START_SECONDS),
        wait=wait_exponential(0.1, max=2),
        before_sleep=_complain,
        reraise=True,
    )
    try:
        connection: Any = await trying(asyncpg.connect, dsn)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Misconfigured(
            f"bot.database cannot be used ({type(error).__name__}); check its address, name, user and password, and "
            "that the server runs."
        ) from None
    await connection.close()


async def is_writable(dsn: str) -> bool:
    """Say whether this user may write to the database; raises Unreachable with the kind of trouble, if it is away."""
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
        try:
            return bool(await connection.fetchval("SHOW transaction_read_only") == "off")
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise Unreachable(type(error).__name__) from None


class PostgresStore:
    """One bot's rows."""

    def __init__(self, pool: Any, prompt: Any, bot: str) -> None:
        """`prompt`: connections kept free for what orders and fills wait for; `pool` serves everything else."""
        self.pool, self.prompt, self.bot = pool, prompt, bot

    @classmethod
    async def open(cls, dsn: str, bot: str) -> Self:
        """Bring the tables up to date and connect; the caller holds the bot's lock, if anybody does."""
        await migrate(dsn, bot)
        return await cls.join(dsn, bot)

    @classmethod
    async def join(cls, dsn: str, bot: str) -> Self:
        """Connect to tables that are up to date."""
        pool = await asyncpg.create_pool(dsn, min_size=1, max_size=CONNECTIONS)
        try:
            return cls(pool, await asyncpg.create_pool(dsn, min_size=1, max_size=CONNECTIONS), bot)
        except BaseException:
            await pool.close()
            raise

    async def close(self) -> None:
        """Let the connections go."""
        await self.pool.close()
        await self.prompt.close()

    @waiting
    async def load(self, name: str) -> Saved | None:
        """What was stored under a symbol, or for the portfolio."""
        row = await self.pool.fetchrow("SELECT layout, data FROM memory WHERE bot = $1 AND name = $2", self.bot, name)
        return None if row is None else Saved(row["layout"], row["data"])

    @waiting
    async def orders(self, symbol: str) -> dict[str, Order]:
        """Read the last orders that were sent for a symbol, by client order id, oldest first."""
        rows = await self.pool.fetch(
            f"SELECT {FIELDS} FROM orders WHERE bot = $1 AND symbol = $2 ORDER BY at DESC LIMIT $3",  # noqa: S608
            *(self.bot, symbol, KEPT),
        )
        return {row["client_order_id"]: Order(**dict(row)) for row in reversed(rows)}

    @waiting
    async def executions(self, symbol: str) -> list[str]:
        """Read the ids of the last executions booked for a symbol, oldest first."""
        query = "SELECT execution FROM fills WHERE bot = $1 AND symbol = $2 ORDER BY at DESC LIMIT $3"
        rows = await self.pool.fetch(query, self.bot, symbol, KEPT)
        return [row["execution"] for row in reversed(rows)]

    @waiting
    async def fills(self) -> list[Execution]:
        """Read every fill and payment booked, oldest first."""
        rows = await self.pool.fetch("SELECT * FROM fills WHERE bot = $1 ORDER BY at, execution", self.bot)
        return [
            Execution(
                *(
                    row["execution"],
                    row["symbol"],
                    row["client_order_id"],
                    row["side"],
                    row["price"],
                    row["lots"],
                    row["fee"],
                ),
                *(row["maker"], epoch(row["at"]), Cause(row["cause"])),
            )
            for row in rows
        ]

    @waiting
    async def decisions(self, since: int, until: int | None = None) -> list[Decision]:
        """Read what was decided from `since` (ms) on, and up to `until` where it is given, oldest first."""
        query = (
            "SELECT * FROM decisions WHERE bot = $1 AND at >= $2 AND at <= coalesce($3::timestamptz, 'infinity') "
            "ORDER BY id"
        )
        rows = await self.pool.fetch(query, self.bot, moment(since), None if until is None else moment(until))
        return [Decision(row["pair"], epoch(row["at"]), row["kind"], json.loads(row["fields"])) for row in rows]

    @waiting
    async def save(
        self,
        name: str,
        saved: Saved,
        at: int,
        orders: list[Order],
        fills: list[tuple[Execution, Any]],
        decisions: list[Decision],
    ) -> None:
        """Remember all of it, or nothing."""
        bot, when = self.bot, moment(at)
        memory = (REMEMBER, bot, name, saved.layout, saved.data, when)
        if not (orders or fills or decisions):
            await self.pool.execute(*memory)  # a statement is a transaction
            return
        async with self.prompt.acquire() as connection, connection.transaction():
            await connection.execute(*memory)
            if orders:
                await connection.executemany(
                    ORDER, [(bot, one.client_order_id, name, *_numbers(one), when) for one in orders]
                )
            if fills:
                await connection.executemany(FILL, [self._fill(name, *one) for one in fills])
            if decisions:
                await connection.executemany(DECISION, [self._decision(one) for one in decisions])

    def _fill(self, symbol: str, one: Execution, record: Any) -> tuple[Any, ...]:
        after = (None, None) if record is None else (int(record.position), float(record.realised))
        money = (one.fee, one.maker, one.cause.value)
        return (
            self.bot,
            one.id,
            symbol,
            one.client_order_id,
            int(one.side),
            one.price,
            one.lots,
            *money,
            *after,
            moment(one.ts),
        )

    def _decision(self, one: Decision) -> tuple[Any, ...]:
        return (self.bot, one.pair, one.kind, json.dumps(one.fields), moment(one.at))

    @waiting
    async def begin_command(self, said: OperatorCommand, at: int) -> str | None:
        """Record a command before it is done, at `at` (ms); returns its outcome where it was done before.

        Raises CommandRejected for one that was refused before, or that was begun and whose outcome nobody knows.
        """
        new = await self.pool.fetchval(
            *(COMMAND, self.bot, said.key, said.kind, said.pair or "", said.force, said.amount),
            *(said.who, said.source, moment(at)),
        )
        if new is not None:
            return None
        query = "SELECT refused, outcome FROM commands WHERE bot = $1 AND key = $2"
        row = await self.pool.fetchrow(query, self.bot, said.key)
        if row["outcome"] is None:
            raise CommandRejected(
                "it was begun before, and its outcome is not known; look at the status, then say it anew."
            )
        if row["refused"]:
            raise CommandRejected(row["outcome"])
        return str(row["outcome"])

    @waiting
    async def end_command(self, key: str, outcome: str, *, refused: bool) -> None:
        """Record what became of a command."""
        query = "UPDATE commands SET outcome = $3, refused = $4 WHERE bot = $1 AND key = $2"
        await self.pool.execute(query, self.bot, key, outcome, refused)

    @waiting
    async def signals(self, symbol: str, after: int) -> list[ReceivedSignal]:
        """Read signals received for a symbol after this number, in order; those of the last day."""
        rows = await self.pool.fetch(SIGNALS, self.bot, symbol, after, MOST_SIGNALS)
        return [ReceivedSignal(*row) for row in rows]

    async def alive(self) -> bool:
        """Whether the database takes a change of this bot's rows now; a full or read-only one does not."""
        try:
            await self.pool.execute("UPDATE memory SET at = at WHERE bot = $1 AND name = 'portfolio'", self.bot)
        except AWAY:
            return False
        return True

    @waiting
    async def snapshot(self, name: str, schema: str, state: str, at: int) -> None:
        """Keep a readable copy (JSON) of a state; the last few remain."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(SNAPSHOT, self.bot, name, schema, state, moment(at))
            await connection.execute(FORGET, self.bot, name, KEPT_SNAPSHOTS)


def _numbers(one: Order) -> tuple[Any, ...]:
    return (
        *(one.slot, one.generation, one.side, one.kind, one.price, one.lots, one.reduce_only, one.post_only),
        *(one.signal, one.part, one.entry, one.stop, one.planned_stop, one.timeframe),
    )
