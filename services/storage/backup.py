"""One bot's rows as one file, and back: a zip with a CSV of each table, taken at one moment while the bot trades.

It carries a bot from an embedded database to one of your own, or to another machine. What is restored is first put
beside the bot's tables and checked there, row by row; then one transaction replaces what the bot had.
"""

from __future__ import annotations

import errno
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import asyncpg

from bot.errors import Misconfigured
from bot.order import OrderKind, Side, Signal
from bot.ports import Cause, Saved
from coordinator.operator import CommandKind
from coordinator.vocabulary import DecisionKind
from services.storage.archive import BROKEN, FORMAT, MANIFEST, TABLES, Contents, Hashed, damaged, look_into, opened
from services.storage.schema import VERSION, migrate

if TYPE_CHECKING:
    from coordinator.machine import PairMachine, PortfolioMachine

    Machine = PairMachine | PortfolioMachine

GIVEN = "id"
HEADER = 4096  # bytes of a CSV's first line
SESSION = {"TimeZone": "UTC", "DateStyle": "ISO, YMD"}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

REFUSED = (
    *(asyncpg.DataError, asyncpg.SyntaxOrAccessError, asyncpg.IntegrityConstraintViolationError),
    *(asyncpg.ProgramLimitExceededError, ValueError),
)


def _numbers(kind: Any) -> str:
    return ", ".join(str(int(one)) for one in kind)


def _words(words: list[str]) -> str:
    return ", ".join(f"'{one}'" for one in words)


# What must hold of every row beyond the types of its columns, so that the bot can load it.
VALID = {
    "memory": "name <> ''",
    "orders": f"side IN ({_numbers(Side)}) AND kind IN ({_numbers(OrderKind)}) AND signal IN ({_numbers(Signal)}) "
    "AND slot >= 0 AND generation >= 0 AND lots >= 0 AND price >= 0 AND stop >= 0",
    "fills": f"cause IN ({_words([one.value for one in Cause])}) AND side IN (-1, 0, 1) AND lots >= 0 AND fee <> 'NaN'",
    "decisions": f"kind IN ({_words([one.name.lower() for one in DecisionKind])})",
    "commands": f"command IN ({_words(list(CommandKind))}) AND key <> ''",
    "snapshots": "name <> ''",
    "signals": "number > 0 AND direction IN (-1, 0, 1) AND stop >= 0 AND target >= 0",
}
WHEN = "at BETWEEN '2000-01-01Z' AND '2200-01-01Z'"  # Python cannot hold every time that Postgres can


async def back_up(dsn: str, bot: str, file: Path) -> Contents:
    """Write every row of the bot, as of one moment, to `file`, whole or not at all; raises Misconfigured."""
    await migrate(dsn)
    with kept_whole(file) as out:
        return await _write_all(dsn, bot, file, out)


@contextmanager
def kept_whole(file: Path) -> Iterator[IO[bytes]]:
    """Open a backup to be written for its owner alone, whole or not at all; raises Misconfigured."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with writable(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)
            # What a bot remembers is its owner's, from the first byte on.
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w+b") as out:
            yield out
            with writable(file):
                out.flush()
                os.fsync(out.fileno())
        with writable(file):
            partial.replace(file)
    finally:
        with writable(file):
            partial.unlink(missing_ok=True)


@contextmanager
def writable(file: Path, *, only: set[int] | None = None) -> Iterator[None]:
    """Turn what the disk says, or `only` these of its errors, into a sentence."""
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise Misconfigured(f"{file} cannot be written ({error.strerror}); give another place with --out.") from None


async def _write_all(dsn: str, bot: str, file: Path, out: IO[bytes]) -> Contents:
    connection = await asyncpg.connect(dsn, server_settings=SESSION)
    rows, checksums = {}, {}
    try:
        with writable(file, only=FULL):
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
                    for table in TABLES:
                        rows[table], checksums[f"{table}.csv"] = await _write(connection, archive, table, bot)
                    contents = Contents(
                        format=FORMAT, bot=bot, version=VERSION, at=datetime.now(UTC), rows=rows, checksums=checksums
                    )
                    archive.writestr(MANIFEST, contents.model_dump_json(indent=1))
    finally:
        await connection.close()
    return contents


async def _write(connection: Any, archive: zipfile.ZipFile, table: str, bot: str) -> tuple[int, str]:
    """Write a table's rows of the bot; returns their number and the checksum."""
    columns = ", ".join(await columns_of(connection, table))
    query = f"SELECT {columns} FROM {table} WHERE bot = $1 ORDER BY {TABLES[table]}"  # noqa: S608
    with archive.open(f"{table}.csv", "w", force_zip64=True) as member:
        out = Hashed(member)
        done: str = await connection.copy_from_query(query, bot, output=out, format="csv", header=True)
    return int(done.rpartition(" ")[2]), out.digest.hexdigest()


