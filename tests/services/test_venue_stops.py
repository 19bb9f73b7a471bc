"""The position's own stop on the simulated exchange, rule by rule; docs/bybit.md names each source."""

from __future__ import annotations

import pytest

from services.simulated_bybit.records import Trade
from services.simulated_bybit.unverified import Unverified
from tests.services.venue_house import (
    BTC,
    DROP,
    FALL_TO_98,
    QUIET,
    ask,
    entry,
    exchange_of,
    fills,
    minute,
    own_rows,
    position,
    refused,
    take_events,
    trading_stop,
)


def held(*rows, stop=95, qty=10, **options):
    """An exchange whose position was opened at 100 with this stop; the rows come after."""
    exchange = exchange_of(FALL_TO_98, *rows, **options)
    entry(exchange, qty=qty, stop=stop)
    minute(exchange)
    take_events(exchange)
    return exchange


# Attached to an entry


def test_before_the_entry_fills_its_stop_is_only_a_word_on_its_row():
    exchange = exchange_of(QUIET)
    entry(exchange)
    minute(exchange)
    (row,) = ask(exchange, "GET order/realtime", symbol=BTC)["list"]
    assert (row["stopLoss"], row["tpslMode"], row["slTriggerBy"]) == ("95", "Full", "LastPrice")
    assert (row["stopOrderType"], row["createType"], row["orderFilter"]) == ("", "CreateByUser", "Order")
    assert own_rows(exchange) == []
    assert position(exchange)["stopLoss"] == ""


def test_with_the_first_fill_the_position_has_its_stop_in_the_same_step():
    exchange = exchange_of(FALL_TO_98)
    entry(exchange)
    assert exchange.step()
    events = take_events(exchange)
    assert [one.kind if isinstance(one, Trade) else one.status for one in events[1:]] == [
        "Trade",
        "Filled",
        "Untriggered",
    ]
    row = next(one for one in ask(exchange, "GET order/realtime", symbol=BTC)["list"])
    expected = {
        "stopOrderType": "StopLoss",
        "createType": "CreateByStopLoss",
        "orderStatus": "Untriggered",
        "closeOnTrigger": True,
        "reduceOnly": True,
        "tpslMode": "Full",
        "orderLinkId": "",
        "parentOrderLinkId": "e",
        "side": "Sell",
        "qty": "10",
        "triggerPrice": "95",
        "triggerDirection": 2,
        "orderType": "Market",
        "orderFilter": "StopOrder",
    }
    assert {name: row[name] for name in expected} == expected
    assert position(exchange)["stopLoss"] == "95"


def test_a_partial_fill_brings_the_stop_and_every_further_fill_its_size():
    exchange = exchange_of(FALL_TO_98, FALL_TO_98, volume=6)
    entry(exchange, qty=10)
    minute(exchange)
    assert own_rows(exchange) == [("StopLoss", 95, 6)]
    minute(exchange)
    assert own_rows(exchange) == [("StopLoss", 95, 10)]


def test_the_order_that_fills_last_replaces_the_price():
    exchange = exchange_of((105, 105, 98, 99), (99, 99, 97, 98))
    entry(exchange, "first", price=98, stop=90)
    entry(exchange, "second", price=100, stop=95)  # placed later, fills first
    exchange.step()
    assert own_rows(exchange) == [("StopLoss", 95, 10)]
    minute(exchange)
    assert own_rows(exchange) == [("StopLoss", 90, 20)]
    assert exchange.books[BTC].live[0].parent == "first"


@pytest.mark.parametrize(("keeps", "rows"), [(True, [("StopLoss", 95, 20)]), (False, [])])
def test_an_entry_without_a_stop_leaves_the_one_there_is(keeps, rows):
    exchange = held((99, 99, 97, 98), unverified=Unverified(plain_fill_keeps_stop=keeps))
    entry(exchange, "plain", price=98, stop=None)
    minute(exchange)
    assert position(exchange)["size"] == "20"
    assert own_rows(exchange) == rows


