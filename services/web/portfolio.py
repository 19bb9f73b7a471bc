"""What a bot has earned, by day, week and month; and a line of its equity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

WIDTH, HEIGHT, POINTS = 600, 90, 300  # of the line
SHOWN = 60  # periods of a table


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
