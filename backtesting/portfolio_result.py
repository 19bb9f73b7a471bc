"""The result of the whole algorithm on its pairs: figures, events and frames."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from backtesting.breakdown import MonthOfTrades, TradeGroups, by_month, grouped, returns_by_month
from backtesting.funding import fingerprint
from backtesting.grid_figures import GridFigures, grid_figures
from backtesting.metrics import (
    LEAST_DAYS,
    YEAR_DAYS,
    Metrics,
    daily_returns,
    drawdown_figures,
    last_worth,
    per_exposure,
    profits,
    ratio_figures,
    trade_figures,
)
from backtesting.result import BacktestResult, SamplePicture, counts_of, run_id
from backtesting.summary_table import report_table
from backtesting.trades import trades_of
from bot.candles import iso
from bot.order import Signal
from bot.sources import source_hash
from bot.strategy_file import own_sources
from bot.times import DAY, HOUR
from coordinator.config import PortfolioConfig
from coordinator.decisions import modes_of
from coordinator.regime import Regime
from coordinator.risk import Mode
from coordinator.vocabulary import DecisionKind, Pause
from filters.smc import Verdict
from strategies.grid.parameters import GridParameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from backtesting.portfolio_simulator import PortfolioRecording
    from backtesting.simulator import PreparedCandles


class PairFigures(BaseModel):
    """What one pair did. Money is quote currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profit: float = Field(description="realised + unrealised - fees + funding")
    fees: float
    funding: float
    slippage: float
    turnover: float
    fills: int
    trades: int = Field(description="closed trades")
    closed_profit: float = Field(description="profit of closed trades after fees and funding")
    open_trades: int
    open_profit: float = Field(description="profit of open trades so far, at the last close")
    win_rate_pct: float | None
    profit_factor: float | None
    position_coverage_pct: float = Field(description="share of its bars that closed with a position")
    benchmark_return_pct: float = Field(description="last close / first open of the period - 1")
    regimes: dict[str, float] = Field(description="share of time per confirmed regime")
    strategies: dict[str, float] = Field(description="share of time per strategy, draining and cash included")


class AlgorithmFigures(BaseModel):
    """What router, allocator, filter and risk did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    transitions: int = Field(description="positions that had to leave for another strategy")
    transition_cost: float = Field(description="fees and slippage of the orders of transitions and trims")
    forced_closes: int = Field(description="transitions whose time ran out, closed at the market")
    mean_drain_minutes: float | None = Field(description="mean time from a transition's start until flat")
    regimes: dict[str, float] = Field(description="share of time per confirmed regime, mean of the pairs")
    strategies: dict[str, float] = Field(description="share of time per strategy, mean of the pairs")
    verdicts: dict[str, int] = Field(description="the filter's verdicts by action")
    halts: int
    halt_hours: float = Field(description="time spent halted")
    modes: dict[str, float] = Field(description="share of time in each risk mode, normal included")
    mean_correlation: float | None = Field(description="mean correlation of the pairs' hourly returns")
    stress_share: float = Field(description="share of time in STRESS")
    overcommitted: int = Field(description="times that reserved capital exceeded its limit")
    pauses: dict[str, int] = Field(description="pauses of pairs by reason")
    diversification_ratio: float | None = Field(description="sum of the pairs' daily risk / risk of their sum")


class Allocations(BaseModel):
    """Capital targets at every allocation: `targets[pair][k]` at `at[k]`, quote currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: list[str]
    equity: list[float]
    targets: dict[str, list[float]]


