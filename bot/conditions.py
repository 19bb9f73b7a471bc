"""Conditions on indicators: each says LONG, SHORT, either or nothing of a bar, and `when` combines them to one column.

What a condition says follows from the outputs of one indicator up to this bar; without a value it says nothing.
The column is an input like any other: 1 LONG, -1 SHORT, 0 NEUTRAL, CONFLICT where both hold, NaN without history.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from bot.errors import Misconfigured, shown, suggestion
from bot.indicator_functions import Parameters, lookback_of, outputs_of, reach_of, span_of
from bot.indicator_registry import KINDS, LIMITS, PRICES, Indicator, Rule, indicator_named
from bot.inputs import ByColumn, Input
from bot.parameters import Parameters as StrategyParameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CONFLICT = 2.0  # LONG and SHORT at once, which counts as NEUTRAL
SAID = np.array([0.0, 1.0, -1.0, CONFLICT])  # by LONG + 2 SHORT
MOST = 20  # conditions of one list
MOST_READ = 4096  # conditions that are remembered
KEYS = ("indicator", "rule", *(one.name for one in fields(Rule) if one.name != "kind"))
NUMBERS = {  # what each kind of rule may be told
    "threshold": ("output", *LIMITS),
    "state": ("output", "against"),
    "cross": ("output", "against"),
    "slope": ("output", "bars"),
    "band": ("upper", "lower", "bars"),
}


@dataclass(frozen=True)
class Condition:
    """An indicator with its parameters, and the rule by which it says a direction."""

    indicator: str
    parameters: Parameters
    rule: Rule

    def sides(self, bars: ByColumn) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether LONG and whether SHORT hold at each of these bars, (n,)."""
        rule, outputs = self.rule, outputs_of(self.indicator, self.parameters, bars)
        read = {name: outputs[name] if name in outputs else bars[name] for name in rule.reads}
        return self.directed(*_sides(rule, read))

    def directed(
        self, upper: NDArray[np.bool_], lower: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Make LONG and SHORT of both sides of the rule, as it inverts or allows either."""
        if self.rule.either:
            return upper, upper
        return (lower, upper) if self.rule.invert else (upper, lower)


def _sides(rule: Rule, outputs: dict[str, NDArray[np.float64]]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Both sides of a rule before inversion; nothing compares true with NaN."""
    if rule.kind == "band":
        close = outputs["close"]
        return close > _before(outputs[rule.upper], rule.bars), close < _before(outputs[rule.lower], rule.bars)
    now = outputs[rule.output]
    if rule.kind == "threshold":
        return _within(now, rule.long_above, rule.long_below), _within(now, rule.short_above, rule.short_below)
    if rule.kind == "slope":
        before = _before(now, rule.bars)
        return now > before, now < before
    other = outputs[rule.against] if isinstance(rule.against, str) else rule.against
    if rule.kind == "state":
        return now > other, now < other
    first, second = _before(now, 1), other if isinstance(other, float) else _before(other, 1)
    return (now > other) & (first <= second), (now < other) & (first >= second)


def _before(values: NDArray[np.float64], bars: int) -> NDArray[np.float64]:
    """Values of so many bars before, (n,)."""
    return values if bars == 0 else np.concatenate((np.full(bars, np.nan), values))[: len(values)]


def _within(values: NDArray[np.float64], above: float | None, below: float | None) -> NDArray[np.bool_]:
    if above is None:
        return np.zeros(len(values), np.bool_) if below is None else values < below
    return values > above if below is None else (values > above) & (values < below)


# Reading a condition


def condition_of(given: Any, place: str) -> Condition:
    """Read a condition as a config has it; raises Misconfigured, naming the `place`, for what it cannot say."""
    text = repr(given)  # a search asks for few conditions, many times
    if text not in _READ:
        try:
            found = _condition(given)
        except Misconfigured as error:
            raise Misconfigured(f"{place}: {error}") from None
        if len(_READ) >= MOST_READ:
            _READ.clear()
        _READ[text] = found
    return _READ[text]


_READ: dict[str, Condition] = {}  # by the text of what was given


def _condition(given: Any) -> Condition:
    if not isinstance(given, dict) or "indicator" not in given:
        raise Misconfigured(f"it is {shown(given)}; write it like {{indicator: RSI, timeperiod: 14}}.")
    one = indicator_named(given["indicator"])
    for key in given:
        known = (*KEYS, *(setting.name for setting in one.settings))
        if key not in known:
            raise Misconfigured(f"indicator {one.name} knows no {shown(key)}; {suggestion(str(key), known)}.")
    own = {key: value for key, value in given.items() if key in KEYS}
    rule = _rule(one, own)
    _refuse_the_impossible(one, rule)
    values = one.values({key: value for key, value in given.items() if key not in KEYS})
    lookback_of(one.name, values)  # which asks TA-Lib whether these go together
    return Condition(one.name, values, rule)


def _rule(one: Indicator, given: dict[str, Any]) -> Rule:
    """Lay what is said over the indicator's own rule, or over an empty one where another kind is said."""
    limits = {key: _number(key, given[key]) for key in LIMITS if given.get(key) is not None}
    implied = "threshold" if limits else "state" if "against" in given and one.rule.kind != "cross" else one.rule.kind
    kind = given.get("rule", implied)
    if kind not in KINDS:
        raise Misconfigured(f"rule is {shown(kind)}; {suggestion(str(kind), KINDS)}.")
    rule = one.rule
    if kind != rule.kind:
        output = rule.output if rule.output in one.outputs else one.outputs[0]
        rule = Rule(kind, output=output, against=rule.against, bars=int(kind == "slope"))
    if limits:
        told: dict[str, Any] = {**dict.fromkeys(LIMITS), **limits}
        rule = replace(rule, **told)
    for key in ("output", "against", "upper", "lower", "bars"):
        if key in given:
            if key not in NUMBERS[kind]:
                raise Misconfigured(f"a rule of kind {kind} takes no {key}; it takes {', '.join(NUMBERS[kind])}.")
            rule = replace(rule, **{key: _value(one, key, given[key])})
    for key in ("either", "invert"):
        if not isinstance(given.get(key, False), bool):
            raise Misconfigured(f"{key} is {shown(given[key])}; say true or false.")
        rule = replace(rule, **{key: given.get(key, getattr(rule, key))})
    return rule


def _value(one: Indicator, key: str, value: Any) -> Any:
    """Check an output, a number of bars or what an output is held against."""
    if key == "bars":
        if type(value) is not int or not 0 <= value <= 1000:
            raise Misconfigured(f"bars is {shown(value)}; give a whole number from 0 to 1000.")
        return value
    if key == "against" and not isinstance(value, str):
        return _number(key, value)
    known = (*one.outputs, *PRICES)
    if value not in known:
        raise Misconfigured(
            f"{key} is {shown(value)}, which {one.name} does not give; {suggestion(str(value), known)}."
        )
    return value


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise Misconfigured(f"{key} is {shown(value)}; give a number.")
    return float(value)


def _refuse_the_impossible(one: Indicator, rule: Rule) -> None:
    """Raise Misconfigured for a rule that can hold at no bar."""
    low, high = (one.least, one.most) if rule.output in one.outputs else (0.0, np.inf)
    within = f"{rule.output} of {one.name} lies from {low:g} to {high:g}"
    if rule.kind == "threshold":
        if all(getattr(rule, key) is None for key in LIMITS):
            raise Misconfigured(f"a threshold needs a limit; give one of {', '.join(LIMITS)}.")
        for side in ("long", "short"):
            above, below = getattr(rule, f"{side}_above"), getattr(rule, f"{side}_below")
            wrong = next(
                (k for k, x in ((f"{side}_above", above), (f"{side}_below", below)) if _never(k, x, low, high)), ""
            )
            if wrong:
                raise Misconfigured(f"{wrong} is {getattr(rule, wrong):g}, which can never be true: {within}.")
            if above is not None and below is not None and above >= below:
                raise Misconfigured(
                    f"{side}_above ({above:g}) must lie under {side}_below ({below:g}), or neither holds."
                )
    against = rule.against
    if rule.kind in ("state", "cross") and not isinstance(against, str):
        crossed = rule.kind == "cross" and not low < against < high
        if not low <= against <= high or crossed or low == high:
            raise Misconfigured(f"against is {against:g}, which {rule.kind} can never turn on: {within}.")
    if rule.kind in ("state", "cross") and rule.output == against:
        raise Misconfigured(f"output and against are both {shown(against)}; name two different ones.")
    if rule.kind == "slope" and rule.bars == 0:
        raise Misconfigured("bars is 0, of which a slope can never be anything; give 1 or more.")


def _never(key: str, limit: float | None, low: float, high: float) -> bool:
    return limit is not None and (limit >= high if key.endswith("above") else limit <= low)


# Conditions together


@dataclass(frozen=True)
class WhenInput(Input):
    """Conditions combined: at least `least` of them say LONG, or SHORT."""

    conditions: tuple[Condition, ...] = ()
    least: int = 1

    def check(self, place: str) -> None:
        """Raise Misconfigured without conditions."""
        super().check(place)
        if not self.conditions:
            raise Misconfigured(f"{place}: there is no condition; give one such as {{indicator: RSI, timeperiod: 14}}.")

    def reach(self) -> int:
        """Bars before a block that a value in it is computed over."""
        own = (reach_of(one.indicator, one.parameters) + one.rule.before for one in self.conditions)
        return max(own, default=0) if self.warmup is None else self.warmup

    def span(self) -> int:
        """Time before a block that its values need, ms."""
        return max((span_of(one.indicator) for one in self.conditions), default=0)

    def lookback(self) -> int:
        """Bars before the first bar at which all conditions may hold."""
        own = (lookback_of(one.indicator, one.parameters) + one.rule.before for one in self.conditions)
        return max(own, default=0)

    def column(self, bars: ByColumn, at: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """What the conditions together say at these bars."""
        both = [one.sides(bars) for one in self.conditions]
        long, short = (_at_least(self.least, [side[at] for side in sides]) for sides in zip(*both, strict=True))
        return SAID[long + 2 * short.view(np.int8)]


def _at_least(least: int, sides: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Whether so many of these hold, at each bar (n,)."""
    return sides[0] if len(sides) == 1 else np.asarray(np.sum(sides, axis=0, dtype=np.int8) >= least)


def when_input(given: Sequence[Any], combine: str | dict[str, int], place: str) -> WhenInput:
    """Combine conditions by `all`, `any` or {at_least: n}; raises Misconfigured, naming the `place`."""
    if len(given) > MOST:
        raise Misconfigured(f"{place} holds {len(given)} conditions; give at most {MOST}.")
    conditions = tuple(condition_of(one, f"{place}[{index}]") for index, one in enumerate(given))
    if combine in ("all", "any"):
        return WhenInput(conditions=conditions, least=1 if combine == "any" else max(len(conditions), 1))
    least = combine.get("at_least") if isinstance(combine, dict) and len(combine) == 1 else None
    if type(least) is not int or least < 1:
        raise Misconfigured(f"combine is {shown(combine)}; say all, any or {{at_least: 2}}.")
    if conditions and least > len(conditions):
        raise Misconfigured(
            f"combine asks for at_least {least} of {len(conditions)} conditions, which can never be true; lower it."
        )
    return WhenInput(conditions=conditions, least=least)


class WhenParameters(StrategyParameters):
    """Parameters of a strategy that is told by conditions when to trade; `section` is its name in a config.

    `gates`: its entries wait for them, and without any nothing does.
    """

    section: ClassVar[str] = ""
    gates: ClassVar[bool] = True

    when: list[dict[str, Any]] = Field([], description="conditions, such as {indicator: RSI, timeperiod: 14}")
    combine: str | dict[str, int] = Field("all", description="all, any or {at_least: 2} of the conditions")

    @model_validator(mode="after")
    def _readable(self) -> Self:
        self.combined()
        return self

    def combined(self) -> WhenInput:
        """Combine the conditions to the column that decides; raises Misconfigured."""
        return when_input(self.when, self.combine, f"{self.section}.when")
