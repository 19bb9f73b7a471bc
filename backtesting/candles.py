"""Candles of one pair as arrays, from a frame or a file.

A candle's time is its opening, UTC, epoch milliseconds. Reading never changes, sorts or drops a row:
`backtesting.candle_checks` judges and repairs.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from bot.errors import Misconfigured

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = ("ts", "open", "high", "low", "close", "volume")

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

SECOND = 1000
BAR_LENGTHS = tuple(
    SECOND * s for s in (1, 5, 15, 30, 60, 180, 300, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 604800)
)


@dataclass(frozen=True, slots=True)
class Candles:
    """Base bars of one pair: six arrays of shape (n,), ascending in `ts` once checked, gaps allowed.

    `ts` is int64 (ms, opening time); prices are float64 in quote currency, `volume` float64 in base currency;
    `bar_ms` is the length of one bar.
    """

    ts: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    bar_ms: int

    def __len__(self) -> int:
        return len(self.ts)

    def snapshot(self) -> str:
        """Data snapshot id: SHA-256 over the six arrays, first 16 hex digits; equal data, equal id."""
        digest = hashlib.sha256(str(self.bar_ms).encode())
        for name in COLUMNS:
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return digest.hexdigest()[:16]

    def rows(self, chosen: Any) -> Candles:
        """Rows chosen by a slice, mask or index array."""
        return Candles(bar_ms=self.bar_ms, **{name: getattr(self, name)[chosen] for name in COLUMNS})

    def between(self, start_ms: int | None, end_ms: int | None) -> Candles:
        """Bars that open in [start_ms, end_ms); None is unbounded. The candles must be ascending."""
        first = 0 if start_ms is None else int(np.searchsorted(self.ts, start_ms))
        last = len(self) if end_ms is None else int(np.searchsorted(self.ts, end_ms))
        return self.rows(slice(first, max(first, last)))

    def frame(self) -> pl.DataFrame:
        """Columns ts, open, high, low, close, volume."""
        return pl.DataFrame({name: getattr(self, name) for name in COLUMNS})


def parse_time(text: str) -> int:
    """Epoch milliseconds of "2024-03-05", "2024-03-05T12:00[Z]" or epoch digits; naive means UTC.

    Raises Misconfigured when it is none of these.
    """
    text = text.strip()
    if re.fullmatch(r"-?\d+", text):
        return int(_to_ms(np.array([int(text)]))[0])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Misconfigured(f"time {text!r} is no date; write it like 2024-03-05 or 2024-03-05T12:00.") from None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)


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
        raise Misconfigured(f"{path}: {error}") from None
    except (pl.exceptions.PolarsError, OSError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Misconfigured(f"candles {path} cannot be read ({reason}); check that the file is whole.") from None


def bar_length(ts: NDArray[np.int64]) -> int:
    """Length of a bar: the most common step between times; raises Misconfigured when it is no usual length."""
    if len(ts) < 2:
        raise Misconfigured("candles: a single row does not tell the length of a bar; give at least two.")
    steps, counts = np.unique(np.abs(np.diff(ts)), return_counts=True)
    step = int(steps[np.argmax(np.where(steps > 0, counts, 0))])
    if step not in BAR_LENGTHS:
        raise Misconfigured(f"candles: the usual step between rows is {step} ms, which is no bar length known.")
    return step


def bar_name(bar_ms: int) -> str:
    """Name of a bar's length: 1m, 5m, 1h, 1d."""
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        if bar_ms % length == 0:
            return f"{bar_ms // length}{unit}"
    return f"{bar_ms // 1000}s"


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
            return _to_ms(numbers.to_numpy())
        return np.array([parse_time(text or "") for text in column.to_list()], np.int64)
    return _to_ms(column.cast(pl.Float64).to_numpy())


def _to_ms(values: NDArray[Any]) -> NDArray[np.int64]:
    """Epoch numbers in seconds, ms, µs or ns to ms; the size of the largest tells the unit."""
    largest = float(np.nanmax(np.abs(values.astype(np.float64)), initial=0.0))
    scale = 1000.0 if largest < 1e11 else 1.0 if largest < 1e14 else 1e-3 if largest < 1e17 else 1e-6
    return np.rint(np.nan_to_num(values.astype(np.float64) * scale, nan=-1.0)).astype(np.int64)


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
