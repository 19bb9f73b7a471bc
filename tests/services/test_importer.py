"""Files and folders of candles into the store: what they are taken for, what is asked, what is said of each."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from backtesting.candles import to_frame
from bot.candles import parse_time
from bot.errors import BadCandles, Misconfigured
from bot.market import Market
from services.market_data.file_names import FileKind, Named, name_of, pair_of
from services.market_data.funding import FundingStore
from services.market_data.importer import Imported, Wanted, files_under, import_file, import_files
from services.market_data.store import CandleStore, Difference, SeriesName
from tests.conftest import ROOT, START, bars, walk

FILES = ROOT.parent / "shared" / "data" / "imports"
NOW = parse_time("2026-11-26")
SPOT, LINEAR = Market.SPOT, Market.LINEAR
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.fixture
def store(tmp_path):
    return CandleStore(tmp_path / "data")


def wanted(**options):
    return Wanted(now_ms=NOW, **{"exchange": "bybit", "market": LINEAR, **options})


# Names.

NAMES = {
    "prices.csv": (None, None, None, None),
    "btcusdt.csv": (None, None, "BTCUSDT", None),
    "BTC-USD.csv": (None, None, "BTCUSD", None),
    "18d_BTCUSDT.csv": (None, None, "BTCUSDT", None),
    "BTC_USDT-1h.json": (None, None, "BTCUSDT", HOUR),
    "1m_BTC_USDT.csv": (None, None, "BTCUSDT", MINUTE),
    "14e_BTC_USDT-1m.csv": (None, None, "BTCUSDT", MINUTE),
    "ETHBTC-1d.csv": (None, None, "ETHBTC", DAY),
    "data/binance/BTC_USDT-5m.feather": ("binance", SPOT, "BTCUSDT", 5 * MINUTE),
    "data/binance/futures/BTC_USDT_USDT-5m-futures.feather": ("binance", LINEAR, "BTCUSDT", 5 * MINUTE),
    "data/binanceusdm/1000PEPE_USDT-5m.json.gz": ("binance", LINEAR, "1000PEPEUSDT", 5 * MINUTE),
    "Binance Perpetual Futures/BTC-USDT.csv": ("binance", LINEAR, "BTCUSDT", None),
    "Bybit Spot/BTC-USDT.csv": ("bybit", SPOT, "BTCUSDT", None),
    "BINANCE_BTCUSDT, 60.csv": ("binance", None, "BTCUSDT", HOUR),
    "BYBIT_BTCUSDT.P, 15_ab12c.csv": ("bybit", LINEAR, "BTCUSDT", 15 * MINUTE),
    "BINANCE_BTCUSDTPERP, 1D (1).csv": ("binance", LINEAR, "BTCUSDT", DAY),
    "Binance_BTCUSDT_minute.csv": ("binance", None, "BTCUSDT", MINUTE),
    "Gemini_BTCUSD_1h.csv": ("gemini", None, "BTCUSD", HOUR),
    "data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01.zip": ("binance", LINEAR, "BTCUSDT", MINUTE),
    "data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-01.zip": ("binance", SPOT, "BTCUSDT", HOUR),
    "BTC-USDT-SWAP-candlesticks-2025-01-01.zip": ("okx", LINEAR, "BTCUSDT", None),
    "BTC-USDT-250926-candlesticks-2025-01-01.zip": ("okx", LINEAR, "BTCUSDT_250926", None),
    "BTCUSDT-26SEP25.csv": (None, LINEAR, "BTCUSDT_250926", None),
    "BTCUSDT_250926-1m-2025-01.csv": (None, LINEAR, "BTCUSDT_250926", MINUTE),
    "gateio/BTC_USDT-202501.csv.gz": ("gate", None, "BTCUSDT", None),
    "bybit/linear/DOGEUSDT/1m.parquet": ("bybit", LINEAR, "DOGEUSDT", MINUTE),
    "binance/spot/ETHUSDT/1m-2021.parquet": ("binance", SPOT, "ETHUSDT", MINUTE),
    "ftx/linear/BTCPERP/1m.parquet": ("ftx", LINEAR, "BTCPERP", MINUTE),
}


@pytest.mark.parametrize("name", list(NAMES))
def test_what_a_name_tells(name):
    assert name_of(Path("/x") / name) == Named(FileKind.CANDLES, *NAMES[name])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("binance/futures/BTC_USDT_USDT-1h-mark.feather", FileKind.MARK),
        ("binance/futures/BTC_USDT_USDT-8h-funding_rate.feather", FileKind.FUNDING),
        ("funding/bybit/linear/BTCUSDT.parquet", FileKind.FUNDING),
        ("data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-01.zip", FileKind.FUNDING),
        ("data/futures/um/monthly/markPriceKlines/BTCUSDT/1m/BTCUSDT-1m-2025-01.zip", FileKind.MARK),
        ("data/futures/um/monthly/indexPriceKlines/BTCUSDT/1m/BTCUSDT-1m-2025-01.zip", FileKind.INDEX),
        ("data/futures/um/monthly/premiumIndexKlines/BTCUSDT/1m/BTCUSDT-1m-2025-01.zip", FileKind.PREMIUM),
        ("data/futures/cm/daily/klines/BTCUSD_PERP/1m/BTCUSD_PERP-1m-2025-01-01.zip", FileKind.INVERSE),
        ("BTC-USD-SWAP-candlesticks-2025-01-01.zip", FileKind.INVERSE),
        ("BTC_USD_BTC-1h-futures.feather", FileKind.INVERSE),
        ("data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-01-01.zip", FileKind.TRADES),
        ("BTCUSDT2025-01-01.csv.gz", FileKind.TRADES),
        ("data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2025-01-01.zip", FileKind.OTHER),
        ("home/mark/metrics/BTCUSDT.csv", FileKind.CANDLES),
    ],
)
def test_kinds_that_are_no_traded_candles(name, kind):
    assert name_of(Path("/x") / name).kind is kind


@pytest.mark.parametrize(
    ("text", "symbol", "market"),
    [
        ("BTC/USDT:USDT", "BTCUSDT", LINEAR),
        ("BTC/USDT", "BTCUSDT", None),
        ("BTC-USD", "BTCUSD", None),
        ("btcusdt", "BTCUSDT", None),
        ("BTCUSDT_250926", "BTCUSDT_250926", LINEAR),
    ],
)
def test_symbols_as_people_write_them(text, symbol, market):
    pair = pair_of(text)
    assert pair is not None
    assert (pair.symbol, pair.market) == (symbol, market)


# One file.


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("prices.csv", {}, "give --symbol"),
        ("BTCUSDT.csv", {"exchange": None}, "does not tell its exchange; give --exchange"),
        ("BTCUSDT.csv", {"market": None}, "does not tell its market; give --market"),
        ("bybit_BTCUSDT.csv", {"exchange": None, "market": None}, "does not tell its market; give --market"),
        ("BTC_USDT_USDT-1m-mark.csv", {}, "candles of a mark price, which nobody traded at"),
        ("BTC-USD-SWAP.csv", {}, "inverse contracts"),
    ],
)
def test_what_a_name_does_not_tell_is_asked_for_by_its_option(store, tmp_path, name, options, said):
    to_frame(walk(10)).write_csv(tmp_path / name)
    with pytest.raises(Misconfigured, match=said):
        import_file(store, tmp_path / name, wanted(**options))
    assert store.series() == []


def test_what_the_user_says_of_one_file_overrules_its_name(store, tmp_path):
    to_frame(walk(10)).write_csv(tmp_path / "bybit_BTC-USDT-SWAP.csv")
    done = import_file(
        store, tmp_path / "bybit_BTC-USDT-SWAP.csv", wanted(exchange="okx", market=SPOT, symbol="eth/usdt")
    )
    assert done.series == SeriesName("okx", "spot", "ETHUSDT", "1m")


def test_a_venues_answer_tells_symbol_and_market(store, tmp_path):
    rows = [[str(v) for v in row] for row in to_frame(walk(10)).iter_rows()]
    result = {"category": "linear", "symbol": "BTCUSDT", "list": rows}
    (tmp_path / "kline.json").write_text(json.dumps({"result": result}))
    assert import_file(store, tmp_path / "kline.json", wanted(market=None)).series.symbol == "BTCUSDT"
    (tmp_path / "kline.json").write_text(json.dumps({"result": {**result, "category": "inverse"}}))
    with pytest.raises(Misconfigured, match="inverse"):
        import_file(store, tmp_path / "kline.json", wanted())


def test_import_is_all_or_nothing_and_repair_says_what_it_did(store, tmp_path):
    path = tmp_path / "BTCUSDT.csv"
    to_frame(bars((1, 2, 1, 2), (2, 3, 2, 9), (3, 4, 3, 4))).write_csv(path)
    with pytest.raises(BadCandles, match="row 1"):
        import_file(store, path, wanted())
    assert store.series() == []
    done = import_file(store, path, wanted(mend=True))
    assert (done.difference.new, done.difference.equal, [len(change) for change in done.changes]) == (3, 0, [1])
    assert import_file(store, path, wanted(mend=True)).difference.equal == 3


def test_f77_changed_bars_need_replace_and_a_dated_future_is_another_series(store, tmp_path):
    path, future = tmp_path / "BTCUSDT.csv", tmp_path / "BTCUSDT_250926-1m.csv"
    to_frame(walk(10)).write_csv(path)
    to_frame(walk(10, start=60_000)).write_csv(future)
    import_file(store, path, wanted())
    assert import_file(store, future, wanted()).difference.new == 10
    held = store.read(SeriesName("bybit", "linear", "BTCUSDT")).snapshot()
    to_frame(walk(12, start=60_000)).write_csv(path)
    with pytest.raises(Misconfigured, match=r"10 of its 12 bars differ .* and 2 are new.*--replace"):
        import_file(store, path, wanted())
    assert store.read(SeriesName("bybit", "linear", "BTCUSDT")).snapshot() == held
    done = import_file(store, path, wanted(replace=True))
    assert (done.difference.new, done.difference.equal, done.difference.changed) == (2, 0, 10)


def test_rows_off_the_grid_are_a_choice(store, tmp_path):
    path, candles = tmp_path / "BTCUSDT.csv", walk(12)
    to_frame(replace(candles, ts=candles.ts + np.repeat([0, 14_789], [3, 9]))).write_csv(path)
    for options in ({}, {"mend": True}):
        with pytest.raises(BadCandles, match=r"9 of 12 rows, from 2024-01-01T00:03:14Z to .*--off-grid drop .*align"):
            import_file(store, path, wanted(**options))
    done = import_file(store, path, wanted(strays="drop"))
    assert (done.difference.new, len(done.changes[0])) == (3, 9)
    done = import_file(store, path, wanted(strays="align"))
    assert (done.difference.new, done.difference.equal, len(done.changes[0])) == (9, 3, 9)
    assert store.read(SeriesName("bybit", "linear", "BTCUSDT")).snapshot() == candles.snapshot()


def test_days_that_begin_at_16_00_are_aligned_to_16_00(store, tmp_path):
    path, days = tmp_path / "BTCUSDT-1d.csv", START + 16 * HOUR + DAY * np.arange(12)
    to_frame(replace(walk(12), ts=days + np.repeat([0, 14_789], [7, 5]), bar_ms=DAY)).write_csv(path)
    done = import_file(store, path, wanted(strays="align"))
    assert store.read(done.series).ts.tolist() == days.tolist()


def test_a_few_rows_off_the_grid_are_repaired_like_other_faults(store, tmp_path):
    path, candles = tmp_path / "BTCUSDT.csv", walk(12)
    to_frame(replace(candles, ts=candles.ts + np.repeat([0, 7, 0], [3, 1, 8]))).write_csv(path)
    assert import_file(store, path, wanted(mend=True)).difference.new == 11


def test_notes_on_what_is_sound_and_strange(store, tmp_path):
    path = tmp_path / "BTCUSDT.csv"
    to_frame(bars((1, 2, 1, 2), (2, 9, 2, 2), (2, 2, 2, 2))).write_csv(path)
    assert "1 spike over 3 times" in import_file(store, path, wanted()).notices[0]


def test_a_bar_that_has_not_closed_is_left_out(store, tmp_path):
    """Files that are written while the market goes on end in a bar that will change."""
    path = tmp_path / "BTCUSDT.csv"
    to_frame(walk(100)).write_csv(path)
    end = START + 100 * MINUTE
    done = import_file(store, path, replace(wanted(), now_ms=end - 1))
    assert (done.difference.new, done.last) == (99, end - 2 * MINUTE)
    assert "the last bar has not closed yet and is left out" in done.notices
    assert import_file(store, path, replace(wanted(), now_ms=end)).difference == Difference(1, 99, 0)


def test_no_row_left_is_one_sentence(store, tmp_path):
    path = tmp_path / "BTCUSDT.csv"
    path.write_text(
        "time,open,high,low,close,volume\n" + "".join(f"{START + MINUTE * i},0,0,0,0,0\n" for i in range(2))
    )
    with pytest.raises(Misconfigured, match="misread"):
        import_file(store, path, wanted(mend=True))


# Folders.


def test_a_folder_of_freqtrade_is_imported_by_one_command(store, tmp_path):
    data = tmp_path / "user_data" / "data" / "binance"
    (data / "futures").mkdir(parents=True)
    spot, linear = to_frame(walk(10)).rename({"ts": "date"}), to_frame(walk(10, seed=2)).rename({"ts": "date"})
    spot.write_ipc(data / "BTC_USDT-1m.feather")
    linear.write_ipc(data / "futures" / "BTC_USDT_USDT-1m-futures.feather")
    linear.write_ipc(data / "futures" / "BTC_USDT_USDT-1m-mark.feather")
    (tmp_path / "user_data" / "config.json").write_text('{"stake_currency": "USDT"}')
    (tmp_path / "user_data" / "strategy.py").write_text("pass")
    done = list(import_files(store, files_under(tmp_path / "user_data"), Wanted(now_ms=NOW)))
    assert [one.series for one in done if isinstance(one, Imported)] == [
        SeriesName("binance", "spot", "BTCUSDT", "1m"),
        SeriesName("binance", "linear", "BTCUSDT", "1m"),
    ]
    left = [one for one in done if not isinstance(one, Imported)]
    assert not any(one.failed for one in left)
    assert sorted(one.reason.split(";")[0] for one in left) == [
        ".py files hold no candles",
        "holds candles of a mark price, which nobody traded at.",
        "no list of candles inside",
    ]


def test_funding_rates_and_trades_of_a_folder_are_stored_as_what_they_are(store, tmp_path):
    futures = tmp_path / "binance" / "futures"
    futures.mkdir(parents=True)
    rates = pl.DataFrame({"date": [START, START + 8 * HOUR], "open": [1e-4, 2e-4], "close": [0.0, 0.0]})
    rates.write_ipc(futures / "BTC_USDT_USDT-8h-funding_rate.feather")
    trades = pl.DataFrame({"ts": [START + 20_000 * k for k in range(9)], "price": [1.0] * 9, "qty": [2.0] * 9})
    trades.write_csv(futures / "ETHUSDT.csv")
    pl.DataFrame({"time": [START], "symbol": "XRPUSDT", "fundingRate": [1e-4]}).write_csv(futures / "rates.csv")
    (left, *done) = sorted(
        import_files(store, files_under(tmp_path), Wanted(now_ms=NOW)), key=lambda one: len(vars(one))
    )
    assert (left.path.name, left.failed) == ("ETHUSDT.csv", True)
    assert "single trades; give --bar" in left.reason
    assert [(str(one.kind), one.series.symbol, one.difference.new) for one in done] == [
        ("funding rates", "BTCUSDT", 2),
        ("funding rates", "XRPUSDT", 1),
    ]
    history = FundingStore(store.data_dir).read(SeriesName("binance", "linear", "BTCUSDT"))
    assert history is not None and history.rate.tolist() == [1e-4, 2e-4]
    done = import_file(store, futures / "ETHUSDT.csv", Wanted(now_ms=NOW, bar_ms=MINUTE))
    assert (done.series, done.difference.new) == (SeriesName("binance", "linear", "ETHUSDT", "1m"), 2)
    assert "9 trades" in done.notices[0]


def test_in_a_folder_options_fill_what_names_leave_open(store, tmp_path):
    to_frame(walk(10)).write_csv(tmp_path / "okx_BTC-USDT-SWAP.csv")
    to_frame(walk(10)).write_csv(tmp_path / "ETHUSDT.csv")
    done = list(import_files(store, files_under(tmp_path), wanted(exchange="bybit", market=SPOT)))
    assert [str(one.series) for one in done if isinstance(one, Imported)] == [
        str(SeriesName("bybit", "spot", "ETHUSDT", "1m")),
        str(SeriesName("okx", "linear", "BTCUSDT", "1m")),
    ]


def test_a_folder_without_a_table(tmp_path):
    (tmp_path / "notes.md").write_text("nothing")
    with pytest.raises(Misconfigured, match="holds no candle files"):
        files_under(tmp_path)


# The files that people brought.

DAY_ONE = "2025-01-01"
USUAL = ("BTCUSDT", "1m", DAY_ONE, (93_500.0, 93_512.0, 93_490.0, 93_505.0, 12.25), 10)
THOUSANDS = ("BTCUSDT", "1m", DAY_ONE, (93_500.0, 93_512.0, 93_490.0, 93_505.0, 12_250.0), 10)
# File: symbol, bar, first opening, first open, high, low, close and volume, bars; and words of a notice.
RIGHT = {
    "02_BTCUSDT-mixed-ms-us.csv": ("BTCUSDT", "1m", "2024-12-31T23:55", (93400.0, 93410.0, 93390.0, 93405.0, 3.0), 10),
    "05_Binance_BTCUSDT_minute-cdd.csv": USUAL,
    "07_Coinbase_BTCUSD_1h-cdd-ampm.csv": ("BTCUSD", "1h", "2020-01-01", (7200.0, 7210.0, 7190.0, 7205.0, 10.0), 12),
    "12_BTC-USDT-kucoin-noheader.csv": USUAL,
    "13_BTC-USDT-SWAP-candlesticks-okx.csv": USUAL,
    "14e_BTC_USDT-1m-freqtrade.json.gz": USUAL,
    "17_BTCUSDT-semicolon-decimal-comma.csv": USUAL,
    "17c_BTCUSDT-quoted-thousands.csv": THOUSANDS,
    "18d_BTCUSDT-cr-only-crlf.csv": USUAL,
    "19b_BTCUSDT-1m-2025-01.zip": USUAL,
    "21_BTCUSD-metatrader-date-time.csv": ("BTCUSD", *USUAL[1:3], (*USUAL[3][:4], 12.0), 10),
    "24b_BTCUSDT-yyyymmdd-daily.csv": ("BTCUSDT", "1d", DAY_ONE, (93500.0, 94000.0, 93000.0, 93600.0, 1000.0), 10),
    "28_BTCUSDT-bybit-v5-kline.json": USUAL,
    "40_BTCUSDT-1w-monday.csv": ("BTCUSDT", "1w", "2024-01-01", (42000.0, 45000.0, 41000.0, 44000.0, 1000.0), 8),
    "41_BTCUSDT-8h.csv": ("BTCUSDT", "8h", "2024-01-01", (42000.0, 45000.0, 41000.0, 44000.0, 1000.0), 8),
    "41c_BTCUSDT-okx-1D-utc8.csv": (
        "BTCUSDT",
        "1d",
        "2023-12-31T16:00",
        (42000.0, 45000.0, 41000.0, 44000.0, 1000.0),
        8,
    ),
    "42_BTCUSDT-trailing-blank-lf.csv": USUAL,
    "46_XYZUSDT-sparse-2min.csv": ("XYZUSDT", "1m", DAY_ONE, (1.0, 1.1, 0.9, 1.05, 5.0), 11),
    "51_BTC_USDT-202501-gateio.csv": USUAL,
    "60_PEPEUSDT-price-7e-7.csv": (
        "PEPEUSDT",
        "1h",
        "2024-01-01",
        (7.006e-7, 7.007e-7, 6.997e-7, 6.998e-7, 4149901185.0),
        19,
    ),
    "BTCUSDT.csv": USUAL,
    "BTCUSDT_250926-1m-2025-01.csv": (
        "BTCUSDT_250926",
        "1m",
        DAY_ONE,
        (94400.0, 94412.0, 94390.0, 94405.0, 12.25),
        10,
    ),
    "BTC_USDT_USDT-1h-futures.feather": ("BTCUSDT", "1h", DAY_ONE, (100.0, 102.0, 99.0, 101.0, 500.0), 12),
}
TOLD = {
    "02_BTCUSDT-mixed-ms-us.csv": "from milliseconds to microseconds at row 5",
    "12_BTC-USDT-kucoin-noheader.csv": "KuCoin's",
    "51_BTC_USDT-202501-gateio.csv": "gate.io's",
    "41c_BTCUSDT-okx-1D-utc8.csv": "begin at 16:00 UTC",
}
REFUSED = {
    "10_BTCUSDT_1_2025-01-01-bybit-kline.csv": "no column for volume: .*index or a mark price.*--volume",
    "23_BTCUSDT-1h-2018-02-offgrid.csv": "9 of 12 rows, from .*--off-grid drop .*--off-grid align",
    "33_XBTUSD-open-under-low.csv": "row 1 .*open or close lies outside low and high; .*--repair",
    "BTC_USDT_USDT-1h-mark.feather": "mark price",
}
MENDED = {
    "10_BTCUSDT_1_2025-01-01-bybit-kline.csv": ({"volume": 1.0}, 10, 0),
    "23_BTCUSDT-1h-2018-02-offgrid.csv": ({"strays": "align"}, 12, 9),
    "33_XBTUSD-open-under-low.csv": ({"mend": True}, 3, 1),
}
# Venue and market that the name itself tells.
PLACES = {
    "05_Binance_BTCUSDT_minute-cdd.csv": ("binance", "linear"),
    "07_Coinbase_BTCUSD_1h-cdd-ampm.csv": ("coinbase", "linear"),
    "12_BTC-USDT-kucoin-noheader.csv": ("kucoin", "linear"),
    "13_BTC-USDT-SWAP-candlesticks-okx.csv": ("okx", "linear"),
    "28_BTCUSDT-bybit-v5-kline.json": ("bybit", "linear"),
    "41c_BTCUSDT-okx-1D-utc8.csv": ("okx", "linear"),
    "51_BTC_USDT-202501-gateio.csv": ("gate", "linear"),
}


def brought(name):
    path = FILES / name
    if not path.exists():
        pytest.skip("files as people have them are not here: ../shared/data/imports")
    return path


def test_every_file_that_was_brought_is_in_a_table():
    assert {path.name for path in brought("README.md").parent.iterdir()} == {*RIGHT, *REFUSED, "README.md"}


@pytest.mark.parametrize("name", list(RIGHT))
def test_a_file_is_read_as_a_careful_person_would(store, name):
    options = wanted(exchange=None if name in PLACES else "binance")
    done = import_file(store, brought(name), options)
    symbol, bar, first, values, count = RIGHT[name]
    assert done.series == SeriesName(*PLACES.get(name, ("binance", "linear")), symbol, bar)
    candles = store.read(done.series)
    assert (len(candles), int(candles.ts[0])) == (count, parse_time(first))
    assert tuple(float(getattr(candles, n)[0]) for n in ("open", "high", "low", "close", "volume")) == values
    assert bool(done.notices) == (name in TOLD)
    assert TOLD.get(name, "") in "".join(done.notices)


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_file_that_is_not_taken_says_why_and_what_helps(store, name):
    with pytest.raises((Misconfigured, BadCandles), match=REFUSED[name]):
        import_file(store, brought(name), wanted())
    if name in MENDED:
        options, count, changed = MENDED[name]
        done = import_file(store, brought(name), wanted(**options))
        assert (done.difference.new, sum(map(len, done.changes))) == (count, changed)


def test_the_whole_folder_by_one_command(store, tmp_path):
    folder = shutil.copytree(brought("README.md").parent, tmp_path / "imports")
    done = list(import_files(store, files_under(folder), wanted(exchange="binance", mend=True, strays="drop")))
    assert len(done) == len(RIGHT) + len(REFUSED) + 1
    assert {one.path.name: one.reason[:20] for one in done if not isinstance(one, Imported)} == {
        "10_BTCUSDT_1_2025-01-01-bybit-kline.csv": "no column for volume",
        "17c_BTCUSDT-quoted-thousands.csv": "10 of its 10 bars di",
        "BTC_USDT_USDT-1h-mark.feather": "holds candles of a m",
        "README.md": ".md files hold no ca",
    }
