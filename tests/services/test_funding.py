"""Funding rates: files as people have them, the store, and what the bars of a run pay."""

from __future__ import annotations

import gzip
import json
import zipfile

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from backtesting.funding import SPAN_MS, FundingHistory, payments_over, told, told_together
from backtesting.run import simulate
from bot.errors import Misconfigured
from coordinator.config import load_config
from services.app.backtest import histories_of
from services.command_line.main import app
from services.market_data.file_names import FileKind
from services.market_data.funding import FundingStore, Written, read_funding
from services.market_data.importer import Wanted, import_file
from services.market_data.store import CandleStore, Difference, SeriesName
from tests.conftest import ROOT, START, walk

HOUR = 3_600_000
BTC = SeriesName("bybit", "linear", "BTCUSDT")
SHARED = ROOT.parent / "shared" / "data" / "funding"
ROWS = [(START, 0.0001), (START + 8 * HOUR, -0.0003), (START + 12 * HOUR, 0.00025)]


def history(*rows):
    ts, rate = zip(*rows, strict=True)
    return FundingHistory(np.array(ts, np.int64), np.array(rate, np.float64))


def write_table(path, frame):
    {".parquet": frame.write_parquet, ".feather": frame.write_ipc, ".csv": frame.write_csv}[path.suffix](path)
    return path


def shapes(folder):
    """The same three settlements in every shape that is read."""
    ts = [row[0] for row in ROWS]
    rate = [row[1] for row in ROWS]
    dates = pl.Series(ts).cast(pl.Datetime("ms", "UTC"))
    zeros = [0.0] * 3
    candles = {"high": zeros, "low": zeros, "close": zeros, "volume": zeros}
    jitter = [one + late for one, late in zip(ts, (7, -3, 0), strict=True)]
    bybit = [{"symbol": "X", "fundingRate": str(r), "fundingRateTimestamp": str(t)} for t, r in reversed(ROWS)]
    ccxt = [{"symbol": "X/USDT:USDT", "timestamp": t, "fundingRate": r, "datetime": "-"} for t, r in ROWS]
    binance = pl.DataFrame({"calc_time": jitter, "funding_interval_hours": [8, 8, 4], "last_funding_rate": rate})
    freqtrade = pl.DataFrame({"date": dates, "open": rate, **candles})
    yield write_table(folder / "own.parquet", pl.DataFrame({"ts": ts, "rate": rate}))
    yield write_table(folder / "BTC_USDT_USDT-8h-funding_rate.feather", freqtrade)
    yield write_table(folder / "BTCUSDT-fundingRate-2024-01.csv", binance)
    packed = folder / "BTCUSDT-fundingRate-2024-01.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(folder / "BTCUSDT-fundingRate-2024-01.csv", "BTCUSDT-fundingRate-2024-01.csv")
    yield packed
    (folder / "answer.json").write_text(json.dumps({"result": {"list": bybit}}))
    yield folder / "answer.json"
    (folder / "ccxt.json.gz").write_bytes(gzip.compress(json.dumps(ccxt).encode()))
    yield folder / "ccxt.json.gz"
    (folder / "dates.csv").write_text(
        "date;rate\n" + "".join(f"{d:%Y-%m-%d %H:%M:%S};{r}\n" for d, r in zip(dates, rate))
    )
    yield folder / "dates.csv"


def test_every_shape_gives_the_same_settlements(tmp_path):
    for path in shapes(tmp_path):
        found = read_funding(path)
        assert list(zip(found.ts.tolist(), found.rate.tolist(), strict=True)) == ROWS, path.name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ts,rate\n1704067200000,\n", r"1 of 1 rows have no time or no rate, the first is row 0"),
        ("ts,rate\n1704067200000,1.5\n", r"rate 1\.5 at 2024-01-01T00:00:00Z is no fraction"),
        ("ts,rate\n1704067200000,0.1\n1704067200000,0.2\n", r"does not ascend"),
        ("ts,price\n1704067200000,0.1\n", r"no column for rate among ts, price"),
        ("1704067200000,0.1\n", r"no header; name its columns ts and rate"),
    ],
)
def test_a_file_that_cannot_be_believed_is_refused_with_its_name(tmp_path, text, said):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(Misconfigured, match=rf"x\.csv: .*{said}"):
        read_funding(tmp_path / "x.csv")


