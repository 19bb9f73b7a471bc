"""Instruments by the day from which a venue stated them, and which of them a backtest takes."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from backtesting.instruments import DatedInstrument, instrument_for
from bot.candles import parse_time
from bot.errors import Misconfigured
from bot.instrument import Market
from services.command_line.main import app
from services.market_data.instruments import load_instruments, read_instruments, save_instruments
from tests.conftest import START, bars, instrument

DAY = 86_400_000
BTC = "BTCUSDT"


def stated(since, **fields):
    return parse_time(since), instrument(**fields)


def kept(folder):
    return load_instruments(folder, "bybit", Market.LINEAR)


def test_what_is_stated_is_kept_from_its_day_on_and_only_where_it_changed(tmp_path):
    rows = (stated("2024-03-01", tick="0.5"), stated("2024-06-01T15:00", tick="0.1"), stated("2024-07-01", tick="0.1"))
    saved = save_instruments(tmp_path, "bybit", Market.LINEAR, rows)
    assert saved.changed == 2
    found = kept(tmp_path)[BTC]
    assert found.since == (parse_time("2024-03-01"), parse_time("2024-06-01"))
    for day, tick in (("2023-01-01", "0.5"), ("2024-05-31", "0.5"), ("2024-06-01", "0.1"), ("2025-01-01", "0.1")):
        assert found.at(parse_time(day))[0].tick_size == Decimal(tick)
    again = save_instruments(tmp_path, "bybit", Market.LINEAR, [stated("2024-08-01", tick="0.1")])
    assert (again.changed, kept(tmp_path)[BTC]) == (0, found)
    earlier = save_instruments(tmp_path, "bybit", Market.LINEAR, [stated("2024-04-01", tick="0.2")])
    assert earlier.changed == 1
    assert [str(one.tick_size) for one in kept(tmp_path)[BTC].instruments] == ["0.5", "0.2", "0.1"]


def test_a_file_without_dates_is_read_as_before(tmp_path):
    path = tmp_path / "instruments" / "bybit-linear.json"
    path.parent.mkdir()
    path.write_text(json.dumps({BTC: instrument("0.5").model_dump(mode="json")}))
    assert kept(tmp_path)[BTC].at(0)[0].tick_size == Decimal("0.5")
    save_instruments(tmp_path, "bybit", Market.LINEAR, [stated("2024-06-01", tick="0.1")])
    assert [str(one.tick_size) for one in kept(tmp_path)[BTC].instruments] == ["0.5", "0.1"]
    assert load_instruments(tmp_path, "binance", Market.LINEAR) == {}


CANDLES = bars((50.0, 51.0, 49.5, 50.5), (50.5, 51.0, 50.0, 50.5))


@pytest.mark.parametrize(
    ("since", "expected", "said"),
    [
        ((START - 9 * DAY, START), "0.1", None),
        ((START - 9 * DAY, START + DAY), "0.5", None),
        ((START + DAY, START + 2 * DAY), "0.5", "those of 2024-01-02, the earliest known, for candles from 2024-01-01"),
    ],
)
def test_a_backtest_takes_what_held_when_its_candles_begin(since, expected, said):
    dated = DatedInstrument(since, (instrument("0.5"), instrument("0.1")))
    found, notice = instrument_for(BTC, Market.LINEAR, CANDLES, None, dated)
    assert found.tick_size == Decimal(expected)
    assert said is None if notice is None else said in notice


def test_one_of_later_whose_tick_does_not_fit_is_not_taken():
    found, notice = instrument_for(
        "X1", Market.LINEAR, CANDLES, None, DatedInstrument((START + DAY,), (instrument("2"),))
    )
    assert found.tick_size == Decimal("0.1")
    assert "inferred from the candles" in notice


def test_a_table_is_imported_with_its_days(tmp_path):
    path = tmp_path / "rules.csv"
    path.write_text("symbol,tick_size,lot_size,maker_fee,since\nBTCUSDT,0.1,0.001,0.0001,2023-05-01\nX1,1e-7,1,,\n")
    with pytest.raises(Misconfigured, match="row 1 does not say since when it holds; give --as-of"):
        read_instruments(path, Market.LINEAR)
    (first, btc), (second, other) = read_instruments(path, Market.LINEAR, parse_time("2024-01-01"))
    assert (first, second) == (parse_time("2023-05-01"), parse_time("2024-01-01"))
    assert (btc.tick_size, btc.maker_fee) == (Decimal("0.1"), Decimal("0.0001"))
    assert (other.tick_size, other.maker_fee) == (Decimal("1e-7"), Decimal("0.0002"))
    path.write_text("symbol,tick_size,lot_size\nBTCUSDT,-1,0.001\n")
    with pytest.raises(Misconfigured, match=r"rules.csv: row 0: tick_size is '?-1"):
        read_instruments(path, Market.LINEAR, START)


def test_the_command_imports_and_shows_by_day(store_dir, tmp_path):
    (tmp_path / "rules.csv").write_text("symbol,tick_size,lot_size\nBTCUSDT,0.5,0.001\n")
    run = CliRunner().invoke
    done = run(app, ["data", "instruments", str(tmp_path / "rules.csv"), "--as-of", "2024-03-01"])
    assert "1 instruments from 2024-03-01 on, 1 of them new or changed" in done.output
    shown = run(app, ["data", "instruments", "--as-of", "2024-03-05"]).output
    assert shown.splitlines()[1].split() == ["BTCUSDT", "2024-03-01", "0.5", "0.001", "0", "0", "0.0002", "0.00055"]
    assert "1 of 1 are known from later days only" in run(app, ["data", "instruments", "--as-of", "2024-02-01"]).output
    refused = run(app, ["data", "instruments", "--as-of", "2024-02-01", "--exchange", "binance"])
    assert isinstance(refused.exception, Misconfigured)
