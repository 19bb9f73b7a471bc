"""Raw rows as they were received, with when and how: a journal of the last hours, and Parquet of those before.

    <data dir>/raw/<YYYY-MM-DDTHH>.jsonl    the hour of receipt, UTC; a line for each row
    <data dir>/raw/<YYYY-MM-DD>.parquet     hours that are over
    <data dir>/raw/<YYYY-MM>.parquet        a month that is over
    <data dir>/raw/revisions.jsonl          minutes that changed after they were known, with both versions
    <data dir>/trades/                      the same of public trades, each of which is kept once

A row is in the journal before anybody is told of it. Whatever moment the process ends at, the journal holds whole lines
and at most one torn end, which is cut off at the next start.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

import polars as pl

from bot.candles import iso
from services.market_data.canonical import Receipt, Revision, Source
from services.market_data.public_trades import PublicTrade
from services.whole_file import put_in_place

HOUR_FILE: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}")
DAY_FILE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
HOUR_NAME, DAY_NAME, MONTH_NAME = 13, 10, 7  # characters of a time
COLUMNS: Final = {
    "market_id": pl.UInt8,
    "symbol": pl.String,
    "ts": pl.Int64,
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Float64,
    "received_ms": pl.Int64,
    "source": pl.String,
    "line": pl.UInt32,  # of its hour's journal: no two rows are equal
}


TRADE_COLUMNS: Final = {
    "market_id": pl.UInt8,
    "symbol": pl.String,
    "id": pl.String,
    "ts": pl.Int64,
    "price": pl.Float64,
    "quantity": pl.Float64,
    "direction": pl.Int8,
    "received_ms": pl.Int64,
    "source": pl.String,
}


class LineFile:
    """A file of lines that only grows: all of a batch is in it, or nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._length = self._without_torn_end()

    def _without_torn_end(self) -> int:
        content = self.path.read_bytes()
        length = content.rfind(b"\n") + 1
        if length < len(content):
            os.ftruncate(self._descriptor, length)
        return length

    def append(self, lines: Iterable[str]) -> None:
        """Add lines; raises OSError, with none of them added, when the disk does not take them."""
        content = "".join(f"{one}\n" for one in lines).encode()
        if not content:
            return
        try:
            written = os.write(self._descriptor, content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        if written < len(content):  # the disk took a part
            os.ftruncate(self._descriptor, self._length)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._length += written

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class JournaledRows:
    """Rows of a folder, in a journal and in Parquet; one process at a time writes them."""

    columns: dict[str, Any]
    unique: tuple[str, ...]  # columns by which two rows are the same

    def __init__(self, root: Path) -> None:
        self.root = root
        self._hour = ""
        self._journal: LineFile | None = None

    def add(self, lines: Iterable[str], received_ms: int) -> None:
        """Add lines to the journal of an hour of receipt; raises OSError, adding none."""
        hour = iso(received_ms)[:HOUR_NAME]
        if hour != self._hour or self._journal is None:
            self._close_journal()
            self._journal, self._hour = LineFile(self.root / f"{hour}.jsonl"), hour
        self._journal.append(lines)

    def lines(self) -> Iterator[str]:
        """Lines of every journal, in the order in which they were received."""
        for path in self._journals():
            LineFile(path).close()  # which cuts a torn end off
            yield from _lines(path)

    def compact(self, before_ms: int) -> None:
        """Put journals of hours that ended by `before_ms` into Parquet of their day, and days into their month.

        Interrupted anywhere, it is done again: a row that is in both files is taken once.
        """
        hour = iso(before_ms)[:HOUR_NAME]
        over = [path for path in self._journals() if path.stem < hour]
        for day in sorted({path.stem[:DAY_NAME] for path in over}):
            own = [path for path in over if path.stem.startswith(day)]
            if self._hour in {path.stem for path in own}:
                self._close_journal()
            self._merge(self.root / f"{day}.parquet", [self._frame(path) for path in own], own)
        days = sorted(path for path in self.root.glob("*.parquet") if DAY_FILE.fullmatch(path.stem))
        for month in sorted({path.stem[:MONTH_NAME] for path in days if path.stem[:MONTH_NAME] < hour[:MONTH_NAME]}):
            own = [path for path in days if path.stem.startswith(month)]
            self._merge(self.root / f"{month}.parquet", [pl.read_parquet(path) for path in own], own)

    def _merge(self, target: Path, rows: list[pl.DataFrame], sources: list[Path]) -> None:
        """Add rows to a file whole, then remove the files that they came from."""
        held = [pl.read_parquet(target)] if target.exists() else []
        partial = target.with_suffix(".partial")
        self._once([*held, *rows]).write_parquet(partial, compression="zstd")
        put_in_place(partial, target)  # on the disk before its sources go
        for one in sources:
            one.unlink()

    def read(self) -> pl.DataFrame:
        """Every row that is kept, oldest first; for people and tests, on files that nobody writes."""
        stored = [pl.read_parquet(path) for path in sorted(self.root.glob("*.parquet"))]
        return self._once([*stored, *map(self._frame, self._journals())])

    def _once(self, rows: list[pl.DataFrame]) -> pl.DataFrame:
        whole = pl.concat(rows) if rows else pl.DataFrame(schema=self.columns)
        return whole.unique(self.unique, keep="first", maintain_order=True)

    def _frame(self, journal: Path) -> pl.DataFrame:
        return pl.DataFrame([json.loads(line) for line in _lines(journal)], schema=self.columns, orient="row")

    def close(self) -> None:
        """Close the files."""
        self._close_journal()

    def _journals(self) -> list[Path]:
        return sorted(path for path in self.root.glob("*.jsonl") if HOUR_FILE.fullmatch(path.stem))

    def _close_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
        self._journal = None


class TradeRows(JournaledRows):
    """The public trades of a data directory."""

    columns = TRADE_COLUMNS
    unique = ("market_id", "symbol", "id")

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir / "trades")

    def append(self, trades: list[PublicTrade]) -> None:
        """Add trades to the journal; raises OSError, adding none."""
        if trades:
            self.add((json.dumps(list(astuple(one))) for one in trades), trades[-1].received_ms)

    def replay(self) -> Iterator[PublicTrade]:
        """Trades of every journal, in the order in which they were received."""
        for line in self.lines():
            fields = dict(zip(TRADE_COLUMNS, json.loads(line), strict=True))
            yield PublicTrade(**{**fields, "source": Source(fields["source"])})


