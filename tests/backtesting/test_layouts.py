"""Files as people have them: every layout gives the same candles, a misread one is refused with what would fit."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from backtesting.candle_checks import check
from backtesting.candles import candles_of, read_candles
from backtesting.tables import NotCandles, read_table
from bot.candles import bar_length
from bot.errors import Misconfigured

NEW_YEAR = 1_735_689_600_000  # 2025-01-01T00:00Z
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
TEN = range(10)


def row(i):
    """Open, high, low, close and volume of the i-th minute."""
    base = 93_500.0 + 10.5 * i
    return base, base + 12, base - 10, base + 5, 12.25 + i


def lines(form, *above, rows=TEN, end="\n", reverse=False):
    """CSV of `form`, a function of the time (ms), its moment and the five values."""
    made = []
    for i in rows:
        ts = NEW_YEAR + MINUTE * i
        made.append(form(ts, datetime.fromtimestamp(ts / 1000, UTC), *row(i)))
    return end.join([*above, *(made[::-1] if reverse else made), ""])


SWAPPED = str.maketrans(",.", ".,")


def comma(value):
    return f"{value:.2f}".replace(".", ",")


def zipped(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in members.items():
            archive.writestr(f"{name}.csv", text)
    return packed.getvalue()


def usual(ts, _moment, o, h, lo, c, v):
    return f"{ts},{o},{h},{lo},{c},{v}"


HEADER = "time,open,high,low,close,volume"
VALUES = [[NEW_YEAR + MINUTE * i, *row(i)] for i in TEN]
COLUMNS = dict(zip(("t", "o", "h", "l", "c", "v"), map(list, zip(*VALUES)), strict=True))

LAYOUTS = {
    "no header.csv": lines(usual),
    "kucoin.csv": lines(lambda ts, m, o, h, lo, c, v: f"{ts // 1000},{o},{c},{h},{lo},{v},{v * o}"),
    "gate.csv": lines(lambda ts, m, o, h, lo, c, v: f"{ts // 1000},{v},{c},{h},{lo},{o}"),
    "gate api.csv": lines(lambda ts, m, o, h, lo, c, v: f"{ts // 1000},{v * c},{c},{h},{lo},{o},{v},true"),
    "coinbase.csv": lines(lambda ts, m, o, h, lo, c, v: f"{ts // 1000},{lo},{h},{o},{c},{v}", reverse=True),
    "kraken api.csv": lines(lambda ts, m, o, h, lo, c, v: f"{ts // 1000},{o},{h},{lo},{c},{(h + lo) / 2},{v},7"),
    "okx swap, no header.csv": lines(lambda ts, m, o, h, lo, c, v: f"{ts},{o},{h},{lo},{c},{v * 100},{v},{v * c},1"),
    "symbol first.csv": lines(lambda ts, m, o, h, lo, c, v: f"BTCUSDT,{usual(ts, m, o, h, lo, c, v)}"),
    "okx swap.csv": lines(
        lambda ts, m, o, h, lo, c, v: f"BTC-USDT-SWAP,{o},{h},{lo},{c},{v * 100},{v},{v * c},{ts},1",
        "instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm",
    ),
    "cryptodatadownload.csv": lines(
        lambda ts, m, o, h, lo, c, v: f"{ts},{m:%Y-%m-%d %H:%M:%S},BTCUSDT,{o},{h},{lo},{c},{v},{v * c},99",
        "https://www.CryptoDataDownload.com",
        "Unix,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount",
        reverse=True,
    ),
    "quote volume first.csv": lines(
        lambda ts, m, o, h, lo, c, v: f"{m.isoformat()},{o},{h},{lo},{c},{v * c},{v}",
        "Date,Open,High,Low,Close,Volume USDT,Volume BTC",
    ),
    "huobi.json": json.dumps(
        {
            "data": [
                dict(zip(("id", "open", "high", "low", "close", "amount", "vol"), (*r, r[5] * r[4]))) for r in VALUES
            ]
        }
    ),
    "spreadsheet.csv": lines(
        lambda ts, m, o, h, lo, c, v: ";".join((f"{m:%Y-%m-%d %H:%M:%S}", *map(comma, (o, h, lo, c, v)))),
        HEADER.replace(",", ";"),
    ),
    "spreadsheet with thousands.csv": lines(
        lambda ts, m, o, h, lo, c, v: ";".join(
            (f"{m:%d.%m.%Y %H:%M:%S}", *(f"{x:,.2f}".translate(SWAPPED).removesuffix(",00") for x in (o, h, lo, c, v)))
        ),
        HEADER.replace(",", ";"),
    ),
    "thousands.csv": lines(
        lambda ts, m, o, h, lo, c, v: ",".join((f"{m:%d.%m.%Y %H:%M}", *(f'"{x:,.2f}"' for x in (o, h, lo, c, v)))),
        HEADER,
    ),
    "metatrader.csv": lines(
        lambda ts, m, o, h, lo, c, v: f"{m:%Y.%m.%d}\t{m:%H:%M:%S}\t{o}\t{h}\t{lo}\t{c}\t{v}",
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<VOL>",
    ),
    "metatrader, no header.csv": lines(lambda ts, m, o, h, lo, c, v: f"{m:%Y.%m.%d},{m:%H:%M},{o},{h},{lo},{c},{v}"),
    "am pm.csv": lines(
        lambda ts, m, o, h, lo, c, v: f"{m:%m/%d/%Y %I:%M:%S %p},{o},{h},{lo},{c},{v}", HEADER, rows=TEN
    ),
    "zone.csv": lines(lambda ts, m, o, h, lo, c, v: f"{m.isoformat()},{o},{h},{lo},{c},{v}", HEADER),
    "utc.csv": lines(lambda ts, m, o, h, lo, c, v: f"{m:%Y-%m-%d %H:%M:%S} UTC,{o},{h},{lo},{c},{v}", HEADER),
    "digits.csv": lines(lambda ts, m, o, h, lo, c, v: f"{m:%Y%m%d%H%M},{o},{h},{lo},{c},{v}", HEADER),
    "data frame.csv": lines(
        lambda ts, m, o, h, lo, c, v: f"{m:%Y-%m-%d %H:%M:%S},{o},{h},{lo},{c},{v}", ",open,high,low,close,volume"
    ),
    "nanoseconds.csv": lines(lambda ts, m, o, h, lo, c, v: f"{ts * 10**6},{o},{h},{lo},{c},{v}", HEADER),
    "crlf.csv": lines(usual, HEADER, end="\r\n") + "\r\n",
    "cr.csv": lines(usual, HEADER, end="\r"),
    "blank lines.csv": lines(usual, HEADER, end="\n\n") + "\n\n",
    "repeated header.csv": lines(usual, HEADER, rows=range(5)) + lines(usual, HEADER, rows=range(5, 10)),
    "bom.csv": b"\xef\xbb\xbf" + lines(usual, HEADER).encode(),
    "utf16.csv": lines(usual, HEADER).encode("utf-16"),
    "packed.csv.gz": gzip.compress(lines(usual, HEADER).encode()),
    "archive.zip": zipped(table=lines(usual)),
    "archive.csv.zip": zipped(table=lines(usual)),
    "bybit.json": json.dumps(
        {
            "retCode": 0,
            "result": {"category": "linear", "list": [[*map(str, r), str(r[4] * r[5])] for r in VALUES[::-1]]},
        }
    ),
    "okx.json": json.dumps({"code": "0", "data": [[*map(str, r), "0", "0", "1"] for r in VALUES[::-1]]}),
    "kraken.json": json.dumps(
        {
            "error": [],
            "result": {"XXBTZUSD": [[t // 1000, o, h, lo, c, (h + lo) / 2, v, 7] for t, o, h, lo, c, v in VALUES]},
        }
    ),
    "tradingview.json": json.dumps({"s": "ok", **COLUMNS}),
    "split.json": json.dumps({"columns": list(COLUMNS), "index": list(TEN), "data": VALUES}),
    "by row.json": json.dumps({name: dict(enumerate(column)) for name, column in COLUMNS.items()}),
    "lines.jsonl": "\n".join(json.dumps(dict(zip(COLUMNS, r, strict=True))) for r in VALUES),
    "freqtrade.json.gz": gzip.compress(json.dumps(VALUES).encode()),
}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(tmp_path, content, name="x.csv", **options):
    return candles_of(read_table(write(tmp_path / name, content)), **options)


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_every_layout_gives_the_same_candles(tmp_path, name):
    candles = read_candles(write(tmp_path / name, LAYOUTS[name]))
    check(candles)
    assert candles.bar_ms == MINUTE
    found = np.column_stack([candles.ts, candles.open, candles.high, candles.low, candles.close, candles.volume])
    np.testing.assert_allclose(found, VALUES, rtol=1e-12)


def test_zstd(tmp_path):
    pl.DataFrame(VALUES, schema=HEADER.split(","), orient="row").write_csv(tmp_path / "x.csv.zst", compression="zstd")
    assert read_candles(tmp_path / "x.csv.zst").close[0] == 93_505.0


def test_an_order_that_is_not_the_usual_one_is_told(tmp_path):
    (said,) = read(tmp_path, LAYOUTS["kucoin.csv"]).notices
    assert "KuCoin's, Bitfinex's and Jesse's order: ts, open, close, high, low, volume" in said
    assert read(tmp_path, LAYOUTS["no header.csv"]).notices == ()


def test_one_change_of_the_unit_is_told_and_several_are_refused(tmp_path):
    mixed = [f"{ts * (1000 if i >= 5 else 1)},1,2,1,2,3" for i, (ts, *_) in enumerate(VALUES)]
    reading = read(tmp_path, "\n".join(mixed))
    assert reading.candles.ts.tolist() == [ts for ts, *_ in VALUES]
    assert reading.notices == ("times change from milliseconds to microseconds at row 5 (2025-01-01T00:05:00Z)",)
    with pytest.raises(Misconfigured, match="unit changes 2 times, first at row 5"):
        read(tmp_path, "\n".join([*mixed, f"{VALUES[-1][0] + MINUTE},1,2,1,2,3"]))


@pytest.mark.parametrize(
    ("form", "days"), [("%d/%m/%Y", 40), ("%m/%d/%Y", 40), ("%d/%m/%Y", 10), ("%m/%d/%Y", 10), ("%Y%m%d", 10)]
)
def test_days_and_months_are_told_apart(tmp_path, form, days):
    moments = [datetime.fromtimestamp((NEW_YEAR + DAY * i) / 1000, UTC) for i in range(days)]
    candles = read(tmp_path, "\n".join([HEADER, *(f"{m.strftime(form)},1,2,1,2,3" for m in moments)])).candles
    assert (candles.bar_ms, candles.ts.tolist()) == (DAY, [NEW_YEAR + DAY * i for i in range(days)])


# Misread.


def test_f76_a_header_in_the_wrong_order_is_refused_with_the_order_that_fits(tmp_path):
    with pytest.raises(
        Misconfigured, match=r"misread, for in \d+ of 10 rows .*KuCoin's.*: correct the header"
    ) as error:
        read(tmp_path, f"{HEADER}\n{LAYOUTS['kucoin.csv']}")
    assert "repair" not in str(error.value)


def test_rows_that_no_order_fits_are_refused(tmp_path):
    odd = [f"{ts},{o},{lo},{h},{o},{v}" for ts, o, h, lo, c, v in VALUES]
    with pytest.raises(Misconfigured, match=r"no known column order fits its rows \(nearest.*give it a header line"):
        read(tmp_path, "\n".join(odd))
    with pytest.raises(Misconfigured, match="no known column order fits them"):
        read(tmp_path, "\n".join([HEADER, *odd]))


def test_a_few_faulty_rows_are_faults_and_many_are_a_misread_file(tmp_path):
    def spoilt(count):
        return "\n".join(
            [
                HEADER,
                *(f"{NEW_YEAR + MINUTE * i},2,{1 if i % 10 == 0 and i < 10 * count else 3},1,2,5" for i in range(100)),
            ]
        )

    assert len(read(tmp_path, spoilt(3)).candles) == 100
    with pytest.raises(Misconfigured, match="misread, for in 4 of 100 rows high lies under"):
        read(tmp_path, spoilt(4).replace(",1,1,2,", ",1,2,2,"))


@pytest.mark.parametrize(
    ("times", "options", "said"),
    [
        ([1_000_000 + 60 * i for i in TEN], {}, "before 2009 or after tomorrow .*1970-01-12"),
        ([NEW_YEAR + MINUTE * i for i in TEN], {"now_ms": NEW_YEAR - 2 * DAY}, "after tomorrow .*2025-01-01"),
        ([f"day {i}" for i in TEN], {}, "cannot be read"),
    ],
)
def test_f78_times_of_no_market_are_refused(tmp_path, times, options, said):
    text = "\n".join([HEADER, *(f"{t},1,2,1,2,3" for t in times)])
    with pytest.raises(Misconfigured, match=said):
        read(tmp_path, text, **options)


def test_today_is_no_later_than_tomorrow(tmp_path):
    assert len(read(tmp_path, LAYOUTS["no header.csv"], now_ms=NEW_YEAR).candles) == 10


def test_a_file_without_volume_says_how_to_take_it_all_the_same(tmp_path):
    text = "\n".join(["start_at,open,high,low,close", *(f"{ts},{o},{h},{lo},{c}" for ts, o, h, lo, c, _ in VALUES)])
    with pytest.raises(NotCandles, match=r"no column for volume.*index or a mark price.*--volume"):
        read(tmp_path, text)
    assert read(tmp_path, text, volume=5.0).candles.volume.tolist() == [5.0] * 10


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (zipped(one=lines(usual), two=lines(usual)), "x.zip", "2 tables (one.csv, two.csv)"),
        (zipped(), "x.zip", "no table"),
        (
            "\n".join(["symbol," + HEADER, *(f"A{i % 2},{','.join(map(str, VALUES[i]))}" for i in TEN)]),
            "x.csv",
            "2 symbols",
        ),
        ("[" * 100_000, "x.json", "cannot be read"),
        ('{"a": 1}', "x.json", "no list of candles"),
        (f"[[{'9' * 400}, 1, 2, 1, 2, 3]]", "x.json", "x.json"),
        ("words and nothing else", "x.txt", "no rows of numbers"),
        (b"PK\x03\x04broken", "x.zip", "cannot be read"),
        (gzip.compress(b"1,2,3", mtime=0)[:-4], "x.csv.gz", "cannot be read"),
    ],
)
def test_what_is_no_table_of_candles_is_one_sentence(tmp_path, content, name, said):
    with pytest.raises(Misconfigured) as error:
        read_candles(write(tmp_path / name, content))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400 + len(str(tmp_path))


# Length of bars.


@pytest.mark.parametrize(
    ("steps", "named", "length"),
    [
        ([HOUR] * 10, None, HOUR),
        ([2 * MINUTE] * 9 + [MINUTE], None, MINUTE),  # every second minute, mostly
        ([2 * HOUR] * 40 + [HOUR, 3 * HOUR], None, HOUR),
        ([HOUR, HOUR, HOUR + 894_789, *[HOUR] * 8], None, HOUR),  # an outage left rows off the grid
        ([8 * HOUR] * 5, None, 8 * HOUR),
        ([3 * DAY] * 5, None, 3 * DAY),
        ([7 * DAY] * 5, None, 7 * DAY),
        ([5 * MINUTE, 10 * MINUTE, 5 * MINUTE], MINUTE, MINUTE),  # the name knows it better
        ([HOUR] * 10, MINUTE, HOUR),  # the name is wrong
        ([], DAY, DAY),
        ([HOUR] * 500 + [2 * MINUTE] + [HOUR] * 500, None, HOUR),
    ],
)
def test_the_length_of_a_bar(steps, named, length):
    assert bar_length(NEW_YEAR + np.cumsum([0, *steps]), named) == length


def test_months_and_single_rows_are_no_bars():
    with pytest.raises(Misconfigured, match="bars of a month"):
        bar_length(NEW_YEAR + np.cumsum([0, 31 * DAY, 28 * DAY, 31 * DAY]))
    with pytest.raises(Misconfigured, match="at least two"):
        bar_length(np.array([NEW_YEAR]))
    with pytest.raises(Misconfigured, match="7000 ms"):
        bar_length(NEW_YEAR + 7000 * np.arange(10))


@pytest.mark.parametrize(
    ("bar", "offset", "notice"),
    [
        (DAY, 16 * HOUR, ("its bars of 1d begin at 16:00 UTC",)),
        (7 * DAY, 5 * DAY, ()),
        (8 * HOUR, 0, ()),
        (3 * DAY, DAY, ()),
    ],
)
def test_long_bars_may_begin_at_any_full_hour_and_it_is_told(tmp_path, bar, offset, notice):
    reading = read(tmp_path, "\n".join(f"{NEW_YEAR + offset + bar * i},1,2,1,2,3" for i in range(8)))
    check(reading.candles)
    assert (reading.candles.bar_ms, reading.notices) == (bar, notice)
