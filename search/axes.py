"""Axes: the values of a config that are ranges or lists where one value belongs, each with all that it stands for.

A range is {from: 5, to: 40, step: 5}, {from: 0.1, to: 0.9, steps: 5} or {from: 0.002, to: 0.02, log: true, steps: 10},
`to` included; the numbers are the decimals that one would write. Every mistake is one sentence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Union, get_args, get_origin

from bot.errors import Misconfigured, shown, suggestion
from bot.indicator_registry import indicator_named
from bot.parameters import Parameters

MOST_VALUES = 1000  # of one axis
LOG_STEPS = 10  # of a logarithmic range that does not say
LARGEST = 1e300
RANGE_KEYS = ("from", "to", "step", "steps", "log")
SUCH = "write one such as {from: 5, to: 40, step: 5}"
Path = tuple[str | int, ...]  # keys and places in lists, from the strategy's section on


@dataclass(frozen=True)
class Axis:
    """One searched value: `key` such as "grid.levels" or "rules.when[0].timeperiod", and the values it takes."""

    key: str
    path: Path
    values: tuple[Any, ...]

    @property
    def words(self) -> bool:
        """Whether some of its values are no numbers, nor shares in per cent."""
        return any(not (is_number(one) or (isinstance(one, str) and one.strip().endswith("%"))) for one in self.values)


def is_number(value: Any) -> bool:
    """Whether a config's value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def short_key(key: str) -> str:
    """Key of an axis without its section, where it has one."""
    return key.partition(".")[2] or key


def is_range(value: Any) -> bool:
    """Whether a config's value is written as a range."""
    return isinstance(value, dict) and ("from" in value or "to" in value)


def axes_of(model: type[Parameters], section: dict[str, Any], name: str) -> tuple[Axis, ...]:
    """Find the axes of a strategy's section, as they are written; raises Misconfigured."""
    found: list[Axis] = []
    for key, value in section.items():
        field = model.model_fields.get(key)
        annotation = None if field is None else field.annotation
        own = list(_axes(f"{name}.{key}", (key,), value, annotation, listed=_is_list(annotation)))
        if own and field is None:
            raise Misconfigured(f"{name}.{key} is no known key; {suggestion(key, model.model_fields)}.")
        found += own
    for axis in found:
        _check_setting(axis, section)
    return tuple(found)


def placed(values: Any, path: Path, value: Any) -> Any:
    """Return a copy of nested keys and lists in which `value` stands at `path`; what lies beside it is shared."""
    first, *others = path
    copy: Any = list(values) if isinstance(values, list) else dict(values)
    copy[first] = placed(copy[first], tuple(others), value) if others else value
    return copy


def _axes(key: str, path: Path, value: Any, annotation: Any, *, listed: bool) -> Iterator[Axis]:
    """Find the axes in a value; `listed`: a list is what belongs here, so that only one of lists is searched."""
    if is_range(value):
        yield Axis(key, path, _range(key, value, annotation))
    elif isinstance(value, list) and (not listed or (value and all(isinstance(one, list) for one in value))):
        yield Axis(key, path, _listed(key, value))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from _axes(f"{key}[{place}]", (*path, place), one, None, listed=True)
    elif isinstance(value, dict):
        for inner, one in value.items():
            yield from _axes(f"{key}.{inner}", (*path, inner), one, None, listed=False)


