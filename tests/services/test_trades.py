"""Files of single trades, and the bars they are rolled up into."""

from __future__ import annotations

import gzip

import polars as pl
import pytest

from backtesting.candle_checks import check
from bot.errors import Misconfigured
from services.data.trades import is_trades, read_bars, read_trades, roll_trades
from tests.conftest import ROOT, START

SHARED = ROOT.parent / "shared" / "data" / "trades"
# ms after START, price, quantity
TRADES = [(5, 100.0, 1.0), (900, 103.0, 2.0), (900, 102.0, 0.5), (3010, 99.0, 1.0), (4700, 98.0, 4.0)]
NAMED = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
BYBIT = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n"
FILES = {
    "agg-futures.csv": "".join(f"1,{p},{q},7,8,{START + t},true\n" for t, p, q in TRADES),
    "agg-spot-us.csv": "".join(f"1,{p},{q},7,8,{(START + t) * 1000},True,True\n" for t, p, q in TRADES),
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
        ("ts,price,qty\n", "holds no trades"),
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
