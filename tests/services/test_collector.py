"""What the collector keeps is what the venues traded, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys

import aiohttp
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from backtesting.funding import FundingHistory
from bot.errors import Misconfigured
from services.app.collector import load_collector
from services.market_data.address import address_file
from services.market_data.canonical import Source
from services.market_data.collecting import CollectorSettings
from services.market_data.collector import Collector, read_holes
from services.market_data.collector_metrics import CollectorMetrics
from services.market_data.funding import FundingStore
from services.market_data.raw import RawRows
from services.market_data.reference import ReferenceData
from services.market_data.service import VenueClock
from services.market_data.serving import MinuteServer
from services.market_data.store import SeriesName
from tests.services.venue_market import (
    FAULTS,
    MINUTE,
    START,
    Collection,
    count,
    house_of,
    logged,
    rows_of,
    stored,
    subscriptions,
    until,
)

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def equal_to_the_truth(house, data_dir, minutes, symbols=SYMBOLS):
    for number in house.servers:
        for symbol in symbols:
            assert stored(data_dir, number, symbol) == rows_of(house.truth[number][symbol])[:minutes], (number, symbol)


def test_with_faults_on_canonical_equals_the_truth_and_every_change_is_recorded(tmp_path):
    async def run():
        async with house_of(SYMBOLS, 200, faults=FAULTS | {"silent": ("SOLUSDT",)}) as house:
            async with Collection(house, tmp_path, SYMBOLS, history_days=0) as collection:
                await collection.play(40)
                await collection.drop(1)
                await collection.drop(4)
                await collection.play(110)
                await collection.settle()
                every = [one for market in collection.collector.markets.values() for one in market.series.values()]
                assert [one.holes.holes for one in every] == [[]] * 12
                told = collection.published
            equal_to_the_truth(house, tmp_path, 150)
            assert len({(one.market_id, one.symbol, one.ts) for one in told}) == len(told) == 4 * 3 * 150
            struck = sum(
                (server.teller.struck for server in house.servers.values()),
                start=type(house.servers[1].teller.struck)(),
            )
            assert min(struck[name] for name in FAULTS) > 20, struck
            raw = RawRows(tmp_path)
            revisions = raw.revisions()
            assert len(revisions) == struck["unfinished"]
            assert all(one["decided"] for one in revisions)
            assert all(one["before"][4] * 2 == pytest.approx(one["after"][4]) for one in revisions)
            rows = raw.read()
            assert set(rows["source"]) == {"stream", "rest"}
            assert set(rows.filter(rows["symbol"] == "SOLUSDT")["source"]) == {"rest"}

    asyncio.run(run())


def test_a_collector_that_was_killed_goes_on_where_its_journal_ends(tmp_path):
    """Nothing was put into the store before: all of it is in the journal, and what was missed is asked for."""

    async def run():
        async with house_of(SYMBOLS[:1], 100, faults=FAULTS) as house:
            first = Collection(house, tmp_path, SYMBOLS[:1], save_minutes=1000, history_days=0)
            await first.__aenter__()
            await first.play(30)
            await first.vanish()
            first.collector.raw.close()
            os.close(first.collector._lock)
            journal = next((tmp_path / "raw").glob("*T*.jsonl"))
            with journal.open("ab") as torn:
                torn.write(b'[1, "BTCUSDT", 17040')
            for _ in range(10):
                await house.minute()
            async with Collection(house, tmp_path, SYMBOLS[:1], history_days=1) as second:
                await second.play(20)
                await second.settle()
            told = [(one.market_id, one.ts) for one in second.published]
            assert min(ts for number, ts in told if number == 3) >= START + 25 * MINUTE  # told before, not told again
            equal_to_the_truth(house, tmp_path, 60, SYMBOLS[:1])
            missed = [one.ts for one in second.published if one.market_id == 1 and one.source is Source.REST]
            assert set(range(START + 30 * MINUTE, START + 40 * MINUTE, MINUTE)) <= set(missed)
            revisions = RawRows(tmp_path).revisions()
            assert len({json.dumps(one) for one in revisions}) == len(revisions)

    asyncio.run(run())


def test_hours_that_are_over_are_compacted_and_months_too(tmp_path):
    async def run():
        async with house_of(SYMBOLS[:2], 400, numbers=(1, 4), faults=FAULTS) as house:
            async with Collection(house, tmp_path, SYMBOLS[:2], history_days=0) as collection:
                await collection.play(300)
                await collection.settle()
                names = sorted(path.name for path in (tmp_path / "raw").iterdir())
                assert "2024-01-01.parquet" in names
                assert len([name for name in names if name.endswith(".jsonl") and "T" in name]) <= 2
                rows = collection.collector.raw.read()
            equal_to_the_truth(house, tmp_path, 300, SYMBOLS[:2])
            assert rows.height == sum(collection.collector.received.values())
            raw = RawRows(tmp_path)
            raw.compact(START + 40 * 24 * 60 * MINUTE)
            assert sorted(path.name for path in raw.root.iterdir()) == ["2024-01.parquet", "revisions.jsonl"]
            assert raw.read().sort(rows.columns).equals(rows.sort(rows.columns))

    asyncio.run(run())


def test_a_symbol_that_is_delisted_in_flight_is_one_sentence_and_stays_stored(tmp_path):
    async def run():
        async with house_of(SYMBOLS[:2], 60, numbers=(2,)) as house:
            async with Collection(house, tmp_path, SYMBOLS[:2], history_days=0) as collection:
                await collection.play(10)
                house.servers[2].source.delist("ETHUSDT")
                await collection.play(5)
                market = collection.collector.markets[2]
                assert market.series["ETHUSDT"].holes.missing > 0
                await collection.service.learn(market)
                await collection.settle()
                assert (market.traded, market.series["ETHUSDT"].holes.holes) == (["BTCUSDT"], [])
                await collection.subscribed(2)
                await collection.play(5)
                found = ReferenceData(tmp_path).search("eth/usdt")
                assert found == []
                assert [one.tradable for one in ReferenceData(tmp_path).symbols()] == [True, False]
            assert len(stored(tmp_path, 2, "ETHUSDT")) == 10
            assert len(stored(tmp_path, 2, "BTCUSDT")) == 20
            async with Collection(house, tmp_path, SYMBOLS[:2], history_days=0) as again:  # still in the config
                assert again.collector.markets[2].traded == ["BTCUSDT"]

    with logged() as lines:
        asyncio.run(run())
    assert count(lines, "no_longer_traded") == 1


def test_a_venue_in_maintenance_is_one_sentence_and_what_it_traded_is_asked_for_afterwards(tmp_path):
    async def run():
        async with house_of(SYMBOLS[:1], 60, numbers=(1, 2)) as house:
            house.servers[2].maintenance = True
            collection = Collection(house, tmp_path, SYMBOLS[:1], history_days=1)
            market = collection.collector.markets[2]
            assert not await collection.service.learn(market)
            assert await collection.service.learn(collection.collector.markets[1])
            house.servers[2].maintenance = False
            await collection.__aenter__()
            await collection.play(3)
            house.servers[2].maintenance = True
            house.servers[2].teller.faults.drop = 1.0
            await collection.play(4)
            holes = market.series["BTCUSDT"].holes.holes
            assert "venue unreachable" in {str(one.cause) for one in holes}
            house.servers[2].maintenance = False
            await collection.play(1)
            await collection.settle()
            await collection.__aexit__()
            equal_to_the_truth(house, tmp_path, 8, SYMBOLS[:1])

    with logged() as lines:
        asyncio.run(run())
    assert "binance linear: the venue does not answer" in lines[0]["reason"]
    assert (count(lines, "venue_unreachable"), count(lines, "venue_answers")) == (2, 2)  # each outage is told once


def test_a_full_disk_is_one_sentence_and_what_was_received_meanwhile_is_kept_later(tmp_path):
    async def run():
        async with house_of(SYMBOLS[:2], 90, numbers=(1, 4), faults=FAULTS) as house:
            async with Collection(house, tmp_path, SYMBOLS[:2], save_minutes=5, history_days=0) as collection:
                await collection.play(20)
                journal = max((tmp_path / "raw").glob("*T*.jsonl"), key=lambda path: path.stat().st_mtime)
                before, (soft, hard) = len(collection.published), resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size + 50, hard))
                try:
                    await collection.play(20)
                    assert collection.collector.disk_full
                finally:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
                assert len(collection.published) == before  # nobody is told of what is not kept
                await collection.play(5)
                assert not collection.collector.disk_full
                await collection.settle()
            equal_to_the_truth(house, tmp_path, 45, SYMBOLS[:2])

    with logged() as lines:
        asyncio.run(run())
    assert count(lines, "disk_full") == 1


def test_two_collectors_on_one_store_are_refused(tmp_path):
    async def run():
        async with house_of(SYMBOLS[:1], 5, numbers=(1,)) as house, Collection(house, tmp_path, SYMBOLS[:1]):
            with pytest.raises(Misconfigured, match="is written by another collector; stop that one"):
                Collection(house, tmp_path, SYMBOLS[:1])

    asyncio.run(run())


def test_symbols_by_rule_are_those_traded_most_and_holes_are_listed(tmp_path):
    async def run():
        async with house_of(SYMBOLS, 30, numbers=(1, 3)) as house:
            for _ in range(20):
                await house.minute()
            collection = Collection(house, tmp_path, SYMBOLS[:1], history_days=0)
            rule = {"quote": "USDT", "most": 2}
            collection.collector.close()
            made = CollectorSettings.model_validate(
                {"markets": {"bybit spot": rule, "binance spot": rule}, "data_dir": tmp_path, "history_days": 0}
            )
            collector = Collector(made, collection.feeds.values(), collection.clock)
            for number, market in collector.markets.items():
                await collector.refresh(market)
                turnover = {
                    symbol: sum(row[4] * row[5] for row in rows_of(house.truth[number][symbol])[:20])
                    for symbol in SYMBOLS
                }
                assert market.traded == sorted(sorted(SYMBOLS, key=lambda one: -turnover[one])[:2])
            house.now += 2 * MINUTE
            for market in collector.markets.values():
                for series in market.series.values():
                    series.holes.look(house.now, market.cause)
            collector.close()
            assert {(one["market"], one["cause"], one["minutes"]) for one in read_holes(tmp_path)} == {
                ("binance spot", "stream lost", 1),
                ("bybit spot", "stream lost", 1),
            }
            await collection.vanish()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("markets: {kraken spot: [BTCUSDT]}", "'kraken spot' is no market; choose from binance spot, binance linear"),
        ("markets: {}", "markets is {}"),
        ("markets: {bybit spot: []}", "markets: bybit spot has 0 symbols; give 1 to 1000 of them"),
        (
            "markets: {bybit spot: [BTCUSDT]}\ntrades: {bybit linear: [A]}",
            "trades: bybit linear is not among markets; na",
        ),
        ("markets: {bybit spot: [BTCUSDT]}\nredis: here", "redis is 'here'; give none, embedded"),
        ("markets: {bybit spot: [BTCUSDT]}\nstore: mysql://u:p@h", "store is neither parquet nor an address such as"),
        ("markets: {bybit spot: [BTCUSDT]}\nhistory_days: 99", "history_days is 99"),
        ("markets: {bybit spot: [BTCUSDT]}\nbot: 1", "bot is no known key"),
        ("market: bybit", "markets is missing|market is no known key"),
    ],
)
def test_a_wrong_config_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "collect.yaml"
    path.write_text(text)
    with pytest.raises(Misconfigured, match=sentence) as refusal:
        load_collector(path)
    assert "\n" not in str(refusal.value)


def test_the_command_refuses_an_unknown_symbol_with_code_2_and_names_those_nearby(tmp_path):
    async def run():
        async with house_of(SYMBOLS, 5, numbers=(1,)) as house:
            path = tmp_path / "collect.yaml"
            path.write_text(
                f"data_dir: {tmp_path}/data\nmarkets: {{binance spot: [BTCUSDT, ETHUSD]}}\n"
                f"addresses: {{binance spot: {house.addresses[1]}}}\n"
            )
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", "collect", str(path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            _, said = await asyncio.wait_for(process.communicate(), 60)
            assert process.returncode == 2
            sentence = "error: markets: 'ETHUSD' is not traded on binance spot; did you mean ETHUSDT"
            assert said.decode().splitlines()[-1].startswith(sentence)

    asyncio.run(run())


def minutes_in(folder, market):
    """How many minutes of a market the journals of received rows hold."""
    lines = [line for file in folder.glob("*T*.jsonl") for line in file.read_text().splitlines() if line.endswith("]")]
    return len({row[2] for row in map(json.loads, lines) if row[0] == market})


def test_the_command_collects_until_sigterm_and_leaves_everything_in_the_store(tmp_path):
    async def run():
        async with house_of(SYMBOLS[:2], 60, numbers=(1, 2)) as house:
            for _ in range(30):
                await house.minute()
            path = tmp_path / "collect.yaml"
            path.write_text(
                f"data_dir: {tmp_path}/data\nmarkets: {{binance spot: [BTCUSDT], binance linear: {{most: 1}}}}\n"
                f"addresses: {{binance spot: {house.addresses[1]}, binance linear: {house.addresses[2]}}}\n"
            )
            command = (sys.executable, "-m", "bot", "collect", str(path))
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            try:
                await until(lambda: subscriptions(house, 1) == subscriptions(house, 2) == 1, 60)
                await until(lambda: sum(path == "klines" for path, _ in house.servers[2].asked) >= 2, 60)
                await until(lambda: minutes_in(tmp_path / "data" / "raw", 1) == 30, 60)
                process.terminate()
                said, _ = await asyncio.wait_for(process.communicate(), 60)
            finally:
                if process.returncode is None:
                    process.kill()
            assert process.returncode == 0, said.decode()
            assert '"event": "ended"' in said.decode()
            assert stored(tmp_path / "data", 1, "BTCUSDT") == rows_of(house.truth[1]["BTCUSDT"])[:30]
            assert [path.name for path in (tmp_path / "data" / "candles" / "binance" / "linear").iterdir()] == [
                "BTCUSDT"
            ]
            assert not address_file(tmp_path / "data").exists()

    asyncio.run(run())


def test_metrics_and_minutes_are_answered_on_this_machine(tmp_path):
    async def run():
        async with house_of(SYMBOLS[:1], 30, numbers=(1, 3)) as house:
            async with Collection(house, tmp_path, SYMBOLS[:1], history_days=0) as collection:
                await collection.play(12)
                server = MinuteServer(collection.collector, 0)
                address = await server.start()
                assert json.loads(address_file(tmp_path).read_text()) == {"address": address}
                async with aiohttp.ClientSession() as session:
                    async with session.get(f"{address}/metrics") as answer:
                        told = await answer.text()
                    asked = {"market_id": "1", "symbol": "BTCUSDT", "first": str(START)}
                    whole = {**asked, "after": str(START + 12 * MINUTE)}
                    async with session.get(f"{address}/minutes", params=whole) as answer:
                        assert [tuple(one) for one in await answer.json()] == rows_of(house.truth[1]["BTCUSDT"])[:12]
                    more = {**asked, "after": str(START + 14 * MINUTE)}
                    async with session.get(f"{address}/minutes", params=more) as answer:
                        assert (answer.status, await answer.text()) == (404, "2 minutes are missing")
                await server.stop()
                assert not address_file(tmp_path).exists()
            assert 'traderagent_collector_completeness{market="bybit spot",symbol="BTCUSDT"} 1.0' in told
            assert 'traderagent_collector_lag_seconds{market="binance spot",symbol="BTCUSDT"} 0.0' in told
            assert 'traderagent_collector_rows_total{market="binance spot",source="stream"} 12.0' in told
            assert 'traderagent_collector_stream_up{market="binance spot"} 1.0' in told

    asyncio.run(run())


def shown(collection, name, **labels):
    """A figure of the collector as Prometheus has it; None where it shows none."""
    registry = CollectorRegistry()
    registry.register(CollectorMetrics(collection.collector))
    return registry.get_sample_value(f"traderagent_collector_{name}", labels)


def test_runbook_canonical_does_not_grow(tmp_path):
    """The newest minute stands still: the figures say which of disk, venue and stream it is; then it grows again."""
    market, one = {"market": "binance linear"}, {"market": "binance linear", "symbol": "BTCUSDT"}

    async def run():
        async with (
            house_of(SYMBOLS[:1], 40, numbers=(2,)) as house,
            Collection(house, tmp_path, SYMBOLS[:1], history_days=0) as collection,
        ):
            await collection.play(3)
            stands = shown(collection, "newest_minute_seconds", **one)
            assert stands == (START + 2 * MINUTE) / 1000
            house.servers[2].maintenance, house.servers[2].teller.faults.drop = True, 1.0
            await collection.play(5)
            assert shown(collection, "newest_minute_seconds", **one) == stands
            assert [shown(collection, name, **market) for name in ("reachable", "stream_up")] == [0.0, 1.0]
            assert shown(collection, "disk_full") == 0.0
            assert shown(collection, "missing_minutes", **one, cause="venue unreachable") >= 3
            house.servers[2].maintenance = False
            await collection.settle()
            assert shown(collection, "newest_minute_seconds", **one) == (START + 7 * MINUTE) / 1000
            assert shown(collection, "reachable", **market) == shown(collection, "completeness", **one) == 1.0

    asyncio.run(run())


def test_runbook_lag(tmp_path):
    """A machine whose clock is 20 seconds ahead shows that lag, until its clock is measured against the venue's."""
    one = {"market": "binance spot", "symbol": "BTCUSDT"}

    async def run():
        async with (
            house_of(SYMBOLS[:1], 20, numbers=(1,)) as house,
            Collection(house, tmp_path, SYMBOLS[:1], history_days=0) as collection,
        ):
            feed = collection.feeds[1]
            feed.clock = VenueClock(lambda: house.now + 20_000)
            await collection.play(2)
            assert shown(collection, "lag_seconds", **one) == 20.0
            assert shown(collection, "lag_p99_seconds", market="binance spot") == 20.0
            assert await collection.service.learn(collection.collector.markets[1])
            await collection.play(1)
            assert shown(collection, "lag_seconds", **one) == 0.0

    asyncio.run(run())


