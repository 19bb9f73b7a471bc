"""Copies candles of a pair from the ClickHouse of a collector into the candle store of this machine."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from bot.errors import Misconfigured
from bot.times import DAY
from services.market_data.clickhouse_store import PATIENCE_FOR_CANDLES, ClickHouseStore, is_clickhouse
from services.settings import CANDLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.market_data.store import SeriesName, StoredCandles

SPAN_MS = 90 * DAY  # of one answer


def fetched(
    store: StoredCandles, place: tuple[str, str, str], first: int, after: int, progress: Callable[[float], None]
) -> tuple[SeriesName, int, int]:
    """Copy the shortest bars of exchange, market and symbol that open in [first, after), ms.

    Returns the series, how many bars it has there and how many of them were new here; `progress` hears the share that
    is done. What is copied is stored as it comes. Raises Misconfigured, and StoreUnreachable.
    """
    address = os.environ.get(CANDLES, "")
    if not is_clickhouse(address):
        raise Misconfigured(
            f"{CANDLES} is not set to an address such as clickhouse://user:password@host:8123/database; set it to that "
            "of the collector's store."
        )
    there = ClickHouseStore(address, lambda: int(time.time() * 1000), PATIENCE_FOR_CANDLES)
    try:
        series = there.finest(*place)
        bars = new = 0
        for at in range(first, after, SPAN_MS):
            candles = there.read(series, at, min(at + SPAN_MS, after))
            if len(candles):
                bars, new = bars + len(candles), new + store.write(*place, candles)[1]
            progress((min(at + SPAN_MS, after) - first) / (after - first))
        return series, bars, new
    finally:
        there.close()
