"""The venue through other people's clients, and the project's adapter against its refusals and its faults."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import defaultdict
from decimal import Decimal

import pytest
from pybit import unified_trading
from pybit.exceptions import InvalidRequestError

from bot.errors import Misconfigured
from bot.instrument import Instrument
from bot.order import OrderKind, Side
from bot.ports import Gone, NotPermitted, Order, OrderState, Refused, client_order_id_of
from services.exchanges.bybit import codec
from services.exchanges.bybit.limiter import Limiter, Priority
from services.simulated_bybit.records import Key
from services.simulated_bybit.server import Faults
from tests.runtime.house import DAY, KEY, config, exchange_for, gateway_to, venue


class Thread:
    """A venue in a thread of its own, for clients that block."""

    def __enter__(self):
        self.exchange = exchange_for(config())
        self.loop = asyncio.new_event_loop()
        self.ready, self.done = threading.Event(), asyncio.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        self.ready.wait()
        return self

    def _run(self):
        async def main():
            async with venue(self.exchange) as house:
                self.house = house
                self.ready.set()
                await self.done.wait()

        self.loop.run_until_complete(main())
        self.loop.close()

    def minute(self):
        async def play():
            while self.exchange.step():
                await self.house.server._flush()
            await self.house.server._flush()

        asyncio.run_coroutine_threadsafe(play(), self.loop).result()

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.done.set)
        self.thread.join()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pybit_lives_a_whole_order_life_over_http_and_websocket(monkeypatch):
    with Thread() as there:
        socket = there.house.address.replace("http", "ws", 1)
        monkeypatch.setattr(unified_trading, "PRIVATE_WSS", f"{socket}/v5/private")
        monkeypatch.setattr(unified_trading, "PUBLIC_WSS", f"{socket}/v5/public/{{CHANNEL_TYPE}}")
        session = unified_trading.HTTP(api_key=KEY.key, api_secret=KEY.secret)
        session.endpoint = there.house.address
        orders, fills, candles = queue.Queue(), queue.Queue(), queue.Queue()
        private = unified_trading.WebSocket(
            testnet=False, channel_type="private", api_key=KEY.key, api_secret=KEY.secret
        )
        public = unified_trading.WebSocket(testnet=False, channel_type="linear")
        for client in (private, public):  # pybit notes a subscription only after sending it; a near venue answers first
            client.subscriptions = defaultdict(str)
        private.order_stream(orders.put)
        private.execution_stream(fills.put)
        public.kline_stream(1, "BTCUSDT", candles.put)
        _subscribed(there, 3)

        price = float(session.get_tickers(category="linear", symbol="BTCUSDT")["result"]["list"][0]["lastPrice"])
        low = f"{round(price * 0.9):d}.0"
        named = {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "mine-1"}
        session.place_order(**named, side="Buy", orderType="Limit", qty="0.01", price=low)
        assert orders.get(timeout=5)["data"][0]["orderStatus"] == "New"
        with pytest.raises(InvalidRequestError, match="110072"):
            session.place_order(**named, side="Buy", orderType="Limit", qty="0.01", price=low)
        session.amend_order(**named, qty="0.02")
        (open_orders,) = session.get_open_orders(category="linear", symbol="BTCUSDT")["result"]["list"]
        assert (open_orders["qty"], open_orders["price"]) == ("0.02", low.removesuffix(".0"))
        session.cancel_order(**named)
        with pytest.raises(InvalidRequestError, match="110001"):
            session.cancel_order(**named)
        session.place_order(category="linear", symbol="BTCUSDT", side="Buy", orderType="Market", qty="0.01")
        there.minute()
        fill = fills.get(timeout=5)["data"][0]
        assert (fill["execQty"], fill["side"], fill["isMaker"]) == ("0.01", "Buy", False)
        (held,) = session.get_positions(category="linear", symbol="BTCUSDT")["result"]["list"]
        assert (held["size"], held["side"]) == ("0.01", "Buy")
        stop = {"category": "linear", "symbol": "BTCUSDT", "positionIdx": 0, "tpslMode": "Full"}
        high = f"{round(price * 1.1):d}.0"
        session.set_trading_stop(**stop, stopLoss=low, takeProfit=high)
        session.set_trading_stop(**stop, stopLoss=f"{round(price * 0.8):d}.0")
        open_orders = session.get_open_orders(category="linear", symbol="BTCUSDT")["result"]["list"]
        assert sorted((one["orderType"], one["reduceOnly"]) for one in open_orders) == [
            ("Limit", True),
            ("Market", True),
        ]
        with pytest.raises(InvalidRequestError, match="10001"):
            session.set_trading_stop(**stop, takeProfit=low)
        session.set_trading_stop(**stop, stopLoss="0", takeProfit="0")
        assert session.get_open_orders(category="linear", symbol="BTCUSDT")["result"]["list"] == []
        assert candles.get(timeout=5)["data"][0]["confirm"] is True
        wallet = session.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]
        assert 9_000 < float(wallet["totalEquity"]) < 10_000  # the fee and the slippage are paid
        private.exit()
        public.exit()


def _subscribed(there, topics):
    for _ in range(500):
        if sum(len(one.topics) for one in there.house.server.listeners) >= topics:
            return
        threading.Event().wait(0.01)
    raise AssertionError("nobody listens")


def order(
    exchange, symbol="BTCUSDT", *, slot=0, generation=1, side=Side.BUY, kind=OrderKind.LIMIT, share=0.9, **changes
):
    book = exchange.books[symbol]
    values = {
        "client_order_id": client_order_id_of("t", symbol, slot, generation),
        "slot": slot,
        "generation": generation,
        "side": side,
        "kind": kind,
        "price": 0 if kind == OrderKind.MARKET else round(book.here * share),
        "lots": 10,
        "reduce_only": False,
        "post_only": False,
        **dict.fromkeys(("signal", "part", "entry", "stop"), 0),
        **changes,
    }
    return Order(**values)


def with_gateway(play, *, faults=None, keys=(KEY,), key=KEY):
    async def main():
        exchange = exchange_for(config())
        async with venue(exchange, faults=faults, keys=keys) as house:
            gateway = gateway_to(house.address, key=key)
            try:
                await gateway.instruments(["BTCUSDT", "SOLUSDT"])
                return await play(gateway, exchange, house)
            finally:
                await gateway.close()

    return asyncio.run(main())


def test_f_03_every_page_of_a_list_is_read():
    async def play(gateway, exchange, house):
        for slot in range(100):  # two full pages, and the cursor of a third that is empty
            await gateway.place("BTCUSDT", order(exchange, slot=slot))
        return await gateway.open_orders("BTCUSDT")

    found = with_gateway(play)
    assert len({one.client_order_id for one in found}) == 100


@pytest.mark.parametrize("seed", range(4))
def test_f_04_an_order_whose_answer_was_lost_is_looked_up_and_not_sent_again(seed):
    async def play(gateway, exchange, house):
        await gateway.place("BTCUSDT", order(exchange))
        return exchange

    exchange = with_gateway(play, faults=Faults(lose_response=0.7, error=0.3, seed=seed))
    assert [one.client_order_id for one in exchange.known.values()] == ["t-BTCUSDT-000-1"]


def test_f_02_an_order_that_vanished_is_asked_for_by_its_name():
    async def play(gateway, exchange, house):
        await gateway.place("BTCUSDT", order(exchange))
        await gateway.cancel("BTCUSDT", "t-BTCUSDT-000-1")
        with pytest.raises(Gone):
            await gateway.cancel("BTCUSDT", "t-BTCUSDT-000-1")
        ended = await gateway.find("BTCUSDT", "t-BTCUSDT-000-1")
        return (
            ended.state,
            await gateway.find("BTCUSDT", "t-BTCUSDT-000-2"),
            await gateway.executions("BTCUSDT", exchange.now - DAY),
        )

    state, never, executions = with_gateway(play)
    assert (state, never, executions) == (OrderState.CANCELLED, None, [])


def test_f_13_what_is_as_it_should_be_is_no_error():
    async def play(gateway, exchange, house):
        await gateway.place("BTCUSDT", order(exchange))
        await gateway.amend("BTCUSDT", order(exchange))
        await gateway.prepare("BTCUSDT", 1.0)
        await gateway.prepare("BTCUSDT", 3.0)
        await gateway.prepare("BTCUSDT", 3.0)
        return float(exchange.books["BTCUSDT"].pair.instrument.leverage)

    assert with_gateway(play) == 3.0


def test_f_18_a_refusal_is_final_and_names_the_code():
    async def play(gateway, exchange, house):
        with pytest.raises(Refused, match="110017"):
            await gateway.place("BTCUSDT", order(exchange, reduce_only=True, side=Side.SELL))
        with pytest.raises(Refused, match="110007"):
            await gateway.place("BTCUSDT", order(exchange, slot=1, lots=100_000))
        return gateway.errors

    assert with_gateway(play) == {110017: 1, 110007: 1}


@pytest.mark.parametrize(
    ("key", "keys", "sentence"),
    [
        (Key("unknown-key", KEY.secret), (KEY,), "not known here"),
        (Key(KEY.key, "wrong-secret"), (KEY,), "signature does not fit"),
        (KEY, (Key(KEY.key, KEY.secret, addresses=("10.0.0.1",)),), "address is not on"),
    ],
)
def test_a_key_that_does_not_work_is_told_in_a_sentence_without_the_key(key, keys, sentence):
    async def play(gateway, exchange, house):
        await gateway.account()

    with pytest.raises(NotPermitted, match=sentence) as caught:
        with_gateway(play, key=key, keys=keys)
    assert key.secret not in str(caught.value)


def test_a_key_without_the_right_to_trade_is_told_when_it_trades():
    async def play(gateway, exchange, house):
        with pytest.raises(NotPermitted, match="permission to trade"):
            await gateway.place("BTCUSDT", order(exchange))

    with_gateway(play, keys=(Key(KEY.key, KEY.secret, may_trade=False),))


def test_f_20_a_clock_that_is_a_minute_off_is_measured_and_allowed_for():
    async def play(gateway, exchange, house):
        offset = await gateway.measure_clock()
        await gateway.account()
        return offset

    assert with_gateway(play, faults=Faults(clock_skew_ms=60_000)) == pytest.approx(-60_000, abs=500)


def test_f_19_hedge_mode_is_refused_and_its_empty_row_is_not_taken_for_flat():
    async def play(gateway, exchange, house):
        exchange.create("BTCUSDT", -1, OrderKind.MARKET, 0, 10, client_order_id="", reduce_only=False, post_only=False)
        exchange.step()
        exchange.hedge = True
        with pytest.raises(NotPermitted, match="one-way mode"):
            await gateway.prepare("BTCUSDT", 1.0)
        return (await gateway.account()).positions

    assert with_gateway(play)["BTCUSDT"] == -10


def test_what_demo_trading_does_not_answer_is_done_without():
    async def play(gateway, exchange, house):
        house.server.faults = Faults(demo=True)
        found = await gateway.instruments(["BTCUSDT"])
        return found["BTCUSDT"], exchange.instruments["BTCUSDT"], await gateway.key_rights()

    found, listed, may = with_gateway(play)
    assert (found.tick_size, found.min_notional) == (listed.tick_size, listed.min_notional)
    assert found.taker_fee == Instrument.model_fields["taker_fee"].default
    assert may is None


def test_a_symbol_that_is_not_traded_is_named():
    async def play(gateway, exchange, house):
        await gateway.instruments(["DOGEUSDT"])

    with pytest.raises(Misconfigured, match="DOGEUSDT"):
        with_gateway(play)


def test_the_candle_that_forms_is_none_of_the_closed_ones():
    """F-29."""

    async def play(gateway, exchange, house):
        start = exchange.now
        for _ in range(3):
            while exchange.step():
                pass
        bars = await gateway.candles("BTCUSDT", start, 1 << 52)
        return start, exchange.now, bars["ts"].tolist(), float(bars["close"][-1]), exchange.books["BTCUSDT"]

    start, now, times, close, book = with_gateway(play)
    assert times == [start, start + 60_000, start + 120_000]
    assert now == start + 180_000
    assert close == float(book.candles.close[book.candles.ts.searchsorted(now) - 1])


def test_f_01_every_state_that_is_documented_is_known_and_a_new_word_is_not_taken_for_a_fill():
    row = {"orderLinkId": "x", "side": "Buy", "orderType": "Limit", "price": "1", "qty": "1", "cumExecQty": "0"}
    of = exchange_for(config()).instruments["BTCUSDT"]
    assert codec.open_order({**row, "orderStatus": "Filled"}, of).state is OrderState.FILLED
    assert codec.open_order({**row, "orderStatus": "SomethingNew"}, of).state is OrderState.UNKNOWN
    for word in ("New", "PartiallyFilled", "Untriggered", "Triggered"):
        assert codec.open_order({**row, "orderStatus": word}, of).state is OrderState.RESTING


def test_f_17_an_order_is_written_in_whole_steps():
    of = exchange_for(config()).instruments["BTCUSDT"]
    written = codec.creation("linear", order(exchange_for(config()), kind=OrderKind.STOP), of)
    assert Decimal(written["qty"]) % of.lot_size == 0
    assert Decimal(written["triggerPrice"]) % of.tick_size == 0
    assert written["triggerDirection"] == 1


def test_exits_go_before_entries_and_questions_when_the_limit_is_near():
    async def play():
        limiter, went = Limiter(5.0), []

        async def one(priority, name):
            await limiter.turn(priority)
            went.append(name)

        await asyncio.gather(*(one(Priority.ASK, "first") for _ in range(5)))
        waiting = [
            one(Priority.ASK, "question"),
            one(Priority.ENTER, "entry"),
            one(Priority.PROTECT, "exit"),
        ]
        await asyncio.gather(*waiting)
        return went[5:]

    assert asyncio.run(play()) == ["exit", "entry", "question"]
