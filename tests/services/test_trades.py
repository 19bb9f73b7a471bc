"""Files of single trades, and the bars they are rolled up into."""

from __future__ import annotations

import gzip
import math

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from backtesting.candle_checks import check
from backtesting.run import simulate
from bot.errors import Misconfigured
from coordinator.config import load_config
from services.app.backtest import find_candles
from services.command_line.main import app
from services.market_data.store import CandleStore
from services.market_data.trades import is_trades, read_bars, read_trades, roll_trades
from tests.conftest import ROOT, START, walk

SHARED = ROOT.parent / "shared" / "data" / "trades"
# ms after START, price, quantity
TRADES = [(5, 100.0, 1.0), (999, 103.0, 2.0), (999, 102.0, 0.5), (3010, 99.0, 1.0), (4700, 98.0, 4.0)]
NAMED = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
BYBIT = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n"
FILES = {
    "agg-futures.csv": "".join(f"1,{p},{q},7,8,{START + t},true\n" for t, p, q in TRADES),
    "agg-spot-us.csv": "".join(f"1,{p},{q},7,8,{(START + t) * 1000 + 999},True,True\n" for t, p, q in TRADES),
    "agg-header.csv": NAMED + "".join(f"1,{p},{q},7,8,{START + t},true\n" for t, p, q in TRADES),
    "trades-futures.csv": "".join(f"5266583935,{p},{q},{p * q},{START + t},true\n" for t, p, q in TRADES),
    "trades-spot.csv": "".join(f"1,{p},{q},{p * q},{START + t},True,True\n" for t, p, q in TRADES),
    "bybit.csv": BYBIT
    + "".join(f"{(START + t) / 1000},BTCUSDT,Buy,{q},{p},PlusTick,a,1,1,1\n" for t, p, q in reversed(TRADES)),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("packed", [False, True])
def test_archives_of_venues_give_the_same_bars(tmp_path, name, packed):
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(FILES[name].encode()) if packed else FILES[name].encode())
    rolled = read_bars(path, 1000)
    bars = rolled.candles
    check(bars)
    assert ((bars.ts - START) // 1000).tolist() == [0, 1, 2, 3]
    assert bars.open.tolist() == [100.0, 102.0, 102.0, 99.0]
    assert bars.high.tolist() == [103.0, 102.0, 102.0, 99.0]
    assert bars.close.tolist() == [102.0, 102.0, 102.0, 99.0]
    assert bars.volume.tolist() == [3.5, 0.0, 0.0, 1.0]
    assert (rolled.trades, rolled.silent, rolled.cut) == (5, 2, 1)


def trades(*rows):
    return pl.DataFrame(
        {"ts": [START + t for t, _, _ in rows], "price": [p for _, p, _ in rows], "qty": [1.0] * len(rows)}
    )


@pytest.mark.parametrize("order", ["by time", "newest first", "the later half first"])
def test_the_first_and_the_last_trade_of_a_bar_are_its_open_and_close_in_the_files_order(tmp_path, order):
    """Many trades of one millisecond, in random steps of time."""
    rng = np.random.default_rng(3)
    ts = START + np.cumsum(rng.integers(0, 3, 50_000))
    price = np.round(100 + rng.random(len(ts)), 2)
    rows = np.arange(len(ts))
    half = np.searchsorted(ts, ts[len(ts) // 2])
    rows = {"by time": rows, "newest first": rows[::-1], "the later half first": np.roll(rows, -half)}[order]
    table = pl.DataFrame({"ts": ts[rows], "price": price[rows], "qty": np.ones(len(ts))})
    table.write_parquet(tmp_path / "x.parquet")
    bars = read_bars(tmp_path / "x.parquet", 1000).candles
    first = np.searchsorted(ts, bars.ts)
    last = np.searchsorted(ts, bars.ts + 1000) - 1
    assert bars.open.tolist() == price[first].tolist()
    assert bars.close.tolist() == price[last].tolist()
    assert bars.volume.tolist() == (last - first + 1).tolist()


def test_a_silence_of_more_than_an_hour_stays_a_gap():
    minute = 60_000
    rolled = roll_trades(
        trades((0, 1.0, 1), (60 * minute, 2.0, 1), (121 * minute, 3.0, 1), (122 * minute, 3.0, 1)), minute
    )
    assert rolled.silent == 59
    assert ((rolled.candles.ts - START) // minute).tolist() == [*range(61), 121]


def test_the_ends_of_a_file_are_kept_where_they_end_a_day():
    day, second = 86_400_000, 1000
    whole = roll_trades(trades((5, 1.0, 1), (day - 5, 2.0, 1)), day)
    assert (whole.cut, len(whole.candles)) == (0, 1)
    part = roll_trades(trades((3 * second, 1.0, 1), (4 * second, 2.0, 1), (5 * second, 2.0, 1)), second)
    assert ((part.candles.ts - START).tolist(), part.cut) == ([4000], 2)
    with pytest.raises(Misconfigured, match="fill no whole bar of 1m"):
        roll_trades(trades((3 * second, 1.0, 1)), 60 * second)


@pytest.mark.parametrize("length", [0, 500, 1500, 7000, 2 * 86_400_000])
def test_a_length_that_does_not_divide_a_day_is_refused(length):
    with pytest.raises(Misconfigured, match="does not divide a day in whole seconds"):
        roll_trades(trades((0, 1.0, 1)), length)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ts,price,qty\n1704067200000,0,1\n", "1 of 1 rows have no usable time, price or quantity, the first is row 0"),
        ("ts,price,qty\n1704067200000,5,1\n1704067200000,nan,1\n", "the first is row 1"),
        ("ts,price,qty\n", "holds no rows of numbers"),
        ("1,2,3,4\n", "no archive of Binance"),
        (BYBIT + "1704067200.1,A,Buy,1,1,x,a,1,1,1\n1704067200.1,B,Buy,1,1,x,a,1,1,1\n", "2 symbols"),
    ],
)
def test_a_file_that_cannot_be_believed_is_refused_with_its_name(tmp_path, text, said):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(Misconfigured, match=rf"x\.csv: .*{said}"):
        read_trades(tmp_path / "x.csv")


def test_trades_are_told_from_candles_by_their_columns():
    assert is_trades(["ts", "price", "qty", "side", "id", "recv_ms"])
    assert is_trades(BYBIT.strip().split(","))
    assert is_trades(NAMED.strip().split(","))
    assert not is_trades(["ts", "open", "high", "low", "close", "volume"])
    assert not is_trades(["date", "price", "open", "high", "low", "volume", "change"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared trades are not beside this checkout")
def test_real_trades_make_bars_whose_volume_is_theirs():
    for path in sorted(SHARED.rglob("*.parquet")):
        told = pl.read_parquet(path)
        rolled = read_bars(path, 1000)
        bars = rolled.candles
        check(bars)
        within = told.filter(pl.col("ts").is_between(int(bars.ts[0]), int(bars.ts[-1]) + 999))
        assert bars.volume.sum() == pytest.approx(within["qty"].sum())
        assert (bars.high.max(), bars.low.min()) == (within["price"].max(), within["price"].min())
        assert rolled.trades == told.height


def test_the_command_stores_bars_that_a_backtest_plays_when_told_to(store_dir, tmp_path):
    rows = [(s * 1000 + 5, round(100 + 2 * math.sin(s / 9) + s % 3 / 10, 1), 5.0) for s in range(600)]
    path = tmp_path / "BTCUSDT2024-01-01.csv"
    path.write_text(BYBIT + "".join(f"{(START + t) / 1000},BTCUSDT,Buy,{q},{p},x,a,1,1,1\n" for t, p, q in rows))
    told = CliRunner().invoke(
        app, ["data", "import", str(path), "--bar", "1s", "--exchange", "bybit", "--market", "linear"]
    )
    assert "bybit linear BTCUSDT 1s" in told.output
    assert "599 new" in told.output
    assert "600 trades; 0 bars had none, 1 at the ends are left out" in told.output
    store = CandleStore(store_dir)
    config = {"strategy": "grid", "pair": "BTCUSDT", "exchange": "bybit", "bar": "1s"}
    config["grid"] = {"preset": "classic", "timeframe": "1m", "warmup_bars": 2}
    _, candles = find_candles(load_config(config), store)
    assert (candles.bar_ms, len(candles)) == (1000, 599)
    result = simulate(config, candles)
    assert result.recording.bars == 599
    assert len(result.recording.fills) > 0
    assert not any("coarser" in notice for notice in result.notices)
    store.write("bybit", "linear", "BTCUSDT", walk(60))
    assert store.finest("bybit", "linear", "BTCUSDT").bar == "1m"  # seconds are played where they are asked for
    with pytest.raises(Misconfigured, match="bar is 5s but the store holds 1m, 1s of BTCUSDT"):
        find_candles(load_config({**config, "bar": "5s"}), store)
    refused = CliRunner().invoke(app, ["data", "import", str(path), "--bar", "1x"])
    assert "bar '1x' is no length" in str(refused.exception)
