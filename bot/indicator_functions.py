"""Indicators as arrays: TA-Lib's functions by the registry's names, and those that are computed here.

Each takes bars (n,) and gives one array (n,) for each output; a value depends on the bars up to its own alone and
has the same bits however many bars follow. Logarithms are NumPy's, recursions run in a compiled loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.channels import VWAP, vwap_update
from bot.errors import Misconfigured, shown, suggestion
from bot.indicator_registry import INDICATORS, indicator_named
from bot.inputs import LOOKBACKS, ByColumn, Input, talib_function
from bot.kernel import Record, specialise, template
from bot.record import new_records
from bot.times import DAY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Parameters = tuple[tuple[str, float], ...]


def outputs_of(name: str, parameters: Parameters, bars: ByColumn) -> dict[str, Array]:
    """Outputs of an indicator over bars (n,), by name, (n,) each; NaN within its look-back."""
    if name in FUNCTIONS:
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Iterable[Array] = FUNCTIONS[name](bars, **dict(parameters))
    else:
        found = talib_function(name, parameters).every(bars)
    return dict(zip(INDICATORS[name].outputs, found, strict=True))


def lookback_of(name: str, parameters: Parameters) -> int:
    """Bars before the first value."""
    if name in FIRST:
        return FIRST[name](**dict(parameters))
    return talib_function(name, parameters).lookback


def reach_of(name: str, parameters: Parameters) -> int:
    """Bars before a block that its values are computed over."""
    return LOOKBACKS * lookback_of(name, parameters)


def span_of(name: str) -> int:
    """Time before a block that its values need, ms: pivots are those of the day before."""
    return DAY if name == "PIVOTS" else 0


@dataclass(frozen=True)
class IndicatorInput(Input):
    """An output of an indicator of the registry."""

    name: str = ""
    output: str = ""
    parameters: Parameters = ()

    def span(self) -> int:
        """Time before a block that its values need, ms."""
        return span_of(self.name)

    def lookback(self) -> int:
        """Bars before the first value."""
        return lookback_of(self.name, self.parameters)

    def column(self, bars: ByColumn, at: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """Compute the series up to the last bar asked for."""
        return outputs_of(self.name, self.parameters, bars)[self.output][at]


def indicator(
    name: str,
    *,
    output: str | None = None,
    timeframe: str | None = None,
    warmup: int | None = None,
    **parameters: float,
) -> Input:
    """Declare an indicator that `traderagent indicators` lists, such as `indicator("SUPERTREND", output="trend")`.

    Without `output` it is the first. Raises Misconfigured for what is unknown, or a parameter out of bounds.
    """
    one = indicator_named(name)
    chosen = one.outputs[0] if output is None else output
    if chosen not in one.outputs:
        raise Misconfigured(
            f"indicator {one.name} has no output {shown(output)}; {suggestion(str(output), one.outputs)}."
        )
    return IndicatorInput(timeframe, warmup, one.name, chosen, one.values(dict(parameters)))


# Compiled loops


@template
def decay(values: Record, factor: float, most: float, out: Record) -> None:
    """Sum with decay, y_t = x_t + factor y_{t-1}, kept within +-most; a NaN of `values` (n,) starts anew."""
    before = 0.0
    for i in range(len(values)):
        before = min(max(values[i] + factor * before, -most), most) if values[i] == values[i] else 0.0
        out[i] = before if values[i] == values[i] else np.nan


@template
def day_vwap(bars: Record, states: Record, out: Record) -> None:
    """Run the streaming VWAP of the day over (n,) bars."""
    for i in range(len(bars)):
        bar = bars[i]
        vwap_update(states[0], bar.ts, bar.high, bar.low, bar.close, bar.volume)
        out[i] = states[0].value


@cache
def _compiled(loop: Any) -> Callable[..., None]:
    made: Callable[..., None] = specialise(loop, "indicators")
    return made


def _decayed(values: Array, factor: float, most: float) -> Array:
    out = np.empty(len(values))
    _compiled(decay)(np.ascontiguousarray(values), factor, most, out)
    return out


# Those that are computed here


def _talib(name: str, bars: ByColumn, *columns: Array | str, **parameters: Any) -> Any:
    """Call a function of TA-Lib with these columns, of the bars or computed."""
    function = talib_function(name, tuple(parameters.items())).function
    return function(
        *(np.ascontiguousarray(bars[one] if isinstance(one, str) else one) for one in columns), **parameters
    )


def _bands(bars: ByColumn, timeperiod: int, nbdev: float) -> Any:
    return _talib("BBANDS", bars, "close", timeperiod=timeperiod, nbdevup=nbdev, nbdevdn=nbdev)


def _bb_percent(bars: ByColumn, timeperiod: int, nbdev: float) -> Iterable[Array]:
    upper, _, lower = _bands(bars, timeperiod, nbdev)
    return ((bars["close"] - lower) / (upper - lower),)


def _bb_width(bars: ByColumn, timeperiod: int, nbdev: float) -> Iterable[Array]:
    upper, middle, lower = _bands(bars, timeperiod, nbdev)
    return ((upper - lower) / middle,)


def _shifted(values: Array, bars: int) -> Array:
    """Values of so many bars before, (n,)."""
    return np.concatenate((np.full(min(bars, len(values)), np.nan), values[: max(len(values) - bars, 0)]))


def _candle_body(bars: ByColumn, timeperiod: int) -> Iterable[Array]:
    open_, high, low, close = (bars[name] for name in ("open", "high", "low", "close"))
    size = high - low
    usual = _shifted(_talib("SMA", bars, size, timeperiod=timeperiod), 1)
    upper, lower = high - np.maximum(open_, close), np.minimum(open_, close) - low
    return (close - open_) / size, size / usual, upper / size, lower / size


def _chandelier_exit(bars: ByColumn, timeperiod: int, multiplier: float) -> Iterable[Array]:
    distance = multiplier * _talib("ATR", bars, "high", "low", "close", timeperiod=timeperiod)
    highest = _talib("MAX", bars, "high", timeperiod=timeperiod)
    return highest - distance, _talib("MIN", bars, "low", timeperiod=timeperiod) + distance


def _daily_vwap(bars: ByColumn) -> Iterable[Array]:
    out = np.empty(len(bars))
    _compiled(day_vwap)(np.ascontiguousarray(bars.records).view(np.recarray), new_records(VWAP, 1), out)
    return (out,)


def _vwap_deviation(bars: ByColumn) -> Iterable[Array]:
    (vwap,) = _daily_vwap(bars)
    return (100.0 * (bars["close"] / vwap - 1.0),)


def _distance_to_mean(bars: ByColumn, timeperiod: int) -> Iterable[Array]:
    return (100.0 * (bars["close"] / _talib("SMA", bars, "close", timeperiod=timeperiod) - 1.0),)


def _fisher(bars: ByColumn, timeperiod: int) -> Iterable[Array]:
    middle = (bars["high"] + bars["low"]) / 2.0
    highest = _talib("MAX", bars, middle, timeperiod=timeperiod)
    lowest = _talib("MIN", bars, middle, timeperiod=timeperiod)
    spread = highest - lowest
    place = np.where(spread > 0.0, (middle - lowest) / spread - 0.5, 0.0 * spread)
    x = _decayed(0.66 * place, 0.67, 0.999)
    value = _decayed(0.5 * np.log((1.0 + x) / (1.0 - x)), 0.5, np.inf)
    return value, _shifted(value, 1)


def _heikin_ashi_trend(bars: ByColumn) -> Iterable[Array]:
    opened, _, _, closed = _talib("HA", bars, "open", "high", "low", "close")
    return (np.sign(closed - opened),)


def _historical_volatility(bars: ByColumn, timeperiod: int, bars_a_year: int) -> Iterable[Array]:
    moves = np.log(bars["close"] / _shifted(bars["close"], 1))
    spread = _talib("STDDEV", bars, moves, timeperiod=timeperiod, nbdev=1.0)
    return (100.0 * spread * np.sqrt(timeperiod / (timeperiod - 1.0) * bars_a_year),)


def _ichimoku(bars: ByColumn, conversion: int, base: int, span: int, displacement: int) -> Iterable[Array]:
    turning, standard, leading = (
        _talib("MIDPRICE", bars, "high", "low", timeperiod=period) for period in (conversion, base, span)
    )
    return turning, standard, _shifted((turning + standard) / 2.0, displacement), _shifted(leading, displacement)


def _pivots(bars: ByColumn) -> Iterable[Array]:
    days = bars["ts"] // DAY
    starts = np.flatnonzero(np.diff(days, prepend=-1))
    outputs = [np.full(len(bars), np.nan) for _ in range(5)]
    if len(starts) < 2:
        return outputs
    high, low = np.maximum.reduceat(bars["high"], starts), np.minimum.reduceat(bars["low"], starts)
    close = bars["close"][np.append(starts[1:], len(bars)) - 1]
    pivot = (high + low + close) / 3.0
    levels = (pivot, 2.0 * pivot - low, 2.0 * pivot - high, pivot + (high - low), pivot - (high - low))
    lengths = np.diff(np.append(starts[1:], len(bars)))
    for out, level in zip(outputs, levels, strict=True):
        out[starts[1] :] = np.repeat(level[:-1], lengths)
    return outputs


def _volume_mean(bars: ByColumn, timeperiod: int) -> Iterable[Array]:
    mean = _talib("SMA", bars, "volume", timeperiod=timeperiod)
    return mean, bars["volume"] / mean


FUNCTIONS: dict[str, Callable[..., Iterable[Array]]] = {
    "BB_PERCENT": _bb_percent,
    "BB_WIDTH": _bb_width,
    "CANDLE_BODY": _candle_body,
    "CHANDELIER_EXIT": _chandelier_exit,
    "DAILY_VWAP": _daily_vwap,
    "DISTANCE_TO_MEAN": _distance_to_mean,
    "FISHER": _fisher,
    "HEIKIN_ASHI_TREND": _heikin_ashi_trend,
    "HISTORICAL_VOLATILITY": _historical_volatility,
    "ICHIMOKU": _ichimoku,
    "PIVOTS": _pivots,
    "VOLUME_MEAN": _volume_mean,
    "VWAP_DEVIATION": _vwap_deviation,
}

# Bars before the first value of each.
FIRST: dict[str, Callable[..., int]] = {
    "BB_PERCENT": lambda timeperiod, nbdev: timeperiod - 1,  # noqa: ARG005
    "BB_WIDTH": lambda timeperiod, nbdev: timeperiod - 1,  # noqa: ARG005
    "CANDLE_BODY": lambda timeperiod: timeperiod,
    "CHANDELIER_EXIT": lambda timeperiod, multiplier: timeperiod,  # noqa: ARG005
    "DAILY_VWAP": lambda: 0,
    "DISTANCE_TO_MEAN": lambda timeperiod: timeperiod - 1,
    "FISHER": lambda timeperiod: timeperiod,
    "HEIKIN_ASHI_TREND": lambda: 1,
    "HISTORICAL_VOLATILITY": lambda timeperiod, bars_a_year: timeperiod,  # noqa: ARG005
    "ICHIMOKU": lambda conversion, base, span, displacement: max(conversion, base, span + displacement) - 1,
    "PIVOTS": lambda: 0,
    "VOLUME_MEAN": lambda timeperiod: timeperiod - 1,
    "VWAP_DEVIATION": lambda: 0,
}
