"""What is best: one or two figures of a score, or a formula over them, and filters that a variant must pass.

An undefined value is worst, equal ones are ordered by the variants' keys, and what fails a filter stands behind all
that pass. Nothing is left out, and the same scores always give the same order.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from bot.errors import Misconfigured, cut, shown, suggestion

# The figures of a score, and whether the best of each is its highest.
HIGHEST_IS_BEST = {
    "total_return_pct": True,
    "annualised_return_pct": True,
    "max_drawdown_pct": False,
    "return_over_max_drawdown": True,
    "profit_factor": True,
    "sharpe": True,
    "sortino": True,
    "trades": True,
    "win_rate_pct": True,
    "fees": False,
    "funding": True,
    "turnover": False,
    "coverage_pct": True,
    "mean_exposure_pct": False,
    "max_exposure_pct": False,
    "worst_day_pct": True,
    "liquidated": False,
    "beta": False,
    "alpha_pct": True,
    "information_ratio": True,
    "refused_for_costs": False,
    "fills": True,
    "transition_cost": False,
}
DEFAULT = "information_ratio"
LONGEST, MOST_FILTERS = 200, 20  # characters of a formula; filters of an objective
DIRECTIONS = ("ascending", "descending")

Values = NDArray[np.float64]
Scores = Any  # structured array with the figures as fields, (k,)


def _quotient(left: Values, right: Values) -> Values:
    """Divide; by zero is undefined."""
    return np.divide(left, right, out=np.full(np.broadcast(left, right).shape, np.nan), where=right != 0.0)


OPERATORS: dict[type[ast.operator], Callable[[Values, Values], Values]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: _quotient,
    ast.Pow: np.power,
}
FUNCTIONS: dict[str, Callable[..., Values]] = {"min": np.minimum, "max": np.maximum, "abs": np.abs}
COMPARISONS: dict[type[ast.cmpop], Callable[[Values, Values], Any]] = {
    ast.GtE: np.greater_equal,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.Lt: np.less,
}


@dataclass(frozen=True)
class Metric:
    """A figure or a formula by which variants are ranked."""

    text: str
    formula: ast.expr
    ascending: bool

    def of(self, scores: Scores) -> Values:
        """Values of these scores (k,): lower is better, and undefined is NaN."""
        values = _value(self.formula, scores)
        return values if self.ascending else -values

    def shown(self, value: float) -> float:
        """A value of `of` as people read it."""
        return value if self.ascending else -value


@dataclass(frozen=True)
class Filter:
    """A comparison that a variant's figures must pass; one with an undefined value does not."""

    text: str
    formula: ast.Compare

    def passes(self, scores: Scores) -> NDArray[np.bool_]:
        """Whether each of these scores passes, (k,)."""
        left, right = _value(self.formula.left, scores), _value(self.formula.comparators[0], scores)
        return np.asarray(COMPARISONS[type(self.formula.ops[0])](left, right))


@dataclass(frozen=True)
class Objective:
    """What variants are ranked by, the second metric where the first is equal, and the filters before both."""

    metrics: tuple[Metric, ...]
    filters: tuple[Filter, ...] = ()

    def passes(self, scores: Scores) -> NDArray[np.bool_]:
        """Whether each of these scores passes all filters, (k,)."""
        passed = np.ones(len(scores), np.bool_)
        for one in self.filters:
            passed &= one.passes(scores)
        return passed

    def rank(self, scores: Scores, keys: Sequence[str] | NDArray[Any]) -> NDArray[np.int64]:
        """Order of these scores, best first: indices (k,). `keys` (k,), each another one, decide between equals."""
        values = [metric.of(scores) for metric in reversed(self.metrics)]  # of which NaN comes last
        return np.lexsort([np.asarray(keys), *values, ~self.passes(scores)])


def objective_of(objective: Any = None, filters: Any = None) -> Objective:
    """Read an objective, one metric or a list of two, and a list of filters; raises Misconfigured."""
    metrics = objective if isinstance(objective, list) else [DEFAULT if objective is None else objective]
    if not 1 <= len(metrics) <= 2:
        raise Misconfigured(f"search.objective names {len(metrics)} metrics; give one or two.")
    given = filters if isinstance(filters, list) else [] if filters is None else [filters]
    if len(given) > MOST_FILTERS:
        raise Misconfigured(f"search.filters holds {len(given)} filters; give at most {MOST_FILTERS}.")
    return Objective(tuple(_metric(one) for one in metrics), tuple(_filter(one) for one in given))


