"""Risk groups of a bot's pairs, and what was allocated to each pair over time, with its drawing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf, isfinite
from typing import Any

WIDTH, HEIGHT, LAYERS = 600, 160, 6  # of the drawing, and how many pairs have an area of their own


def risk_groups(status: dict[str, Any]) -> list[dict[str, Any]]:
    """Pairs by their risk group, the largest exposure first, with what all of a group may be exposed by.

    A pair that is alone is limited by the account alone, and so is every one where groups have no limit.
    """
    limits, phase = status["limits"], status["capital_phase"]
    share = limits["group_exposure"] * (1.0 - limits["reserve"]) * (phase["share"] if phase else 1.0)
    limit = share * max(status["equity"], 0.0)
    found: dict[str, dict[str, Any]] = {}
    for one in status["pairs"]:
        row = found.setdefault(one["group"], {"group": one["group"], "pairs": [], "exposure": 0.0, "target": 0.0})
        row["pairs"].append(one["pair"])
        row["exposure"] += one["exposure"]
        row["target"] += one["target"]
    for row in found.values():
        row["limit"] = limit if len(row["pairs"]) > 1 and isfinite(limit) else None
    return sorted(found.values(), key=lambda row: (row["limit"] is None, -row["exposure"], row["group"]))


def allocation_marks(rows: Sequence[dict[str, Any]], traded: Collection[str]) -> list[dict[str, Any]]:
    """Lay out what each pair had at each step; one that is not traded any more has nothing after its last row."""
    ends = {row["pair"]: row["step"] for row in rows if row["pair"] not in traded}
    marks: list[dict[str, Any]] = []
    targets: dict[str, float] = {}
    for step, together in groupby(rows, key=lambda row: row["step"]):
        told = list(together)
        targets |= {row["pair"]: row["target"] for row in told}
        newest = max(told, key=lambda row: int(row["id"]))
        held = {pair: target for pair, target in sorted(targets.items()) if target > 0.0}
        free = max(newest["equity"] - sum(held.values()), 0.0)
        marks.append({"at": newest["at"], "equity": newest["equity"], "free": free, "targets": held})
        targets = {pair: target for pair, target in targets.items() if ends.get(pair, inf) > step}
    return marks


@dataclass(frozen=True)
class Layer:
    """One area of a stack: a pair, the other pairs or what is free (no names), with its points and last value."""

    kind: str  # pair, others or free
    name: str
    points: str
    now: float


def layers(marks: Sequence[dict[str, Any]], until: int) -> list[Layer]:
    """Stack what the pairs had, and what was free, in a box of WIDTH times HEIGHT; what was told last holds to `until`.

    The pairs with the most over time come first, the rest together.
    """
    if not marks:
        return []
    times = [*(mark["at"] for mark in marks), max(until, marks[-1]["at"] + 1)]
    sums: dict[str, float] = {}
    for index, mark in enumerate(marks):
        for pair, target in mark["targets"].items():
            sums[pair] = sums.get(pair, 0.0) + target * (times[index + 1] - times[index] + 1)
    named = sorted(sorted(sums), key=lambda pair: -sums[pair])[:LAYERS]
    values = [
        *(("pair", pair, [mark["targets"].get(pair, 0.0) for mark in marks]) for pair in named),
        ("others", "", [sum(x for pair, x in mark["targets"].items() if pair not in named) for mark in marks]),
        ("free", "", [mark["free"] for mark in marks]),
    ]
    high = most_of(marks) or 1.0
    across = [WIDTH * (at - times[0]) / (times[-1] - times[0]) for at in times]
    below, found = [0.0] * len(marks), []
    for kind, name, own in values:
        above = [low + value for low, value in zip(below, own, strict=True)]
        if any(own):
            edge = _steps(across, above, high) + _steps(across, below, high)[::-1]
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in edge)
            found.append(Layer(kind, name, points, own[-1]))
        below = above
    return found


def most_of(marks: Sequence[dict[str, Any]]) -> float:
    """Return the height of the drawing: the most there was to allocate, or that was."""
    return max((mark["free"] + sum(mark["targets"].values()) for mark in marks), default=0.0)


def _steps(across: Sequence[float], values: Sequence[float], high: float) -> list[tuple[float, float]]:
    """Corners of a line that keeps each value up to the next."""
    up = [HEIGHT * (1.0 - value / high) for value in values]
    return [(across[k + side], y) for k, y in enumerate(up) for side in (0, 1)]
