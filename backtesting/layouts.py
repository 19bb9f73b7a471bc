"""Which column of a table is what: by the names of its header, else by the known order that fits its rows.

A layout is judged before a single row is: candles of another order look like faulty ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from backtesting.tables import NotCandles
from backtesting.timestamps import times
from bot.candles import COLUMNS, EARLIEST_MS, LATEST_MS
from bot.errors import Misconfigured

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Names that exchanges, libraries and people give these columns, without case and punctuation, the best first.
KNOWN_NAMES = {
    "ts": (
        *("ts", "opentime", "opentimems", "starttime", "startat", "start", "timestart", "timeperiodstart", "timestamp"),
        *("unix", "unixtimestamp", "unixtime", "time", "datetime", "date", "timeutc", "dateutc", "gmttime", "t"),
        *("candlebegintime", "begin", "id"),
    ),
    "open": ("open", "o", "openprice"),
    "high": ("high", "h", "highprice", "max"),
    "low": ("low", "l", "lowprice", "min"),
    "close": ("close", "c", "closeprice", "last"),
    "volume": ("volume", "vol", "v", "basevolume", "volumebase", "quantity", "amount", "volccy"),
}
# Base volume times price; finding it tells which of several volumes is the base's.
TURNOVERS = ("volquote", "volccy", "turnover", "quotevolume", "quoteassetvolume", "quoteav", "value", "vol", "q")
SYMBOLS = ("symbol", "instrumentname", "instid", "ticker", "pair", "tic")
# Column orders of files without a header. Their extra columns must fit, too: `vwap` lies within low and high, and
# `turnover` is the volume times such a price.
ORDERS = {
    "Kraken's API": ("ts", "open", "high", "low", "close", "vwap", "volume"),
    "gate.io's API": ("ts", "turnover", "close", "high", "low", "open", "volume"),
    "Binance's and Bybit's": ("ts", "open", "high", "low", "close", "volume"),
    "KuCoin's, Bitfinex's and Jesse's": ("ts", "open", "close", "high", "low", "volume"),
    "gate.io's": ("ts", "volume", "close", "high", "low", "open"),
    "Coinbase's": ("ts", "low", "high", "open", "close", "volume"),
}
USUAL = "Binance's and Bybit's"
SAMPLE = 2000
FITTING = 0.97  # share of the sampled rows that a layout must explain
CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
MARKS = {"comma": r"[.' \x{a0}]", "thousands": r"[,' \x{a0}$]"}


def named_columns(frame: pl.DataFrame, volume: float | None = None) -> pl.DataFrame:
    """Columns ts, open, high, low, close, volume of a table with a header, values as they are.

    `volume` (base units a bar) stands in where the table has none. Raises NotCandles naming what is not there.
    """
    plain = _plain(frame)
    symbol_column(frame)
    found = {name: next((plain[n] for n in known if n in plain), None) for name, known in KNOWN_NAMES.items()}
    if found["ts"] is None and frame.width and frame.columns[0] in ("", "column 1", "index", "Unnamed: 0"):
        found["ts"] = frame.columns[0]  # the index of a data frame
    for name in COLUMNS[:-1]:
        if found[name] is None:
            listed = ", ".join(frame.columns[:12])[:200]
            raise NotCandles(f"no column for {name} among {listed}; rename one to {name!r} and try again.")
    chosen = {name: frame[column] for name, column in found.items() if column is not None and name != "volume"}
    if {"date", "time"} <= plain.keys() and _is_clock(frame[plain["time"]]):
        chosen["ts"] = _joined(frame[plain["date"]], frame[plain["time"]])
    return pl.DataFrame({**chosen, "volume": _volume(frame, plain, chosen, volume)})


def _plain(frame: pl.DataFrame) -> dict[str, str]:
    """Names of the columns by their letters alone."""
    plain: dict[str, str] = {}
    for column in frame.columns:
        plain.setdefault(re.sub(r"[^a-z]", "", column.lower()), column)
    return plain


def symbol_column(frame: pl.DataFrame) -> str | None:
    """The one symbol that a column of the table tells, None without one; raises Misconfigured for several."""
    plain = _plain(frame)
    column = next((frame[plain[name]] for name in SYMBOLS if name in plain), None)
    if column is None or not len(column):
        return None
    if column.n_unique() > 1:
        raise Misconfigured(f"it holds {column.n_unique()} symbols; give a file for each.")
    return str(column[0])


def _volume(frame: pl.DataFrame, plain: dict[str, str], prices: dict[str, pl.Series], given: float | None) -> pl.Series:
    """Choose the volume in base units: the one that some other column is the turnover of, else the best name."""
    candidates = [plain[name] for name in KNOWN_NAMES["volume"] if name in plain]
    candidates += [c for name, c in plain.items() if name.startswith("volume") and c not in candidates]
    if not candidates:
        if given is None:
            raise NotCandles(
                "no column for volume: these are candles of an index or a mark price, or an export without it; to take "
                "the prices all the same, name the volume of every bar with --volume (base units)."
            )
        return pl.repeat(given, frame.height, dtype=pl.Float64, eager=True)
    turnovers = [plain[name] for name in TURNOVERS if name in plain]
    turnovers += [c for name, c in plain.items() if name.startswith("volume")]
    low, high = (numbers(prices[name].head(SAMPLE)) for name in ("low", "high"))
    volumes = {name: numbers(frame[name].head(SAMPLE)) for name in {*candidates, *turnovers}}
    for name in candidates:
        if any(_is_turnover(volumes[other], volumes[name], low, high) for other in turnovers if other != name):
            return frame[name]
    named_quote = [c for c in candidates if re.search(r"(usd[tc]?|eur|quote)$", c.lower())]
    return frame[next((c for c in candidates if c not in named_quote), candidates[0])]


def _is_turnover(
    turnover: NDArray[np.float64], volume: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> bool:
    """Whether `turnover` is `volume` times a price between low and high, (n,) each, in nearly every row."""
    traded = volume > 0
    if not traded.any():
        return False
    price = turnover[traded] / volume[traded]
    return bool(np.mean((price >= 0.99 * low[traded]) & (price <= 1.01 * high[traded])) >= FITTING)


def ordered_columns(frame: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """Columns ts, open, high, low, close, volume of a table without a header, and whose order it is.

    Raises Misconfigured when no known order fits.
    """
    frame = _from_time_on(frame)
    order, shares = best_order(frame)
    if order is None:
        nearest = max(shares, key=lambda name: shares[name], default=USUAL)
        raise Misconfigured(
            f"no known column order fits its rows (nearest, with {shares.get(nearest, 0.0):.0%} of them, is {nearest}: "
            f"{', '.join(ORDERS[nearest])}); give it a header line with these names."
        )
    columns = dict(zip(ORDERS[order], frame.columns, strict=False))
    if order == USUAL:
        columns["volume"] = _unnamed_volume(frame)
    return frame.select(pl.col(columns[name]).alias(name) for name in COLUMNS), order


def best_order(frame: pl.DataFrame) -> tuple[str | None, dict[str, float]]:
    """Name of the order that explains nearly every sampled row, None for none, and each order's share of rows."""
    step = max(frame.height // SAMPLE, 1)
    values = [numbers(frame[column].gather_every(step)) for column in frame.columns[1:8]]
    shares = {name: _share(dict(zip(order[1:], values, strict=False)), order) for name, order in ORDERS.items()}
    enough = min(FITTING, 1 - 1.5 / max(len(values[0]) if values else 1, 2))  # one row of a few may be faulty
    fitting = [name for name, share in shares.items() if share >= enough]
    return max(fitting, key=lambda name: shares[name], default=None), shares


def _share(row: dict[str, NDArray[np.float64]], order: tuple[str, ...]) -> float:
    """Share of rows that candles in this order could be."""
    if not set(order[1:]) <= row.keys():
        return 0.0
    with np.errstate(invalid="ignore"):
        fits = (row["high"] >= np.maximum(row["open"], row["close"])) & (row["volume"] >= 0)
        fits &= (row["low"] <= np.minimum(row["open"], row["close"])) & (row["low"] > 0)
        if "vwap" in row:
            fits &= (row["vwap"] >= 0.9999 * row["low"]) & (row["vwap"] <= 1.0001 * row["high"])
    if "turnover" in row and not _is_turnover(row["turnover"], row["volume"], row["low"], row["high"]):
        return 0.0
    return float(np.mean(fits)) if len(fits) else 0.0


def _unnamed_volume(frame: pl.DataFrame) -> str:
    """The first of the columns after the prices that a later one is the turnover of, else the first."""
    head = frame.head(SAMPLE)
    values = [numbers(head[column]) for column in head.columns[:8]]
    for k in range(5, len(values)):
        if any(_is_turnover(other, values[k], values[3], values[2]) for other in values[k + 1 :]):
            return frame.columns[k]
    return frame.columns[5]


def _from_time_on(frame: pl.DataFrame) -> pl.DataFrame:
    """Leave out columns before the time, such as a symbol or a row's number; join a date and a clock."""
    for k in range(max(frame.width - len(COLUMNS) + 1, 0)):
        first, second = frame.to_series(k), frame.to_series(k + 1)
        if _is_clock(second) and frame.width > k + len(COLUMNS):
            return frame.select(_joined(first, second).alias("ts"), *frame.columns[k + 2 :])
        ts, _ = times(first.head(SAMPLE))
        if np.mean((ts >= EARLIEST_MS) & (ts < LATEST_MS)) > 0.5:
            return frame.select(frame.columns[k:])
    if frame.width < len(COLUMNS):
        raise Misconfigured(f"{frame.width} columns without a header; six are needed: {', '.join(COLUMNS)}.")
    return frame


def _is_clock(column: pl.Series) -> bool:
    """Whether a column holds times of day."""
    known = column.head(SAMPLE).drop_nulls()
    return known.dtype == pl.String and bool(len(known)) and all(CLOCK.fullmatch(one.strip()) for one in known)


def _joined(dates: pl.Series, clocks: pl.Series) -> pl.Series:
    return dates.cast(pl.String).str.strip_chars() + " " + clocks.str.strip_chars()


def numbers(column: pl.Series) -> NDArray[np.float64]:
    """Numbers (n,) of a column, NaN where there is none; text with a decimal comma or thousands marks is understood."""
    if column.dtype != pl.String:
        return column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy().astype(np.float64)
    text = column.str.strip_chars()
    read = text.cast(pl.Float64, strict=False)
    if read.null_count() > text.null_count():
        marked = text.filter(read.is_null() & text.is_not_null())
        style = "comma" if _decimal_comma(marked) else "thousands"
        cleaned = text.str.replace_all(MARKS[style], "")
        again = cleaned.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
        # A dot is a decimal point in the texts that are numbers already only where no comma is one.
        read = again if style == "comma" else read.fill_null(again)
    return read.fill_null(np.nan).to_numpy().astype(np.float64)


def _decimal_comma(texts: pl.Series) -> bool:
    """Whether the comma of such numbers is the decimal one: not in front of three digits, or after a dot or nothing."""
    decimal = r"^-?(0|\d{4,}|\d{1,3}(\.\d{3})+),\d+$|^-?\d+,(\d{1,2}|\d{4,})$"
    return bool(texts.str.contains(decimal).any())