async def columns_of(connection: Any, table: str) -> list[str]:
    """Name the columns of a table, without the number that the database gives each row."""
    statement = await connection.prepare(f"SELECT * FROM {table}")  # noqa: S608
    return [one.name for one in statement.get_attributes() if one.name != GIVEN]


async def restore(
    dsn: str,
    bot: str,
    file: Path,
    *,
    replace: bool,
    memories: Mapping[str, Machine] | None = None,
) -> Contents:
    """Put the rows of a backup into the database, all of them or none.

    The caller holds the bot's lock. `memories`: by name, machines as the bot will load what it remembers into; they
    are filled, and so tried. Raises Misconfigured for another bot's, for one of another version, for a damaged one,
    for one that the bot could not load, and where the bot has rows already and `replace` is not given.
    """
    _check_bot(file, look_into(file), bot)
    await migrate(dsn, bot)
    connection = await asyncpg.connect(dsn, server_settings=SESSION)
    try:
        with opened(file) as (archive, contents):
            async with connection.transaction():
                for table in TABLES:
                    await _stage(connection, archive, table, contents)
                await _try_memories(connection, memories or {})
                await _replace(connection, bot, replace=replace)
    except (*REFUSED, *BROKEN) as error:
        raise damaged(file, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from None
    finally:
        await connection.close()
    return contents


def _check_bot(file: Path, contents: Contents, bot: str) -> None:
    if contents.bot != bot:
        raise Misconfigured(
            f"{file} is of bot {contents.bot!r}, and bot.name is {bot!r}, which is part of every order's id; "
            f"set bot.name to {contents.bot!r}."
        )


async def _stage(connection: Any, archive: zipfile.ZipFile, table: str, contents: Contents) -> None:
    """Put a table's rows into one of their own, which goes with the transaction; raises ValueError for wrong ones."""
    columns = await columns_of(connection, table)
    await connection.execute(
        f"CREATE TEMP TABLE new_{table} ON COMMIT DROP AS SELECT {', '.join(columns)} FROM {table} WITH NO DATA"  # noqa: S608
    )
    with archive.open(f"{table}.csv") as source:
        if source.readline(HEADER).decode().strip().split(",") != columns:
            raise ValueError(f"{table} has other columns")
        await connection.copy_to_table(f"new_{table}", source=source, columns=columns, format="csv")
    count, foreign, wrong = await connection.fetchrow(
        f"SELECT count(*), count(*) FILTER (WHERE bot IS DISTINCT FROM $1), "  # noqa: S608
        f"count(*) FILTER (WHERE ({VALID[table]} AND {WHEN}) IS NOT TRUE) FROM new_{table}",
        contents.bot,
    )
    if count != contents.rows[table]:
        raise ValueError(f"{table} has {count} of {contents.rows[table]} rows")
    if foreign:
        raise ValueError(f"{table} has {foreign} rows of another bot")
    if wrong:
        raise ValueError(f"{table} has {wrong} rows that the bot cannot load")


async def _try_memories(connection: Any, memories: Mapping[str, Machine]) -> None:
    """Load what the bot will load; raises Misconfigured. What it will not, memory of other pairs, harms nobody."""
    for name, machine in memories.items():
        row = await connection.fetchrow("SELECT layout, data FROM new_memory WHERE name = $1", name)
        if row is not None:
            machine.restore(Saved(row["layout"], row["data"]))


async def _replace(connection: Any, bot: str, *, replace: bool) -> None:
    for table in TABLES:
        gone = await connection.execute(f"DELETE FROM {table} WHERE bot = $1", bot)  # noqa: S608
        if gone != "DELETE 0" and not replace:
            raise Misconfigured(
                f"the database holds rows of bot {bot!r} already ({table}); add --replace to give them up."
            )
        columns = ", ".join(await columns_of(connection, table))
        await connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM new_{table}")  # noqa: S608
