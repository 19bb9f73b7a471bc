"""A backtest's result: figures and frames. It follows from config and candles alone.

`ResultDocument`, versioned, is what `result.json` says. Pictures and files are made of it by `backtesting.reports`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from backtesting.breakdown import MonthOfTrades, TradeGroups, by_month, grouped, returns_by_month
from backtesting.candles import to_frame
from backtesting.funding import fingerprint
from backtesting.grid_figures import GridFigures, grid_figures
from backtesting.metrics import Metrics, last_worth, measure, profits, strategy_figures
from backtesting.summary_table import report_table
from backtesting.trades import trades_of
from bot.order import Liquidity, OrderKind, Side, Signal
from bot.sources import source_hash
from bot.strategy_file import own_sources
from coordinator.config import BacktestConfig
from strategies.grid.parameters import GridParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtesting.simulator import PreparedCandles, Recording
    from bot.instrument import Instrument
    from bot.strategy import Strategy
    from coordinator.config import RunConfig


class SamplePicture(BaseModel):
    """A trade that was pictured, and where its two pictures lie in the run directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trade_id: int
    pair: str
    original: str = Field(description="candles alone")
    annotated: str = Field(description="with entry, exit, stop, target, zones and regime")


class ResultDocument(BaseModel):
    """Everything `result.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    version: Literal[1] = 1
    run_id: str = Field(description="hash of config, instrument, candles, strategy and program sources")
    strategy: str
    strategy_version: int
    pair: str
    exchange: str
    market: str
    start: str = Field(alias="from", description="first bar of the period, UTC")
    end: str = Field(alias="to", description="close of the last bar, UTC")
    snapshot: str = Field(description="hash of the candles used, warm-up included")
    outcome: Literal["complete", "liquidated", "ruined"]
    instrument: dict[str, Any]
    execution: dict[str, Any]
    funding: str = Field(description="where its rates came from: none, constant rate, or history with its settlements")
    parameters: dict[str, Any]
    counts: dict[str, int] = Field({}, description="what the strategy counted, such as conflicting_signals")
    metrics: Metrics
    grid: GridFigures | None = Field(None, description="of a grid: where its profit came from")
    returns_by_month: dict[str, float] = Field(description="return of each month, % of the equity it began with")
    trades_by_month: dict[str, MonthOfTrades] = Field(description="closed trades by the month of their exit")
    trades_by: TradeGroups = Field(description="trades by exit reason and kind of entry")
    report_table_md: str = Field(description="the usual figures as a table in Markdown")
    notices: list[str]
    bounds: dict[str, Metrics] | None = Field(None, description="figures under the worst and the best rules")
    samples: list[SamplePicture] = Field([], description="trades that were pictured")


def run_id(config: RunConfig, instruments: list[Instrument], snapshots: list[str], sources: str) -> str:
    """Name a run by all that decides its result: 12 hex digits; where the candles lay is no part of it."""
    left_out = ("candles", "instrument", "instruments")
    document = {key: value for key, value in config.document().items() if key not in left_out}
    whole = [document, [one.model_dump(mode="json") for one in instruments], snapshots, sources]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:12]


def run_id_of(config: BacktestConfig, prepared: PreparedCandles) -> str:
    """Name a run of one strategy on one pair by what is played, which is known before it is."""
    sources = source_hash(own_sources(config.loaded.decide.__module__))
    snapshots = [prepared.candles.snapshot(), *fingerprint(prepared.payments)]
    return run_id(config, [prepared.instrument], snapshots, sources)


def counts_of(strategy: Strategy, state: Any) -> dict[str, int]:
    """What a strategy counted, by name, from its own state or that of a pair."""
    own = state[strategy.name] if strategy.name in state.dtype.names else state
    return {name: int(own[name]) for name in strategy.counters}


@dataclass(frozen=True)
class BacktestResult:
    """One finished run. Frames are Polars; times are epoch milliseconds, prices and money quote currency."""

    config: BacktestConfig
    recording: Recording
    first: int  # index of the first bar of the period; those before are warm-up
    notices: tuple[str, ...] = ()
    bounds: dict[str, Metrics] | None = None
    kinds: tuple[str, ...] | None = None  # kind of each trade's entry, where several strategies took turns

    @cached_property
    def metrics(self) -> Metrics:
        """Every figure of the run."""
        figures = measure(self.recording, self._trades, self._equity, self.first)
        strategy = self.config.loaded
        own = strategy_figures(strategy.name, strategy.entries, self._trades, self.recording.fills)
        return figures.model_copy(update=own)

    @cached_property
    def document(self) -> ResultDocument:
        """Content of result.json."""
        config, prepared = self.config, self.recording.prepared
        return ResultDocument(
            run_id=run_id_of(config, prepared),
            strategy=config.strategy,
            strategy_version=config.loaded.version,
            pair=config.pair,
            exchange=config.exchange,
            market=str(prepared.instrument.market),
            start=self.metrics.start,
            end=self.metrics.end,
            snapshot=prepared.candles.snapshot(),
            outcome=self.recording.outcome.name.lower(),
            instrument=prepared.instrument.model_dump(mode="json"),
            execution=config.execution.model_dump(mode="json"),
            funding=self.recording.funding(int(prepared.candles.ts[self.first])),
            parameters=config.parameters.model_dump(mode="json", exclude={"preset"}),
            counts=counts_of(config.loaded, self.recording.state),
            metrics=self.metrics,
            grid=self._grid(),
            returns_by_month=returns_by_month(self.equity["ts"].to_numpy(), self._equity[self.first :], self.capital),
            trades_by_month=by_month(self.trades),
            trades_by={name: grouped(self.trades, name) for name in ("exit_reason", "entry_kind")},
            report_table_md=self.report_table_md,
            notices=list(self.notices),
            bounds=self.bounds,
        )

    @property
    def capital(self) -> float:
        """What the account began with, quote currency."""
        return self.metrics.initial_capital

    @property
    def report_table_md(self) -> str:
        """The usual figures as a table in Markdown."""
        return report_table(self.metrics)

    def _grid(self) -> GridFigures | None:
        parameters = self.config.parameters
        if not isinstance(parameters, GridParameters):
            return None
        return grid_figures({self.config.pair: self.recording}, parameters, self.capital, self.metrics.duration_days)

    @cached_property
    def fills(self) -> pl.DataFrame:
        """Executions, columns as in fills.csv: ts, …, side, price, qty, fee, liquidity, position, realized."""
        fills = self.recording.fills
        return self._named(
            ts=fills["ts"],
            slot=fills["slot"],
            generation=fills["generation"],
            signal=_names(Signal, fills["signal"]),
            side=_names(Side, fills["side"]),
            price=self._prices(fills["price"]),
            qty=self._quantities(fills["quantity"]),
            fee=fills["fee"],
            liquidity=_names(Liquidity, fills["liquidity"]),
            position=self._quantities(fills["position"]),
            realized=fills["realised"],
        )

    @cached_property
    def trades(self) -> pl.DataFrame:
        """Trades by exit, open ones last with no exit; `mae`, `mfe` and `pnl_pct` in per cent of the entry."""
        trades = self._trades
        closed = trades["held"] == 0
        instrument = self.recording.prepared.instrument
        left = trades["quantity"] - trades["held"]
        pnl = profits(trades, last_worth(self.recording))
        per_tick = float(instrument.tick_size) / instrument.tick_value
        entry = trades["entry_value"] / trades["quantity"] * per_tick if len(trades) else np.zeros(0)
        leaving = trades["exit_value"] / np.maximum(left, 1) * per_tick
        frame = self._named(
            trade_id=np.arange(1, len(trades) + 1),
            side=np.where(trades["side"] > 0, "long", "short"),
            entry_time=trades["entry_ts"],
            entry_price=_rounded(entry),
            exit_time=trades["exit_ts"],
            exit_price=_rounded(leaving),
            qty=self._quantities(trades["quantity"]),
            exit_reason=_names(Signal, trades["exit_signal"]),
            pnl=pnl,
            pnl_pct=pnl / np.where(trades["entry_value"] > 0, trades["entry_value"], 1.0) * 100.0,
            fees=trades["fees"],
            funding=trades["funding"],
            r_multiple=np.where(trades["risk"] > 0, pnl / np.where(trades["risk"] > 0, trades["risk"], 1.0), np.nan),
            mae=trades["mae"] * 100.0,
            mfe=trades["mfe"] * 100.0,
            entry_kind=pl.Series(self._entry_kinds(), dtype=pl.String),
        )
        is_closed = pl.Series(closed)
        return frame.with_columns(
            pl.when(is_closed).then(pl.col(name)).otherwise(None).alias(name)
            for name in ("exit_time", "exit_price", "exit_reason")
        ).with_columns(pl.col("r_multiple").fill_nan(None))

    def _entry_kinds(self) -> list[str]:
        if self.kinds is not None:
            return list(self.kinds)
        names = self.config.loaded.entries
        return [names[kind] for kind in self._trades["entry"].tolist()]

    @cached_property
    def equity(self) -> pl.DataFrame:
        """One row per bar of the period: ts, close, equity, benchmark (buy and hold), position (base units)."""
        prepared, bars, first = self.recording.prepared, self.recording.bars, self.first
        tick = float(prepared.instrument.tick_size)
        close = prepared.close[first:bars] * tick
        _, position = self.recording.holdings()
        return pl.DataFrame(
            {
                "ts": prepared.candles.ts[first:bars],
                "close": close,
                "equity": self._equity[first:],
                "benchmark": self.config.capital * close / (prepared.open[first] * tick),
                "position": position[first:] * float(prepared.instrument.lot_size),
            }
        )

    @cached_property
    def candles(self) -> pl.DataFrame:
        """The period's base bars: ts, open, high, low, close, volume."""
        return to_frame(self.recording.prepared.candles)[self.first : self.recording.bars]

    @cached_property
    def levels(self) -> pl.DataFrame:
        """Spans in which a resting order stood: ts_from, ts_to, slot, side, kind, price."""
        desired_orders, ts = self.recording.desired_orders, self.recording.prepared.candles.ts
        desired_orders = desired_orders[np.lexsort((desired_orders["bar"], desired_orders["slot"]))]
        end = int(ts[self.recording.bars - 1]) + self.recording.prepared.candles.bar_ms
        ends = np.full(len(desired_orders), end, np.int64)
        follows = desired_orders["slot"][1:] == desired_orders["slot"][:-1]
        ends[:-1][follows] = ts[desired_orders["bar"][1:]][follows]
        stood = (desired_orders["price"] > 0) & (desired_orders["kind"] != OrderKind.MARKET)
        desired_orders, ends = desired_orders[stood], ends[stood]
        return pl.DataFrame(
            {
                "ts_from": ts[desired_orders["bar"]],
                "ts_to": ends,
                "slot": desired_orders["slot"],
                "side": _names(Side, desired_orders["side"]),
                "kind": _names(OrderKind, desired_orders["kind"]),
                "price": self._prices(desired_orders["price"]),
            }
        ).sort("ts_from", "slot")

    @cached_property
    def _trades(self) -> NDArray[Any]:
        trades: NDArray[Any] = trades_of(self.recording)
        return trades

    @cached_property
    def _equity(self) -> NDArray[np.float64]:
        return self.recording.equity()

    def _named(self, **columns: Any) -> pl.DataFrame:
        frame = pl.DataFrame(columns)
        pair, strategy = (
            pl.lit(self.config.pair).alias("pair"),
            pl.lit(self.config.loaded.name).alias("strategy"),
        )
        first, *rest = frame.columns
        return frame.select(first, pair, strategy, *rest)

    def _prices(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        return _rounded(ticks * float(self.recording.prepared.instrument.tick_size))

    def _quantities(self, lots: NDArray[np.int64]) -> NDArray[np.float64]:
        return _rounded(lots * float(self.recording.prepared.instrument.lot_size))


def _rounded(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Drop the binary dust that a product with 0.1 leaves: 12 significant decimals of the largest."""
    largest = float(np.max(np.abs(values), initial=0.0))
    decimals = 12 - int(np.ceil(np.log10(largest))) if largest > 0 else 12
    return np.asarray(np.round(values, min(max(decimals, 0), 20)), np.float64)


def _names(enumeration: Any, values: NDArray[Any]) -> pl.Series:
    """Names of an enumeration's members; a column of text also where there are none."""
    names = {member.value: member.name for member in enumeration}
    lower = enumeration in (Side, Liquidity, OrderKind)
    return pl.Series([names[value].lower() if lower else names[value] for value in values.tolist()], dtype=pl.String)
