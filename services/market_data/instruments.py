"""Instruments by the day from which a venue stated them: one JSON file per venue and market, read once.

    <data dir>/instruments/<venue>-<market>.json        {symbol: [{"since": "2024-03-05", fields of Instrument …}, …]}

An entry is added where something changed, so that the file stays small however often it is fetched.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from backtesting.instruments import DatedInstrument
from backtesting.tables import read_table
from bot.candles import iso, parse_time
from bot.errors import Misconfigured
from bot.instrument import Instrument
from bot.validation import validated
from services.whole_file import made_folder, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from bot.market import Market

SINCE = "since"
UNDATED = "1970-01-01"  # of files that were written before dates were kept


@dataclass(frozen=True)
class SavedInstruments:
    """The file, how many symbols it has, and how many entries are new or changed."""

    path: Path
    symbols: int
    changed: int


def instruments_file(data_dir: Path, exchange: str, market: Market) -> Path:
    """Where the instruments of a venue's market are kept."""
    return data_dir / "instruments" / f"{exchange}-{market}.json"


def load_instruments(data_dir: Path, exchange: str, market: Market) -> dict[str, DatedInstrument]:
    """Every instrument that is kept of a venue's market, by symbol; empty when there is none."""
    entries = _entries(instruments_file(data_dir, exchange, market))
    return {
        symbol: DatedInstrument(
            tuple(parse_time(one[SINCE]) for one in own), tuple(Instrument.model_validate(_fields(one)) for one in own)
        )
        for symbol, own in entries.items()
    }


def save_instruments(
    data_dir: Path, exchange: str, market: Market, stated: Iterable[tuple[int, Instrument]]
) -> SavedInstruments:
    """Keep instruments by the day (any ms of it, UTC) from which each is stated to hold.

    One of a day that has an entry replaces it; one equal to what held before adds none.
    """
    path = instruments_file(data_dir, exchange, market)
    entries, changed = _entries(path), 0
    for ms, instrument in stated:
        entry = {SINCE: iso(ms)[:10], **instrument.model_dump(mode="json")}
        own = entries.get(instrument.symbol, [])
        kept = {one[SINCE]: one for one in own} | {entry[SINCE]: entry}
        merged = _where_changed([kept[since] for since in sorted(kept)])
        changed += merged != own
        entries[instrument.symbol] = merged
    made_folder(path.parent)
    write_whole(path, json.dumps(dict(sorted(entries.items())), indent=1))
    return SavedInstruments(path, len(entries), changed)


def read_instruments(path: Path, market: Market, since: int | None = None) -> list[tuple[int, Instrument]]:
    """Instruments of a file with a row for each: columns symbol, tick_size, lot_size and others of Instrument.

    The day is that of a column `since`, else the one given (ms). Raises Misconfigured naming file and row.
    """
    found = []
    for number, row in enumerate(read_table(path).frame.iter_rows(named=True)):
        fields = {key: value for key, value in row.items() if value is not None}
        day = fields.pop(SINCE, None)
        if day is None and since is None:
            raise Misconfigured(
                f"{path}: row {number} does not say since when it holds; give --as-of, or a column since."
            )
        try:
            fields = {"market": market, **{key: _exact(value) for key, value in fields.items()}}
            found.append((parse_time(str(day)) if day is not None else since or 0, validated(Instrument, fields, "")))
        except Misconfigured as error:
            raise Misconfigured(f"{path}: row {number}: {error}") from None
    return found


def _exact(value: Any) -> Any:
    """A decimal as it was written, and not its nearest binary fraction."""
    return repr(value) if isinstance(value, float) else value


def _entries(path: Path) -> dict[str, list[dict[str, Any]]]:
    if not path.exists():
        return {}
    held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {symbol: own if isinstance(own, list) else [{SINCE: UNDATED, **own}] for symbol, own in held.items()}


def _fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != SINCE}


def _where_changed(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries without those that repeat the one before."""
    return entries[:1] + [one for before, one in pairwise(entries) if _fields(one) != _fields(before)]
