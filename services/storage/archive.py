"""The file of a backup: a zip with a manifest and a CSV of each table. Nothing in it is believed before it is checked.

Sizes are judged from the zip's directory, and the directory's own size from its last record, before anything is
read; then the manifest, which is small and of one form; then every member against its checksum, piece by piece.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from bot.errors import Misconfigured
from services.storage.schema import VERSION

FORMAT = 1
MANIFEST = "backup.json"
# Each table by the order in which its rows are written; numbers that the database gives are given anew.
TABLES = {
    "memory": "name",
    "orders": "at, client_order_id",
    "fills": "at, execution",
    "decisions": "id",
    "commands": "at, key",
    "snapshots": "id",
    "signals": "symbol, number",
}

GIB = 1 << 30
LARGEST = {
    MANIFEST: 64 << 10,
    "memory.csv": GIB,
    "orders.csv": 8 * GIB,
    "fills.csv": 8 * GIB,
    "signals.csv": GIB,
    "decisions.csv": 16 * GIB,
    "commands.csv": GIB,
}
LARGEST |= {"snapshots.csv": 4 * GIB}
LARGEST_IN_ALL = 24 * GIB
RATIO = 200  # of a member's size to its compressed size; what a bot writes stays under 50
RATIO_FROM = 1 << 20  # bytes: a small member may be as empty as it likes
DIRECTORY = 8 << 10  # bytes of a zip's directory: eight members need one
PIECE = 1 << 20

END, END_64, LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
END_SIZE, END_64_SIZE, LOCATOR_SIZE, COMMENT = 22, 56, 20, 0xFFFF

Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Rows = Annotated[int, Field(ge=0)]


class Contents(BaseModel):
    """What a backup says of itself."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: int
    bot: Annotated[str, Field(min_length=1, max_length=64)]
    version: Annotated[str, Field(pattern=r"^\d{4}$")]  # of the tables
    at: Annotated[AwareDatetime, Field(strict=False)]
    rows: dict[str, Rows]  # by table
    checksums: dict[str, Checksum]  # SHA-256 by member, of what is in it


class Hashed:
    """A file to write to that also sums up what is written."""

    def __init__(self, out: IO[bytes]) -> None:
        self.out, self.digest = out, hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write it."""
        self.digest.update(data)
        return self.out.write(data)


@contextmanager
def opened(file: Path) -> Iterator[tuple[zipfile.ZipFile, Contents]]:
    """Open a backup whose sizes, names and manifest are right; raises Misconfigured for any other file."""
    with _readable(file):
        _check_end(file)
        archive = zipfile.ZipFile(file)
    with archive:
        with _readable(file):
            _check_names(file, archive.namelist())
            _check_sizes(file, archive.infolist())
            contents = Contents.model_validate_json(archive.read(MANIFEST))
            _check_contents(file, contents)
        yield archive, contents


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Turn what is raised for a file that is no zip, is cut, or is of an unknown kind, into a sentence."""
    try:
        yield
    except (*BROKEN, *(OSError, NotImplementedError, struct.error, UnicodeError, ValidationError)) as error:
        raise Misconfigured(
            f"{file} is no backup that can be read ({type(error).__name__}); give one that `traderagent backup` wrote."
        ) from None


BROKEN = (zipfile.BadZipFile, zlib.error, EOFError)


def look_into(file: Path) -> Contents:
    """Read what a backup says of itself, and hold every member against it; raises Misconfigured."""
    with opened(file) as (archive, contents), _readable(file):
        for member, checksum in contents.checksums.items():
            digest = hashlib.sha256()
            with archive.open(member) as source:
                while piece := source.read(PIECE):
                    digest.update(piece)
            if digest.hexdigest() != checksum:
                raise damaged(file, f"the checksum of {member} is another")
    return contents


def damaged(file: Path, what: str) -> Misconfigured:
    """What is said of a backup that once was one."""
    return Misconfigured(f"{file} is damaged ({what}); use another backup.")


def _check_end(file: Path) -> None:
    """Look at the last record of the zip, which tells how large its directory is."""
    with file.open("rb") as source:
        size = source.seek(0, 2)
        start = max(0, size - END_SIZE - COMMENT)
        source.seek(start)
        tail = source.read()
        found = tail.rfind(END)
        if found < 0 or found + END_SIZE > len(tail):
            raise zipfile.BadZipFile
        count, directory = struct.unpack_from("<HL", tail, found + 10)
        locator = tail[max(0, found - LOCATOR_SIZE) : found]
        if locator.startswith(LOCATOR_64):  # of an archive beyond 4 GB; the larger record counts
            source.seek(struct.unpack_from("<Q", locator, 8)[0])
            record = source.read(END_64_SIZE)
            if not record.startswith(END_64):
                raise zipfile.BadZipFile
            count, directory = struct.unpack_from("<QQ", record, 32)
    if count > len(LARGEST) or directory > DIRECTORY:
        raise Misconfigured(f"{file} is no backup: it holds {count} members, and a backup {len(LARGEST)}.")


def _check_names(file: Path, names: list[str]) -> None:
    """Each member once, and no other."""
    if unknown := sorted(set(names) - set(LARGEST)):
        raise Misconfigured(f"{file} is no backup: it holds {unknown[0][:80]!r}, which no backup does.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Misconfigured(f"{file} is no backup: it holds {twice[0]} twice.")
    if MANIFEST not in names:
        raise Misconfigured(f"{file} is no backup: {MANIFEST} is missing.")
    if missing := sorted(set(LARGEST) - set(names)):
        raise damaged(file, f"{missing[0]} is missing")


def _check_sizes(file: Path, members: list[zipfile.ZipInfo]) -> None:
    """Judge the sizes as the directory gives them; no more than these is ever read."""
    for one in members:
        if one.flag_bits & 1 or one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Misconfigured(f"{file} is no backup: {one.filename} is encrypted or packed in another way.")
        if one.file_size > LARGEST[one.filename]:
            raise Misconfigured(
                f"{file}: {one.filename} would be {one.file_size:,} bytes, more than the {LARGEST[one.filename]:,} "
                "that a backup may have; nothing of it was read."
            )
        if one.file_size > RATIO_FROM and one.file_size > RATIO * one.compress_size:
            raise Misconfigured(
                f"{file}: {one.filename} is packed more than {RATIO} to one, as no backup is; nothing of it was read."
            )
    if sum(one.file_size for one in members) > LARGEST_IN_ALL:
        raise Misconfigured(f"{file} would be more than {LARGEST_IN_ALL:,} bytes; nothing of it was read.")
    if sum(one.compress_size for one in members) > file.stat().st_size:
        raise damaged(file, "its members overlap")


def _check_contents(file: Path, contents: Contents) -> None:
    """Judge what the manifest says."""
    if contents.format > FORMAT or contents.version > VERSION:
        raise Misconfigured(f"{file} was written by a newer version; update this one first.")
    if contents.format < FORMAT or contents.version < VERSION:
        raise Misconfigured(
            f"{file} was written by an older version (tables {contents.version}, here {VERSION}); restore it with that "
            "version, start the bot with this one, and back it up again."
        )
    if set(contents.rows) != set(TABLES) or set(contents.checksums) != {f"{table}.csv" for table in TABLES}:
        raise damaged(file, "its manifest names other tables")
