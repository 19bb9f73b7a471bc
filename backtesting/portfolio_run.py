"""One call from config and candles of several pairs to a result of the whole algorithm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.candle_checks import check, suspicious
from backtesting.candles import from_frame, read_candles
from backtesting.exchange import Outcome
from backtesting.instruments import instrument_for
from backtesting.portfolio_result import PortfolioResult
from backtesting.portfolio_simulator import PortfolioSimulator, PreparedPortfolio
from backtesting.run import SYNTHETIC_SHORT, inputs_notice, paid_history, rules_notices, warmup_start
from bot.candles import Candles, bar_name, iso
from bot.errors import Misconfigured
from bot.instrument import Market
from bot.times import MINUTE
from coordinator.config import PortfolioConfig, load_portfolio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backtesting.funding import FundingHistory
    from backtesting.instruments import DatedInstrument
    from bot.instrument import Instrument
    from coordinator.config import Source


def simulate_portfolio(
    source: Source,
    candles: Mapping[str, Any] | None = None,
    *,
    fetched: Mapping[str, Instrument | DatedInstrument] | None = None,
    funding: Mapping[str, FundingHistory] | None = None,
    progress: Callable[[float], None] | None = None,
) -> PortfolioResult:
    """Backtest the whole algorithm, or one strategy, on pairs that share an account.

    `candles` by pair are frames, paths or `Candles`, or stand in the config. Bars before `from` only warm up.
    `fetched`, `funding`: what the venue says of the pairs, and the rates it paid; the config may want the constant one.
    `progress` hears the share that is done. Raises Misconfigured and BadCandles.
    """
    made = prepare_portfolio(load_portfolio(source), candles, fetched=fetched, funding=funding)
    return play_portfolio(made, progress, keep_desired_orders=True)


@dataclass(frozen=True)
class PreparedRun:
    """What is played: the config in full, the candles of its pairs from the warm-up on, and what was noticed."""

    config: PortfolioConfig
    pairs: PreparedPortfolio
    snapshots: dict[str, str]
    notices: tuple[str, ...]

    def with_config(self, config: PortfolioConfig) -> PreparedRun:
        """Return the same candles for another config of the same pairs, period and instruments."""
        mine = self.config
        return replace(self, config=config.changed(instruments=mine.instruments, start=mine.start, end=mine.end))


def prepare_portfolio(
    config: PortfolioConfig,
    candles: Mapping[str, Any] | None = None,
    *,
    fetched: Mapping[str, Instrument | DatedInstrument] | None = None,
    funding: Mapping[str, FundingHistory] | None = None,
    checked: bool = False,
) -> PreparedRun:
    """Make a config's candles and instruments ready to be played; raises Misconfigured and BadCandles.

    `checked`: the candles are known to be sound.
    """
    given = dict(candles if candles is not None else config.candles or {})
    missing = next((pair for pair in config.pairs if pair not in given), None)
    if missing is not None:
        raise Misconfigured(f"candles of {missing} are missing; give them by pair, or import them first.")
    warmup = warmup_start(config)
    played, instruments, notices, snapshots = {}, {}, [], {}
    for pair in config.pairs:
        own = _candles(given.pop(pair))
        if not checked:
            check(own)
        own = own.between(warmup, config.end)
        if not len(own):
            raise Misconfigured(f"candles of {pair}: the period holds none; widen from and to, or import more data.")
        instrument, notice = instrument_for(pair, config.market, own, _fields(config, pair), (fetched or {}).get(pair))
        played[pair], instruments[pair], snapshots[pair] = own, instrument, own.snapshot()
        notices += [notice] if notice else []
        notices += [f"{pair}: {said}." for said in suspicious(own)]
    ends = [int(one.ts[-1]) + one.bar_ms for one in played.values()]
    config = config.changed(
        instruments={pair: one.model_dump(mode="json") for pair, one in instruments.items()},
        start=config.start if config.start is not None else min(int(one.ts[0]) for one in played.values()),
        end=max(ends),
    )
    histories = {pair: one for pair, history in (funding or {}).items() if (one := paid_history(config, history))}
    notices += rules_notices(config, list(instruments.values()))
    return PreparedRun(config, PreparedPortfolio.of(played, instruments, histories), snapshots, tuple(notices))


def play_portfolio(
    made: PreparedRun, progress: Callable[[float], None] | None = None, *, keep_desired_orders: bool = False
) -> PortfolioResult:
    """Play what was prepared; `progress` hears the share that is done. Raises Misconfigured.

    `keep_desired_orders`: the result knows what rested when, for who looks at it.
    """
    config, prepared_pairs = made.config, made.pairs
    recording = PortfolioSimulator(config, keep_desired_orders=keep_desired_orders).run(prepared_pairs, progress)
    notices = [*made.notices, *_notices(config, prepared_pairs, recording.outcome)]
    for pair, played_pair in zip(prepared_pairs.pairs, recording.recordings, strict=True):
        if played_pair.pair.costs.refused:
            notices.append(
                f"{pair}: {played_pair.pair.costs.refused} entries or transitions would not have paid for their costs."
            )
    return PortfolioResult(config, recording, made.snapshots, tuple(notices))


def _fields(config: PortfolioConfig, pair: str) -> dict[str, Any]:
    """Fields of a pair's instrument over the known ones."""
    fields = config.instrument_fields(config.instruments.get(pair))
    shorts = any(own.sells_short for _, own in config.algorithm.trading())
    return {**fields, **SYNTHETIC_SHORT} if config.market is Market.SPOT and shorts else fields


def _candles(source: Any) -> Candles:
    if isinstance(source, str | Path):
        return read_candles(source)
    return source if isinstance(source, Candles) else from_frame(source)


def _notices(config: PortfolioConfig, prepared_pairs: PreparedPortfolio, outcome: Outcome) -> list[str]:
    """Sentences on what a reader of the figures should know."""
    notices = []
    bar_ms = prepared_pairs.tapes[0].candles.bar_ms
    if bar_ms > MINUTE:
        notices.append(f"Base bars are {bar_name(bar_ms)}: the path inside a bar is coarser than with 1m.")
    for pair, prepared in zip(prepared_pairs.pairs, prepared_pairs.tapes, strict=True):
        ts = prepared.candles.ts
        missing = int((ts[-1] - ts[0]) // bar_ms) + 1 - len(ts)
        if missing:
            notices.append(f"{pair}: {missing} bars are missing; longer bars without all of theirs were not used.")
        need = config.algorithm.warmup_ms
        begin = int(ts[0]) + need
        if begin > (config.start or 0):
            notices.append(f"{pair}: nothing could open before {iso(begin)}, until then it only warmed up.")
        told = inputs_notice(config.algorithm.asked(), int(ts[0]), config.start or 0)
        price = float(prepared.candles.open[min(int(np.searchsorted(ts, config.start or 0)), len(ts) - 1)])
        told += [one for _, own in config.algorithm.trading() for one in own.remarks(price)]
        notices += [f"{pair}: {one}" for one in told]
        if int(ts[-1]) + bar_ms < (config.end or 0):
            notices.append(
                f"{pair}: its candles end at {iso(int(ts[-1]) + bar_ms)}; what it held then stays at that price."
            )
    if outcome is not Outcome.COMPLETE:
        notices.append(f"The run ended early: {outcome.name.lower()}.")
    return notices
