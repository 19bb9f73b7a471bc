"""What a grid can be told, and what is refused because it cannot earn or cannot be placed."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, Self

from pydantic import Field, model_validator

from bot.conditions import WhenParameters
from bot.costs import check_distance, round_trip_of
from bot.errors import Misconfigured
from bot.instrument import Instrument, Market
from bot.order import OrderKind
from bot.parameters import Fraction, Number

MAX_LEVELS = 100
CAUTION = 0.7
KEPT_STOP = 0.20  # distance of the stop behind which inventory is kept, as of any position without a nearer one


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
    """What a grid does when the price leaves its range: stay, move, move with a new width, or move cell by cell."""

    OFF = "off"
    FIXED = "fixed"
    ATR = "atr"
    CELL = "cell"


class Counter(StrEnum):
    """Where a cell is closed again: `profit_per_grid` from its entry, or at the next level."""

    PROFIT = "profit"
    LEVEL = "level"


class Start(StrEnum):
    """When a grid is laid: as a signal bar closes, or as the next base bar does."""

    AT_SIGNAL_BAR = "at_signal_bar"
    NOW = "now"


class OnStop(StrEnum):
    """What becomes of the inventory at `stop_price`: it is sold, kept, or kept behind a near stop."""

    CLOSE = "close"
    KEEP = "keep"
    KEEP_WITH_STOP = "keep_with_stop"


class Reinvest(StrEnum):
    """What sizes of cells grow by: nothing, the profit of closed cells, or all that the grid has earned."""

    OFF = "off"
    PROFITS = "profits"
    ALL = "all"


class TurningEntries(StrEnum):
    """What entries do that would turn the position of a neutral grid: wait until it is flat, or rest."""

    SUSPEND = "suspend"
    REST = "rest"


# Kernels see an enumeration as its index.
GEOMETRIC = list(Spacing).index(Spacing.GEOMETRIC)
LONG, SHORT = list(GridDirection).index(GridDirection.LONG), list(GridDirection).index(GridDirection.SHORT)
NEUTRAL = list(GridDirection).index(GridDirection.NEUTRAL)
SUSPEND = list(TurningEntries).index(TurningEntries.SUSPEND)
TRAIL_FIXED, TRAIL_ATR = list(Trailing).index(Trailing.FIXED), list(Trailing).index(Trailing.ATR)
TRAIL_CELL = list(Trailing).index(Trailing.CELL)
NEXT_LEVEL = list(Counter).index(Counter.LEVEL)
START_NOW = list(Start).index(Start.NOW)
CLOSE, KEEP_WITH_STOP = list(OnStop).index(OnStop.CLOSE), list(OnStop).index(OnStop.KEEP_WITH_STOP)
REINVEST_OFF, REINVEST_ALL = list(Reinvest).index(Reinvest.OFF), list(Reinvest).index(Reinvest.ALL)


WIDE_COUNTER = 0.05  # a counter so far away is more often a per cent sign forgotten than meant


class GridParameters(WhenParameters):
    """Everything a grid can be told."""

    section = "grid"

    levels: int = Field(15, ge=2, le=MAX_LEVELS, description="number of levels, one cell each")
    spacing: Spacing = Field(Spacing.ARITHMETIC, description="arithmetic (equal steps) or geometric (equal %)")
    range_factor: Number = Field(12.0, gt=0, le=100, description="half-width of the range, ATRs")
    atr_period: int = Field(14, ge=2, le=500, description="ATR period, signal bars")
    lower: Number | None = Field(None, gt=0, description="fixed lower bound, quote currency; with `upper`")
    upper: Number | None = Field(None, gt=0, description="fixed upper bound, quote currency; with `lower`")
    profit_per_grid: Fraction = Field(0.02, gt=0, le=0.5, description="distance of a counter, fraction of price")
    min_cell_profit: Number = Field(
        0.5, ge=0, le=1000, description="least profit of a cell after its costs, in round-trip costs"
    )
    direction: GridDirection = Field(GridDirection.NEUTRAL, description="neutral, long or short; spot is always long")
    turning_entries: TurningEntries = Field(
        TurningEntries.SUSPEND, description="neutral: entries against the position suspend until flat, or rest"
    )
    initial_inventory: bool = Field(True, description="long/short: fill cells beyond the price at market first")
    stop_loss: Fraction = Field(0.05, gt=0, lt=1, description="stop beyond the bound, fraction of the bound")
    max_drawdown: Fraction = Field(0.10, gt=0, le=1, description="loss that closes the grid, fraction of target")
    cooldown_hours: Number = Field(4.0, ge=0, le=10_000, description="pause after a stop or drawdown, hours")
    trailing: Trailing = Field(Trailing.OFF, description="off, fixed (same width) or atr (new width)")
    shift_threshold: Fraction = Field(0.005, ge=0, le=1, description="how far outside before a shift, fraction")
    shift_cooldown_minutes: Number = Field(60.0, ge=0, le=1e6, description="least time between shifts, minutes")
    max_age_days: Number = Field(30.0, gt=0, le=10_000, description="age at which the range is laid again, days")
    risk_budget: Fraction = Field(0.02, gt=0, le=1, description="loss of all inventory at its stop, of target")
    counter: Counter = Field(Counter.PROFIT, description="cells close at profit (profit_per_grid) or the next level")
    start: Start = Field(Start.AT_SIGNAL_BAR, description="laid at_signal_bar, or now: at the next base bar's close")
    trigger_price: Number | None = Field(None, gt=0, description="the first grid waits until the price reaches this")
    take_profit: Number | None = Field(
        None, gt=0, description="price that ends the grid with profit; 10% is take_profit_share"
    )
    take_profit_share: Fraction | None = Field(None, gt=0, le=100, description="profit that ends it, of its capital")
    stop_price: Number | None = Field(None, gt=0, description="price that ends the grid; 10% is stop_share")
    stop_share: Fraction | None = Field(None, gt=0, le=1, description="loss that ends it, of its capital")
    on_stop: OnStop = Field(OnStop.CLOSE, description="inventory at stop_price: close, keep or keep_with_stop")
    trailing_limit_upper: Number | None = Field(None, gt=0, description="trailing: cell goes no higher, quote currency")
    trailing_limit_lower: Number | None = Field(None, gt=0, description="trailing: cell goes no lower, quote currency")
    infinity: bool = Field(False, description="long without upper bound: keeps the worth of what it holds constant")
    reinvest: Reinvest = Field(Reinvest.OFF, description="cells grow by: off, profits (of closed cells) or all")
    profit_lock: Fraction = Field(0.0, ge=0, le=1, description="share of each cell's profit that is never used again")
    activation_band: Fraction | None = Field(None, gt=0, le=1, description="only orders so near the price rest")
    max_open_orders: int | None = Field(None, ge=1, le=200, description="only so many orders rest, nearest first")

    @classmethod
    def presets(cls) -> dict[str, dict[str, Any]]:
        """CLASSIC: the defaults of version 0.1. LOW, MEDIUM, HIGH: it, for how much the market moves.

        EXCHANGE: as the grid bots of exchanges behave.
        """
        classic = {"range_factor": 3.0, "profit_per_grid": 0.005, "trailing": "atr"}
        return {
            "classic": classic,
            "exchange": {
                "range_factor": 3.0,
                "start": "now",
                "counter": "level",
                "trailing": "off",
                "risk_budget": 1.0,
                "max_drawdown": 1.0,
                "stop_loss": 0.2,
            },
            "low": {**classic, "levels": 20, "profit_per_grid": 0.002},
            "medium": {**classic, "levels": 15},
            "high": {**classic, "levels": 10, "profit_per_grid": 0.01},
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

    @model_validator(mode="before")
    @classmethod
    def _shares(cls, values: Any) -> Any:
        """Take a take_profit or stop_price in per cent for a share of the grid's capital."""
        if not isinstance(values, dict):
            return values
        given = dict(values)
        for name, share in (("take_profit", "take_profit_share"), ("stop_price", "stop_share")):
            if isinstance(given.get(name), str) and given[name].strip().endswith("%"):
                given[share] = given.pop(name)
        return given

    @model_validator(mode="before")
    @classmethod
    def _needs_no_warmup(cls, values: Any) -> Any:
        """Wait for no indicator where none is used: a grid between fixed bounds that starts now."""
        if isinstance(values, dict) and values.get("preset") == "exchange" and values.get("lower") is not None:
            return {"warmup_bars": 0, **values}
        return values

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if (self.lower is None) != (self.upper is None):
            missing, given = ("upper", "lower") if self.upper is None else ("lower", "upper")
            raise ValueError(f"{missing} is missing although {given} is given; give both bounds or neither")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"lower ({self.lower:g}) must lie below upper ({self.upper:g}); swap or widen them")
        return self

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        """Refuse options that mean nothing beside the others."""
        if self.trailing is not Trailing.CELL:
            for name in ("trailing_limit_upper", "trailing_limit_lower"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} limits trailing: cell, but trailing is {self.trailing}; take one out")
        if self.on_stop is not OnStop.CLOSE and self.stop_price is None and self.stop_share is None:
            raise ValueError(f"on_stop is {self.on_stop} but no stop_price is given; give one, or take on_stop out")
        if self.infinity and self.direction is GridDirection.SHORT:
            raise ValueError("direction is short but an infinity grid holds what rises; choose long, or no infinity")
        for share, price in (("take_profit_share", "take_profit"), ("stop_share", "stop_price")):
            if getattr(self, share) is not None and getattr(self, price) is not None:
                raise ValueError(f"{price} is given as a price and as a share of the capital; choose one of them")
        return self

    @model_validator(mode="after")
    def _around_the_range(self) -> Self:
        """Refuse prices on the wrong side of fixed bounds."""
        if self.lower is None or self.upper is None:
            return self
        upper = math.inf if self.infinity else self.upper
        where = f"the range from {self.lower:g} to {upper:g}"
        if self.trigger_price is not None and not self.lower <= self.trigger_price <= upper:
            raise ValueError(
                f"trigger_price ({self.trigger_price:g}) lies outside {where}, where no grid can start; move it inside"
            )
        for name, gains in (("stop_price", False), ("take_profit", True)):
            price = getattr(self, name)
            if price is None:
                continue
            if self.lower <= price <= upper:
                raise ValueError(f"{name} ({price:g}) lies inside {where}; move it outside")
            above = {GridDirection.LONG: gains, GridDirection.SHORT: not gains}.get(self.direction)
            if above is not None and above != (price > upper):
                side = "above" if above else "below"
                raise ValueError(f"{name} ({price:g}) of a {self.direction} grid belongs {side} {where}; move it there")
        if self.trailing_limit_upper is not None and self.trailing_limit_upper < upper:
            raise ValueError(f"trailing_limit_upper ({self.trailing_limit_upper:g}) lies under upper; raise it")
        if self.trailing_limit_lower is not None and self.trailing_limit_lower > self.lower:
            raise ValueError(f"trailing_limit_lower ({self.trailing_limit_lower:g}) lies over lower; lower it")
        return self


