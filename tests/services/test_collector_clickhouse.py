"""A collector whose store is ClickHouse keeps the same minutes, and loses nothing while that is away."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from services.market_data.canonical import Receipt, Source
from services.market_data.clickhouse_store import ClickHouseStore
from services.market_data.markets import BY_ID
from services.market_data.raw import RawRows
from services.market_data.store import CandleStore, SeriesName
from tests.conftest import walk
from tests.services.clickhouse_house import clickhouse_at
from tests.services.test_collector import shown
from tests.services.venue_market import FAULTS, MINUTE, START, Collection, count, house_of, logged, rows_of

SYMBOLS = ("BTCUSDT", "ETHUSDT")

pytestmark = pytest.mark.slow


def equal_to_the_truth(house, store, minutes):
    for number in house.servers:
        for symbol in SYMBOLS:
            held = store.read(SeriesName(BY_ID[number].exchange, str(BY_ID[number].market), symbol))
            assert rows_of(held) == rows_of(house.truth[number][symbol])[:minutes], (number, symbol)


def test_with_faults_on_canonical_equals_the_truth_and_every_row_is_there(tmp_path):
    async def run(address):
        async with house_of(SYMBOLS, 120, faults=FAULTS) as house:
            store = ClickHouseStore(address, lambda: house.now)
            async with Collection(house, tmp_path, SYMBOLS, save_minutes=5, store=store, history_days=0) as collection:
                await collection.play(80)
                await collection.drop(1)
                await collection.play(20)
                await collection.settle()
            equal_to_the_truth(house, store, 100)
            rows = RawRows(tmp_path).read()
            told = sum(
                store.received(series).select("ts", "received_ms", "source", "close", "volume").height
                for series in store.series()
            )
            names = ("market_id", "symbol", "ts", "open", "high", "low", "close", "volume", "received_ms", "source")
            assert told == rows.unique(list(names)).height > 4 * 2 * 100
            again = ClickHouseStore(address, lambda: house.now)
            async with Collection(house, tmp_path, SYMBOLS, store=again, history_days=1) as second:
                await second.play(3)
                await second.settle()
                assert min(one.ts for one in second.published) >= START + 100 * MINUTE  # what is stored is not told
            equal_to_the_truth(house, store, 103)
            store.close()

    with clickhouse_at(tmp_path / "clickhouse") as (_, address):
        asyncio.run(run(address))


def test_candles_are_fetched_from_it_into_the_data_directory(tmp_path):
    asked = ("data", "fetch", "--symbol", "BTCUSDT", "--from", "2024-01-11", "--to", "2025-01-01")

    def fetch(address):
        around = os.environ | {"TRADERAGENT_DATA_DIR": str(tmp_path / "data"), "TRADERAGENT_CANDLES": address}
        return subprocess.run(
            (sys.executable, "-m", "bot", *asked), env=around, capture_output=True, text=True, check=False
        )

    with clickhouse_at(tmp_path / "clickhouse") as (_, address):
        candles = walk(200 * 1440, seed=1)
        ClickHouseStore(address, lambda: START).write("bybit", "linear", "BTCUSDT", candles)
        for new in (190 * 1440, 0):
            said = fetch(address).stdout.splitlines()[-1]
            assert said == f"BTCUSDT: {190 * 1440} 1m bars of which {new} are new (bybit linear)"
    held = CandleStore(tmp_path / "data").read(SeriesName("bybit", "linear", "BTCUSDT"))
    assert rows_of(held) == rows_of(candles)[10 * 1440 :]
    refused = fetch("mysql://me:hush@host")
    assert refused.returncode == 2
    assert "TRADERAGENT_CANDLES is not set to an address such as clickhouse://" in refused.stderr
    assert "hush" not in refused.stderr
    away = fetch(address.replace("127.0.0.1", "me:hush@127.0.0.1"))
    assert away.returncode == 2
    assert away.stderr.splitlines()[-1].startswith("error: ClickHouse at 127.0.0.1:")
    assert "hush" not in away.stderr


def test_while_clickhouse_is_away_rows_wait_and_bots_are_told_all_the_same(tmp_path):
    """The server is killed, the collector too; both come back, and every minute is stored."""

    async def run():
        async with house_of(SYMBOLS, 120, numbers=(1, 4), faults=FAULTS) as house:
            with clickhouse_at(tmp_path / "clickhouse") as (server, address):
                store, port = ClickHouseStore(address, lambda: house.now), int(address.split(":")[2].split("/")[0])
                first = Collection(house, tmp_path / "data", SYMBOLS, save_minutes=3, store=store, history_days=0)
                await first.__aenter__()
                await first.play(20)
                server.kill()
                server.wait()
                await first.play(20)
                await first.settle()
                assert shown(first, "store_reachable") == 0.0
                assert shown(first, "disk_full") == 0.0
                assert len(first.published) == 2 * 2 * 40
                first.collector.close()  # which says nothing more, and leaves what is not stored in the journal
                await first.vanish()
            with clickhouse_at(tmp_path / "clickhouse", port):
                again = ClickHouseStore(address, lambda: house.now)
                async with Collection(house, tmp_path / "data", SYMBOLS, store=again, history_days=1) as second:
                    await second.play(5)
                    await second.settle()
                    assert shown(second, "store_reachable") == 1.0
                equal_to_the_truth(house, again, 45)

    with logged() as lines:
        asyncio.run(run())
    assert count(lines, "store_unreachable") == 1


def test_a_store_that_is_away_for_a_while_is_asked_again_and_told_once(tmp_path):
    async def run():
        async with house_of(SYMBOLS, 120, numbers=(1,), faults=FAULTS) as house:
            with clickhouse_at(tmp_path / "clickhouse") as (server, address):
                store, port = ClickHouseStore(address, lambda: house.now), int(address.split(":")[2].split("/")[0])
                async with Collection(house, tmp_path / "data", SYMBOLS, 3, store, history_days=0) as collection:
                    await collection.play(20)
                    series = collection.collector.markets[1].series["BTCUSDT"]
                    collection.collector.save(everything=True)
                    series.minutes.forget(house.now)
                    server.kill()
                    server.wait()
                    first = rows_of(house.truth[1]["BTCUSDT"])[0]
                    late = Receipt.of(1, "BTCUSDT", (*first[:5], first[5] * 2), house.now, Source.REST)
                    collection.collector.hear(late)  # of a day that cannot be read back now
                    await collection.play(20)
                    await collection.settle()
                    assert len(collection.published) == 2 * 40  # which no other minute waits for
                    with clickhouse_at(tmp_path / "clickhouse", port):
                        await collection.play(20)
                        await collection.settle()
                        assert shown(collection, "store_reachable") == 1.0
                        collection.collector.save(everything=True)
                        held = store.read(SeriesName("binance", "spot", "BTCUSDT"))
                        assert rows_of(held)[0] == (*first[:5], first[5] * 2)
                        collection.collector.hear(replace(late, volume=first[5], received_ms=house.now))
                        collection.collector.save(everything=True)
                        equal_to_the_truth(house, store, 60)
                    collection.collector.store.close()

    with logged() as lines:
        asyncio.run(run())
    assert count(lines, "store_answers") == 1
    assert count(lines, "no_longer_traded") == 0
