"""The collector over days of a market, and killed at any moment."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import time

import numpy as np
import psutil
import pytest

from services.market_data.collecting import CollectorSettings
from services.market_data.collector import Collector
from services.market_data.feed import Feed
from services.market_data.markets import BY_ID
from services.market_data.raw import RawRows
from services.market_data.service import CollectorService
from tests.services.venue_market import FAULTS, MINUTE, Collection, house_of, rows_of, stored, subscriptions, until

DAYS = 2 * 24 * 60
SYMBOLS = int(os.environ.get("COLLECTOR_SYMBOLS", "8"))  # of each market


@pytest.mark.slow
def test_two_days_of_four_markets_with_faults_on_are_kept_minute_for_minute(tmp_path):
    symbols = tuple(f"S{number:02d}USDT" for number in range(SYMBOLS))

    async def run():
        rss = {}
        async with house_of(symbols, DAYS + 1, faults=FAULTS | {"silent": symbols[-1:]}) as house:
            async with Collection(house, tmp_path, symbols, save_minutes=120, history_days=0) as collection:
                for minute in range(DAYS):
                    await collection.play()
                    if minute % 500 == 250:
                        await collection.drop(minute // 500 % 4 + 1)
                    if minute in (DAYS // 3, DAYS - 1):
                        gc.collect()
                        rss[minute] = psutil.Process().memory_info().rss
                await collection.settle()
                every = [one for market in collection.collector.markets.values() for one in market.series.values()]
                assert [one.holes.holes for one in every] == [[]] * len(every)
                assert max(len(one.minutes.held) for one in every) <= 3 * 60 + 2 * 120
                published = collection.published
            told = {(one.market_id, one.symbol, one.ts) for one in published}
            assert len(told) == len(published) == 4 * len(symbols) * DAYS
            for number in house.servers:
                for symbol in symbols:
                    assert stored(tmp_path, number, symbol) == rows_of(house.truth[number][symbol])[:DAYS], symbol
            unfinished = sum(server.teller.struck["unfinished"] for server in house.servers.values())
            assert len(RawRows(tmp_path).revisions()) == unfinished > 1000
            first, last = rss.values()
            print(f"rss {first / 2**20:.0f} MB after {DAYS // 3} minutes, {last / 2**20:.0f} MB after {DAYS}")  # noqa: T201
            held = sys.getsizeof(published[0]) + 6 * 24  # what this test itself keeps of every minute
            assert last - first < len(published) * held + 60 * 2**20

    asyncio.run(run())


@pytest.mark.slow
def test_killed_at_any_moment_it_loses_at_most_the_last_minute_and_fills_the_gap(tmp_path):
    symbols, chance = ("BTCUSDT", "ETHUSDT"), random.Random(5)

    async def run():
        async with house_of(symbols, 400) as house:
            given = {"data_dir": str(tmp_path), "symbols": symbols, "addresses": house.addresses}
            played = 0
            for _ in range(12):
                command = (sys.executable, "-m", "tests.services.collector_child", json.dumps(given))
                child = await asyncio.create_subprocess_exec(*command)
                try:
                    await until(lambda: all(subscriptions(house, number) == 2 for number in house.servers), 60)
                    for _ in range(chance.randint(2, 12)):
                        await house.minute()
                        played += 1
                        last = house.now - MINUTE
                        wanted = {(number, one, last) for number in house.servers for one in symbols}
                        await until(lambda wanted=wanted: wanted <= kept(tmp_path), 30)
                    await house.minute()
                    played += 1
                    for _ in range(chance.randint(0, 30)):
                        await asyncio.sleep(0)  # some of the minute's bars are on their way, some are not
                finally:
                    child.kill()
                    await child.wait()
                await until(lambda: all(subscriptions(house, number) == 0 for number in house.servers))
                lost = {(number, one, house.now - MINUTE) for number in house.servers for one in symbols}
                first = house.now - MINUTE * 3  # the minutes just before the kill
                recent = {(n, s, ts) for n in house.servers for s in symbols for ts in range(first, house.now, MINUTE)}
                assert recent - kept(tmp_path) <= lost
                for _ in range(chance.randint(0, 5)):  # while nobody collects
                    await house.minute()
                    played += 1
            async with Collection(house, tmp_path, symbols, history_days=1) as collection:
                await collection.play()
                await collection.settle()
            for number in house.servers:
                for symbol in symbols:
                    assert stored(tmp_path, number, symbol) == rows_of(house.truth[number][symbol])[: played + 1]

    asyncio.run(run())


@pytest.mark.slow
def test_300_symbols_at_real_speed_take_less_than_a_quarter_of_a_core_and_come_in_time(tmp_path):
    symbols = tuple(f"S{number:03d}USDT" for number in range(150))

    async def run():
        command = (sys.executable, "-m", "tests.services.market_child", json.dumps(symbols))
        child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            addresses = json.loads(await child.stdout.readline())
            names = {str(BY_ID[int(number)]): symbols for number in addresses}
            made = CollectorSettings.model_validate({"markets": names, "data_dir": tmp_path, "history_days": 0})
            feeds = [Feed(BY_ID[int(number)], wall, address) for number, address in addresses.items()]
            collector = Collector(made, feeds, wall)
            service = asyncio.create_task(CollectorService(collector).run())
            await until(lambda: all(one.listening for one in collector.markets.values()), 60)
            process, began = psutil.Process(), time.monotonic()
            before = process.cpu_times()
            while any(len(one) < 150 for one in collector.lags_ms.values()) or time.monotonic() - began < 70:  # noqa: ASYNC110
                await asyncio.sleep(1)
            after, seconds = process.cpu_times(), time.monotonic() - began
            used = (after.user + after.system - before.user - before.system) / seconds
            lags = [np.percentile(collector.lags_ms[number], 99) / 1000 for number in (1, 2)]
            print(f"{used:.1%} of a core, lag p99 {lags[0]:.2f} s and {lags[1]:.2f} s, {seconds:.0f} s")  # noqa: T201
            service.cancel()
            await asyncio.gather(service, return_exceptions=True)
            collector.close()
            for feed in feeds:
                await feed.close()
            assert used < 0.25
            assert max(lags) < 2.0
        finally:
            child.kill()
            await child.wait()

    asyncio.run(run())


def wall():
    return int(time.time() * 1000)


def kept(data_dir):
    """Market id, symbol and minute of every row of the journals, whole lines alone."""
    found = set()
    for path in (data_dir / "raw").glob("*T*.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            number, symbol, ts, *_ = json.loads(line)
            found.add((number, symbol, ts))
    return found
