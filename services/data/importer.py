"""Files of candles into the store: recognised, checked, repaired on request, merged."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtesting.candle_checks import check, repair
from backtesting.candles import read_candles
from bot.errors import Misconfigured
from bot.instrument import Market

if TYPE_CHECKING:
    from pathlib import Path

    from services.data.store import CandleStore, Series

ENDINGS = re.compile(r"\.(csv|tsv|txt|parquet|pq|feather|arrow|ipc|json)(\.gz|\.zst)?$", re.IGNORECASE)
SYMBOL = re.compile(r"([A-Z0-9]{2,15}(?:USDT|USDC|USD|PERP|BTC|EUR))(?:[-_.].*)?")


@dataclass(frozen=True)
class Imported:
    """What one file brought: its series, its rows, how many were new, and what a repair changed."""

    path: Path
    series: Series
    rows: int
    new: int
    changes: list[str]


def candle_files(path: Path) -> list[Path]:
    """The file itself, or every candle file under the folder; raises Misconfigured when there is none."""
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.is_file() and ENDINGS.search(file.name))
    if not found:
        raise Misconfigured(f"{path} holds no candle files; give a CSV, Parquet, Feather or JSON file, or a folder.")
    return found


def place_of(path: Path, venue: str | None, market: str | None, symbol: str | None) -> tuple[str, str, str]:
    """Venue, market and symbol: as given, else from a path like bybit/linear/BTCUSDT/1m.csv, else from the name.

    Raises Misconfigured when the symbol cannot be told.
    """
    parts = path.resolve().parts
    if len(parts) > 4 and parts[-3] in tuple(Market):
        venue, market, symbol = venue or parts[-4], market or parts[-3], symbol or parts[-2]
    named = SYMBOL.fullmatch(path.name.upper())
    symbol = symbol or (named.group(1) if named else None)
    if symbol is None:
        raise Misconfigured(f"{path.name} does not tell its symbol; give --symbol.")
    return venue or "bybit", market or str(Market.LINEAR), symbol


def import_file(
    store: CandleStore, path: Path, venue: str | None, market: str | None, symbol: str | None, *, mend: bool
) -> Imported:
    """Read, check and store one file; raises Misconfigured or BadCandles and then stores nothing of it."""
    place = place_of(path, venue, market, symbol)
    candles = read_candles(path)
    changes: list[str] = []
    if mend:
        candles, changes = repair(candles)
    check(candles)
    series, new = store.write(*place, candles)
    return Imported(path, series, len(candles), new, changes)