def test_pieces_merge_and_changed_rates_need_to_be_asked_for(tmp_path):
    store = FundingStore(tmp_path)
    assert store.read(BTC) is None
    assert store.write(BTC, history(*ROWS[1:])) == Written(new=2, equal=0, changed=0)
    assert store.write(BTC, history(*ROWS[:2])) == Written(new=1, equal=1, changed=0)
    other = history(ROWS[0], (ROWS[1][0], 0.5))
    with pytest.raises(Misconfigured, match=r"1 stored rates would change, .* from -0.0003 to 0.5; give --replace"):
        store.write(BTC, other)
    assert store.read(BTC).rate.tolist() == [row[1] for row in ROWS]
    assert store.write(BTC, other, replace=True) == Written(new=0, equal=1, changed=1)
    assert store.read(BTC).rate.tolist() == [0.0001, 0.5, 0.00025]
    assert store.series() == [BTC]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared funding files are not beside this checkout")
def test_real_histories_are_imported(tmp_path):
    store, paths = CandleStore(tmp_path), sorted(SHARED.rglob("*.parquet"))
    for path in paths:
        done = import_file(store, path, Wanted(now_ms=0))
        frame = pl.read_parquet(path)
        assert (done.kind, done.difference) == (FileKind.FUNDING, Difference(frame.height, 0, 0))
        assert FundingStore(tmp_path).read(done.series).rate.tolist() == frame["rate"].to_list()
    assert [one.symbol for one in FundingStore(tmp_path).series()] == [path.stem for path in paths]


# What the bars of a run pay

MINUTES = START + 60_000 * np.arange(2 * 1440, dtype=np.int64)


def paid(payments, ts=MINUTES):
    return [((int(ts[one.bar]) - START) / HOUR, float(one.rate)) for one in payments]


def test_without_a_history_the_constant_rate_is_paid_every_eight_hours():
    payments = payments_over(MINUTES, None)
    assert [at for at, _ in paid(payments)] == [8.0, 16.0, 24.0, 32.0, 40.0]
    assert np.isnan(payments["rate"]).all()
    assert told(payments, MINUTES, 0.0001) == "constant rate 0.01 % per 8 h"


def test_a_history_is_paid_as_it_was_settled_and_the_constant_rate_where_it_ends():
    hourly = [(START + hour * HOUR, hour / 1e5) for hour in range(1, 5)]
    payments = payments_over(MINUTES, history(*ROWS[:1], *hourly, *ROWS[1:]))
    assert paid(payments)[:6] == [(1, 1e-5), (2, 2e-5), (3, 3e-5), (4, 4e-5), (8, -0.0003), (12, 0.00025)]
    assert [at for at, rate in paid(payments)[6:] if np.isnan(rate)] == [24.0, 32.0, 40.0]
    assert told(payments, MINUTES, 0.0001) == (
        "history, 6 settlements; constant rate 0.01 % per 8 h at 3 of 9 payments, where the history has none "
        "(first 2024-01-02T00:00:00Z, last 2024-01-02T16:00:00Z)"
    )


def test_settlements_in_a_gap_fall_on_the_bar_after_it():
    ts = MINUTES[(MINUTES < START + HOUR) | (MINUTES >= START + 9 * HOUR)]
    assert paid(payments_over(ts, history(*ROWS)), ts)[:2] == [(9.0, -0.0003), (12.0, 0.00025)]


@given(times=st.lists(st.integers(-3 * 1440, 3 * 1440), unique=True, max_size=60))
def test_every_eight_hours_are_settled_by_the_history_or_by_the_constant_rate(times):
    """Never by both, and each settlement within the run is paid once."""
    ts = START + 60_000 * np.sort(np.array(times, np.int64))
    payments = payments_over(MINUTES, FundingHistory(ts, np.full(len(ts), 0.0001)))
    constant = np.isnan(payments["rate"])
    assert (~constant).sum() == ((ts > MINUTES[0]) & (ts <= MINUTES[-1])).sum()
    ends = {int(MINUTES[bar]) for bar in payments["bar"][constant]}
    for end in range(START + SPAN_MS, int(MINUTES[-1]) + 1, SPAN_MS):
        assert (end in ends) != bool(((ts > end - SPAN_MS) & (ts <= end)).any())
    assert (np.diff(payments["bar"]) >= 0).all()


