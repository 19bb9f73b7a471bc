"""Stock ccxt clients read both simulated exchanges, as if they were the real ones."""

from __future__ import annotations

import asyncio

import ccxt.async_support
import ccxt.pro
import pytest

from services.market_data.canonical import Source
from services.market_data.feed import Feed, FeedLost, FeedUnreachable, NotTraded
from services.market_data.markets import BY_ID
from services.simulated_market.told import BarFaults, BarTeller
from tests.services.venue_market import MINUTE, START, house_of, rows_of, subscriptions, until

SYMBOLS = ("BTCUSDT", "ETHUSDT")
IDS = (1, 2, 3, 4)


def stock(number, address):
    """Ccxt's own client, told nothing but the address."""
    kind = "swap" if number in (2, 4) else "spot"
    if number in (3, 4):
        client = ccxt.pro.bybit(
            {
                "options": {
                    "defaultType": kind,
                    "fetchCurrencies": False,
                    "fetchMarkets": {"types": ["spot" if number == 3 else "linear"]},
                }
            }
        )
        for name in ("spot", "futures", "v2", "public", "private"):
            client.urls["api"][name] = address
        for name in client.urls["api"]["ws"]["public"]:
            client.urls["api"]["ws"]["public"][name] = f"{address.replace('http', 'ws')}/v5/public/{name}"
        return client
    made = ccxt.pro.binance if number == 1 else ccxt.pro.binanceusdm
    types = ["spot"] if number == 1 else ["linear"]
    client = made({"options": {"defaultType": kind, "fetchCurrencies": False, "fetchMarkets": {"types": types}}})
    client.urls["api"] |= {"public": f"{address}/api/v3", "fapiPublic": f"{address}/fapi/v1"}
    socket = address.replace("http", "ws")
    client.urls["api"]["ws"] |= {"spot": f"{socket}/stream/ws", "linear": f"{socket}/ws"}
    return client


@pytest.mark.parametrize("number", IDS)
def test_a_stock_client_reads_markets_candles_tickers_funding_and_streams(number):
    async def run():
        async with house_of(SYMBOLS, 300, numbers=(number,)) as house:
            for _ in range(200):
                await house.minute()
            client = stock(number, house.addresses[number])
            name = "BTC/USDT" if number in (1, 3) else "BTC/USDT:USDT"
            try:
                markets = await client.load_markets()
                assert name in markets
                assert markets[name]["precision"] == pytest.approx(
                    markets[name]["precision"] | {"price": 0.1, "amount": 0.001}
                )
                until_ = {"until": START + 105 * MINUTE - 1}
                rows = await client.fetch_ohlcv(name, "1m", since=START + 5 * MINUTE, limit=100, params=until_)
                assert [tuple(one) for one in rows] == rows_of(house.truth[number]["BTCUSDT"])[5:105]
                tickers = await client.fetch_tickers()
                day = rows_of(house.truth[number]["BTCUSDT"])[:200]
                assert tickers[name]["quoteVolume"] == pytest.approx(sum(one[4] * one[5] for one in day))
                if number in (2, 4):
                    history = await client.fetch_funding_rate_history(name, since=START, limit=10)
                    assert [one["timestamp"] for one in history][:1] == [START]
                watching = asyncio.create_task(client.watch_ohlcv(name, "1m"))
                await until(lambda: subscriptions(house, number) == 1)
                await house.minute()
                told = await asyncio.wait_for(watching, 10)
                assert tuple(told[-1]) == rows_of(house.truth[number]["BTCUSDT"])[200]
            finally:
                await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("number", IDS)
def test_a_feed_tells_closed_minutes_as_the_venue_has_them(number):
    async def run():
        async with house_of(SYMBOLS, 50, numbers=(number,)) as house:
            feed, heard = Feed(BY_ID[number], lambda: house.now, house.addresses[number]), []
            try:
                listed = await feed.listed()
                assert [(one.instrument.symbol, one.base, one.quote, one.tradable) for one in listed] == [
                    ("BTCUSDT", "BTC", "USDT", True),
                    ("ETHUSDT", "ETH", "USDT", True),
                ]
                listening = asyncio.create_task(feed.listen(list(SYMBOLS), heard.append))
                await until(lambda: subscriptions(house, number) == 2)
                for _ in range(3):
                    if number in (1, 2):
                        await house.servers[number].pulse()  # bars that form are no minutes yet
                    await house.minute()
                await until(lambda: len(heard) == 6)
                asked = await feed.minutes("BTCUSDT", START, START + 10 * MINUTE)
                own = [one for one in heard if one.symbol == "BTCUSDT"]
                assert [(one.ts, *one.values) for one in asked] == rows_of(house.truth[number]["BTCUSDT"])[:3]
                assert [(one.ts, *one.values) for one in own] == [(one.ts, *one.values) for one in asked]
                assert {one.source for one in own} == {Source.STREAM}
                with pytest.raises(NotTraded, match="XYZUSDT is not listed"):
                    await feed.minutes("XYZUSDT", START, START + MINUTE)
                house.servers[number].drop()
                with pytest.raises(FeedLost):
                    await asyncio.wait_for(listening, 20)
                again = asyncio.create_task(feed.listen(list(SYMBOLS), heard.append))
                await until(lambda: subscriptions(house, number) == 2)
                await house.minute()
                await until(lambda: len(heard) == 8)
                again.cancel()
                await asyncio.gather(again, return_exceptions=True)
                await until(lambda: subscriptions(house, number) == 0)
            finally:
                await feed.close()

    asyncio.run(run())