def test_reduce_only_together_with_a_stop_sets_none():
    exchange = held((99, 101, 99, 100))
    entry(exchange, "exit", side="Sell", qty=4, price=100, stop=103, reduceOnly=True)
    assert ask(exchange, "GET order/realtime", orderLinkId="exit")["list"][0]["stopLoss"] == ""
    minute(exchange)
    assert own_rows(exchange) == [("StopLoss", 95, 6)]


@pytest.mark.parametrize(
    ("side", "price", "stop", "text"),
    [
        ("Buy", 100, 100, "StopLoss:1000000 set for Buy position should lower than base_price:1000000??LastPrice"),
        ("Sell", 110, 109, "StopLoss:1090000 set for Sell position should greater than base_price:1100000??LastPrice"),
        ("Buy", 0, 106, "StopLoss:1060000 set for Buy position should lower than base_price:1050000??LastPrice"),
    ],
)
def test_a_stop_on_the_wrong_side_of_its_order_is_refused(side, price, stop, text):
    exchange = exchange_of(QUIET)
    assert refused_entry(exchange, side=side, price=price, stop=stop) == (10001, text)
    assert exchange.live(None) == []


def refused_entry(exchange, *, side="Buy", price=100, stop=95, **more):
    kind = {"orderType": "Limit", "price": str(price)} if price else {"orderType": "Market"}
    named = {"symbol": BTC, "side": side, "qty": "10", "stopLoss": str(stop), **kind, **more}
    return refused(exchange, "POST order/create", **named)


def test_the_order_price_is_the_base_of_a_limit_even_beyond_the_market():
    exchange = exchange_of(QUIET)
    entry(exchange, price=120, stop=110)
    assert len(exchange.live(None)) == 1


def test_other_modes_than_the_full_one_are_refused_instead_of_being_passed_over():
    exchange = exchange_of(QUIET)
    assert refused_entry(exchange, tpslMode="Partial")[0] == 10001
    assert refused_entry(exchange, tpslMode="Full", slOrderType="Limit")[1].startswith("slOrderType only support")
    assert refused_entry(exchange, takeProfit="120")[0] == 10001


def test_a_fill_that_only_reduces_the_other_side_leaves_its_stop_alone():
    exchange = held((99, 101, 99, 100))
    entry(exchange, "other", side="Sell", qty=4, price=100, stop=105)
    minute(exchange)
    assert own_rows(exchange) == [("StopLoss", 95, 6)]
    assert exchange.books[BTC].live[0].parent == "e"


@pytest.mark.parametrize(("hold", "rows"), [(True, [("StopLoss", 105, 5)]), (False, [])])
def test_a_fill_that_turns_the_position_brings_its_own_stop(hold, rows):
    exchange = held((99, 101, 99, 100), unverified=Unverified(turning_stops_hold=hold))
    entry(exchange, "turn", side="Sell", qty=15, price=100, stop=105)
    before = exchange.books[BTC].live[0]
    minute(exchange)
    assert position(exchange)["side"] == "Sell"
    assert own_rows(exchange) == rows
    assert (before.status, before.cancel_type) == ("Cancelled", "CancelByTpSlTsClear")


def test_a_turning_fill_without_a_stop_leaves_none():
    exchange = held((99, 101, 99, 100))
    entry(exchange, "turn", side="Sell", qty=15, price=100, stop=None)
    minute(exchange)
    assert own_rows(exchange) == []


@pytest.mark.parametrize(("fires", "size"), [(True, "0"), (False, "10")])
def test_an_entry_that_fills_beyond_its_stop(fires, size):
    exchange = exchange_of(QUIET, (90, 92, 90, 91), unverified=Unverified(gapped_stop_fires=fires))
    entry(exchange)
    minute(exchange)
    minute(exchange)
    assert position(exchange)["size"] == size
    assert own_rows(exchange) == []
    assert fills(exchange) == [("e", 1, 90, 10), *([("", -1, 90, 10)] if fires else [])]