# In a run

GRID = {"strategy": "grid", "pair": "BTCUSDT", "exchange": "bybit", "grid": {"timeframe": "15m", "warmup_bars": 10}}


def test_the_result_says_where_the_rates_came_from():
    candles = walk(1500, seed=4)
    rates = history(*ROWS)
    document = simulate(GRID, candles, funding=rates).document
    assert document.funding.startswith("history, 2 settlements; constant rate 0.01 % per 8 h at 1 of 3 payments")
    constant = simulate({**GRID, "execution": {"funding": "constant"}}, candles, funding=rates).document
    without = simulate(GRID, candles).document
    assert constant.funding == without.funding == "constant rate 0.01 % per 8 h"
    assert constant.metrics == without.metrics
    others = [document, simulate(GRID, candles, funding=history(*ROWS[:2], (ROWS[2][0], 0.1))).document, without]
    assert len({one.run_id for one in others}) == 3
    spot = simulate({**GRID, "market": "spot"}, candles, funding=rates).document
    assert spot.funding == "none"


def test_pairs_of_which_the_same_is_said_are_said_together():
    assert told_together({"A": "x", "B": "x"}) == "x"
    assert told_together({"A": "x", "B": "y", "C": "x"}) == "A, C: x; B: y"


def test_a_run_pays_what_is_stored_of_its_own_venue(tmp_path):
    FundingStore(tmp_path).write(BTC, history(*ROWS))
    known = {
        "stored": GRID,
        "another venue's": {**GRID, "exchange": "binance"},
        "not wanted": {**GRID, "execution": {"funding": "constant"}},
        "a file of somebody's": {name: value for name, value in GRID.items() if name != "exchange"}
        | {"candles": "x.csv"},
        "a file of the venue": {**GRID, "candles": "x.csv"},
        "several": {"strategy": "auto", "exchange": "bybit", "pairs": ["BTCUSDT", "ETHUSDT"]},
    }
    found = {name for name, config in known.items() if list(histories_of(load_config(config), tmp_path)) == ["BTCUSDT"]}
    assert found == {"stored", "a file of the venue", "several"}


def test_the_command_imports_a_folder_and_lists_it(store_dir, tmp_path):
    folder = tmp_path / "bybit" / "futures"
    folder.mkdir(parents=True)
    frame = pl.DataFrame({"date": pl.Series([START]).cast(pl.Datetime("ms", "UTC")), "open": [0.0001]})
    write_table(folder / "BTC_USDT_USDT-8h-funding_rate.feather", frame)
    write_table(folder / "BTC_USDT_USDT-8h-futures.feather", frame)
    run = CliRunner().invoke
    done = run(app, ["data", "funding", "import", str(tmp_path)])
    assert done.output.count("\n") == 1
    assert "bybit linear BTCUSDT funding rates" in done.output
    assert "1 new, 0 equal, 0 changed" in done.output
    assert "0 new, 1 equal, 0 changed" in run(app, ["data", "funding", "import", str(tmp_path)]).output
    listed = run(app, ["data", "funding", "list"]).output
    assert listed.splitlines()[1].split() == ["bybit", "BTCUSDT", "2024-01-01T00:00", "2024-01-01T00:00", "1"]
    table = write_table(tmp_path / "rates.csv", pl.DataFrame({"ts": [START], "rate": [0.0002]}))
    given = ["--exchange", "bybit", "--symbol", "BTCUSDT"]
    refused = run(app, ["data", "funding", "import", str(table), *given])
    assert "give --replace" in str(refused.exception)
    assert "1 changed" in run(app, ["data", "funding", "import", str(table), *given, "--replace"]).output
    refused = run(app, ["data", "funding", "download", "--symbol", "X", "--from", "2024-02-01", "--to", "2024-01-01"])
    assert isinstance(refused.exception, Misconfigured)
