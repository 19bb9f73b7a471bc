"""A part of a period on which the variants of a space are played, and the rows that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from backtesting.candle_checks import check
from backtesting.candles import read_candles
from backtesting.metrics import daily_returns, last_worth
from backtesting.portfolio_result import held_worth
from backtesting.portfolio_run import PreparedRun, play_portfolio, prepare_portfolio
from backtesting.run import limits_may_bind, play_single, prepare, warmup_start
from backtesting.simulator import UniversalSimulator
from bot.candles import COLUMNS
from bot.errors import Misconfigured
from bot.gate import with_gate
from bot.record import new_records
from bot.strategy import inputs_of
from bot.times import DAY
from coordinator.columns import inputs_start
from coordinator.config import PortfolioConfig
from search.market_rules import MarketRules
from search.pair_space import PairSpace
from search.portfolio_score import score_portfolio
from search.score import SCORE, scored
from search.signals import Signals, shares

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from backtesting.funding import FundingHistory
    from backtesting.instruments import DatedInstrument
    from backtesting.run import Prepared
    from backtesting.simulator import PreparedCandles, Recording
    from bot.candles import Candles
    from bot.instrument import Instrument
    from bot.parameters import Parameters
    from coordinator.config import BacktestConfig, RunConfig
    from search.portfolio_space import PortfolioSpace
    from search.reading import AnySpace
    from search.space import Space

KEPT = 32  # sets of signal bars and inputs that a window remembers
TRIED = 8  # variants of which one may compile what plays the others
NOTHING_VALID = "no combination of the space is valid; widen its values."


@dataclass(frozen=True)
class ScoredRows:
    """Variants that were played on a window, and how many were not."""

    numbers: NDArray[np.int64]  # (k,), ascending
    scores: NDArray[Any]  # SCORE (k,)
    daily: NDArray[np.float32]  # returns of each UTC day (k, d)
    excluded: int = 0  # combinations that contradict themselves
    unplayable: int = 0  # variants that cannot work with this capital on this instrument
    refusal: str = NOTHING_VALID  # why the last of those cannot

    def __len__(self) -> int:
        return len(self.numbers)


def joined(parts: Sequence[ScoredRows]) -> ScoredRows:
    """Rows of several, in their order."""
    return ScoredRows(
        np.concatenate([one.numbers for one in parts]),
        np.concatenate([one.scores for one in parts]),
        np.concatenate([one.daily for one in parts]),
        sum(one.excluded for one in parts),
        sum(one.unplayable for one in parts),
        next((one.refusal for one in reversed(parts) if one.unplayable), NOTHING_VALID),
    )


Job = Callable[[], ScoredRows]


class Window(Protocol):
    """A part of a period. `job` is asked in one thread alone, and what it gives may be called in any."""

    start: int  # ms
    end: int
    pair_daily: NDArray[np.float64]  # returns of each pair itself, or of pairs held in equal parts, (p, d)

    def pair_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of `pair_daily` beside which each of these variants is judged, (k,)."""
        ...

    def job(self, numbers: NDArray[np.int64]) -> Job:
        """Make variants (k,) ready, and return what plays them; those that contradict themselves are left out."""
        ...

    def closing(self, number: int) -> float:
        """What it costs to close, at the end, all that a variant holds then, fraction of its equity."""
        ...


@dataclass(frozen=True)
class MarketHistory:
    """What is known of the pairs: sound candles, what the venue says of each, and the funding that it paid, by pair."""

    candles: Mapping[str, Candles]
    fetched: Mapping[str, Instrument | DatedInstrument]
    funding: Mapping[str, FundingHistory]

    def snapshot(self) -> str:
        """Name of the candles: equal data, equal name."""
        return "-".join(candles.snapshot() for _, candles in sorted(self.candles.items()))

    def size(self) -> int:
        """Bytes of the candles."""
        return sum(len(one) * len(COLUMNS) * np.dtype(np.float64).itemsize for one in self.candles.values())

    def span(self) -> tuple[int, int]:
        """Time from which all pairs have candles, ms, and the time until which one of them has."""
        candles = self.candles.values()
        start = max(int(one.ts[0]) for one in candles)
        return start, max(int(one.ts[-1]) + one.bar_ms for one in candles)


def together(markets: Sequence[MarketHistory]) -> MarketHistory:
    """What is known of the pairs of each of these."""
    found = MarketHistory({}, {}, {})
    for one in markets:
        found = MarketHistory(
            {**found.candles, **one.candles}, {**found.fetched, **one.fetched}, {**found.funding, **one.funding}
        )
    return found


