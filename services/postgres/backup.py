"""One bot's rows as one file, and back: a zip with a CSV of each table, taken at one moment while the bot trades.

It carries a bot from an embedded database to one of your own, or to another machine.
"""

from __future__ import annotations

import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import asyncpg
from pydantic import BaseModel, ValidationError

from bot.errors import Misconfigured
from services.postgres.store import VERSION, migrate

# Each table by the order in which its rows are written; numbers that the database gives are given anew.
TABLES = {
    "memory": "name",
    "orders": "at, link",
    "fills": "at, execution",
    "notes": "id",
    "snapshots": "id",
}
GIVEN = "id"
MANIFEST = "backup.json"
SESSION = {"TimeZone": "UTC", "DateStyle": "ISO, YMD"}

DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, KeyError, ValueError),
    *(asyncpg.DataError, asyncpg.SyntaxOrAccessError, asyncpg.IntegrityConstraintViolationError),
)


class Contents(BaseModel):
    """What a backup says of itself."""

    bot: str
    version: str  # of the tables
    at: datetime
    rows: dict[str, int]


async def back_up(dsn: str, bot: str, file: Path) -> Contents:
    """Write every row of the bot, as of one moment, to `file`, whole or not at all; raises Misconfigured."""
    await migrate(dsn)
    partial = file.with_name(f"{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    except OSError as error:
        raise Misconfigured(f"{file} cannot be written ({error.strerror}); give another place with --out.") from None
    try:
        contents = await _write_all(dsn, bot, partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return contents


async def _write_all(dsn: str, bot: str, file: Path) -> Contents:
    connection = await asyncpg.connect(dsn, server_settings=SESSION)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                rows = {table: await _write(connection, archive, table, bot) for table in TABLES}
                contents = Contents(bot=bot, version=VERSION, at=datetime.now(UTC), rows=rows)
                archive.writestr(MANIFEST, contents.model_dump_json(indent=1))
    finally:
        await connection.close()
    return contents


async def _write(connection: Any, archive: zipfile.ZipFile, table: str, bot: str) -> int:
    statement = await connection.prepare(f"SELECT * FROM {table}")  # noqa: S608
    columns = [one.name for one in statement.get_attributes() if one.name != GIVEN]
    query = f"SELECT {', '.join(columns)} FROM {table} WHERE bot = $1 ORDER BY {TABLES[table]}"  # noqa: S608
    with archive.open(f"{table}.csv", "w", force_zip64=True) as out:
        done: str = await connection.copy_from_query(query, bot, output=out, format="csv", header=True)
    return int(done.rpartition(" ")[2])


def look_into(file: Path) -> Contents:
    """Read what a backup says of itself; raises Misconfigured for what is none."""
    try:
        with zipfile.ZipFile(file) as archive:
            return Contents.model_validate_json(archive.read(MANIFEST))
    except (OSError, zipfile.BadZipFile, KeyError, ValidationError) as error:
        raise Misconfigured(
            f"{file} is no backup that can be read ({type(error).__name__}); give one that `traderagent backup` wrote."
        ) from None


async def restore(dsn: str, bot: str, file: Path, *, replace: bool) -> Contents:
    """Put the rows of a backup into the database, all of them or none.

    Raises Misconfigured for another bot's, for one of a newer version, for a damaged one, and where the bot has
    rows already and `replace` is not given.
    """
    contents = look_into(file)
    if contents.bot != bot:
        raise Misconfigured(
            f"{file} is of bot {contents.bot!r}, and bot.name is {bot!r}, which is part of every order's id; "
            f"set bot.name to {contents.bot!r}."
        )
    if contents.version > VERSION:
        raise Misconfigured(f"{file} was written by a newer version; update this one first.")
    await migrate(dsn)
    connection = await asyncpg.connect(dsn, server_settings=SESSION)
    try:
        async with connection.transaction():
            for table in TABLES:
                gone = await connection.execute(f"DELETE FROM {table} WHERE bot = $1", bot)  # noqa: S608
                if gone != "DELETE 0" and not replace:
                    raise Misconfigured(
                        f"the database holds rows of bot {bot!r} already ({table}); add --replace to give them up."
                    )
            with zipfile.ZipFile(file) as archive:
                for table in TABLES:
                    with archive.open(f"{table}.csv") as source:
                        await _read(connection, source, table, bot, contents.rows[table])
    except DAMAGED as error:
        raise Misconfigured(f"{file} is damaged ({type(error).__name__}: {error}); use another backup.") from None
    finally:
        await connection.close()
    return contents


async def _read(connection: Any, source: IO[bytes], table: str, bot: str, rows: int) -> None:
    columns = source.readline().decode().strip().split(",")
    await connection.copy_to_table(table, source=source, columns=columns, format="csv")
    found = await connection.fetchval(f"SELECT count(*) FROM {table} WHERE bot = $1", bot)  # noqa: S608
    if found != rows:
        raise ValueError(f"{table} has {found} of {rows} rows")
