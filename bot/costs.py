"""What a round trip costs, and the one rule by which a strategy refuses what would not pay for it.

A round trip is an entry and an exit. Its costs are a fraction of the price: the maker fee of an order that rests, the
taker fee and the expected slippage of one that goes at the market. Fees are the account's, slippage is a parameter, so
that simulation and a live bot know the same costs.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from bot.errors import Misconfigured
from bot.kernel import Record, kernel
from bot.order import OrderKind
from bot.parameters import Fraction, Number, Parameters

if TYPE_CHECKING:
    from bot.instrument import Instrument

TOLERANCE = 1e-9  # of the least distance: parameters are decimals, their products binary


class CostRule(IntEnum):
    """Which distance was too short for its costs."""

    TARGET = 0
    STOP = 1
    CELL = 2
    TRANSITION = 3  # closing would cost more than the position risks by staying


COSTS = np.dtype(
    [
        ("refused", "i8"),  # what was not done because it would not pay for its costs; the last of it:
        ("rule", "i8"),  # CostRule
        ("distance", "f8"),  # fraction of the price
        ("least", "f8"),  # distance that it would have needed
        ("cost", "f8"),  # of its round trip, fraction of the price
    ],
    align=True,
)


class CostParameters(Parameters):
    """Parameters of a strategy that asks for its costs."""

    min_target_costs: Number = Field(
        0.0, ge=0, le=1000, description="least distance to the target, in round-trip costs; 0: off"
    )
    min_stop_costs: Number = Field(
        0.0, ge=0, le=1000, description="least distance to the stop, in round-trip costs; 0: off"
    )
    expected_slippage: Fraction = Field(
        0.0001, ge=0, le=0.1, description="slippage of an order at the market that costs reckon with, fraction"
    )


def _order_costs(maker_fee: float, taker_fee: float, slippage: float, kind: int) -> float:
    """Costs of one order of an OrderKind, fraction of the price."""
    return maker_fee if kind == OrderKind.LIMIT else taker_fee + slippage


_costs_of_order = kernel(_order_costs)


def round_trip_of(instrument: Instrument, entry: OrderKind, exit_: OrderKind, slippage: float) -> float:
    """Costs as `round_trip` gives them, for a check of parameters: fraction of the price."""
    fees = float(instrument.maker_fee), float(instrument.taker_fee)
    return _order_costs(*fees, slippage, entry) + _order_costs(*fees, slippage, exit_)


def check_distance(place: str, distance: float, multiple_place: str, multiple: float, costs: float) -> None:
    """Refuse a configured distance (fraction of the price) under `multiple` round trips; raises Misconfigured."""
    least = multiple * costs
    if distance < least * (1.0 - TOLERANCE):
        raise Misconfigured(
            f"{place} is {distance:.6g} but a round trip costs {costs:.6g} and {multiple_place} asks for "
            f"{least:.6g}; choose at least that, or lower {multiple_place}."
        )


@kernel
def round_trip(pair: Record, entry: int, exit_: int, slippage: float) -> float:
    """Costs of entering by an order of kind `entry` and exiting by one of kind `exit_`, fraction of the price."""
    maker, taker = pair.instrument.maker_fee, pair.instrument.taker_fee
    return _costs_of_order(maker, taker, slippage, entry) + _costs_of_order(maker, taker, slippage, exit_)


@kernel
def is_enough(distance: float, multiple: float, cost: float) -> bool:
    """Whether `distance` is at least `multiple` times `cost`, both fractions of the price."""
    return distance >= multiple * cost * (1.0 - TOLERANCE)


@kernel
def pays(pair: Record, rule: int, distance: float, multiple: float, cost: float) -> bool:
    """Whether `distance` is at least `multiple` times `cost`, both fractions of the price.

    What is not is counted, and kept for the record of decisions.
    """
    if is_enough(distance, multiple, cost):
        return True
    costs = pair.costs
    costs.refused += 1
    costs.rule, costs.distance, costs.least, costs.cost = rule, distance, multiple * cost, cost
    return False


@kernel
def entry_pays(pair: Record, params: Record, entry: int, target: float, exit_: int, stop: float) -> bool:
    """Whether an entry of kind `entry` pays; an order of kind `exit_` closes it at its target, a stop at its stop.

    `target` and `stop` are their distances, fractions of the price; infinite where there is none.
    """
    to_target = round_trip(pair, entry, exit_, params.expected_slippage)
    to_stop = round_trip(pair, entry, OrderKind.STOP, params.expected_slippage)
    return pays(pair, CostRule.TARGET, target, params.min_target_costs, to_target) and pays(
        pair, CostRule.STOP, stop, params.min_stop_costs, to_stop
    )