def _metric(given: Any) -> Metric:
    place = "search.objective"
    text, _, last = given.strip().rpartition(" ") if isinstance(given, str) else ("", "", "")
    direction = last if text and last in DIRECTIONS else None
    formula = _parsed(text if direction else given, place, "a figure such as information_ratio")
    _check(formula, place, given)
    best_is_highest = HIGHEST_IS_BEST[formula.id] if isinstance(formula, ast.Name) else True
    return Metric(given.strip(), formula, direction == "ascending" if direction else not best_is_highest)


def _filter(given: Any) -> Filter:
    place = "search.filters"
    formula = _parsed(given, place, "a comparison such as trades >= 30")
    if not isinstance(formula, ast.Compare) or len(formula.ops) != 1 or type(formula.ops[0]) not in COMPARISONS:
        raise Misconfigured(f"{place} has {shown(given)}; write a comparison by >=, <=, > or <, such as trades >= 30.")
    _check(formula.left, place, given)
    _check(formula.comparators[0], place, given)
    return Filter(given.strip(), formula)


def _parsed(given: Any, place: str, such: str) -> ast.expr:
    if not isinstance(given, str) or not given.strip():
        raise Misconfigured(f"{place} is {shown(given)}; write {such}.")
    if len(given) > LONGEST:
        raise Misconfigured(f"{place} has a formula of {len(given)} characters; write one of at most {LONGEST}.")
    odd = re.search(r"[^\w\s.+*/()<>=,-]", given)
    if odd:
        raise Misconfigured(f"{place} is {shown(given)}, which has {shown(odd[0])}; write {such}.")
    try:
        return ast.parse(given.strip(), mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "it lies too deep in parentheses"
        raise Misconfigured(f"{place} is {shown(given)}, which cannot be read ({cut(str(reason))}); mend it.") from None


def _check(node: ast.expr, place: str, given: str) -> None:
    """Raise Misconfigured for anything but figures, numbers, + - * / **, parentheses, min, max and abs."""
    if isinstance(node, ast.Name):
        if node.id not in HIGHEST_IS_BEST:
            raise Misconfigured(f"{place} names {shown(node.id)}, no known figure; {_nearest(node.id)}.")
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        if not abs(node.value) < 1e300:
            raise Misconfigured(f"{place} has a number beyond 1e300; give a smaller one.")
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        _check(node.left, place, given)
        _check(node.right, place, given)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        _check(node.operand, place, given)
    elif _is_call(node):
        for one in node.args:
            _check(one, place, given)
    else:
        raise Misconfigured(
            f"{place} is {shown(given)}, which holds {shown(ast.unparse(node))}; use figures, numbers, + - * / **, "
            "parentheses, min, max and abs alone."
        )


def _is_call(node: Any) -> TypeGuard[ast.Call]:
    if not isinstance(node, ast.Call) or node.keywords or not isinstance(node.func, ast.Name):
        return False
    return len(node.args) == 1 if node.func.id == "abs" else node.func.id in FUNCTIONS and len(node.args) >= 2


def _nearest(wrong: str) -> str:
    near = suggestion(wrong, HIGHEST_IS_BEST)
    return near if near.startswith("did") else f"choose one such as {DEFAULT}, total_return_pct or max_drawdown_pct"


def _value(formula: ast.expr, scores: Scores) -> Values:
    """Evaluate a checked formula; a figure alone may be infinite, what is computed may not: that is undefined."""
    with np.errstate(all="ignore"):
        values = np.broadcast_to(np.asarray(_evaluated(formula, scores), np.float64), (len(scores),))
    return values if isinstance(formula, ast.Name) else np.where(np.isfinite(values), values, np.nan)


def _evaluated(node: Any, scores: Scores) -> Values:
    if isinstance(node, ast.Name):
        return np.asarray(scores[node.id], np.float64)
    if isinstance(node, ast.Constant):
        return np.asarray(float(str(node.value)))
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](_evaluated(node.left, scores), _evaluated(node.right, scores))
    if isinstance(node, ast.UnaryOp):
        value = _evaluated(node.operand, scores)
        return -value if isinstance(node.op, ast.USub) else value
    first, *others = (_evaluated(one, scores) for one in node.args)
    for one in others:
        first = FUNCTIONS[node.func.id](first, one)
    return first if others else FUNCTIONS[node.func.id](first)
