"""Bots of one machine share its collector, and trade on without it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from bot.errors import Misconfigured
from bot.market import Market
from bot.ports import Closed
from services.app.bot import account_of, build_runtime
from services.app.shared_market_data import SharedMarketData
from services.exchanges.registry import BYBIT, factory_of
from services.market_data.address import address_file
from services.market_data.serving import MinuteServer
from services.messaging.bars import BarListener, BarPublisher
from services.messaging.embedded import EmbeddedRedis
from services.runtime.config import Secrets, load_bot
from services.runtime.live import as_live
from tests.services.venue_market import MINUTE, START, Collection, count, house_of, logged, rows_of, until

SYMBOLS = ("BTCUSDT", "ETHUSDT")


@asynccontextmanager
async def machine(data_dir):
    """Bybit's linear market, a Redis, a collector that tells it, and a bot's gateway that shares it."""
    redis = EmbeddedRedis(data_dir / "redis")
    (data_dir / "redis").mkdir()
    async with house_of(SYMBOLS, 60, numbers=(4,)) as house:
        for _ in range(10):
            await house.minute()
        url = await redis.start()
        publisher = BarPublisher(url)
        publisher.start()
        options = {"market": Market.LINEAR, "address": house.addresses[4], "rate": 100_000.0}
        gateway = SharedMarketData(
            factory_of(BYBIT)(key="k", secret="s", **options), BYBIT, Market.LINEAR, data_dir, url
        )
        await gateway.instruments(list(SYMBOLS))
        try:
            async with Collection(house, data_dir, SYMBOLS) as collection:
                collection.collector.publish = lambda one: publisher.publish(4, one.symbol, (one.ts, *one.values))
                server = MinuteServer(collection.collector, 0)
                await server.start()
                await collection.settle()
                collection.redis, collection.server = redis, server
                gateway.publish = lambda symbol, row: publisher.publish(4, symbol, row)
                yield house, collection, gateway
                await server.stop()
        finally:
            await gateway.close()
            await publisher.stop()
            await redis.stop()


def test_a_bot_warms_up_from_the_collector_where_it_is_complete_and_else_from_the_exchange(tmp_path):
    async def run():
        async with machine(tmp_path) as (house, collection, gateway):
            await collection.play(3)
            truth = rows_of(house.truth[4]["BTCUSDT"])
            taken = await gateway.candles("BTCUSDT", START, START + 100 * MINUTE)
            assert [tuple(one) for one in taken.tolist()] == truth[:13]
            assert gateway.answered == {"collector": 1, "exchange": 0}
            house.servers[4].teller.faults.drop = 1.0
            await house.minute()  # which the collector does not hear of, and has not asked for yet
            taken = await gateway.candles("BTCUSDT", START, START + 100 * MINUTE)
            assert [tuple(one) for one in taken.tolist()] == truth[:14]
            assert gateway.answered == {"collector": 1, "exchange": 1}

    asyncio.run(run())


def test_a_bot_asks_the_exchange_when_the_collector_is_gone(tmp_path):
    async def run():
        async with machine(tmp_path) as (house, _, gateway):
            address_file(tmp_path).write_text('{"address": "http://127.0.0.1:9"}')
            taken = await gateway.candles("BTCUSDT", START, START + 100 * MINUTE)
            assert [tuple(one) for one in taken.tolist()] == rows_of(house.truth[4]["BTCUSDT"])[:10]
            assert gateway.answered == {"collector": 0, "exchange": 1}

    asyncio.run(run())


def test_each_closed_bar_is_handed_on_once_whoever_tells_it(tmp_path):
    async def run():
        async with machine(tmp_path) as (house, collection, gateway):
            told, bars = [], []
            listening = asyncio.create_task(gateway.listen(list(SYMBOLS), told.append))
            await gateway.listening()
            lines = house.servers[4].listeners
            await until(lambda: sum(len(one.topics) for one in lines if not one.private) == 4)

            def live():  # the collector's own history is told as well, which a bot passes over
                return [one for one in told if isinstance(one, Closed) and one.ts >= START + 10 * MINUTE]

            async def minute():
                await house.minute()
                await until(lambda: len(live()) == 2 * (len(bars) + 1))
                await until(lambda: collection.collector.markets[4].series["ETHUSDT"].newest == house.now - MINUTE)
                bars.append(house.now)

            for _ in range(2):
                await minute()
            for symbol in SYMBOLS:  # the collector is first for once, and the exchange tells the same
                gateway.publish(symbol, rows_of(house.truth[4][symbol])[12])
            await until(lambda: gateway.told["collector"] >= 2 and len(live()) == 6)
            await house.minute()
            await until(lambda: collection.collector.markets[4].series["ETHUSDT"].newest == house.now - MINUTE)
            bars.append(house.now)
            await minute()
            assert len(live()) == 8
            first = collector_line(house)
            for one in house.servers[4].listeners:  # the exchange tells the bot nothing more
                if not one.private and one is not first:
                    one.topics.clear()
            for _ in range(2):
                await minute()
            closed = live()
            truth = {symbol: rows_of(house.truth[4][symbol])[10:16] for symbol in SYMBOLS}
            for symbol in SYMBOLS:
                own = [one for one in closed if one.symbol == symbol]
                assert [(one.ts, one.open, one.high, one.low, one.close, one.volume) for one in own] == truth[symbol]
            assert gateway.told["collector"] >= 4
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    asyncio.run(run())


def test_while_redis_and_collector_are_away_a_bot_goes_on_with_its_own_stream_and_rest_and_shares_again(tmp_path):
    async def run():
        async with machine(tmp_path) as (house, collection, gateway):
            told = []
            listening = asyncio.create_task(gateway.listen(list(SYMBOLS), told.append))
            await gateway.listening()
            lines = house.servers[4].listeners
            await until(lambda: sum(len(one.topics) for one in lines if not one.private) == 4)
            own = [one for one in lines if not one.private and one is not collector_line(house)]
            topics = {one: set(one.topics) for one in own}

            def of(symbol):
                return [one.ts for one in told if isinstance(one, Closed) and one.symbol == symbol]

            async def minute():
                await house.minute()
                ts = house.now - MINUTE
                await until(lambda: all(ts in of(symbol) for symbol in SYMBOLS), 30)

            def told_by(who, before):
                return gateway.told[who] - before[who]

            await minute()
            await until(lambda: collection.collector.markets[4].series["ETHUSDT"].newest == house.now - MINUTE)
            for one in own:  # the bot's own stream is silent: the collector alone tells
                one.topics.clear()
            before = dict(gateway.told)
            await minute()
            assert (told_by("collector", before), told_by("exchange", before)) == (2, 0)
            await collection.redis.stop()  # and the collector's door closes
            await collection.server.stop()
            for one in own:
                one.topics.update(topics[one])
            before = dict(gateway.told)
            for _ in range(3):
                await minute()
            assert (told_by("collector", before), told_by("exchange", before)) == (0, 6)
            asked = dict(gateway.answered)
            taken = await gateway.candles("BTCUSDT", START, house.now)
            assert [tuple(one) for one in taken.tolist()] == rows_of(house.truth[4]["BTCUSDT"])[:15]
            assert gateway.answered["exchange"] == asked["exchange"] + 1
            await until(lambda: count(lines_, "bars_away") == 1, 30)
            await collection.redis.start()
            await collection.server.start()
            await until(lambda: count(lines_, "bars_back") == 1, 30)
            for one in own:
                one.topics.clear()
            before = dict(gateway.told)
            for _ in range(2):
                await minute()
            assert (told_by("collector", before), told_by("exchange", before)) == (4, 0)
            await gateway.candles("BTCUSDT", START, house.now)
            assert gateway.answered["collector"] == asked["collector"] + 1
            for symbol in SYMBOLS:
                live = [ts for ts in of(symbol) if ts >= START + 10 * MINUTE]
                assert live == list(range(START + 10 * MINUTE, house.now, MINUTE))
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    with logged() as lines_:
        asyncio.run(run())
    assert (count(lines_, "bars_away"), count(lines_, "bars_back")) == (1, 1)  # each told once


def collector_line(house):
    """The socket that the collector listens to: the one that was there first."""
    return next(one for one in house.servers[4].listeners if not one.private)


def test_bars_wait_for_nobody_and_are_told_again_when_redis_is_back(tmp_path):
    async def run():
        publisher, heard = BarPublisher("redis://127.0.0.1:1"), []
        publisher.start()
        publisher.publish(4, "BTCUSDT", (START, 1.0, 1.0, 1.0, 1.0, 1.0))
        await until(lambda: publisher.dropped == 1)
        await publisher.stop()
        redis = EmbeddedRedis(tmp_path)
        url = await redis.start()
        publisher, listener = BarPublisher(url), BarListener(url, 4)
        publisher.start()
        task = asyncio.create_task(listener.listen(lambda *bar: heard.append(bar)))

        async def told():
            publisher.publish(4, "BTCUSDT", (START, 1.0, 2.0, 0.5, 1.5, 1.0))
            publisher.publish(3, "BTCUSDT", (START, 9.0, 9.0, 9.0, 9.0, 9.0))
            await asyncio.sleep(0.01)
            return heard

        for _ in range(500):
            if await told():
                break
        assert set(heard) == {("BTCUSDT", (START, 1.0, 2.0, 0.5, 1.5, 1.0))}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await listener.close()
        await publisher.stop()
        await redis.stop()

    with logged() as lines:
        asyncio.run(run())
    assert count(lines, "bus_away") == 1


SHARED = "strategy: grid\npair: BTCUSDT\nbot: {name: t, market_data: shared, "


def test_where_bots_cannot_share_is_one_sentence(tmp_path):
    path = tmp_path / "bot.yaml"
    path.write_text(SHARED + "environment: testnet}")
    with pytest.raises(Misconfigured, match=r"bot\.market_data is shared, but the testnet has prices of its own"):
        load_bot(path)


def test_a_bot_takes_what_is_shared_where_its_config_says_so(tmp_path):
    async def run():
        for text, kind in ((SHARED, SharedMarketData), (SHARED.replace("shared", "exchange"), None)):
            path = tmp_path / "bot.yaml"
            path.write_text(f"{text}data_dir: {tmp_path}}}")
            settings, config = load_bot(path)
            account = account_of(settings, config, Secrets(key=SecretStr("k"), secret=SecretStr("s")))
            behind = SimpleNamespace(store=None, bus=None, redis=None)
            runtime = build_runtime(settings, as_live(config), account, behind)
            assert isinstance(runtime.gateway, SharedMarketData) == (kind is not None)
            if kind is not None:
                assert (runtime.gateway.market_id, runtime.gateway.data_dir, runtime.gateway.bars) == (
                    4,
                    tmp_path,
                    None,
                )
            await runtime.gateway.close()

    asyncio.run(run())