class PortfolioDocument(BaseModel):
    """Everything `result.json` says of a run of the whole algorithm."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    version: Literal[1] = 1
    run_id: str = Field(description="hash of config, instruments, candles and program sources")
    strategy: str = Field(description="auto, or the one that trades every pair")
    pairs: list[str]
    exchange: str
    market: str
    start: str = Field(alias="from")
    end: str = Field(alias="to")
    snapshots: dict[str, str] = Field(description="hash of the candles used, by pair")
    outcome: Literal["complete", "liquidated", "ruined"]
    instruments: dict[str, dict[str, Any]]
    execution: dict[str, Any]
    funding: dict[str, str] = Field(description="where its rates came from, by pair")
    parameters: dict[str, Any]
    counts: dict[str, int] = Field({}, description="what strategies counted, such as conflicting_signals, of all pairs")
    metrics: Metrics
    grid: GridFigures | None = Field(None, description="where a grid trades every pair: where its profit came from")
    returns_by_month: dict[str, float] = Field(description="return of each month, % of the equity it began with")
    trades_by_month: dict[str, MonthOfTrades] = Field(description="closed trades by the month of their exit")
    trades_by: TradeGroups = Field(description="trades by pair, strategy, exit reason and kind of entry")
    report_table_md: str = Field(description="the usual figures as a table in Markdown")
    algorithm: AlgorithmFigures
    results: dict[str, PairFigures]
    allocations: Allocations
    notices: list[str]
    samples: list[SamplePicture] = Field([], description="trades that were pictured")


def run_id_of_pairs(config: PortfolioConfig, prepared: Mapping[str, PreparedCandles], snapshots: dict[str, str]) -> str:
    """Name a run on several pairs by what is played, which is known before it is; `snapshots`: of each pair."""
    hashes = [snapshots[pair] for pair in prepared]
    hashes += [hash_ for one in prepared.values() for hash_ in fingerprint(one.payments)]
    trading = [strategy for strategy, _ in config.algorithm.trading()]
    sources = source_hash({path for one in trading for path in own_sources(one.decide.__module__)})
    return run_id(config, [one.instrument for one in prepared.values()], hashes, sources)


def held_worth(tapes: Sequence[PreparedCandles], ts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Worth over a clock (n,), ms, of one unit of money in equal parts in all pairs, bought at their first opens."""
    worth = np.zeros(len(ts))
    for tape in tapes:
        own, begin = tape.candles.ts, first_bar(tape, int(ts[0]))
        at = np.searchsorted(own, ts, side="right") - 1
        worth += np.where(at >= begin, tape.close[np.maximum(at, begin)] / tape.open[begin], 1.0)
    return worth / len(tapes)


def first_bar(tape: PreparedCandles, start: int) -> int:
    """Index of a pair's first bar from `start` (ms) on; of its last where there is none."""
    return min(int(np.searchsorted(tape.candles.ts, start)), len(tape.close) - 1)


@dataclass(frozen=True)
class ZoneSpan:
    """A zone of market structure and how long it lived: demand, supply or liquidity; ms and quote currency."""

    kind: str
    born: int
    died: int
    bottom: float
    top: float