def test_a_gapped_stop_that_is_not_made_leaves_the_one_before():
    exchange = held((92, 92, 91, 91), stop=50, unverified=Unverified(gapped_stop_fires=False))
    entry(exchange, "gap", price=98, stop=95)
    minute(exchange)
    assert own_rows(exchange) == [("StopLoss", 50, 20)]


# Amending


def amend(exchange, **what):
    return ask(exchange, "POST order/amend", symbol=BTC, orderLinkId="e", **what)


def test_the_stop_of_an_entry_can_be_moved_and_taken_away():
    exchange = exchange_of(QUIET)
    entry(exchange)
    amend(exchange, stopLoss="90")
    assert ask(exchange, "GET order/realtime", orderLinkId="e")["list"][0]["stopLoss"] == "90"
    amend(exchange, stopLoss="0")
    row = ask(exchange, "GET order/realtime", orderLinkId="e")["list"][0]
    assert (row["stopLoss"], row["slTriggerBy"], row["tpslMode"]) == ("", "", "")
    assert refused(exchange, "POST order/amend", symbol=BTC, orderLinkId="e", stopLoss="0") == (
        10001,
        "order not modified",
    )


def test_an_amended_stop_is_the_one_that_the_fill_brings():
    exchange = exchange_of(FALL_TO_98)
    entry(exchange)
    amend(exchange, stopLoss="90")
    minute(exchange)
    assert own_rows(exchange) == [("StopLoss", 90, 10)]


def test_the_stop_of_a_partly_filled_entry_cannot_be_amended_and_its_quantity_can():
    exchange = exchange_of(FALL_TO_98, QUIET, volume=6)
    entry(exchange)
    minute(exchange)
    assert refused(exchange, "POST order/amend", symbol=BTC, orderLinkId="e", stopLoss="90")[0] == 110059
    amend(exchange, qty="12")
    assert exchange.client_order_ids["e"].lots == 12


def test_the_rest_of_a_partly_filled_entry_imposes_its_stop_again():
    exchange = exchange_of(FALL_TO_98, FALL_TO_98, volume=6)
    entry(exchange)
    minute(exchange)
    trading_stop(exchange, stopLoss="90")
    minute(exchange)
    assert own_rows(exchange) == [("StopLoss", 95, 10)]


@pytest.mark.parametrize("change", [{"price": "95"}, {"price": "94", "stopLoss": "80"}, {"stopLoss": "100"}])
def test_a_limit_cannot_be_moved_to_its_stop_or_beyond(change):
    """Not even with a new stop in the same request: the price is held against the one of before."""
    exchange = exchange_of(QUIET)
    entry(exchange)
    code, text = refused(exchange, "POST order/amend", symbol=BTC, orderLinkId="e", **change)
    assert code == 10001
    assert "base_price" in text
    assert (exchange.client_order_ids["e"].price, exchange.client_order_ids["e"].stop) == (100, 95)


def test_the_position_s_own_row_is_not_amended_as_an_order():
    exchange = held(QUIET)
    number = exchange.books[BTC].live[0].id
    assert refused(exchange, "POST order/amend", symbol=BTC, orderId=number, triggerPrice="90")[0] == 110060


# position/trading-stop


def test_a_stop_is_set_moved_and_taken_away():
    exchange = held(QUIET, stop=None)
    trading_stop(exchange, stopLoss="95")
    (stop,) = exchange.books[BTC].live
    assert (stop.parent, own_rows(exchange)) == ("", [("StopLoss", 95, 10)])
    trading_stop(exchange, stopLoss="90")
    assert exchange.books[BTC].live == [stop]
    assert (stop.price, position(exchange)["stopLoss"]) == (90, "90")
    trading_stop(exchange, stopLoss="0")
    assert (stop.status, stop.cancel_type, position(exchange)["stopLoss"]) == ("Cancelled", "CancelByUser", "")
    assert [one.status for one in take_events(exchange)] == ["Cancelled"] * 3  # one row, told at each change


