"""Public trades are kept once each, whatever the streams do, and what a venue tells no more is said."""

from __future__ import annotations

import asyncio
import os
import resource

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from services.market_data.canonical import Source
from services.market_data.public_trades import CollectedTrades, PublicTrade
from services.market_data.raw import TradeRows
from services.market_data.trades import roll_trades
from services.simulated_market.public_trades import trades_of
from services.simulated_market.told import BarFaults, BarTeller
from tests.services.test_collector import shown
from tests.services.venue_market import BY_ID, MINUTE, START, Collection, count, house_of, logged, rows_of, until

SYMBOLS = ("BTCUSDT", "ETHUSDT")
FAULTS = {"drop": 0.05, "duplicate": 0.1, "late": 0.05}


def trade(number, source=Source.STREAM, now=1000):
    return PublicTrade(1, "BTCUSDT", str(number), number * 10, 1.0, 1.0, 1, now, source)


@given(st.lists(st.integers(0, 30), max_size=60))
def test_each_trade_is_taken_once_and_a_number_left_out_is_noticed(numbers):
    series, known = CollectedTrades("BTCUSDT", numbered=True), []
    for number in numbers:
        assert series.receive(trade(number)) == (number not in known)
        known.append(number)
        left_out = any(two > max(known[: at + 1]) + 1 for at, two in enumerate(known[1:]))
        if any(known[:-1]):
            assert (series.since is not None) == (left_out and _newest_before_gap(known) > 0)


def _newest_before_gap(known):
    """Newest trade before the first number that left others out; 0 where there is none."""
    for at in range(1, len(known)):
        if known[at] > max(known[:at]) + 1 and max(known[:at]) > 0:
            return max(known[:at])
    return 0


def faulty(house, drop):
    for number, server in house.servers.items():
        faults = {**FAULTS, "drop": FAULTS["drop"] if drop and number in (1, 2) else 0.0}
        server.trade_teller = BarTeller(BarFaults(seed=number, **faults))


def truth(house, number, symbol, first, minutes):
    candles = house.truth[number][symbol]
    return [one for index in range(first, minutes) for one in trades_of(candles, index)]


def kept(data_dir, number, symbol):
    rows = TradeRows(data_dir).read()
    return rows.filter((pl.col("market_id") == number) & (pl.col("symbol") == symbol)).sort("ts")


def wanted(house):
    return {str(BY_ID[number]): SYMBOLS for number in house.servers}


def as_told(rows):
    names = ("ts", "price", "quantity", "direction")
    return list(zip(*(rows[name].to_list() for name in names)))


async def caught_up(collection, house, minutes):
    """Let what is missing be asked for, until every trade is there."""
    rows = {(n, s): 0 for n in house.servers for s in SYMBOLS}
    await until(lambda: all(feed._told.empty() for feed in collection.feeds.values()))
    for _ in range(12):
        house.now += 3_000
        await collection.collector.tick()
    house.now = house.now // MINUTE * MINUTE
    return rows


def test_trades_of_four_markets_are_kept_once_each_through_faults_lost_lines_and_a_kill(tmp_path):
    async def run():
        async with house_of(SYMBOLS, 200) as house:
            faulty(house, drop=True)
            given_ = {"trades": wanted(house), "history_days": 0}
            first = Collection(house, tmp_path, SYMBOLS, **given_)
            await first.__aenter__()
            await first.play(30)
            await first.drop(1)
            await first.drop(4)
            await first.play(30)
            await caught_up(first, house, 60)
            assert shown(first, "trade_lag_p99_seconds", market="binance linear") >= 45.0  # of its minute's first trade
            assert shown(first, "trades_again_total", market="bybit spot") > 0
            assert shown(first, "trades_missed_total", market="bybit spot") == 0
            await first.vanish()  # killed
            first.collector.raw.close()
            first.collector.trades.rows.close()
            os.close(first.collector._lock)
            for _ in range(10):  # while nobody collects
                await house.minute()
            async with Collection(house, tmp_path, SYMBOLS, **{**given_, "history_days": 1}) as second:
                await second.play(20)
                await caught_up(second, house, 90)
                second.collector.trades.compact(house.now + 60 * MINUTE)
            for number in house.servers:
                for symbol in SYMBOLS:
                    held = kept(tmp_path, number, symbol)
                    told = [
                        (one.ts, one.price, one.quantity, one.direction) for one in truth(house, number, symbol, 0, 90)
                    ]
                    assert as_told(held) == told, (number, symbol)
                    assert held["id"].n_unique() == held.height
            assert sorted(path.name for path in (tmp_path / "trades").iterdir()) == ["2024-01-01.parquet"]
            bars = roll_trades(kept(tmp_path, 1, "BTCUSDT").rename({"quantity": "qty"}), MINUTE).candles
            assert [one[:5] for one in rows_of(bars)] == [one[:5] for one in rows_of(house.truth[1]["BTCUSDT"])[:89]]

    with logged() as lines:
        asyncio.run(run())
    assert count(lines, "trades_missed") == 0


def test_what_a_venue_tells_no_more_is_one_sentence_and_counted(tmp_path):
    """Bybit's spot tells its newest 60 trades alone: of a longer outage the rest is missing."""

    async def run():
        async with house_of(SYMBOLS, 200, numbers=(3,)) as house:
            async with Collection(house, tmp_path, SYMBOLS, trades=wanted(house), history_days=0) as collection:
                await collection.play(5)
                for line in collection.lines:
                    line.cancel()
                await asyncio.gather(*collection.lines, return_exceptions=True)
                for _ in range(40):
                    await house.minute()
                market = collection.collector.markets[3]
                collection.lines = [asyncio.create_task(collection.service.listen(market))]
                await collection.subscribed(3)
                await caught_up(collection, house, 45)
                assert shown(collection, "trades_missed_total", market="bybit spot") == 2
            for symbol in SYMBOLS:
                numbers = [one.number for one in truth(house, 3, symbol, 0, 5)]
                numbers += [one.number for one in truth(house, 3, symbol, 30, 45)]
                assert [int(one.split("-")[1]) for one in kept(tmp_path, 3, symbol)["id"]] == numbers

    with logged() as lines:
        asyncio.run(run())
    (one, _) = [line for line in lines if line["event"] == "trades_missed"]
    assert (one["first"], one["after"]) == ("2024-01-01T00:04:45Z", "2024-01-01T00:30:00Z")


def test_trades_that_a_full_disk_does_not_take_are_kept_later(tmp_path):
    async def run():
        async with house_of(SYMBOLS, 60, numbers=(1,)) as house:
            async with Collection(house, tmp_path, SYMBOLS, trades=wanted(house), history_days=0) as collection:
                await collection.play(5)
                await caught_up(collection, house, 5)
                size = max(path.stat().st_size for path in tmp_path.rglob("*.jsonl"))
                soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, hard))
                try:
                    await collection.play(5)
                    assert collection.collector.disk_full
                finally:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
                await collection.play(5)
                await caught_up(collection, house, 15)
            for symbol in SYMBOLS:
                numbers = [one.number for one in truth(house, 1, symbol, 0, 15)]
                assert sorted(map(int, kept(tmp_path, 1, symbol)["id"])) == numbers

    asyncio.run(run())


def test_no_trades_are_kept_unless_they_are_wanted(tmp_path):
    async def run():
        async with house_of(SYMBOLS, 20, numbers=(4,)) as house:
            async with Collection(house, tmp_path, SYMBOLS, history_days=0) as collection:
                await collection.play(3)
            assert not (tmp_path / "trades").exists()
            assert house.truth[4]["BTCUSDT"].ts[0] == START

    asyncio.run(run())
