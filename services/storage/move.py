"""A bot's rows from a database of its own into the one that it shares, in one transaction, and compared before its end.

Killed at any moment and done again, it neither doubles nor loses: rows that have arrived already are the very rows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import asyncpg

from bot.errors import Misconfigured
from services.storage.archive import TABLES
from services.storage.backup import SESSION, columns_of
from services.storage.store import waiting

Rows = dict[str, tuple[int, str]]  # by table: their number, and the sum of their hashes


@waiting
async def move(old: str, new: str, bot: str, folder: Path) -> dict[str, int]:
    """Copy the rows of the bot from `old` to `new` (DSNs), table by table through `folder`; returns their numbers.

    The caller holds the bot's lock in both, and both have the tables of this version. Raises Misconfigured, with
    nothing changed, where `new` holds other rows of the bot.
    """
    source = await asyncpg.connect(old, server_settings=SESSION)
    try:
        target = await asyncpg.connect(new, server_settings=SESSION)
        try:
            async with source.transaction(isolation="repeatable_read", readonly=True), target.transaction():
                rows = await _rows(source, bot)
                await _copy_once(source, target, bot, rows, folder)
        finally:
            await target.close()
    finally:
        await source.close()
    return {table: count for table, (count, _) in rows.items()}


async def _copy_once(source: Any, target: Any, bot: str, rows: Rows, folder: Path) -> None:
    present = await _rows(target, bot)
    if present == rows or not _count(rows):
        return
    if _count(present):
        raise Misconfigured(
            f"bot {bot!r} has rows in the database of the data directory and others in its former one, "
            f"bots/{bot}/postgres; move the former away if the bot last ran without it, or else back up what is "
            "worth keeping, and restore that."
        )
    for table in TABLES:
        await _copy(source, target, table, bot, folder)
    arrived = await _rows(target, bot)
    if arrived != rows:
        raise RuntimeError(f"rows of bot {bot!r} have not arrived as they were: {arrived}, not {rows}")


def _count(rows: Rows) -> int:
    return sum(count for count, _ in rows.values())


async def _rows(connection: Any, bot: str) -> Rows:
    found = {}
    for table in TABLES:
        columns = ", ".join(await columns_of(connection, table))
        found[table] = tuple(
            await connection.fetchrow(
                f"SELECT count(*), coalesce(sum(hashtextextended(ROW({columns})::text, 0)), 0)::text FROM {table} "  # noqa: S608
                "WHERE bot = $1",
                bot,
            )
        )
    return found


async def _copy(source: Any, target: Any, table: str, bot: str, folder: Path) -> None:
    """Copy a table's rows in their order; numbers that the database gives are given anew."""
    columns = await columns_of(source, table)
    query = f"SELECT {', '.join(columns)} FROM {table} WHERE bot = $1 ORDER BY {TABLES[table]}"  # noqa: S608
    with tempfile.TemporaryFile(dir=folder) as file:
        await source.copy_from_query(query, bot, output=file, format="binary")
        file.seek(0)
        await target.copy_to_table(table, source=file, columns=columns, format="binary")
