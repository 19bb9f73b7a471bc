"""Store, importer and generator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.candle_checks import check
from backtesting.candles import to_frame
from bot.candles import COLUMNS, bar_name
from bot.errors import BadCandles, Misconfigured
from services.data.importer import import_file, place_of
from services.data.store import CandleStore, Series, bar_length_of
from services.data.synth import REGIMES, generate, regime_schedule
from tests.conftest import START, bars, walk

DAYS_45 = 45 * 1440
BTC = Series("bybit", "linear", "BTCUSDT", "1m")


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
    assert len(store.read(Series("bybit", "linear", "BTCUSDT", "5m"))) == 2


@pytest.mark.parametrize("name", ["1m", "5m", "15m", "1h", "4h", "1d", "5s"])
def test_bar_names_and_lengths_agree(name):
    assert bar_name(bar_length_of(name)) == name


def test_a_name_cannot_leave_the_store():
    with pytest.raises(Misconfigured, match="symbol"):
        Series("bybit", "linear", "../../etc")


def test_an_unknown_pair_is_told_what_there_is(store):
    store.write("bybit", "linear", "ETHUSDT", walk(10))
    with pytest.raises(Misconfigured, match=r"BTCUSDT has no candles .* ETHUSDT \(bybit linear\)"):
        store.read(BTC)


# Importer.


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("bybit/linear/DOGEUSDT/1m.parquet", ("bybit", "linear", "DOGEUSDT")),
        ("x/BTCUSDT.csv", ("bybit", "linear", "BTCUSDT")),
        ("x/ETHUSDT_1m-2024.csv", ("bybit", "linear", "ETHUSDT")),
        ("binance/spot/ETHUSDT/1m-2021.parquet", ("binance", "spot", "ETHUSDT")),
    ],
)
def test_the_place_of_a_file_is_told_by_its_path(tmp_path, path, place):
    assert place_of(tmp_path / path, None, None, None) == place


def test_a_file_that_does_not_tell_its_symbol(tmp_path):
    with pytest.raises(Misconfigured, match="--symbol"):
        place_of(tmp_path / "prices.csv", None, None, None)


def test_import_is_all_or_nothing_and_repair_says_what_it_did(store, tmp_path):
    spoilt = bars((1, 2, 1, 2), (2, 3, 2, 9), (3, 4, 3, 4))
    path = tmp_path / "BTCUSDT.csv"
    to_frame(spoilt).write_csv(path)
    with pytest.raises(BadCandles, match="row 1"):
        import_file(store, path, None, None, None, mend=False)
    assert store.series() == []
    done = import_file(store, path, None, None, None, mend=True)
    assert (done.rows, done.new, len(done.changes)) == (3, 3, 1)
    assert import_file(store, path, None, None, None, mend=True).new == 0


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
