"""What conditions say on the bars of one tape, each condition computed once for all variants that have it.

The values are those of `coordinator.columns`, to the last bit: a condition is anchored as far before its block as the
longest of the conditions beside it asks for, so it is known by that distance too.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.conditions import SAID, WhenInput
from bot.inputs import ByColumn, values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from backtesting.simulator import PreparedCandles
    from bot.conditions import Condition
    from bot.inputs import Input

MEMORY = 64_000_000  # bytes of what is remembered
UNKNOWN = -1  # no history


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
    """The conditions of one tape on bars of one timeframe."""

    def __init__(self, prepared: PreparedCandles, timeframe_ms: int) -> None:
        self.timeframe_ms = timeframe_ms
        self._bars = ByColumn(prepared.rollup(timeframe_ms).bars)
        self._begin = int(prepared.candles.ts[0])
        self._at = np.arange(len(self._bars))
        self._known: dict[tuple[Condition, int, int], NDArray[np.int8]] = {}
        self._lock = threading.Lock()
        self._most = max(MEMORY // max(len(self._bars), 1), 16)

    def columns(self, inputs: Mapping[str, Input]) -> dict[str, NDArray[np.float64]]:
        """Values of inputs for which `shares` holds, (m,) each."""
        return {name: self._said(one) for name, one in inputs.items() if isinstance(one, WhenInput)}

    def _said(self, whole: WhenInput) -> NDArray[np.float64]:
        before, needs = whole.reach(), whole.span()
        sides = [self._sides(one, before, needs) for one in whole.conditions]
        if len(sides) == 1:
            both: Any = sides[0]
        else:
            long = np.sum([one & 1 for one in sides], axis=0, dtype=np.int8) >= whole.least
            short = np.sum([one >> 1 & 1 for one in sides], axis=0, dtype=np.int8) >= whole.least
            both = long + 2 * short.view(np.int8)
        said = SAID[both]
        said[sides[0] == UNKNOWN] = np.nan  # all of them have the same history
        return said

    def _sides(self, condition: Condition, before: int, needs: int) -> NDArray[np.int8]:
        """LONG + 2 SHORT at each bar, (m,)."""
        key = (condition, before, needs)
        codes = self._known.get(key)
        if codes is None:
            one = _Anchored(conditions=(condition,), least=1, before=before, needs=needs)
            found = values(one, self.timeframe_ms, self._bars, self._at, self._begin)
            codes = np.full(len(found), UNKNOWN, np.int8)
            for code, said in enumerate(SAID.tolist()):
                codes[found == said] = code
            with self._lock:
                while len(self._known) >= self._most:
                    self._known.pop(next(iter(self._known)))
                self._known[key] = codes
        return codes


def shares(inputs: Mapping[str, Input]) -> bool:
    """Whether these are all conditions on the strategy's own bars."""
    return bool(inputs) and all(
        isinstance(one, WhenInput) and one.timeframe is None and one.warmup is None for one in inputs.values()
    )
