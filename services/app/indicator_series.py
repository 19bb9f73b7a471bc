"""An indicator over stored candles or a file, as strategies and rules see it; and how much that is to compute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtesting.candle_checks import check
from backtesting.candles import read_candles
from backtesting.instruments import instrument_for
from backtesting.run import warmup_start
from backtesting.simulator import PreparedCandles
from bot.candles import Candles
from bot.errors import Misconfigured, shown, suggestion
from bot.indicator_functions import IndicatorInput
from bot.indicator_registry import INDICATORS
from bot.inputs import ByColumn, Series
from bot.inputs import values as values_of
from coordinator.config import load_single
from services.app.backtest import find_candles
from services.market_data.instruments import load_instruments
from services.market_data.store import CandleStore

if TYPE_CHECKING:
    from bot.indicator_registry import Indicator
    from coordinator.config import BacktestConfig

MOST_READ = 4_000_000  # bars of the store that an answer may take: more is for the command line
MOST_TOLD = 20_000  # bars of an answer, the last ones


def _found(
    data_dir: Path, one: Indicator, values: Any, timeframe: str, chosen: dict[str, Any]
) -> tuple[BacktestConfig, Candles]:
    """The config that reads an indicator, and its candles from where its history begins; raises Misconfigured."""
    rules = {"timeframe": timeframe, "when": [{"indicator": one.name, **dict(values)}]}
    config = load_single({"strategy": "rules", "rules": rules, **chosen})
    config, found = find_candles(config, CandleStore(data_dir))
    held = read_candles(found) if isinstance(found, Path) else found
    check(held)
    held = held.between(warmup_start(config), config.end)
    if not len(held):
        raise Misconfigured(f"the period holds no candles of {config.pair}; widen --from and --to, or import more.")
    return config, held


def indicator_series(
    data_dir: Path, one: Indicator, values: Any, timeframe: str, chosen: dict[str, Any]
) -> pl.DataFrame:
    """Compute all outputs at every complete bar that has enough history: time, close, outputs."""
    return _computed(data_dir, one, values, *_found(data_dir, one, values, timeframe, chosen))


def _computed(data_dir: Path, one: Indicator, values: Any, config: BacktestConfig, held: Candles) -> pl.DataFrame:
    stated = load_instruments(data_dir, config.exchange, config.market).get(config.pair)
    prepared = PreparedCandles.of(held, instrument_for(config.pair, config.market, held, None, stated)[0])
    length = config.parameters.timeframe_ms
    series = Series(prepared.candles.bar_ms, length)
    for bases in prepared.base_bars():
        series.take(bases)
    bars, by_column, begin = series.bars, ByColumn(series.bars), int(prepared.candles.ts[0])
    at = np.flatnonzero(bars["ts"] >= (config.start or begin))
    columns = {"time": pl.Series(bars["ts"][at]).cast(pl.Datetime("ms", "UTC")), "close": bars["close"][at]}
    for output in one.outputs:
        asked = IndicatorInput(name=one.name, output=output, parameters=values)
        columns[output] = values_of(asked, length, by_column, at, begin)
    frame = pl.DataFrame(columns)
    return frame.filter(pl.any_horizontal(pl.col(output).is_not_nan() for output in one.outputs))


# Asked by the console


def _asked(said: dict[str, Any]) -> tuple[Indicator, Any, str, dict[str, Any]]:
    """Read what is asked for; raises Misconfigured."""
    one = INDICATORS.get(said["indicator"])
    if one is None:
        raise Misconfigured(f"indicator is {shown(said['indicator'])}; {suggestion(said['indicator'], INDICATORS)}.")
    chosen = {key: said[key] for key in ("pair", "exchange", "market", "from", "to") if said.get(key)}
    return one, one.values(said["parameters"]), said["timeframe"], chosen


def indicator_estimate(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Say how many stored bars are read, and at most how many of the timeframe come out of them."""
    one, values, timeframe, chosen = _asked(said)
    config, held = _found(data_dir, one, values, timeframe, chosen)
    begin = max(config.start or int(held.ts[0]), int(held.ts[0]))
    bars = (int(held.ts[-1]) + held.bar_ms - begin) // config.parameters.timeframe_ms
    told = {"read": len(held), "bars": max(bars, 0), "told": min(max(bars, 0), MOST_TOLD), "outputs": list(one.outputs)}
    return {**told, "refused": len(held) > MOST_READ}


def indicator_compute(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Compute an indicator; the last MOST_TOLD bars as columns, an output that is not yet known is none."""
    one, values, timeframe, chosen = _asked(said)
    config, held = _found(data_dir, one, values, timeframe, chosen)
    if len(held) > MOST_READ:
        raise Misconfigured(
            f"from and to hold {len(held):,} stored bars, over {MOST_READ:,}; give a shorter period, or use "
            "`traderagent indicators compute`."
        )
    frame = _computed(data_dir, one, values, config, held)
    last = frame.tail(MOST_TOLD)
    outputs = {name: last[name].fill_nan(None).to_list() for name in one.outputs}
    at = last["time"].dt.epoch("ms").to_list()
    return {"at": at, "close": last["close"].to_list(), "outputs": outputs, "left_out": len(frame) - len(last)}
