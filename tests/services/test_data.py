"""Store, importer and generator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.candle_checks import check
from bot.candles import COLUMNS, bar_name
from bot.errors import BadCandles, Misconfigured
from services.market_data.store import CandleStore, Difference, SeriesName, bar_length_of
from services.market_data.synth import REGIMES, generate, regime_schedule
from tests.conftest import START, bars, walk

DAYS_45 = 45 * 1440
BTC = SeriesName("bybit", "linear", "BTCUSDT", "1m")


@pytest.fixture
def store(tmp_path):
    return CandleStore(tmp_path)


def test_what_is_written_is_read_back_over_months(store):
    candles = walk(DAYS_45, seed=1)
    series, new = store.write("bybit", "linear", "BTCUSDT", candles)
    assert (series, new) == (BTC, DAYS_45)
    assert store.read(series).snapshot() == candles.snapshot()
    assert sorted(path.name for path in store.root.rglob("*.parquet")) == ["2024-01.parquet", "2024-02.parquet"]
    start, end = int(candles.ts[20_000]), int(candles.ts[50_000])
    assert store.read(series, start, end).snapshot() == candles.rows(slice(20_000, 50_000)).snapshot()


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.tuples(st.integers(0, 290), st.integers(1, 60)), min_size=1, max_size=6))
def test_pieces_in_any_order_merge_into_one(tmp_path_factory, pieces):
    store, candles = CandleStore(tmp_path_factory.mktemp("store")), walk(300, seed=2)
    held: set[int] = set()
    for first, length in pieces:
        piece = candles.rows(slice(first, first + length))
        if len(piece) == 1:
            piece = type(candles)(*(getattr(piece, name) for name in COLUMNS), candles.bar_ms)
        _, new = store.write("bybit", "linear", "BTCUSDT", piece)
        assert new == len(set(piece.ts.tolist()) - held)
        held |= set(piece.ts.tolist())
    assert store.read(BTC).ts.tolist() == sorted(held)


def test_new_values_of_a_bar_win(store):
    store.write("bybit", "linear", "BTCUSDT", bars((1, 2, 1, 2), (2, 3, 2, 3)))
    _, new = store.write("bybit", "linear", "BTCUSDT", bars((1, 2, 1, 2), (2, 9, 2, 9)))
    assert new == 0
    assert store.read(BTC).close.tolist() == [2.0, 9.0]


def test_new_equal_and_changed_bars_are_told_apart(store):
    assert store.difference("bybit", "linear", "BTCUSDT", bars((1, 2, 1, 2))) == Difference(1, 0, 0)
    store.write("bybit", "linear", "BTCUSDT", bars((1, 2, 1, 2), (2, 3, 2, 3)))
    other = bars((1, 2, 1, 2), (2, 9, 2, 3), (3, 4, 3, 4))
    assert store.difference("bybit", "linear", "BTCUSDT", other) == Difference(1, 1, 1, START + 60_000)
    assert store.read(BTC).high.tolist() == [2.0, 3.0]


def test_days_that_begin_at_another_hour_are_no_bars_of_the_same_series(store):
    days = bars((1, 2, 1, 2), (2, 3, 2, 3), minute=1440)
    store.write("okx", "spot", "BTCUSDT", days)
    with pytest.raises(Misconfigured, match=r"begin at 16:00 UTC and those stored at 00:00"):
        store.write("okx", "spot", "BTCUSDT", replace(days, ts=days.ts + 16 * 3_600_000))


def test_faulty_candles_are_not_stored(store):
    with pytest.raises(BadCandles):
        store.write("bybit", "linear", "BTCUSDT", bars((1, 2, 1, 5), (2, 3, 2, 3)))
    assert store.series() == []


def test_f54_names_are_matched_whole(store):
    store.write("bybit", "linear", "BTCUSDT", bars((1, 2, 1, 2), (2, 3, 2, 3), minute=15))
    store.write("bybit", "linear", "BTCUSDT", bars((1, 2, 1, 2), (2, 3, 2, 3), minute=5))
    folder = store.root / "bybit" / "linear" / "BTCUSDT" / "5m"
    (folder / "2024-01.parquet.partial").write_text("left over")
    (folder / "x2024-01.parquet").write_text("a stranger")
    assert [series.bar for series in store.series()] == ["15m", "5m"]
    assert store.finest("bybit", "linear", "BTCUSDT").bar == "5m"
    assert len(store.read(SeriesName("bybit", "linear", "BTCUSDT", "5m"))) == 2


@pytest.mark.parametrize("name", ["1m", "5m", "15m", "1h", "4h", "8h", "1d", "3d", "1w", "5s"])
def test_bar_names_and_lengths_agree(name):
    assert bar_name(bar_length_of(name)) == name


def test_a_name_cannot_leave_the_store():
    with pytest.raises(Misconfigured, match="symbol"):
        SeriesName("bybit", "linear", "../../etc")


def test_an_unknown_pair_is_told_what_there_is(store):
    store.write("bybit", "linear", "ETHUSDT", walk(10))
    with pytest.raises(Misconfigured, match=r"BTCUSDT has no candles .* ETHUSDT \(bybit linear\)"):
        store.read(BTC)


# Generator.


def test_family_10_the_same_seed_gives_the_same_market():
    one, two = (generate(["BTCUSDT", "ETHUSDT"], 3, 7) for _ in range(2))
    assert [c.snapshot() for c in one.values()] == [c.snapshot() for c in two.values()]
    assert generate(["BTCUSDT"], 3, 8)["BTCUSDT"].snapshot() != one["BTCUSDT"].snapshot()


def test_a_longer_market_begins_like_a_shorter_one_and_pairs_do_not_depend_on_each_other():
    short, long = generate(["ETHUSDT"], 2, 7)["ETHUSDT"], generate(["BTCUSDT", "ETHUSDT"], 5, 7)["ETHUSDT"]
    np.testing.assert_array_equal(short.close, long.close[: 2 * 1440])


def test_generated_candles_are_sound_and_on_the_grid():
    for pair, candles in generate(["BTCUSDT", "DOGEUSDT", "NOSUCHUSDT"], 10, 1).items():
        check(candles)
        assert candles.ts[0] == START
        assert (candles.volume > 0).all(), pair


@pytest.mark.parametrize("seed", range(5))
def test_every_regime_comes_within_thirty_days(seed):
    assert set(regime_schedule(30 * 24, seed)) == set(REGIMES)


def test_a_crash_is_wilder_than_a_calm_range_and_pairs_move_together():
    market = generate(["BTCUSDT", "ETHUSDT"], 40, 7)
    schedule = np.array(regime_schedule(40 * 24, 7))
    returns = {pair: np.diff(np.log(c.close[59::60])) for pair, c in market.items()}
    btc, hours = returns["BTCUSDT"], schedule[1:]
    assert btc[hours == "crash"].std() > 3 * btc[hours == "calm range"].std()
    assert btc[hours == "crash"].mean() < 0 < btc[hours == "recovery"].mean()
    assert np.corrcoef(btc, returns["ETHUSDT"])[0, 1] > 0.5