def test_a_stop_that_is_moved_keeps_the_name_of_the_entry_that_brought_it():
    exchange = held(QUIET)
    trading_stop(exchange, stopLoss="90")
    assert exchange.books[BTC].live[0].parent == "e"


def test_the_same_stop_again_is_said_to_be_no_change():
    exchange = held(QUIET)
    for what in ({"stopLoss": "95"}, {"takeProfit": "0"}, {}):
        code, text = refused(exchange, "POST position/trading-stop", symbol=BTC, tpslMode="Full", positionIdx=0, **what)
        assert (code, text) == (34040, "not modified")


def test_without_a_position_no_stop_can_be_set():
    exchange = exchange_of(QUIET)
    wanted = {"symbol": BTC, "tpslMode": "Full", "positionIdx": 0, "stopLoss": "95"}
    assert refused(exchange, "POST position/trading-stop", **wanted) == (
        10001,
        "can not set tp/sl/ts for zero position",
    )


@pytest.mark.parametrize("missing", ["tpslMode", "positionIdx"])
def test_what_trading_stop_requires_is_asked_for(missing):
    exchange = held(QUIET)
    wanted = {"symbol": BTC, "tpslMode": "Full", "positionIdx": 0, "stopLoss": "90"}
    wanted.pop(missing)
    assert refused(exchange, "POST position/trading-stop", **wanted)[0] == 10001
    assert own_rows(exchange) == [("StopLoss", 95, 10)]


def test_a_stop_on_the_wrong_side_of_the_last_price_is_refused_and_nothing_changes():
    exchange = held(QUIET)
    wanted = {"symbol": BTC, "tpslMode": "Full", "positionIdx": 0, "takeProfit": "120", "stopLoss": "99"}
    text = "StopLoss:990000 set for Buy position should lower than base_price:990000??LastPrice"
    assert refused(exchange, "POST position/trading-stop", **wanted) == (10001, text)
    wanted |= {"stopLoss": "90", "takeProfit": "99"}
    assert refused(exchange, "POST position/trading-stop", **wanted)[1].startswith("TakeProfit:990000 set for Buy")
    assert own_rows(exchange) == [("StopLoss", 95, 10)]


def test_the_target_rests_as_a_limit_and_leaves_with_the_position():
    exchange = held((99, 99, 99, 99), DROP)
    trading_stop(exchange, takeProfit="120")
    assert own_rows(exchange) == [("StopLoss", 95, 10), ("TakeProfit", 120, 10)]
    assert position(exchange)["takeProfit"] == "120"
    minute(exchange)
    minute(exchange)
    assert exchange.live(None) == []
    assert [(one.stop_type, one.status, one.cancel_type) for one in exchange.ended][-2:] == [
        ("StopLoss", "Filled", "UNKNOWN"),
        ("TakeProfit", "Cancelled", "CancelByTpSlTsClear"),
    ]


def test_a_target_that_is_met_takes_the_stop_away():
    exchange = held((99, 130, 99, 125))
    trading_stop(exchange, takeProfit="120")
    minute(exchange)
    assert (fills(exchange)[-1], exchange.live(None)) == (("", -1, 120, 10), [])


def test_a_target_that_is_met_in_part_keeps_the_size_of_the_rest():
    exchange = held((99, 121, 99, 120), (120, 121, 120, 120), qty=10, volume=10)
    trading_stop(exchange, takeProfit="121")
    exchange.trade_by_hand(BTC, 1, 5)
    minute(exchange)
    assert own_rows(exchange) == [("StopLoss", 95, 5), ("TakeProfit", 121, 15)]  # ten of them filled
    minute(exchange)
    assert position(exchange)["size"] == "0"


# Firing


