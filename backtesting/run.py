"""One call from config and candles to a result: the Python API and the command line both come through here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.candle_checks import check, suspicious
from backtesting.candles import from_frame, read_candles
from backtesting.exchange import Outcome
from backtesting.instruments import instrument_for
from backtesting.portfolio_simulator import PortfolioSimulator, PreparedPortfolio
from backtesting.result import BacktestResult
from backtesting.simulator import PreparedCandles, UniversalSimulator
from bot.candles import Candles, bar_name, iso
from bot.errors import Misconfigured
from bot.instrument import NO_LIMIT, Market
from bot.ledger import deposit
from bot.times import MINUTE
from coordinator.columns import inputs_start
from coordinator.config import (
    BacktestConfig,
    BarPath,
    FillPolicy,
    FillRule,
    FundingSource,
    PortfolioConfig,
    load_portfolio,
    load_single,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backtesting.funding import FundingHistory
    from backtesting.instruments import DatedInstrument
    from backtesting.metrics import Metrics
    from backtesting.simulator import Recording
    from bot.instrument import Instrument
    from coordinator.columns import Asked
    from coordinator.config import RunConfig

# Of spot that a simulation sells short: nobody lends it, so no margin call ends the run before the money does.
SYNTHETIC_SHORT = {"synthetic_short": True, "maintenance_margin": "0"}
BOUNDS = {
    "pessimistic": {"fill_rule": FillRule.THROUGH, "path": BarPath.ADVERSE},
    "optimistic": {"fill_rule": FillRule.TOUCH, "path": BarPath.NEAREST},
}


def simulate(
    config: BacktestConfig | dict[str, Any] | str | Path,
    candles: Any = None,
    *,
    fetched: Instrument | DatedInstrument | None = None,
    funding: FundingHistory | None = None,
    bounds: bool = False,
) -> BacktestResult:
    """Backtest one strategy on one pair.

    `config` is a model, a dict or a YAML file's path; `candles` a Polars or pandas frame, a path, or `Candles`, and
    may be left out when the config names a file. Bars before `from` only warm the indicators up. `fetched` is
    the venue's own word on the instrument; `funding` its rates, paid unless `execution.funding` is constant;
    `bounds` adds the figures under the worst and the best rules.
    Raises Misconfigured and BadCandles with one sentence.
    """
    made = prepare(load_single(config), candles, fetched=fetched, funding=funding)
    config, prepared, first = made.config, made.candles, made.first
    recording = play_single(config, prepared, keep_desired_orders=True)
    notices = [made.notice] if made.notice else []
    notices += [f"{said[0].upper()}{said[1:]}." for said in suspicious(prepared.candles)]
    notices += notices_of(config, recording, first)
    notices += rules_notices(config, [prepared.instrument])
    figures = _bounds(config, prepared, first) if bounds else None
    return BacktestResult(config, recording, first, tuple(notices), figures)


@dataclass(frozen=True)
class Prepared:
    """What is played: the config in full, its candles from the warm-up on, and the first bar of the period."""

    config: BacktestConfig
    candles: PreparedCandles
    first: int
    notice: str | None = None


def prepare(
    config: BacktestConfig,
    candles: Any = None,
    *,
    fetched: Instrument | DatedInstrument | None = None,
    funding: FundingHistory | None = None,
    checked: bool = False,
) -> Prepared:
    """Make a config's candles and instrument ready to be played; raises Misconfigured and BadCandles.

    `checked`: the candles are known to be sound.
    """
    source = candles if candles is not None else config.candles
    if source is None:
        raise Misconfigured("candles are missing; give a frame or a file, or set candles in the config.")
    if isinstance(source, str | Path):
        source = read_candles(source)
    elif not isinstance(source, Candles):
        source = from_frame(source)
    if not checked:
        check(source)
    played = source.between(warmup_start(config), config.end)
    first = 0 if config.start is None else int(np.searchsorted(played.ts, config.start))
    if first >= len(played):
        raise Misconfigured(_empty(config, source))
    fields = config.instrument_fields(config.instrument)
    if config.market is Market.SPOT and config.parameters.sells_short:
        fields = {**fields, **SYNTHETIC_SHORT}
    instrument, notice = instrument_for(config.pair, config.market, played, fields, fetched)
    config = config.changed(
        instrument=instrument.model_dump(mode="json"),
        market=instrument.market,
        start=int(played.ts[first]),
        end=int(played.ts[-1]) + played.bar_ms,
    )
    return Prepared(config, PreparedCandles.of(played, instrument, paid_history(config, funding)), first, notice)


def rules_notices(config: RunConfig, instruments: Sequence[Instrument]) -> list[str]:
    """Sentences on rules of the simulation that no exchange has."""
    notices = []
    if config.execution.preset is not None:
        notices.append(
            f"Preset {config.execution.preset}: decisions and fills on the same close, fees of "
            f"{float(instruments[0].taker_fee) * 100:g} %, slippage of {config.execution.slippage_bps / 100:g} %."
        )
    if config.execution.fill_policy is FillPolicy.CLOSE:
        notices.append("Orders fill at the close that decided them, which cannot be traded live.")
    if any(one.synthetic_short for one in instruments):
        notices.append("Short positions on spot are synthetic: they cannot be traded live.")
    return notices


def paid_history(config: RunConfig, history: FundingHistory | None) -> FundingHistory | None:
    """The history of funding, unless the config wants the constant rate."""
    return history if config.execution.funding is FundingSource.HISTORY else None


def play_single(config: BacktestConfig, prepared: PreparedCandles, *, keep_desired_orders: bool = False) -> Recording:
    """Play one strategy on one pair: by the fast loop, or by the engine where the instrument's limits may bind."""
    if not limits_may_bind(config, prepared):
        return UniversalSimulator(config, keep_desired_orders=keep_desired_orders).run(prepared)
    together = load_portfolio(config)
    histories = {} if prepared.history is None else {config.pair: prepared.history}
    prepared_pairs = PreparedPortfolio.of(
        {config.pair: prepared.candles}, {config.pair: prepared.instrument}, histories
    )
    recording = PortfolioSimulator(together, keep_desired_orders=keep_desired_orders).run(prepared_pairs).recordings[0]
    recording.changes["cash"] += config.capital  # an account's money lies beside its pairs' ledgers
    deposit(recording.pair.ledger, config.capital)
    return recording


