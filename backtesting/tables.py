"""Files as tables: CSV of any separator, Parquet, Feather and JSON, also packed as gz, zst or zip.

The content tells what a file is; a CSV's columns stay text, so that nothing is guessed about numbers and times here.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl

from bot.errors import Misconfigured

ENDINGS = re.compile(
    r"\.(csv|tsv|txt|parquet|pq|feather|arrow|ipc|json|jsonl|ndjson)(\.gz|\.zst|\.zip)?$|\.zip$", re.IGNORECASE
)
SEPARATORS = "\t;|,"  # a comma may also be a decimal or thousands mark, so it is tried last
NUMBER = re.compile(r"\s*[-+$]?\d[\d.,' \u00a0]*(e[-+]?\d+)?\s*", re.IGNORECASE)
HEAD_BYTES, HEAD_LINES = 65_536, 200
FEWEST = 4  # columns of numbers in a row of data
UNREADABLE = (
    *(pl.exceptions.PolarsError, csv.Error, zipfile.BadZipFile, zlib.error),
    *(OSError, EOFError, ValueError, TypeError, OverflowError, RecursionError),
)
LISTS = ("result", "data", "candles", "list", "rows", "klines")  # under which venues put their rows


class NotCandles(Misconfigured):
    """A file that is no table of candles, or one of prices that nobody traded at."""


@dataclass(frozen=True)
class Table:
    """Rows of a file, whether a header named the columns, what was left out, and what a venue's answer says of them.

    `facts` may hold `symbol` and `category`.
    """

    frame: pl.DataFrame
    named: bool
    notices: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)


def read_table(path: Path) -> Table:
    """Read a file's one table; raises Misconfigured when it is missing, unreadable or of another kind."""
    if not path.is_file():
        raise Misconfigured(f"{path} is no file; give the path of a CSV, Parquet, Feather or JSON file.")
    if not ENDINGS.search(path.name):
        raise Misconfigured(f"{path}: ending {path.suffix!r} is unknown; give .csv, .parquet, .feather or .json.")
    try:
        return _table(path.read_bytes())
    except Misconfigured as error:
        raise type(error)(f"{path}: {error}") from None
    except UNREADABLE as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise Misconfigured(f"{path} cannot be read ({reason}); check that the file is whole.") from None


def _table(content: bytes) -> Table:
    if content.startswith(b"PK"):
        return _table(_only_member(content))
    if content.startswith(b"\x1f\x8b"):
        return _table(gzip.decompress(content))
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        lines = pl.read_csv(content, has_header=False, separator="\x1f", quote_char=None, infer_schema=False)
        return _table("\n".join(lines.to_series().fill_null("")).encode())
    if content.startswith(b"PAR1"):
        return Table(pl.read_parquet(io.BytesIO(content)), named=True)
    if content.startswith(b"ARROW1"):
        return Table(pl.read_ipc(io.BytesIO(content)), named=True)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        content = content.decode("utf-16").encode()
    content = content.removeprefix(b"\xef\xbb\xbf")
    return _of_json(content) if content.lstrip()[:1] in (b"[", b"{") else _of_text(content)


def _only_member(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if ENDINGS.search(name) and not name.startswith("__MACOSX")]
        if len(names) != 1:
            listed = f"{len(names)} tables ({', '.join(names[:5])[:150]})" if names else "no table"
            raise Misconfigured(f"the archive holds {listed}; unpack it and import the folder.")
        return archive.read(names[0])


