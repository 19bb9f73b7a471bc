"""Exact numbers and the roundings of section 1, written from docs/execution.md alone."""

from __future__ import annotations

from dataclasses import fields
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, getcontext
from typing import Any

PRECISION = 40
ZERO = Decimal(0)
ONE = Decimal(1)
BASIS_POINT = Decimal("1e-4")
RELATIVE = Decimal("1e-9")
LARGEST = Decimal("1e-3")
ON_GRID = Decimal("1e-6")

getcontext().prec = PRECISION


def exact(value: Any) -> Decimal:
    """Decimal of anything that prints as a number; a float is taken as it prints."""
    return value if isinstance(value, Decimal) else Decimal(str(value))


class Exact:
    """Base of the parameter dataclasses: what is declared `Decimal` becomes one."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value is not None and str(field.type).startswith("Decimal"):
                setattr(self, field.name, exact(value))


def tolerance(x: Decimal) -> Decimal:
    """By how little a number may miss another and still be it: 1e-9 of it, between 1e-9 and 0.001."""
    return min(RELATIVE * max(abs(x), ONE), LARGEST)


def _near(x: Decimal) -> int | None:
    """The whole number that x means, if it misses one by less than the tolerance."""
    whole = x.to_integral_value(ROUND_HALF_EVEN)
    return int(whole) if abs(x - whole) < tolerance(x) else None


def whole_down(x: Decimal) -> int:
    near = _near(x)
    return int(x.to_integral_value(ROUND_FLOOR)) if near is None else near


def whole_up(x: Decimal) -> int:
    near = _near(x)
    return int(x.to_integral_value(ROUND_CEILING)) if near is None else near


def away_limit(x: Decimal, side: int) -> int:
    """A resting limit rounds away from the market: buys down, sells up."""
    return whole_down(x) if side > 0 else whole_up(x)


def away_stop(x: Decimal, side: int) -> int:
    """A resting stop rounds away from the market: buys up, sells down."""
    return whole_up(x) if side > 0 else whole_down(x)


def in_ticks(price: Any, tick_size: Decimal) -> Decimal:
    """A candle's price in ticks; a whole number if it misses one by at most 1e-6."""
    ticks = exact(price) / tick_size
    whole = ticks.to_integral_value(ROUND_HALF_EVEN)
    return whole if abs(ticks - whole) <= ON_GRID else ticks
