"""The tables' version, and how they are brought to it: by one process at a time, and under no bot that trades.

Several bots share a database. One of a newer version does not change the tables while another trades on them: that
one was started with the older version, and would fail at its next transaction.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any

import asyncpg

from bot.errors import Misconfigured

VERSION = "0013"  # of the tables: the newest migration

# Locks that bots of this database hold, as one number each; Postgres shows it as two halves without sign.
HELD = """
SELECT (classid::bigint << 32) | objid::bigint AS number FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def lock_number(bot: str) -> int:
    """Give the number of a bot's lock, 64 bits signed, as Postgres takes it."""
    return int.from_bytes(hashlib.sha256(f"traderagent {bot}".encode()).digest()[:8], signed=True)


MIGRATING = lock_number("Migrating")  # no bot's name has a capital


async def migrate(dsn: str, own: str | None = None, to: str = VERSION) -> None:
    """Bring the tables to a version, this program's own. `own`: the bot whose lock the caller holds.

    Raises Misconfigured for tables of a newer version, and while another bot trades on older ones.
    """
    session = await asyncpg.connect(dsn)
    try:
        if await _is_at(session, to):
            return
        await session.execute("SELECT pg_advisory_lock($1)", MIGRATING)
        if await _is_at(session, to):  # another has done it meanwhile
            return
        for bot in await running(session):
            if bot != own:
                raise Misconfigured(
                    f"bot {bot!r} runs on this database with an older version; stop it (`traderagent ctl --bot {bot} "
                    "stop`), do this again, and then start it with this version."
                )
        await _upgrade(dsn, to)
    finally:
        await session.close()


async def _is_at(session: Any, version: str) -> bool:
    """Whether nothing is to be done; raises Misconfigured for tables of a newer version."""
    found = await version_of(session)
    refuse_newer(found)
    return found == version


async def version_of(session: Any) -> str | None:
    """Version of the tables, None where there are none."""
    try:
        return str(await session.fetchval("SELECT version_num FROM alembic_version"))
    except asyncpg.UndefinedTableError:
        return None


def refuse_newer(found: str | None) -> None:
    """Raise Misconfigured for tables of a newer version than this program's."""
    if found is not None and found > VERSION:
        raise Misconfigured(
            f"this database was written by a newer version (tables {found}, here {VERSION}); update this one first."
        )


async def bots_in(dsn: str) -> list[str]:
    """Names of the bots that have rows in a database."""
    session = await asyncpg.connect(dsn)
    try:
        return await bots_of(session)
    finally:
        await session.close()


async def bots_of(session: Any) -> list[str]:
    """Names of the bots that have rows."""
    try:
        return [str(row["bot"]) for row in await session.fetch("SELECT DISTINCT bot FROM memory ORDER BY bot")]
    except asyncpg.UndefinedTableError:
        return []


async def running(session: Any) -> list[str]:
    """Names of the bots that have rows and whose lock is held."""
    held = {row["number"] for row in await session.fetch(HELD)}
    return [bot for bot in await bots_of(session) if lock_number(bot) in held]


async def _upgrade(dsn: str, to: str) -> None:
    from alembic import command  # noqa: PLC0415, a second of every start that has nothing to migrate
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://", 1))
    config = Config()
    config.set_main_option("script_location", str(files("services.storage") / "migrations"))

    def upgrade(connection: Any) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, to)

    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()
