"""Answers with stored candles of any length, as a process of its own: `python -m services.app.candle_answers DATA_DIR`.

It loads data frames, which the process that serves pages does not, and little else, so that it begins in a second.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import polars as pl

from bot.candles import COLUMNS, LATEST_MS
from bot.errors import Misconfigured, cut
from bot.times import MINUTE
from services.app.answering import answer_all
from services.market_data.store import CandleStore, SeriesName

if TYPE_CHECKING:
    from pathlib import Path

    from bot.candles import Candles


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
    rolled, incomplete = rolled_up(held, said["minutes"])
    body = b"".join(rolled[name].to_numpy().astype("<f8").tobytes() for name in COLUMNS)
    return {"rows": rolled.height, "incomplete": incomplete, "columns": b64encode(body).decode()}


def rolled_up(candles: Candles, minutes: int) -> tuple[pl.DataFrame, int]:
    """Candles of so many minutes of which every minute is there, and how many are withheld."""
    frame = pl.DataFrame({name: getattr(candles, name) for name in COLUMNS})
    length = minutes * MINUTE
    rolled = frame.group_by(pl.col("ts") // length * length, maintain_order=True).agg(
        pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
        pl.col("volume").sum(), count=pl.len(),
    )  # fmt: skip
    complete = rolled.filter(pl.col("count") == minutes)
    return complete, rolled.height - complete.height


if __name__ == "__main__":
    answer_all({"stored_candles": stored_candles})
