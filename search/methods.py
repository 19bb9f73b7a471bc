"""Methods of a search: which variants are played, in rounds, each of which may answer the rows of those before.

A method is a generator that yields rounds and is sent what came of each. Given the same space, seed and rows it
proposes the same variants, whatever plays them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bot.errors import Misconfigured, shown, suggestion

Numbers = NDArray[np.int64]
Values = NDArray[np.float64]

BEST = 10  # around which coarse_fine looks
AT_ONCE = 64  # variants that are proposed, and played in one thread, at a time: a fraction of a second of work
ASKED = 32  # variants for which a sampler is asked before it hears what came of them
MOST_TPE = 2000  # trials, beyond which its own thinking takes longer than a year of minutes
TURNS = 50  # rounds without anything new, after which a method has seen all it would
COUNTED = ("random", "sobol", "tpe", "cmaes", "nsga2")
NAMES = ("grid", "coarse_fine", "staged", *COUNTED)
GUIDED = ("tpe", "cmaes", "nsga2", "coarse_fine", "staged")  # what was found decides what is played next
# Parameters that size and protect what others have found: `staged` keeps them for its second stage.
RISK_FIELDS = frozenset(
    {
        *("stop_loss", "max_drawdown", "risk_budget", "take_profit", "take_profit_share", "stop_share", "stop_price"),
        *("profit_lock", "reinvest", "max_open_orders", "targets", "break_even", "trailing", "trail_activation"),
        *("trail_distance", "max_deal_days", "reinvest_pct", "risk_reduction_pct", "risk_per_trade", "stop", "target"),
        *("sideways_stop", "sideways_target", "weak_stop", "weak_target", "strong_stop", "strong_target"),
        *("partial_at", "break_even_at", "trail_from", "max_days", "volatility_target", "sizing", "size"),
        *("stop_atr", "target_atr", "max_hours"),
    }
)


@dataclass(frozen=True)
class Method:
    """A method's name, and how many variants it plays where it takes a number."""

    name: str
    count: int | None = None

    def __str__(self) -> str:
        return self.name if self.count is None else f"{self.name}:{self.count}"

    def most(self, lattice: Lattice, search: Search) -> int:
        """How many variants of a space it plays at most."""
        if self.count is not None:
            return min(self.count, lattice.size)
        if self.name == "coarse_fine":
            sizes, few = lattice.sizes, zip(lattice.sizes, lattice.words, strict=True)
            first = math.prod(size if words else min(size, search.coarse) for size, words in few)
            turns = search.fine_steps + max(sizes).bit_length()
            beside = sum(
                size - 1 if words else min(size - 1, 2) for size, words in zip(sizes, lattice.words, strict=True)
            )
            return min(first + turns * BEST * beside, lattice.size)
        if self.name == "staged":
            shapes = list(zip(lattice.sizes, lattice.risk, strict=True))
            first, risk = (math.prod(size for size, is_risk in shapes if is_risk is part) for part in (False, True))
            return first + min(first, 2 * search.preselect + max(search.preselect // 20, 1)) * (risk - 1)
        return lattice.size


class Search(Protocol):
    """What a search is told, as far as methods ask."""

    method: Method
    seed: int
    coarse: int
    fine_steps: int
    preselect: int
    objective: Any


@dataclass(frozen=True)
class Round:
    """Variants to be played before the method goes on."""

    batches: Iterable[Numbers]  # each of at most `AT_ONCE`, no variant twice
    total: int  # of variants, or the most there may be


@dataclass(frozen=True)
class Feedback:
    """What came of a round, best first."""

    numbers: Numbers  # (k,)
    values: Values  # of the objective's metrics, lower is better, NaN where undefined (k, metrics)
    passed: NDArray[np.bool_]  # the filters, (k,)
    drawdown: Values  # %, (k,)


@dataclass(frozen=True)
class Lattice:
    """A space as methods see it: how many values each axis has."""

    sizes: tuple[int, ...]
    words: tuple[bool, ...]  # whether an axis has values that are no numbers
    risk: tuple[bool, ...]  # whether `staged` keeps it for its second stage

    @property
    def size(self) -> int:
        """Number of all combinations."""
        return math.prod(self.sizes)

    @property
    def strides(self) -> Numbers:
        """What one step along each axis adds to a variant's number."""
        return np.array([math.prod(self.sizes[place + 1 :]) for place in range(len(self.sizes))], np.int64)

    def digits(self, numbers: Numbers) -> Numbers:
        """Which value of each axis these variants (k,) have, (k, axes)."""
        return np.asarray(numbers[:, None] // self.strides % np.array(self.sizes))


Proposals = Generator[Round, Feedback, None]


def method_of(given: Any) -> Method:
    """Read a method such as grid or tpe:500; raises Misconfigured."""
    found = re.fullmatch(r"(\w+)(?::(\d{1,12}))?", given.strip()) if isinstance(given, str) else None
    name, count = (found[1], found[2]) if found else ("", None)
    if name not in NAMES:
        near = suggestion(name, NAMES) if name else f"choose one of {', '.join(NAMES)}"
        raise Misconfigured(f"search.method is {shown(given)}; {near}.")
    if (name in COUNTED) != (count is not None):
        such = f"{name}:500" if name in COUNTED else name
        raise Misconfigured(f"search.method is {shown(given)}; write {such}.")
    number = None if count is None else int(count)
    if number == 0 or (name == "tpe" and number is not None and number > MOST_TPE):
        raise Misconfigured(
            f"search.method is {shown(given)}; give {name} 1 to {MOST_TPE if name == 'tpe' else 10**12}."
        )
    return Method(name, number)


def proposals(lattice: Lattice, search: Search) -> Proposals:
    """Begin a search; what it yields is to be played, and what came of it sent back."""
    method = search.method
    if method.name == "grid" or (
        method.name in ("random", "sobol") and search.method.most(lattice, search) == lattice.size
    ):
        return _all(lattice)
    guided: dict[str, Callable[[], Proposals]] = {
        "random": lambda: _random(lattice, method.count or 0, search.seed),
        "sobol": lambda: _sobol(lattice, method.count or 0, search.seed),
        "coarse_fine": lambda: _coarse_fine(lattice, search.coarse, search.fine_steps),
        "staged": lambda: _staged(lattice, search.preselect, search.seed),
    }
    if method.name in guided:
        return guided[method.name]()
    return _optuna(lattice, method, search.seed, len(search.objective) if isinstance(search.objective, list) else 1)


def cut_up(numbers: Numbers) -> Iterator[Numbers]:
    """Parts of numbers (k,), each of at most `AT_ONCE`."""
    for start in range(0, len(numbers), AT_ONCE):
        yield numbers[start : start + AT_ONCE]


def _all(lattice: Lattice) -> Proposals:
    starts = range(0, lattice.size, AT_ONCE)
    yield Round((np.arange(one, min(one + AT_ONCE, lattice.size), dtype=np.int64) for one in starts), lattice.size)


def _random(lattice: Lattice, count: int, seed: int) -> Proposals:
    """Draw variants that differ; what turns out to contradict itself is replaced."""
    rng, seen, missing, turns = np.random.default_rng(seed), Seen(), count, 0
    while missing > 0 and turns < TURNS:
        fresh = seen.new(rng.integers(lattice.size, size=missing))
        turns = 0 if len(fresh) else turns + 1
        if len(fresh):
            answer = yield Round(cut_up(fresh), missing)
            missing -= len(answer.numbers)


def _sobol(lattice: Lattice, count: int, seed: int) -> Proposals:
    """Take variants from a scrambled Sobol sequence, which fills a space more evenly than chance does."""
    qmc = needed("scipy.stats.qmc")
    points, seen, missing, turns = qmc.Sobol(len(lattice.sizes), rng=seed), Seen(), count, 0
    while missing > 0 and turns < TURNS:
        drawn = points.random_base2(max(math.ceil(math.log2(missing)), 5)) if seen.empty else points.random(AT_ONCE)
        fresh = seen.new((drawn * np.array(lattice.sizes)).astype(np.int64) @ lattice.strides, missing)
        turns = 0 if len(fresh) else turns + 1
        if len(fresh):
            answer = yield Round(cut_up(fresh), missing)
            missing -= len(answer.numbers)


def _coarse_fine(lattice: Lattice, coarse: int, fine_steps: int) -> Proposals:
    """Play few values of each axis, then what lies around the best, nearer each time.

    Around each of the best ten, one axis at a time, at half the distance of the coarse values, then at half of that,
    down to one step; `fine_steps` times more at one step, or until nothing new is left.
    """
    few = [
        np.arange(size) if words else np.unique(np.linspace(0, size - 1, min(size, coarse)).round().astype(np.int64))
        for size, words in zip(lattice.sizes, lattice.words, strict=True)
    ]
    best = yield Round(_combinations(few, lattice.strides), math.prod(len(one) for one in few))
    seen = Seen(_concatenated(_combinations(few, lattice.strides)))
    step = np.array([max(int(np.diff(one).max(initial=1)) // 2, 1) for one in few])
    left = fine_steps
    while left > 0:
        left -= int(step.max() == 1)
        fresh = seen.new(_around(best.numbers[:BEST], lattice, step))
        step = np.maximum(step // 2, 1)
        if len(fresh):
            best = _better(best, (yield Round(cut_up(fresh), len(fresh))))
        elif step.max() == 1:
            return


def _staged(lattice: Lattice, preselect: int, seed: int) -> Proposals:
    """Play everything but the risk axes, whose first values stand; then the best of it with every value of those.

    `preselect` are kept: the best, as many of the smallest drawdown, and of the others 5 % at random.
    """
    free = [np.arange(1 if risk else size) for size, risk in zip(lattice.sizes, lattice.risk, strict=True)]
    first = yield Round(_combinations(free, lattice.strides), math.prod(len(one) for one in free))
    count, others = len(first.numbers), max(preselect // 20, 1)
    rest = np.arange(min(preselect, count), count)
    drawn = np.random.default_rng(seed).permutation(rest)[:others]
    shallow = np.lexsort((np.arange(count), first.drawdown))[:preselect]
    kept = first.numbers[np.unique(np.concatenate((np.arange(min(preselect, count)), shallow, drawn)))]
    risk = [np.arange(size if risk else 1) for size, risk in zip(lattice.sizes, lattice.risk, strict=True)]
    added = _concatenated(_combinations(risk, lattice.strides))[1:]  # the first is that of the first stage
    if len(added) and len(kept):
        total = len(kept) * len(added)
        starts = range(0, total, AT_ONCE)
        at = (np.arange(one, min(one + AT_ONCE, total)) for one in starts)
        yield Round((kept[one // len(added)] + added[one % len(added)] for one in at), total)


def _optuna(lattice: Lattice, method: Method, seed: int, metrics: int) -> Proposals:
    """Let Optuna's samplers ask, some variants at a time, and tell them what came of these."""
    optuna = needed("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = optuna.samplers
    made: dict[str, Callable[[], Any]] = {
        "tpe": lambda: samplers.TPESampler(seed=seed, n_startup_trials=min(2 * ASKED, method.count or 1)),
        "cmaes": lambda: samplers.CmaEsSampler(seed=seed),
        "nsga2": lambda: samplers.NSGAIISampler(seed=seed, population_size=ASKED),
    }
    if method.name == "cmaes":
        needed("cmaes")
    study = optuna.create_study(directions=["minimize"] * metrics, sampler=made[method.name]())
    distribution = optuna.distributions
    space = {
        str(place): distribution.CategoricalDistribution(range(size))
        if words and method.name != "cmaes"
        else distribution.IntDistribution(0, size - 1)
        for place, (size, words) in enumerate(zip(lattice.sizes, lattice.words, strict=True))
        if size > 1
    }
    known: dict[int, tuple[float, ...] | None] = {}
    missing, turns = method.count or 0, 0
    while missing > 0 and turns < TURNS:
        asked = [study.ask(space) for _ in range(min(ASKED, missing))]
        digits = [[one.params.get(str(place), 0) for place in range(len(lattice.sizes))] for one in asked]
        numbers = np.array(digits, np.int64) @ lattice.strides
        fresh = np.array(sorted(set(numbers.tolist()) - set(known)), np.int64)
        turns = 0 if len(fresh) else turns + 1
        if len(fresh):
            missing -= len(fresh)
            answer = yield Round(cut_up(fresh), len(fresh) + missing)
            known.update(dict.fromkeys(fresh.tolist()))
            known.update(zip(answer.numbers.tolist(), _told(answer), strict=True))
        for trial, number in zip(asked, numbers.tolist(), strict=True):
            values = known[number]
            failed = optuna.trial.TrialState.FAIL if values is None else None
            study.tell(trial, values, state=failed)


def _told(answer: Feedback) -> list[tuple[float, ...] | None]:
    """Values of each variant, None for one that has none or fails a filter."""
    good = answer.passed & np.isfinite(answer.values).all(axis=1)
    return [tuple(one) if fine else None for one, fine in zip(answer.values.tolist(), good.tolist(), strict=True)]


class Seen:
    """Numbers of variants that were proposed before."""

    def __init__(self, numbers: Numbers | None = None) -> None:
        self._numbers: set[int] = set() if numbers is None else set(numbers.tolist())

    @property
    def empty(self) -> bool:
        """Whether nothing was proposed yet."""
        return not self._numbers

    def new(self, numbers: Numbers, most: int | None = None) -> Numbers:
        """Those that were not, each once, in their order, the first `most` of them; from now on they were."""
        fresh = [one for one in dict.fromkeys(numbers.tolist()) if one not in self._numbers][:most]
        self._numbers.update(fresh)
        return np.array(fresh, np.int64)


def _combinations(digits: list[Numbers], strides: Numbers) -> Iterator[Numbers]:
    """Numbers of all combinations of some values of each axis, in order, `AT_ONCE` at a time."""
    shape = [len(one) for one in digits]
    for start in range(0, math.prod(shape), AT_ONCE):
        at = np.unravel_index(np.arange(start, min(start + AT_ONCE, math.prod(shape))), shape)
        parts = [one[place] * stride for one, place, stride in zip(digits, at, strides.tolist(), strict=True)]
        yield np.sum(parts, axis=0, dtype=np.int64)


def _concatenated(parts: Iterator[Numbers]) -> Numbers:
    return np.concatenate(list(parts))


def _around(numbers: Numbers, lattice: Lattice, step: Numbers) -> Numbers:
    """Variants that lie a step of each axis beside others; of words, every other value."""
    found = [numbers[:0]]
    for place, size in enumerate(lattice.sizes):
        digit = lattice.digits(numbers)[:, place]
        moves = range(1 - size, size) if lattice.words[place] else (-int(step[place]), int(step[place]))
        for move in moves:
            inside = (digit + move >= 0) & (digit + move < size)
            found.append(numbers[inside] + move * lattice.strides[place])
    return np.concatenate(found)


def _better(best: Feedback, more: Feedback) -> Feedback:
    """Both together, best first by the first metric; what fails a filter or is undefined behind."""
    numbers = np.concatenate((best.numbers, more.numbers))
    values, passed = np.concatenate((best.values, more.values)), np.concatenate((best.passed, more.passed))
    order = np.lexsort((numbers, *reversed(values.T), ~passed))
    drawdown = np.concatenate((best.drawdown, more.drawdown))
    return Feedback(numbers[order], values[order], passed[order], drawdown[order])


def needed(module: str) -> Any:
    """Import a module of the extra `search`; raises Misconfigured where it is not installed."""
    import importlib  # noqa: PLC0415

    try:
        return importlib.import_module(module)
    except ImportError:
        raise Misconfigured(
            f"search.method needs {module.split('.', maxsplit=1)[0]}, which is not installed; install it with "
            "`uv sync --extra search`, or choose grid, random:N, coarse_fine or staged."
        ) from None
