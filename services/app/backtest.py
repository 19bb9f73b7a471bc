"""Runs backtests and sweeps on what the data directory holds: candles, instruments, funding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backtesting.portfolio_run import simulate_portfolio
from backtesting.run import paid_history, simulate, warmup_start
from bot.errors import Misconfigured, cut
from coordinator.config import PortfolioConfig
from services.market_data.funding import FundingStore
from services.market_data.instruments import load_instruments
from services.market_data.store import SYNTHETIC, CandleStore, SeriesName

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backtesting.funding import FundingHistory
    from backtesting.portfolio_result import PortfolioResult
    from backtesting.result import BacktestResult
    from bot.candles import Candles
    from coordinator.config import BacktestConfig, RunConfig
    from search.window import MarketHistory


def run_portfolio(
    config: PortfolioConfig, data_dir: Path, progress: Callable[[float], None] | None = None
) -> PortfolioResult:
    """Find the candles of every pair and run the whole algorithm; `progress` hears the share that is done."""
    store = CandleStore(data_dir)
    config = config if config.candles else config.changed(exchange=_venue(config, store))
    candles: dict[str, Any] = dict(config.candles or {})
    stated = load_instruments(data_dir, config.exchange, config.market)
    funding = histories_of(config, data_dir)
    for pair in config.pairs:
        if pair not in candles:
            series = _series(config, store, pair)
            candles[pair] = candles_for(config, store, series)
    return simulate_portfolio(config, candles, fetched=stated, funding=funding, progress=progress)


def run_single(config: BacktestConfig, candles: Candles | Path, data_dir: Path, *, bounds: bool) -> BacktestResult:
    """Run one strategy on one pair."""
    stated = load_instruments(data_dir, config.exchange, config.market).get(config.pair)
    funding = histories_of(config, data_dir).get(config.pair)
    return simulate(config, candles, fetched=stated, funding=funding, bounds=bounds)


def find_candles(config: BacktestConfig, store: CandleStore) -> tuple[BacktestConfig, Candles | Path]:
    """Find the candles; where the config does not say whose, take the venue that has them."""
    if config.candles is not None:
        return config, config.candles
    config, series = find_series(config, store)
    return config, candles_for(config, store, series)


def candles_for(config: BacktestConfig | PortfolioConfig, store: CandleStore, series: SeriesName) -> Candles:
    """Read what a config needs of a series; all of it for an empty period, which is refused with what there is."""
    candles = store.read(series, warmup_start(config), config.end)
    return candles if len(candles) else store.read(series)


def find_series(config: BacktestConfig, store: CandleStore) -> tuple[BacktestConfig, SeriesName]:
    """Find the series of a config's pair; where the config does not say whose, take the venue that has it."""
    if "exchange" not in config.model_fields_set:
        known = [one.venue for one in store.series() if (one.market, one.symbol) == (config.market, config.pair)]
        if known:
            venue = min(known, key=lambda name: (name == SYNTHETIC, name != "bybit", name))
            config = config.changed(exchange=venue)
    return config, _series(config, store, config.pair)


def find_series_of_one(config: PortfolioConfig, store: CandleStore) -> tuple[PortfolioConfig, SeriesName]:
    """Find the series of the only pair that the whole algorithm trades."""
    config = config.changed(exchange=_venue(config, store))
    return config, _series(config, store, config.pairs[0])


def histories_of(config: PortfolioConfig | BacktestConfig, data_dir: Path) -> dict[str, FundingHistory]:
    """Funding rates by pair, where they are known and wanted; with candle files only of a venue that was named."""
    if config.candles and "exchange" not in config.model_fields_set:
        return {}
    store, found = FundingStore(data_dir), {}
    for pair in config.pairs if isinstance(config, PortfolioConfig) else (config.pair,):
        history = paid_history(config, store.read(SeriesName(config.exchange, str(config.market), pair)))
        if history is not None:
            found[pair] = history
    return found


def _series(config: RunConfig, store: CandleStore, pair: str) -> SeriesName:
    """Name the bars to play: as long as the config says, else the shortest; raises Misconfigured without such bars."""
    place = (config.exchange, str(config.market), pair)
    if config.bar is None:
        return store.finest(*place)
    held = [one.bar for one in store.series() if (one.venue, one.market, one.symbol) == place]
    if held and config.bar not in held:
        raise Misconfigured(
            f"bar is {config.bar} but the store holds {', '.join(held)} of {pair}; choose one of these."
        )
    return SeriesName(*place, config.bar)


def _venue(config: PortfolioConfig, store: CandleStore) -> str:
    """Whose candles: what the config says, or the venue that has most of the pairs."""
    if "exchange" in config.model_fields_set:
        return config.exchange
    held: dict[str, set[str]] = {}
    for one in store.series():
        if one.market == config.market:
            held.setdefault(one.venue, set()).add(one.symbol)
    count = {venue: len(symbols.intersection(config.pairs)) for venue, symbols in held.items()}
    order = sorted(count, key=lambda name: (-count[name], name == SYNTHETIC, name != "bybit", name))
    return order[0] if order else config.exchange


def market_for(config: BacktestConfig | PortfolioConfig, candles: Path | None, data_dir: Path) -> MarketHistory:
    """Find what the data directory holds for the pairs of a config, or take the candles of one pair from a file."""
    from search.window import market_of  # noqa: PLC0415, which a backtest does not need

    store = CandleStore(data_dir)
    if isinstance(config, PortfolioConfig):
        if candles is not None and len(config.pairs) > 1:
            raise Misconfigured(
                f"--candles is {cut(str(candles))}, one file, and {len(config.pairs)} pairs trade; import candles into "
                "the store, or name a file by pair in the config's candles."
            )
        if candles is not None:
            config = config.changed(candles={config.pairs[0]: candles})
        config = config if config.candles else config.changed(exchange=_venue(config, store))
        found: Any = dict(config.candles or {})
        for pair in config.pairs:
            if pair not in found:
                found[pair] = store.read(_series(config, store, pair))
        stated = load_instruments(data_dir, config.exchange, config.market)
        return market_of(config, found, stated, histories_of(config, data_dir))
    # All of it up to the end: other variants of a search may look back further than this one.
    config, found = find_candles(config.changed(start=None), store) if candles is None else (config, candles)
    stated = load_instruments(data_dir, config.exchange, config.market)
    return market_of(config, found, stated.get(config.pair), histories_of(config, data_dir).get(config.pair))
