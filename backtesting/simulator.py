"""The universal simulator: a strategy's own compiled decisions on recorded time.

`PreparedCandles` are the candles of one pair in the exchange's units, with their roll-ups, made once and used by any
number of runs. `UniversalSimulator.run` plays it and gives a `Recording`: what happened, as arrays.
Nothing that was prepared can be written, wherever it lies: an array that others share in memory cannot be, and machine
code is made for either kind.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting import loop as loop_module
from backtesting.exchange import RUN, SETTINGS, Outcome
from backtesting.funding import PAYMENT, FundingHistory, payments_over, told, with_constant
from bot.candles import COLUMNS, bar_name
from bot.compile_errors import compiling
from bot.errors import BrokenLedger, Misconfigured
from bot.inputs import ByColumn
from bot.instrument import Instrument, Market, in_ticks
from bot.kernel import Record, kernel, specialise, unowned
from bot.order import FILL, SLOT
from bot.record import new_records, read_only
from bot.rollup import BAR, ROLLUP, roll_up
from bot.strategy import PAIR, Decide, Strategy, names_of, protect
from bot.times import DAY
from coordinator.columns import Asked, Columns, row_dtype
from coordinator.config import BarPath, FillPolicy, FillRule
from coordinator.parameters import RiskParameters
from coordinator.roster import VARIANTS, Roster, decide_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from bot.candles import Candles
    from bot.parameters import Parameters
    from coordinator.config import BacktestConfig, RunConfig

BALANCE_TOLERANCE = 1e-9
PRICES = ("open", "high", "low", "close")
AT_ONCE = 100_000  # base bars that are rolled up at a time
# Bars with their inputs, the base bars that end them, and the number of each: (m,) each.
SignalBars = tuple[Any, "NDArray[np.int64]", "NDArray[np.int64]"]


@dataclass(frozen=True)
class Rolled:
    """Complete bars of a timeframe (m,), the base bar that completes each, and the dropped ones' number."""

    at: Callable[[Any], NDArray[Any]]  # BAR by numbers or a slice
    ends: NDArray[np.int64]
    incomplete: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "ends", read_only(self.ends))

    @cached_property
    def bars(self) -> NDArray[Any]:
        """All of them."""
        bars: NDArray[Any] = read_only(self.at(slice(None)))
        return bars

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Number of each, counted from 1."""
        counts: NDArray[np.int64] = read_only(np.arange(1, len(self.ends) + 1))
        return counts


@dataclass(frozen=True)
class PreparedCandles:
    """Candles of one pair as the exchange reads them: arrays (n,), prices in ticks as float64."""

    instrument: Instrument
    candles: Candles
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    payments: Any  # of funding, PAYMENT (f,), NaN where the constant rate is paid; none on spot
    history: FundingHistory | None = None
    rolled: dict[int, Rolled] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = {name: read_only(getattr(self.candles, name)) for name in COLUMNS}
        object.__setattr__(self, "candles", replace(self.candles, **columns))
        for name in (*PRICES, "payments"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @cached_property
    def closes(self) -> NDArray[np.float64]:
        """The closes, one beside the other: what reads all of them need not read whole bars of several pairs."""
        closes: NDArray[np.float64] = read_only(np.ascontiguousarray(self.close))
        return closes

    @classmethod
    def of(cls, candles: Candles, instrument: Instrument, history: FundingHistory | None = None) -> PreparedCandles:
        """Convert checked candles, and the pair's funding where it is known; raises Misconfigured without candles."""
        if len(candles) == 0:
            raise Misconfigured("candles: the period holds none; widen from and to, or import more data.")
        tick = float(instrument.tick_size)
        # Whole arrays: machine code is made for a layout, and views with gaps would be another.
        open_, high, low, close = (np.ascontiguousarray(in_ticks(getattr(candles, name), tick)) for name in PRICES)
        candles = replace(
            candles, ts=np.ascontiguousarray(candles.ts), volume=np.ascontiguousarray(candles.volume, np.float64)
        )
        payments = payments_over(candles.ts, history) if instrument.market is Market.LINEAR else new_records(PAYMENT, 0)
        return cls(instrument, candles, open_, high, low, close, payments, history)

    def laid(self, ts: Any, volume: Any, *prices: Any) -> PreparedCandles:
        """Return the same candles over these equal arrays: ts, volume, and open, high, low, close in ticks."""
        return replace(
            self, candles=replace(self.candles, ts=ts, volume=volume), **dict(zip(PRICES, prices, strict=True))
        )

    def rollup(self, timeframe_ms: int) -> Rolled:
        """Bars of `timeframe_ms`, made once; raises Misconfigured when the base bars are longer or do not divide it."""
        if timeframe_ms not in self.rolled:
            self.rolled[timeframe_ms] = self._roll(timeframe_ms)
        return self.rolled[timeframe_ms]

    def _roll(self, timeframe_ms: int) -> Rolled:
        candles = self.candles
        if timeframe_ms % candles.bar_ms:
            raise Misconfigured(
                f"timeframe is {bar_name(timeframe_ms)} but the candles are {bar_name(candles.bar_ms)}; "
                "choose a timeframe that these candles divide."
            )
        if self._is_own(timeframe_ms):
            return Rolled(self._chooser(), np.arange(len(candles)), 0)
        rollup, found, first = new_records(ROLLUP, 1), [], 0
        for bases in self.base_bars():
            bars, ends = roll_up(rollup, bases, candles.bar_ms, timeframe_ms)
            found.append((bars, ends + first))
            first += len(bases)
        bars, ends = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return Rolled(bars.__getitem__, ends, int(rollup[0].incomplete))

    def _is_own(self, timeframe_ms: int) -> bool:
        """Whether the base bars are the bars of a timeframe themselves."""
        return timeframe_ms == self.candles.bar_ms <= DAY and int(self.candles.ts[0]) % timeframe_ms == 0

    def by_column(self, timeframe_ms: int) -> ByColumn:
        """Bars of a timeframe for functions over whole columns; of the base bars without laying out each bar."""
        rolled = self.rollup(timeframe_ms)
        if not self._is_own(timeframe_ms):
            return ByColumn(rolled.bars)
        return ByColumn.made(len(rolled.ends), self._base_column, lambda: rolled.bars)

    def _base_column(self, name: str) -> NDArray[Any]:
        """A column of the base bars in quote currency."""
        if name in PRICES:
            return np.asarray(getattr(self, name) * float(self.instrument.tick_size))
        return np.asarray(getattr(self.candles, name))

    def base_bars(self) -> Iterator[Any]:
        """Base bars in order, BAR (n,) with prices in quote currency, some at a time."""
        at = self._chooser()
        for first in range(0, len(self.candles), AT_ONCE):
            yield at(slice(first, first + AT_ONCE)).view(np.recarray)

    def _chooser(self) -> Callable[[Any], NDArray[Any]]:
        """What gives base bars by their numbers or a slice; roll-ups keep it, so it does not keep these candles."""
        prices = {name: getattr(self, name) for name in PRICES}
        return partial(_base_bars_at, self.candles, prices, float(self.instrument.tick_size))


