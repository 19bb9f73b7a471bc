"""The inputs of a pair's strategies, as its base bars come: one row for each base bar that completes a signal bar.

Simulation feeds it a pair's whole history, the live bot what closes, and after a restart what closed before; the rows
are the same bits.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.candles import bar_name
from bot.errors import Misconfigured
from bot.inputs import ByColumn, Input, Series, anchor, history_start, values
from bot.strategy import Strategy, inputs_of, names_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bot.parameters import Parameters
    from bot.ports import ReceivedSignal

# A strategy with its parameters by variant.
Asked = tuple["Strategy", "Sequence[Parameters]"]


@cache
def row_dtype(strategies: tuple[Strategy, ...], variants: int) -> np.dtype[Any] | None:
    """Lay out a row: by the name of each strategy that has inputs, and by variant, one number each; None without."""
    fields = [(one.name, inputs_dtype(one), (variants,)) for one in strategies if names_of(one)]
    return np.dtype(fields) if fields else None


def inputs_dtype(strategy: Strategy) -> np.dtype[Any]:
    """Lay out what a strategy reads as `event.inputs`."""
    return np.dtype([(name, "f8") for name in names_of(strategy)])


def unknown(dtype: np.dtype[Any], count: int) -> Any:
    """Rows (count,) in which nothing has a value."""
    rows = np.empty(count, dtype)
    rows.view(np.float64)[...] = np.nan
    return rows.view(np.recarray)


def inputs_start(asked: Sequence[Asked], now: int) -> int:
    """Time from which base bars must be known for every input to have a value at `now` and later, ms."""
    found = [now]
    for (_, variants), by_variant in zip(asked, inputs_by_variant(asked), strict=True):
        for parameters, inputs in zip(variants, by_variant, strict=True):
            lengths = {one: one.length(parameters.timeframe_ms) for one in inputs.values()}
            found += [history_start(one, length, now) for one, length in lengths.items()]
    return min(found)


def inputs_by_variant(asked: Sequence[Asked]) -> list[list[dict[str, Input]]]:
    """Inputs of each strategy, by variant and name, checked; raises Misconfigured."""
    return [[inputs_of(strategy, one) for one in variants] for strategy, variants in asked]


class Columns:
    """Inputs of one pair."""

    def __init__(self, asked: Sequence[Asked], bar_ms: int) -> None:
        """Raise Misconfigured where a timeframe is not made of whole base bars."""
        self.asked = [(strategy, variants) for strategy, variants in asked if names_of(strategy)]
        self.inputs = inputs_by_variant(self.asked)
        dtype = row_dtype(tuple(strategy for strategy, _ in self.asked), len(self.inputs[0]))
        assert dtype is not None
        self.dtype = dtype
        self.begin: int | None = None  # ms: the first base bar known
        self.bars: dict[int, ByColumn] = {}  # by column, since the last base bars
        self.listens = any(one.listens for one, _ in self._each())
        self._heard: tuple[ReceivedSignal, int] | None = None  # a signal, and the opening of its base bar, ms
        self.series = {length: Series(bar_ms, length) for length in sorted({*self._own(), *self._lengths()})}
        for length in self.series:
            if length % bar_ms:
                raise Misconfigured(
                    f"an input's timeframe is {bar_name(length)} but the candles are {bar_name(bar_ms)}; choose one "
                    "that these candles divide."
                )

    def _own(self) -> list[int]:
        return [variants[0].timeframe_ms for _, variants in self.asked]

    def _each(self) -> list[tuple[Input, int]]:
        """Every input with the length of its bars."""
        return [
            (one, one.length(own))
            for own, variants in zip(self._own(), self.inputs, strict=True)
            for named in variants
            for one in named.values()
        ]

    def _lengths(self) -> list[int]:
        return [length for _, length in self._each()]

    def hear(self, signal: ReceivedSignal, bar: int) -> None:
        """Know that a signal came during the base bar that opens at `bar` (ms), which is not taken yet."""
        self._heard = signal, bar

    def take(self, bases: Any) -> tuple[NDArray[np.int64], Any]:
        """Take closed base bars in order, BAR (n,), prices in quote currency.

        Returns which of them complete a bar of a strategy that has inputs, (m,), and its row of `dtype`, (m,).
        """
        if self.begin is None and len(bases):
            self.begin = int(bases["ts"][0])
        ends = {length: one.take(bases) for length, one in self.series.items()}
        self.bars = {length: ByColumn(one.bars) for length, one in self.series.items()}
        completed = np.unique(np.concatenate([ends[own] for own in self._own()]))
        rows = unknown(self.dtype, len(completed))
        for (strategy, _), own, inputs in zip(self.asked, self._own(), self.inputs, strict=True):
            if len(ends[own]):
                bars = self.series[own].bars
                closes = bars["ts"][len(bars) - len(ends[own]) :] + own
                table = rows[strategy.name]
                table[np.searchsorted(completed, ends[own])] = self._table(table.dtype, own, inputs, closes)
        self._forget()
        return completed, rows

    def _table(self, dtype: Any, own: int, inputs: list[dict[str, Input]], closes: NDArray[np.int64]) -> Any:
        """Values of a strategy's inputs at its bars that close then, (k, variants)."""
        table = unknown(dtype, len(closes) * len(inputs)).reshape(len(closes), len(inputs))
        known: dict[tuple[str, Input], NDArray[np.float64]] = {}
        for variant, named in enumerate(inputs):
            for name, one in named.items():
                if (name, one) not in known:
                    known[name, one] = self._column(one, one.length(own), closes)
                table[name][:, variant] = known[name, one]
        return table

    def _column(self, one: Input, length: int, closes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Values of an input at these times, (k,): of the bar that closed last, if it is complete."""
        if self._heard is not None and one.listens:
            one = one.hear(*self._heard)
        found = np.full(len(closes), np.nan)
        newest = self.series[length].newest(closes)
        there = newest >= 0
        assert self.begin is not None
        found[there] = values(one, length, self.bars[length], newest[there], self.begin)
        return found

    def _forget(self) -> None:
        """Let go of bars that no value to come is computed over."""
        for length, series in self.series.items():
            if len(series.bars):
                newest = int(series.bars["ts"][-1])
                anchors = [anchor(one, length, newest) for one, of in self._each() if of == length]
                series.forget(min(anchors, default=newest))