def _of_text(content: bytes) -> Table:
    """Read CSV: find separator, header and first row, and leave out what stands above, blank and repeated lines."""
    if b"\n" not in content[:HEAD_BYTES]:
        content = content.replace(b"\r", b"\n")
    head = content[:HEAD_BYTES].decode("utf-8", "replace").splitlines()[:HEAD_LINES]
    separator = _separator(head)
    rows = [_fields(line, separator) for line in head]
    counts = [sum(bool(NUMBER.fullmatch(field)) for field in row) for row in rows]
    fewest = min(max(counts, default=0), FEWEST)  # what is no candles has fewer, such as trades
    if fewest < 1:
        raise NotCandles("it holds no rows of numbers; give time, open, high, low, close and volume.")
    first = next(i for i, count in enumerate(counts) if count >= fewest)
    header = next((row for row in reversed(rows[:first]) if len(row) >= fewest), None)
    frame = pl.read_csv(
        content,
        has_header=False,
        skip_lines=first,
        separator=separator,
        infer_schema=False,
        truncate_ragged_lines=True,
        encoding="utf8-lossy",
    )
    frame.columns = _unique(header or [], frame.width)
    if (frame.to_series().fill_null("").str.strip_chars() == "").any():
        frame = frame.filter(~pl.all_horizontal(pl.all().is_null() | (pl.all().str.strip_chars() == "")))
    if header is None:
        return Table(frame, named=False)
    again = (frame.to_series().str.strip_chars() == header[0]).fill_null(value=False)
    said = f"{again.sum()} repeated header lines are left out"
    return Table(frame.filter(~again), True, (said,)) if header[0] and again.any() else Table(frame, named=True)


def _separator(lines: list[str]) -> str:
    """Choose the first separator by which the usual line has enough fields, else the first that has any."""
    for fewest, separator in product((FEWEST, 2), SEPARATORS):
        widths = Counter(len(_fields(line, separator)) for line in lines if line.strip())
        if widths and widths.most_common(1)[0][0] >= fewest:
            return separator
    return ","


def _fields(line: str, separator: str) -> list[str]:
    return [field.strip().lstrip("#").strip() for field in next(csv.reader([line], delimiter=separator), [])]


def _unique(names: list[str], width: int) -> list[str]:
    """Give each of `width` columns a name of its own."""
    names = [*names[:width], *[""] * (width - len(names))]
    return [name if name and name not in names[:k] else f"column {k + 1}" for k, name in enumerate(names)]


def _of_json(content: bytes) -> Table:
    try:
        values = json.loads(content)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise
        values = [json.loads(line) for line in content.splitlines() if line.strip()]
    table = _found(values)
    if table is None or not table.frame.height:
        raise NotCandles("no list of candles inside; give [[ts, open, high, low, close, volume], …].")
    answer = values.get("result", values) if isinstance(values, dict) else {}
    known = answer if isinstance(answer, dict) else {}
    facts = {name: known[name] for name in ("category", "symbol") if isinstance(known.get(name), str)}
    return replace(table, facts=facts)


def _found(values: Any) -> Table | None:
    """Find the rows in what a venue answered or a library wrote: lists, objects, or one list a column."""
    if isinstance(values, dict):
        return _found_in(values)
    if not isinstance(values, list) or not values:
        return None
    if all(isinstance(row, dict) for row in values):
        return Table(pl.DataFrame(values, strict=False, infer_schema_length=None), named=True)
    if all(isinstance(row, list) for row in values):
        unnamed = {f"column {k + 1}": column for k, column in enumerate(zip(*values, strict=False))}
        return Table(_frame(unnamed), named=False)
    return None


def _found_in(values: dict[str, Any]) -> Table | None:
    """Find the rows in an object: as columns and data, as one list a column, or further inside."""
    if isinstance(values.get("columns"), list) and isinstance(values.get("data"), list):
        names = [str(name) for name in values["columns"]]
        split = dict(zip(names, zip(*values["data"], strict=False), strict=False))
        return Table(_frame({"index": values["index"], **split} if values.get("index") else split), named=True)
    columns = {name: list(one.values()) if isinstance(one, dict) else one for name, one in values.items()}
    columns = {name: one for name, one in columns.items() if _flat(one)}
    if len(columns) > FEWEST and len({len(one) for one in columns.values()}) == 1:
        return Table(_frame(columns), named=True)
    inner = [values[name] for name in LISTS if name in values] + list(values.values())
    return next((table for one in inner if (table := _found(one)) is not None), None)


def _flat(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and not any(isinstance(one, list | dict) for one in values)


def _frame(columns: dict[str, Any]) -> pl.DataFrame:
    """Columns of one type each: numbers where every value is one, else text."""
    return pl.DataFrame(
        {
            name: list(values)
            if all(isinstance(one, int | float) for one in values)
            else [None if one is None else str(one) for one in values]
            for name, values in columns.items()
        },
        strict=False,
    )
