"""What chance alone would have found: how far the best of many trials may be believed.

Everything here looks at active returns: the daily returns of a trial less beta x those of its pair, which is what being
long or short of the pair did not earn (Grinold and Kahn, "Active Portfolio Management", 2000, chapter 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import e, log, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.metrics import LEAST_DAYS, YEAR_DAYS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

DRAWS = 1000  # resamples of the days
BLOCKS = 12  # that the days are cut into, half of which choose: 924 ways
LEAST_BLOCK = 4  # days of a block
MOST_RANKED = 20_000  # trials of which the probability of overfitting is computed; of more, so many in even distances
SIGNIFICANT = 0.05
CONFIDENT = 0.95  # of the deflated Sharpe ratio
EULER = 0.5772156649015329  # Euler's and Mascheroni's constant
TINY = 1e-12  # a standard deviation of daily returns below it is rounding
NORMAL = NormalDist()


def betas(daily: Any, pair: Values) -> Values:
    """Slopes of daily returns (k, d) on those of the pair (d,), (k,); 0 where the pair does not move."""
    centred = pair - pair.mean()
    variation = float(centred @ centred)
    daily = np.asarray(daily, np.float64)
    return np.asarray(daily @ centred / variation if variation > 0.0 else np.zeros(len(daily)))


def active_returns(daily: Any, pair: Values) -> Values:
    """Take beta x the pair's returns (d,) out of daily returns (k, d)."""
    return np.asarray(np.asarray(daily, np.float64) - np.outer(betas(daily, pair), pair))


def resampled_days(days: int, draws: int = DRAWS, seed: int = 0) -> NDArray[np.int64]:
    """Draw days by the stationary bootstrap, (draws, days), in blocks of sqrt(days) on average.

    Politis and Romano, "The Stationary Bootstrap" (1994): a block begins anywhere, goes on around the end, and ends
    with the same probability on every day.
    """
    rng = np.random.default_rng(seed)
    starts = rng.integers(days, size=(draws, days))
    begins = rng.random((draws, days)) < 1.0 / max(round(sqrt(days)), 1)
    begins[:, 0] = True
    at = np.arange(days)
    since = np.maximum.accumulate(np.where(begins, at, 0), axis=1)
    return np.asarray((np.take_along_axis(starts, since, axis=1) + at - since) % days)


def weights_of(drawn: NDArray[np.int64]) -> Values:
    """How often each day occurs in each draw, (draws, days), of days drawn (draws, days)."""
    draws, days = drawn.shape
    flat = (drawn + np.arange(draws)[:, None] * days).ravel()
    return np.bincount(flat, minlength=draws * days).reshape(draws, days).astype(np.float64)