def market_of(
    config: BacktestConfig | PortfolioConfig, candles: Any, fetched: Any = None, funding: Any = None
) -> MarketHistory:
    """Name candles, or files of them, instruments and funding by pair; for one pair they may be given as they are.

    Raises BadCandles: every window would look at all of them again.
    """
    pair = config.pairs[0] if isinstance(config, PortfolioConfig) else config.pair
    given = dict(candles) if isinstance(candles, dict) else {pair: candles}
    read = {one: read_candles(found) if isinstance(found, str | Path) else found for one, found in given.items()}
    for found in read.values():
        check(found)
    known, paid = ({pair: one} if one is not None and not isinstance(one, dict) else one for one in (fetched, funding))
    return MarketHistory(read, known or {}, paid or {})


def window_of(space: AnySpace, market: MarketHistory, start: int, end: int) -> Window:
    """Window for the variants of a space, and compile what plays them; raises Misconfigured where nothing can."""
    if isinstance(space, PairSpace):
        return PairsWindow(space, market, start, end)
    kind: Any = PortfolioWindow if space.portfolio else SingleWindow
    window: Window = kind(space, market, start, end)
    return window


def days_of_pair(window: Window, number: int) -> NDArray[np.float64]:
    """Daily returns of the pair beside which a variant is judged, (d,)."""
    own: NDArray[np.float64] = window.pair_daily[window.pair_of(np.array([number]))[0]]
    return own


@dataclass(frozen=True)
class Ready:
    """What variants with the same timeframe and warm-up are played on: all of them, or those with the same inputs."""

    made: Prepared
    simulator: UniversalSimulator
    limited: bool  # the instrument's limits may bind, which the fast loop does not know
    signals: Signals | None  # where conditions are the only inputs
    market_rules: MarketRules | None  # where rules may be played many at a time

    def simulator_for(self, parameters: Parameters, record: Any) -> UniversalSimulator:
        """Return a simulator of a variant; its inputs are computed here, what they share once."""
        if self.signals is None:
            return self.simulator.with_parameters(parameters, record)
        inputs = inputs_of(self.simulator.strategy, parameters)
        return self.simulator.with_parameters(parameters, record, self.signals.columns(inputs))


class SingleWindow:
    """One strategy on one pair."""

    def __init__(self, space: Space, market: MarketHistory, start: int, end: int) -> None:
        self.space, self.start, self.end = space, start, end
        pair = space.first.pair
        self._candles, self._fetched = market.candles[pair], market.fetched.get(pair)
        self._funding = market.funding.get(pair)
        self._ready: dict[Any, Ready] = {}
        self._made: dict[tuple[int, bool], Prepared] = {}
        number = space.first_number
        parameters = space.parameters(number)
        ready = self.ready_for(number, parameters)
        candles, first = ready.made.candles, ready.made.first
        own = daily_returns(candles.close[first:], candles.candles.ts[first:], float(candles.open[first]))
        self.pair_daily = own[None]
        # The compiler works for one thread alone.
        records = space.records([number])[1]
        self._together([(ready, parameters)], records)
        self.score(ready, parameters, records[0])

    def ready_for(self, number: int, parameters: Parameters) -> Ready:
        """Candles, signal bars and inputs for a variant, made once for all that have them in common."""
        strategy = with_gate(self.space.strategy, parameters)
        shared = shares(inputs_of(strategy, parameters))
        since: Any = (
            # Before the first candle there is no history, however much of it is asked for.
            max(inputs_start([(strategy, [parameters])], self.start), int(self._candles.ts[0]))
            if shared
            else self.space.group(number)
        )
        key = (strategy, parameters.timeframe, parameters.warmup_bars, self.space.reinvests(parameters), since)
        if key not in self._ready:
            while len(self._ready) >= KEPT:
                self._ready.pop(next(iter(self._ready)))
            made = self._prepared(self.space.config(number).changed(start=self.start, end=self.end))
            simulator, limited = UniversalSimulator(made.config), limits_may_bind(made.config, made.candles)
            signals = Signals(made.candles, parameters.timeframe_ms) if shared and not limited else None
            self._ready[key] = Ready(made, simulator, limited, signals, MarketRules.of(made, simulator, signals))
        return self._ready[key]

    def _prepared(self, config: BacktestConfig) -> Prepared:
        """Make candles ready for a config, once for all that begin their warm-up at the same time."""
        since = max(warmup_start(config) or 0, int(self._candles.ts[0]))
        key = (since, config.parameters.sells_short)
        known = self._made.get(key)
        if known is None:
            self._made[key] = prepare(config, self._candles, fetched=self._fetched, funding=self._funding, checked=True)
            return self._made[key]
        played = {name: getattr(known.config, name) for name in ("instrument", "market", "start", "end")}
        return replace(known, config=config.changed(**played))

    def job(self, numbers: NDArray[np.int64]) -> Job:
        """Make variants ready, and return what plays them."""
        valid, records = self.space.records(numbers)
        each = []
        for number in valid.tolist():
            parameters = self.space.parameters(number)
            each.append((self.ready_for(number, parameters), parameters))
        excluded = len(numbers) - len(valid)

        return lambda: _rows(valid, self._scores(each, records), self.pair_daily.shape[1], excluded)

    def pair_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """There is one pair."""
        return np.zeros(len(numbers), np.int64)

    def closing(self, number: int) -> float:
        """What it costs to close, at the end, all that a variant holds then, fraction of its equity."""
        parameters = self.space.parameters(number)
        ready = self.ready_for(number, parameters)
        try:
            recording = self._recording(ready, parameters, self.space.records([number])[1][0])
        except Misconfigured:  # it cannot work here, and holds nothing
            return 0.0
        equity = float(recording.equity()[-1])
        return closing_costs(ready.made.config, [recording]) / equity if equity > 0.0 else 0.0

    def _scores(self, each: Sequence[tuple[Ready, Parameters]], records: Any) -> Iterator[Any]:
        """Score and daily returns of each variant (k,), or the sentence that says why it cannot work here."""
        found = self._together(each, records)
        for index, (ready, parameters) in enumerate(each):
            yield found[index] if index in found else self.score(ready, parameters, records[index])

    def _together(self, each: Sequence[tuple[Ready, Parameters]], records: Any) -> dict[int, Any]:
        """Outcomes of those that are rules which can be played many at a time, by their place."""
        found: dict[int, Any] = {}
        together: dict[MarketRules, list[int]] = {}
        for index, (ready, parameters) in enumerate(each):
            rules = ready.market_rules
            if rules is not None and rules.takes(records[index]):
                try:
                    ready.simulator.check(parameters, ready.made.candles)
                except Misconfigured as error:
                    found[index] = str(error)
                else:
                    together.setdefault(rules, []).append(index)
        for rules, places in together.items():
            outcomes = rules.play(records[places], [each[index][1] for index in places])
            found.update((index, one) for index, one in zip(places, outcomes, strict=True) if one is not None)
        return found

    def score(self, ready: Ready, parameters: Parameters, record: Any) -> Any:
        """Score of a variant and its daily returns, or the sentence that says why it cannot work here."""
        try:
            return scored(self._recording(ready, parameters, record), ready.made.first)
        except Misconfigured as error:
            return str(error)

    def _recording(self, ready: Ready, parameters: Parameters, record: Any) -> Recording:
        if ready.limited:
            return play_single(ready.made.config.changed(parameters=parameters), ready.made.candles)
        return ready.simulator_for(parameters, record).run(ready.made.candles)


