"""Inputs of a strategy: columns over closed bars, each value a pure function of the bars since its anchor.

A driver computes them and tells the newest row with SIGNAL, so that simulation, live and restart agree to the last bit
whatever history each happens to hold. The anchor of bar t is the start of t's calendar block less the input's warm-up.
A bar with a missing base bar is left out of the series; without all of the history since the anchor a value is NaN.
Functions that sum up for ever, such as OBV, restart at the anchor.
"""

from __future__ import annotations

import itertools
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.errors import Misconfigured, suggestion
from bot.record import new_records, read_only
from bot.rollup import BAR, ROLLUP, TIMEFRAMES, roll_up
from bot.times import DAY, HOUR

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from bot.ports import ReceivedSignal

SHORT_BLOCK, LONG_BLOCK = 30 * DAY, 360 * DAY  # of bars up to an hour, and of longer ones
LOOKBACKS = 10  # warm-up of an input that states none
COLUMNS = ("open", "high", "low", "close", "volume")
EXTRA = "install it with `pip install 'traderagent[indicators]'` (here: `uv sync --extra indicators`)"


@dataclass(frozen=True)
class Input(ABC):
    """A column: `timeframe` of its bars, the strategy's own if None; `warmup` in bars, ten look-backs if None."""

    timeframe: str | None = None
    warmup: int | None = None

    def length(self, own: int) -> int:
        """Length of its bars, ms; `own` is the strategy's."""
        return own if self.timeframe is None else TIMEFRAMES[self.timeframe]

    def reach(self) -> int:
        """Bars before a block that a value in it is computed over."""
        return LOOKBACKS * self.lookback() if self.warmup is None else self.warmup

    def span(self) -> int:
        """Time before a block that a value in it needs at least, ms."""
        return 0

    def remembers(self) -> bool:
        """Whether a value depends on bars before its own; one that does not needs no history."""
        return True

    @property
    def listens(self) -> bool:
        """Whether it takes signals that come from outside while the pair trades."""
        return False

    def hear(self, _signal: ReceivedSignal, _at: int) -> Input:
        """Return it with a signal that came at `_at` (ms); asked of those that listen."""
        return self

    @abstractmethod
    def lookback(self) -> int:
        """Bars before one that its value depends on at least."""

    @abstractmethod
    def column(self, bars: ByColumn, at: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """Values at the bars numbered `at`, ascending, of a series (n,); NaN within the look-back."""

    def check(self, place: str) -> None:
        """Raise Misconfigured for what cannot be computed; `place` names the input."""
        if self.timeframe is not None and self.timeframe not in TIMEFRAMES:
            choices = ", ".join(TIMEFRAMES)
            raise Misconfigured(f"{place}: timeframe is {str(self.timeframe)[:200]!r}; choose one of {choices}.")
        if self.warmup is not None and not (type(self.warmup) is int and self.warmup >= 0):
            raise Misconfigured(f"{place}: warmup is {str(self.warmup)[:200]!r}; give a whole number of bars.")


class ByColumn:
    """Bars, each column of them beside itself: what functions over whole columns read, made once for many inputs."""

    def __init__(self, bars: Any) -> None:
        """Take bars BAR (n,), which may not change from here on."""
        self._place, self._columns = slice(0, len(bars)), dict[str, Any]()
        self._column: Callable[[str], Any] = lambda name: bars[name]
        self._records: Callable[[], Any] = lambda: bars

    @staticmethod
    def made(count: int, column: Callable[[str], Any], records: Callable[[], Any]) -> ByColumn:
        """So many bars whose columns, and records, are made when they are asked for."""
        bars = ByColumn(range(count))
        bars._column, bars._records = column, records
        return bars

    @property
    def records(self) -> Any:
        """The bars one by one, BAR (n,)."""
        return read_only(self._records()[self._place])

    def __len__(self) -> int:
        """Count the bars."""
        return int(self._place.stop - self._place.start)

    def __getitem__(self, name: str) -> Any:
        """Return a column (n,), one number beside the next."""
        known = self._columns
        if name not in known:
            known[name] = read_only(np.ascontiguousarray(self._column(name)))
        return known[name][self._place]

    def part(self, first: int, end: int) -> ByColumn:
        """Return the bars from `first` to before `end`, which share the columns of these."""
        part, begin = ByColumn.__new__(ByColumn), self._place.start  # a search makes many
        part.__dict__.update(self.__dict__, _place=slice(begin + first, begin + min(end, len(self))))
        return part


# TA-Lib


@dataclass(frozen=True)
class TaLibInput(Input):
    """A function of TA-Lib with its parameters, and which of its outputs is meant."""

    function: str = ""
    output: str | int | None = None
    parameters: tuple[tuple[str, Any], ...] = ()

    def check(self, place: str) -> None:
        """Raise Misconfigured for an unknown function, parameter, column or output, or without TA-Lib."""
        super().check(place)
        for key, value in self.parameters:
            if not isinstance(value, int | float | str):
                raise Misconfigured(f"{place}: {key} is {str(value)[:200]!r}; give a number.")
        try:
            _computed(self)
        except Misconfigured as error:
            raise Misconfigured(f"{place}: {error}") from None

    def lookback(self) -> int:
        """Bars before the first value, as TA-Lib counts them."""
        return _computed(self).lookback

    def column(self, bars: ByColumn, at: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """Compute the series up to the last bar asked for, as TA-Lib does."""
        return _computed(self).values(bars)[at]


@dataclass(frozen=True)
class _Computed:
    """A TA-Lib function ready to be called."""

    function: Callable[..., Any]
    columns: tuple[str, ...]
    parameters: dict[str, Any]
    output: int | None
    lookback: int

    def values(self, bars: ByColumn) -> NDArray[np.float64]:
        """Values of the output meant, (n,)."""
        return self.every(bars)[self.output or 0]

    def every(self, bars: ByColumn) -> list[NDArray[np.float64]]:
        """Values of all outputs, (n,) each."""
        found = self.function(*(bars[name] for name in self.columns), **self.parameters)
        outputs = [np.asarray(one, np.float64) for one in (found if isinstance(found, tuple) else (found,))]
        for one in outputs:
            one[: self.lookback] = np.nan  # what is a whole number stands at 0 there
        return outputs


def talib(
    function: str,
    *,
    output: str | int | None = None,
    timeframe: str | None = None,
    warmup: int | None = None,
    **parameters: Any,
) -> Input:
    """Declare a TA-Lib function such as `talib("RSI", timeperiod=14)`.

    `output` chooses one of several by name or number; a column other than the function's usual one is given by the
    name of its argument, such as `price="volume"`. `timeframe`: of other bars than the strategy's, such as "4h".
    """
    return TaLibInput(timeframe, warmup, function, output, tuple(parameters.items()))


def talib_function(function: str, parameters: tuple[tuple[str, Any], ...]) -> _Computed:
    """Make a TA-Lib function ready, all of its outputs meant; raises Misconfigured for what it does not take."""
    return _computed(TaLibInput(None, None, function, 0, parameters))


@cache
def _computed(one: TaLibInput) -> _Computed:
    library = _library()
    names = library.get_functions()
    if one.function not in names:
        raise Misconfigured(f"TA-Lib has no function {str(one.function)[:200]!r}; {suggestion(one.function, names)}.")
    info = library.abstract.Function(one.function).info
    columns, chosen = dict(info["input_names"]), dict(one.parameters)
    for argument in [key for key in chosen if isinstance(columns.get(key), str)]:
        columns[argument] = chosen.pop(argument)
    read = [name for of in columns.values() for name in ([of] if isinstance(of, str) else of)]
    stranger = next((name for name in read if name not in COLUMNS), None)
    if stranger is not None:
        raise Misconfigured(f"{one.function} is to read {str(stranger)[:200]!r}; a bar has {', '.join(COLUMNS)}.")
    unknown = next((key for key in chosen if key not in info["parameters"]), None)
    if unknown is not None:
        choices = ", ".join([*info["parameters"], *(key for key, of in columns.items() if isinstance(of, str))])
        raise Misconfigured(f"{one.function} has no parameter {unknown[:200]!r}; choose of {choices or 'none'}.")
    try:
        lookback = int(library.abstract.Function(one.function, **chosen).lookback)
    except TypeError as error:
        raise Misconfigured(f"{one.function}: {str(error)[:200]}; change it.") from None
    if lookback < 0:
        given = ", ".join(f"{key}={str(value)[:50]}" for key, value in chosen.items())
        raise Misconfigured(f"{one.function} does not take {given}; keep its parameters within TA-Lib's bounds.")
    output = _output(one, info["output_names"])
    function = getattr(library, one.function)
    plain = getattr(function, "__wrapped__", function)  # the other looks for data frames at every call
    return _Computed(plain, tuple(read), chosen, output, lookback)


def _output(one: TaLibInput, names: list[str]) -> int | None:
    """Place of the output meant; None where there is one alone."""
    choices = ", ".join(names)
    if len(names) == 1 and one.output in (None, 0, names[0]):
        return None
    if one.output in names:
        return names.index(one.output)
    if type(one.output) is int and 0 <= one.output < len(names):
        return one.output
    raise Misconfigured(f"{one.function}: output is {str(one.output)[:200]!r}; choose one of {choices}.")


@cache
def _library() -> ModuleType:
    """TA-Lib, without the data frames that it would load to accept their columns."""
    absent = [name for name in ("pandas", "polars") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None stands for a module that is not there
    try:
        import talib as library  # noqa: PLC0415, an extra that only such inputs need
        import talib.abstract  # noqa: PLC0415
    except ModuleNotFoundError:
        raise Misconfigured(f"this function needs TA-Lib, which is not installed; {EXTRA}.") from None
    finally:
        for name in absent:
            del sys.modules[name]
    return library


# Functions of the user's


@dataclass(frozen=True)
class PythonInput(Input):
    """A function of the user's over windows of bars."""

    function: Callable[[Any], Any] = float
    window: int = 1
    batch: bool = False

    def check(self, place: str) -> None:
        """Raise Misconfigured for a window that is none, and where batches give other bits than windows."""
        super().check(place)
        if not callable(self.function):
            raise Misconfigured(f"{place}: {str(self.function)[:200]!r} is no function; give one that takes bars.")
        if not (type(self.window) is int and self.window >= 1):
            raise Misconfigured(f"{place}: window is {str(self.window)[:200]!r}; give a whole number of bars from 1.")
        if self.batch:
            odd = _differs(self)
            if odd is not None:
                raise Misconfigured(
                    f"{place}: with batch=True {_name(self.function)} gives {odd[0]!r} for a column and {odd[1]!r} for "
                    "the same bar's window alone; leave batch out, or compute each value from its window only."
                )

    def lookback(self) -> int:
        """Bars of the window before its last."""
        return self.window - 1

    def column(self, bars: ByColumn, at: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """Give the function each window, or the whole series where it takes batches."""
        shown = bars.records.view(np.recarray)
        if self.batch:
            values = np.array(self.function(shown), np.float64)
            assert values.shape == (len(bars),), f"{_name(self.function)} gives {values.shape} for {len(bars)} bars"
            values[: self.lookback()] = np.nan
            return values[at]
        asked = range(*at.indices(len(bars))) if isinstance(at, slice) else at
        windows = ((i, i + 1 - self.window) for i in asked)
        return np.array([np.nan if start < 0 else self.function(shown[start : i + 1]) for i, start in windows], float)


def python(
    function: Callable[[Any], Any],
    *,
    window: int,
    batch: bool = False,
    timeframe: str | None = None,
    warmup: int | None = None,
) -> Input:
    """Declare a function of your own over the last `window` bars, BAR (window,), which returns one number.

    With `batch` it is given any number of bars (n,) and returns as many numbers, each of its own window alone; a check
    holds the two ways to each other bit by bit.
    """
    return PythonInput(timeframe, warmup, function, window, batch)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", function))[:200]


@cache
def _differs(one: PythonInput) -> tuple[float, float] | None:
    """Find a value of a made-up walk that a batch computes otherwise than its window; None if all are the same bits."""
    bars = made_up_bars(3 * one.window + 64)
    whole = one.column(ByColumn(bars), slice(None))
    for i in range(one.window - 1, len(bars)):
        alone = one.column(ByColumn(bars[i + 1 - one.window : i + 1]), slice(one.window - 1, one.window))
        if alone.tobytes() != whole[i : i + 1].tobytes():
            return float(whole[i]), float(alone[0])
    return None


def made_up_bars(count: int) -> Any:
    """A walk of hourly bars, BAR (count,), the same every time."""
    numbers = np.random.default_rng(1).normal(0.0, 0.01, (count, 4))
    bars = new_records(BAR, count)
    bars["ts"] = np.arange(count) * HOUR
    bars["close"] = np.round(100.0 * np.exp(np.cumsum(numbers[:, 0])), 2)
    bars["open"] = np.concatenate(([100.0], bars["close"][:-1]))
    bars["high"] = np.round(np.maximum(bars["open"], bars["close"]) * (1.0 + np.abs(numbers[:, 1])), 2)
    bars["low"] = np.round(np.minimum(bars["open"], bars["close"]) * (1.0 - np.abs(numbers[:, 2])), 2)
    bars["volume"] = np.round(np.exp(numbers[:, 3]) * 1000.0, 3)
    return bars


# Bars


def block_of(timeframe_ms: int) -> int:
    """Length of the calendar blocks of bars this long, ms; blocks are counted from the epoch."""
    return SHORT_BLOCK if timeframe_ms <= HOUR else LONG_BLOCK


def anchor(one: Input, timeframe_ms: int, ts: int) -> int:
    """Time from which bars count for the value at the bar that opens at `ts`, ms."""
    if not one.remembers():
        return ts
    block = block_of(timeframe_ms)
    return ts // block * block - max(one.reach() * timeframe_ms, one.span())


def history_start(one: Input, timeframe_ms: int, now: int) -> int:
    """Time from which base bars must be known for the values at `now` and later, ms.

    A day before the anchor, so that minutes missing there are not taken for a history that is too short.
    """
    return anchor(one, timeframe_ms, now - 2 * timeframe_ms) - DAY if one.remembers() else now


def values(one: Input, timeframe_ms: int, bars: ByColumn, at: NDArray[np.int64], begin: int) -> NDArray[np.float64]:
    """Values (k,) of an input at the bars numbered `at` (k,), ascending, of all complete bars since `begin`, (n,).

    `begin` (ms) is the opening of the first base bar known: what is anchored before it is NaN.
    """
    found = np.full(len(at), np.nan)
    for place, part, chosen in blocks(one, timeframe_ms, bars, at, begin):
        found[place] = one.column(part, chosen)
    return found


def blocks(
    one: Input, timeframe_ms: int, bars: ByColumn, at: NDArray[np.int64], begin: int
) -> Iterator[tuple[slice, ByColumn, slice | NDArray[np.int64]]]:
    """Yield the calendar blocks of such bars: their place among them, the bars since their anchor, and where in these.

    Those that are anchored before `begin` are left out.
    """
    if not len(at):
        return
    ts, block = bars["ts"][_numbered(at)], block_of(timeframe_ms)
    edges = np.arange(ts[0] // block + 1, ts[-1] // block + 1) * block
    for begins, ends in itertools.pairwise([0, *np.searchsorted(ts, edges).tolist(), len(at)]):
        if begins == ends:
            continue
        since = anchor(one, timeframe_ms, int(ts[begins]))
        if begin <= since:
            first = int(np.searchsorted(bars["ts"], since))
            yield slice(begins, ends), bars.part(first, at[ends - 1] + 1), _numbered(at[begins:ends] - first)


def _numbered(at: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """These numbers, ascending, as a slice where none is missing."""
    return slice(int(at[0]), int(at[-1]) + 1) if at[-1] - at[0] == len(at) - 1 else at


class Series:
    """Complete bars of one timeframe, as base bars come."""

    def __init__(self, bar_ms: int, timeframe_ms: int) -> None:
        self.bar_ms, self.timeframe_ms = bar_ms, timeframe_ms
        self.rollup = new_records(ROLLUP, 1)
        self.bars = new_records(BAR, 0)

    def take(self, bases: Any) -> NDArray[np.int64]:
        """Take closed base bars, BAR (n,); which of them complete a bar (m,), now at the end of `bars`."""
        bars, ends = roll_up(self.rollup, bases, self.bar_ms, self.timeframe_ms)
        self.bars = np.concatenate((self.bars, bars))
        return ends

    def newest(self, now: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of the bar that closed last before or at each time `now` (k,), ms; -1 where that bar is incomplete."""
        closes = self.bars["ts"] + self.timeframe_ms
        found = np.searchsorted(closes, now, side="right") - 1
        if not len(closes):
            return found
        return np.where(now - closes[found] < self.timeframe_ms, found, -1)

    def forget(self, before: int) -> None:
        """Let go of bars that open before `before`, ms."""
        self.bars = self.bars[np.searchsorted(self.bars["ts"], before) :]
