"""Candles from a frame or a file, and back to a frame.

Reading never changes, sorts or drops a row: `backtesting.candle_checks` judges and repairs.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from bot.candles import COLUMNS, Candles, bar_length, parse_time, to_ms
from bot.errors import Misconfigured, cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Names that exchanges, libraries and people give these columns, without case and punctuation.
KNOWN_NAMES = {
    "ts": (
        "ts",
        "timestamp",
        "time",
        "date",
        "datetime",
        "opentime",
        "starttime",
        "start",
        "unix",
        "t",
        "timeutc",
    ),
    "open": ("open", "o", "openprice"),
    "high": ("high", "h", "highprice", "max"),
    "low": ("low", "l", "lowprice", "min"),
    "close": ("close", "c", "closeprice", "last"),
    "volume": ("volume", "vol", "v", "basevolume", "volumebase", "quantity"),
}


def to_frame(candles: Candles) -> pl.DataFrame:
    """Columns ts, open, high, low, close, volume."""
    return pl.DataFrame({name: getattr(candles, name) for name in COLUMNS})


def from_frame(frame: Any, bar_ms: int | None = None) -> Candles:
    """Candles from a Polars or pandas frame, rows as they are; `bar_ms` where one or two rows cannot tell it.

    Raises Misconfigured naming a column that could not be recognised.
    """
    if not isinstance(frame, pl.DataFrame):
        frame = _from_pandas(frame)
    found = _recognise(frame.columns)
    ts = _times(frame[found["ts"]])
    values = {name: _floats(frame[found[name]]) for name in COLUMNS[1:]}
    return Candles(ts=ts, bar_ms=bar_ms or bar_length(ts), **values)


def read_candles(path: str | Path, bar_ms: int | None = None) -> Candles:
    """Candles from a CSV (with or without header), Parquet, Feather or JSON file, rows as they are.

    Raises Misconfigured when the file is missing, unreadable or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise Misconfigured(f"candles {path} is no file; give the path of a CSV, Parquet, Feather or JSON file.")
    name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
    try:
        if name.endswith((".csv", ".txt", ".tsv")):
            frame = _read_csv(path)
        elif name.endswith((".parquet", ".pq")):
            frame = pl.read_parquet(path)
        elif name.endswith((".feather", ".arrow", ".ipc")):
            frame = pl.read_ipc(path)
        elif name.endswith(".json"):
            frame = _read_json(path)
        else:
            raise Misconfigured(f"ending {path.suffix!r} is unknown; give .csv, .parquet, .feather or .json.")  # noqa: TRY301
        return from_frame(frame, bar_ms)
    except Misconfigured as error:
        raise Misconfigured(f"{path}: {cut(str(error), 400)}") from None
    except (pl.exceptions.PolarsError, OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        reason = cut(str(error) or type(error).__name__)
        raise Misconfigured(f"candles {path} cannot be read ({reason}); check that the file is whole.") from None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _recognise(columns: list[str]) -> dict[str, str]:
    """Map our names to the frame's; prefixes such as "Volume BTC" count when nothing else does."""
    plain = {column: _plain(column) for column in columns}
    found: dict[str, str] = {}
    for name in COLUMNS:
        exact = [c for known in KNOWN_NAMES[name] for c, p in plain.items() if p == known]
        loose = [c for c, p in plain.items() if name == "volume" and p.startswith("volume") and "usd" not in p]
        if not exact and not loose:
            raise Misconfigured(
                f"no column for {name} among {', '.join(columns[:12])}; rename one to {name!r} and try again."
            )
        found[name] = (exact or loose)[0]
    return found


def _from_pandas(frame: Any) -> pl.DataFrame:
    if not hasattr(frame, "columns") or not hasattr(frame, "reset_index"):
        raise Misconfigured(f"candles are a {type(frame).__name__}; give a Polars or pandas frame, or a file's path.")
    columns = [str(column) for column in frame.columns]
    if not any(_plain(column) in KNOWN_NAMES["ts"] for column in columns):
        frame = frame.rename_axis("ts").reset_index()
    dates = {column: frame[column].dt.as_unit("ms") for column in frame.columns if frame[column].dtype.kind == "M"}
    values = {column: dates[column].astype("int64") if column in dates else frame[column] for column in frame.columns}
    return pl.DataFrame({str(column): values[column].to_numpy() for column in frame.columns})


def _times(column: pl.Series) -> NDArray[np.int64]:
    """Epoch ms of a column of numbers, dates, datetimes or ISO strings."""
    if column.dtype in (pl.Date, pl.Datetime) or isinstance(column.dtype, pl.Datetime):
        return column.cast(pl.Datetime("ms")).cast(pl.Int64).fill_null(-1).to_numpy().astype(np.int64)
    if column.dtype == pl.String:
        numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
        if numbers.null_count() == 0:
            return to_ms(numbers.to_numpy())
        return np.array([parse_time(text or "") for text in column.to_list()], np.int64)
    return to_ms(column.cast(pl.Float64).to_numpy())


def _floats(column: pl.Series) -> NDArray[np.float64]:
    return column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy().astype(np.float64)


def _read_csv(path: Path) -> pl.DataFrame:
    """Read a CSV of commas, semicolons or tabs; without a header the six columns come in the usual order."""
    head = pl.read_csv(path, has_header=False, n_rows=1, separator="\x1f", quote_char=None, infer_schema=False)
    line = str(head.item(0, 0)) if head.height else ""
    separator = max(",;\t", key=line.count)
    has_header = not re.match(r"\s*\"?[-\d]", line)
    frame = pl.read_csv(path, has_header=has_header, separator=separator, infer_schema_length=None)
    return frame if has_header else _in_order(frame)


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    if frame.width < len(COLUMNS):
        raise Misconfigured(f"{frame.width} columns without a header; six are needed: {', '.join(COLUMNS)}.")
    return frame.select(frame.columns[: len(COLUMNS)]).rename(dict(zip(frame.columns, COLUMNS, strict=False)))


def _read_json(path: Path) -> pl.DataFrame:
    values = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(values, dict):
        values = values.get("data", values.get("candles", []))
    if not isinstance(values, list) or not values:
        raise Misconfigured("no list of candles inside; give [[ts, open, high, low, close, volume], …].")
    if isinstance(values[0], dict):
        return pl.DataFrame(values)
    columns = list(zip(*values, strict=True))
    return _in_order(pl.DataFrame({f"column_{i}": list(column) for i, column in enumerate(columns)}, strict=False))
