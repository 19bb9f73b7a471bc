"""What tells whether a backtest of a strategy may be believed: six checks, each pass, fail or review.

A look-ahead is proved by replay: bars are cut off, or become those of a random walk, behind events of the run, and
what was decided up to there must be the same bits. Nothing here is proved of a strategy that decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.decision_log import (
    ROOM,
    Replay,
    at_another_date,
    bars_of,
    decisions,
    part_of,
    random_world,
    with_another_future,
)
from backtesting.exchange import Outcome
from backtesting.run import warmup_start
from backtesting.simulator import PreparedCandles, Recording
from bot.candles import iso
from bot.errors import Misconfigured, TradingError, cut
from bot.order import OrderKind
from bot.strategy import Event, Strategy, fresh_copy, inputs_of, names_of
from bot.strategy_file import neighbours
from bot.times import DAY, HOUR
from coordinator.config import BacktestConfig, FundingSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

CUTS = 60  # of each kind of event, where nobody says every how many
FUTURE = 3 * DAY  # of a random future
WALKS = 100
SIGNIFICANT = 3.5  # standard errors of a mean
# Whole cycles of the calendar (400 years), of weeks, and of the blocks of inputs on bars up to an hour, and on longer.
LATER, LATER_BY_LONG_BLOCKS = 1_460_970 * DAY, 5_843_880 * DAY
MUCH_DATA = 200  # numbers that a module holds
LOOKS_UP = "it looks something up by time that is not in the candles, and may know what comes"
TRIED = 8  # history lengths, each twice the one before


class CheckVerdict(StrEnum):
    """What a check found: `review` wants a person's judgement."""

    PASS = "pass"  # noqa: S105, no password
    FAIL = "fail"
    REVIEW = "review"


@dataclass(frozen=True)
class CheckResult:
    """One check's verdict, in one sentence, with its figures."""

    check: str
    verdict: CheckVerdict
    sentence: str
    figures: dict[str, Any] = field(default_factory=dict)


class Raised(TradingError):
    """The strategy's own Python code raised an error while it was played."""


def check_strategy(
    config: BacktestConfig,
    prepared: PreparedCandles,
    *,
    every: int | None = None,
    walks: int = WALKS,
    progress: Callable[[float], None] | None = None,
) -> Iterator[CheckResult]:
    """Run all checks, yielding one finding after the other.

    One event of `every` of each kind is a cut: about 60 of a kind if it is None. `progress` hears the share that is
    done. Raises Misconfigured for what cannot be played.
    """
    yield from _Checks(config, prepared, every, walks, progress or (lambda _share: None)).all()


