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
    candles_along,
    hours_of,
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
BASE: dict[str, Any] = {
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
Line = tuple[str, str, int, str, int]  # label, indicator, its period, output, signal bars before
Panel = tuple[str, dict[str, Any], Corners, tuple[Line, ...]]
LOW: Line = ("low of 10 bars", "DONCHIAN", 10, "lowerband", 1)
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
SIZINGS: tuple[dict[str, Any], ...] = (
    {"sizing": "risk", "risk_per_trade": "0.3%"},
    {"sizing": "volatility_target", "volatility_target": "15%"},
)
SLOWLY = ((0, 100.0), (8, 100.0), (16, 101.0), (60, 101.9))
WILD = (
    *((0, 100.0), (8, 100.0), (20, 101.2), (32, 100.2), (44, 101.6), (56, 100.4)),
    *((64, 103.4), (72, 99.4), (82, 105.4), (92, 100.4), (100, 106.4), (110, 101.0)),
)
PULL_BACK = {"entries": ["pullback"], "trail_distance": 2, "trail_from": 0}
PARTS = {"stop": 1.5, "target": 4}


def ranged(bars: int) -> Line:
    """Highest high of so many bars before."""
    return f"high of {bars} bars", "DONCHIAN", bars, "upperband", 1


# By file: the panels, each with its title, the options that differ from BASE, the corners of the price (hour, price),
# and the lines drawn with it.
PICTURES: dict[str, tuple[Panel, ...]] = {
    "entries": (
        ("entries: [breakout]: a close over the range", {}, RANGED, (ranged(20),)),
        (
            "entries: [pullback]: back over EMA20 after a touch",
            PULL_BACK,
            STEPS,
            (FAST, SLOW),
        ),
        (
            "entries: [rsi]: RSI back over 30, or under 70, while sideways",
            {"entries": ["rsi"], "direction": "both", "sideways": "2%", "target": 3},
            FLAT,
            (),
        ),
    ),
    "range_bars": (
        ("range_bars: 10", {"range_bars": 10, "exit": "channel"}, PEAKS, (ranged(10),)),
        ("range_bars: 40", {"range_bars": 40, "exit": "channel"}, PEAKS, (ranged(40),)),
    ),
    "trend_confirmation_bars": (
        ("trend_confirmation_bars: 1", {"trend_confirmation_bars": 1, "range_bars": 10}, V_SHAPE, (SLOW,)),
        ("trend_confirmation_bars: 10", {"trend_confirmation_bars": 10, "range_bars": 10}, V_SHAPE, (SLOW,)),
    ),
    "pullback": (
        ("pullback: 1%", PULL_BACK, STEPS, (FAST,)),
        ("pullback: 0.1%", {**PULL_BACK, "pullback": "0.1%"}, STEPS, (FAST,)),
    ),
    "stop_target": (
        ("stop: 1, target: 2", {"stop": 1, "target": 2}, SWING, ()),
        ("stop: 2.5, target: 6", {"stop": 2.5, "target": 6}, SWING, ()),
        ("stop: 2.5, target: none", {}, SWING, ()),
    ),
    "partial_at": (
        ("target: 4, partial_at: none", {**PARTS}, TURN, ()),
        ("target: 4, partial_at: 0.5", {**PARTS, "partial_at": 0.5}, TURN, ()),
    ),
    "break_even_at": (
        ("break_even_at: none", {"break_even_at": "none"}, TURN, ()),
        ("break_even_at: 1", {"break_even_at": 1}, TURN, ()),
    ),
    "trail": (
        ("trail_distance: 0.5, trail_from: 1.5", {"trail_distance": 0.5, "trail_from": 1.5}, SWING, ()),
        ("trail_distance: 3, trail_from: 0", {"trail_distance": 3, "trail_from": 0}, SWING, ()),
    ),
    "channel": (("exit: channel, exit_channel_bars: 10", {"exit": "channel"}, RISE, (LOW,)),),
    "max_days": (("max_days: 1", {"max_days": 1, "range_bars": 40}, SLOWLY, ()),),
    "direction": (
        ("direction: both", {"direction": "both", "exit": "channel"}, V_SHAPE, ()),
        ("direction: long", {"direction": "long", "exit": "channel"}, V_SHAPE, ()),
        ("direction: short", {"direction": "short", "exit": "channel"}, V_SHAPE, ()),
    ),
    "when": (
        ("when: []", {"exit": "channel"}, WILD, ()),
        (
            "when: [{indicator: ROC, timeperiod: 10, long_above: 1.5}]",
            {"exit": "channel", "when": [{"indicator": "ROC", "timeperiod": 10, "long_above": 1.5}]},
            WILD,
            (),
        ),
    ),
    "moves": (
        ("max_atr: 5%, min_stop_costs: 0", {"exit": "channel"}, WILD, ()),
        ("max_atr: 0.45%: not in a wild market", {"exit": "channel", "max_atr": "0.45%"}, WILD, ()),
        ("min_stop_costs: 12: not in one too calm for its costs", {"exit": "channel", "min_stop_costs": 12}, WILD, ()),
    ),
}


def played_by(options: dict[str, Any], corners: Corners, loud_from: float = np.inf) -> Recording:
    """Run the trend follower with these options; from `loud_from` (hours) on with twice the volume."""
    candles = candles_along(
        [(PER_HOUR * hour, price) for hour, price in corners], 15 * MINUTE, start=BEGIN, before=PER_HOUR * WARM_HOURS
    )
    loud = np.where(candles.ts >= BEGIN + loud_from * HOUR, 2.0, 1.0)
    config = {"strategy": "trend", "trend": {"preset": "classic", **BASE, **options}}
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
    axes.legend(fontsize=8, frameon=False, loc="upper left")


def draw(shown: tuple[Panel, ...]) -> Figure:
    """Draw the panels of one picture."""
    figure, every = panels(len(shown))
    for axes, (title, options, corners, lines) in zip(every, shown, strict=True):
        run = played_by(options, corners)
        price_and_orders(axes, hours_of(run, BEGIN), run)
        for one in lines:
            line(axes, run, one)
        quiet(axes, title)
    every[-1].set_xlabel("hours", fontsize=8)
    return figure


def phases_figure() -> Figure:
    """Stops and targets by phase; phases by how far the EMAs lie apart, as the strategy divides them."""
    figure, (axes,) = panels(1, 2.6)
    run, known = played_by({"stop": None, "target": None}, PHASES), TrendParameters()
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
    quiet(axes, "stop and target left out: by phase", "hours")
    return figure


def volume_figure() -> Figure:
    """Two break-outs, the second with twice the volume, with and without a condition on it."""
    figure, every = panels(3, height_ratios=[3, 3, 1.2], sharex=True)
    for axes, volume in zip(every, (0, 1.5), strict=False):
        run = played_by({"breakout_volume": volume, "exit": "channel"}, SWING, loud_from=26)
        price_and_orders(axes, hours_of(run, BEGIN), run)
        quiet(axes, f"breakout_volume: {volume}")
    every[2].bar(hours_of(run, BEGIN), run.prepared.candles.volume / 1e4, width=0.25, color=ENTRY, alpha=0.6)
    quiet(every[2], "volume", "hours")
    return figure


def sizing_figure() -> Figure:
    """Entries of the same market, sized by the loss at the stop and by volatility."""
    figure, every = panels(3, height_ratios=[3, 2, 2], sharex=True)
    for axes, options in zip(every[1:], SIZINGS, strict=True):
        run = played_by({"exit": "channel", **options}, WILD)
        entries = run.fills[run.fills["signal"] == Signal.ENTRY]
        times = hours_of(run, BEGIN)[entries["bar"]]
        axes.bar(times, entries["quantity"] * LOT * entries["price"] * TICK, width=4, color=ENTRY)
        quiet(axes, ", ".join(f"{key}: {value}" for key, value in options.items()))
    price_and_orders(every[0], hours_of(run, BEGIN), run)
    quiet(every[0], "The market, ever wilder; under it the notional of each entry")
    every[2].set_xlabel("hours", fontsize=8)
    return figure


FIGURES = {
    **{name: partial(draw, shown) for name, shown in PICTURES.items()},
    "phases": phases_figure,
    "breakout_volume": volume_figure,
    "sizing": sizing_figure,
}

if __name__ == "__main__":
    write("trend", FIGURES)
