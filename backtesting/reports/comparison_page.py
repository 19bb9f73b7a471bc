"""The page of a comparison: the returns of all runs in one chart, their figures side by side, and who did better."""

from __future__ import annotations

from fractions import Fraction
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.reports.chart_data import bucket_length, buckets
from backtesting.reports.comparison import ComparedRun, verdict
from backtesting.reports.labels import COMPARED, LABELS, written
from backtesting.reports.packing import PackedColumn, packed
from backtesting.reports.page import laid_out
from backtesting.reports.sections import wide_table
from bot.times import SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

POINTS = 6_000


def comparison_page(runs: Sequence[ComparedRun], title: str, subtitle: str, marks: Sequence[str], currency: str) -> str:
    """Lay out the page of runs over the same candles."""
    rows = [
        [escape(LABELS[name][0]), *(escape(written(one.figures[name], LABELS[name][1], currency)) for one in runs)]
        for name in COMPARED
    ]
    table = wide_table(["", *(one.name for one in runs)], rows)
    longest = max(runs, key=lambda one: len(one.ts))
    data: dict[str, Any] = {
        "currency": currency,
        "account": None,
        "pairs": [],
        "lines": [_line(one, longest.ts) for one in runs],
        "trades": None,
        "notes": [],
    }
    return laid_out(title, subtitle, marks, verdict(list(runs)), "<h2>Return, %</h2>", f"<h2>Figures</h2>{table}", data)


def _line(run: ComparedRun, ts: NDArray[np.int64]) -> dict[str, Any]:
    """Return of a run over the clock of the longest, in per cent; a run that ended early stays where it ended."""
    share = run.equity / run.equity[0] * 100.0 - 100.0
    at = np.maximum(np.searchsorted(run.ts, ts, side="right") - 1, 0)
    length = bucket_length(ts, POINTS)
    starts, ends = buckets(ts, length)
    table = packed(t=PackedColumn(ts[starts] // length), value=PackedColumn(share[at][ends], Fraction(1, 1000)))
    return {"name": run.name, "bold": run.name == "auto", "table": table | {"seconds": length // SECOND}}
