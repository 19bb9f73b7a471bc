"""What to do so that exactly the desired orders rest: over every pair of tables, and from any start."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bot.order import OrderKind, Side, Signal, new_slots, set_order
from bot.ports import OpenOrder, Order, OrderState, client_order_id_of
from coordinator.reconcile import (
    Action,
    as_open_order,
    desired_orders,
    difference,
    only_reducing,
    opening_lots,
    position_stop,
)

orders = st.builds(
    lambda slot, generation, side, kind, price, lots, reduce_only: Order(
        *(client_order_id_of("b", "BTCUSDT", slot, generation), slot, generation, side, kind),
        *(0 if kind == OrderKind.MARKET else price, lots, reduce_only, False, 0, 0, 0, 0),
    ),
    st.integers(0, 5),
    st.integers(1, 3),
    st.sampled_from([1, -1]),
    st.sampled_from(list(OrderKind)),
    st.integers(1, 9),
    st.integers(1, 9),
    st.booleans(),
)
tables = st.lists(orders, max_size=6, unique_by=lambda one: one.slot)


def shown(order, state=OrderState.RESTING):
    return OpenOrder(order.client_order_id, order.side, order.kind, order.price, order.lots, 0, state)


@given(tables, tables)
def test_f_06_doing_what_the_difference_says_leaves_exactly_the_desired_orders(desired, before):
    open_orders = {one.client_order_id: shown(one) for one in before}
    for change in difference(desired, open_orders):
        if change.action is Action.CANCEL:
            del open_orders[change.client_order_id]
        else:
            open_orders[change.client_order_id] = as_open_order(change.order)
    assert open_orders.keys() == {one.client_order_id for one in desired}
    assert difference(desired, open_orders) == []
    for one in desired:
        if one.kind != OrderKind.MARKET:
            assert (open_orders[one.client_order_id].price, open_orders[one.client_order_id].lots) == (
                one.price,
                one.lots,
            )


@given(tables, tables)
def test_cancellations_come_first_then_exits_then_entries_and_runs_repeat(desired, before):
    open_orders = {one.client_order_id: shown(one) for one in before}
    changes = difference(desired, open_orders)
    assert changes == difference(list(reversed(desired)), dict(reversed(open_orders.items())))
    ranks = [
        (0 if one.action is Action.CANCEL else 1, one.order is not None and not one.order.reduce_only)
        for one in changes
    ]
    assert ranks == sorted(ranks)


def test_what_rests_correctly_is_left_alone():
    desired = [Order("b-BTCUSDT-000-1", 0, 1, 1, OrderKind.LIMIT, 5, 3, False, False, 0, 0, 0, 0)]
    assert difference(desired, {"b-BTCUSDT-000-1": shown(desired[0])}) == []
    moved = replace(desired[0], price=6)
    assert [one.action for one in difference([moved], {"b-BTCUSDT-000-1": shown(desired[0])})] == [Action.AMEND]


def test_a_triggered_stop_is_the_same_order_and_not_amended():
    stop = Order("b-BTCUSDT-000-1", 0, 1, -1, OrderKind.STOP, 5, 3, True, False, 0, 0, 0, 0)
    market = replace(stop, kind=OrderKind.MARKET, price=0, lots=2)
    assert difference([market], {stop.client_order_id: shown(stop)}) == []


NAMED = {"linear": True, "bot": "b", "symbol": "BTCUSDT", "filled": {}, "largest": 1000}


def test_f_11_an_exit_is_reduce_only_and_is_not_sent_where_there_is_nothing_to_reduce():
    slots = new_slots(2)
    set_order(slots, 0, Side.SELL, OrderKind.LIMIT, 110, 4, Signal.EXIT_TP, -1)
    set_order(slots, 1, Side.BUY, OrderKind.LIMIT, 95, 4, Signal.ENTRY, -1)
    assert [one.slot for one in desired_orders(slots, 0, **NAMED)] == [1]
    assert [(one.slot, one.reduce_only) for one in desired_orders(slots, 4, **NAMED)] == [(0, True), (1, False)]
    assert [one.slot for one in only_reducing(desired_orders(slots, 4, **NAMED))] == [0]


def test_the_stop_of_a_whole_linear_position_is_no_order_and_the_tightest_counts():
    slots = new_slots(4)
    set_order(slots, 0, Side.SELL, OrderKind.STOP, 90, 4, Signal.EXIT_SL, -1)
    set_order(slots, 1, Side.SELL, OrderKind.STOP, 92, 4, Signal.EXIT_SL, -1)
    set_order(slots, 2, Side.SELL, OrderKind.STOP, 91, 2, Signal.EXIT_SL, 7)  # of a part: an order of its own
    set_order(slots, 3, Side.BUY, OrderKind.STOP, 120, 4, Signal.EXIT_SL, -1)  # of a short position
    assert [one.slot for one in desired_orders(slots, 4, **NAMED)] == [2]
    assert position_stop(slots, 4) == (1, 92)
    assert position_stop(slots, -4) == (3, 120)
    assert position_stop(slots, 0) is None
    assert [one.slot for one in desired_orders(slots, 4, **{**NAMED, "linear": False})] == [0, 1, 2]


def test_an_entry_remembers_its_planned_stop_and_timeframe_also_on_spot_where_no_order_carries_one():
    slots = new_slots(2)
    set_order(slots, 0, Side.BUY, OrderKind.LIMIT, 95, 4, Signal.ENTRY, -1)
    set_order(slots, 1, Side.SELL, OrderKind.LIMIT, 110, 4, Signal.EXIT_TP, -1)
    slots[0].stop = slots[1].stop = 90
    for linear, stop in ((True, 90), (False, 0)):
        entry, leaves = desired_orders(slots, 4, **{**NAMED, "linear": linear}, timeframe=300_000)
        assert (entry.stop, entry.planned_stop, entry.timeframe) == (stop, 90, 300_000)
        assert (leaves.stop, leaves.planned_stop) == (0, 0)


def test_f_72_an_exit_larger_than_one_market_order_goes_in_several():
    slots = new_slots(1)
    set_order(slots, 0, Side.SELL, OrderKind.MARKET, 0, 25, Signal.EXIT_SL, -1)
    (one,) = desired_orders(slots, 25, **{**NAMED, "largest": 10})
    assert one.lots == 10


def test_an_entry_whose_stop_moves_is_amended_with_it_and_an_exit_carries_none():
    slots = new_slots(2)
    set_order(slots, 0, Side.BUY, OrderKind.LIMIT, 95, 4, Signal.ENTRY, -1)
    set_order(slots, 1, Side.SELL, OrderKind.LIMIT, 110, 4, Signal.EXIT_TP, -1)
    slots["stop"] = 90
    desired = desired_orders(slots, 4, **NAMED)
    assert [one.stop for one in desired] == [90, 0]
    open_orders = {one.client_order_id: as_open_order(one) for one in desired}
    assert difference(desired, open_orders) == []
    slots[0].stop = 91
    (change,) = difference(desired_orders(slots, 4, **NAMED), open_orders)
    assert (change.action, change.order.stop) == (Action.AMEND, 91)


def test_a_partly_filled_order_keeps_its_whole_quantity():
    """A venue counts from the order's birth: what is still desired, and what was filled."""
    slots = new_slots(1)
    set_order(slots, 0, Side.BUY, OrderKind.LIMIT, 95, 3, Signal.ENTRY, -1)
    (one,) = desired_orders(slots, 1, **{**NAMED, "filled": {"b-BTCUSDT-000-1": 1}})
    assert one.lots == 4


