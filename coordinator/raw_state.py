"""Reads what version 0.1.0 stored: the bytes of its records one after the other, under a hash of their layout.

`layouts_0_1_0.json` holds the type of each array: the text that NumPy wrote for it, which the hash was made of, and
where its fields lie. Only lengths are not known (slots and timeframes of a pair, pairs of a portfolio); the hash tells.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from coordinator.migrations import MIGRATIONS
from coordinator.saved_state import Stored, columns_of, damaged, decompressed, migrated, unreadable

if TYPE_CHECKING:
    from bot.ports import Saved

MOST_SLOTS, MOST_LENGTHS, MOST_PAIRS = 250, 12, 512


def read_raw(name: str, saved: Saved, kind: str) -> Stored:
    """Read what was stored under `name`, of kind `pair` or `portfolio`, by the names of today, without keys.

    Raises Misconfigured for bytes that are damaged, or that another version has written.
    """
    described = _described()[kind]
    texts = [one["text"] for one in described.values()]
    shapes = next((shapes for shapes in _shapes(kind) if _layout(texts, shapes) == saved.layout), None)
    if shapes is None:
        raise unreadable(name)
    types = {piece: _dtype(one["type"]) for piece, one in described.items()}
    size = sum(types[piece].itemsize * shape[0] for piece, shape in zip(types, shapes, strict=True))
    try:
        data = decompressed(saved.data, size)
    except (zlib.error, ValueError):
        raise damaged(name) from None
    if len(data) != size:
        raise damaged(name)
    columns: dict[str, Any] = {}
    at = 0
    for (piece, dtype), shape in zip(types.items(), shapes, strict=True):
        array = np.frombuffer(data, dtype, shape[0], at)
        columns.update(columns_of(piece, array))
        at += array.nbytes
    return migrated(Stored(columns, {}), MIGRATIONS)


@cache
def _described() -> dict[str, dict[str, Any]]:
    """Text and type of each array, by kind."""
    found: dict[str, dict[str, Any]] = json.loads((files("coordinator") / "layouts_0_1_0.json").read_text("utf-8"))
    return found


def _shapes(kind: str) -> Iterator[list[tuple[int, ...]]]:
    """List the shapes that the pieces may have had, in their order."""
    if kind == "portfolio":
        for count in range(1, MOST_PAIRS + 1):
            yield [(1,), *[(count,)] * 7, (1,)]
        return
    for slots in range(1, MOST_SLOTS):
        for lengths in range(1, MOST_LENGTHS + 1):
            yield [(1,), (1,), (slots,), (lengths,), (1,), (1,), (1,)]


def _layout(texts: list[str], shapes: list[tuple[int, ...]]) -> str:
    """Name that 0.1.0 gave to arrays of these types and shapes."""
    text = repr(list(zip(texts, shapes, strict=True)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _dtype(described: Any) -> np.dtype[Any]:
    """Build a type: a name, an array as type and shape, or fields with their offsets."""
    if isinstance(described, str):
        return np.dtype(described)
    if isinstance(described, list):
        inner, shape = described
        return np.dtype((_dtype(inner), tuple(shape)))
    fields: Any = {**described, "formats": [_dtype(one) for one in described["formats"]]}
    return np.dtype(fields)
