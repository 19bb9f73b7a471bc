"""The universal simulator for the whole algorithm: any number of pairs on one clock, in one compiled loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting import portfolio_loop as loop_module
from backtesting.exchange import RUN, Outcome
from backtesting.funding import with_constant
from backtesting.loop import CHANGE, DESIRED
from backtesting.portfolio_loop import CLOSING, TALLY, Cursors
from backtesting.quiet_bars import NEVER, QUIET
from backtesting.simulator import PRICES, PreparedCandles, Recording, check_balance, inputs_over, settings_record
from bot.candles import bar_name, iso
from bot.compile_errors import compiling
from bot.errors import Misconfigured, OutOfStep
from bot.kernel import specialise
from bot.order import FILL, SLOT
from bot.record import new_records, read_only
from bot.rollup import BAR
from bot.strategy import PAIR
from coordinator import pair as pair_step
from coordinator.columns import row_dtype, unknown
from coordinator.machine import new_portfolio_state, slots_of
from coordinator.pair_state import MOST_DECISIONS, state_dtype
from coordinator.phase import fault_sentence
from coordinator.roster import VARIANTS, Roster
from coordinator.vocabulary import DECISION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from backtesting.funding import FundingHistory
    from bot.candles import Candles
    from bot.instrument import Instrument
    from coordinator.config import Investment, PortfolioConfig

ROOM = 65_536  # places in each list to begin with; one that is not written to takes no memory


@dataclass(frozen=True)
class PreparedPortfolio:
    """Candles of several pairs, flat: pair p's bars lie at bounds[p]:bounds[p + 1]; `tapes` are views of them."""

    pairs: tuple[str, ...]
    tapes: tuple[PreparedCandles, ...]
    bars: Any  # BAR, prices in ticks: a bar is one line of the processor's cache
    bounds: NDArray[np.int64]
    closed: dict[tuple[int, ...], tuple[Any, NDArray[np.int64]]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        candles: dict[str, Candles],
        instruments: dict[str, Instrument],
        histories: Mapping[str, FundingHistory] | None = None,
    ) -> PreparedPortfolio:
        """Lay checked candles out in the order of their symbols; takes them out of the dict, to need them once.

        Raises Misconfigured for a pair without candles, and where the lengths of the bars or their beginnings differ.
        """
        pairs = sorted(candles)
        lengths = {pair: candles[pair].bar_ms for pair in pairs}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{pair} {bar_name(length)}" for pair, length in lengths.items())
            raise Misconfigured(f"pairs have bars of different lengths ({told}); import all of them with the same.")
        begin = {pair: int(candles[pair].ts[0]) % lengths[pair] for pair in pairs if len(candles[pair])}
        if len(set(begin.values())) > 1:
            told = ", ".join(f"{pair} {iso(at)[11:16]}" for pair, at in begin.items())
            raise Misconfigured(f"pairs have bars that begin at different times ({told} UTC); import them of one kind.")
        bounds = np.cumsum([0] + [len(candles[pair]) for pair in pairs]).astype(np.int64)
        bars = np.empty(bounds[-1], BAR)
        tapes = []
        for index, pair in enumerate(pairs):
            part = bars[bounds[index] : bounds[index + 1]]
            prepared = PreparedCandles.of(candles.pop(pair), instruments[pair], (histories or {}).get(pair))
            part["ts"], part["volume"] = prepared.candles.ts, prepared.candles.volume
            for name in PRICES:
                part[name] = getattr(prepared, name)
            tapes.append(prepared.laid(part["ts"], part["volume"], *(part[name] for name in PRICES)))
        return cls(tuple(pairs), tuple(tapes), read_only(bars.view(np.recarray)), read_only(bounds))

    @cached_property
    def clock(self) -> NDArray[np.int64]:
        """Every opening time at which some pair has a bar, ms."""
        first, last, bar_ms = self.bars.ts.min(), self.bars.ts.max(), self.tapes[0].candles.bar_ms
        some = np.zeros((last - first) // bar_ms + 1, np.bool_)
        for prepared in self.tapes:
            some[(prepared.candles.ts - first) // bar_ms] = True
        clock: NDArray[np.int64] = read_only(first + np.flatnonzero(some) * bar_ms)
        return clock

    def closings(self, timeframes: tuple[int, ...]) -> tuple[Any, NDArray[np.int64]]:
        """Every longer bar of every pair by the base bar that completes it, shorter before longer; and its bounds."""
        if timeframes not in self.closed:
            self.closed[timeframes] = self._closings(timeframes)
        return self.closed[timeframes]

    def _closings(self, timeframes: tuple[int, ...]) -> tuple[Any, NDArray[np.int64]]:
        parts, bounds = [], [0]
        for prepared, first in zip(self.tapes, self.bounds, strict=False):
            rolled = [prepared.rollup(timeframe) for timeframe in timeframes]
            part = np.zeros(sum(len(one.ends) for one in rolled), CLOSING)
            part["end"] = np.concatenate([one.ends for one in rolled]) + first
            part["timeframe"] = np.repeat(timeframes, [len(one.ends) for one in rolled])
            part["bar"] = np.concatenate([one.bars for one in rolled])
            parts.append(part[np.lexsort((part["timeframe"], part["end"]))])
            bounds.append(bounds[-1] + len(part))
        return read_only(np.concatenate(parts).view(np.recarray)), read_only(np.array(bounds, np.int64))

    def payments(self, constant: float) -> tuple[Any, NDArray[np.int64]]:
        """Payments of funding by pair, PAYMENT with flat bars, and their bounds; `constant`: rate without history."""
        parts = [with_constant(prepared.payments, constant) for prepared in self.tapes]
        for part, first in zip(parts, self.bounds, strict=False):
            part["bar"] += first
        bounds = np.cumsum([0] + [len(part) for part in parts]).astype(np.int64)
        return read_only(np.concatenate(parts).view(np.recarray)), read_only(bounds)


@dataclass(frozen=True)
class PortfolioRecording:
    """What a run of the whole algorithm left."""

    pairs: tuple[str, ...]
    recordings: tuple[Recording, ...]  # one per pair
    outcome: Outcome
    ts: NDArray[np.int64]  # clock: opening times
    equity: NDArray[np.float64]  # of the account at each close of the clock
    decisions: NDArray[Any]
    portfolio: Any
    incomplete: int


@cache
def compiled_loop(roster: Roster) -> Any:
    """Compile the loop around the whole algorithm for a roster (once per process; on disk once per source)."""
    bindings = {"decide": pair_step.decide, "dispatch": roster.dispatch(), "take_inputs": roster.take_inputs()}
    return specialise(loop_module.portfolio_loop, roster.code_name, inlined=False, **bindings)


def _with_room(records: Any, used: int) -> Any:
    """The same list, four times as long once it is half full."""
    if 2 * used < len(records):
        return records
    larger = np.empty(4 * len(records), records.dtype)
    larger[:used] = records[:used]
    return larger.view(np.recarray)


def _invest(investments: list[Investment], portfolio: Any, now: int) -> int:
    """Let the portfolio's next step take what is due at `now` (ms) out of the list; returns when the next is due."""
    while investments and investments[0].at <= now:
        portfolio.investment += investments.pop(0).amount
        portfolio.urged = True
    return investments[0].at if investments else NEVER


class PortfolioSimulator:
    """The whole algorithm with one parameter set; `run` may be called with any number of reels."""

    def __init__(self, config: PortfolioConfig, *, every_bar: bool = False, keep_desired_orders: bool = False) -> None:
        self.config = config
        self.every_bar = every_bar
        self.keep_desired_orders = keep_desired_orders
        self.slots = slots_of(config.algorithm)
        self.roster = config.algorithm.roster
        self.params: dict[tuple[str, ...], Any] = {}

    def params_for(self, pairs: tuple[str, ...]) -> Any:
        """Return the kernels' view of the parameters for these pairs, an array of one, made once."""
        if pairs not in self.params:
            record = self.config.algorithm.record(list(pairs))
            self.params[pairs] = new_records(record.dtype, 1)
            self.params[pairs][0] = record
        return self.params[pairs]

    def run(
        self, prepared_pairs: PreparedPortfolio, progress: Callable[[float], None] | None = None
    ) -> PortfolioRecording:
        """Play the candles of all pairs, telling `progress` the share that is done.

        Raises Misconfigured for what cannot work on it and BrokenLedger if money went missing.
        """
        config, count = self.config, len(prepared_pairs.pairs)
        self.check(prepared_pairs)
        closings, closing_bounds = prepared_pairs.closings(config.algorithm.timeframes())
        closings = self._with_inputs(prepared_pairs, closings, closing_bounds)
        payments, payment_bounds = prepared_pairs.payments(config.execution.funding_rate)
        pairs, states = new_records(PAIR, count), new_records(state_dtype(self.roster.strategies), count)
        for pair, prepared in zip(pairs, prepared_pairs.tapes, strict=True):
            pair["instrument"] = prepared.instrument.record(config.leverage)
            pair.bar_ms = prepared.candles.bar_ms
        params = self.params_for(prepared_pairs.pairs)
        slots = new_records(SLOT, count * self.slots).reshape(count, -1)
        runs, tallies, portfolio_state = new_records(RUN, count), new_records(TALLY, 1), new_portfolio_state(count)
        bar_ms = int(prepared_pairs.tapes[0].candles.bar_ms)
        first, last = int(prepared_pairs.clock[0]), int(prepared_pairs.clock[-1])
        equity = np.empty(len(prepared_pairs.clock))
        settings = settings_record(config, every_bar=self.every_bar, keep_desired_orders=self.keep_desired_orders)
        arguments = (
            *(prepared_pairs.bars, prepared_pairs.bounds, closings, closing_bounds, payments, payment_bounds),
            *(settings, params, portfolio_state, pairs, states, slots, self.roster.new_events(), runs),
            *(Cursors(*np.empty((6, count), np.int64)), new_records(QUIET, count), tallies),
        )
        lists, tally, investments = self._lists(count, slots.shape[1]), tallies[0], list(config.investments)
        shown, play = np.zeros(slots.shape, np.int64), compiled_loop(self.roster)
        while not tally.begun or (tally.clock <= last and tally.outcome == Outcome.COMPLETE):
            begun = int(tally.clock) if tally.begun else first
            part = NEVER if progress is None else begun + (last - first) // 100 + bar_ms
            part = min(part, _invest(investments, portfolio_state.portfolio, begun + bar_ms) - bar_ms)
            fills, changes, desired_orders, decisions = lists
            with compiling([one.strategy for one in config.algorithm.own] or self.roster.strategies):
                play(*arguments, fills, changes, desired_orders, shown, decisions, equity, part)
            if tally.outcome == Outcome.COMPLETE and tally.clock < part:
                used = (tally.fills, tally.changes, tally.desired_orders, tally.decisions)
                lists = [_with_room(one, count) for one, count in zip(lists, used, strict=True)]
            if progress is not None:
                progress(min((min(int(tally.clock), last) - first) / max(last - first, 1), 1.0))
        fills, changes, desired_orders, decisions = lists
        if tally.outcome == Outcome.RESTLESS:
            answered = f"{prepared_pairs.pairs[tally.pair]} answered {runs[tally.pair].bar_fills} fills"
            raise Misconfigured(
                f"strategy {config.strategy}: {answered} inside the bar "
                f"{int(runs[tally.pair].ts)}; make it want less in answer to a fill, or raise execution.slippage_bps."
            )
        recordings = self._split(
            prepared_pairs,
            Outcome(int(tally.outcome)),
            (pairs, states, slots, runs),
            fills[: tally.fills],
            changes[: tally.changes],
            desired_orders[: tally.desired_orders],
        )
        for recording in recordings:
            check_balance(recording)
        for pair, state in zip(prepared_pairs.pairs, states, strict=True):
            if state.fault:
                raise OutOfStep(
                    f"{pair}: {fault_sentence(int(state.fault))}; the figures of this run cannot be believed."
                )
        return PortfolioRecording(
            prepared_pairs.pairs,
            recordings,
            Outcome(int(tally.outcome)),
            prepared_pairs.clock[: tally.times],
            equity[: tally.times],
            decisions[: tally.decisions],
            portfolio_state.portfolio,
            sum(one.incomplete for prepared in prepared_pairs.tapes for one in prepared.rolled.values()),
        )

    def _with_inputs(self, prepared_pairs: PreparedPortfolio, closings: Any, bounds: NDArray[np.int64]) -> Any:
        """Longer bars with the inputs of the strategies that have some; as they are where none has."""
        rows = row_dtype(self.roster.strategies, VARIANTS)
        if rows is None:
            return closings
        whole = new_records(np.dtype([*CLOSING.descr, ("inputs", rows)]), len(closings))
        for name in CLOSING.names or ():
            whole[name] = closings[name]
        whole["inputs"] = unknown(rows, 1)[0]
        for p, prepared in enumerate(prepared_pairs.tapes):
            found = inputs_over(prepared, self.config.algorithm.asked())
            own = whole[bounds[p] : bounds[p + 1]]
            at = np.searchsorted(found.ends, own["end"] - prepared_pairs.bounds[p])
            there = np.flatnonzero(np.isin(own["end"] - prepared_pairs.bounds[p], found.ends))
            own["inputs"][there] = found.rows[at[there]]
        return read_only(whole)

    def _lists(self, count: int, slots: int) -> list[Any]:
        """Lists of fills, changes, desired orders and decisions with room for many times of the clock."""
        lengths = (
            (FILL, ROOM + 4 * count * loop_module.fills_needed(slots)),
            (CHANGE, ROOM + 4 * count),
            (DESIRED, ROOM + 4 * count * slots),
            (DECISION, ROOM + 12 * (count + 1) * MOST_DECISIONS),
        )
        return [np.empty(length, dtype).view(np.recarray) for dtype, length in lengths]

    def check(self, prepared_pairs: PreparedPortfolio) -> None:
        """Refuse parameters that cannot work on one of the pairs; raises Misconfigured with the pair's name."""
        config, count = self.config, len(prepared_pairs.pairs)
        for pair, prepared in zip(prepared_pairs.pairs, prepared_pairs.tapes, strict=True):
            price = float(prepared.open[0]) * float(prepared.instrument.tick_size)
            algorithm = config.algorithm
            largest = max(1.0 / count, algorithm.allocation.pair_cap)
            capital = config.capital * (algorithm.fixed_share(pair, count) if algorithm.fixed_shares else largest)
            try:
                for strategy, parameters in algorithm.trading():
                    strategy.check(parameters, prepared.instrument, capital, price, config.leverage)
                    parameters.check_candles(prepared.candles.bar_ms)
            except Misconfigured as error:
                raise Misconfigured(f"{pair}: {error}") from None

    def _split(
        self,
        prepared_pairs: PreparedPortfolio,
        outcome: Outcome,
        records: tuple[Any, ...],
        fills: Any,
        changes: Any,
        desired_orders: Any,
    ) -> tuple[Recording, ...]:
        """Give every pair its own recording, bars counted from its first."""
        pairs, states, slots, runs = records
        recordings = []
        for p, prepared in enumerate(prepared_pairs.tapes):
            first = prepared_pairs.bounds[p]
            own_fills, own_changes, own_desired_orders = (
                one.take(np.flatnonzero(one["pair"] == p)) for one in (fills, changes, desired_orders)
            )
            for one in (own_fills, own_changes, own_desired_orders):
                one["bar"] -= first
            recordings.append(
                Recording(
                    prepared=prepared,
                    outcome=outcome,
                    bars=int(runs[p].bars),
                    fills=own_fills,
                    changes=own_changes,
                    desired_orders=own_desired_orders,
                    pair=pairs[p],
                    state=states[p],
                    slots=slots[p],
                    refused=int(runs[p].refused),
                    incomplete=sum(rolled.incomplete for rolled in prepared.rolled.values()),
                    funding_rate=self.config.execution.funding_rate,
                    imbalance=float(runs[p].imbalance),
                )
            )
        return tuple(recordings)
