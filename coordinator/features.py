"""Features of a pair, one update per closed regime bar: the same live and in simulation."""

from __future__ import annotations

import numpy as np

from bot.indicators import (
    ADX,
    ATR,
    BOLLINGER,
    EMA,
    RSI,
    VOLUME,
    adx_update,
    atr_update,
    bollinger_update,
    ema_update,
    rsi_update,
    volume_update,
)
from bot.kernel import Record, kernel

FEATURES = np.dtype(
    [
        ("adx", ADX),
        ("atr", ATR),
        ("fast", EMA),
        ("slow", EMA),
        ("rsi", RSI),
        ("bands", BOLLINGER),
        ("volume", VOLUME),
        ("close", "f8"),
        ("count", "i8"),  # complete regime bars seen
        ("end", "i8"),  # ms: close of the last one
    ],
    align=True,
)


@kernel
def features_update(features: Record, bar: Record, end: int, tick: float) -> None:
    """ADX(14), DI, ATR(14), EMA(20), EMA(50), RSI(14), Bollinger(20), volume ratio; `end` is the bar's close, ms.

    Moves and ranges are whole multiples of `tick`, quote currency.
    """
    adx_update(features.adx, bar.high, bar.low, bar.close, 14, tick)
    atr_update(features.atr, bar.high, bar.low, bar.close, 14, tick)
    ema_update(features.fast, bar.close, 20)
    ema_update(features.slow, bar.close, 50)
    rsi_update(features.rsi, bar.close, 14)
    bollinger_update(features.bands, bar.close, 20)
    volume_update(features.volume, bar.ts, bar.volume)
    features.close = bar.close
    features.count += 1
    features.end = end
