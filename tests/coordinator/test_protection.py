"""What protects a position, and whose an execution is: the rules without any loop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.ports import Cause, Execution, Order
from bot.strategy import guard_price
from coordinator.protection import Whose, partial_sizes, stop_after_fill, whose

OURS = Order("b-BTCUSDT-000-1", 0, 1, 1, 0, 95, 4, False, False, 0, 0, 0, 90)
lots = st.integers(-9, 9)


def execution(cause=Cause.ORDER, client_order_id=""):
    return Execution("e", "BTCUSDT", client_order_id, 1, 95, 4, 0.1, maker=True, ts=0, cause=cause)


def test_an_execution_is_ours_by_its_order_the_stops_by_its_cause_and_else_foreign():
    assert whose(execution(client_order_id=OURS.client_order_id), OURS) is Whose.OURS
    assert whose(execution(Cause.STOP), None) is Whose.STOP
    for cause in (Cause.ORDER, Cause.FORCED):
        assert whose(execution(cause), None) is Whose.FOREIGN


@given(lots, st.integers(1, 9), st.sampled_from([1, -1]), st.integers(0, 3), st.integers(0, 3))
def test_the_position_has_the_stop_of_what_filled_last_and_none_when_flat(before, quantity, side, stop, attached):
    after = before + side * quantity
    found = stop_after_fill(stop, attached, side, before, after)
    if after == 0:
        assert found == 0
    elif side * after < 0:  # only reduced
        assert found == stop
    elif attached:
        assert found == attached
    else:
        assert found == (stop if before * after > 0 else 0)


@given(st.sampled_from([1, -1]), st.floats(1, 1e6), st.floats(1, 1e6), st.floats(0.01, 0.9))
def test_a_guard_lies_beyond_both_the_average_and_the_price(direction, average, price, share):
    found = guard_price(direction, average, price, share)
    assert (average - found) * direction > 0
    assert (price - found) * direction > 0
    assert guard_price(direction, 0.0, price, share) == price * (1 - direction * share)


@given(st.integers(0, 90), st.integers(0, 10), st.integers(1, 10))
def test_partial_stops_and_one_market_order_close_whatever_may_fill(held, opening, largest):
    opening = min(opening, largest)
    sizes = partial_sizes(held, opening, largest)
    assert sum(sizes) + largest >= held + opening
    assert all(0 < one <= largest for one in sizes)
    assert bool(sizes) is (held > 0 and held + opening > largest)