def limits_may_bind(config: BacktestConfig, prepared: PreparedCandles) -> bool:
    """Whether all that the capital carries may be more than one exit closes, or than the venue lets anyone hold."""
    held = prepared.instrument.record(config.leverage)
    most = np.inf if config.reinvest else config.capital * config.leverage
    lots = most / (float(np.min(prepared.low)) * float(held.tick_value))
    closed = min(int(held.max_market_lots), int(held.max_position_lots))
    return (closed < NO_LIMIT and lots > closed) or most > float(held.max_position_notional)


def warmup_start(config: BacktestConfig | PortfolioConfig) -> int | None:
    """Time from which bars are needed so that trading can begin at `from`; None for all there are."""
    if config.start is None:
        return None
    if isinstance(config, PortfolioConfig):
        return config.algorithm.history_start(config.start)
    signal = config.parameters.warmup_bars * config.parameters.timeframe_ms
    return min(config.start - signal, inputs_start([(config.loaded, [config.parameters])], config.start))


def notices_of(config: BacktestConfig, recording: Recording, first: int) -> list[str]:
    """Sentences on what a reader of the figures should know."""
    notices = []
    prepared, outcome, pair = recording.prepared, recording.outcome, recording.pair
    candles, rolled = prepared.candles, prepared.rollup(config.parameters.timeframe_ms)
    if candles.bar_ms > MINUTE:
        notices.append(f"Base bars are {bar_name(candles.bar_ms)}: the path inside a bar is coarser than with 1m.")
    missing = int((candles.ts[-1] - candles.ts[0]) // candles.bar_ms) + 1 - len(candles)
    if missing:
        notices.append(f"{missing} bars are missing; {rolled.incomplete} signal bars were incomplete and not used.")
    need = config.parameters.warmup_bars
    ready = int(np.searchsorted(rolled.ends, first))
    if ready < need:
        last = rolled.ends[need - 1] if need <= len(rolled.ends) else -1
        until = iso(int(candles.ts[last]) + candles.bar_ms) if last >= 0 else "never in this period"
        notices.append(f"The first entry may come after {need} signal bars of warm-up: {until}.")
    notices += inputs_notice([(config.loaded, [config.parameters])], int(candles.ts[0]), int(candles.ts[first]))
    notices += config.parameters.remarks(float(candles.open[first]))
    if pair.under_minimum:
        notices.append(f"{pair.under_minimum} entries were under the venue's minimum and not placed.")
    if pair.costs.refused:
        notices.append(f"{pair.costs.refused} entries would not have paid for their costs and were not placed.")
    if outcome is not Outcome.COMPLETE:
        notices.append(f"The run ended early: {outcome.name.lower()}.")
    return notices


def inputs_notice(asked: Sequence[Asked], first: int, start: int) -> list[str]:
    """Say so where candles, from `first` (ms) on, begin too late for the inputs of a run that trades from `start`."""
    since = inputs_start(asked, start)
    if since >= start or first <= since:
        return []
    told = (
        f"Inputs are computed over candles from {iso(since)} on, of which the first is {iso(first)}: they may have no "
        "value, and let nothing be opened, until the next block of 30 or 360 days."
    )
    return [told]


def _bounds(config: BacktestConfig, prepared: PreparedCandles, first: int) -> dict[str, Metrics]:
    figures = {}
    for name, rules in BOUNDS.items():
        changed = config.changed(execution=config.execution.model_copy(update=rules))
        recording = play_single(changed, prepared)
        figures[name] = BacktestResult(changed, recording, first).metrics
    return figures


def _empty(config: BacktestConfig, candles: Candles) -> str:
    if not len(candles):
        return "candles: there is none; import or download some."
    held = f"{iso(int(candles.ts[0]))} to {iso(int(candles.ts[-1]) + candles.bar_ms)}"
    start = "…" if config.start is None else iso(config.start)
    end = "…" if config.end is None else iso(config.end)
    return f"period {start} to {end} holds no candles of {config.pair}; choose one within {held}."
