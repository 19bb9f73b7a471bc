"""What every store of candles does, whether it is made of Parquet files or of ClickHouse's tables."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import BadCandles, Misconfigured
from services.market_data.canonical import CanonicalMinutes, Receipt, Source
from services.market_data.clickhouse_store import ClickHouseStore
from services.market_data.store import CandleStore, Difference, SeriesName, StoreUnreachable
from tests.conftest import START, bars, walk
from tests.services.clickhouse_house import clickhouse_at

MINUTE = 60_000
BTC = SeriesName("bybit", "linear", "BTCUSDT", "1m")
PLACE = ("bybit", "linear", "BTCUSDT")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with clickhouse_at(tmp_path_factory.mktemp("clickhouse")) as (_, address):
        yield address


class Now:
    """A clock that stands."""

    ms = START

    def __call__(self):
        return self.ms


@pytest.fixture(params=["parquet", pytest.param("clickhouse", marks=pytest.mark.slow)])
def store(request, tmp_path):
    if request.param == "parquet":
        yield CandleStore(tmp_path)
        return
    made = ClickHouseStore(f"{request.getfixturevalue('server')}_{abs(hash(request.node.name))}", Now())
    yield made
    made.close()


def receipt(minute, close, received, source=Source.STREAM):
    return Receipt(4, "BTCUSDT", START + minute * MINUTE, close, close, close, close, 1.0, received, source)


def test_what_is_written_is_read_back_over_months_and_years(store):
    candles = walk(45 * 1440, seed=1)
    candles = replace(candles, ts=candles.ts - 30 * 1440 * MINUTE)
    series, new = store.write(*PLACE, candles)
    assert (series, new) == (BTC, len(candles))
    assert store.read(series).snapshot() == candles.snapshot()
    start, end = int(candles.ts[20_000]), int(candles.ts[50_000])
    assert store.read(series, start, end).snapshot() == candles.rows(slice(20_000, 50_000)).snapshot()
    assert len(store.read(series, end + 10**12)) == 0
    assert store.end(series) == int(candles.ts[-1]) + MINUTE
    covered = store.coverage(series)
    assert (covered.first, covered.last, covered.bars) == (int(candles.ts[0]), int(candles.ts[-1]), len(candles))


def test_pieces_in_any_order_merge_into_one(store):
    candles, held = walk(300, seed=2), set()
    for first, length in ((100, 60), (10, 2), (90, 30), (250, 50), (0, 300)):
        piece = candles.rows(slice(first, first + length))
        _, new = store.write(*PLACE, piece)
        assert new == len(set(piece.ts.tolist()) - held)
        held |= set(piece.ts.tolist())
        assert store.read(BTC).ts.tolist() == sorted(held)
    assert store.read(BTC).snapshot() == candles.snapshot()


def test_new_values_of_a_bar_win_even_in_the_same_millisecond(store):
    for high in (2, 9, 5):
        store.write(*PLACE, bars((1, 2, 1, 2), (2, high, 2, min(9, high))))
    assert store.read(BTC).close.tolist() == [2.0, 5.0]


def test_new_equal_and_changed_bars_are_told_apart(store):
    candles = walk(60)
    assert store.difference(*PLACE, candles) == Difference(60, 0, 0)
    store.write(*PLACE, candles.rows(slice(0, 40)))
    volume = candles.volume.copy()
    volume[30] += 1.0
    told = store.difference(*PLACE, replace(candles, volume=volume))
    assert told == Difference(20, 39, 1, int(candles.ts[30]))


def test_what_is_stored_is_listed_in_order_and_the_finest_is_found(store):
    candles = walk(600)
    hours = bars((1, 2, 1, 2), (2, 3, 2, 3))
    hours = replace(hours, ts=START + np.arange(2) * 60 * MINUTE, bar_ms=60 * MINUTE)
    for place, what in ((("bybit", "spot", "ETHUSDT"), hours), (PLACE, candles), (PLACE, hours)):
        store.write(*place, what)
    hour = SeriesName(*PLACE, "1h")
    assert store.series() == [hour, BTC, SeriesName("bybit", "spot", "ETHUSDT", "1h")]
    assert store.finest(*PLACE) == BTC
    assert store.holds(hour)
    assert not store.holds(SeriesName("binance", "linear", "BTCUSDT"))


def test_what_cannot_be_stored_or_found_is_one_sentence(store):
    faulty = replace(walk(5), high=np.zeros(5))
    with pytest.raises(BadCandles, match="row 0"):
        store.write(*PLACE, faulty)
    with pytest.raises(Misconfigured, match=r"pair BTCUSDT has no candles for bybit linear; import or download them"):
        store.read(BTC)
    days = replace(bars((1, 2, 1, 2), (2, 3, 2, 3)), ts=START + np.arange(2) * 1440 * MINUTE, bar_ms=1440 * MINUTE)
    store.write(*PLACE, days)
    with pytest.raises(Misconfigured, match="these bars begin at 08:00 UTC and those stored at 00:00"):
        store.write(*PLACE, replace(days, ts=days.ts + 8 * 60 * MINUTE))
    with pytest.raises(Misconfigured, match=r"choose one of: BTCUSDT \(bybit linear\)"):
        store.end(BTC)


RECEIPTS = st.lists(
    st.builds(receipt, st.integers(0, 6), st.sampled_from([100.0, 101.0, 102.0]), st.integers(0, 9)), max_size=30
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=RECEIPTS, batch=st.integers(1, 7))
def test_what_a_collector_keeps_is_canonical_by_its_rule(store, told, batch):
    """Rows are kept in batches, some again, and the minutes are those of the rule."""
    series = SeriesName("bybit", "linear", f"P{abs(hash((tuple(told), batch)))}")
    core = CanonicalMinutes()
    for first in range(0, len(told), batch):
        rows = told[first : first + batch]
        for one in rows:
            core.receive(one)
        unsaved = core.take_unsaved()
        for _ in range(2):  # the second time as after a kill before the first was noted
            store.keep(series, unsaved, rows)
        core.saved(unsaved)
    if told:
        held = store.read(series)
        found = zip(held.ts.tolist(), held.open, held.high, held.low, held.close, held.volume)
        assert [tuple(map(float, one)) for one in found] == [(ts, *one.values) for ts, one in sorted(core.held.items())]


@pytest.mark.slow
def test_clickhouse_has_every_row_once_as_it_was_received_and_faulty_ones_stay_raw(server):
    store = ClickHouseStore(server + "_rows", Now())
    told = [receipt(0, 100.0, 5), receipt(0, 101.0, 7, Source.REST), receipt(0, 101.0, 9), receipt(1, 100.0, 9)]
    bad = [
        replace(receipt(2, 100.0, 3), high=99.0),
        replace(receipt(2, 100.0, 3), close=math.nan),
        replace(receipt(2, 100.0, 3), ts=START + 2 * MINUTE + 1),
    ]
    store.keep(BTC, [], [*told, *bad])
    store.keep(BTC, [], told)
    found = store.received(BTC)
    assert found.height == len(told) + len(bad)
    first = found.filter(found["ts"] == START)
    assert list(zip(first["close"], first["received_ms"], first["source"])) == [
        (100.0, 5, "stream"),
        (101.0, 7, "rest"),
        (101.0, 9, "stream"),
    ]
    assert store.read(BTC).ts.tolist() == [START, START + MINUTE]
    store.close()


@pytest.mark.slow
def test_a_write_after_a_clock_that_was_ahead_still_wins(server):
    store = ClickHouseStore(server + "_ahead", Now())
    store.keep(BTC, [], [receipt(0, 100.0, START + 10**9), receipt(1, 100.0, START + 10**9)])
    store.write(*PLACE, bars((1, 2, 1, 2), (2, 3, 2, 3)))
    assert store.read(BTC).close.tolist() == [2.0, 3.0]
    store.close()


@pytest.mark.slow
def test_a_server_that_does_not_answer_or_refuses_is_one_sentence_without_the_password(server):
    pytest.importorskip("clickhouse_connect")
    for address, reason in (
        ("clickhouse://me:hush@127.0.0.1:9/candles", "127.0.0.1:9 does not answer"),
        (server.replace("127.0.0.1", "default:wrong@127.0.0.1"), "Authentication failed"),
    ):
        with pytest.raises(StoreUnreachable, match=reason) as refusal:
            ClickHouseStore(address, Now())
        assert "\n" not in str(refusal.value)
        assert "hush" not in str(refusal.value)
        assert "wrong" not in str(refusal.value)


@pytest.mark.parametrize(
    "address",
    ["clickhouse://me:hush@", "clickhouse://me:hush@host:x/a", "clickhouse://me:hush@host/a;b", "clickhouse://[hush"],
)
def test_an_address_that_is_none_is_one_sentence_without_the_password(address):
    with pytest.raises(Misconfigured, match="store is no address of ClickHouse; write clickhouse://") as refusal:
        ClickHouseStore(address, Now())
    assert "hush" not in str(refusal.value)