def check(parameters: GridParameters, instrument: Instrument, capital: float, price: float, leverage: float) -> None:
    """Refuse what cannot earn or cannot be placed; raises Misconfigured naming the field and the remedy.

    `price` is the first price (quote currency): it decides what a tick and the smallest order are worth.
    """
    least = 2 * float(instrument.maker_fee) + 2 * float(instrument.tick_size) / price
    costs, multiple = round_trip_of(instrument, OrderKind.LIMIT, OrderKind.LIMIT, 0.0), 1.0 + parameters.min_cell_profit
    step = _narrowest_step(parameters)
    if step is not None and step <= max(least, costs * multiple):
        raise Misconfigured(
            f"grid.levels is {parameters.levels}, whose levels lie {step:.6g} apart, but costs and min_cell_profit ask "
            f"for {max(least, costs * multiple):.6g}; choose fewer levels or a wider range."
        )
    if step is None and parameters.profit_per_grid <= least:
        raise Misconfigured(
            f"grid.profit_per_grid is {parameters.profit_per_grid:.6g} but two maker fees and two ticks cost "
            f"{least:.6g}; choose more than that break-even."
        )
    if step is None:
        check_distance("grid.profit_per_grid", parameters.profit_per_grid, "grid.min_cell_profit", multiple, costs)
    if parameters.direction is GridDirection.SHORT and instrument.market is Market.SPOT:
        raise Misconfigured("grid.direction is short but spot cannot be sold short; use long, or market: linear.")
    leaving = float(instrument.taker_fee) * leverage
    if parameters.take_profit_share is not None and parameters.take_profit_share <= leaving:
        raise Misconfigured(
            f"grid.take_profit_share is {parameters.take_profit_share:.6g} but leaving with all that the capital "
            f"carries costs {leaving:.6g} of it; choose more than that."
        )
    least_notional = instrument.smallest_order(price)
    per_level = min(capital * leverage / parameters.levels, capital * _largest_cell(parameters, price))
    if parameters.infinity:
        per_level = capital * leverage * (1.0 - 1.0 / (1.0 + parameters.profit_per_grid))
        if per_level < least_notional:
            raise Misconfigured(
                f"capital {capital:g} gives a cell of an infinity grid at most {per_level:.4g}, under the venue's "
                f"minimum of {least_notional:.4g}; raise the capital or grid.profit_per_grid."
            )
    if per_level < least_notional:
        raise Misconfigured(
            f"capital {capital:g} over {parameters.levels} levels gives {per_level:.4g} a level, under the venue's "
            f"minimum of {least_notional:.4g}; raise the capital or grid.risk_budget, or lower grid.levels."
        )


