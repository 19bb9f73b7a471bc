"""What the collector keeps is what the venues traded, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json

import pytest

from bot.errors import Misconfigured
from services.market_data.canonical import Source
from services.market_data.collector import holes_file
from services.market_data.raw import RawRows
from services.market_data.reference import ReferenceData
from tests.services.venue_market import FAULTS, MINUTE, START, Collection, house_of, rows_of, stored, until

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
                collector = collection.collector
                assert [one.holes.holes for market in collector.markets.values() for one in market.series.values()] == [[]] * 12
                told = collection.published
            equal_to_the_truth(house, tmp_path, 150)
            assert len({(one.market_id, one.symbol, one.ts) for one in told}) == len(told) == 4 * 3 * 150
            struck = sum((server.teller.struck for server in house.servers.values()), start=type(house.servers[1].teller.struck)())
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
            journal = next((tmp_path / "raw").glob("*T*.jsonl"))
            with journal.open("ab") as torn:
                torn.write(b'[1, "BTCUSDT", 17040')
            import os

            os.close(first.collector._lock)
            for _ in range(10):
                await house.minute()
            async with Collection(house, tmp_path, SYMBOLS[:1], history_days=1) as second:
                known = [(one.market_id, one.ts) for one in second.published]
                assert known == []  # what was told before is not told again
                await second.play(20)
                await second.settle()
            equal_to_the_truth(house, tmp_path, 60, SYMBOLS[:1])
            missed = [one.ts for one in second.published if one.market_id == 1 and one.source is Source.REST]
            assert set(range(START + 30 * MINUTE, START + 40 * MINUTE, MINUTE)) <= set(missed)
            revisions = RawRows(tmp_path).revisions()
            assert len({json.dumps(one) for one in revisions}) == len(revisions)

    asyncio.run(run())
