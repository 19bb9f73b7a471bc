"""What a DCA deal can be told, and what is refused: bounds, presets, targets, and the check against an instrument."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field, model_validator

from bot.conditions import WhenParameters
from bot.costs import CostParameters, check_distance, round_trip_of
from bot.errors import Misconfigured
from bot.instrument import Instrument, Market
from bot.order import OrderKind
from bot.parameters import Fraction, Number, Section
from bot.times import HOUR

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SAFETY_ORDERS = 30
MAX_TARGETS = 8


class DcaDirection(StrEnum):
    """Which way a deal bets."""

    LONG = "long"
    SHORT = "short"


class DealStart(StrEnum):
    """What opens a deal when a signal bar closes."""

    CONFLUENCE = "confluence"
    IMMEDIATELY = "immediately"
    SCHEDULE = "schedule"
    PRICE_WINDOW = "price_window"
    SIGNAL = "signal"  # `when` says the deal's direction


class TakeProfitFrom(StrEnum):
    """Price from which take profits are measured."""

    AVERAGE = "average"
    BASE = "base"


class DeadlineExit(StrEnum):
    """How a deal that is too old is closed."""

    BREAK_EVEN = "break_even"
    MARKET = "market"


# Kernels see an enumeration as its index.
SHORT = list(DcaDirection).index(DcaDirection.SHORT)
CONFLUENCE, IMMEDIATELY = list(DealStart).index(DealStart.CONFLUENCE), list(DealStart).index(DealStart.IMMEDIATELY)
SCHEDULE, PRICE_WINDOW = list(DealStart).index(DealStart.SCHEDULE), list(DealStart).index(DealStart.PRICE_WINDOW)
SIGNAL = list(DealStart).index(DealStart.SIGNAL)
FROM_BASE = list(TakeProfitFrom).index(TakeProfitFrom.BASE)
AT_MARKET = list(DeadlineExit).index(DeadlineExit.MARKET)


class Target(Section):
    """One of several take profits."""

    at: Fraction = Field(gt=0, le=10, description="distance of the target, fraction of price")
    share: Fraction = Field(gt=0, le=1, description="share of the deal that is closed there, fraction")


class DcaParameters(WhenParameters, CostParameters):
    """Everything a DCA deal can be told."""

    section = "dca"

    direction: DcaDirection = Field(DcaDirection.LONG, description="long or short; spot is always long")
    start: DealStart = Field(
        DealStart.CONFLUENCE, description="confluence, immediately, schedule, price_window or signal (when)"
    )
    confluence: Fraction = Field(0.6, ge=0, le=1, description="share of the evidence that opens a deal, fraction")
    min_confirmations: int = Field(1, ge=1, le=100, description="signal bars in a row that must agree, bars")
    adx_min: Number = Field(20.0, ge=0, le=100, description="ADX from which a trend counts, points")
    price_zone: Fraction = Field(0.02, ge=0, le=1, description="how near the 20-bar extreme, fraction of price")
    rsi_limit: Number = Field(35.0, ge=0, le=100, description="RSI under which it is oversold, points")
    band_tolerance: Fraction = Field(0.02, ge=0, le=1, description="how near the Bollinger band, fraction")
    volume_ratio: Number = Field(1.2, ge=0, le=100, description="volume of 24 h / daily mean that counts, ratio")
    spike: Fraction = Field(0.03, gt=0, le=1, description="a bar that moves more opens no deal, fraction")
    schedule_hours: Number = Field(168.0, gt=0, le=10_000, description="schedule: time between two starts, hours")
    schedule_offset_hours: Number = Field(
        0.0, ge=0, le=10_000, description="schedule: first start after 1970-01-01 00:00 UTC, a Thursday, hours"
    )
    entry_above: Number | None = Field(None, gt=0, description="no deal opens under this price, quote currency")
    entry_below: Number | None = Field(None, gt=0, description="no deal opens over this price, quote currency")
    deal_cooldown_seconds: Number = Field(120.0, ge=0, le=1e8, description="pause after a deal, seconds")
    max_deals_per_day: int | None = Field(None, ge=1, le=100_000, description="deals opened in a UTC day at most")
    stop_after_deals: int | None = Field(None, ge=1, le=1_000_000, description="no deal opens after so many")
    max_safety_orders: int = Field(5, ge=0, le=MAX_SAFETY_ORDERS, description="safety orders in the ladder")
    max_active_safety_orders: int = Field(
        MAX_SAFETY_ORDERS, ge=1, le=MAX_SAFETY_ORDERS, description="safety orders that rest at once; the others wait"
    )
    safety_ratio: Number = Field(1.0, gt=0, le=100, description="first safety order / base order, ratio")
    step: Fraction = Field(0.015, gt=0, lt=1, description="distance to the first safety order, fraction of price")
    step_multiplier: Number = Field(1.0, gt=0, le=10, description="growth of the distance per order, ratio")
    volume_multiplier: Number = Field(1.0, gt=0, le=10, description="growth of the size per order, ratio")
    stop_loss: Fraction = Field(0.10, gt=0, lt=1, description="stop under the base price, fraction")
    take_profit: Fraction = Field(0.015, gt=0, le=10, description="distance of the target, fraction of price")
    take_profit_from: TakeProfitFrom = Field(TakeProfitFrom.AVERAGE, description="average, or base (order's price)")
    targets: tuple[Target, ...] = Field(
        (),
        max_length=MAX_TARGETS,
        description="several take profits in place of one, such as [{at: 1%, share: 60%}, {at: 2%, share: 40%}]",
    )
    break_even: bool = Field(False, description="after the first target the stop moves to the average and costs")
    trailing: bool = Field(False, description="leave by a trailing stop instead of a fixed target")
    trail_activation: Fraction = Field(0.015, gt=0, le=10, description="profit that arms the trail, fraction")
    trail_distance: Fraction = Field(0.008, gt=0, lt=1, description="trail under the best price, fraction")
    max_deal_days: Number | None = Field(None, gt=0, le=10_000, description="age at which a deal is closed, days")
    deadline_exit: DeadlineExit = Field(
        DeadlineExit.BREAK_EVEN, description="max_deal_days: close at break_even, or at once at the market"
    )
    risk_budget: Fraction = Field(0.02, gt=0, le=1, description="loss of the full ladder at its stop, of target")
    reinvest_pct: Number = Field(0.0, ge=0, le=100, description="share of profits that sizes grow by, %")
    risk_reduction_pct: Number = Field(0.0, ge=0, le=100, description="share of losses that sizes shrink by, %")

    min_target_costs: Number = Field(1.5, ge=0, le=1000, description="least distance to the target, round-trip costs")
    min_stop_costs: Number = Field(1.5, ge=0, le=1000, description="least distance to the stop, round-trip costs")

    @classmethod
    @cache
    def dtype(cls) -> np.dtype[Any]:
        """Layout of the kernels' view: one field per parameter with a number to it, and the targets as arrays."""
        plain = super().dtype()
        targets: list[Any] = [
            ("target_count", "i8"),
            ("target_at", "f8", (MAX_TARGETS,)),
            ("target_upto", "f8", (MAX_TARGETS,)),
        ]
        return np.dtype([*((name, plain[name]) for name in plain.names or ()), *targets])

    @property
    def target_count(self) -> int:
        """Number of take profits, at least one."""
        return len(self.targets) or 1

    @property
    def target_at(self) -> NDArray[np.float64]:
        """Distance of each take profit, fractions of price, (MAX_TARGETS,); padded with zeros."""
        return _padded([one.at for one in self.targets] or [self.take_profit])

    @property
    def target_upto(self) -> NDArray[np.float64]:
        """Share of the deal that has left once each take profit has filled, fractions (MAX_TARGETS,), then zeros."""
        shares = [one.share for one in self.targets] or [1.0]
        return _padded([sum(shares[: k + 1]) for k in range(len(shares))])

    @classmethod
    def presets(cls) -> dict[str, dict[str, Any]]:
        """Conservative, moderate, aggressive: how little evidence and how deep a ladder."""
        names = ("confluence", "max_safety_orders", "take_profit", "stop_loss", "deal_cooldown_seconds")
        return {
            "conservative": dict(zip(names, (0.7, 3, 0.020, 0.08, 300.0), strict=True)),
            "moderate": dict(zip(names, (0.6, 5, 0.015, 0.10, 120.0), strict=True)),
            "aggressive": dict(zip(names, (0.5, 7, 0.010, 0.12, 60.0), strict=True)),
        }

    def remarks(self, price: float) -> list[str]:
        """Say that the entry window lies elsewhere."""
        if not (price < (self.entry_above or 0.0) or price > (self.entry_below or np.inf)):
            return []
        bounds = {"entry_above": self.entry_above, "entry_below": self.entry_below}
        given = " and ".join(f"dca.{name} ({bound:g})" for name, bound in bounds.items() if bound is not None)
        return [f"{given} leave out the price, {price:g}; no deal opens until it comes into the window."]

    @model_validator(mode="after")
    def _ladder_ends_before_its_stop(self) -> Self:
        deepest = sum(self.step * self.step_multiplier**k for k in range(self.max_safety_orders))
        if deepest >= self.stop_loss:
            raise ValueError(
                f"stop_loss ({self.stop_loss:g}) must lie beyond the last safety order ({deepest:g} from the base); "
                "raise it, or lower step, step_multiplier or max_safety_orders"
            )
        return self

    @model_validator(mode="after")
    def _targets_fit(self) -> Self:
        shares = sum(one.share for one in self.targets)
        if self.targets and abs(shares - 1.0) > 1e-9:
            raise ValueError(f"the shares of targets sum to {100 * shares:g} %; make them sum to 100 %")
        distances = [one.at for one in self.targets]
        if any(one >= other for one, other in pairwise(distances)):
            raise ValueError(f"targets lie at {', '.join(f'{one:g}' for one in distances)}; order them, nearest first")
        if self.targets and self.trailing:
            raise ValueError("targets and trailing both say where a deal is closed; choose one of them")
        if self.break_even and len(self.targets) < 2:
            raise ValueError("break_even moves the stop after the first of several targets; give two or more targets")
        return self

    @model_validator(mode="after")
    def _can_start(self) -> Self:
        above, below = self.entry_above, self.entry_below
        if above is not None and below is not None and above >= below:
            raise ValueError(f"entry_above ({above:g}) must lie under entry_below ({below:g}); swap or widen them")
        if self.start is DealStart.SIGNAL and not self.when:
            raise ValueError("start is signal but when has no condition; give one such as {indicator: RSI}")
        if self.start is DealStart.PRICE_WINDOW and above is None and below is None:
            raise ValueError("start is price_window but there is no window; give entry_above, entry_below or both")
        if self.start is DealStart.SCHEDULE and self.schedule_hours * HOUR < self.timeframe_ms:
            raise ValueError(
                f"schedule_hours ({self.schedule_hours:g}) is shorter than a signal bar; raise it or choose a shorter "
                "timeframe"
            )
        return self