class Looks:
    """What was tried so far, as far as chance asks: the largest result of every resample, nothing for each trial."""

    def __init__(self, pair: Values, seed: int = 0) -> None:
        """`pair` (d,), or (p, d) of several: daily returns of the pair itself, from `LEAST_DAYS` on."""
        self.pairs = np.atleast_2d(pair)
        self.days = self.pairs.shape[1]
        self.weights = weights_of(resampled_days(self.days, seed=seed))
        self.count = 0
        self._found = np.zeros(2)  # largest mean, and largest mean in its own deviations
        self._drawn = np.zeros((2, DRAWS))  # the same of every resample, in which nothing has an edge

    def add(self, daily: Any, which: NDArray[np.int64] | None = None) -> Values:
        """Take trials' daily returns (k, d); returns sums and sums of squares of the active ones by block.

        `which` (k,): the pair of each, where there are several.
        """
        active = np.empty(np.shape(daily))
        for number, pair in enumerate(self.pairs):
            own = slice(None) if which is None else which == number
            active[own] = active_returns(daily[own], pair)
        if len(active):
            self._add(active)
        return _blocks(active)

    def _add(self, active: Values) -> None:
        mean, spread = active.mean(axis=1), active.std(axis=1, ddof=1)
        self.count += len(active)
        moves = spread > TINY
        mean, active = mean[moves], active[moves]
        if not len(mean):
            return
        root = sqrt(self.days)
        means = active @ self.weights.T / self.days  # (k, draws)
        # Of sqrt(days) x mean. Hansen takes that of the resamples, of which so few long blocks give so noisy a figure
        # that the largest of many ratios is one of an error put too low: noise was called an edge in 3 of 10 searches.
        error = spread[moves]
        # Hansen (2005): a trial that is clearly bad keeps its mean, and so cannot be the largest by chance.
        hopeless = mean * root < -error * sqrt(2.0 * log(log(self.days)))
        centre = np.where(hopeless, 0.0, mean)
        scaled = root * (means - centre[:, None]) / error[:, None]
        self._found = np.maximum(self._found, (root * mean.max(), (root * mean / error).max()))
        drawn = np.stack(((root * (means - mean[:, None])).max(axis=0), scaled.max(axis=0)))
        self._drawn = np.maximum(self._drawn, drawn)

    @property
    def reality_check(self) -> float:
        """Probability that the largest mean of as many trials without any edge is larger (White, 2000)."""
        return float(np.mean(self._drawn[0] >= self._found[0]))

    @property
    def superior_ability(self) -> float:
        """The same where each trial is measured in its own deviations: the consistent SPA test (Hansen, 2005)."""
        return float(np.mean(self._drawn[1] >= self._found[1]))

    def state(self) -> bytes:
        """Everything taken so far; `restore` goes on from it."""
        return np.concatenate(([float(self.count)], self._found, self._drawn.ravel())).tobytes()

    def restore(self, state: bytes) -> None:
        """Go on from a `state` of the same days."""
        values = np.frombuffer(state)
        self.count = int(values[0])
        self._found, self._drawn = values[1:3].copy(), values[3:].reshape(2, DRAWS).copy()


def _edges(days: int) -> NDArray[np.int64]:
    return np.linspace(0, days, BLOCKS + 1).astype(np.int64)


def _blocks(active: Values) -> Values:
    """Sums and sums of squares of active returns (k, d) by block, (k, BLOCKS, 2)."""
    edges = _edges(active.shape[1])[:-1]
    if active.shape[1] < BLOCKS:
        return np.zeros((len(active), BLOCKS, 2))
    return np.stack((np.add.reduceat(active, edges, axis=1), np.add.reduceat(active**2, edges, axis=1)), axis=-1)


