"""Answers with stored candles of any length, as a process of its own: `python -m services.app.candle_answers DATA_DIR`.

It loads data frames, which the process that serves pages does not, and little else, so that it begins in a second.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from bot.candles import COLUMNS, LATEST_MS, rolled_up
from bot.errors import Misconfigured, cut
from bot.times import MINUTE
from services.app.answering import answer_all
from services.market_data.store import CandleStore, SeriesName

if TYPE_CHECKING:
    from pathlib import Path


def stored_candles(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Candles of `minutes` that open in [since, until) ms, the last `bars` of them; none where none are stored."""
    store, series = CandleStore(data_dir), SeriesName(said["exchange"], said["market"], said["pair"])
    if not store.holds(series):
        return {"rows": 0, "incomplete": 0, "columns": ""}
    length = said["minutes"] * MINUTE
    try:
        until = min(store.end(series), said["until"] or LATEST_MS)
        since = max((until // length - said["bars"]) * length, said["since"] or 0)
        held = store.read(series, since, until)
    except pl.exceptions.PolarsError as error:
        raise Misconfigured(
            f"the stored candles of {series.symbol} ({series.venue} {series.market}) cannot be read "
            f"({cut(str(error))}); move their file away and download them again."
        ) from None
    bars = np.empty(len(held), [(name, getattr(held, name).dtype) for name in COLUMNS])
    for name in COLUMNS:
        bars[name] = getattr(held, name)
    rolled, incomplete = rolled_up(bars, said["minutes"])
    body = b"".join(rolled[name].astype("<f8").tobytes() for name in COLUMNS)
    return {"rows": len(rolled), "incomplete": incomplete, "columns": b64encode(body).decode()}


if __name__ == "__main__":
    answer_all({"stored_candles": stored_candles})