def _padded(values: list[float]) -> NDArray[np.float64]:
    return np.array(values + [0.0] * (MAX_TARGETS - len(values)))


def check(parameters: DcaParameters, instrument: Instrument, capital: float, price: float, leverage: float) -> None:
    """Refuse what cannot earn or cannot be placed; raises Misconfigured naming the field and the remedy.

    `price` is the first price (quote currency): it decides what the smallest order is worth.
    """
    if parameters.direction is DcaDirection.SHORT and instrument.market is Market.SPOT:
        raise Misconfigured("dca.direction is short but spot cannot be sold short; use long, or market: linear.")
    _check_costs(parameters, instrument)
    weights = 1.0 + sum(
        parameters.safety_ratio * parameters.volume_multiplier**k for k in range(parameters.max_safety_orders)
    )
    least = instrument.smallest_order(price)
    if capital * leverage / weights < least:
        raise Misconfigured(
            f"capital {capital:g} gives a base order of {capital * leverage / weights:.4g}, under the venue's minimum "
            f"of {least:.4g}; raise the capital or lower dca.max_safety_orders."
        )


def _check_costs(parameters: DcaParameters, instrument: Instrument) -> None:
    """Refuse a target or stop that lies too near for the costs, and a first target within what breaks even."""
    place = "dca.targets[0].at" if parameters.targets else "dca.take_profit"
    target, leave = float(parameters.target_at[0]), OrderKind.LIMIT
    if parameters.trailing:
        place = "dca.trail_activation less dca.trail_distance"
        target = (1.0 + parameters.trail_activation) * (1.0 - parameters.trail_distance) - 1.0
        leave = OrderKind.STOP
    for where, distance, multiple, out in (
        (place, target, "min_target_costs", leave),
        ("dca.stop_loss", parameters.stop_loss, "min_stop_costs", OrderKind.STOP),
    ):
        costs = round_trip_of(instrument, OrderKind.MARKET, out, parameters.expected_slippage)
        check_distance(where, distance, f"dca.{multiple}", getattr(parameters, multiple), costs)
    fees = 2.0 * max(float(instrument.taker_fee), 0.0)
    if parameters.break_even and target <= fees:
        raise Misconfigured(f"{place} is {target:g} but break-even lies at {fees:g}; choose more than that.")