def test_runbook_gap(tmp_path):
    """A lost stream leaves a gap, with its cause; what is asked for closes it within a minute of its end."""
    one = {"market": "bybit spot", "symbol": "BTCUSDT"}

    async def run():
        async with (
            house_of(SYMBOLS[:1], 20, numbers=(3,)) as house,
            Collection(house, tmp_path, SYMBOLS[:1], history_days=0) as collection,
        ):
            await collection.play(2)
            market = collection.collector.markets[3]
            for line in collection.lines:
                line.cancel()
            await asyncio.gather(*collection.lines, return_exceptions=True)
            await house.minute()
            house.now += 6000
            market.series["BTCUSDT"].holes.look(house.now, market.cause)
            assert shown(collection, "missing_minutes", **one, cause="stream lost") == 1.0
            assert shown(collection, "stream_up", market="bybit spot") == 0.0
            ended = house.now // MINUTE * MINUTE
            while shown(collection, "completeness", **one) < 1.0:
                await collection.collector.tick()
                assert house.now - ended < 60_000
                house.now += 1000
            assert shown(collection, "missing_minutes", **one, cause="stream lost") is None
            assert market.series["BTCUSDT"].newest == START + 2 * MINUTE

    asyncio.run(run())


def test_venues_that_disagree_are_flagged(tmp_path):
    async def run():
        async with house_of(SYMBOLS[:1], 10, numbers=(1, 2, 3)) as house:
            house.truth[3]["BTCUSDT"].close[4] *= 1.01
            house.truth[3]["BTCUSDT"].high[4] *= 1.01
            async with Collection(house, tmp_path, SYMBOLS[:1], disagreement_bps=50, history_days=0) as collection:
                await collection.play(8)
                (found,) = collection.collector.disagreements
            assert (found.ts, found.market_ids, round(found.bps)) == (START + 4 * MINUTE, (1, 3), 100)

    with logged() as lines:
        asyncio.run(run())
    assert count(lines, "venues_disagree") == 1


def test_funding_is_stored_as_the_venue_settled_it(tmp_path):
    async def run():
        async with house_of(SYMBOLS[:1], 30, numbers=(2,)) as house:
            source = house.servers[2].source
            ts = START + np.arange(0, 3) * 8 * 60 * MINUTE - 16 * 60 * MINUTE
            source.histories["BTCUSDT"] = FundingHistory(ts, np.array([0.0001, -0.0002, 0.0003]))
            async with Collection(house, tmp_path, SYMBOLS[:1], history_days=0):
                held = FundingStore(tmp_path).read(SeriesName("binance", "linear", "BTCUSDT"))
                assert held.ts.tolist() == ts.tolist()
                assert held.rate.tolist() == [0.0001, -0.0002, 0.0003]

    asyncio.run(run())