class PortfolioWindow:
    """The whole algorithm, or one strategy on several pairs."""

    def __init__(self, space: PortfolioSpace, market: MarketHistory, start: int, end: int) -> None:
        self.space, self.market, self.start, self.end = space, market, start, end
        self._ready: dict[Any, PreparedRun] = {}
        self.pair_daily = held_equally(self.ready_for(space.first))[None]
        for number in range(min(space.size, TRIED)):  # the compiler works for one thread alone
            if all(not isinstance(self.score(config), str) for config in space.records([number])[1]):
                break

    def ready_for(self, config: Any) -> PreparedRun:
        """Candles for a variant, made once for all that have them in common."""
        first = min(int(one.ts[0]) for one in self.market.candles.values())
        since = max(config.algorithm.history_start(self.start), first)
        key = (since, any(own.sells_short for _, own in config.algorithm.trading()))
        config = config.changed(start=self.start, end=self.end)
        if key not in self._ready:
            known = self.market
            self._ready[key] = prepare_portfolio(
                config, known.candles, fetched=known.fetched, funding=known.funding, checked=True
            )
        return self._ready[key].with_config(config)

    def job(self, numbers: NDArray[np.int64]) -> Job:
        """Make variants ready, and return what plays them."""
        valid, configs = self.space.records(numbers)
        excluded = len(numbers) - len(valid)
        return lambda: _rows(valid, map(self.score, configs), self.pair_daily.shape[1], excluded)

    def pair_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The pairs are held together."""
        return np.zeros(len(numbers), np.int64)

    def closing(self, number: int) -> float:
        """What it costs to close, at the end, all that a variant holds then, fraction of its equity."""
        config = self.space.config(number)
        try:
            result = play_portfolio(self.ready_for(config))
        except Misconfigured:  # it cannot work here, and holds nothing
            return 0.0
        equity = float(result.equity[-1])
        return closing_costs(config, result.recording.recordings) / equity if equity > 0.0 else 0.0

    def score(self, config: Any) -> Any:
        """Score of a variant and its daily returns, or the sentence that says why it cannot work here."""
        try:
            return score_portfolio(play_portfolio(self.ready_for(config)), self.pair_daily[0])
        except Misconfigured as error:
            return str(error)


class PairsWindow:
    """One strategy on each of several pairs, every one with money of its own."""

    def __init__(self, space: PairSpace, market: MarketHistory, start: int, end: int) -> None:
        """Raise Misconfigured where no pair has candles, or can be played."""
        missing = next((own.first.pair for own in space.spaces if own.first.pair not in market.candles), None)
        if missing is not None:
            raise Misconfigured(f"candles of {missing} are missing; give them by pair, or import them first.")
        self.space, self.start, self.end = space, start, end
        self._windows: list[SingleWindow | str] = []  # or why there is none
        for own in space.spaces:
            try:
                self._windows.append(SingleWindow(own, market, start, end))
            except Misconfigured as error:
                self._windows.append(f"{own.first.pair}: {error}")
        played = [one for one in self._windows if not isinstance(one, str)]
        if not played:
            raise Misconfigured(str(self._windows[0]))
        days = max(one.pair_daily.shape[1] for one in played)
        self.pair_daily = np.zeros((len(self._windows), days))  # also after the end of a pair that has fewer
        for row, one in zip(self.pair_daily, self._windows, strict=True):
            if not isinstance(one, str):
                row[: one.pair_daily.shape[1]] = one.pair_daily[0]

    def pair_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Each is judged beside its own pair."""
        return self.space.apart(numbers)[0]

    def job(self, numbers: NDArray[np.int64]) -> Job:
        """Make variants ready, pair by pair, and return what plays them."""
        which, within = self.space.apart(numbers)
        jobs = [(place, self._job(place, within[which == place])) for place in np.unique(which).tolist()]
        return lambda: joined([self._widened(place, job()) for place, job in jobs] or [_nothing(self.pair_daily)])

    def _job(self, place: int, numbers: NDArray[np.int64]) -> Job:
        window = self._windows[place]
        if not isinstance(window, str):
            return window.job(numbers)
        return lambda: replace(_nothing(self.pair_daily), unplayable=len(numbers), refusal=window)

    def _widened(self, place: int, rows: ScoredRows) -> ScoredRows:
        """Rows of a pair under their numbers in the whole space, with zeros for the days that it does not have."""
        daily = np.zeros((len(rows), self.pair_daily.shape[1]), np.float32)
        daily[:, : rows.daily.shape[1]] = rows.daily
        return replace(rows, numbers=self.space.together(place, rows.numbers), daily=daily)

    def closing(self, number: int) -> float:
        """What it costs to close, at the end, all that a variant holds then, fraction of its equity."""
        which, within = self.space.apart(np.array([number]))
        window = self._windows[int(which[0])]
        return 0.0 if isinstance(window, str) else window.closing(int(within[0]))


