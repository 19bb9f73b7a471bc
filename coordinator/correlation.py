"""How alike the pairs move: correlation of hourly returns, the stress share, and groups."""

from __future__ import annotations

import numpy as np

from bot.kernel import Record, kernel

HOURS = 24 * 30  # hourly returns that groups are judged by
KEPT = 1024
LEAST_GROUPED = 24 * 5

HISTORY = np.dtype(
    [
        ("returns", "f8", (KEPT,)),  # of clock hour h at h % KEPT, NaN where its close or the one before is missing
        ("hour", "i8"),  # last hour known, since the epoch; 0 before the first
        ("close", "f8"),
    ]
)


@kernel
def history_push(history: Record, hour: int, close: float) -> None:
    """Remember the close of clock hour `hour` (since the epoch); hours passed over are missing."""
    if history.hour == 0:
        history.returns[:] = np.nan
    for missed in range(max(history.hour + 1, hour - KEPT + 1), hour):
        history.returns[missed % KEPT] = np.nan
    follows = history.hour == hour - 1 and history.close > 0.0
    history.returns[hour % KEPT] = close / history.close - 1.0 if follows else np.nan
    history.hour, history.close = hour, close


@kernel
def correlation(first: Record, second: Record, hour: int, hours: int, least: int) -> float:
    """Pearson correlation of the hourly returns that both have in the `hours` up to `hour`; NaN under `least`."""
    count = 0
    x = y = xx = yy = xy = 0.0
    for at in range(max(hour - hours + 1, 0), min(hour, first.hour, second.hour) + 1):
        left, right = first.returns[at & (KEPT - 1)], second.returns[at & (KEPT - 1)]
        product = left * right
        if product == product:  # noqa: PLR0124, neither is NaN
            count += 1
            x += left
            y += right
            xx += left * left
            yy += right * right
            xy += product
    if count < least:
        return np.nan
    spread = (xx - x * x / count) * (yy - y * y / count)
    return (xy - x * y / count) / np.sqrt(spread) if spread > 0.0 else np.nan


@kernel
def stress(histories: Record, hour: int, params: Record, known: Record) -> tuple[float, float]:
    """Share of pairs-of-pairs whose last 24 hourly returns correlate above the limit, and the mean correlation.

    NaN for both with fewer than 3 pairs that have enough returns. `known` (n,) is scratch.
    """
    n, couples, high, total, pairs = len(histories), 0, 0, 0.0, 0
    for i in range(n):
        known[i] = 0.0
    for i in range(n):
        for j in range(i + 1, n):
            value = correlation(histories[i], histories[j], hour, params.stress_hours, params.stress_least)
            if value == value:  # noqa: PLR0124, not NaN
                known[i] = known[j] = 1.0
                couples += 1
                total += value
                high += int(value > params.stress_correlation)
    for i in range(n):
        pairs += int(known[i])
    if pairs < 3:
        return np.nan, np.nan
    return high / couples, total / couples


@kernel
def group(histories: Record, hour: int, params: Record, groups: Record, best: Record) -> None:
    """Number the correlation groups in `groups` (n,): each pair joins the one it is most alike over 30 days.

    A group is named by its lowest index; who is like nobody beyond the limit is alone. `best` (n, 2) is scratch.
    """
    n = len(histories)
    for i in range(n):
        groups[i] = i
        best[i, 0], best[i, 1] = params.stress_correlation, -1.0
    for i in range(n):
        for j in range(i + 1, n):
            value = correlation(histories[i], histories[j], hour, HOURS, LEAST_GROUPED)
            if value > best[i, 0]:
                best[i, 0], best[i, 1] = value, float(j)
            if value > best[j, 0]:
                best[j, 0], best[j, 1] = value, float(i)
    for i in range(n):
        nearest = int(best[i, 1])
        if nearest >= 0 and groups[nearest] != groups[i]:
            low, high = min(groups[i], groups[nearest]), max(groups[i], groups[nearest])
            for k in range(n):
                if groups[k] == high:
                    groups[k] = low
