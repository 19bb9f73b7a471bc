"""Classes of pairs by how they move, and the ranges that a search looks at in each.

A class says how far and how smoothly prices went in the days that were measured, not what a coin is worth. Thresholds
and the candles that they were measured on: docs/batch.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.metrics import LEAST_DAYS
from bot.times import DAY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bot.candles import Candles

ATR_DAYS = 14


class PairClass(StrEnum):
    """From the calmest to the wildest."""

    STABLE = "stable"
    BLUE_CHIP = "blue_chip"
    MID_CAP = "mid_cap"
    MEME = "meme"


# The ATR of a day, per cent of the price, under which a pair belongs to a class; the last has no bound.
ATR_BELOW = {PairClass.STABLE: 4.2, PairClass.BLUE_CHIP: 5.5, PairClass.MID_CAP: 10.0}
# More of either makes a pair a meme whatever its ATR: it is traded thinly, or not all the time.
MOST_GAP_PCT, MOST_MISSING_PCT = 0.05, 1.0


@dataclass(frozen=True)
class PairMovement:
    """How a pair moved over some days, per cent."""

    days: int  # that have candles
    atr_pct: float | None  # median of the mean true range of 14 days over the close; None of too few days
    gap_pct: float  # mean distance of an open from the close just before it
    missing_pct: float  # share of the bars that are missing


def movement_of(candles: Candles) -> PairMovement:
    """Measure candles, at least one."""
    ts, bar_ms = candles.ts, candles.bar_ms
    bars = int(ts[-1] - ts[0]) // bar_ms + 1
    follows = np.diff(ts) == bar_ms
    gaps = np.abs(candles.open[1:] / candles.close[:-1] - 1.0)[follows]
    high, low, close = _days(candles)
    atr = None
    if len(close) >= LEAST_DAYS:
        before = close[:-1]
        true_range = np.maximum(high[1:], before) - np.minimum(low[1:], before)
        mean = np.convolve(true_range, np.full(ATR_DAYS, 1.0 / ATR_DAYS), "valid")
        atr = float(np.median(mean / close[ATR_DAYS:])) * 100.0
    gap = float(gaps.mean()) * 100.0 if len(gaps) else 0.0
    return PairMovement(len(close), atr, gap, (1.0 - len(ts) / bars) * 100.0)


def _days(candles: Candles) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """High, low and close of each UTC day that has candles, (d,) each."""
    starts = np.flatnonzero(np.diff(candles.ts // DAY, prepend=-1))
    ends = np.append(starts[1:], len(candles.ts)) - 1
    return np.maximum.reduceat(candles.high, starts), np.minimum.reduceat(candles.low, starts), candles.close[ends]


def class_of(movement: PairMovement) -> tuple[PairClass | None, str]:
    """Class of a pair, and why in a few words; None of too few days."""
    if movement.atr_pct is None:
        return None, f"{movement.days} days of candles, {LEAST_DAYS} are needed"
    if movement.missing_pct > MOST_MISSING_PCT:
        return PairClass.MEME, f"{movement.missing_pct:.1f} % of its bars are missing: not traded, or not downloaded"
    if movement.gap_pct > MOST_GAP_PCT:
        return PairClass.MEME, f"opens lie {movement.gap_pct:.3f} % from the close before: thinly traded"
    for name, bound in ATR_BELOW.items():
        if movement.atr_pct < bound:
            return name, f"a day's ATR of {movement.atr_pct:.1f} % is under {bound:g} %"
    return PairClass.MEME, f"a day's ATR of {movement.atr_pct:.1f} % is {ATR_BELOW[PairClass.MID_CAP]:g} % or more"


def _grid(lowest: float, highest: float, stop: float, factors: list[int]) -> dict[str, Any]:
    return {
        "timeframe": ["1h", "4h"],
        "levels": [10, 15, 20],
        "range_factor": factors,
        "profit_per_grid": {"from": lowest, "to": highest, "log": True, "steps": 4},
        "stop_loss": stop,
    }


def _trend(targets: list[float], max_atr: float) -> dict[str, Any]:
    return {
        "timeframe": "4h",
        "range_bars": [15, 20, 30, 40, 60],
        "exit_channel_bars": [10, 15, 20, 30],
        "stop": [2.5, 4.0],
        "direction": ["long", "both"],
        "volatility_target": targets,
        "max_atr": max_atr,
    }


def _dca(steps: list[float], targets: list[float], stops: list[float]) -> dict[str, Any]:
    return {
        "timeframe": ["1h", "4h"],
        "start": ["confluence", "immediately"],
        "max_safety_orders": [2, 4],
        "step": steps,
        "take_profit": targets,
        "stop_loss": stops,
    }


def _rules(stops: list[float]) -> dict[str, Any]:
    return {
        "timeframe": ["4h", "1d"],
        "when": [{"indicator": "SUPERTREND", "timeperiod": [10, 20, 30], "multiplier": [2.0, 3.0, 4.0]}],
        "direction": ["long_only", "long_short"],
        "sizing": "compound",
        "stop": stops,
    }


# Sections of a space by class and strategy. What is a share of the price grows with the class's ATR; what is counted in
# ATRs or bars does not.
SEARCH_RANGES: dict[PairClass, dict[str, dict[str, Any]]] = {
    PairClass.STABLE: {
        "grid": _grid(0.005, 0.02, 0.05, [6, 12, 24]),
        "trend": _trend([0.4], 0.05),
        "dca": _dca([0.01, 0.02], [0.01, 0.02, 0.04], [0.10, 0.15]),
        "rules": _rules([0.05, 0.10]),
    },
    PairClass.BLUE_CHIP: {
        "grid": _grid(0.007, 0.03, 0.05, [6, 12, 24]),
        "trend": _trend([0.4], 0.05),
        "dca": _dca([0.015, 0.03], [0.015, 0.03, 0.06], [0.15, 0.20]),
        "rules": _rules([0.07, 0.15]),
    },
    PairClass.MID_CAP: {
        "grid": _grid(0.01, 0.04, 0.10, [6, 12, 24]),
        "trend": _trend([0.3, 0.4], 0.05),
        "dca": _dca([0.02, 0.04], [0.02, 0.04, 0.08], [0.20, 0.30]),
        "rules": _rules([0.10, 0.20]),
    },
    PairClass.MEME: {
        "grid": _grid(0.02, 0.08, 0.15, [6, 12]),
        "trend": _trend([0.2, 0.4], 0.10),
        "dca": _dca([0.04, 0.08], [0.04, 0.08, 0.16], [0.35, 0.50]),
        "rules": _rules([0.20, 0.40]),
    },
}