def test_the_stop_fires_where_the_path_meets_it_and_tells_who_it_was():
    exchange = held((99, 99, 93, 94))
    minute(exchange)
    assert fills(exchange)[-1] == ("", -1, 95, 10)
    row = ask(exchange, "GET execution/list", symbol=BTC)["list"][0]
    expected = {
        "orderLinkId": "",
        "stopOrderType": "StopLoss",
        "createType": "CreateByStopLoss",
        "execType": "Trade",
        "orderType": "Market",
        "closedSize": "10",
        "execPnl": "-50.0",
    }
    assert {name: row[name] for name in expected} == expected
    flat = position(exchange)
    assert (flat["side"], flat["size"], flat["stopLoss"]) == ("", "0", "")


def test_an_entry_and_its_stop_can_both_be_met_in_one_minute():
    exchange = exchange_of((105, 105, 90, 91))
    entry(exchange)
    minute(exchange)
    assert fills(exchange) == [("e", 1, 100, 10), ("", -1, 95, 10)]


def test_the_stop_goes_before_a_limit_at_the_same_distance():
    exchange = held((99, 99, 95, 96))
    entry(exchange, "more", price=95, stop=None)
    minute(exchange)
    assert fills(exchange)[1:] == [("", -1, 95, 10), ("more", 1, 95, 10)]
    assert own_rows(exchange) == []


def test_the_stop_of_a_short_position():
    exchange = exchange_of((99, 101, 99, 100), (100, 108, 100, 107))
    entry(exchange, side="Sell", price=100, stop=105)
    minute(exchange)
    assert own_rows(exchange) == [("StopLoss", 105, 10)]
    minute(exchange)
    assert fills(exchange)[-1] == ("", 1, 105, 10)


@pytest.mark.parametrize(("again", "rows", "left"), [(False, [], "6"), (True, [("StopLoss", 95, 6)], "2")])
def test_a_triggered_stop_is_immediate_or_cancel(again, rows, left):
    exchange = held((99, 99, 90, 91), (91, 91, 91, 91), volume=4, qty=4, unverified=Unverified(rest_rearms=again))
    exchange.trade_by_hand(BTC, 1, 6)  # ten held, four a minute
    stop = exchange.books[BTC].live[0]
    minute(exchange)
    assert (stop.status, stop.filled, stop.reason) == ("Cancelled", 4, "EC_NoImmediateQtyToFill")
    assert (own_rows(exchange), position(exchange)["size"]) == (rows, "6")
    minute(exchange)
    assert position(exchange)["size"] == left


def test_the_rest_of_an_own_conditional_order_stays_a_market_order():
    exchange = held((99, 99, 90, 91), (91, 91, 91, 91), volume=4, qty=4, stop=None)
    exchange.trade_by_hand(BTC, 1, 2)
    named = {"symbol": BTC, "side": "Sell", "orderType": "Market", "qty": "6", "orderLinkId": "own"}
    ask(exchange, "POST order/create", **named, triggerPrice="95", reduceOnly=True)
    minute(exchange)
    minute(exchange)
    assert position(exchange)["size"] == "0"
    row = ask(exchange, "GET order/realtime", orderLinkId="own")["list"][0]
    assert (row["orderStatus"], row["createType"], row["stopOrderType"]) == ("Filled", "CreateByStopOrder", "Stop")


def test_the_stop_is_larger_than_a_market_order_may_be_and_fires_whole():
    exchange = held((99, 99, 90, 91), max_market_quantity=4)
    minute(exchange)
    assert fills(exchange)[-1] == ("", -1, 95, 10)


# Cancelling


def one_of_each():
    exchange = held(QUIET)
    trading_stop(exchange, takeProfit="130")
    entry(exchange, "plain", price=90, stop=80)
    named = {"symbol": BTC, "side": "Sell", "orderType": "Market", "qty": "6", "orderLinkId": "own"}
    ask(exchange, "POST order/create", **named, triggerPrice="94", reduceOnly=True)
    return exchange


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ({"orderFilter": "Order"}, ["", "", "own"]),
        ({"orderFilter": "StopOrder"}, ["plain"]),
        ({"orderFilter": "StopOrder", "stopOrderType": "Stop"}, ["", "", "plain"]),
        ({}, []),
    ],
)
def test_cancel_all_takes_protection_away_unless_it_is_told_not_to(query, left):
    exchange = one_of_each()
    ask(exchange, "POST order/cancel-all", symbol=BTC, **query)
    assert sorted(one.client_order_id for one in exchange.live(BTC)) == left
    assert position(exchange)["stopLoss"] == ("95" if "" in left else "")