def _base_bars_at(candles: Candles, prices: dict[str, NDArray[np.float64]], tick: float, chosen: Any) -> NDArray[Any]:
    """Base bars by their numbers or a slice, BAR, prices in quote currency, from prices in ticks."""
    bars = np.empty(len(candles.ts[chosen]), BAR)
    bars["ts"], bars["volume"] = candles.ts[chosen], candles.volume[chosen]
    for name, column in prices.items():
        bars[name] = column[chosen] * tick
    return bars


@dataclass(frozen=True)
class Found:
    """Rows of inputs (m,), and the base bar that completes each one's longer bar (m,)."""

    rows: Any
    ends: NDArray[np.int64]


def inputs_over(prepared: PreparedCandles, asked: Sequence[Asked]) -> Found:
    """Compute the inputs of strategies over all candles; raises Misconfigured for what cannot be computed."""
    columns, rows, ends, first = Columns(asked, prepared.candles.bar_ms), [], [], 0
    for bases in prepared.base_bars():
        completed, found = columns.take(bases)
        rows.append(found)
        ends.append(completed + first)
        first += len(bases)
    return Found(np.concatenate(rows), np.concatenate(ends))


@cache
def compiled_loop(strategy: Strategy) -> Any:
    """Compile the loop around this strategy's decisions (once per process; on disk once per source)."""
    return specialise(loop_module.loop, strategy.code_name, **bindings_of(strategy))


