"""Prepares a run on one pair for what its orders cost and, of signals, for the bars at whose close they are seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from backtesting.candles import read_candles
from backtesting.run import prepare
from backtesting.signal_file import cost_of, with_costs
from bot.rollup import TIMEFRAMES
from services.market_data.instruments import load_instruments
from strategies.signals import SIGNALS

if TYPE_CHECKING:
    from bot.candles import Candles
    from coordinator.config import BacktestConfig

ONE_PIP = "1pip"
COSTS = ("slippage_bps", "slippage_ticks")


def paying(
    config: BacktestConfig,
    candles: Candles | Path,
    data_dir: Path,
    slippage: str | None,
    spread: str | None,
    *,
    signals: bool,
) -> tuple[BacktestConfig, Candles | Path]:
    """The config with slippage and spread in its own units, and its candles, read where that was needed.

    What is not given stays as the config has it; `signals`: a run of signals, which slips one pip by default. Raises
    Misconfigured and BadCandles.
    """
    told = config.execution.model_fields_set
    if slippage is None and signals and not told.intersection(COSTS):
        slippage = ONE_PIP
    if slippage is None and spread is None and not signals:
        return config, candles
    held = read_candles(candles) if isinstance(candles, Path) else candles
    if config.loaded is SIGNALS and "timeframe" not in config.parameters.model_fields_set:
        config = config.changed(parameters=config.parameters.changed(timeframe=_shortest(held.bar_ms)))
    rules = config.execution
    if slippage is not None or spread is not None:
        stated = load_instruments(data_dir, config.exchange, config.market).get(config.pair)
        instrument = prepare(config, held, fetched=stated).candles.instrument
        costs = (
            None if one is None else cost_of(one, name) for one, name in ((slippage, "slippage"), (spread, "spread"))
        )
        rules = with_costs(rules, instrument, *costs)
    return config.changed(execution=rules), held


def _shortest(bar_ms: int) -> str:
    """Name of the shortest timeframe that these bars make up."""
    return next((name for name, length in TIMEFRAMES.items() if length >= bar_ms and length % bar_ms == 0), "1m")
