"""How much of each day the store has of each series, for a map. Files that are as before are not read again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from bot.times import DAY
from services.market_data.store import MONTH_FILE, CandleStore, SeriesName, bar_length_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Stamp = tuple[int, int]  # when a file was written, ns, and its bytes


@dataclass(frozen=True)
class DayCoverage:
    """A series, its first and last day since the epoch, and bars missing between its first and last bar."""

    series: SeriesName
    first: int
    last: int
    bars: int
    missing: int
    shares: tuple[float | None, ...]  # of each day asked for; None: outside of what is stored


class DayCounts:
    """Bars of each day by file, kept while the file is the same."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[Stamp, int, int, NDArray[np.int64], NDArray[np.int64]]] = {}

    def newest_day(self, store: CandleStore, series: list[SeriesName]) -> int | None:
        """Last day, since the epoch, that any of the series has a bar of."""
        return max((int(self._of(self._files(store, one)[-1])[1]) // DAY for one in series), default=None)

    def coverage(self, store: CandleStore, series: SeriesName, first_day: int, days: int) -> DayCoverage:
        """Coverage of so many days from one on."""
        parts = [self._of(path) for path in self._files(store, series)]
        bar = bar_length_of(series.bar)
        first, last = parts[0][0], parts[-1][1]
        held = {int(day): int(count) for part in parts for day, count in zip(part[2], part[3], strict=True)}
        bars = sum(held.values())
        shares = tuple(
            _share(held.get(day, 0), day, first, last + bar, bar) for day in range(first_day, first_day + days)
        )
        return DayCoverage(series, first // DAY, last // DAY, bars, (last - first) // bar + 1 - bars, shares)

    def _files(self, store: CandleStore, series: SeriesName) -> list[Path]:
        folder = store.root / series.venue / series.market / series.symbol / series.bar
        return sorted(path for path in folder.glob("*.parquet") if MONTH_FILE.fullmatch(path.name))

    def _of(self, path: Path) -> tuple[int, int, NDArray[np.int64], NDArray[np.int64]]:
        """First and last bar of a file, ms, its days, and the bars of each."""
        at = path.stat()
        stamp = (at.st_mtime_ns, at.st_size)
        kept = self._kept.get(path)
        if kept is None or kept[0] != stamp:
            ts = pl.read_parquet(path, columns=["ts"])["ts"].to_numpy()
            days, counts = np.unique(ts // DAY, return_counts=True)
            kept = self._kept[path] = (stamp, int(ts[0]), int(ts[-1]), days, counts)
        return kept[1:]


def _share(held: int, day: int, first: int, end: int, bar: int) -> float | None:
    """Share of a day's bars that are there, of those between the first and the last; None where none is expected."""
    expected = (min(end, (day + 1) * DAY) - max(first, day * DAY)) // bar
    return min(held / expected, 1.0) if expected > 0 else None
