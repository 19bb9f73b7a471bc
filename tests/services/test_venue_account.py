"""The simulated exchange's account, limits, executions of others, audit and faults, as Bybit would show them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import time
from contextlib import asynccontextmanager
from decimal import Decimal

import aiohttp
import numpy as np
import pytest

from backtesting.funding import FundingHistory
from bot.instrument import RiskTier
from bot.order import OrderKind
from services.simulated_bybit.records import LogRow
from services.simulated_bybit.server import Faults, VenueServer
from tests.conftest import MINUTE, START
from tests.services.venue_house import (
    BTC,
    FALL_TO_98,
    KEY,
    QUIET,
    ask,
    entry,
    exchange_of,
    minute,
    own_rows,
    position,
    refused,
    take_events,
    trading_stop,
)

# Executions that no request asked for


def held(*rows, stop=95, **options):
    exchange = exchange_of(FALL_TO_98, *rows, **options)
    entry(exchange, stop=stop)
    minute(exchange)
    take_events(exchange)
    return exchange


def last_execution(exchange):
    return ask(exchange, "GET execution/list", symbol=BTC)["list"][0]


@pytest.mark.parametrize(
    ("happens", "kind", "created_by", "fee", "ordered", "logged"),
    [
        (lambda x: x.close_by_hand(BTC), "Trade", "CreateByClosing", 10 * 99 * 0.00055, True, "TRADE"),
        (lambda x: x.trade_by_hand(BTC, -1, 10), "Trade", "CreateByUser", 10 * 99 * 0.00055, True, "TRADE"),
        (lambda x: x.deleverage(BTC, 10), "AdlTrade", "CreateByAdl_PassThrough", 0.0, True, "ADL"),
        (lambda x: x.bust(BTC), "BustTrade", "CreateByTakeOver_PassThrough", 10 * 99 * 0.00055, True, "LIQUIDATION"),
        (lambda x: x.settle(BTC), "Delivery", "CreateBySettle", 0.0, False, "DELIVERY"),
    ],
)
def test_an_execution_of_somebody_else_is_told_like_any_and_takes_the_stop_away(
    happens, kind, created_by, fee, ordered, logged
):
    exchange = held()
    stop, before = exchange.books[BTC].live[0], exchange.wallet
    happens(exchange)
    row = last_execution(exchange)
    assert (row["execType"], row["createType"], row["orderLinkId"]) == (kind, created_by, "")
    assert (row["execQty"], row["execPrice"], row["side"]) == ("10", "99", "Sell")
    assert float(row["execFee"]) == pytest.approx(fee)
    assert bool(row["orderId"]) is ordered
    assert position(exchange)["size"] == "0"
    assert (stop.status, stop.cancel_type) == ("Cancelled", "CancelByTpSlTsClear")
    assert exchange.wallet == pytest.approx(before - 10 - fee)
    told = take_events(exchange)
    assert [one.status for one in told[1:]] == [*(["Filled"] if ordered else []), "Cancelled"]
    history = ask(exchange, "GET order/history", symbol=BTC)["list"]
    assert any(one["createType"] == created_by and not one["orderLinkId"] for one in history) is ordered
    (money,) = ask(exchange, "GET account/transaction-log", type=logged, limit="1")["list"]
    assert float(money["change"]) == pytest.approx(-10 - fee)


def test_deleveraging_in_part_leaves_a_smaller_stop():
    exchange = held()
    exchange.deleverage(BTC, 4)
    assert own_rows(exchange) == [("StopLoss", 95, 6)]


def test_trading_by_hand_can_open_and_add():
    exchange = held()
    exchange.trade_by_hand(BTC, 1, 5)
    assert own_rows(exchange) == [("StopLoss", 95, 15)]
    row = ask(exchange, "GET order/history", symbol=BTC)["list"][0]
    assert (row["orderStatus"], row["cumExecQty"], row["reduceOnly"]) == ("Filled", "5", False)


@pytest.mark.parametrize(("name", "cancel_type"), [("bust", "CancelAllBeforeLiq"), ("settle", "CancelBySettle")])
def test_liquidation_and_delisting_cancel_what_rests(name, cancel_type):
    exchange = held()
    entry(exchange, "rests", price=90, stop=80)
    getattr(exchange, name)(BTC)
    assert exchange.live(None) == []
    assert exchange.client_order_ids["rests"].cancel_type == cancel_type
    status = ask(exchange, "GET market/instruments-info")["list"][0]["status"]
    assert status == ("Closed" if name == "settle" else "Trading")


def test_what_has_no_position_is_delisted_too():
    exchange = exchange_of(QUIET)
    exchange.settle(BTC)
    exchange.close_by_hand(BTC)
    assert (list(exchange.trades), exchange.closed) == ([], {BTC})


# The transaction log


def log(exchange, **query):
    return ask(exchange, "GET account/transaction-log", **{"accountType": "UNIFIED", "category": "", **query})["list"]


def test_a_transfer_moves_the_wallet_and_is_logged():
    exchange = exchange_of(QUIET)
    exchange.transfer(500.0)
    exchange.transfer(-200.0)
    assert exchange.wallet == 100_300.0
    out, into = log(exchange)
    assert (into["type"], into["change"], into["cashFlow"], into["cashBalance"]) == (
        *("TRANSFER_IN", "500.0", "500.0", "100500.0"),
    )
    assert (out["type"], out["change"], out["cashBalance"]) == ("TRANSFER_OUT", "-200.0", "100300.0")
    assert (into["symbol"], into["currency"], into["transactionTime"]) == ("", "USDT", str(START))
    assert into["id"] != out["id"]
    assert [type(one) for one in exchange.events] == [LogRow, LogRow]
    assert log(exchange, category="linear") == []  # a transfer belongs to no category
    exchange.capital += 1.0  # as a fault would: the log knows nothing of it
    assert len(log(exchange)) == 2


def test_trades_are_logged_with_what_they_realised_and_cost():
    exchange = held((99, 99, 90, 91))
    minute(exchange)
    closing, opening = log(exchange, type="TRADE", category="linear", currency="USDT")
    fee = 10 * 95 * 0.00055
    assert (opening["cashFlow"], float(opening["change"])) == ("0.0", pytest.approx(-10 * 100 * 0.0002))
    assert (float(closing["cashFlow"]), float(closing["fee"])) == (-50.0, pytest.approx(fee))
    assert float(closing["change"]) == pytest.approx(-50.0 - fee)
    assert float(closing["cashBalance"]) == pytest.approx(exchange.wallet)
    assert (closing["orderLinkId"], closing["symbol"], opening["orderLinkId"]) == ("", BTC, "e")


def test_funding_is_logged_with_the_sign_of_what_was_received():
    exchange = exchange_of(FALL_TO_98, *[QUIET] * (8 * 60))
    entry(exchange, stop=None)
    while not exchange.finished:
        exchange.step()
    (row,) = log(exchange, type="SETTLEMENT")
    paid = float(last_execution(exchange)["execFee"])
    assert paid == pytest.approx(10 * 105 * 0.0001)
    assert (float(row["funding"]), float(row["change"]), float(row["fee"])) == (-paid, -paid, 0.0)
    assert last_execution(exchange)["orderType"] == "UNKNOWN"


def test_a_history_of_funding_is_paid_and_told_and_where_it_ends_the_constant_rate():
    hour = 60 * MINUTE
    history = FundingHistory(START + hour * np.array([1, 4]), np.array([0.002, -0.001]))
    exchange = exchange_of(FALL_TO_98, *[QUIET] * (16 * 60), history=history)
    entry(exchange, stop=None)
    assert ask(exchange, "GET market/tickers", symbol=BTC)["list"][0]["fundingRate"] == "0.0001"  # a span before it
    minute(exchange)
    ticker = ask(exchange, "GET market/tickers", symbol=BTC)["list"][0]
    assert (ticker["fundingRate"], ticker["nextFundingTime"]) == ("0.002", str(START + hour))
    while not exchange.finished:
        exchange.step()
    paid = log(exchange, type="SETTLEMENT")
    assert [(int(row["transactionTime"]) - START) / hour for row in paid] == [16, 4, 1]
    assert [float(row["funding"]) for row in paid] == pytest.approx([-10 * 105 * r for r in (0.0001, -0.001, 0.002)])
    span = {"startTime": str(START + hour), "endTime": str(START + 16 * hour)}
    rows = ask(exchange, "GET market/funding/history", symbol=BTC, **span)["list"]
    told = [((int(row["fundingRateTimestamp"]) - START) // hour, float(row["fundingRate"])) for row in rows]
    assert told == [(16, 0.0001), (4, -0.001), (1, 0.002)]
    rows = ask(exchange, "GET market/funding/history", symbol=BTC, **span, limit="1")["list"]
    assert [row["fundingRate"] for row in rows] == ["0.0001"]


def test_the_log_covers_the_last_day_of_the_market_unless_told_otherwise_and_comes_in_pages():
    exchange = exchange_of(*[QUIET] * 3)
    exchange.transfer(1.0)
    exchange.now += 25 * 60 * MINUTE
    for number in range(60):
        exchange.transfer(float(number))
    assert len(log(exchange, limit="100")) == 50
    pages = {"limit": "50", "category": ""}
    first = ask(exchange, "GET account/transaction-log", **pages)
    second = ask(exchange, "GET account/transaction-log", **pages, cursor=first["nextPageCursor"])
    amounts = [float(one["cashFlow"]) for one in [*first["list"], *second["list"]]]
    assert amounts == [float(number) for number in reversed(range(60))]
    assert [one["cashFlow"] for one in log(exchange, startTime=str(START))] == ["1.0"]
    assert [one["cashFlow"] for one in log(exchange, endTime=str(START + 1))] == ["1.0"]
    assert len(log(exchange, startTime=str(START), endTime=str(exchange.now), limit="50")) == 50
    eight_days = {"startTime": str(START), "endTime": str(START + 8 * 24 * 60 * MINUTE)}
    assert refused(exchange, "GET account/transaction-log", **eight_days)[0] == 10001


# The wallet


def test_the_wallet_adds_coins_up_in_dollars_and_leaves_usdt_as_it_is():
    exchange = exchange_of(QUIET)
    exchange.coins = {"BTC": (2.0, 30_000.0), "DUST": (0.0, 1.0)}
    exchange.usdt_usd = 0.999
    (account,) = ask(exchange, "GET account/wallet-balance", accountType="UNIFIED")["list"]
    for name in ("totalWalletBalance", "totalEquity", "totalMarginBalance"):
        assert float(account[name]) == pytest.approx(100_000 * 0.999 + 60_000)
    rows = {one["coin"]: one for one in account["coin"]}
    assert sorted(rows) == ["BTC", "USDT"]
    assert (rows["USDT"]["walletBalance"], rows["BTC"]["walletBalance"]) == ("100000.0", "2.0")
    assert float(rows["BTC"]["usdValue"]) == 60_000.0
    exchange.transfer(1.5, "BTC")
    assert exchange.coins["BTC"] == (3.5, 30_000.0)
    exchange.transfer(1.0)
    assert [one["cashBalance"] for one in log(exchange, currency="BTC")] == ["3.5"]


def test_a_coin_that_is_asked_for_is_shown_though_it_is_zero():
    exchange = exchange_of(QUIET, capital=0.0)
    assert ask(exchange, "GET account/wallet-balance")["list"][0]["coin"] == []
    (row,) = ask(exchange, "GET account/wallet-balance", coin="USDT")["list"][0]["coin"]
    assert (row["coin"], row["walletBalance"]) == ("USDT", "0.0")
    rows = ask(exchange, "GET account/wallet-balance", coin="USDT,ETH")["list"][0]["coin"]
    assert [one["coin"] for one in rows] == ["USDT", "ETH"]


def test_a_classic_account_has_no_unified_wallet():
    exchange = exchange_of(QUIET)
    assert ask(exchange, "GET account/info")["unifiedMarginStatus"] == 5
    assert refused(exchange, "GET account/wallet-balance", accountType="CONTRACT")[0] == 10001
    exchange.unified = False
    assert ask(exchange, "GET account/info")["unifiedMarginStatus"] == 1
    assert ask(exchange, "GET user/query-api")["uta"] == 0
    assert refused(exchange, "GET account/wallet-balance", accountType="UNIFIED")[0] == 10028
    assert refused(exchange, "GET account/transaction-log")[0] == 10028
    (account,) = ask(exchange, "GET account/wallet-balance", accountType="CONTRACT")["list"]
    assert (account["totalWalletBalance"], account["coin"][0]["walletBalance"]) == ("", "100000.0")


# Limits

LIMITS = {
    "max_quantity": Decimal(50),
    "max_market_quantity": Decimal(20),
    "max_leverage": Decimal(25),
    "price_band": Decimal("0.1"),
}


def test_the_instrument_s_limits_are_stated():
    (row,) = ask(exchange_of(QUIET, **LIMITS), "GET market/instruments-info")["list"]
    lots = row["lotSizeFilter"]
    assert (lots["maxOrderQty"], lots["maxMktOrderQty"], row["leverageFilter"]["maxLeverage"]) == ("50", "20", "25.00")
    assert row["riskParameters"] == {"priceLimitRatioX": "0.1", "priceLimitRatioY": "0.1"}
    (row,) = ask(exchange_of(QUIET), "GET market/instruments-info")["list"]
    assert (row["lotSizeFilter"]["maxOrderQty"], row["leverageFilter"]["maxLeverage"]) == ("1000000000", "125.00")
    assert row["riskParameters"] == {}


def test_more_than_an_order_may_be_is_refused_unless_it_only_reduces():
    exchange = exchange_of(QUIET, QUIET, **LIMITS)
    named = {"symbol": BTC, "side": "Buy", "orderType": "Limit", "price": "100"}
    code, text = refused(exchange, "POST order/create", **named, qty="51")
    assert (code, text) == (
        10001,
        "The number of contracts exceeds maximum limit allowed: too large, order_qty:5100000000 > max_qty:5000000000",
    )
    assert refused(exchange, "POST order/create", symbol=BTC, side="Buy", orderType="Market", qty="21")[0] == 10001
    entry(exchange, qty=50)
    assert refused(exchange, "POST order/amend", symbol=BTC, orderLinkId="e", qty="51")[0] == 10001
    exchange.trade_by_hand(BTC, 1, 100)
    ask(exchange, "POST order/create", symbol=BTC, side="Sell", orderType="Market", qty="100", reduceOnly=True)
    minute(exchange)
    assert position(exchange)["size"] == "0"


def test_the_largest_value_of_an_order():
    exchange = exchange_of(QUIET, max_notional=Decimal(1000))
    entry(exchange, qty=10)
    named = {"symbol": BTC, "side": "Buy", "orderType": "Limit", "price": "100"}
    assert refused(exchange, "POST order/create", **named, qty="11")[0] == 110090


@pytest.mark.parametrize(("side", "taken", "outside"), [("Buy", 115, 116), ("Sell", 95, 94)])
def test_a_limit_outside_the_band_is_refused(side, taken, outside):
    exchange = exchange_of(QUIET, **LIMITS)
    named = {"symbol": BTC, "side": side, "orderType": "Limit", "qty": "1"}
    assert refused(exchange, "POST order/create", **named, price=str(outside))[0] == 110003
    ask(exchange, "POST order/create", **named, price=str(taken), orderLinkId="x")
    assert refused(exchange, "POST order/amend", symbol=BTC, orderLinkId="x", price=str(outside))[0] == 110003


def test_a_trigger_has_no_band():
    exchange = exchange_of(QUIET, **LIMITS)
    entry(exchange, side="Buy", price=100, stop=50)
    named = {"symbol": BTC, "side": "Buy", "orderType": "Market", "qty": "1"}
    ask(exchange, "POST order/create", **named, triggerPrice="200")
    assert len(exchange.live(None)) == 2


def test_the_largest_leverage():
    exchange = exchange_of(QUIET, **LIMITS)
    assert refused(exchange, "POST position/set-leverage", symbol=BTC, buyLeverage="26")[0] == 110013
    ask(exchange, "POST position/set-leverage", symbol=BTC, buyLeverage="25")


TIERS = tuple(RiskTier(max_notional=notional, max_leverage=leverage) for notional, leverage in ((1000, 50), (2000, 25)))


def test_f_72_the_risk_tiers_are_stated():
    named = {"symbol": BTC}
    rows = ask(exchange_of(QUIET, risk_tiers=TIERS), "GET market/risk-limit", **named)["list"]
    assert [(one["riskLimitValue"], one["maxLeverage"]) for one in rows] == [("1000", "50.00"), ("2000", "25.00")]
    (row,) = ask(exchange_of(QUIET), "GET market/risk-limit")["list"]
    assert (row["riskLimitValue"], row["maxLeverage"]) == ("1000000000", "125.00")


def test_f_72_position_and_orders_of_a_side_stay_within_the_risk_tier_of_the_leverage():
    exchange = exchange_of(QUIET, risk_tiers=TIERS)
    exchange.trade_by_hand(BTC, 1, 10)  # at 105
    entry(exchange, qty=9)
    named = {"symbol": BTC, "orderType": "Limit", "price": "100", "qty": "1"}
    assert refused(exchange, "POST order/create", **named, side="Buy")[0] == 110090
    assert refused(exchange, "POST order/amend", symbol=BTC, orderLinkId="e", qty="10")[0] == 110090
    ask(exchange, "POST order/create", **named | {"price": "110"}, side="Sell")
    exchange.cancel(BTC, "", "e")
    ask(exchange, "POST position/set-leverage", symbol=BTC, buyLeverage="30")
    assert refused(exchange, "POST order/create", **named, side="Buy")[0] == 110090


# Audit


def conditional(exchange, qty, client_order_id, side="Sell", **more):
    named = {"symbol": BTC, "side": side, "orderType": "Market", "qty": str(qty), "orderLinkId": client_order_id}
    ask(exchange, "POST order/create", **named, triggerPrice="90", **more)


def test_what_is_protected():
    exchange = held(stop=None)
    assert exchange.protection() == {BTC: (10, 0)}
    conditional(exchange, 4, "own", reduceOnly=True)
    assert exchange.protection() == {BTC: (10, 4)}
    conditional(exchange, 4, "may open")
    ask(
        exchange, "POST order/create", symbol=BTC, side="Sell", orderType="Limit", qty="9", price="120", reduceOnly=True
    )
    assert exchange.protection() == {BTC: (10, 4)}
    ask(exchange, "POST order/create", symbol=BTC, side="Sell", orderType="Market", qty="9", reduceOnly=True)
    assert exchange.protection() == {BTC: (10, 10)}
    exchange.cancel_all(BTC)
    trading_stop(exchange, stopLoss="95")
    assert exchange.protection() == {BTC: (10, 10)}


def test_how_long_a_position_was_bare_is_counted_in_minutes_and_in_seconds():
    exchange = exchange_of(FALL_TO_98, *[(99, 99, 99, 99)] * 6)
    clock = itertools.count(100.0, 1.0)
    exchange.audit.monotonic = lambda: next(clock)
    entry(exchange, stop=None)
    for _ in range(3):
        minute(exchange)
    spell = exchange.bare[BTC]
    assert (spell.minutes, spell.longest_minutes, spell.longest_s) == (3, 3, 0.0)
    since = spell.since
    assert exchange.audit.report()[BTC]["longest_s"] > 0.0  # it lasts
    trading_stop(exchange, stopLoss="95")
    exchange.audit.look()
    assert (spell.since, spell.longest_s) == (None, next(clock) - 1.0 - since)
    minute(exchange)
    assert (spell.minutes, spell.longest_minutes) == (3, 3)
    trading_stop(exchange, stopLoss="0")
    minute(exchange)
    assert (spell.minutes, spell.longest_minutes, spell.running_minutes) == (4, 3, 1)
    exchange.close_by_hand(BTC)
    minute(exchange)
    assert (spell.minutes, spell.since) == (4, None)


def test_a_position_that_opens_with_its_stop_was_never_bare():
    exchange = held(*[(99, 99, 99, 99)] * 3)
    minute(exchange)
    spell = exchange.bare[BTC]
    assert (spell.minutes, spell.longest_s, spell.since) == (0, 0.0, None)


# The server: audit and faults


class Client:
    """Signs and sends, and gives back what came, whatever it is."""

    def __init__(self, session, address):
        self.session, self.address = session, address

    async def get(self, path, query=""):
        return await self._send("GET", path, query, None)

    async def post(self, path, **body):
        return await self._send("POST", path, "", json.dumps({"category": "linear", **body}))

    async def _send(self, method, path, query, body):
        stamp = str(int(time.time() * 1000))
        payload = f"{stamp}{KEY.key}5000{query if body is None else body}"
        sign = hmac.new(KEY.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        headers = {"X-BAPI-API-KEY": KEY.key, "X-BAPI-TIMESTAMP": stamp, "X-BAPI-SIGN": sign}
        url = f"{self.address}/v5/{path}" + (f"?{query}" if query else "")
        async with self.session.request(method, url, data=body, headers=headers) as answer:
            return answer.status, await answer.text()

    async def listen(self, *topics, ahead_ms=5000):
        """A private stream; the answer to its signing in, and the socket."""
        socket = await self.session.ws_connect(f"{self.address}/v5/private")
        expires = str(int(time.time() * 1000) + ahead_ms)
        sign = hmac.new(KEY.secret.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256).hexdigest()
        await socket.send_json({"op": "auth", "args": [KEY.key, expires, sign]})
        trusted = (await socket.receive_json())["success"]
        if trusted:
            await socket.send_json({"op": "subscribe", "args": list(topics)})
            await socket.receive_json()
        return trusted, socket


@asynccontextmanager
async def serving(exchange, **faults):
    server = VenueServer(exchange, [KEY], faults=Faults(**faults))
    address = f"http://127.0.0.1:{await server.start()}"
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(session, address), server
    finally:
        await server.stop()


def played(play, exchange=None, **faults):
    async def main():
        async with serving(exchange or held((99, 99, 99, 99)), **faults) as (client, server):
            return await play(client, server)

    return asyncio.run(main())


BUY = {"symbol": BTC, "side": "Buy", "orderType": "Limit", "qty": "1", "price": "90", "orderLinkId": "twice"}


def test_the_audit_over_http_counts_names_that_were_used_twice():
    async def play(client, server):
        await client.post("order/create", **BUY)
        _, text = await client.post("order/create", **BUY)
        assert json.loads(text)["retCode"] == 110072
        async with client.session.get(f"{client.address}/venue/audit") as answer:
            return await answer.json()

    found = played(play)
    assert found["duplicate_ids"] == {"taken": 0, "refused": 1}
    assert found["symbols"][BTC] == {
        "held": 10,
        "protected": 10,
        "bare_minutes": 0,
        "longest_minutes": 0,
        "longest_s": 0.0,
        "bare_s": 0.0,
    }


def test_an_answered_request_ends_a_bare_spell():
    async def play(client, server):
        exchange = server.exchange
        exchange.audit.look()
        assert exchange.bare[BTC].since is not None
        named = {"symbol": BTC, "tpslMode": "Full", "positionIdx": 0, "stopLoss": "90"}
        await client.post("position/trading-stop", **named)
        assert exchange.bare[BTC].since is None
        return exchange.bare[BTC].longest_s

    assert played(play, held(stop=None)) > 0.0


def test_malformed_answers_are_of_every_kind_and_what_was_asked_is_done():
    async def play(client, server):
        found = [await client.get("position/list", f"category=linear&symbol={BTC}") for _ in range(60)]
        await client.post("order/create", **BUY)
        return found, list(server.exchange.client_order_ids)

    found, client_order_ids = played(play, malformed=1.0)
    assert {status for status, _ in found} == {200}
    assert len({text for _, text in found}) == 8
    assert "twice" in client_order_ids


def test_only_some_addresses_are_malformed():
    async def play(client, server):
        _, spoiled = await client.get("position/list", f"category=linear&symbol={BTC}")
        _, whole = await client.get("account/info")
        return spoiled, json.loads(whole)["retCode"]

    spoiled, code = played(play, malformed=1.0, malformed_path="position/")
    assert (BTC in spoiled, code) == (False, 0)


def test_addresses_that_are_down_answer_503_and_do_nothing():
    async def play(client, server):
        down, _ = await client.post("order/create", **BUY)
        up, _ = await client.get("account/info")
        return down, up, "twice" in server.exchange.client_order_ids

    assert played(play, down_path="order/create") == (503, 200, False)


def test_a_slow_address_does_at_once_what_it_answers_late():
    async def play(client, server):
        begun = time.monotonic()
        asked = asyncio.create_task(client.post("order/create", **BUY))
        while not server.exchange.client_order_ids.get("twice"):
            quick, _ = await client.get("account/info")
        done = time.monotonic() - begun
        return quick, (await asked)[0], done, time.monotonic() - begun

    quick, slow, done, answered = played(play, slow_path="order/create", slow_s=0.3)
    assert (quick, slow) == (200, 200)
    assert answered >= 0.3
    assert done < answered


async def _told(socket, count):
    return [(await socket.receive_json(timeout=5))["topic"] for _ in range(count)]


def test_executions_are_told_late_and_orders_in_time():
    async def play(client, server):
        _, socket = await client.listen("execution", "order")
        server.exchange.close_by_hand(BTC)
        await server._flush()
        return await _told(socket, 3)

    assert played(play) == ["execution", "order", "order"]
    assert played(play, hold_executions_s=0.2) == ["order", "order", "execution"]


def test_executions_that_are_never_told():
    async def play(client, server):
        _, socket = await client.listen("execution", "order")
        server.exchange.close_by_hand(BTC)
        await server._flush()
        server.exchange.create(
            BTC, 1, OrderKind.LIMIT, 90, 1, client_order_id="after", reduce_only=False, post_only=False
        )
        await server._flush()
        return await _told(socket, 3)

    assert played(play, silent_executions=1.0) == ["order", "order", "order"]


def test_the_position_is_told_with_every_change_of_an_order_and_shows_its_stop():
    async def play(client, server):
        _, socket = await client.listen("position")
        named = {"symbol": BTC, "tpslMode": "Full", "positionIdx": 0, "stopLoss": "90"}
        await client.post("position/trading-stop", **named)
        told = await socket.receive_json(timeout=5)
        return told["data"][0]["stopLoss"], told["data"][0]["size"]

    assert played(play) == ("90", "10")


def test_a_transfer_is_told_as_a_wallet():
    async def play(client, server):
        _, socket = await client.listen("wallet")
        server.exchange.transfer(5.0)
        await server._flush()
        return (await socket.receive_json(timeout=5))["topic"]

    assert played(play) == "wallet"


@pytest.mark.parametrize(("ahead", "skew", "trusted"), [(5000, 0, True), (-1, 0, False), (5000, 6000, False)])
def test_a_sign_in_has_to_expire_in_the_future_of_the_venue_s_clock(ahead, skew, trusted):
    async def play(client, server):
        return (await client.listen("order", ahead_ms=ahead))[0]

    assert played(play, clock_skew_ms=skew) is trusted
