"""What tables of funding rates and of trades have in common: the names of columns, and times to the millisecond."""

from __future__ import annotations

import re

import polars as pl

from bot.errors import Misconfigured


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
