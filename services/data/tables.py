"""Tables from files of funding rates and trades: CSV, Parquet, Feather and JSON, also packed as gz, zst or zip."""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import polars as pl

from bot.errors import Misconfigured

PACKED = re.compile(r"\.(gz|zst)$", re.IGNORECASE)
NUMBER = re.compile(r'\s*"?[-+]?\d')
LISTS = ("result", "data", "list", "rows")  # under which venues put their rows


def read_table(path: Path) -> pl.DataFrame:
    """Read the rows of a file; without a header its columns are column_1, column_2 and so on.

    Raises Misconfigured when it is missing, unreadable or of another kind.
    """
    if not path.is_file():
        raise Misconfigured(f"{path} is no file; give the path of a CSV, Parquet, Feather or JSON file.")
    try:
        source, name = _unpacked(path)
        if name.endswith((".parquet", ".pq")):
            return pl.read_parquet(source)
        if name.endswith((".feather", ".arrow", ".ipc")):
            return pl.read_ipc(source)
        if name.endswith(".json"):
            return _of_json(json.loads(_text(source)))
        if name.endswith((".csv", ".tsv", ".txt")):
            return _of_csv(source)
    except (pl.exceptions.PolarsError, OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise Misconfigured(f"{path} cannot be read ({reason}); check that the file is whole.") from None
    raise Misconfigured(f"{path}: ending {path.suffix!r} is unknown; give .csv, .parquet, .feather or .json.")


def _unpacked(path: Path) -> tuple[Path | io.BytesIO, str]:
    """What to read, and its name in small letters; Polars itself unpacks gz and zst."""
    if not path.name.lower().endswith(".zip"):
        return path, PACKED.sub("", path.name.lower())
    with zipfile.ZipFile(path) as archive:
        names = [one for one in archive.namelist() if not one.endswith("/")]
        if len(names) != 1:
            raise Misconfigured(f"{path} holds {len(names)} files; unpack it and give them one by one.")
        return io.BytesIO(archive.read(names[0])), names[0].lower()


def _text(source: Path | io.BytesIO) -> bytes:
    if isinstance(source, io.BytesIO):
        return source.getvalue()
    return gzip.decompress(source.read_bytes()) if source.name.lower().endswith(".gz") else source.read_bytes()


def _of_csv(source: Path | io.BytesIO) -> pl.DataFrame:
    """Read commas, semicolons or tabs."""
    head = pl.read_csv(source, has_header=False, n_rows=1, separator="\x1f", quote_char=None, infer_schema=False)
    line = str(head.item(0, 0)) if head.height else ""
    separator = max(",;\t", key=line.count)
    if isinstance(source, io.BytesIO):
        source.seek(0)
    has_header = not NUMBER.match(line)
    frame = pl.read_csv(source, has_header=has_header, separator=separator, infer_schema_length=10_000)
    return frame if has_header else frame.rename({name: f"column_{i}" for i, name in enumerate(frame.columns, 1)})


def _of_json(values: Any) -> pl.DataFrame:
    """Read a list of objects, wherever the venue's answer has it."""
    while isinstance(values, dict):
        values = next((values[name] for name in LISTS if name in values), None)
    if not isinstance(values, list) or not values or not isinstance(values[0], dict):
        raise ValueError("no list of objects inside")
    return pl.DataFrame(values, infer_schema_length=None)


def column(frame: pl.DataFrame, what: str, names: tuple[str, ...]) -> pl.Series:
    """Find the column that goes by one of `names`, whatever its case and punctuation; raises Misconfigured."""
    plain = {re.sub(r"[^a-z]", "", one.lower()): one for one in reversed(frame.columns)}
    found = next((plain[name] for name in names if name in plain), None)
    if found is None:
        told = ", ".join(frame.columns[:12])[:200]
        raise Misconfigured(f"no column for {what} among {told}; rename one to {names[0]!r} and try again.")
    return frame[found]


def times(series: pl.Series) -> pl.Series:
    """Epoch ms, whole and never rounded up, of times as dates, ISO text, or numbers in s, ms, µs or ns each.

    What cannot be read is null.
    """
    if series.dtype == pl.String:
        numbers = series.str.strip_chars().cast(pl.Float64, strict=False)
        if numbers.null_count() == len(series):
            return series.str.to_datetime(time_unit="ms", time_zone="UTC", strict=False).cast(pl.Int64)
        series = numbers
    if series.dtype.is_temporal():
        return series.cast(pl.Datetime("ms")).cast(pl.Int64)
    value = pl.col("t")
    scale = pl.when(value < 1e11).then(1e3).when(value < 1e14).then(1.0).when(value < 1e17).then(1e-3).otherwise(1e-6)
    frame = series.cast(pl.Float64, strict=False).alias("t").to_frame()
    return frame.select((value * scale).floor().cast(pl.Int64, strict=False)).to_series()