def _largest_cell(parameters: GridParameters, price: float) -> float:
    """Find the most that a cell may be, as a share of the capital, for the loss of all at the stop to fit the budget.

    Only where the bounds are fixed and hold the price, else infinite; `price` (quote currency) is what the grid stands
    around.
    """
    lower, upper = parameters.lower, parameters.upper
    if lower is None or upper is None or parameters.infinity or not lower <= price <= upper:
        return math.inf
    low, high = lower * (1.0 - parameters.stop_loss), upper * (1.0 + parameters.stop_loss)
    if parameters.stop_price is not None and parameters.stop_price < lower:
        low = parameters.stop_price
    elif parameters.stop_price is not None:
        high = parameters.stop_price
    ratio, last = upper / lower, parameters.levels - 1
    if parameters.spacing is Spacing.GEOMETRIC:
        levels = [lower * ratio ** (number / last) for number in range(parameters.levels)]
    else:
        levels = [lower * (1.0 + number * (ratio - 1.0) / last) for number in range(parameters.levels)]
    begun = parameters.initial_inventory and parameters.direction is not GridDirection.NEUTRAL
    buys = sum((level - low) / level for level in levels if begun or level < price)
    sells = sum((high - level) / level for level in levels if begun or level > price)
    worst = {GridDirection.LONG: buys, GridDirection.SHORT: sells}.get(parameters.direction, max(buys, sells))
    return parameters.risk_budget / worst if worst > 0.0 else math.inf


def _narrowest_step(parameters: GridParameters) -> float | None:
    """Find the least distance of neighbouring levels, a fraction of the price, where counters lie at the next level."""
    fixed = parameters.lower is not None and parameters.upper is not None and not parameters.infinity
    if parameters.counter is not Counter.LEVEL or not fixed:
        return None
    assert parameters.lower is not None
    assert parameters.upper is not None
    if parameters.spacing is Spacing.GEOMETRIC:
        return (parameters.upper / parameters.lower) ** (1.0 / (parameters.levels - 1)) - 1.0
    return (parameters.upper - parameters.lower) / (parameters.levels - 1) / parameters.upper


def slots(parameters: GridParameters) -> int:
    """Count the orders: entries, counters, stop, closing order."""
    return 2 * parameters.levels + 2


def at_once(parameters: GridParameters) -> bool:
    """Whether base bars matter before the first signal bar: a grid may start, or its trigger be reached."""
    return parameters.start is Start.NOW or parameters.trigger_price is not None


def cautious(parameters: GridParameters) -> GridParameters:
    """Keep fewer levels in a narrower range."""
    return parameters.changed(
        levels=max(2, round(parameters.levels * CAUTION)), range_factor=parameters.range_factor * CAUTION
    )