@pytest.mark.parametrize("number", [2, 3])
def test_a_venue_in_maintenance_is_one_sentence(number):
    async def run():
        async with house_of(SYMBOLS[:1], 5, numbers=(number,)) as house:
            server = house.servers[number]
            if number == 2:
                server.maintenance = True
            else:
                server.faults.maintenance = True
            feed = Feed(BY_ID[number], lambda: house.now, house.addresses[number])
            try:
                with pytest.raises(FeedUnreachable, match=r"^(binance linear|bybit spot): the venue does not answer"):
                    await feed.listed()
            finally:
                await feed.close()

    asyncio.run(run())


def test_faults_of_bars_happen_as_often_as_asked_and_lose_nothing_else():
    teller = BarTeller(BarFaults(drop=0.1, duplicate=0.1, late=0.1, unfinished=0.1, silent=("S",), seed=3))
    told, lates = [], 0
    for minute in range(1000):
        due = teller.next_minute()
        lates += len(due)
        told += [bar for _, bar in due]
        told += teller.tell("A", minute, -minute)
        assert teller.tell("S", minute, -minute) == []
    assert all(80 <= teller.struck[name] <= 120 for name in ("drop", "late")), teller.struck
    whole = [one for one in told if one >= 0]
    assert len(set(whole)) >= 1000 - teller.struck["drop"] - 4  # late bars of the last minutes are still held
    assert len(told) - len(set(told)) == teller.struck["duplicate"]
    assert lates > 80
    assert whole != sorted(whole)


GARBAGE = ("not json", "[1, 2]", "null", '{"e": "kline", "k": {"x": true}}', '{"e": "kline", "s": "BTCUSDT"}')
BYBIT_GARBAGE = ("not json", "[1, 2]", '{"topic": "kline.1.BTCUSDT"}', '{"topic": "kline.1.BTCUSDT", "data": [{}]}')


@pytest.mark.parametrize(("number", "garbage"), [(1, GARBAGE), (2, GARBAGE), (3, BYBIT_GARBAGE), (4, BYBIT_GARBAGE)])
def test_a_message_that_cannot_be_read_ends_no_stream(number, garbage):
    async def run():
        async with house_of(SYMBOLS[:1], 10, numbers=(number,)) as house:
            feed, heard = Feed(BY_ID[number], lambda: house.now, house.addresses[number]), []
            try:
                await feed.listed()
                listening = asyncio.create_task(feed.listen(list(SYMBOLS[:1]), heard.append))
                await until(lambda: subscriptions(house, number) == 1)
                server = house.servers[number]
                for text in garbage:
                    for line in server.subscribers if number in (1, 2) else server.listeners:
                        await line.socket.send_str(text)
                await house.minute()
                await until(lambda: len(heard) == 1)
                assert feed.unread >= 2
                assert not listening.done()
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
            finally:
                await feed.close()

    asyncio.run(run())


def test_a_fault_of_whoever_listens_is_not_taken_for_a_lost_stream():
    async def run():
        async with house_of(SYMBOLS[:1], 10, numbers=(1,)) as house:
            feed = Feed(BY_ID[1], lambda: house.now, house.addresses[1])

            def stumble(_):
                raise KeyError("a mistake")

            try:
                await feed.listed()
                listening = asyncio.create_task(feed.listen(list(SYMBOLS[:1]), stumble))
                await until(lambda: subscriptions(house, 1) == 1)
                await house.minute()
                with pytest.raises(KeyError, match="a mistake"):
                    await asyncio.wait_for(listening, 10)
            finally:
                await feed.close()

    asyncio.run(run())
