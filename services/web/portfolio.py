"""What a bot has earned, by day, week and month, and how alike its pairs earn; and a line of its equity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from statistics import StatisticsError, correlation
from typing import Any

WIDTH, HEIGHT, POINTS = 600, 90, 300  # of the line
SHOWN = 60  # periods of a table
LEAST_DAYS, MOST_PAIRS = 14, 30  # of correlations


def by_week(day: str) -> str:
    """Return the ISO week of a day."""
    year, week, _ = date.fromisoformat(day).isocalendar()
    return f"{year}-W{week:02d}"


def by_month(day: str) -> str:
    """Return the month of a day."""
    return day[:7]


def earned_table(
    earned: Sequence[dict[str, Any]], pairs: Sequence[str], period: Callable[[str], str]
) -> list[dict[str, Any]]:
    """Profit of each period by pair and in all, the newest first."""
    rows: dict[str, dict[str, Any]] = {}
    for one in earned:
        name = period(one["day"])
        row = rows.setdefault(name, {"period": name, "pairs": dict.fromkeys(pairs, 0.0), "total": 0.0, "fills": 0})
        row["pairs"][one["pair"]] += one["profit"]
        row["total"] += one["profit"]
        row["fills"] += one["fills"]
    return list(reversed(rows.values()))[:SHOWN]


def correlations(earned: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Correlate what every two pairs realised day by day, from the later of their first days on, the most alike first.

    Days on which a pair realised nothing count as 0. Two pairs with fewer than 14 days in common, or one of which
    always realised the same, are left out, and so are pairs behind the thirty with the most fills.
    """
    fills: dict[str, int] = {}
    for one in earned:
        fills[one["pair"]] = fills.get(one["pair"], 0) + one["fills"]
    pairs = sorted(sorted(fills), key=lambda pair: -fills[pair])[:MOST_PAIRS]
    days = _days([one["day"] for one in earned])
    series = {pair: dict.fromkeys(days, 0.0) for pair in pairs}
    first: dict[str, str] = {}
    for one in earned:
        if one["pair"] in series:
            series[one["pair"]][one["day"]] += one["profit"]
            first.setdefault(one["pair"], one["day"])
    found = []
    for index, pair in enumerate(pairs):
        for other in pairs[index + 1 :]:
            common = [day for day in days if day >= max(first[pair], first[other])]
            value = _correlation([series[pair][day] for day in common], [series[other][day] for day in common])
            if value is not None:
                found.append({"pair": pair, "other": other, "days": len(common), "correlation": value})
    return sorted(found, key=lambda one: (-one["correlation"], one["pair"], one["other"]))


def _days(known: Sequence[str]) -> list[str]:
    """Every day from the first to the last of these."""
    if not known:
        return []
    begin, end = date.fromisoformat(min(known)), date.fromisoformat(max(known))
    return [(begin + timedelta(days=count)).isoformat() for count in range((end - begin).days + 1)]


def _correlation(one: list[float], other: list[float]) -> float | None:
    try:
        return correlation(one, other) if len(one) >= LEAST_DAYS else None
    except StatisticsError:  # one of them never moves
        return None


def line(values: Sequence[float]) -> str:
    """Points of a polyline in a box of WIDTH times HEIGHT; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    step = max(len(values) / POINTS, 1.0)
    shown = [values[min(int(k * step), len(values) - 1)] for k in range(int(len(values) / step))] + [values[-1]]
    low, high = min(shown), max(shown)
    span = high - low or 1.0
    across = WIDTH / (len(shown) - 1)
    return " ".join(
        f"{k * across:.1f},{HEIGHT - 4 - (value - low) / span * (HEIGHT - 8):.1f}" for k, value in enumerate(shown)
    )
