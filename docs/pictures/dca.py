# ruff: noqa: INP001, a script of its own
"""Draw the pictures of docs/dca.md, each from a run of the simulator: `uv run python docs/pictures/dca.py`.

With NUMBA_DISABLE_JIT=1 nothing is compiled, which would take longer than these few hundred bars. The candles are made
here, so that a picture shows what its option does and nothing else.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import drawing
from drawing import BEGIN, ENTRY, LOT, TICK, Corners, candles_along, panels, price_and_orders, quiet, write

from bot.order import Signal
from bot.times import MINUTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from backtesting.simulator import Recording

COMMON = {
    "timeframe": "5m",
    "warmup_bars": 2,
    "start": "immediately",
    "deal_cooldown_seconds": 3600,
    "max_safety_orders": 4,
    "risk_budget": 1.0,
}
WARM_MINUTES = 250  # before a picture whose conditions look back
SMALL = {"take_profit": "0.6%", "deal_cooldown_seconds": 600}
DIP = ((0, 100.0), (20, 100.3), (70, 97.4), (110, 98.2), (160, 95.6), (240, 99.6), (300, 98.6))
RISE = ((0, 100.0), (20, 99.8), (60, 101.7), (90, 101.2), (120, 102.2), (170, 99.6), (230, 100.2))
TURN = ((0, 100.0), (20, 99.8), (60, 101.7), (110, 99.2), (150, 100.0), (230, 102.4))
WAVES = tuple((30 * k, 100.0 + (1.7 if k % 2 else 0.0)) for k in range(21))
SLOW = ((0, 100.0), (40, 98.4), (120, 98.8), (200, 98.2), (260, 98.9), (330, 99.7), (380, 99.2))
FALLS = tuple((25 * k, (100.0, 102.2, 100.0, 102.2, 100.0, 102.2, 92.0, 100.0)[k % 8]) for k in range(25))
THREE = [{"at": "1%", "share": "50%"}, {"at": "1.5%", "share": "30%"}, {"at": "2%", "share": "20%"}]
Panel = tuple[str, dict[str, Any], Corners]

# By file: the panels, each with its title, the options that differ from COMMON, and the corners of the price.
PICTURES: dict[str, tuple[Panel, ...]] = {
    "deal": (("A deal: base order, ladder, take profit, and stop", {"stop_loss": "6.5%"}, DIP),),
    "start": (
        ("start: immediately", SMALL, WAVES),
        ("start: schedule, schedule_hours: 4", {**SMALL, "start": "schedule", "schedule_hours": 4}, WAVES),
        (
            "start: price_window, entry_below: 100.6: once a visit",
            {**SMALL, "start": "price_window", "entry_below": 100.6},
            WAVES,
        ),
        (
            "start: signal, when: [{indicator: RSI, timeperiod: 5, long_below: 20}]",
            {**SMALL, "start": "signal", "when": [{"indicator": "RSI", "timeperiod": 5, "long_below": 20}]},
            WAVES,
        ),
    ),
    "window": (
        (
            "start: immediately, entry_above: 99, entry_below: 100.6",
            {**SMALL, "entry_above": 99, "entry_below": 100.6},
            WAVES,
        ),
    ),
    "limits": (
        ("deal_cooldown_seconds: 7200", {**SMALL, "deal_cooldown_seconds": 7200}, WAVES),
        (
            "stop_after_deals: 3 (max_deals_per_day: 3 does the same until midnight)",
            {**SMALL, "stop_after_deals": 3},
            WAVES,
        ),
    ),
    "active": (("max_active_safety_orders: 1, the others wait", {"max_active_safety_orders": 1}, DIP),),
    "targets": (
        ("targets: 50 % at 1 %, 30 % at 1.5 %, 20 % at 2 %", {"targets": THREE, "stop_after_deals": 1}, TURN),
        ("the same with break_even: true", {"targets": THREE, "break_even": True, "stop_after_deals": 1}, TURN),
    ),
    "from": (
        ("take_profit_from: average", {"stop_after_deals": 1}, DIP),
        ("take_profit_from: base", {"take_profit_from": "base", "stop_after_deals": 1}, (*DIP, (340, 102.2))),
    ),
    "trailing": (
        (
            "trailing: true, trail_activation: 1 %, trail_distance: 0.5 %",
            {"trailing": True, "trail_activation": "1%", "trail_distance": "0.5%", "stop_after_deals": 1},
            RISE,
        ),
    ),
    "deadline": (
        ("max_deal_days: 0.15, deadline_exit: break_even", {"max_deal_days": 0.15, "stop_after_deals": 1}, SLOW),
        (
            "max_deal_days: 0.15, deadline_exit: market",
            {"max_deal_days": 0.15, "deadline_exit": "market", "stop_after_deals": 1},
            SLOW,
        ),
    ),
}
SIZES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("off", {}),
    ("reinvest_pct: 100", {"reinvest_pct": 100}),
    ("risk_reduction_pct: 100", {"risk_reduction_pct": 100}),
)


def played(options: dict[str, Any], corners: Corners) -> Recording:
    """Run DCA with these options over candles of a minute."""
    candles = candles_along(corners, start=BEGIN, before=WARM_MINUTES if "when" in options else 0)
    return drawing.played({"strategy": "dca", "dca": {**COMMON, **options}}, candles)


def draw(axes: Axes, title: str, run: Recording) -> None:
    """Draw price, the orders that rested, and the fills."""
    minutes = (run.prepared.candles.ts[: run.bars] - BEGIN) / MINUTE
    price_and_orders(axes, minutes, run)
    quiet(axes, title)


def sizes_figure() -> Figure:
    """Base orders of the same market, by what is reinvested."""
    figure, every = panels(len(SIZES), 1.6, sharey=True)
    for axes, (title, options) in zip(every, SIZES, strict=True):
        fills = played({**SMALL, "stop_loss": "7%", **options}, FALLS).fills
        bases = fills[(fills["signal"] == Signal.ENTRY) & (fills["entry"] == 0)]
        notional = bases["quantity"] * bases["price"] * TICK * LOT
        axes.bar(range(1, len(bases) + 1), notional, color=ENTRY)
        axes.set_ylim(notional.min() * 0.9, notional.max() * 1.06)
        quiet(axes, title)
        axes.set_xticks(range(2, len(bases) + 1, 2))
    every[-1].set_xlabel("deal", fontsize=8)
    return figure


def draw_panels(shown: tuple[Panel, ...]) -> Figure:
    """Draw the panels of one picture."""
    figure, every = panels(len(shown))
    for axes, (title, options, corners) in zip(every, shown, strict=True):
        draw(axes, title, played(options, corners))
    every[-1].set_xlabel("minutes", fontsize=8)
    return figure


FIGURES = {"sizes": sizes_figure, **{name: partial(draw_panels, shown) for name, shown in PICTURES.items()}}

if __name__ == "__main__":
    write("dca", FIGURES)
