"""Live fills beside simulated ones: every lot in one row, no drift between equal sides, sums that add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtesting.drift import CostKind, Drift, RowKind, TradedFill, pair_fills
from bot.times import MINUTE
from tests.conftest import START

LOT = 0.01


def fill(minute=0, order="b-BTCUSDT-001-1", side=1, price=100.0, lots=10, fee=0.02, mark=100.5, **more):
    named = {"maker": True, "execution": "", **more}
    return TradedFill("BTCUSDT", START + minute * MINUTE, order, side, price, lots, LOT, fee, named["maker"], mark,
                      execution=named["execution"])  # fmt: skip


fills = st.lists(
    st.builds(
        fill,
        minute=st.integers(0, 40),
        order=st.builds("b-BTCUSDT-{:03d}-{}".format, st.integers(0, 3), st.integers(1, 3)),
        side=st.sampled_from([-1, 1]),
        price=st.integers(900, 1100).map(lambda ticks: ticks / 10),
        lots=st.integers(1, 30),
        fee=st.integers(-5, 50).map(lambda cents: cents / 1000),
        mark=st.integers(900, 1100).map(lambda ticks: ticks / 10),
    ),
    max_size=14,
)


@given(fills, st.randoms(use_true_random=False))
def test_equal_fills_have_no_drift_in_whatever_order_they_come(some, random):
    shuffled = random.sample(some, len(some))
    found = Drift(tuple(pair_fills(some, shuffled)))
    assert {row.kind for row in found.rows} <= {RowKind.PAIRED}
    assert found.cost == pytest.approx(0.0, abs=1e-9)
    assert all(one.fills == 0 for one in found.sums)


def lots_of(some):
    found = {}
    for one in some:
        key = (one.at, one.order, one.side, one.price)
        found[key] = found.get(key, 0) + one.lots
    return found


@given(fills, fills)
def test_every_lot_of_every_fill_is_in_exactly_one_row(live, simulated):
    rows = pair_fills(live, simulated)
    assert lots_of(row.live for row in rows if row.live) == lots_of(live)
    assert lots_of(row.simulated for row in rows if row.simulated) == lots_of(simulated)
    for row in rows:
        assert (row.live is None) == (row.kind is RowKind.MISSED)
        assert (row.simulated is None) == (row.kind is RowKind.UNEXPECTED)
        if row.live and row.simulated:
            assert (row.live.lots, row.live.side) == (row.simulated.lots, row.simulated.side)
            assert (row.live.minute != row.simulated.minute) == (row.kind is RowKind.LATE)


@given(fills, fills)
def test_sums_add_up_to_the_difference_of_what_both_sides_brought(live, simulated):
    """Where both sides are valued alike, what reality cost is what the simulation brought beyond it."""
    live, simulated = ([fill(**{**vars_of(one), "mark": 101.0}) for one in side] for side in (live, simulated))
    found = Drift(tuple(pair_fills(live, simulated)))
    brought = sum(one.gain for one in simulated) - sum(one.gain for one in live)
    assert found.cost == pytest.approx(brought, abs=1e-6)
    whole = [one for one in found.sums if not one.pair]
    assert sum(one.cost for one in whole) == pytest.approx(found.cost, abs=1e-6)
    by_pair = [one for one in found.sums if one.pair]
    assert sum(one.cost for one in by_pair) == pytest.approx(found.cost, abs=1e-6)
    if found.volume:
        assert sum(one.bps for one in whole) == pytest.approx(found.bps, abs=1e-3)


def vars_of(one):
    return {"minute": (one.at - START) // MINUTE, "order": one.order, "side": one.side, "price": one.price,
            "lots": one.lots, "fee": one.fee}  # fmt: skip


@pytest.mark.parametrize(
    ("live", "simulated", "kind", "cost"),
    [
        ([fill(fee=0.05)], [fill()], CostKind.FEES, 0.03),
        ([fill(price=100.1)], [fill()], CostKind.SLIPPAGE, 0.01),
        ([fill(side=-1, price=99.9)], [fill(side=-1)], CostKind.SLIPPAGE, 0.01),
        ([fill(minute=3, price=100.1)], [fill()], CostKind.LATE, 0.01),
        ([], [fill()], CostKind.MISSED, 0.03),
        ([fill()], [], CostKind.UNEXPECTED, -0.03),
        ([fill(order="")], [], CostKind.UNEXPECTED, -0.03),
    ],
)
def test_one_difference_is_of_exactly_its_kind(live, simulated, kind, cost):
    found = Drift(tuple(pair_fills(live, simulated)))
    assert {one.kind: (one.fills, round(one.cost, 9)) for one in found.sums if not one.pair and one.fills} == {
        kind: (1, cost)
    }


def test_an_order_sent_anew_is_the_same_for_a_quarter_of_an_hour():
    """Only the generation differs; a fill of another slot, or an hour later, is another."""
    one = fill(order="b-BTCUSDT-001-1")
    for order, minute, kinds in (
        ("b-BTCUSDT-001-2", 10, {RowKind.LATE}),
        ("b-BTCUSDT-001-2", 60, {RowKind.MISSED, RowKind.UNEXPECTED}),
        ("b-BTCUSDT-002-1", 0, {RowKind.MISSED, RowKind.UNEXPECTED}),
    ):
        assert {row.kind for row in pair_fills([fill(minute=minute, order=order)], [one])} == kinds


def test_what_nobody_here_asked_for_has_no_twin():
    assert {row.kind for row in pair_fills([fill(order="")], [fill(order="")])} == {RowKind.UNEXPECTED, RowKind.MISSED}


def test_parts_of_a_fill_belong_to_it_with_their_share_of_the_fee():
    rows = pair_fills([fill(lots=4, fee=0.008), fill(minute=1, lots=6, fee=0.012)], [fill()])
    assert [(row.kind, row.known.lots) for row in rows] == [(RowKind.PAIRED, 4), (RowKind.LATE, 6)]
    assert sum(row.costs[CostKind.FEES] for row in rows) == pytest.approx(0.0)
    assert [row.seconds for row in rows] == [0.0, 60.0]
