"""Columns of numbers as compact text for a page: whole steps, differences, deflate, base64. `columns.js` reads them.

A value is `number x step`; what is no number (NaN) is the least 32-bit integer. The bytes of all rows' lowest place
come first, then those of the next: most are zero and cost nothing.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NONE, LARGEST = -(2**31), 2**31 - 1


@dataclass(frozen=True)
class PackedColumn:
    """One column: its values (n,), the step in which they count, and whether differences of neighbours are small."""

    values: NDArray[Any]
    step: Fraction = Fraction(1)
    follows: bool = True


def packed(**columns: PackedColumn) -> dict[str, Any]:
    """Pack columns of one length: rows, [name, numerator and denominator of the step, follows], and their bytes."""
    rows = len(next(iter(columns.values())).values)
    heads, planes = [], []
    for name, column in columns.items():
        step = _wide_enough(column)
        numbers = np.asarray(column.values, np.float64) / float(step)
        whole = np.where(np.isnan(numbers), NONE, np.rint(numbers)).astype(np.int64)
        planes.append(_planes(np.diff(whole, prepend=0) if column.follows else whole))
        heads.append([name, step.numerator, step.denominator, int(column.follows)])
    data = zlib.compress(b"".join(planes), 9)
    return {"rows": rows, "columns": heads, "data": b64encode(data).decode()}


def money_step(values: NDArray[Any]) -> Fraction:
    """Step in which an amount of money is shown: a hundredth, finer where all are small."""
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    places = 2 if largest >= 100.0 or largest == 0.0 else min(2 + int(np.ceil(2 - np.log10(largest))), 12)
    return Fraction(1, 10**places)


def _wide_enough(column: PackedColumn) -> Fraction:
    """Ten times the step as often as the largest value does not fit into 32 bits."""
    largest, step = float(np.nanmax(np.abs(np.asarray(column.values, np.float64)), initial=0.0)), column.step
    while largest / float(step) > LARGEST:
        step *= 10
    return step


def _planes(whole: NDArray[np.int64]) -> bytes:
    """Lay signed numbers out byte by byte, small ones of either sign in the lowest byte."""
    wrapped = (whole + 2**31) % 2**32 - 2**31
    zigzag = ((wrapped << 1) ^ (wrapped >> 63)).astype(np.uint64).astype("<u4")
    return zigzag.view(np.uint8).reshape(-1, 4).T.tobytes()