@dataclass
class _Checks:
    config: BacktestConfig
    prepared: PreparedCandles
    every: int | None
    walks: int
    show: Callable[[float], None]
    done: int = 0

    def __post_init__(self) -> None:
        """Take the strategy as a process that has never played it has it."""
        self.config = self.config.changed(start=None, end=None)
        self.subject = fresh_copy(self.config.loaded)
        lengths = [one.length(self.config.parameters.timeframe_ms) for one in self._declared().values()]
        self.later = LATER if max(lengths, default=0) <= HOUR else LATER_BY_LONG_BLOCKS
        self.steps = 4 * CUTS + self.walks + 20

    def _declared(self) -> dict[str, Any]:
        return inputs_of(self.subject, self.config.parameters)

    def all(self) -> Iterator[CheckResult]:
        """Determinism comes first: what a strategy remembers of a run must not have been there before it."""
        try:
            repeated = self.determinism()
        except Raised as error:
            raise Misconfigured(f"strategy {self.subject.name} raised {error} as it was played; mend it.") from error
        yield repeated
        for check in (self.look_ahead, self.warm_up, self.scale, self.random_walk, self.doubled_costs):
            yield check()

    # Playing

    def replay(
        self,
        prepared: PreparedCandles,
        source: Strategy | None = None,
        wanted: int = 0,
        config: BacktestConfig | None = None,
        *,
        plain: bool = False,
    ) -> _Played:
        """Play candles with inputs of a fresh copy, or of the one given; raises Raised for what its code raises."""
        self.done += 1
        self.show(min(self.done / self.steps, 1.0))
        run = Replay(config or self.config, self.subject, source or self.copy(), wanted, plain=plain)
        try:
            return _Played(run.run(prepared), run)
        except (TradingError, MemoryError):
            raise
        except Exception as error:  # the user's code may raise anything as it is played
            raise Raised(f"{type(error).__name__}: {cut(str(error))}") from error

    def copy(self) -> Strategy:
        """Return the strategy as its inputs are computed afresh: one without inputs remembers nothing."""
        return fresh_copy(self.config.loaded) if names_of(self.subject) else self.subject

    @cached_property
    def reference(self) -> _Played:
        """The run that all others are compared with."""
        return self.replay(self.prepared)

    # Look-ahead

    @cached_property
    def held(self) -> str:
        """Name the data that modules of the user's hold, with their sizes; empty if there are none."""
        found = {}
        for module in neighbours(self.subject.decide.__module__):
            for name, value in vars(module).items():
                size = value.size if isinstance(value, np.ndarray) else 0
                if isinstance(value, list | tuple | dict | set) and not name.startswith("__"):
                    size = len(value)
                elif hasattr(value, "height") and hasattr(value, "columns"):  # a frame of Polars
                    size = value.height
                elif hasattr(value, "iloc"):  # of pandas
                    size = len(value)
                if size >= MUCH_DATA:
                    found[name] = f"{name} ({size:,} values)"
        return cut(", ".join(found.values()))

    def look_ahead(self) -> CheckResult:
        """Replay with the future cut and randomised, and at another date."""
        log = self.reference.log
        bars = bars_of(log, self.prepared)
        cuts = self._cuts(log["kind"], bars)
        self.steps = self.done + 2 * len(cuts) + self.walks + 18
        if not np.any(log["code"]):
            return CheckResult(
                "look-ahead", CheckVerdict.REVIEW, "It wanted no order in this period: nothing is proved."
            )
        odd_input = ""
        for bar in cuts.tolist():
            found = self._cut_at(bar, bars)
            if isinstance(found, CheckResult):
                return found
            odd_input = odd_input or found
        told = f"{len(cuts)} cuts, {len(log):,} events"
        moved = self._moved()
        if moved is not None:
            return moved
        verdict = CheckVerdict.REVIEW if odd_input or self.held else CheckVerdict.PASS
        sentence = f"Decisions are the same bits with the future cut and randomised, and at another date: {told}."
        if odd_input:
            sentence = f"{odd_input}; no decision was another at {told}."
        elif self.held:
            sentence = f"Its module holds {self.held}: no replay shows what it knows; else clean at {told}."
        return CheckResult("look-ahead", verdict, sentence, {"cuts": len(cuts), "events": len(log)})

    def _cut_at(self, bar: int, bars: NDArray[np.int64]) -> CheckResult | str:
        """Replay with two other futures after a bar; a finding, or the name of an input that differs, or nothing."""
        log, prepared, odd_input = self.reference.log, self.prepared, ""
        end = int(np.searchsorted(prepared.candles.ts, int(prepared.candles.ts[bar]) + FUTURE, side="right"))
        worlds = {
            "is cut off": part_of(prepared, 0, bar + 1),
            "is a random walk's": with_another_future(prepared, bar + 1, max(end, bar + 1), seed=bar),
        }
        known = int(np.searchsorted(bars, bar, side="right"))
        for how, world in worlds.items():
            after = f"where the future after {self._when(bar)} {how}"
            try:
                other = self.replay(world)
            except Raised as error:
                return CheckResult("look-ahead", CheckVerdict.FAIL, f"It raised {error} {after}.")
            difference = _first_difference(log[:known], other.log[bars_of(other.log, world) <= bar])
            if difference is not None:
                return self._looked_ahead(difference, world, after, bar)
            odd_input = odd_input or self._other_input(other, bar, after)
        return odd_input

    def _cuts(self, kinds: Any, bars: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bars after which the future is cut: of one event of every so many of each kind, drawn by a fixed seed.

        Drawn, since equal steps would meet longer bars always at the same place.
        """
        rng, chosen = np.random.default_rng(1), []
        for kind in np.unique(kinds):
            places = np.flatnonzero(kinds == kind)
            stride = self.every or max(len(places) // CUTS, 1)
            starts = np.arange(0, len(places), stride)
            drawn = starts + rng.integers(0, stride, len(starts))
            chosen.append(places[drawn[drawn < len(places)]])
        found = np.unique(bars[np.concatenate(chosen)]) if chosen else np.zeros(0, np.int64)
        return found[found < len(self.prepared.candles.ts) - 1]  # the last bar has no future

    def _looked_ahead(self, at: int, world: PreparedCandles, after: str, bar: int) -> CheckResult:
        log = self.reference.log
        moment = f"{Event(int(log[at]['kind'])).name} at {iso(int(log[at]['time']))}" if at < len(log) else "the end"
        told = self._orders(at, self.prepared, world)
        blame = self._other_input(self.replay(world), bar, after)
        because = f" ({blame})" if blame else ""
        sentence = f"The decision on {moment} is another {after}: {told}{because}."
        return CheckResult("look-ahead", CheckVerdict.FAIL, sentence, {"event": at})

    def _orders(self, at: int, ours: PreparedCandles, theirs: PreparedCandles) -> str:
        """Say which order differs after event `at`, from 0."""
        both = [self.replay(world, wanted=at + 1).recording.state.kept for world in (ours, theirs)]
        for index, (one, other) in enumerate(zip(*both, strict=True)):
            if one.tobytes() != other.tobytes():
                return f"slot {index} was to {self._told(one)}, and is to {self._told(other)}"
        return "the event came to another time, or an order is another of the same price"

    def _told(self, order: Any) -> str:
        if not order.side:
            return "be empty"
        kind, instrument = OrderKind(int(order.kind)), self.prepared.instrument
        price = "" if kind is OrderKind.MARKET else f" at {instrument.price_text(int(order.price))}"
        quantity = instrument.quantity_text(int(order.quantity))
        return f"{'buy' if order.side > 0 else 'sell'} {quantity} by {kind.name}{price}"

    def _other_input(self, other: _Played, bar: int, after: str) -> str:
        """Name the first input that has another value up to a bar, empty if none has."""
        ours, theirs = self.reference.inputs(bar), other.inputs(bar)
        for name in names_of(self.subject):
            one, two = np.ascontiguousarray(ours[1][name]), np.ascontiguousarray(theirs[1][name])
            same = min(len(one), len(two))
            odd = np.flatnonzero(one[:same].view(np.int64) != two[:same].view(np.int64))
            if len(odd):
                when = self._when(int(ours[0][odd[0]]))
                return f"Input {name} at {when} is {one[odd[0]]:.10g}, and {two[odd[0]]:.10g} {after}"
        return ""

    def _moved(self) -> CheckResult | None:
        """Play the same candles at a date on which calendar and blocks repeat; a finding where that matters."""
        years = round(self.later / DAY / 365.2425)
        world = at_another_date(self.prepared, self.later)
        try:
            log = self.replay(world, plain=bool(self.held)).log.copy()
        except Raised as error:
            if isinstance(error.__cause__, OverflowError) or "year" in str(error):
                sentence = f"It cannot be played at another date ({error}): what it looks up by time is not proved."
                return CheckResult("look-ahead", CheckVerdict.REVIEW, sentence)
            sentence = f"The same candles {years} years later cannot be played ({error}): {LOOKS_UP}."
            return CheckResult("look-ahead", CheckVerdict.FAIL, sentence)
        log["time"] -= self.later
        at = _first_difference(self.reference.log, log)
        if at is None:
            return None
        when, told = iso(int(self.reference.log[min(at, len(log) - 1)]["time"])), self._orders(at, self.prepared, world)
        sentence = (
            f"The same candles {years} years later, on the same days of the calendar, are decided otherwise at {when} "
            f"({told}): {LOOKS_UP}."
        )
        return CheckResult("look-ahead", CheckVerdict.FAIL, sentence, {"event": at})

    def _when(self, bar: int) -> str:
        return iso(int(self.prepared.candles.ts[bar]) + self.prepared.candles.bar_ms)

    # Warm-up

    def warm_up(self) -> CheckResult:
        """Trade the same period after histories of different lengths."""
        ts, own = self.prepared.candles.ts, self.config.parameters.timeframe_ms
        begin, total = int(ts[0]), int(ts[-1]) + self.prepared.candles.bar_ms - int(ts[0])
        longest = total // 2 - total // 2 % max(own, DAY)
        stated = self._stated(begin + longest)
        if 2 * stated > longest:
            longest = total * 3 // 4 - total * 3 // 4 % max(own, DAY)
            stated = self._stated(begin + longest)
        if 2 * stated > longest:
            sentence = "There is too little history to compare twice the stated warm-up with it; take more days."
            return CheckResult("warm-up", CheckVerdict.REVIEW, sentence)
        start = begin + longest
        whole = self._traded(start, longest)
        if not len(whole.fills):
            return CheckResult("warm-up", CheckVerdict.REVIEW, "Nothing was filled in the compared part of the period.")
        length, needed = stated, 0
        for _ in range(TRIED):
            if length >= longest:
                break
            if _same_trades(whole, self._traded(start, length), start):
                needed = length
                break
            length = 2 * max(length, own)
        if needed == stated:
            bars = stated // own
            sentence = f"Trades are the same after the stated warm-up of {bars:,} bars as after {longest // own:,}."
            return CheckResult("warm-up", CheckVerdict.PASS, sentence, {"stated_bars": bars})
        long_enough = f"they agree after {needed // own:,} bars" if needed else f"up to {longest // own:,} bars"
        sentence = (
            f"Trades after the stated warm-up of {stated // own:,} bars differ from those after {longest // own:,}; "
            f"{long_enough if needed else f'no shorter history agrees {long_enough}'}."
        )
        figures = {"stated_bars": stated // own, "needed_bars": needed // own or None}
        return CheckResult("warm-up", CheckVerdict.REVIEW, sentence, figures)

    def _stated(self, start: int) -> int:
        """History that the strategy says it needs to trade from `start` (ms) on, ms."""
        return start - (warmup_start(self.config.changed(start=start)) or start)

    def _traded(self, start: int, history: int) -> Recording:
        """Trade from `start` (ms) on after so much history (ms)."""
        first = int(np.searchsorted(self.prepared.candles.ts, start - history))
        part = part_of(self.prepared, first, len(self.prepared.candles.ts))
        return self.replay(part, config=self.config.changed(start=start)).recording

    # Scale

    def scale(self) -> CheckResult:
        """Cut the coin in ten: prices and volumes in other units, the same market."""
        ours = self.reference.recording
        instrument = self.prepared.instrument
        changed = {"tick_size": instrument.tick_size * 10, "lot_size": instrument.lot_size / 10}
        quantities = ("min_quantity", "max_quantity", "max_market_quantity")
        changed.update({n: getattr(instrument, n) / 10 for n in quantities if getattr(instrument, n) is not None})
        candles = replace(self.prepared.candles, volume=self.prepared.candles.volume / 10)
        world = replace(self.prepared, instrument=instrument.model_copy(update=changed), candles=candles, rolled={})
        try:
            theirs = self.replay(world).recording
        except Misconfigured as error:
            return CheckResult("scale", CheckVerdict.REVIEW, f"With prices times ten it cannot trade: {error}")
        at = _first_difference(_traded_columns(ours), _traded_columns(theirs))
        if not len(ours.fills):
            return CheckResult("scale", CheckVerdict.REVIEW, "Nothing was filled, so nothing is compared.")
        if at is None:
            sentence = f"{len(ours.fills):,} fills are the same in ticks and lots with prices times ten."
            return CheckResult("scale", CheckVerdict.PASS, sentence, {"fills": len(ours.fills)})
        fills = ours.fills if at < len(ours.fills) else theirs.fills
        sentence = (
            f"With prices times ten and quantities a tenth, fill {at + 1:,} of {len(ours.fills):,} is another "
            f"({iso(int(fills[at]['ts']))}): it measures in absolute prices or quantities, or hangs on rounding."
        )
        return CheckResult("scale", CheckVerdict.REVIEW, sentence, {"fill": at})

    # Determinism

    def determinism(self) -> CheckResult:
        """Play twice, and once more after other candles, with what the strategy's modules remember."""
        source = self.copy()
        first = self.replay(self.prepared, source)
        log = first.log.copy()
        again = self.replay(self.prepared, source)
        self.replay(random_world(self.prepared, 0), source)
        after = self.replay(self.prepared, source)
        for how, other in (("A second run", again), ("A run after one on other candles", after)):
            at = _first_difference(log, other.log)
            if (
                at is None
                and _first_difference(*(_traded_columns(one.recording) for one in (first, other))) is not None
            ):
                at = 0
            if at is not None:
                when = iso(int(log[min(at, len(log) - 1)]["time"])) if len(log) else "its begin"
                sentence = f"{how} in the same process decides otherwise from {when} on: something outlives a run."
                return CheckResult("determinism", CheckVerdict.FAIL, sentence, {"event": at})
        self.__dict__["reference"] = first
        sentence = f"{len(log):,} decisions are the same bits again, and after a run on other candles."
        if int(first.recording.state.seen) > ROOM:
            sentence = f"{sentence[:-1]}; later ones are not compared."
        return CheckResult("determinism", CheckVerdict.PASS, sentence, {"events": len(log)})

    # Money

    def random_walk(self) -> CheckResult:
        """Trade markets in which nothing can be earned."""
        execution = self.config.execution.model_copy(update={"funding_rate": 0.0, "funding": FundingSource.CONSTANT})
        config = self.config.changed(execution=execution)
        plain, source = replace(self.prepared, payments=self.prepared.payments[:0]), self.copy()
        gross, costs, trading = [], [], 0
        for seed in range(1, self.walks + 1):
            ran = self.replay(random_world(plain, seed), source, config=config).recording
            paid = float(np.sum(ran.fills["fee"]) + np.sum(ran.fills["slippage"]))
            gross.append(_profit(ran) + paid)
            costs.append(paid)
            trading += bool(len(ran.fills))
        if trading < 2:
            return CheckResult(
                "random walk", CheckVerdict.REVIEW, f"It traded on {trading} of {self.walks} random walks."
            )
        mean, cost = float(np.mean(gross)), float(np.mean(costs))
        error = float(np.std(gross, ddof=1)) / np.sqrt(len(gross))
        errors = mean / error if error > 0.0 else 0.0
        figures = {"walks": self.walks, "profit_before_costs": mean, "standard_error": error, "costs": cost}
        told = f"{mean:+,.2f} ± {error:,.2f} before costs and {mean - cost:+,.2f} after costs of {cost:,.2f}"
        if errors > SIGNIFICANT:
            sentence = f"On {self.walks} random walks it earns {told}: it knows what comes, or exploits the simulator."
            return CheckResult("random walk", CheckVerdict.FAIL, sentence, figures)
        sentence = f"On {self.walks} random walks it makes {told}."
        if errors < -SIGNIFICANT:
            sentence = f"{sentence[:-1]}; it loses more than costs, by orders that fill when the price goes on."
        return CheckResult("random walk", CheckVerdict.PASS, sentence, figures)

    def doubled_costs(self) -> CheckResult:
        """Show the result with fees and slippage doubled."""
        execution, instrument = self.config.execution, self.prepared.instrument
        doubled = {
            n: 2 * getattr(execution, n)
            for n in ("slippage_bps", "slippage_ticks", "slippage_impact", "forced_exit_bps")
        }
        fees = {n: max(2 * getattr(instrument, n), getattr(instrument, n)) for n in ("maker_fee", "taker_fee")}
        config = self.config.changed(execution=execution.model_copy(update=doubled))
        now = _profit(self.reference.recording)
        world = replace(self.prepared, instrument=instrument.model_copy(update=fees))
        try:
            ran = self.replay(world, config=config).recording
        except Misconfigured as error:
            return CheckResult("doubled costs", CheckVerdict.REVIEW, f"With costs doubled it does not trade: {error}")
        then = _profit(ran)
        ended = "" if ran.outcome is Outcome.COMPLETE else f", and the run ends early ({ran.outcome.name.lower()})"
        told = f"{now:+,.2f} ({len(self.reference.recording.fills):,} fills) becomes {then:+,.2f} ({len(ran.fills):,})"
        figures = {"profit": now, "profit_with_doubled_costs": then}
        if now > 0.0 >= then:
            sentence = f"With fees and slippage doubled the profit is gone: {told}{ended}."
            return CheckResult("doubled costs", CheckVerdict.REVIEW, sentence, figures)
        sentence = f"With fees and slippage doubled {told}{ended}."
        return CheckResult("doubled costs", CheckVerdict.PASS, sentence, figures)


@dataclass(frozen=True)
class _Played:
    recording: Recording
    run: Replay

    @property
    def log(self) -> Any:
        return decisions(self.recording)

    def inputs(self, bar: int) -> tuple[NDArray[np.int64], Any]:
        """Bars up to `bar` that complete a signal bar (m,), and the inputs of the first variant then (m,)."""
        found = self.run.found
        if found is None:
            return np.zeros(0, np.int64), None
        count = int(np.searchsorted(found.ends, bar, side="right"))
        return found.ends[:count], found.rows[self.run.strategy.name][:count, 0]


def _profit(recording: Recording) -> float:
    """Equity at the end less what was paid in, quote currency."""
    return float(recording.equity()[-1]) - float(recording.pair.ledger.deposits)


def _first_difference(ours: Any, theirs: Any) -> int | None:
    """Place of the first record that differs, or is missing in one of two; None where they are the same bits."""
    same = min(len(ours), len(theirs))
    odd = np.flatnonzero(np.asarray(ours[:same]) != np.asarray(theirs[:same]))
    if len(odd):
        return int(odd[0])
    return None if len(ours) == len(theirs) else same


def _traded_columns(recording: Recording) -> Any:
    """What was filled, and when, at which price and how much."""
    names = ["ts", "price", "quantity", "slot", "side", "kind", "signal", "liquidity"]
    columns = np.empty(len(recording.fills), np.dtype([(name, "i8") for name in names]))
    for name in names:
        columns[name] = recording.fills[name]
    return columns


def _same_trades(ours: Recording, theirs: Recording, start: int) -> bool:
    """Whether two runs filled the same from `start` (ms) on."""
    both = [_traded_columns(one) for one in (ours, theirs)]
    return _first_difference(*(one[one["ts"] >= start] for one in both)) is None