def test_what_may_still_be_filled_counts_orders_that_rest_and_that_are_desired_once():
    desired = [
        Order("b-BTCUSDT-000-1", 0, 1, 1, OrderKind.LIMIT, 95, 4, False, False, 0, 0, 0, 0),
        Order("b-BTCUSDT-001-1", 1, 1, 1, OrderKind.LIMIT, 94, 3, False, False, 0, 0, 0, 0),
        Order("b-BTCUSDT-002-1", 2, 1, -1, OrderKind.LIMIT, 99, 9, True, False, 0, 0, 0, 0),
    ]
    open_orders = {
        one.client_order_id: as_open_order(one, filled)
        for one, filled in ((replace(desired[0], lots=6), 1), (desired[2], 0))
    }
    leaving = as_open_order(replace(desired[1], client_order_id="b-BTCUSDT-003-1", lots=2))
    assert opening_lots(desired, {**open_orders, leaving.client_order_id: leaving}) == 5 + 3 + 2


def test_f_04_the_name_of_an_order_is_its_slot_and_generation_and_fits_every_venue():
    assert client_order_id_of("main", "BTCUSDT", 7, 12) == "main-BTCUSDT-007-12"
    assert len(client_order_id_of("x" * 8, "1000000MOGUSDT", 999, 99_999)) <= 36