class RawRows(JournaledRows):
    """The raw rows of a data directory, and the minutes that changed."""

    columns = COLUMNS
    unique = tuple(COLUMNS)

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir / "raw")
        self._revisions = LineFile(self.root / "revisions.jsonl")
        self._known = {_key(json.loads(line)) for line in _lines(self._revisions.path)}

    def append(self, receipts: list[Receipt]) -> None:
        """Add rows to the journal of the hour in which the last of them was received; raises OSError, adding none."""
        if receipts:
            self.add((_line(one) for one in receipts), receipts[-1].received_ms)

    def revise(self, revision: Revision) -> None:
        """Keep both versions of a minute that changed; one that is kept already is not kept again."""
        before, after = revision.before, revision.after
        entry = {
            **{name: getattr(after, name) for name in ("market_id", "symbol", "ts")},
            "decided": revision.decided,
            "before": before.values,
            "before_received_ms": before.received_ms,
            "before_source": before.source,
            "after": after.values,
            "after_received_ms": after.received_ms,
            "after_source": after.source,
        }
        if _key(entry) not in self._known:
            self._revisions.append([json.dumps(entry)])
            self._known.add(_key(entry))

    def revisions(self) -> list[dict[str, object]]:
        """Every minute that changed, in order."""
        return [json.loads(line) for line in _lines(self._revisions.path)]

    def replay(self) -> Iterator[Receipt]:
        """Rows of every journal, in the order in which they were received."""
        return map(_receipt, self.lines())

    def close(self) -> None:
        """Close the files."""
        super().close()
        self._revisions.close()

    def _frame(self, journal: Path) -> pl.DataFrame:
        rows = [(*json.loads(line), number) for number, line in enumerate(_lines(journal))]
        return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def _line(one: Receipt) -> str:
    return json.dumps([one.market_id, one.symbol, one.ts, *one.values, one.received_ms, one.source])


def _receipt(line: str) -> Receipt:
    market_id, symbol, *row, received_ms, source = json.loads(line)
    return Receipt.of(market_id, symbol, row, received_ms, Source(source))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _key(entry: dict[str, object]) -> tuple[object, ...]:
    return tuple(entry[name] for name in ("market_id", "symbol", "ts", "before_received_ms", "after_received_ms"))