def bindings_of(strategy: Strategy) -> dict[str, Any]:
    """What the loop is bound to for this strategy."""
    decide = decide_alone(strategy)
    return {"decide": decide if strategy.own_stop else _protected(decide), "take_inputs": _take_inputs(strategy)}


def _take_inputs(strategy: Strategy) -> Any:
    return Roster((strategy,)).take_inputs()


def _protected(decide: Decide) -> Decide:
    """Give what a strategy holds without a stop the stop that a bot gives it, in a slot behind the strategy's own."""
    distance = RiskParameters().protective_stop

    def protected(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
        own = len(slots) - 1
        decide(pair, params, state, unowned(slots[:own]), event)
        protect(pair, slots, own, distance)

    return kernel(protected)


@dataclass(frozen=True)
class Recording:
    """What a run left: fills, cash and position after each change, desired orders, the final state."""

    prepared: PreparedCandles
    outcome: Outcome
    bars: int
    fills: NDArray[Any]
    changes: NDArray[Any]
    desired_orders: NDArray[Any]
    pair: Any
    state: Any
    slots: Any
    refused: int
    incomplete: int  # signal bars not used because a minute is missing
    funding_rate: float  # per 8 hours, where the candles have no history
    imbalance: float  # equity by its parts - equity by the money that moved, at the end

    def funding(self, since: int) -> str:
        """Say where the rates of funding came from, for the bars from `since` (ms) on."""
        prepared = self.prepared
        first, bars = np.searchsorted(prepared.candles.ts, since), prepared.payments["bar"]
        return told(prepared.payments[(bars >= first) & (bars < self.bars)], prepared.candles.ts, self.funding_rate)

    def equity(self) -> NDArray[np.float64]:
        """Equity at each close, (bars,), quote currency."""
        cash, position = self.holdings()
        return cash + self._worth_of(position)

    def worth(self) -> NDArray[np.float64]:
        """Signed worth of the position at each close, (bars,), quote currency."""
        _, position = self.holdings()
        return self._worth_of(position)

    def _worth_of(self, position: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(position * self.prepared.close[: self.bars] * self.prepared.instrument.tick_value)

    def holdings(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Cash (quote currency) and position (lots) after each bar, both (bars,)."""
        starts = np.concatenate(([0], self.changes["bar"], [self.bars]))
        lengths = np.diff(starts)
        cash = np.repeat(np.concatenate(([self.pair.ledger.deposits], self.changes["cash"])), lengths)
        position = np.repeat(np.concatenate(([0], self.changes["position"])), lengths)
        return cash, position


class UniversalSimulator:
    """One strategy with one parameter set on one pair; `run` may be called with any number of tapes."""

    def __init__(self, config: BacktestConfig, *, every_bar: bool = False, keep_desired_orders: bool = False) -> None:
        self.config = config
        self.strategy = config.loaded
        self.every_bar = every_bar
        self.keep_desired_orders = keep_desired_orders
        self.parameters = config.parameters
        self.params = new_records(config.parameters.dtype(), 1)
        self.params[0] = config.parameters.record()
        self._own_inputs: Mapping[str, NDArray[np.float64]] | None = None
        # Signal bars of the candles that were played last; `with_parameters` shares them.
        self._known: dict[int, tuple[PreparedCandles, SignalBars]] = {}

    def with_parameters(
        self, parameters: Parameters, record: Any, inputs: Mapping[str, NDArray[np.float64]] | None = None
    ) -> UniversalSimulator:
        """Return one for other parameters of the same timeframe, whose `record` the kernels see.

        `inputs`: the values of theirs at every signal bar (m,), by name; if None they have the same inputs.
        """
        other = copy.copy(self)
        other.parameters, other.params = parameters, new_records(record.dtype, 1)
        other.params[0] = record
        if inputs is not None:
            other._own_inputs, other._known = inputs, {}  # noqa: SLF001, of its own kind
        return other

    def check(self, parameters: Parameters, prepared: PreparedCandles) -> None:
        """Raise Misconfigured for parameters that cannot work on these candles."""
        config, price = self.config, float(prepared.open[0]) * float(prepared.instrument.tick_size)
        self.strategy.check(parameters, prepared.instrument, config.capital, price, config.leverage)
        parameters.check_candles(prepared.candles.bar_ms)

    def run(self, prepared: PreparedCandles) -> Recording:
        """Play the candles; raises Misconfigured for what cannot work on it and BrokenLedger if money went missing."""
        config = self.config
        self.check(self.parameters, prepared)
        rolled = prepared.rollup(self.parameters.timeframe_ms)
        pairs = self._pair(prepared)
        states = self._new_states()
        slots = new_records(SLOT, self.strategy.slots(self.parameters) + int(not self.strategy.own_stop))
        runs = new_records(RUN, 1)
        candles = prepared.candles
        payments = read_only(with_constant(prepared.payments, config.execution.funding_rate))
        settings = settings_record(config, every_bar=self.every_bar, keep_desired_orders=self.keep_desired_orders)
        settings[0].reinvest = config.reinvest
        settings[0].warmup_bars = self.parameters.warmup_bars
        settings[0].at_once = self.strategy.at_once(self.parameters)
        fills, changes, desired_orders = self._played(
            *(candles.ts, prepared.open, prepared.high, prepared.low, prepared.close, candles.volume),
            *(*self._signal_bars(prepared), payments, settings, pairs, self.params, states, slots),
            *(
                Roster((self.strategy,)).new_events(),
                runs,
                new_records(FILL, 1024),
                new_records(loop_module.CHANGE, 1024),
            ),
            *(new_records(loop_module.DESIRED, 1024), np.zeros(len(slots), np.int64)),
        )
        run = runs[0]
        if run.outcome == Outcome.RESTLESS:
            raise Misconfigured(
                f"strategy {self.strategy.name}: it answered {run.bar_fills} fills inside the bar "
                f"{int(run.ts)}; make it want less in answer to a fill."
            )
        recording = Recording(
            prepared,
            Outcome(int(run.outcome)),
            int(run.bars),
            fills[: run.fills],
            changes[: run.changes],
            desired_orders[: run.desired_orders],
            pairs[0],
            states[0],
            slots,
            int(run.refused),
            rolled.incomplete,
            config.execution.funding_rate,
            float(run.imbalance),
        )
        check_balance(recording)
        return recording

    def _signal_bars(self, prepared: PreparedCandles) -> SignalBars:
        """Signal bars with the inputs of each where the strategy has some, the bars that end them, and their count.

        Those that tell the strategy nothing are left out.
        """
        known = self._known.get(id(prepared))
        if known is None:
            bars, ends, counts = self._found_signal_bars(prepared)
            known = prepared, (read_only(bars), read_only(ends), read_only(counts))
            self._known.clear()  # those of one tape are kept
            self._known[id(prepared)] = known
        return known[1]

    def _found_signal_bars(self, prepared: PreparedCandles) -> SignalBars:
        rolled = prepared.rollup(self.parameters.timeframe_ms)
        fields: list[Any] = [("bar", BAR)]
        if not names_of(self.strategy):
            bars = rolled.bars.view(np.dtype(fields)).view(np.recarray)
            return bars, rolled.ends, rolled.counts
        columns = self._own_inputs
        if columns is None:
            table = self._inputs(prepared).rows[self.strategy.name]
            columns = {name: table[name][:, 0] for name in names_of(self.strategy)}
        chosen: Any = slice(None)
        if self.strategy.heeds and not self.every_bar:
            heeded = columns[self.strategy.heeds]
            chosen = np.flatnonzero((heeded != 0.0) & ~np.isnan(heeded))
        ends = rolled.ends[chosen]
        bars = new_records(np.dtype([*fields, ("inputs", row_dtype((self.strategy,), VARIANTS))]), len(ends))
        bars["bar"] = rolled.at(chosen)
        for name, column in columns.items():
            bars["inputs"][self.strategy.name][name] = column[chosen, None]
        return bars, ends, rolled.counts[chosen]

    def _inputs(self, prepared: PreparedCandles) -> Found:
        """Compute the inputs that the strategy reads."""
        return inputs_over(prepared, [(self.strategy, [self.parameters] * VARIANTS)])

    def _new_states(self) -> Any:
        """State of the strategy before its first event, an array of one."""
        return new_records(self.strategy.state, 1)

    def _played(self, *arguments: Any) -> Any:
        """Run the loop; raises Misconfigured when the strategy's own code does not compile."""
        with compiling((self.strategy,)):
            return compiled_loop(self.strategy)(*arguments)

    def _pair(self, prepared: PreparedCandles) -> Any:
        pairs = new_records(PAIR, 1)
        pair = pairs[0]
        pair["instrument"] = prepared.instrument.record(self.config.leverage)
        pair.bar_ms = prepared.candles.bar_ms
        pair.target = self.config.capital
        return pairs


def settings_record(config: RunConfig, *, every_bar: bool, keep_desired_orders: bool) -> Any:
    """Build the exchange's settings, an array of one; what only a single strategy has is left at zero."""
    execution, settings = config.execution, np.zeros(1, SETTINGS)
    chosen = settings[0]
    chosen["capital"] = config.deposits
    chosen["through"] = 1.0 if execution.fill_rule is FillRule.THROUGH else 0.0
    chosen["adverse"] = execution.path is BarPath.ADVERSE
    chosen["fill_at_close"] = execution.fill_policy is FillPolicy.CLOSE
    chosen["slippage"] = execution.slippage_bps / 1e4
    chosen["slippage_ticks"] = execution.slippage_ticks
    chosen["impact"] = execution.slippage_impact
    chosen["forced_exit"] = execution.forced_exit_bps / 1e4
    chosen["participation"] = execution.max_participation
    chosen["funding_rate"] = execution.funding_rate
    chosen["start"] = config.start or 0
    chosen["every_bar"] = every_bar
    chosen["keep_desired_orders"] = keep_desired_orders
    return settings.view(np.recarray)


def check_balance(recording: Recording) -> None:
    """Hold the ledger against its parts and against the fills themselves; raises BrokenLedger."""
    prepared, ledger, fills = recording.prepared, recording.pair.ledger, recording.fills
    tick_value = prepared.instrument.tick_value
    scale = float(ledger.deposits + ledger.turnover)
    signed = fills["side"].astype(np.float64) * fills["quantity"]
    spent = float(np.sum(signed * fills["price"])) * tick_value
    flows = ledger.deposits - spent - float(np.sum(fills["fee"])) + ledger.funding - ledger.cash
    held = int(np.sum(fills["side"].astype(np.int64) * fills["quantity"])) - int(ledger.position)
    for name, difference in (("its parts", recording.imbalance), ("the fills", flows)):
        if not abs(difference) <= BALANCE_TOLERANCE * scale:
            raise BrokenLedger(f"equity differs by {difference:g} from {name}; these results are not to be believed.")
    if held:
        raise BrokenLedger(f"the position differs by {held} lots from the fills; these results are not to be believed.")