def _is_list(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _is_list(get_args(annotation)[0])
    return any(kind in (list, tuple, set, frozenset) for kind in (annotation, get_origin(annotation))) or any(
        _is_list(one) for one in _choices(annotation)
    )


def _choices(annotation: Any) -> tuple[Any, ...]:
    """Parts of a union, none of anything else."""
    return get_args(annotation) if get_origin(annotation) is Union or hasattr(annotation, "__or__") else ()


def _listed(key: str, values: list[Any]) -> tuple[Any, ...]:
    if not values:
        raise Misconfigured(f"{key} is an empty list, which leaves nothing to search; give it values, or take it out.")
    _check_count(key, len(values))
    return tuple(values)


def _check_count(key: str, count: int) -> None:
    if count > MOST_VALUES:
        raise Misconfigured(f"{key} has more than {MOST_VALUES:,} values; search fewer, with a wider step.")


# Ranges


def _range(key: str, given: dict[str, Any], annotation: Any) -> tuple[Any, ...]:
    """List the values of a range; in per cent, as they are written, where the range is."""
    for name in given:
        if name not in RANGE_KEYS:
            raise Misconfigured(f"{key}: a range knows no {shown(name)}; {suggestion(str(name), RANGE_KEYS)}.")
    for name in ("from", "to"):
        if given.get(name) is None:
            raise Misconfigured(f"{key}: the range has no {name}; {SUCH}.")
    if not isinstance(given.get("log", False), bool):
        raise Misconfigured(f"{key}: log is {shown(given['log'])}; say true or false.")
    first, last = (_number(key, name, given[name]) for name in ("from", "to"))
    if first > last:
        raise Misconfigured(f"{key}: from ({shown(given['from'])}) lies above to ({shown(given['to'])}); swap them.")
    whole = all(type(given.get(name, 0)) is int for name in ("from", "to", "step"))
    if given.get("log", False):
        whole = whole and float not in (annotation, *get_args(annotation))
        values = _log(key, given, first, last, whole=whole)
    else:
        values = _linear(key, given, first, last)
    if any(isinstance(given.get(name), str) for name in ("from", "to", "step")):
        return tuple(f"{float(100 * Fraction(one)):.12g}%" for one in values)
    plain = [int(one) if whole and one == int(one) else float(one) for one in values]
    return tuple(dict.fromkeys(plain))


def _linear(key: str, given: dict[str, Any], first: Fraction, last: Fraction) -> list[Fraction]:
    if ("step" in given) == ("steps" in given):
        raise Misconfigured(f"{key}: the range needs either step or steps; {SUCH}.")
    if "steps" in given:
        steps = _steps(key, given)
        return [first + k * (last - first) / (steps - 1) for k in range(steps)]
    step = _number(key, "step", given["step"])
    if step <= 0:
        raise Misconfigured(f"{key}: step is {shown(given['step'])}; give one above 0.")
    count = math.floor((last - first) / step) + 1
    _check_count(key, count)
    return [first + k * step for k in range(count)]


def _log(key: str, given: dict[str, Any], first: Fraction, last: Fraction, *, whole: bool) -> list[Fraction]:
    """Values with equal ratios between them, of six digits, or whole numbers; the ends are as given."""
    if first <= 0:
        raise Misconfigured(f"{key}: from is {shown(given['from'])}, which has no logarithm; give one above 0.")
    if "step" in given:
        raise Misconfigured(f"{key}: a range with log takes steps, how many values, instead of step; write steps: 10.")
    steps = _steps(key, given)
    low, high = math.log(first), math.log(last)
    between = [math.exp(low + k * (high - low) / (steps - 1)) for k in range(1, steps - 1)]
    inner = [Fraction(round(one)) if whole else Fraction(f"{one:.6g}") for one in between]
    return list(dict.fromkeys([first, *inner, last]))


def _steps(key: str, given: dict[str, Any]) -> int:
    steps = given.get("steps", LOG_STEPS)
    if type(steps) is not int or steps < 2:
        raise Misconfigured(f"{key}: steps is {shown(steps)}; give a whole number from 2 on.")
    _check_count(key, steps)
    return steps


def _number(key: str, name: str, value: Any) -> Fraction:
    """Read a number or per cent of a range exactly as it is written."""
    text = value.strip() if isinstance(value, str) else ""
    try:
        if text.endswith("%"):
            number = float(text[:-1])
            exact = Fraction(text[:-1].strip()) / 100 if abs(number) < LARGEST else None
        elif isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
            exact = None
        else:
            exact = Fraction(repr(value))
    except (ValueError, ZeroDivisionError):
        exact = None
    if exact is None:
        raise Misconfigured(f"{key}: {name} is {shown(value)}; give a number, or a share such as 0.5%.")
    return exact


# Conditions


def _check_setting(axis: Axis, section: dict[str, Any]) -> None:
    """Raise Misconfigured where an axis on an indicator's parameter has a value that it never takes."""
    if len(axis.path) != 3 or axis.path[0] != "when":
        return
    condition = section["when"][axis.path[1]]
    if not isinstance(condition.get("indicator"), str):
        return
    one = indicator_named(condition["indicator"])
    if axis.path[2] in {setting.name for setting in one.settings}:
        place = axis.key.rpartition(".")[0]
        for value in axis.values:
            try:
                one.values({str(axis.path[2]): value})
            except Misconfigured as error:
                raise Misconfigured(f"{place}: {error}") from None