def _nothing(pair_daily: NDArray[np.float64]) -> ScoredRows:
    """No rows of as many days."""
    return ScoredRows(np.zeros(0, np.int64), np.zeros(0, SCORE), np.zeros((0, pair_daily.shape[1]), np.float32))


def _rows(numbers: NDArray[np.int64], outcomes: Iterable[Any], days: int, excluded: int) -> ScoredRows:
    """Rows of variants from each one's score and daily returns, or the sentence that refused it."""
    scores, daily = new_records(SCORE, len(numbers)), np.zeros((len(numbers), days), np.float32)
    played, refusal = np.zeros(len(numbers), np.bool_), NOTHING_VALID
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, str):
            refusal = outcome
            continue
        played[index] = True
        scores[index] = outcome[0]
        own = outcome[1][:days]  # fewer where a run on several pairs ended early
        daily[index, : len(own)] = own
    return ScoredRows(numbers[played], scores[played], daily[played], excluded, int(np.sum(~played)), refusal)


def held_equally(made: PreparedRun) -> NDArray[np.float64]:
    """Daily returns of the pairs of a run, each bought for the same money at its first open of the period, (d,)."""
    return held_equally_over(made.pairs.tapes, made.pairs.clock[made.pairs.clock >= (made.config.start or 0)])


def held_equally_over(tapes: Sequence[PreparedCandles], ts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The same for tapes over a clock (n,), ms."""
    return daily_returns(held_worth(tapes, ts), ts, 1.0)


def closing_costs(config: RunConfig, recordings: Sequence[Recording]) -> float:
    """Fee and slippage of closing at the market, at the last close, what is held then, quote currency."""
    share, ticks = config.execution.slippage_bps / 1e4, config.execution.slippage_ticks
    return sum(
        abs(float(one.pair.ledger.position))
        * (
            last_worth(one) * (float(one.prepared.instrument.taker_fee) + share)
            + ticks * one.prepared.instrument.tick_value
        )
        for one in recordings
    )


def midnight(at: float) -> int:
    """Begin of the UTC day of a time, ms."""
    return int(at) // DAY * DAY
