"""What conditions say on the bars of one tape, each condition computed once for all variants that have it.

The values are those of `coordinator.columns`, to the last bit: a condition is anchored as far before its block as the
longest of the conditions beside it asks for, so it is known by that distance too.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bot.conditions import SAID, WhenInput
from bot.inputs import ByColumn, blocks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from backtesting.simulator import PreparedCandles
    from bot.conditions import Condition
    from bot.inputs import Input

MEMORY = 128_000_000  # bytes of what is remembered
WORD = 64  # bars whose bits lie in one number
LONG, SHORT, KNOWN = range(3)  # rows of what a condition says


@dataclass(frozen=True)
class _Anchored(WhenInput):
    """One condition, anchored as another input is."""

    before: int = 0  # bars
    needs: int = 0  # ms

    def reach(self) -> int:
        """Bars before a block that a value in it is computed over."""
        return self.before

    def span(self) -> int:
        """Time before a block that its values need, ms."""
        return self.needs


class Signals:
    """The conditions of one tape on bars of one timeframe, a bit for each bar."""

    def __init__(self, prepared: PreparedCandles, timeframe_ms: int) -> None:
        self.timeframe_ms = timeframe_ms
        self._bars = ByColumn(prepared.rollup(timeframe_ms).bars)
        self._begin = int(prepared.candles.ts[0])
        self.count = len(self._bars)
        self.words = -(-self.count // WORD)
        self._at = np.arange(self.count)
        self._known: dict[tuple[Condition, int, int], NDArray[np.int64]] = {}
        self._lock = threading.Lock()
        self._most = max(MEMORY // max(24 * self.words, 1), 16)

    def columns(self, inputs: Mapping[str, Input]) -> dict[str, NDArray[np.float64]]:
        """Values of inputs for which `shares` holds, (m,) each."""
        return {name: self._said(one) for name, one in inputs.items() if isinstance(one, WhenInput)}

    def _said(self, whole: WhenInput) -> NDArray[np.float64]:
        sides = [
            np.unpackbits(one.view(np.uint8), axis=1, count=self.count, bitorder="little") for one in self.sides(whole)
        ]
        long, short = (np.sum([one[side] for one in sides], axis=0) >= whole.least for side in (LONG, SHORT))
        said = SAID[long + 2 * short.view(np.int8)]
        said[sides[0][KNOWN] == 0] = np.nan  # all of them have the same history
        return said

    def sides(self, whole: WhenInput) -> list[NDArray[np.int64]]:
        """Bits of each condition: where it says LONG, where SHORT, and where there is history, (3, words)."""
        before, needs = whole.reach(), whole.span()
        return [self._sides(one, before, needs) for one in whole.conditions]

    def _sides(self, condition: Condition, before: int, needs: int) -> NDArray[np.int64]:
        key = (condition, before, needs)
        bits = self._known.get(key)
        if bits is None:
            one = _Anchored(conditions=(condition,), least=1, before=before, needs=needs)
            rows = np.zeros((3, self.words * WORD), np.bool_)
            for place, part, chosen in blocks(one, self.timeframe_ms, self._bars, self._at, self._begin):
                long, short = condition.sides(part)
                rows[LONG, place], rows[SHORT, place], rows[KNOWN, place] = long[chosen], short[chosen], True
            bits = np.packbits(rows, axis=1, bitorder="little").view("<i8").astype(np.int64, copy=False)
            with self._lock:
                while len(self._known) >= self._most:
                    self._known.pop(next(iter(self._known)))
                self._known[key] = bits
        return bits


def shares(inputs: Mapping[str, Input]) -> bool:
    """Whether these are all conditions on the strategy's own bars."""
    return bool(inputs) and all(
        isinstance(one, WhenInput) and one.timeframe is None and one.warmup is None for one in inputs.values()
    )
