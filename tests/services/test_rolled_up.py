"""Longer candles of the API are made of closed and complete minutes alone."""

from __future__ import annotations

import numpy as np

from bot.candles import rolled_up
from bot.rollup import BAR

MINUTE = 60_000


def test_a_longer_candle_of_which_a_minute_is_missing_or_to_come_is_withheld_and_counted():
    bars = np.zeros(23, BAR)
    bars["ts"], bars["volume"] = np.arange(3, 26) * MINUTE, 1.0  # from within the first five minutes into the sixth
    bars["open"] = bars["close"] = bars["high"] = bars["low"] = np.arange(3, 26)
    bars = np.delete(bars, 9)  # minute 12
    rolled, incomplete = rolled_up(bars, 5)
    assert (rolled["ts"] // MINUTE).tolist() == [5, 15, 20]
    assert rolled["volume"].tolist() == [5.0] * 3
    assert (rolled["open"].tolist(), rolled["close"].tolist()) == ([5.0, 15.0, 20.0], [9.0, 19.0, 24.0])
    assert incomplete == 3
