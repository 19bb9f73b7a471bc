"""The parameters of strategies as data: unit, bounds, default, and what a search may do with each."""

from __future__ import annotations

import re
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, get_args, get_origin

from bot.parameters import fraction_of
from search.methods import RISK_FIELDS
from search.pair_classes import SEARCH_RANGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bot.strategy import Strategy

UNITS = (
    *(r"(?:fraction|share)(?: of \w+)?", r"%(?: of [\w ]+)?", "points", "ratio", "basis points", "round-trip costs"),
    *("bars", "signal bars", "ATRs", "days", "hours", "minutes", "seconds", "quote currency", "quote"),
)
UNIT = re.compile(rf"(?:, |: )(?:in )?({'|'.join(UNITS)})(?=$|[,;(])")  # behind what a description says
FRACTION = "fraction"
ASIDE = ("preset",)  # stands for other values


class SearchUse(StrEnum):
    """What may stand in place of one value in a space."""

    RANGE = "range or list"  # {from:, to:, step:} or [a, b]
    WORDS = "list of words"
    LISTS = "list of lists"
    INSIDE = "ranges inside"  # of the parameters of its conditions
    FIXED = "one value"


def parameters_of(strategy: Strategy) -> list[dict[str, Any]]:
    """List every parameter of a strategy, as JSON has it."""
    return [
        _parameter(strategy.name, name, field)
        for name, field in strategy.parameters.model_fields.items()
        if name not in ASIDE
    ]


def _parameter(section: str, name: str, field: Any) -> dict[str, Any]:
    limits = {key: getattr(one, key) for one in field.metadata for key in ("ge", "gt", "le", "lt") if hasattr(one, key)}
    found = UNIT.search(field.description or "")
    kinds, words = _kinds(field.annotation)
    return {
        "name": f"{section}.{name}",
        "meaning": field.description or "",
        "unit": found[1] if found else FRACTION if _is_fraction(field) else None,
        "lower": limits.get("ge", limits.get("gt")),
        "lower_included": "ge" in limits,
        "upper": limits.get("le", limits.get("lt")),
        "upper_included": "le" in limits,
        "whole": kinds == {int},
        "words": words,
        "default": _plain(field.default),
        "search": str(_use(name, kinds, words)),
        "risk": name in RISK_FIELDS,  # `staged` keeps it for its second stage
        "by_class": _by_class(section, name),
    }


def _is_fraction(field: Any) -> bool:
    """Whether a value may be written in per cent."""
    return any(getattr(one, "func", None) is fraction_of for one in (*field.metadata, *_inside(field.annotation)))


def _inside(annotation: Any) -> Iterator[Any]:
    """What is said of the values that an annotation takes, one level down."""
    for one in get_args(annotation):
        yield from getattr(one, "__metadata__", ())


def _use(name: str, kinds: set[type], words: list[str]) -> SearchUse:
    if name == "when":
        return SearchUse.INSIDE
    if kinds & {list, tuple}:
        return SearchUse.LISTS
    if kinds & {int, float}:
        return SearchUse.RANGE
    return SearchUse.WORDS if words or kinds & {bool, dict} else SearchUse.FIXED


def _kinds(annotation: Any) -> tuple[set[type], list[str]]:
    """Types of values that an annotation takes, and its words where it has a choice of them."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return {str}, [str(one.value) for one in annotation]
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return set() if annotation is type(None) else {annotation}, []
    arguments = get_args(annotation)
    if get_origin(annotation) in (list, tuple, dict):
        return {get_origin(annotation)}, []
    if arguments and all(isinstance(one, str) for one in arguments):
        return {str}, list(arguments)
    kinds, words = set[type](), list[str]()
    for one in arguments:
        if isinstance(one, type) or get_args(one):
            more, others = _kinds(one)
            kinds |= more
            words += others
    return kinds, words


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    return value if isinstance(value, str | int | float | bool) else None


def _by_class(section: str, name: str) -> dict[str, Any]:
    """What a search of each class of pairs looks at, where it looks at it."""
    found = {str(kind): sections.get(section, {}).get(name) for kind, sections in SEARCH_RANGES.items()}
    return {kind: ranges for kind, ranges in found.items() if ranges is not None}
