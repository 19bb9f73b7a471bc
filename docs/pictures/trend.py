# ruff: noqa: INP001, a script of its own
"""Draw the pictures of docs/trend.md, each from a run of the simulator: `uv run python docs/pictures/trend.py`.

With NUMBA_DISABLE_JIT=1 nothing is compiled. The candles are made here, bars of 15 minutes under signal bars of an
hour, so that a picture shows what its option does and nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from drawing import (
    AVERAGE,
    BEGIN,
    ENTRY,
    LOT,
    TICK,
    Corners,
    OptionRun,
    Options,
    candles_along,
    hours_of,
    named,
    panels,
    played,
    price_and_orders,
    quiet,
    write,
)

from bot.indicator_functions import outputs_of
from bot.indicator_registry import indicator_named
from bot.order import Signal
from bot.times import HOUR, MINUTE
from strategies.trend import TrendParameters

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from backtesting.simulator import Recording

PER_HOUR, WARM_HOURS = 4, 100
BASE: Options = {
    "preset": "classic",
    "entries": ["breakout"],
    "breakout_volume": 0,
    "warmup_bars": 60,
    "direction": "long",
    "stop": 2.5,
    "target": "none",
    "partial_at": "none",
    "break_even_at": "none",
    "trail_distance": "none",
}
BESIDE_PRESET: Options = {"breakout_volume": 0, "timeframe": "1h", "warmup_bars": 60}
Line = tuple[str, str, int, str, int]  # label, indicator, its period, output, signal bars before


class TrendRun(OptionRun):
    """A run of the trend follower; corners are (hour, price)."""

    @property
    def given(self) -> Options:
        """All options of the run; BASE is not what a preset means."""
        return {**({} if "preset" in self.options else BASE), **self.beside, **self.options}


FAST: Line = ("EMA20", "EMA", 20, "real", 0)
SLOW: Line = ("EMA50", "EMA", 50, "real", 0)
RISE = ((0, 100.0), (8, 100.0), (36, 103.0), (48, 101.8), (72, 104.4))
RANGED = ((0, 100.8), (7, 100.0), (14, 100.7), (21, 100.1), (29, 101.9), (40, 101.2))
PHASES = (
    *((0, 100.8), (8, 100.0), (22, 100.2), (24, 101.4), (40, 101.0), (42, 102.9), (58, 102.3)),
    *((60, 107.5), (76, 106.4), (78, 112.4), (94, 111.0)),
)
PEAKS = ((0, 100.0), (8, 100.0), (14, 101.6), (22, 100.6), (32, 101.4), (42, 100.9), (54, 102.8))
SWING = ((0, 100.0), (8, 100.0), (14, 101.6), (25, 100.4), (32, 102.7), (42, 101.6))
TURN = ((0, 100.0), (8, 100.0), (14, 101.0), (34, 98.2), (60, 99.0))
STEPS = ((0, 100.0), (10, 101.6), (24, 102.4), (30, 101.6), (46, 103.8), (53, 102.8), (64, 104.4))
FLAT = ((0, 100.0), (16, 100.3), (24, 99.0), (36, 100.3), (48, 101.4), (60, 100.2))
V_SHAPE = ((0, 100.0), (8, 100.0), (30, 96.5), (36, 96.6), (66, 100.6))
LONG_TREND = (
    *((0, 100.0), (12, 100.0), (40, 116.0), (52, 110.4), (84, 128.0), (96, 121.0), (130, 140.0), (150, 124.0)),
    *((180, 112.0), (200, 118.0), (230, 100.0)),
)
SIZINGS: tuple[Options, ...] = (
    {"sizing": "risk", "risk_per_trade": "0.3%"},
    {"sizing": "volatility_target", "volatility_target": "15%"},
    {"sizing": "volatility_target", "volatility_target": "15%", "volatility_bars": 90},
)
SLOWLY = ((0, 100.0), (8, 100.0), (16, 101.0), (60, 101.9))
WILD = (
    *((0, 100.0), (8, 100.0), (20, 101.2), (32, 100.2), (44, 101.6), (56, 100.4)),
    *((64, 103.4), (72, 99.4), (82, 105.4), (92, 100.4), (100, 106.4), (110, 101.0)),
)
PULL_BACK = {"entries": ["pullback"], "trail_distance": 2, "trail_from": 0}
PARTS = {"stop": 1.5, "target": 4}
CHANNEL = {"exit": "channel"}


def ranged(bars: int) -> Line:
    """Highest high of so many bars before."""
    return f"high of {bars} bars", "DONCHIAN", bars, "upperband", 1


def low(bars: int) -> Line:
    """Lowest low of so many bars before."""
    return f"low of {bars} bars", "DONCHIAN", bars, "lowerband", 1


def average(bars: int) -> Line:
    """EMA of so many bars."""
    return f"EMA{bars}", "EMA", bars, "real", 0


# By file: the panels.
PICTURES: dict[str, tuple[TrendRun, ...]] = {
    "presets": tuple(TrendRun({"preset": one}, LONG_TREND, beside=BESIDE_PRESET) for one in TrendParameters.presets()),
    "timeframe": (
        TrendRun({"timeframe": "1h"}, LONG_TREND, beside=CHANNEL),
        TrendRun({"timeframe": "4h"}, LONG_TREND, beside={**CHANNEL, "warmup_bars": 20}),
        TrendRun({"timeframe": "1h", "warmup_bars": 150}, LONG_TREND, beside=CHANNEL),
    ),
    "entries": (
        TrendRun({"entries": ["breakout"]}, RANGED, "a close over the range", (ranged(20),)),
        TrendRun({"entries": ["pullback"]}, STEPS, "back over EMA20 after a touch", (FAST, SLOW), PULL_BACK),
        TrendRun(
            {"entries": ["rsi"]},
            FLAT,
            "RSI back over 30, or under 70, while sideways",
            beside={"direction": "both", "sideways": "2%", "target": 3},
        ),
    ),
    "range_bars": tuple(TrendRun({"range_bars": one}, PEAKS, "", (ranged(one),), CHANNEL) for one in (10, 40)),
    "trend_confirmation_bars": tuple(
        TrendRun({"trend_confirmation_bars": one}, V_SHAPE, "", (SLOW,), {"range_bars": 10}) for one in (1, 10)
    ),
    "periods": (
        TrendRun({"fast_period": 20, "slow_period": 50}, STEPS, "", (FAST, SLOW), PULL_BACK),
        TrendRun({"fast_period": 8, "slow_period": 50}, STEPS, "", (average(8), SLOW), PULL_BACK),
        TrendRun({"fast_period": 8, "slow_period": 50}, V_SHAPE, "", (SLOW,), {"range_bars": 10}),
        TrendRun({"fast_period": 8, "slow_period": 20}, V_SHAPE, "", (average(20),), {"range_bars": 10}),
    ),
    "pullback": tuple(TrendRun({"pullback": one}, STEPS, "", (FAST,), PULL_BACK) for one in ("1%", "0.1%")),
    "stop_target": (
        TrendRun({"stop": 1, "target": 2}, SWING),
        TrendRun({"stop": 2.5, "target": 6}, SWING),
        TrendRun({"stop": 2.5, "target": "none"}, SWING),
    ),
    "partial_at": tuple(TrendRun({"target": 4, "partial_at": one}, TURN, beside=PARTS) for one in ("none", 0.5)),
    "break_even_at": tuple(TrendRun({"break_even_at": one}, TURN) for one in ("none", 1)),
    "trail": (
        TrendRun({"trail_distance": "none"}, SWING),
        TrendRun({"trail_distance": 0.5, "trail_from": 1.5}, SWING),
        TrendRun({"trail_distance": 3, "trail_from": 0}, SWING),
    ),
    "channel": (
        TrendRun({"exit": "atr"}, RISE),
        TrendRun({"exit": "channel", "exit_channel_bars": 10}, RISE, "", (low(10),)),
        TrendRun({"exit": "channel", "exit_channel_bars": 30}, RISE, "", (low(30),)),
    ),
    "max_days": tuple(TrendRun({"max_days": one}, SLOWLY, beside={"range_bars": 40}) for one in (0, 1)),
    "direction": tuple(TrendRun({"direction": one}, V_SHAPE, beside=CHANNEL) for one in ("both", "long", "short")),
    "when": (
        TrendRun({"when": []}, WILD, beside=CHANNEL),
        TrendRun({"when": [{"indicator": "ROC", "timeperiod": 10, "long_above": 1.5}]}, WILD, beside=CHANNEL),
    ),
    "moves": (
        TrendRun({"max_atr": "5%", "min_stop_costs": 0}, WILD, beside=CHANNEL),
        TrendRun({"max_atr": "0.45%"}, WILD, "not in a wild market", beside=CHANNEL),
        TrendRun({"min_stop_costs": 12}, WILD, "not in one too calm for its costs", beside=CHANNEL),
        TrendRun(
            {"min_stop_costs": 12, "expected_slippage": "0.1%"}, WILD, "with costs that are higher", beside=CHANNEL
        ),
        TrendRun({"min_target_costs": 12, "target": 4}, WILD),
    ),
}
BY_PHASE: tuple[Options, ...] = (
    {"stop": None, "target": None},
    {
        "stop": None,
        "target": None,
        "sideways": "0.35%",
        "strong": "1%",
        "sideways_stop": 2,
        "weak_stop": 2.5,
        "strong_stop": 3,
        "sideways_target": 1,
        "weak_target": 3,
        "strong_target": 5,
    },
)
VOLUMES: tuple[Options, ...] = tuple({"breakout_volume": one} for one in (0, 1.5))
# By picture: the options of its runs.
OPTIONS: dict[str, tuple[Options, ...]] = {
    **{name: tuple(one.given for one in shown) for name, shown in PICTURES.items()},
    "phases": tuple({**BASE, **one} for one in BY_PHASE),
    "breakout_volume": tuple({**BASE, **CHANNEL, **one} for one in VOLUMES),
    "sizing": tuple({**BASE, **CHANNEL, **one} for one in SIZINGS),
}


def played_by(options: Options, corners: Corners, loud_from: float = np.inf) -> Recording:
    """Run the trend follower with these options; from `loud_from` (hours) on with twice the volume."""
    candles = candles_along(
        [(PER_HOUR * hour, price) for hour, price in corners], 15 * MINUTE, start=BEGIN, before=PER_HOUR * WARM_HOURS
    )
    loud = np.where(candles.ts >= BEGIN + loud_from * HOUR, 2.0, 1.0)
    config = {"strategy": "trend", "trend": options}
    return played(config, replace(candles, volume=candles.volume * loud))


def values_of(name: str, period: int, output: str, bars: Any) -> Any:
    """Values of an indicator over these bars."""
    return outputs_of(name, indicator_named(name).values({"timeperiod": period}), bars)[output]


def line(axes: Axes, run: Recording, one: Line) -> None:
    """Draw an indicator of the signal bars."""
    label, name, period, output, before = one
    rolled = run.prepared.rollup(HOUR)
    values = values_of(name, period, output, rolled.bars)
    times = hours_of(run, BEGIN)[rolled.ends[before:]]
    axes.plot(times, values[: len(times)], color=AVERAGE, linewidth=1.0, alpha=0.5 if one == SLOW else 1.0, label=label)
    axes.legend(fontsize=8, frameon=False, loc="best")


def draw(shown: tuple[TrendRun, ...]) -> Figure:
    """Draw the panels of one picture."""
    figure, every = panels(len(shown))
    for axes, one in zip(every, shown, strict=True):
        run = played_by(one.given, one.corners)
        price_and_orders(axes, hours_of(run, BEGIN), run)
        for of_bars in one.lines:
            line(axes, run, of_bars)
        quiet(axes, one.title)
    every[-1].set_xlabel("hours", fontsize=8)
    return figure


def phases_figure() -> Figure:
    """Stops and targets by phase; phases by how far the EMAs lie apart, as the strategy divides them."""
    figure, every = panels(len(BY_PHASE), 2.6)
    for axes, shown, options in zip(every, BY_PHASE, OPTIONS["phases"], strict=True):
        run, known = played_by(options, PHASES), TrendParameters.model_validate(options)
        rolled = run.prepared.rollup(HOUR)
        fast, slow = (values_of("EMA", period, "real", rolled.bars) for period in (20, 50))
        divergence, times = np.abs(fast - slow) / slow, hours_of(run, BEGIN)[rolled.ends]
        for name, least in {"sideways": 0.0, "weak": known.sideways, "strong": known.strong}.items():
            whole = axes.get_xaxis_transform()
            axes.fill_between(
                times, 0, 1, where=divergence >= least, step="pre", transform=whole, color=AVERAGE, alpha=0.13, lw=0
            )
            first = times[(divergence >= least) & (times >= 0)][0]
            axes.text(first + 1, 0.03, name, transform=whole, fontsize=8)
        price_and_orders(axes, hours_of(run, BEGIN), run)
        told = {key: value for key, value in shown.items() if value is not None}
        quiet(axes, named(told) or "stop and target left out: by phase")
    every[-1].set_xlabel("hours", fontsize=8)
    return figure


def volume_figure() -> Figure:
    """Two break-outs, the second with twice the volume, with and without a condition on it."""
    figure, every = panels(3, height_ratios=[3, 3, 1.2], sharex=True)
    for axes, shown, options in zip(every, VOLUMES, OPTIONS["breakout_volume"], strict=False):
        run = played_by(options, SWING, loud_from=26)
        price_and_orders(axes, hours_of(run, BEGIN), run)
        quiet(axes, named(shown))
    every[2].bar(hours_of(run, BEGIN), run.prepared.candles.volume / 1e4, width=0.25, color=ENTRY, alpha=0.6)
    quiet(every[2], "volume", "hours")
    return figure


def sizing_figure() -> Figure:
    """Entries of the same market, sized by the loss at the stop and by volatility."""
    figure, every = panels(1 + len(SIZINGS), height_ratios=[3, 2, 2, 2], sharex=True)
    for axes, shown, options in zip(every[1:], SIZINGS, OPTIONS["sizing"], strict=True):
        run = played_by(options, WILD)
        entries = run.fills[run.fills["signal"] == Signal.ENTRY]
        times = hours_of(run, BEGIN)[entries["bar"]]
        axes.bar(times, entries["quantity"] * LOT * entries["price"] * TICK, width=4, color=ENTRY)
        quiet(axes, named(shown))
    price_and_orders(every[0], hours_of(run, BEGIN), run)
    quiet(every[0], "The market, ever wilder; under it the notional of each entry")
    every[-1].set_xlabel("hours", fontsize=8)
    return figure


FIGURES = {
    **{name: partial(draw, shown) for name, shown in PICTURES.items()},
    "phases": phases_figure,
    "breakout_volume": volume_figure,
    "sizing": sizing_figure,
}

if __name__ == "__main__":
    write("trend", FIGURES)