def test_an_order_filter_nobody_knows_is_refused():
    assert refused(one_of_each(), "POST order/cancel-all", symbol=BTC, orderFilter="Orders")[0] == 10001


def test_the_position_s_stop_can_be_cancelled_by_its_id():
    exchange = held(QUIET)
    ask(exchange, "POST order/cancel", symbol=BTC, orderId=exchange.books[BTC].live[0].id)
    assert position(exchange)["stopLoss"] == ""


# Lists


def test_an_order_s_name_overrides_the_other_filters():
    exchange = held(QUIET)
    stop = exchange.books[BTC].live[0]
    others = {"symbol": "ETHUSDT", "startTime": 1 << 50, "orderFilter": "Order"}
    (row,) = ask(exchange, "GET order/realtime", orderId=stop.id, **others)["list"]
    assert row["stopOrderType"] == "StopLoss"
    (row,) = ask(exchange, "GET order/history", orderLinkId="e", **others)["list"]
    assert row["orderStatus"] == "Filled"
    (row,) = ask(exchange, "GET execution/list", orderLinkId="e", **others)["list"]
    assert row["orderLinkId"] == "e"
    (row,) = ask(exchange, "GET execution/list", orderId=exchange.client_order_ids["e"].id, orderLinkId="no", **others)[
        "list"
    ]
    assert row["orderLinkId"] == "e"
    assert ask(exchange, "GET order/history", orderId=stop.id)["list"] == []  # it lives
    assert ask(exchange, "GET order/realtime", orderLinkId="never")["list"] == []


def test_orders_are_listed_by_what_they_wait_for():
    exchange = one_of_each()
    rows = ask(exchange, "GET order/realtime", symbol=BTC, orderFilter="StopOrder")["list"]
    assert sorted(one["orderLinkId"] for one in rows) == ["", "", "own"]


def test_positions_by_symbol_are_shown_flat_too_and_by_coin_only_where_held():
    exchange = exchange_of(FALL_TO_98)
    assert (position(exchange)["side"], position(exchange)["size"]) == ("", "0")
    assert ask(exchange, "GET position/list", settleCoin="USDT")["list"] == []
    assert refused(exchange, "GET position/list")[0] == 10001
    exchange = held()
    assert len(ask(exchange, "GET position/list", settleCoin="USDT")["list"]) == 1
    assert ask(exchange, "GET position/list", settleCoin="USDC")["list"] == []


# Stops of a part of the position


def partial(exchange, price, size, **more):
    named = {"symbol": BTC, "tpslMode": "Partial", "positionIdx": 0, "stopLoss": str(price), "slSize": str(size)}
    return ask(exchange, "POST position/trading-stop", **named, **more)


def refused_partial(exchange, **what):
    named = {"symbol": BTC, "tpslMode": "Partial", "positionIdx": 0, "stopLoss": "94", "slSize": "4", **what}
    return refused(exchange, "POST position/trading-stop", **named)[0]


def test_partial_stops_stand_beside_the_position_s_own_and_keep_their_size():
    exchange = held((99, 101, 99, 100))
    partial(exchange, 94, 4)
    partial(exchange, 94, 6)
    assert own_rows(exchange) == [("StopLoss", 95, 10), ("PartialStopLoss", 94, 4), ("PartialStopLoss", 94, 6)]
    assert position(exchange)["stopLoss"] == "95"
    row = next(one for one in ask(exchange, "GET order/realtime", symbol=BTC)["list"] if one["qty"] == "4")
    expected = {
        "stopOrderType": "PartialStopLoss",
        "createType": "CreateByPartialStopLoss",
        "orderStatus": "Untriggered",
        "tpslMode": "Partial",
        "reduceOnly": True,
        "closeOnTrigger": True,
        "orderLinkId": "",
        "parentOrderLinkId": "",
        "triggerPrice": "94",
    }
    assert {name: row[name] for name in expected} == expected
    entry(exchange, "exit", side="Sell", qty=7, price=100, stop=None, reduceOnly=True)
    minute(exchange)
    assert own_rows(exchange) == [("StopLoss", 95, 3), ("PartialStopLoss", 94, 4), ("PartialStopLoss", 94, 6)]


