"""What a grid can be told, and what is refused because it cannot earn or cannot be placed."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

from pydantic import Field, model_validator

from bot.errors import Misconfigured
from bot.instrument import Instrument, Market
from bot.parameters import Fraction, Number, Parameters

MAX_LEVELS = 100
CAUTION = 0.7


class Spacing(StrEnum):
    """Equal steps in price, or in per cent."""

    ARITHMETIC = "arithmetic"
    GEOMETRIC = "geometric"


class GridDirection(StrEnum):
    """Neutral sells above and buys below; long and short open on one side only."""

    NEUTRAL = "neutral"
    LONG = "long"
    SHORT = "short"


class Trailing(StrEnum):
    """What a grid does when the price leaves its range: stay, move, or move with a new width."""

    OFF = "off"
    FIXED = "fixed"
    ATR = "atr"


class TurningEntries(StrEnum):
    """What entries do that would turn the position of a neutral grid: wait until it is flat, or rest."""

    SUSPEND = "suspend"
    REST = "rest"


# Kernels see an enumeration as its index.
GEOMETRIC = list(Spacing).index(Spacing.GEOMETRIC)
LONG, SHORT = list(GridDirection).index(GridDirection.LONG), list(GridDirection).index(GridDirection.SHORT)
NEUTRAL = list(GridDirection).index(GridDirection.NEUTRAL)
SUSPEND = list(TurningEntries).index(TurningEntries.SUSPEND)
TRAIL_OFF, TRAIL_ATR = list(Trailing).index(Trailing.OFF), list(Trailing).index(Trailing.ATR)


WIDE_COUNTER = 0.05  # a counter so far away is more often a per cent sign forgotten than meant


class GridParameters(Parameters):
    """Everything a grid can be told."""

    levels: int = Field(15, ge=2, le=MAX_LEVELS, description="number of levels, one cell each")
    spacing: Spacing = Field(Spacing.ARITHMETIC, description="arithmetic (equal steps) or geometric (equal %)")
    range_factor: Number = Field(3.0, gt=0, le=100, description="half-width of the range, ATRs")
    atr_period: int = Field(14, ge=2, le=500, description="ATR period, signal bars")
    lower: Number | None = Field(None, gt=0, description="fixed lower bound, quote currency; with `upper`")
    upper: Number | None = Field(None, gt=0, description="fixed upper bound, quote currency; with `lower`")
    profit_per_grid: Fraction = Field(0.005, gt=0, le=0.5, description="distance of a counter, fraction of price")
    direction: GridDirection = Field(GridDirection.NEUTRAL, description="neutral, long or short; spot is always long")
    turning_entries: TurningEntries = Field(
        TurningEntries.SUSPEND, description="neutral: entries against the position suspend until flat, or rest"
    )
    initial_inventory: bool = Field(True, description="long/short: fill cells beyond the price at market first")
    stop_loss: Fraction = Field(0.05, gt=0, lt=1, description="stop beyond the bound, fraction of the bound")
    max_drawdown: Fraction = Field(0.10, gt=0, le=1, description="loss that closes the grid, fraction of target")
    cooldown_hours: Number = Field(4.0, ge=0, le=10_000, description="pause after a stop or drawdown, hours")
    trailing: Trailing = Field(Trailing.ATR, description="off, fixed (same width) or atr (new width)")
    shift_threshold: Fraction = Field(0.005, ge=0, le=1, description="how far outside before a shift, fraction")
    shift_cooldown_minutes: Number = Field(60.0, ge=0, le=1e6, description="least time between shifts, minutes")
    max_age_days: Number = Field(30.0, gt=0, le=10_000, description="age at which the range is laid again, days")
    risk_budget: Fraction = Field(0.02, gt=0, le=1, description="loss of all inventory at its stop, of target")

    @classmethod
    def presets(cls) -> dict[str, dict[str, Any]]:
        """LOW, MEDIUM, HIGH: for how much the market moves."""
        return {
            "low": {"levels": 20, "profit_per_grid": 0.002},
            "medium": {"levels": 15, "profit_per_grid": 0.005},
            "high": {"levels": 10, "profit_per_grid": 0.01},
        }

    def remarks(self, price: float) -> list[str]:
        """Say what a distance of a counter comes to in per cent, and that a fixed range lies elsewhere."""
        told = []
        if self.profit_per_grid >= WIDE_COUNTER:
            told.append(
                f"grid.profit_per_grid is {self.profit_per_grid:g}, which is {100 * self.profit_per_grid:g} %; for "
                f"{self.profit_per_grid:g} % write {self.profit_per_grid:g}%."
            )
        if self.lower is not None and self.upper is not None and not self.lower <= price <= self.upper:
            told.append(
                f"grid.lower ({self.lower:g}) and grid.upper ({self.upper:g}) do not hold the price, {price:g}; choose "
                "bounds around it."
            )
        return told

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if (self.lower is None) != (self.upper is None):
            missing, given = ("upper", "lower") if self.upper is None else ("lower", "upper")
            raise ValueError(f"{missing} is missing although {given} is given; give both bounds or neither")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"lower ({self.lower:g}) must lie below upper ({self.upper:g}); swap or widen them")
        return self


def check(parameters: GridParameters, instrument: Instrument, capital: float, price: float, leverage: float) -> None:
    """Refuse what cannot earn or cannot be placed; raises Misconfigured naming the field and the remedy.

    `price` is the first price (quote currency): it decides what a tick and the smallest order are worth.
    """
    least = 2 * float(instrument.maker_fee) + 2 * float(instrument.tick_size) / price
    if parameters.profit_per_grid <= least:
        raise Misconfigured(
            f"grid.profit_per_grid is {parameters.profit_per_grid:.6g} but two maker fees and two ticks cost "
            f"{least:.6g}; choose more than that break-even."
        )
    if parameters.direction is GridDirection.SHORT and instrument.market is Market.SPOT:
        raise Misconfigured("grid.direction is short but spot cannot be sold short; use long, or market: linear.")
    least_notional = instrument.smallest_order(price)
    per_level = capital * leverage / parameters.levels
    if per_level < least_notional:
        raise Misconfigured(
            f"capital {capital:g} over {parameters.levels} levels gives {per_level:.4g} a level, under the venue's "
            f"minimum of {least_notional:.4g}; raise the capital or lower grid.levels."
        )


def slots(parameters: GridParameters) -> int:
    """Count the orders: entries, counters, stop, closing order."""
    return 2 * parameters.levels + 2


def cautious(parameters: GridParameters) -> GridParameters:
    """Keep fewer levels in a narrower range."""
    return parameters.changed(
        levels=max(2, round(parameters.levels * CAUTION)), range_factor=parameters.range_factor * CAUTION
    )