def overfitting(blocks: Any, days: int) -> float | None:
    """Probability that what is best on half of the days is below the median of all on the other half.

    `blocks` (k, BLOCKS, 2) from `Looks.add`. Bailey, Borwein, Lopez de Prado and Zhu, "The Probability of Backtest
    Overfitting" (2017): every way to take half of the blocks chooses by Sharpe ratio, and is tried on the others.
    None of fewer than two trials, or of too few days.
    """
    if len(blocks) < 2 or days < BLOCKS * LEAST_BLOCK:
        return None
    step = -(-len(blocks) // MOST_RANKED)
    sums, squares = (np.asarray(blocks[::step, :, part], np.float64) for part in (0, 1))
    lengths = np.diff(_edges(days)).astype(np.float64)
    chosen = np.zeros((924, BLOCKS))
    for row, half in enumerate(combinations(range(BLOCKS), BLOCKS // 2)):
        chosen[row, list(half)] = 1.0
    below = 0
    for part in np.array_split(chosen, 58):
        inside, outside = (_sharpes(sums, squares, lengths, mask) for mask in (part, 1.0 - part))
        best = np.argmax(inside, axis=0)
        own = outside[best, np.arange(len(part))]
        rank = np.sum(outside < own, axis=0) + (np.sum(outside == own, axis=0) + 1) / 2.0
        below += int(np.sum(rank / (len(sums) + 1) <= 0.5))
    return below / len(chosen)


def _sharpes(sums: Values, squares: Values, lengths: Values, chosen: Values) -> Values:
    """Daily Sharpe ratio of each trial (k,) over each choice of blocks (c,), (k, c); what never moves has 0."""
    days = chosen @ lengths
    mean = sums @ chosen.T / days
    variance = np.maximum(squares @ chosen.T / days - mean**2, 0.0)
    return np.divide(mean, np.sqrt(variance), out=np.zeros_like(mean), where=variance > TINY**2)


def variance_of(ratios: Any, days: int) -> float:
    """Variance of the daily Sharpe ratios of trials, from their information ratios (k,); 0 of fewer than two.

    At most what chance alone gives one of them over so many days: where trials differ more, as grids that die of their
    fees do, they differ in what they are worth, which says nothing about the luck of the best.
    """
    daily = np.asarray(ratios, np.float64)
    daily = daily[~np.isnan(daily)] / sqrt(YEAR_DAYS)
    return min(float(daily.var(ddof=1)), variance_by_chance(days)) if len(daily) > 1 else 0.0


def variance_by_chance(days: int) -> float:
    """Variance that chance alone gives the daily Sharpe ratio of one trial over so many days."""
    return 1.0 / (days - 1)


def expected_largest(trials: int, variance: float) -> float:
    """Daily Sharpe ratio that the best of so many trials without edge has on average, `variance` being that of theirs.

    Bailey and Lopez de Prado, "The Deflated Sharpe Ratio" (2014), formula 1.
    """
    if trials < 2:
        return 0.0
    first, second = NORMAL.inv_cdf(1.0 - 1.0 / trials), NORMAL.inv_cdf(1.0 - 1.0 / (trials * e))
    return sqrt(variance) * ((1.0 - EULER) * first + EULER * second)


def deflated_sharpe(active: Values, trials: int, variance: float) -> float | None:
    """Probability that the Sharpe ratio of active returns (d,) is above what the best of so many trials has by chance.

    The probabilistic Sharpe ratio against `expected_largest`, which minds skew and fat tails (as above, formula 2).
    """
    days = len(active)
    spread = float(active.std(ddof=1)) if days > 1 else 0.0
    if days < LEAST_DAYS or spread <= TINY:
        return None
    sharpe = float(active.mean()) / spread
    centred = (active - active.mean()) / active.std()
    skew, tails = float(np.mean(centred**3)), float(np.mean(centred**4))
    error = 1.0 - skew * sharpe + (tails - 1.0) / 4.0 * sharpe**2
    if error <= 0.0:
        return None
    return NORMAL.cdf((sharpe - expected_largest(trials, variance)) * sqrt(days - 1) / sqrt(error))


@dataclass(frozen=True)
class Interval:
    """A figure, and where nine in ten of its resamples lie."""

    value: float
    low: float
    high: float


def intervals(daily: Values, pair: Values, seed: int = 0) -> dict[str, Interval]:
    """Intervals of a run's alpha (% a year) and information ratio from daily returns (d,); none of too few days."""
    if len(daily) < LEAST_DAYS:
        return {}
    active = active_returns(daily[None], pair)[0]
    weights = weights_of(resampled_days(len(active), seed=seed)) / len(active)
    means, squares = weights @ active, weights @ active**2
    spread = np.sqrt(np.maximum(squares - means**2, TINY**2))
    own = max(float(active.std()), TINY)
    return {
        "alpha_pct": _interval(float(active.mean()) * YEAR_DAYS * 100.0, means * YEAR_DAYS * 100.0),
        "information_ratio": _interval(float(active.mean()) / own * sqrt(YEAR_DAYS), means / spread * sqrt(YEAR_DAYS)),
    }


def _interval(value: float, drawn: Values) -> Interval:
    low, high = np.percentile(drawn, (5, 95)).tolist()
    return Interval(value, low, high)