def test_what_a_partial_stop_needs_is_asked_for():
    exchange = held(QUIET, max_market_quantity=5)
    assert refused_partial(exchange, slSize="") == 10001
    assert refused_partial(exchange, stopLoss="") == 10001
    assert refused_partial(exchange, stopLoss="99") == 10001  # where the price is
    assert refused_partial(exchange, slSize="6") == 10001
    assert refused_partial(exchange, takeProfit="120", tpSize="4") == 10001
    assert refused_partial(exchange, slOrderType="Limit") == 10001
    assert refused_partial(exchange_of(QUIET)) == 10001
    for _ in range(20):
        partial(exchange, 94, 1)
    assert refused_partial(exchange, slSize="1") == 110061


def test_a_partial_stop_is_moved_and_cancelled_by_its_id():
    exchange = held(QUIET, max_market_quantity=5)
    partial(exchange, 94, 4)
    number = next(one.id for one in exchange.books[BTC].live if one.stop_type == "PartialStopLoss")
    named = {"symbol": BTC, "orderId": number}
    ask(exchange, "POST order/amend", **named, triggerPrice="93", qty="5")
    assert own_rows(exchange)[1] == ("PartialStopLoss", 93, 5)
    assert refused(exchange, "POST order/amend", **named, triggerPrice="99")[0] == 10001
    assert refused(exchange, "POST order/amend", **named, qty="6")[0] == 10001
    ask(exchange, "POST order/cancel", **named)
    assert own_rows(exchange) == [("StopLoss", 95, 10)]


def test_a_partial_stop_closes_its_part_and_tells_who_it_was():
    exchange = held((99, 99, 96, 97))
    partial(exchange, 97, 4)
    minute(exchange)
    assert fills(exchange)[-1] == ("", -1, 97, 4)
    row = ask(exchange, "GET execution/list", symbol=BTC)["list"][0]
    assert (row["stopOrderType"], row["createType"]) == ("PartialStopLoss", "CreateByPartialStopLoss")
    assert own_rows(exchange) == [("StopLoss", 95, 6)]


@pytest.mark.parametrize(("leave", "rows"), [(True, []), (False, [("PartialStopLoss", 94, 4)])])
def test_partial_stops_leave_with_the_position(leave, rows):
    exchange = held(QUIET, unverified=Unverified(partial_stops_leave=leave))
    partial(exchange, 94, 4)
    exchange.close_by_hand(BTC)
    assert own_rows(exchange) == rows


@pytest.mark.parametrize(("whole", "covered", "left"), [(True, 10, "0"), (False, 4, "6")])
def test_a_stop_larger_than_one_market_order_closes_all_or_that_much(whole, covered, left):
    exchange = held((99, 99, 90, 91), max_market_quantity=4, unverified=Unverified(large_stop_fires_whole=whole))
    assert exchange.protection()[BTC] == (10, covered)
    minute(exchange)
    assert position(exchange)["size"] == left
    assert own_rows(exchange) == []


def test_partial_stops_count_as_protection_and_close_what_the_position_s_own_does_not():
    rules = Unverified(large_stop_fires_whole=False)
    exchange = held((99, 99, 90, 91), max_market_quantity=4, unverified=rules)
    for size in (4, 2):
        partial(exchange, 95, size)
    assert exchange.protection()[BTC] == (10, 10)
    minute(exchange)
    assert position(exchange)["size"] == "0"
    assert [one[3] for one in fills(exchange)[-3:]] == [4, 4, 2]
