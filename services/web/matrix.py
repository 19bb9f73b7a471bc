"""The matrix of strategies by timeframes of a pair, scored on days that have chosen nothing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from services.web.research import LOWEST_IS_BEST

NEUTRAL = {"profit_factor": 1.0}  # value of a figure that is neither good nor bad; of the rest it is 0
STRENGTHS = 3
LENGTH = re.compile(r"(\d+)([smhdw])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def matrix_of(scores: Sequence[dict[str, Any]], pair: str, by: str) -> dict[str, Any]:
    """Lay out the scores of a pair by a figure: timeframes, and a row of cells for each strategy."""
    own = [one for one in scores if one["pair"] == pair]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for one in own:
        groups[one["strategy"], one["timeframe"]].append(one)
    cells = {place: cell_of(found, by) for place, found in groups.items()}
    most = max(
        (abs(one["mean"] - NEUTRAL.get(by, 0.0)) for one in cells.values() if one["mean"] is not None), default=0.0
    )
    timeframes = sorted({one["timeframe"] for one in own}, key=_length)
    rows = []
    for strategy in sorted({one["strategy"] for one in own}):
        laid = [cells.get((strategy, timeframe)) for timeframe in timeframes]
        shown = [None if one is None else {**one, "colour": colour(one["mean"], by, most)} for one in laid]
        rows.append({"strategy": strategy, "cells": shown})
    return {"pair": pair, "by": by, "timeframes": timeframes, "rows": rows}


def cell_of(found: Sequence[dict[str, Any]], by: str) -> dict[str, Any]:
    """Sum up the scores of a strategy on a timeframe; no figure where none of them has it."""
    values = [one for score in found for one in score["values"]]
    known = [value[by] for value in values if value.get(by) is not None]
    return {
        "strategy": found[0]["strategy"],
        "timeframe": found[0]["timeframe"],
        "least": min(known, default=None),
        "mean": fmean(known) if known else None,
        "most": max(known, default=None),
        "sessions": sorted({one["session"] for one in found}),
        "trades": round(sum(value.get("trades") or 0 for value in values)),
    }


def colour(mean: float | None, by: str, most: float) -> str:
    """Name the colour of a cell: good or bad and how much so, by the farthest of all cells; grey without a score."""
    if mean is None:
        return "none"
    away = mean - NEUTRAL.get(by, 0.0)
    strength = min(int(STRENGTHS * abs(away) / most) + 1, STRENGTHS) if most else 1
    good = away < 0 if by in LOWEST_IS_BEST else away > 0
    return f"{'good' if good else 'bad'}-{strength}"


def _length(timeframe: str) -> tuple[int, str]:
    found = LENGTH.fullmatch(timeframe)
    return (int(found[1]) * SECONDS[found[2]] if found else 0, timeframe)
