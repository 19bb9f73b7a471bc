"""The position and its stop, orders that carry one, and what an execution happened for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.order import OrderKind, Side
from bot.ports import Cause, Gone, NotPermitted, OrderState, Position, Refusal, Refused, Unanswered
from services.exchanges.bybit import codec
from services.simulated_bybit import codec as theirs
from services.simulated_bybit.records import PARTIAL_STOP
from tests.runtime.house import config, exchange_for
from tests.services.hooked import text, with_gateway
from tests.services.test_bybit_venue import order

STOP, LIST = "position/trading-stop", "position/list"


def held(exchange, stop="", size="0.01", **fields):
    """position/list of a position of ten lots."""
    row = {**theirs.position(exchange.books["BTCUSDT"]), "side": "Buy", "size": size, "avgPrice": "100.5", **fields}
    return {"list": [{**row, "stopLoss": stop}], "nextPageCursor": ""}


def price_of(exchange, ticks):
    return format(exchange.instruments["BTCUSDT"].price(ticks), "f")


def test_a_position_is_read_with_its_stop_and_a_flat_one_is_zeros():
    async def play(gateway, exchange, server):
        flat = await gateway.position("BTCUSDT")
        server.answers[LIST] = held(exchange, price_of(exchange, 5000))
        there = await gateway.position("BTCUSDT")
        server.answers[LIST] = held(exchange, "0.00", size="0", side="")
        return flat, there, await gateway.position("BTCUSDT")

    flat, there, empty = with_gateway(play)
    assert flat == empty == Position("BTCUSDT")
    assert there == Position("BTCUSDT", lots=10, stop=5000, price=100.5)


def test_f_19_a_position_in_hedge_mode_is_refused_with_a_sentence():
    async def play(gateway, exchange, server):
        exchange.hedge = True
        with pytest.raises(NotPermitted, match="one-way mode"):
            await gateway.position("BTCUSDT")

    with_gateway(play)


def test_a_stop_is_set_once_the_position_shows_it():
    async def play(gateway, exchange, server):
        here = price_of(exchange, 5000)
        server.answers |= {STOP: {}, LIST: [held(exchange), held(exchange), held(exchange, here)]}
        await gateway.set_stop("BTCUSDT", 5000)
        return server.queries(STOP), here

    (sent, *again), here = with_gateway(play)
    assert sent == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "positionIdx": 0,
        "stopLoss": here,
        "tpslMode": "Full",
        "slTriggerBy": "LastPrice",
        "slOrderType": "Market",
    }
    assert len(again) == 2


@pytest.mark.parametrize(
    "trouble",
    [(34040, "not modified"), (10000, "Server Timeout"), (10016, "Server error"), (429, "load"), text("oops", 502)],
)
def test_f_73_a_stop_of_unknown_outcome_is_read_back_and_never_taken_for_passed(trouble):
    async def play(gateway, exchange, server):
        gateway.limiter.pause = lambda seconds: None
        server.answers |= {STOP: trouble, LIST: held(exchange, price_of(exchange, 5000))}
        await gateway.set_stop("BTCUSDT", 5000)
        server.answers[LIST] = held(exchange, price_of(exchange, 4000))
        with pytest.raises(Unanswered, match="has not shown its stop"):
            await gateway.set_stop("BTCUSDT", 5000)

    with_gateway(play)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("can not set tp/sl/ts for zero position", Refusal.NOTHING_TO_REDUCE),
        ("StopLoss:324000000 set for Buy position should lower than base_price:161600000??LastPrice", "passed"),
        ("StopLoss:257970000 set for Sell position should greater base_price:259477000??LastPrice", "passed"),
        ("StopLoss:211.5 set for Buy position should be between liq_price:212 and base_price:214.1??LastPrice", "no"),
        ("StopLoss:215 set for Buy position should be between liq_price:212 and base_price:214.1??LastPrice", "passed"),
        ("params error", "no"),
    ],
)
def test_f_73_only_what_says_so_is_a_trigger_that_has_passed(message, reason):
    async def play(gateway, exchange, server):
        server.answers[STOP] = (10001, message)
        with pytest.raises(Refused) as caught:
            await gateway.set_stop("BTCUSDT", 5000)
        return caught.value.reason, len(server.queries(STOP))

    wanted = {"passed": Refusal.TRIGGER_PASSED, "no": Refusal.OTHER}.get(reason, reason)
    assert with_gateway(play) == (wanted, 1)


def test_a_stop_that_is_to_go_from_a_flat_position_is_gone():
    async def play(gateway, exchange, server):
        server.answers[STOP] = (10001, "can not set tp/sl/ts for zero position")
        await gateway.set_stop("BTCUSDT", 0)
        return server.queries(STOP)

    assert [one["stopLoss"] for one in with_gateway(play)] == ["0"]


def below(exchange, ticks=500):
    return int(exchange.books["BTCUSDT"].here) - ticks


def partial_rows(exchange):
    rows = [one for one in exchange.books["BTCUSDT"].live if one.stop_type == PARTIAL_STOP]
    return sorted((one.lots, one.price) for one in rows)


def test_partial_stops_are_made_moved_resized_and_swept_and_never_sent_again():
    async def play(gateway, exchange, server):
        exchange.trade_by_hand("BTCUSDT", 1, 25)
        near, far = below(exchange), below(exchange, 900)
        seen = []
        for price, sizes in ((far, (10, 10, 5)), (far, (10, 10, 5)), (near, (10, 10, 9)), (near, (10, 1)), (0, ())):
            sent = len(server.asked)
            await gateway.set_partial_stops("BTCUSDT", price, sizes)
            changes = [path for path, _ in server.asked[sent:] if path != "order/realtime"]
            seen.append((partial_rows(exchange) == sorted((lots, price) for lots in sizes), changes))
        return seen

    amend, cancel = "order/amend", "order/cancel"
    assert with_gateway(play) == [
        (True, [STOP] * 3),
        (True, []),
        (True, [amend] * 3),
        (True, [amend, cancel]),
        (True, [cancel] * 2),
    ]


def test_a_partial_stop_of_unknown_outcome_is_sent_again_only_once_the_list_has_changed():
    async def play(gateway, exchange, server):
        exchange.trade_by_hand("BTCUSDT", 1, 25)
        server.answers[STOP] = (10016, "Server error")
        with pytest.raises(Unanswered, match="partial stops are not as they should be"):
            await gateway.set_partial_stops("BTCUSDT", below(exchange), (10,))
        first = len(server.queries(STOP))
        del server.answers[STOP]
        await gateway.set_partial_stops("BTCUSDT", below(exchange), (10,))
        return first, partial_rows(exchange) == [(10, below(exchange))]

    assert with_gateway(play) == (1, True)


def test_a_partial_stop_that_cannot_be_cancelled_is_not_taken_for_gone():
    async def play(gateway, exchange, server):
        exchange.trade_by_hand("BTCUSDT", 1, 25)
        await gateway.set_partial_stops("BTCUSDT", below(exchange), (10,))
        server.answers["order/cancel"] = (110001, "order not exists or too late to cancel")
        with pytest.raises(Unanswered):
            await gateway.set_partial_stops("BTCUSDT", 0, ())

    with_gateway(play)


def test_an_entry_is_sent_with_its_stop_and_what_reduces_without():
    exchange = exchange_for(config())
    of = exchange.instruments["BTCUSDT"]
    entry = order(exchange, stop=5000)
    written = codec.creation("linear", entry, of)
    attached = {"stopLoss": price_of(exchange, 5000), "tpslMode": "Full", "slTriggerBy": "LastPrice"}
    assert written.items() >= {**attached, "slOrderType": "Market"}.items()
    assert codec.amendment("linear", entry, of).items() >= attached.items()
    for other in (replace(entry, reduce_only=True), replace(entry, stop=0)):
        assert "stopLoss" not in {**codec.creation("linear", other, of), **codec.amendment("linear", other, of)}
    assert "stopLoss" not in codec.creation("spot", entry, of)


@pytest.mark.parametrize("code", [110059, 110060, 10001])
def test_a_stop_that_a_partly_filled_entry_keeps_is_told_apart(code):
    async def play(gateway, exchange, server):
        message = "PartialStopLoss:9634000 set for Buy position should lower than base_price:9489000??LastPrice"
        server.answers["order/amend"] = (code, message)
        with pytest.raises(Refused) as caught:
            await gateway.amend("BTCUSDT", order(exchange, stop=5000))
        return caught.value.reason

    assert with_gateway(play) is Refusal.NOT_AMENDABLE


@pytest.mark.parametrize("end", [OrderState.CANCELLED, OrderState.FILLED])
def test_row_8_a_name_that_is_used_up_is_gone_with_what_has_become_of_its_order(end):
    async def play(gateway, exchange, server):
        filled = {"kind": OrderKind.MARKET} if end is OrderState.FILLED else {}
        await gateway.place("BTCUSDT", order(exchange, **filled))
        if filled:
            exchange.step()
        else:
            await gateway.cancel("BTCUSDT", "t-BTCUSDT-000-1")
        with pytest.raises(Gone) as caught:
            await gateway.place("BTCUSDT", order(exchange))
        return caught.value.order.state

    assert with_gateway(play) is end


def test_row_8_a_name_that_is_used_up_by_a_living_order_is_placed():
    async def play(gateway, exchange, server):
        await gateway.place("BTCUSDT", order(exchange))
        await gateway.place("BTCUSDT", order(exchange))
        return len(exchange.live("BTCUSDT"))

    assert with_gateway(play) == 1


def test_row_8_a_name_that_the_venue_has_forgotten_is_gone():
    async def play(gateway, exchange, server):
        server.answers["order/create"] = (110072, "OrderLinkedID is duplicate")
        with pytest.raises(Gone) as caught:
            await gateway.place("BTCUSDT", order(exchange))
        return caught.value.order

    assert with_gateway(play) is None


OWN = [{"stopOrderType": word} for word in ("StopLoss", "TakeProfit", "TrailingStop", "PartialStopLoss")]


@pytest.mark.parametrize("own", [*OWN, {"createType": "CreateByStopLoss"}, {"createType": "CreateByPartialTakeProfit"}])
def test_the_position_s_own_stop_is_no_order_that_rests(own):
    async def play(gateway, exchange, server):
        await gateway.place("BTCUSDT", order(exchange))
        (mine,) = exchange.live("BTCUSDT")
        row = theirs.order(mine, exchange.books["BTCUSDT"], "linear")
        ours = {**row, "stopLoss": price_of(exchange, 5000), "stopOrderType": "UNKNOWN", "createType": "CreateByUser"}
        server.answers["order/realtime"] = {"list": [ours, {**row, "orderLinkId": "", **own}], "nextPageCursor": ""}
        return await gateway.open_orders("BTCUSDT")

    (found,) = with_gateway(play)
    assert (found.client_order_id, found.stop) == ("t-BTCUSDT-000-1", 5000)


def row_of(**fields):
    row = {"symbol": "BTCUSDT", "execId": "1", "orderLinkId": "", "side": "Sell", "execType": "Trade"}
    return {**row, "execPrice": "100", "execQty": "0.01", "execFee": "0.1", "execTime": "5", "isMaker": False, **fields}


@pytest.mark.parametrize(
    ("fields", "cause", "client_order_id"),
    [
        ({"orderLinkId": "t-BTCUSDT-000-1"}, Cause.ORDER, "t-BTCUSDT-000-1"),
        ({"orderLinkId": "mine", "stopOrderType": "Stop"}, Cause.ORDER, "mine"),
        ({}, Cause.ORDER, ""),
        ({"stopOrderType": "StopLoss"}, Cause.STOP, ""),
        ({"stopOrderType": "PartialStopLoss"}, Cause.STOP, ""),
        ({"stopOrderType": "TrailingStop"}, Cause.STOP, ""),
        ({"createType": "CreateByStopLoss"}, Cause.STOP, ""),
        ({"execType": "BustTrade"}, Cause.FORCED, ""),
        ({"execType": "AdlTrade", "stopOrderType": "UNKNOWN"}, Cause.FORCED, ""),
        ({"execType": "Delivery"}, Cause.FORCED, ""),
        ({"execType": "Settle"}, Cause.FORCED, ""),
        ({"createType": "CreateByLiq"}, Cause.FORCED, ""),
        ({"createType": "CreateByTakeOver_PassThrough"}, Cause.FORCED, ""),
        ({"createType": "CreateByAdl_PassThrough"}, Cause.FORCED, ""),
        ({"createType": "CreateBySettle"}, Cause.FORCED, ""),
        ({"execType": "BlockTrade", "orderLinkId": "x"}, Cause.ORDER, ""),
        ({"execType": "MovePosition"}, Cause.ORDER, ""),
        ({"execType": "SomethingNew"}, Cause.ORDER, ""),
    ],
)
def test_f_70_every_execution_that_moves_the_position_is_told_with_its_cause(fields, cause, client_order_id):
    found = codec.execution(row_of(**fields), exchange_for(config()).instruments["BTCUSDT"])
    assert (found.cause, found.client_order_id, found.lots, found.side) == (cause, client_order_id, 10, Side.SELL)


def test_f_81_funding_is_a_payment_without_lots_and_an_unknown_kind_without_quantity_is_nothing():
    of = exchange_for(config()).instruments["BTCUSDT"]
    paid = codec.execution(row_of(execType="Funding", execFee="-0.3"), of)
    assert (paid.cause, paid.lots, paid.fee, paid.client_order_id) == (Cause.FUNDING, 0, -0.3, "")
    assert codec.execution(row_of(execType="SomethingNew", execQty="0"), of) is None


def test_the_executions_of_one_order_are_asked_for_by_its_name():
    async def play(gateway, exchange, server):
        await gateway.place("BTCUSDT", order(exchange, kind=OrderKind.MARKET))
        await gateway.place("BTCUSDT", order(exchange, slot=1, kind=OrderKind.MARKET))
        while exchange.step():
            pass
        found = await gateway.executions_of("BTCUSDT", "t-BTCUSDT-001-1")
        (asked,) = server.queries("execution/list")
        return [(one.client_order_id, one.lots) for one in found], asked

    found, asked = with_gateway(play)
    assert found == [("t-BTCUSDT-001-1", 10)]
    assert "startTime" not in asked  # however long ago