@dataclass(frozen=True)
class PortfolioResult:
    """One finished run of the whole algorithm."""

    config: PortfolioConfig
    recording: PortfolioRecording
    snapshots: dict[str, str]
    notices: tuple[str, ...] = ()

    @cached_property
    def first(self) -> int:
        """Index of the first time of the period on the clock; those before are warm-up."""
        return int(np.searchsorted(self.recording.ts, self.config.start or 0))

    @property
    def bar_ms(self) -> int:
        """Length of a base bar, ms."""
        return self.recording.recordings[0].prepared.candles.bar_ms

    @cached_property
    def ts(self) -> NDArray[np.int64]:
        """The period's clock."""
        return self.recording.ts[self.first :]

    @cached_property
    def equity(self) -> NDArray[np.float64]:
        """Equity of the account at each close of the period's clock."""
        return self.recording.equity[self.first :]

    @cached_property
    def holdings(self) -> dict[str, NDArray[np.float64]]:
        """Signed worth of each pair's position at each close of the period's clock, quote currency."""
        return {
            pair: self._on_clock(one.prepared.candles.ts[: one.bars], one.worth())
            for pair, one in zip(self.recording.pairs, self.recording.recordings, strict=True)
        }

    @cached_property
    def profits(self) -> dict[str, NDArray[np.float64]]:
        """Profit of each pair so far at each close of the period's clock, quote currency."""
        return {
            pair: self._on_clock(one.prepared.candles.ts[: one.bars], one.equity())
            for pair, one in zip(self.recording.pairs, self.recording.recordings, strict=True)
        }

    @cached_property
    def benchmark(self) -> NDArray[np.float64]:
        """Equity of an account that holds all pairs in equal parts from their first opening of the period on."""
        return self.config.deposits * held_worth([one.prepared for one in self.recording.recordings], self.ts)

    def _on_clock(self, ts: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values at a pair's own bars as they stand at each time of the clock; 0 before its first bar."""
        if not len(ts):  # listed after the run ended
            return np.zeros(len(self.ts))
        at = np.searchsorted(ts, self.ts, side="right") - 1
        return np.where(at >= 0, values[np.maximum(at, 0)], 0.0)

    @cached_property
    def trades(self) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Trades of all pairs by exit, open ones last: TRADE (k,), and their profits so far (k,).

        Of those that closed at one time the pair that comes first by name is first, and within it the earlier fill.
        """
        recordings = self.recording.recordings
        parts = [trades_of(one) for one in recordings]
        whole = np.concatenate(parts)
        so_far = np.concatenate([profits(part, last_worth(one)) for part, one in zip(parts, recordings, strict=True)])
        order = np.argsort(np.where(whole["held"] == 0, whole["exit_ts"], np.iinfo(np.int64).max), kind="stable")
        return whole[order], so_far[order]

    @cached_property
    def metrics(self) -> Metrics:
        """Figures of the account, defined as for a single strategy; the benchmark holds all pairs in equal parts."""
        equity, ts, initial = self.equity, self.ts, self.config.deposits
        start, end = int(ts[0]), int(ts[-1]) + self.bar_ms
        days, final = (end - start) / DAY, float(equity[-1])
        annual = ((max(final, 0.0) / initial) ** (YEAR_DAYS / days) - 1.0) * 100.0 if days >= LEAST_DAYS else None
        drawdowns = drawdown_figures(equity, ts, self.bar_ms, initial)
        deepest = drawdowns["max_drawdown_pct"]
        exposure = np.sum([np.abs(worth) for worth in self.holdings.values()], axis=0)
        share = exposure / np.where(equity > 0, equity, np.inf)
        ledgers = [one.pair.ledger for one in self.recording.recordings]
        return Metrics(
            start=iso(start),
            end=iso(end),
            duration_days=days,
            initial_capital=initial,
            final_capital=final,
            total_profit=final - initial,
            total_return_pct=(final / initial - 1.0) * 100.0,
            annualised_return_pct=annual,
            benchmark_return_pct=float(np.mean([self._held(one) for one in self.recording.recordings])),
            position_coverage_pct=float(np.mean(exposure > 0)) * 100.0,
            mean_exposure_pct=float(np.mean(share)) * 100.0,
            max_exposure_pct=float(np.max(share)) * 100.0,
            return_per_exposure_pct=per_exposure((final / initial - 1.0) * 100.0, float(np.mean(share)) * 100.0),
            calmar=annual / deepest if annual is not None and deepest > 0 else None,
            fees=sum(float(one.fees) for one in ledgers),
            funding=sum(float(one.funding) for one in ledgers),
            slippage=sum(float(one.slippage) for one in ledgers),
            turnover=sum(float(one.turnover) for one in ledgers),
            fills=sum(len(one.fills) for one in self.recording.recordings),
            refused=sum(one.refused for one in self.recording.recordings),
            under_minimum=sum(int(one.pair.under_minimum) for one in self.recording.recordings),
            refused_for_costs=sum(int(one.pair.costs.refused) for one in self.recording.recordings),
            incomplete_bars=self.recording.incomplete,
            **drawdowns,
            **ratio_figures(daily_returns(equity, ts, initial)),
            **trade_figures(*self.trades),
        )

    def _held(self, recording: Any) -> float:
        prepared = recording.prepared
        if not recording.bars:  # listed after the run ended
            return 0.0
        return (
            float(prepared.close[recording.bars - 1] / prepared.open[first_bar(prepared, int(self.ts[0]))] - 1.0)
            * 100.0
        )

    def decisions(self, *kinds: DecisionKind, pair: int | None = None) -> NDArray[Any]:
        """Notes of these kinds, of one pair or of all."""
        decisions = self.recording.decisions
        chosen = np.isin(decisions["kind"], [int(kind) for kind in kinds])
        return decisions[chosen & ((decisions["pair"] == pair) if pair is not None else True)]

    def regime_spans(self, pair: int) -> list[tuple[int, int, str]]:
        """Spans (from, to, regime) of a pair over the period, ms."""
        marks = [
            (int(one["ts"]), Regime(int(one["a"])).name.lower())
            for one in self.decisions(DecisionKind.REGIME, pair=pair)
        ]
        return self._spans(marks, "unknown")

    def strategy_spans(self, pair: int) -> list[tuple[int, int, str]]:
        """Spans (from, to, strategy) of a pair over the period, ms; `draining` and `cash` are such too."""
        marks, roster = [], self.config.algorithm.roster
        for one in self.decisions(DecisionKind.START, DecisionKind.TRANSITION, DecisionKind.FLAT, pair=pair):
            kind, family = int(one["kind"]), int(one["a"])
            name = "cash" if kind == DecisionKind.FLAT else roster.name_of(family)
            marks.append((int(one["ts"]), "draining" if kind == DecisionKind.TRANSITION else name))
        return self._spans(marks, "cash")

    def zones(self, pair: int, most: int) -> list[ZoneSpan]:
        """The zones of market structure of a pair that lived longest, at most so many, by birth."""
        lived, end = {}, int(self.ts[-1]) + self.bar_ms
        for one in self.decisions(DecisionKind.ZONE, pair=pair):
            kind = "liquidity" if int(one["a"]) == 2 else "demand" if int(one["b"]) > 0 else "supply"
            born, died, bottom, top = int(one["w"]), int(one["v"]) or end, float(one["x"]), float(one["y"])
            lived[int(one["a"]), int(one["b"]), int(one["c"]), born, bottom] = ZoneSpan(kind, born, died, bottom, top)
        longest = sorted(lived.values(), key=lambda zone: zone.born - zone.died)[:most]
        return sorted(longest, key=lambda zone: zone.born)

    def mode_spans(self) -> list[tuple[int, int, str]]:
        """Spans (from, to, modes joined by +) of the portfolio, ms; `normal` where none holds."""
        told = self.decisions(DecisionKind.MODE)
        return self._spans([(int(one["ts"]), "+".join(modes_of(one["b"])) or "normal") for one in told], "normal")

    def _spans(self, marks: list[tuple[int, str]], before: str) -> list[tuple[int, int, str]]:
        start, end = int(self.ts[0]), int(self.ts[-1]) + self.bar_ms
        edges = [(start, before), *marks, (end, "")]
        spans = [(max(a, start), max(b, start), name) for (a, name), (b, _) in pairwise(edges)]
        return [span for span in spans if span[1] > span[0]]

    @cached_property
    def figures(self) -> AlgorithmFigures:
        """What the algorithm itself did."""
        count = len(self.recording.pairs)
        fills = np.concatenate([one.fills for one in self.recording.recordings])
        forced = fills[fills["signal"] == Signal.EXIT_TRANSITION]
        drains = self.decisions(DecisionKind.FLAT)["x"]
        modes = self.mode_spans()
        shares = _shares(modes)
        each = {name: sum(share for key, share in shares.items() if name in key.split("+")) for name in _mode_names()}
        verdicts = self.decisions(DecisionKind.VERDICT)["a"]
        pauses = self.decisions(DecisionKind.PAUSE)["a"]
        halted = sum(b - a for a, b, name in modes if "halt" in name.split("+"))
        return AlgorithmFigures(
            transitions=len(self.decisions(DecisionKind.TRANSITION)),
            transition_cost=float(forced["fee"].sum() + forced["slippage"].sum()),
            forced_closes=len(self.decisions(DecisionKind.CLOSING)),
            mean_drain_minutes=float(drains.mean()) if len(drains) else None,
            regimes=_mean([_shares(self.regime_spans(pair)) for pair in range(count)]),
            strategies=_mean([_shares(self.strategy_spans(pair)) for pair in range(count)]),
            verdicts={action.name.lower(): int(np.count_nonzero(verdicts == action)) for action in Verdict},
            halts=len(self.decisions(DecisionKind.HALT)),
            halt_hours=halted / HOUR,
            modes=each,
            mean_correlation=self._mean_correlation(),
            stress_share=each["stress"],
            overcommitted=int(self.recording.portfolio.overcommitments),
            pauses={one.name.lower(): int(np.count_nonzero(pauses == one)) for one in Pause if one in pauses},
            diversification_ratio=self._diversification(),
        )

    @cached_property
    def correlations(self) -> NDArray[np.float64]:
        """Correlation of the pairs' hourly returns over the period, (pairs, pairs); NaN where too few are common."""
        hours = np.arange(int(self.ts[0]) // HOUR, int(self.ts[-1]) // HOUR)
        closes = np.full((len(self.recording.pairs), len(hours)), np.nan)
        for row, one in enumerate(self.recording.recordings):
            rolled = one.prepared.rollup(HOUR).bars
            at = rolled["ts"] // HOUR - hours[0] if len(hours) else rolled["ts"]
            inside = (at >= 0) & (at < len(hours))
            closes[row, at[inside]] = rolled["close"][inside]
        returns = closes[:, 1:] / closes[:, :-1] - 1.0
        n = len(closes)
        table = np.full((n, n), np.nan)
        for i in range(n):
            for j in range(n):
                both = ~np.isnan(returns[i]) & ~np.isnan(returns[j])
                if both.sum() >= LEAST_DAYS and returns[i][both].std() > 0 and returns[j][both].std() > 0:
                    table[i, j] = np.corrcoef(returns[i][both], returns[j][both])[0, 1]
        return table

    def _mean_correlation(self) -> float | None:
        above = self.correlations[np.triu_indices(len(self.correlations), 1)]
        known = above[~np.isnan(above)]
        return float(known.mean()) if len(known) else None

    def _diversification(self) -> float | None:
        """Sum of the standard deviations of the pairs' daily profits / that of their sum."""
        last = np.flatnonzero(np.diff(self.ts // DAY, append=self.ts[-1] // DAY + 1))
        daily = np.array([np.diff(profit[last], prepend=0.0) for profit in self.profits.values()])
        whole = float(daily.sum(axis=0).std())
        if daily.shape[1] < LEAST_DAYS or whole <= 0:
            return None
        return float(daily.std(axis=1).sum()) / whole

    @cached_property
    def pair_figures(self) -> dict[str, PairFigures]:
        """Figures of each pair."""
        found = {}
        for index, (pair, one) in enumerate(zip(self.recording.pairs, self.recording.recordings, strict=True)):
            ledger, trades = one.pair.ledger, trades_of(one)
            figures = trade_figures(trades, profits(trades, last_worth(one)))
            _, position = one.holdings()
            found[pair] = PairFigures(
                profit=float(one.equity()[-1]) if one.bars else 0.0,
                fees=float(ledger.fees),
                funding=float(ledger.funding),
                slippage=float(ledger.slippage),
                turnover=float(ledger.turnover),
                fills=len(one.fills),
                trades=figures["trades"],
                closed_profit=figures["closed_profit"],
                open_trades=figures["open_trades"],
                open_profit=figures["open_profit"],
                win_rate_pct=figures["win_rate_pct"],
                profit_factor=figures["profit_factor"],
                position_coverage_pct=float(np.mean(position != 0)) * 100.0 if one.bars else 0.0,
                benchmark_return_pct=self._held(one),
                regimes=_shares(self.regime_spans(index)),
                strategies=_shares(self.strategy_spans(index)),
            )
        return found

    @cached_property
    def allocations(self) -> Allocations:
        """Targets of all pairs at every time of allocation."""
        decisions, pairs = self.decisions(DecisionKind.ALLOCATION), self.recording.pairs
        times = np.unique(decisions["ts"])
        targets = np.full((len(pairs), len(times)), np.nan)
        equity = np.zeros(len(times))
        at = np.searchsorted(times, decisions["ts"])
        targets[decisions["pair"], at] = decisions["x"]
        equity[at] = decisions["v"]
        for row in targets:
            for k in range(len(row)):
                if np.isnan(row[k]):
                    row[k] = row[k - 1] if k else 0.0
        return Allocations(
            at=[iso(int(one)) for one in times],
            equity=[round(float(one), 6) for one in equity],
            targets={pair: [round(float(one), 6) for one in row] for pair, row in zip(pairs, targets, strict=True)},
        )

    @cached_property
    def document(self) -> PortfolioDocument:
        """Content of result.json."""
        config, recording = self.config, self.recording
        pairs = dict(zip(recording.pairs, recording.recordings, strict=True))
        instruments = {pair: one.prepared.instrument for pair, one in pairs.items()}
        parameters = {key: value for key, value in config.document().items() if isinstance(value, dict)}
        return PortfolioDocument(
            run_id=run_id_of_pairs(config, {pair: one.prepared for pair, one in pairs.items()}, self.snapshots),
            strategy=strategy_name(config),
            pairs=list(recording.pairs),
            exchange=config.exchange,
            market=str(config.market),
            start=self.metrics.start,
            end=self.metrics.end,
            snapshots=self.snapshots,
            outcome=recording.outcome.name.lower(),
            instruments={pair: one.model_dump(mode="json") for pair, one in instruments.items()},
            execution=config.execution.model_dump(mode="json"),
            funding={pair: one.funding(int(self.ts[0])) for pair, one in pairs.items()},
            parameters={key: one for key, one in parameters.items() if isinstance(one, dict) and key not in _RUN},
            counts=self._counts(),
            metrics=self.metrics,
            grid=self._grid(),
            returns_by_month=returns_by_month(self.ts, self.equity, self.config.deposits),
            trades_by_month=by_month(self.trade_frame),
            trades_by={name: grouped(self.trade_frame, name) for name in self._groups()},
            report_table_md=self.report_table_md,
            algorithm=self.figures,
            results=self.pair_figures,
            allocations=self.allocations,
            notices=list(self.notices),
        )

    @property
    def report_table_md(self) -> str:
        """The usual figures as a table in Markdown."""
        return report_table(self.metrics)

    def _groups(self) -> tuple[str, ...]:
        several = ("strategy",) if self.config.algorithm.alone is None else ()
        return ("pair", *several, "exit_reason", "entry_kind")

    def _grid(self) -> GridFigures | None:
        ((_, parameters), *others) = self.config.algorithm.trading()
        if others or not isinstance(parameters, GridParameters):
            return None
        recordings = dict(zip(self.recording.pairs, self.recording.recordings, strict=True))
        return grid_figures(recordings, parameters, self.config.deposits, self.metrics.duration_days)

    def _counts(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        for strategy in self.config.algorithm.roster.strategies:
            for one in self.recording.recordings:
                found.update(counts_of(strategy, one.state))
        return dict(found)

    def of_pair(self, pair: str) -> BacktestResult:
        """One pair's fills, trades and candles in the frames of a single run; its metrics mean nothing alone."""
        index = self.recording.pairs.index(pair)
        one = self.recording.recordings[index]
        first = int(np.searchsorted(one.prepared.candles.ts, int(self.ts[0])))
        kinds = tuple(kind for _, kind in self._entries(index))
        return BacktestResult(_Named(self.config, pair), one, first, kinds=kinds)  # type: ignore[arg-type]

    def _entries(self, pair: int) -> list[tuple[str, str]]:
        """Strategy and kind of entry of each trade of a pair: of the strategy that had started last."""
        trades, started = trades_of(self.recording.recordings[pair]), self.decisions(DecisionKind.START, pair=pair)
        strategies = [one for one, _ in self.config.algorithm.trading()]
        families = self.config.algorithm.roster.strategies
        at = np.searchsorted(started["ts"], trades["entry_ts"], side="right") - 1
        found = []
        for place, kind in zip(at.tolist(), trades["entry"].tolist(), strict=True):
            own = strategies[0] if len(strategies) == 1 else families[int(started["a"][max(place, 0)])]
            found.append((own.name, own.entries[kind]))
        return found

    @cached_property
    def trade_frame(self) -> pl.DataFrame:
        """Trades of all pairs by time, each with the strategy that opened it."""
        parts = []
        for index, pair in enumerate(self.recording.pairs):
            strategies = pl.Series("strategy", [own for own, _ in self._entries(index)], dtype=pl.String)
            parts.append(self.of_pair(pair).trades.with_columns(strategies))
        return pl.concat(parts).sort("entry_time", maintain_order=True)

    @cached_property
    def equity_frame(self) -> pl.DataFrame:
        """One row per bar: ts, equity, benchmark (all pairs held), each pair's profit and the worth of its position."""
        profits = {f"{pair}_profit": values for pair, values in self.profits.items()}
        worth = {f"{pair}_position": values for pair, values in self.holdings.items()}
        account = {"ts": self.ts, "equity": self.equity, "benchmark": self.benchmark}
        return pl.DataFrame({**account, **profits, **worth})

    def frame(self, name: str) -> pl.DataFrame:
        """Fills or trades of all pairs in one frame, by time."""
        by = "ts" if name == "fills" else "entry_time"
        return pl.concat([getattr(self.of_pair(pair), name) for pair in self.recording.pairs]).sort(
            by, maintain_order=True
        )


_RUN = frozenset(PortfolioConfig.model_fields)  # keys that are no section of the algorithm


@dataclass(frozen=True)
class _Loaded:
    name: str


@dataclass(frozen=True)
class _Named:
    """What a pair's frames need of a config: names and the capital."""

    portfolio: PortfolioConfig
    pair: str

    @property
    def loaded(self) -> _Loaded:
        return _Loaded(strategy_name(self.portfolio))

    @property
    def capital(self) -> float:
        return self.portfolio.deposits


def strategy_name(config: PortfolioConfig) -> str:
    """Short name of what trades: a strategy of the user's by its own, not by where it was found."""
    alone = config.algorithm.alone
    return config.strategy if alone is None else alone.strategy


def _mode_names() -> list[str]:
    return ["normal", *(mode.name.lower() for mode in Mode if mode.name)]


def _shares(spans: list[tuple[int, int, str]]) -> dict[str, float]:
    """Share of the whole time that each name takes."""
    whole = sum(b - a for a, b, _ in spans)
    shares: dict[str, float] = {}
    for a, b, name in spans:
        shares[name] = shares.get(name, 0.0) + (b - a) / whole
    return dict(sorted(shares.items()))


def _mean(parts: list[dict[str, float]]) -> dict[str, float]:
    names = sorted({name for part in parts for name in part})
    return {name: sum(part.get(name, 0.0) for part in parts) / len(parts) for name in names}
