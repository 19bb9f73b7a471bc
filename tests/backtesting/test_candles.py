"""Candles from every kind of file, judged row by row, mended change by change."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.candle_checks import check, faults, gaps, put_on_grid, repair, suspicious
from backtesting.candles import from_frame, read_candles, to_frame
from backtesting.instruments import instrument_for
from bot.candles import COLUMNS, Candles, parse_time
from bot.errors import BadCandles, Misconfigured
from bot.instrument import Market
from tests.conftest import START, bars, real, walk

TEN = walk(10, seed=1)


def same(one: Candles, other: Candles) -> None:
    assert one.bar_ms == other.bar_ms
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def rows(scale=1.0):
    frame = to_frame(TEN)
    return [[int(r[0] * scale), *r[1:]] for r in frame.iter_rows()]


WRITERS = {
    "candles.csv": lambda path: to_frame(TEN).write_csv(path),
    "headerless.csv": lambda path: to_frame(TEN).write_csv(path, include_header=False),
    "semicolons.csv": lambda path: to_frame(TEN).write_csv(path, separator=";"),
    "tabs.tsv": lambda path: to_frame(TEN).write_csv(path, separator="\t"),
    "candles.parquet": lambda path: to_frame(TEN).write_parquet(path),
    "candles.feather": lambda path: to_frame(TEN).write_ipc(path),
    "candles.json": lambda path: path.write_text(json.dumps(rows())),
    "objects.json": lambda path: path.write_text(json.dumps(to_frame(TEN).to_dicts())),
    "wrapped.json": lambda path: path.write_text(json.dumps({"data": rows()})),
}


@pytest.mark.parametrize("name", list(WRITERS))
def test_every_kind_of_file_gives_the_same_candles(tmp_path, name):
    WRITERS[name](tmp_path / name)
    same(read_candles(tmp_path / name), TEN)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e6])
def test_seconds_milliseconds_microseconds_and_nanoseconds(scale):
    same(from_frame(pl.DataFrame(rows(scale), schema=list(COLUMNS), orient="row")), TEN)


def test_iso_times_dates_and_zones():
    moments = [datetime.fromtimestamp(ts / 1000, UTC) for ts in TEN.ts.tolist()]
    for column in (
        [m.isoformat() for m in moments],
        [m.strftime("%Y-%m-%d %H:%M:%S") for m in moments],
        [m.replace(tzinfo=None) for m in moments],
        moments,
    ):
        same(from_frame(to_frame(TEN).with_columns(ts=pl.Series(column))), TEN)


@pytest.mark.parametrize(
    "names",
    [
        ("Open time", "Open", "High", "Low", "Close", "Volume BTC"),
        ("timestamp", "o", "h", "l", "c", "v"),
        ("start_time", "OPEN", "HIGH", "LOW", "CLOSE", "vol"),
    ],
)
def test_usual_names_are_recognised(names):
    same(from_frame(to_frame(TEN).rename(dict(zip(COLUMNS, names, strict=True)))), TEN)


def test_a_pandas_frame_with_the_time_as_its_index():
    frame = to_frame(TEN).to_pandas()
    frame.index = pd.to_datetime(frame.pop("ts"), unit="ms", utc=True)
    same(from_frame(frame), TEN)


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(Misconfigured, match=r"no column for close among ts, open, high, low, volume"):
        from_frame(to_frame(TEN).drop("close"))


@pytest.mark.parametrize(
    ("name", "content"), [("x.csv", ""), ("x.csv", "a,b\n1,2\n"), ("x.json", "{"), ("x.xls", "1"), ("x.parquet", "no")]
)
def test_an_unreadable_file_is_one_sentence(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(Misconfigured) as error:
        read_candles(path)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


def test_a_file_that_is_not_there():
    with pytest.raises(Misconfigured, match="is no file"):
        read_candles("nowhere.csv")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2024-01-01", START),
        ("2024-01-01T00:01", START + 60_000),
        ("2024-01-01T01:00+01:00", START),
        (str(START), START),
        (str(START // 1000), START),
    ],
)
def test_times_people_write(text, ms):
    assert parse_time(text) == ms


def test_a_time_that_is_none():
    with pytest.raises(Misconfigured, match="yesterday"):
        parse_time("yesterday")


# Faults.

GOOD = bars(*[(100.0, 102.0, 99.0, 101.0)] * 6)


def broken(**changes):
    """Six good candles with row 3 changed."""
    arrays = {}
    for name, value in changes.items():
        array = getattr(GOOD, name).copy()
        array[3] = value
        arrays[name] = array
    return replace(GOOD, **arrays)


FAULTS = {
    "a price is not a finite number": {"close": np.nan},
    "a price is zero or negative": {"low": 0.0},
    "high lies under low": {"high": 98.0},
    "open or close lies outside low and high": {"close": 103.0},
    "volume is not a finite number": {"volume": np.inf},
    "volume is negative": {"volume": -1.0},
    "time is not on the grid of the bars": {"ts": START + 3 * 60_000 + 7},
    "same time as the row before": {"ts": START + 2 * 60_000},
    "earlier than the row before": {"ts": START + 60_000},
}


@pytest.mark.parametrize("reason", list(FAULTS))
def test_each_fault_is_found_with_its_row_and_reason(reason):
    found = {one.what: one.rows.tolist() for one in faults(broken(**FAULTS[reason]))}
    assert found[reason] == [3]
    with pytest.raises(BadCandles, match="row 3"):
        check(broken(**FAULTS[reason]))


@pytest.mark.parametrize("reason", list(FAULTS))
def test_each_fault_can_be_mended_and_every_change_is_said(reason):
    mended, changes = repair(broken(**FAULTS[reason]))
    check(mended)
    assert changes
    assert any("row 3" in str(change) or "row 2" in str(change) for change in changes)
    again, none = repair(mended)
    same(again, mended)
    assert none == []


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_repair_accounts_for_every_row(data):
    candles = walk(30, seed=2)
    arrays = {name: getattr(candles, name).copy() for name in COLUMNS}
    for _ in range(data.draw(st.integers(0, 8))):
        name = data.draw(st.sampled_from(COLUMNS))
        row = data.draw(st.integers(0, 29))
        if name == "ts":
            arrays["ts"][row] = START + 60_000 * data.draw(st.integers(0, 40)) + data.draw(st.sampled_from([0, 0, 13]))
        else:
            arrays[name][row] = data.draw(st.sampled_from([np.nan, 0.0, -5.0, np.inf, 1.0, 1e9]))
    spoilt = Candles(**arrays, bar_ms=60_000)
    mended, changes = repair(spoilt)
    check(mended)
    dropped = sum(len(change) for change in changes if "dropped" in change.what)
    assert len(mended) == 30 - dropped
    if not faults(spoilt):
        assert changes == []
        same(mended, spoilt)


def test_many_rows_of_one_kind_are_a_count_and_three_examples():
    spoilt = replace(GOOD, volume=np.full(6, -1.0))
    _, (change,) = repair(spoilt)
    assert str(change) == (
        "6 rows: volume set to 0: row 0 (2024-01-01T00:00:00Z), row 1 (2024-01-01T00:01:00Z), "
        "row 2 (2024-01-01T00:02:00Z), …"
    )
    assert [row for row, _ in change.lines()] == list(range(6))


def test_rows_off_the_grid_are_left_out_or_aligned_as_told():
    strayed = replace(GOOD, ts=GOOD.ts + np.array([0, 0, 0, 7, 7, 7]))
    dropped, (change,) = put_on_grid(strayed, "drop")
    assert (dropped.ts.tolist(), change.rows.tolist()) == (GOOD.ts[:3].tolist(), [3, 4, 5])
    aligned, (change,) = put_on_grid(strayed, "align")
    same(aligned, GOOD)
    assert change.rows.tolist() == [3, 4, 5]


def test_times_before_2009_and_after_tomorrow_are_faults():
    now = START + 60_000
    assert faults(GOOD, now) == []
    (late,) = faults(replace(GOOD, ts=GOOD.ts + 86_400_000), now)
    assert (late.what, late.rows.tolist()) == ("time is after tomorrow", [2, 3, 4, 5])
    (early,) = faults(replace(GOOD, ts=GOOD.ts - START))
    assert (early.what, len(early)) == ("time is before 2009", 6)


def test_a_jump_over_a_gap_and_a_spike_are_worth_a_note():
    assert suspicious(GOOD) == []
    doubled = replace(
        GOOD, **{n: getattr(GOOD, n) * np.repeat([1.0, 1.52], 3) for n in ("open", "high", "low", "close")}
    )
    assert suspicious(doubled) == []
    (said,) = suspicious(doubled.rows([0, 1, 4, 5]))
    assert "jumps over 50% across 1 gap, first from 101 to 152 at 2024-01-01T00:04:00Z" in said
    (said,) = suspicious(broken(high=310.0))
    assert "1 spike over 3 times the bars beside, first from 99 to 310 at 2024-01-01T00:03:00Z" in said
    (said,) = suspicious(broken(low=30.0))
    assert "from 30 to 102" in said


def test_gaps_are_told_and_are_no_fault():
    holed = GOOD.rows([0, 1, 4, 5])
    check(holed)
    assert [(gap.ts, gap.bars) for gap in gaps(holed)] == [(START + 2 * 60_000, 2)]


def test_real_candles_with_a_year_of_gaps_are_read():
    candles = real("bybit/linear/LINKUSDT/1m-gappy.parquet")
    check(candles)
    assert sum(gap.bars for gap in gaps(candles)) == 419_724
    assert len(gaps(candles)) == 524


# Instruments.


def test_a_known_pair_comes_from_the_table_without_a_notice():
    instrument, notice = instrument_for("BTCUSDT", Market.LINEAR, walk(50))
    assert (str(instrument.tick_size), notice) == ("0.1", None)


def test_f17_candles_off_the_tables_grid_overrule_it():
    instrument, notice = instrument_for("BTCUSDT", Market.LINEAR, walk(50, tick=0.01))
    assert str(instrument.tick_size) == "0.01"
    assert "inferred" in notice


def test_an_unknown_pair_is_inferred_from_its_decimals():
    instrument, notice = instrument_for(
        "PEPEUSDT", Market.LINEAR, walk(50, start=0.00001234, tick=1e-8, volatility=0.01)
    )
    assert instrument.price(1) == instrument.tick_size
    assert float(instrument.tick_size) == 1e-8
    assert "PEPEUSDT" in notice


@pytest.mark.parametrize(("price", "tick"), [(7e-7, 1e-10), (3.1e-9, 1e-12), (1.2e-12, 1e-15)])
def test_f75_no_price_rounds_to_zero_at_the_inferred_tick(price, tick):
    prices = np.rint(price / tick + np.arange(50) % 7) * tick
    candles = replace(walk(50), open=prices, high=prices, low=prices, close=prices)
    instrument, _ = instrument_for("PEPEUSDT", Market.LINEAR, candles)
    assert float(instrument.tick_size) == tick
    with pytest.raises(Misconfigured, match="no multiples"):
        instrument_for("PEPEUSDT", Market.LINEAR, candles, {"tick_size": 1})


def test_the_config_has_the_last_word_and_must_fit():
    instrument, _ = instrument_for("BTCUSDT", Market.LINEAR, walk(50), {"taker_fee": "0.001"})
    assert str(instrument.taker_fee) == "0.001"
    with pytest.raises(Misconfigured, match="no multiples"):
        instrument_for("BTCUSDT", Market.LINEAR, walk(50), {"tick_size": 7})
    with pytest.raises(Misconfigured, match="did you mean 'tick_size'"):
        instrument_for("BTCUSDT", Market.LINEAR, walk(50), {"ticksize": 1})


@pytest.mark.parametrize(
    ("path", "tick"), [("bybit/linear/DOGEUSDT/1m.parquet", "0.00001"), ("bybit/linear/ADAUSDT/1m.parquet", "0.0001")]
)
def test_real_candles_lie_on_the_tables_grid(path, tick):
    instrument, notice = instrument_for(path.split("/")[2], Market.LINEAR, real(path))
    assert (str(instrument.tick_size), notice) == (tick, None)


@pytest.mark.parametrize("power", [7, 9, 11, 12])
def test_f_75_prices_far_under_one_have_a_tick_that_shows_them(power):
    """50,000.1 becomes 0.00500001 and less: the same decimals, further behind the point."""
    candles = walk(500)
    tiny = replace(
        candles,
        **{
            name: np.round(getattr(candles, name) / 10.0**power, power + 1) for name in ("open", "high", "low", "close")
        },
    )
    traded, _ = instrument_for("TINYUSDT", Market.LINEAR, tiny)
    assert traded.tick_size == Decimal(1).scaleb(-power - 1)
    assert traded.lot_size == 1 or traded.lot_size == Decimal("0.001")


def test_f_75_a_tick_at_which_every_price_is_zero_is_refused():
    candles = walk(500)
    tiny = replace(candles, **{name: getattr(candles, name) / 1e12 for name in ("open", "high", "low", "close")})
    with pytest.raises(Misconfigured, match="tick_size is 1 but"):
        instrument_for("TINYUSDT", Market.LINEAR, tiny, {"tick_size": "1", "lot_size": "1"})


def test_an_instrument_is_inferred_though_nothing_was_traded():
    candles = walk(50, tick=0.01)
    traded, _ = instrument_for("NEWUSDT", Market.LINEAR, replace(candles, volume=np.zeros(50)))
    assert traded.lot_size > 0
