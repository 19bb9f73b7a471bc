"""Walk-forward: windows that a search has never seen, each traded by what was best on the days before it.

The folds are joined into one equity curve: it is what somebody would have had who searched anew before each window.
Every fold begins with the money that the one before it left; what is held at its end is closed and paid for.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtesting.metrics import LEAST_DAYS, YEAR_DAYS
from bot.candles import iso
from bot.errors import Misconfigured
from bot.times import DAY
from coordinator.columns import inputs_by_variant
from coordinator.config import PortfolioConfig
from search.chance import Interval, betas, intervals
from search.exploration import Explorer, NoTrials, Trials
from search.numbered import Numbered
from search.reading import AnySpace, read_space
from search.runners import Runner, given_or_threads
from search.sweep import ROW_BYTES, period_of, played
from search.window import MarketHistory, days_of_pair, market_of, midnight, window_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from coordinator.config import BacktestConfig
    from search.exploration import Progress

LEAST_WINDOWS = 3  # for a verdict
LEAST_EFFICIENCY = 0.7  # out of sample / in sample
NEXT_FAILS = "On the last days no variant passed the filters of the search: the next is the best of those that fail."
RISES, FALLS = 5.0, -5.0  # return of the pair in a window, %, that makes a market rising or falling


@dataclass(frozen=True)
class Fold:
    """A window, and what was best on the days before it."""

    train: tuple[int, int]  # ms
    test: tuple[int, int]  # ms
    number: int  # of the variant
    tried: int  # variants that were scored
    passed: bool  # whether it passes the search's filters in sample; where it does not, no variant does
    in_sample: Any  # SCORE
    out_of_sample: Any  # SCORE, before what is held at the end is closed
    closing: float  # what closing it costs, fraction of equity
    train_days: NDArray[np.float64]  # daily returns
    days: NDArray[np.float64]
    pair_days: NDArray[np.float64]

    @property
    def returned(self) -> float:
        """Return of the fold after its position was closed, %."""
        return float(np.prod(1.0 + self.days) - 1.0) * 100.0

    @property
    def pair_returned(self) -> float:
        """Return of the pair itself, %."""
        return float(np.prod(1.0 + self.pair_days) - 1.0) * 100.0


@dataclass(frozen=True)
class NextWindow:
    """What was best on the last days there are, which would trade from their end on."""

    train: tuple[int, int]  # ms
    number: int  # of the variant
    tried: int  # variants that were scored
    passed: bool  # whether it passes the search's filters
    in_sample: Any  # SCORE


@dataclass(frozen=True)
class WalkForward:
    """All windows, in order of time, and what they come to together; `next` is the one that no candles know yet."""

    space: AnySpace
    folds: tuple[Fold, ...]
    embargo_days: int
    next: NextWindow

    @property
    def next_config(self) -> BacktestConfig | PortfolioConfig:
        """The whole config that would trade from the end of the candles on."""
        return self.space.config(self.next.number)

    @property
    def days(self) -> NDArray[np.float64]:
        """Daily returns of all windows, one after the other, (d,)."""
        return np.concatenate([fold.days for fold in self.folds])

    @property
    def pair_days(self) -> NDArray[np.float64]:
        """Daily returns of the pair itself on the same days."""
        return np.concatenate([fold.pair_days for fold in self.folds])

    @property
    def equity(self) -> NDArray[np.float64]:
        """What one unit of money became by the end of each of these days, (d,)."""
        return np.asarray(np.cumprod(1.0 + self.days))

    @property
    def expectancy(self) -> tuple[float, float]:
        """Mean daily return of the winners, in sample and out of sample, % a year."""
        before = np.concatenate([fold.train_days for fold in self.folds])
        return float(before.mean()) * YEAR_DAYS * 100.0, float(self.days.mean()) * YEAR_DAYS * 100.0

    @property
    def efficiency(self) -> float | None:
        """Out of sample / in sample; None where the winners lost in sample."""
        inside, outside = self.expectancy
        return outside / inside if inside > 0.0 else None

    @property
    def alpha(self) -> Interval | None:
        """Alpha of the joined days, % a year, with its interval; None of too few days."""
        return intervals(self.days, self.pair_days).get("alpha_pct")

    @property
    def beta(self) -> float | None:
        """How long the joined days were; None of too few days or a pair that did not move."""
        pair = self.pair_days
        if len(pair) < LEAST_DAYS or not np.ptp(pair):
            return None
        return float(betas(self.days[None], pair)[0])

    @property
    def passed(self) -> bool:
        """Out of sample above 0 and at least 0.7 of in sample where that is above 0, in at least three windows.

        What traded each window has passed the search's filters.
        """
        outside, efficiency = self.expectancy[1], self.efficiency
        good = (
            all(fold.passed for fold in self.folds)
            and outside > 0.0
            and (efficiency is None or efficiency >= LEAST_EFFICIENCY)
        )
        return good and len(self.folds) >= LEAST_WINDOWS

    @property
    def verdict(self) -> list[str]:
        """What it comes to, in sentences."""
        (inside, outside), alpha, count = self.expectancy, self.alpha, len(self.folds)
        told = [
            f"{'Passed' if self.passed else 'Not passed'}: over {count} windows the winners earned {outside:,.1f} % a "
            f"year out of sample, and {inside:,.1f} % in sample, where they were chosen"
            + ("." if self.efficiency is None else f": {self.efficiency:.2f} of it.")
        ]
        if alpha is not None and self.beta is not None:
            told.append(
                f"Beyond being long or short of the pair (beta {self.beta:.2f}) they earned an alpha of "
                f"{alpha.value:,.1f} % a year; nine in ten resamples lie between "
                f"{alpha.low:,.1f} % and {alpha.high:,.1f} %."
            )
        failed = sum(not fold.passed for fold in self.folds)
        if failed:
            told.append(
                f"Before {failed} of {count} windows no variant passed the filters of the search: the best of those "
                "that failed traded them."
            )
        if not self.next.passed:
            told.append(NEXT_FAILS)
        idle = sum(bool(np.isnan(fold.out_of_sample["total_return_pct"])) for fold in self.folds)
        if idle:
            told.append(
                f"In {idle} of {count} windows the winner could not be played with this capital: it earned 0 %."
            )
        won = sum(fold.returned > 0.0 for fold in self.folds)
        told.append(f"{won} of {count} windows ended with a gain.")
        if count < LEAST_WINDOWS:
            told.append(f"Fewer than {LEAST_WINDOWS} windows say too little to pass.")
        returns = [fold.pair_returned for fold in self.folds]
        for there, name in ((max(returns) >= RISES, "rising"), (min(returns) <= FALLS, "falling")):
            if not there:
                told.append(f"No window had a {name} market: how this does in one is unknown.")
        return told

    @property
    def frame(self) -> pl.DataFrame:
        """One row a window: its days, the variant that traded it, and figures in sample and out of sample."""
        rows = []
        for fold in self.folds:
            row: dict[str, Any] = {
                "train_from": iso(fold.train[0])[:10],
                "train_to": iso(fold.train[1])[:10],
                "test_to": iso(fold.test[1])[:10],
                "variant": fold.number,
                **self.space.values(fold.number),
                "passed": fold.passed,
            }
            for name in ("total_return_pct", "beta", "alpha_pct", "information_ratio", "max_drawdown_pct", "trades"):
                row[f"{name}_in_sample"] = float(fold.in_sample[name])
                row[f"{name}_out_of_sample"] = float(fold.out_of_sample[name])
            rows.append({**row, "closed_return_pct": fold.returned, "pair_return_pct": fold.pair_returned})
        return pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.selectors.float().fill_nan(None))


def walk_forward(
    space: AnySpace | dict[str, Any] | str | Path,
    candles: Any,
    *,
    fetched: Any = None,
    funding: Any = None,
    workers: int | None = None,
    runner: Runner | None = None,
    trials: Trials | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> WalkForward:
    """Search before every window of a period, and trade the window by what was best; as `sweep` is told.

    The windows are those of `search.walk_forward`. Raises Misconfigured where not one fits into the period.
    """
    space = space if isinstance(space, Numbered) else read_space(space)
    market = market_of(space.first, candles, fetched, funding)
    space.memory(ROW_BYTES)
    with given_or_threads(runner, workers) as plays:
        return _walked(space, market, Explorer(space, plays, trials or NoTrials(), progress))


def windows_of(space: AnySpace, market: MarketHistory) -> tuple[int, list[tuple[int, int, int, int]]]:
    """Days of the embargo, and begin and end of training and test of each window, ms; raises Misconfigured."""
    told, (start, end) = space.search.walk_forward, period_of(space, market)
    embargo = _look_back(space) if told.embargo_days is None else told.embargo_days
    first, found = midnight(start + DAY - 1), []
    begin = first + (told.train_days + embargo) * DAY
    while begin + told.test_days * DAY <= end:
        until = begin - embargo * DAY
        found.append(
            (first if told.anchored else until - told.train_days * DAY, until, begin, begin + told.test_days * DAY)
        )
        begin += told.test_days * DAY
    if not found:
        raise Misconfigured(
            f"the period from {iso(start)} to {iso(end)} is too short for search.walk_forward: {told.train_days} days "
            f"to choose, {embargo} between and {told.test_days} to test; take more candles or fewer days."
        )
    return embargo, found


def _look_back(space: AnySpace) -> int:
    """Most days that variants look back: of those that differ from the first in one value, and of the farthest of each.

    A combination that contradicts itself trades nothing.
    """
    digits, farthest, longest = space.digits(space.first_number), space.first_number, _looks_back(space.first)
    for place, stride in enumerate(space.lattice.strides.tolist()):
        own, step = _looks_back(space.first), 0
        for digit in range(space.lattice.sizes[place]):
            with contextlib.suppress(Misconfigured):
                looks = _looks_back(space.config(space.first_number + (digit - digits[place]) * stride))
                own, step = max((own, step), (looks, (digit - digits[place]) * stride), key=lambda one: one[0])
        longest, farthest = max(longest, own), farthest + step
    with contextlib.suppress(Misconfigured):
        longest = max(longest, _looks_back(space.config(farthest)))
    return -(-longest // DAY)


def _looks_back(config: BacktestConfig | PortfolioConfig) -> int:
    """How much a config has to see before it may trade, and its inputs before one bar, ms."""
    if isinstance(config, PortfolioConfig):
        warmup, asked = config.algorithm.warmup_ms, config.algorithm.asked()
    else:
        own = config.parameters
        warmup, asked = own.warmup_bars * own.timeframe_ms, [(config.loaded, [own])]
    inputs = zip((variants for _, variants in asked), inputs_by_variant(asked), strict=True)
    needs = [
        one.lookback() * one.length(parameters.timeframe_ms)
        for variants, by_variant in inputs
        for parameters, named in zip(variants, by_variant, strict=True)
        for one in named.values()
    ]
    return int(max(warmup, *needs, 0))


def _walked(space: AnySpace, market: MarketHistory, explorer: Explorer) -> WalkForward:
    embargo, windows = windows_of(space, market)
    folds = []
    for part, (first, until, begin, end) in enumerate(windows):
        train = window_of(space, market, first, until)
        found = explorer.explore(train, part)
        row = int(found.order[0])
        best = found.numbers[row : row + 1]
        _, train_days = played(explorer.runner, train, best)
        test = window_of(space, market, begin, end)
        scores, days = played(explorer.runner, test, best)
        closing = test.closing(int(best[0]))
        days[0, -1] = (1.0 + days[0, -1]) * (1.0 - closing) - 1.0
        folds.append(
            Fold(
                *(
                    (first, until),
                    (begin, end),
                    int(best[0]),
                    len(found.numbers),
                    bool(space.objective.passes(found.scores[row : row + 1])[0]),
                    found.scores[row],
                    scores[0],
                    closing,
                ),
                *(train_days[0], days[0], days_of_pair(test, int(best[0]))),
            )
        )
    return WalkForward(space, tuple(folds), embargo, _next(space, market, explorer, windows))


def _next(
    space: AnySpace, market: MarketHistory, explorer: Explorer, windows: list[tuple[int, int, int, int]]
) -> NextWindow:
    """Search the last days of the period, as many as each window was chosen on."""
    told, until = space.search.walk_forward, midnight(period_of(space, market)[1])
    train = (windows[0][0] if told.anchored else until - told.train_days * DAY, until)
    found = explorer.explore(window_of(space, market, *train), len(windows))
    row = int(found.order[0])
    passed = bool(space.objective.passes(found.scores[row : row + 1])[0])
    return NextWindow(train, int(found.numbers[row]), len(found.numbers), passed, found.scores[row])
