"""Which entries may rest, by the limits that the exchange states."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bot.instrument import RiskTier
from bot.order import SLOT, OrderKind, Side, Signal, set_order
from bot.record import new_records
from bot.strategy import PAIR, lots_for
from coordinator.gate import pass_entries
from tests.conftest import instrument

TIERS = (RiskTier(max_notional=2000, max_leverage=10), RiskTier(max_notional=700, max_leverage=50))
PLENTY = 1e9


def pair_of(position=0, leverage=1.0, **fields):
    pair = new_records(PAIR, 1)[0]
    pair["instrument"] = instrument("1", "1", **fields).record(leverage)
    pair.price, pair.ledger.position, pair.ledger.cost = 100.0, position, 100.0 * position
    return pair


def passed(pair, *quantities):
    """Lots of the entries at 100 that may rest."""
    slots = new_records(SLOT, len(quantities))
    for index, lots in enumerate(quantities):
        set_order(slots, index, Side.BUY, OrderKind.LIMIT, 100, lots, Signal.ENTRY, index)
    pass_entries(pair, slots, True, PLENTY, PLENTY, False)
    return [int(one.quantity) for one in slots if one.active]


@pytest.mark.parametrize(
    ("position", "large", "rest"),
    [
        (0, False, [4, 4, 1]),
        (3, False, [4, 1]),
        (10, False, []),
        (0, True, [4, 4, 1]),  # what may be filled before anybody answers is one market order
        (10, True, [4, 4, 1]),
        (84, True, [4, 1]),
        (90, True, []),
    ],
)
def test_f_72_entries_stay_within_what_the_stops_of_the_position_can_close(position, large, rest):
    pair = pair_of(position, max_market_quantity=Decimal(10), large_positions=large)
    assert passed(pair, 4, 4, 4, 1) == rest


@pytest.mark.parametrize(("leverage", "rest"), [(1, [5, 5, 2]), (10, [5, 5, 2]), (11, [2]), (50, [2]), (51, [])])
def test_f_72_position_and_entries_stay_within_the_risk_tier_of_the_leverage(leverage, rest):
    assert passed(pair_of(5, leverage, risk_tiers=TIERS), 5, 5, 2, 4) == rest


def test_f_72_one_entry_is_no_larger_than_the_risk_tier_holds():
    assert lots_for(pair_of(), 5000.0, 100.0) == 50
    assert lots_for(pair_of(leverage=20, risk_tiers=TIERS), 5000.0, 100.0) == 7
