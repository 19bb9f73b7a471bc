"""A memory as bytes that name their fields, and back into whatever runs: by name, whatever the order, count or length.

A memory is pieces: arrays of one record or number for each row. Each field of a piece is stored as one column. Rows are
found by their key where a piece has keys, else by position. Loading fills a machine that was just made:
- a field or row that is not stored keeps what the new machine has, or what DEFAULTS say;
- columns may be shorter or longer than what runs, and whole numbers may become wider or floating;
- nothing but zeros is ever lost: any other difference needs an entry in MIGRATIONS, and is refused without one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.errors import Misconfigured
from bot.ports import Saved
from coordinator.migrations import DEFAULTS, MIGRATIONS, UNSTORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coordinator.migrations import Migration

LAYOUT = "fields"  # in place of the hash that states of 0.1.0 have
LENGTH = 4  # bytes of the header's length
LARGEST = 1 << 28  # bytes of a memory, uncompressed

Whole = Annotated[int, Field(ge=0)]
Kind = Annotated[str, Field(pattern=r"^([|]b1|[|][iu]1|<[iu][248]|<f[48])$")]  # as NumPy writes them


class Piece(NamedTuple):
    """One array of a memory: records or numbers (n, …), and the name of each row where position is no name."""

    name: str
    array: Any
    keys: tuple[str, ...] = ()


@dataclass
class Stored:
    """A memory as it was stored: columns (n, …) by path, and the keys of the rows by piece."""

    columns: dict[str, Any]
    keys: dict[str, tuple[str, ...]]


class _Header(BaseModel):
    """What stands before the bytes: path, type and shape of each column in their order, and the keys."""

    model_config = ConfigDict(extra="forbid")

    columns: list[
        tuple[str, Annotated[str, Field(pattern=r"^([|]b1|[|<][iu]1|<[iu][248]|<f[48])$")], tuple[Whole, ...]]
    ]
    keys: dict[str, tuple[str, ...]]
    migrations: Whole

    @property
    def size(self) -> int:
        """Bytes of all columns."""
        return sum(np.dtype(kind).itemsize * prod(shape) for _, kind, shape in self.columns)


class Packer:
    """Stores the same arrays again and again."""

    def __init__(self, pieces: Sequence[Piece], migrations: int = len(MIGRATIONS)) -> None:
        """`migrations`: how many the fields of the pieces have been through."""
        self._columns = [each for piece in pieces for each in columns_of(piece.name, piece.array)]
        self._migrations = migrations
        self._headers: dict[tuple[tuple[str, ...], ...], bytes] = {}  # by the keys of the pieces

    def pack(self, pieces: Sequence[Piece]) -> Saved:
        """Store the pieces, compressed: most of a memory is empty. Their keys may be others than before."""
        keys = tuple(piece.keys for piece in pieces)
        header = self._headers.get(keys)
        if header is None:
            header = self._headers[keys] = self._header({piece.name: piece.keys for piece in pieces if piece.keys})
        body = zlib.compress(b"".join(column.tobytes() for _, column in self._columns), 1)
        return Saved(LAYOUT, len(header).to_bytes(LENGTH) + header + body)

    def _header(self, keys: dict[str, tuple[str, ...]]) -> bytes:
        columns = [(path, column.dtype.str, column.shape) for path, column in self._columns]
        header = _Header(columns=columns, keys=keys, migrations=self._migrations)
        return zlib.compress(header.model_dump_json().encode())


def columns_of(path: str, array: Any) -> Iterator[tuple[str, Any]]:
    """List path and view (rows, …) of every number of an array of records that is stored."""
    if path in UNSTORED:
        return
    plain = array.view(np.ndarray) if type(array) is not np.ndarray else array
    if plain.dtype.names is None:
        yield path, plain
        return
    for name in plain.dtype.names:
        yield from columns_of(f"{path}.{name}", plain[name])


def read(name: str, saved: Saved, migrations: tuple[Migration, ...] = MIGRATIONS) -> Stored:
    """Read what was stored under `name`, by the names of today.

    Raises Misconfigured for damaged bytes, and for what a newer version or an unknown one has written.
    """
    if saved.layout != LAYOUT:
        raise unreadable(name)
    header, columns = _opened(name, saved.data)
    if header.migrations > len(migrations):
        raise Misconfigured(f"the stored state of {name} was written by a newer version; start with that one.")
    return migrated(Stored(columns, header.keys), migrations[header.migrations :])


def _opened(name: str, data: bytes) -> tuple[_Header, dict[str, Any]]:
    body = LENGTH + int.from_bytes(data[:LENGTH])
    try:
        header = _Header.model_validate_json(decompressed(data[LENGTH:body], LARGEST))
        if header.size > LARGEST:
            raise ValueError("larger than any memory")  # noqa: TRY301, as the others
        found = decompressed(data[body:], header.size)
        if len(found) != header.size:
            raise ValueError("shorter than its header says")  # noqa: TRY301
    except (zlib.error, ValueError, ValidationError):
        raise damaged(name) from None
    columns, at = {}, 0
    for path, kind, shape in header.columns:
        column = np.frombuffer(found, kind, prod(shape), at).reshape(shape)
        columns[path] = column
        at += column.nbytes
    return header, columns


def damaged(name: str) -> Misconfigured:
    """Build the error for bytes that nobody has written so."""
    return Misconfigured(f"the stored state of {name} is damaged; restore a backup with `traderagent restore`.")


def unreadable(name: str) -> Misconfigured:
    """Build the error for what another version has written in a way that is not known here."""
    return Misconfigured(
        f"the stored state of {name} was written by a version that this one cannot read; start with the version "
        "that wrote it, or with another bot name once its positions are closed."
    )


def decompressed(data: bytes, most: int) -> bytes:
    """Decompress at most `most` bytes; raises ValueError or zlib.error for anything else."""
    stream = zlib.decompressobj()
    found = stream.decompress(data, most + 1)
    if len(found) > most or not stream.eof or stream.unused_data:
        raise ValueError("not what was compressed")
    return found


def migrated(stored: Stored, migrations: tuple[Migration, ...]) -> Stored:
    """Rename, convert and forget columns as the migrations say, one after the other."""
    columns = stored.columns
    for one in migrations:
        concerned = {path: column for path, column in columns.items() if f"{path}.".startswith(f"{one.old}.")}
        columns = {path: column for path, column in columns.items() if path not in concerned}
        if one.new is not None:
            for path, column in concerned.items():
                columns[one.new + path.removeprefix(one.old)] = column if one.convert is None else one.convert(column)
    return Stored(columns, stored.keys)


def fill(name: str, pieces: Sequence[Piece], stored: Stored) -> None:
    """Copy what was stored under `name` into the pieces of a machine that was just made, by name.

    Raises Misconfigured for what does not fit and is not zero.
    """
    left = dict(stored.columns)
    for piece in pieces:
        for path, own in columns_of(piece.name, piece.array):
            found = left.pop(path, None)
            if found is not None:
                to, of = _rows(piece, stored.keys.get(piece.name, ()))
                own[to] = _copied(name, path, found[of], own[to])
            elif path in DEFAULTS:
                own[...] = DEFAULTS[path]
    for path, found in left.items():
        if np.any(found) and not _is_unstored(path):
            raise _refusal(name, path, found[found != 0][0], "which this version does not know")


def _is_unstored(path: str) -> bool:
    return any(f"{path}.".startswith(f"{one}.") for one in UNSTORED)


def _rows(piece: Piece, keys: tuple[str, ...]) -> tuple[Any, Any]:
    """Which rows go where: of the piece, and of what is stored; without keys all of them."""
    if not piece.keys or not keys:
        return slice(None), slice(None)
    places = {key: index for index, key in enumerate(keys)}
    shared = [index for index, key in enumerate(piece.keys) if key in places]
    return shared, [places[piece.keys[index]] for index in shared]


def _copied(name: str, path: str, found: Any, own: Any) -> Any:
    """Give `own` with what of `found` it has room for; nothing but zeros may be lost."""
    if found.ndim != own.ndim or not np.can_cast(found.dtype, own.dtype, "same_kind"):
        raise _refusal(name, path, f"{found.dtype} {found.shape[1:]}", f"which is {own.dtype} {own.shape[1:]} now")
    shared = tuple(slice(0, min(lengths)) for lengths in zip(found.shape, own.shape, strict=True))
    kept, result = found[shared], own.copy()
    result[shared] = kept
    if found.dtype != own.dtype and not np.array_equal(result[shared], kept, equal_nan=True):
        raise _refusal(name, path, f"{found.dtype}", f"whose numbers do not fit into {own.dtype}")
    if np.count_nonzero(found) != np.count_nonzero(kept):
        raise _refusal(name, path, f"length {found.shape}", f"of which this version keeps {own.shape}")
    return result


def _refusal(name: str, path: str, value: object, why: str) -> Misconfigured:
    return Misconfigured(
        f"the stored state of {name} has {path} = {str(value)[:200]}, {why}; start with the version that wrote it, or "
        "with another bot name once its positions are closed."
    )
