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
from bot.inputs import blocks
from search.averages import Averages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from backtesting.simulator import PreparedCandles
    from bot.conditions import Condition
    from bot.inputs import Input
    from search.averages import Block

MEMORY = 128_000_000  # bytes of what is remembered
WORD = 64  # bars whose bits lie in one number
LONG, SHORT, KNOWN = range(3)  # rows of what a condition says


@dataclass(frozen=True)
class _Anchored(WhenInput):
    """An input that is anchored as another is."""

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
        self._bars = prepared.by_column(timeframe_ms)
        self._averages = Averages(len(self._bars))
        self._begin = int(prepared.candles.ts[0])
        self.count = len(self._bars)
        self.words = -(-self.count // WORD)
        self._at = np.arange(self.count)
        self._known: dict[tuple[Condition, int, int], NDArray[np.int64]] = {}
        self._blocks: dict[tuple[int, int], list[Block]] = {}
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
            own = self._own_blocks(before, needs)
            known = self._at >= (own[0][0].start if own else self.count)
            shared = self._averages.sides(condition, own, (before, needs))
            sides = self._by_block(condition, own) if shared is None else condition.directed(*shared)
            octets = np.zeros((3, self.words * WORD // 8), np.uint8)
            for row, mask in enumerate((*sides, known)):
                packed = np.packbits(mask, bitorder="little")
                octets[row, : len(packed)] = packed
            bits = octets.view("<i8").astype(np.int64, copy=False)
            with self._lock:
                while len(self._known) >= self._most:
                    self._known.pop(next(iter(self._known)))
                self._known[key] = bits
        return bits

    def _by_block(self, condition: Condition, own: list[Block]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where a condition says LONG, and where SHORT, block by block, (n,) each."""
        long, short = np.zeros(self.count, np.bool_), np.zeros(self.count, np.bool_)
        for place, part in own:
            long[place], short[place] = (side[place.start - place.stop :] for side in condition.sides(part))
        return long, short

    def _own_blocks(self, before: int, needs: int) -> list[Block]:
        """Calendar blocks that have their history, each with the bars since its anchor, which many conditions share."""
        if (before, needs) not in self._blocks:
            one = _Anchored(before=before, needs=needs)
            found = blocks(one, self.timeframe_ms, self._bars, self._at, self._begin)
            self._blocks[before, needs] = [(place, part) for place, part, _ in found]
        return self._blocks[before, needs]


def shares(inputs: Mapping[str, Input]) -> bool:
    """Whether these are all conditions on the strategy's own bars."""
    return bool(inputs) and all(
        isinstance(one, WhenInput) and one.timeframe is None and one.warmup is None for one in inputs.values()
    )
