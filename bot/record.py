"""Structured records, and these to plain dicts and back, losslessly: the dict is what a snapshot stores as JSON."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from bot.errors import Misconfigured


def new_record(dtype: np.dtype[Any]) -> Any:
    """One zeroed record of `dtype`, fields readable and writable as attributes, inside and outside kernels."""
    return new_records(dtype, 1)[0]


def new_records(dtype: np.dtype[Any], count: int) -> Any:
    """Zeroed array of `count` records whose fields are attributes.

    Raises Misconfigured for a field whose name is one of NumPy's own attributes, which would hide it.
    """
    _refuse_hidden(dtype.names or ())
    return np.zeros(count, dtype).view(np.recarray)


def read_only(array: Any) -> Any:
    """View of an array that cannot be written through; for kernels it is a type of its own."""
    view = array.view()
    view.flags.writeable = False
    return view


@cache
def _refuse_hidden(names: tuple[str, ...]) -> None:
    for name in names:
        if hasattr(np.void, name):
            raise Misconfigured(f"field {name!r} of a record has a name that NumPy uses itself; rename it.")


def to_dict(record: Any) -> dict[str, Any]:
    """Plain dict of a record, nested records as dicts, arrays as lists; floats keep every bit."""
    return _named(record.dtype, record.item())


def _named(dtype: np.dtype[Any], values: Any) -> dict[str, Any]:
    """Names for the plain values of a record, which NumPy gives at once as tuples."""
    return {name: _plain(dtype[name], value) for name, value in zip(dtype.names or (), values, strict=True)}


def _plain(dtype: np.dtype[Any], value: Any) -> Any:
    if dtype.subdtype is not None:
        inner, shape = dtype.subdtype
        rows = value.tolist() if isinstance(value, np.ndarray) else value
        return _rows(inner, rows, len(shape)) if inner.names else rows
    return _named(dtype, value) if dtype.names else value


def _rows(dtype: np.dtype[Any], rows: Any, depth: int) -> Any:
    return [_rows(dtype, row, depth - 1) for row in rows] if depth else _named(dtype, rows)


def from_dict(dtype: np.dtype[Any], values: dict[str, Any]) -> Any:
    """Rebuild a record of `dtype` from its dict; raises Misconfigured when the fields are not exactly those."""
    names = dtype.names or ()
    if set(values) != set(names):
        odd = sorted(set(values) ^ set(names))
        raise Misconfigured(
            f"The stored state does not fit this version: field {odd[0]!r} is on one side only; "
            "restore the version that wrote it or start from an empty state."
        )
    return np.array([_packed(dtype, values)], dtype).view(np.recarray)[0]


def _packed(dtype: np.dtype[Any], value: Any) -> Any:
    if dtype.subdtype is not None:
        item, _ = dtype.subdtype
        return [_packed(item, entry) for entry in value]
    if dtype.names:
        assert dtype.fields is not None
        return tuple(_packed(dtype.fields[name][0], value[name]) for name in dtype.names)
    return value
