# ruff: noqa: INP001, a script of its own
"""Draw the pictures of docs/dca.md, each from a run of the simulator: `uv run python docs/pictures/dca.py`.

With NUMBA_DISABLE_JIT=1 nothing is compiled, which would take longer than these few hundred bars. The candles are made
here, so that a picture shows what its option does and nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import drawing
import numpy as np
from drawing import (
    BEGIN,
    ENTRY,
    INK,
    LOT,
    TICK,
    Corners,
    OptionRun,
    Options,
    candles_along,
    named,
    panels,
    price_and_orders,
    quiet,
    write,
)

from bot.order import Signal
from bot.times import HOUR, MINUTE
from strategies.dca_parameters import DcaParameters

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
WARM_BARS = 300  # before the picture of the evidence
LOUD_FROM = 30  # bar of it from which volume is 30 times as high
WARM_MINUTES = 250  # before a picture whose conditions look back
SMALL: Options = {"take_profit": "0.6%", "deal_cooldown_seconds": 600}
ONE: Options = {"stop_after_deals": 1}
SCHEDULED: Options = {**SMALL, "start": "schedule"}
DIP = ((0, 100.0), (20, 100.3), (70, 97.4), (110, 98.2), (160, 95.6), (240, 99.6), (300, 98.6))
RISE = ((0, 100.0), (20, 99.8), (60, 101.7), (90, 101.2), (120, 102.2), (170, 99.6), (230, 100.2))
TURN = ((0, 100.0), (20, 99.8), (60, 101.7), (110, 99.2), (150, 100.0), (230, 102.4))
THERE_AND_BACK = ((0, 100.0), (40, 102.4), (100, 97.6), (160, 102.4), (200, 100.0))
FALL = ((0, 100.0), (20, 100.3), (120, 91.6), (240, 99.0))
WAVES = tuple((30 * k, 100.0 + (1.7 if k % 2 else 0.0)) for k in range(21))
TWO_DAYS = tuple((90 * k, 100.0 + (1.7 if k % 2 else 0.0)) for k in range(25))
SLOW = ((0, 100.0), (40, 98.4), (120, 98.8), (200, 98.2), (260, 98.9), (330, 99.7), (380, 99.2))
FALLS = tuple((25 * k, (100.0, 102.2, 100.0, 102.2, 100.0, 102.2, 92.0, 100.0)[k % 8]) for k in range(25))
SLIDES = ((0, 100.0), (20, 99.0), (36, 99.6), (60, 97.6), (72, 98.4), (96, 97.2), (110, 95.0), (130, 96.4))
LOW_RSI = [{"indicator": "RSI", "timeperiod": 5, "long_below": 20}]
THREE = [{"at": "1%", "share": "50%"}, {"at": "1.5%", "share": "30%"}, {"at": "2%", "share": "20%"}]


class DealRun(OptionRun):
    """A run of deals."""

    @property
    def given(self) -> Options:
        """All options of the run; a preset's go before COMMON."""
        meant = DcaParameters.presets().get(self.options.get("preset", ""), {})
        return {**COMMON, **meant, **self.beside, **self.options}


# By file: the panels.
PICTURES: dict[str, tuple[DealRun, ...]] = {
    "deal": (DealRun({"stop_loss": "6.5%"}, DIP, "base order, ladder, take profit and stop"),),
    "presets": tuple(DealRun({"preset": one}, FALL, beside=ONE) for one in DcaParameters.presets()),
    "direction": tuple(DealRun({"direction": one}, THERE_AND_BACK) for one in ("long", "short")),
    "timeframe": (
        DealRun({"timeframe": "5m"}, WAVES, beside=SMALL),
        DealRun({"timeframe": "1h"}, WAVES, beside=SMALL),
        DealRun({"timeframe": "5m", "warmup_bars": 60}, WAVES, beside=SMALL),
    ),
    "start": (
        DealRun({"start": "immediately"}, WAVES, beside=SMALL),
        DealRun({"start": "schedule", "schedule_hours": 4}, WAVES, beside=SMALL),
        DealRun({"start": "price_window", "entry_below": 100.6}, WAVES, "once a visit", beside=SMALL),
        DealRun({"start": "signal", "when": LOW_RSI}, WAVES, beside=SMALL),
    ),
    "schedule": (
        DealRun({"schedule_hours": 4}, WAVES, beside=SCHEDULED),
        DealRun({"schedule_hours": 2}, WAVES, beside=SCHEDULED),
        DealRun({"schedule_hours": 4, "schedule_offset_hours": 1}, WAVES, beside=SCHEDULED),
    ),
    "window": (
        DealRun({"entry_above": 100.6}, WAVES, beside=SMALL),
        DealRun({"entry_below": 100.6}, WAVES, beside=SMALL),
        DealRun({"entry_above": 100.2, "entry_below": 100.9}, WAVES, beside=SMALL),
    ),
    "limits": (
        DealRun({"deal_cooldown_seconds": 7200}, TWO_DAYS, beside=SMALL),
        DealRun({"max_deals_per_day": 3}, TWO_DAYS, "the second day begins at minute 1440", beside=SMALL),
        DealRun({"stop_after_deals": 3}, TWO_DAYS, beside=SMALL),
    ),
    "ladder": (
        DealRun({"step": "1.5%"}, DIP, beside=ONE),
        DealRun({"step": "0.8%"}, DIP, beside=ONE),
        DealRun({"step": "0.8%", "step_multiplier": 1.5}, DIP, beside=ONE),
        DealRun({"step": "1.5%", "max_safety_orders": 2}, DIP, beside=ONE),
    ),
    "active": (
        DealRun({"max_active_safety_orders": 30}, DIP, "all of them rest", beside=ONE),
        DealRun({"max_active_safety_orders": 1}, DIP, "the others wait", beside=ONE),
    ),
    "stop_loss": tuple(DealRun({"stop_loss": one}, FALL, beside=ONE) for one in ("7%", "12%")),
    "take_profit": tuple(DealRun({"take_profit": one}, DIP) for one in ("0.6%", "2%")),
    "targets": (
        DealRun({"take_profit": "1%"}, TURN, beside=ONE),
        DealRun({"targets": THREE}, TURN, beside=ONE),
        DealRun({"targets": THREE, "break_even": True}, TURN, beside=ONE),
    ),
    "from": (
        DealRun({"take_profit_from": "average"}, DIP, beside=ONE),
        DealRun({"take_profit_from": "base"}, (*DIP, (340, 102.2)), beside=ONE),
    ),
    "trailing": (
        DealRun({"trailing": False}, RISE, beside=ONE),
        *(
            DealRun({"trailing": True, "trail_activation": begins, "trail_distance": distance}, RISE, beside=ONE)
            for begins, distance in (("1.2%", "0.5%"), ("1.7%", "0.5%"), ("1.2%", "0.9%"))
        ),
    ),
    "deadline": (
        DealRun({"max_deal_days": None}, SLOW, beside=ONE),
        DealRun({"max_deal_days": 0.15, "deadline_exit": "break_even"}, SLOW, beside=ONE),
        DealRun({"max_deal_days": 0.15, "deadline_exit": "market"}, SLOW, beside=ONE),
    ),
}
SIZES: tuple[Options, ...] = ({}, {"reinvest_pct": 100}, {"risk_reduction_pct": 100})
LADDERS: tuple[Options, ...] = (
    {"safety_ratio": 1},
    {"safety_ratio": 2},
    {"volume_multiplier": 1.5},
    {"risk_budget": "2%"},
)
MUCH = 0.95  # of the evidence, in all rows that do not say another
EVIDENCE: tuple[Options, ...] = (
    {"confluence": 0.6},
    {"confluence": MUCH},
    {"min_confirmations": 4},
    {"adx_min": 60},
    {"price_zone": "0.1%"},
    {"rsi_limit": 15},
    {"band_tolerance": 0},
    {"volume_ratio": 3},
    {"spike": "0.1%"},
)
OF_SIZES: Options = {**COMMON, **SMALL, "stop_loss": "7%"}
OF_EVIDENCE: Options = {  # a deal is closed at the next signal bar, so that another can open
    **COMMON,
    "start": "confluence",
    "confluence": MUCH,
    "deal_cooldown_seconds": 0,
    "max_deal_days": 0.003,
    "deadline_exit": "market",
}
# By picture: the options of its runs.
OPTIONS: dict[str, tuple[Options, ...]] = {
    **{name: tuple(one.given for one in shown) for name, shown in PICTURES.items()},
    "sizes": tuple({**OF_SIZES, **one} for one in SIZES),
    "ladder_sizes": tuple({**COMMON, **ONE, **one} for one in LADDERS),
    "confluence": tuple({**OF_EVIDENCE, **one} for one in EVIDENCE),
}


def played(options: Options, corners: Corners) -> Recording:
    """Run DCA with these options over candles of a minute."""
    candles = candles_along(corners, start=BEGIN, before=WARM_MINUTES if "when" in options else 0)
    return drawing.played({"strategy": "dca", "dca": options}, candles)


def draw(axes: Axes, title: str, run: Recording) -> None:
    """Draw price, the orders that rested, and the fills."""
    minutes = (run.prepared.candles.ts[: run.bars] - BEGIN) / MINUTE
    price_and_orders(axes, minutes, run)
    quiet(axes, title)


def draw_panels(shown: tuple[DealRun, ...]) -> Figure:
    """Draw the panels of one picture."""
    figure, every = panels(len(shown))
    for axes, one in zip(every, shown, strict=True):
        draw(axes, one.title, played(one.given, one.corners))
    every[-1].set_xlabel("minutes", fontsize=8)
    return figure


def sizes_figure() -> Figure:
    """Base orders of the same market, by what is reinvested."""
    figure, every = panels(len(SIZES), 1.6, sharey=True)
    for axes, shown, options in zip(every, SIZES, OPTIONS["sizes"], strict=True):
        fills = played(options, FALLS).fills
        bases = fills[(fills["signal"] == Signal.ENTRY) & (fills["entry"] == 0)]
        notional = bases["quantity"] * bases["price"] * TICK * LOT
        axes.bar(range(1, len(bases) + 1), notional, color=ENTRY)
        axes.set_ylim(notional.min() * 0.9, notional.max() * 1.06)
        quiet(axes, named(shown) or "neither")
        axes.set_xticks(range(2, len(bases) + 1, 2))
    every[-1].set_xlabel("deal", fontsize=8)
    return figure


def ladder_sizes_figure() -> Figure:
    """What the orders of a deal are worth, the base order first."""
    figure, every = panels(len(LADDERS), 1.4, sharex=True, sharey=True)
    for axes, shown, options in zip(every, LADDERS, OPTIONS["ladder_sizes"], strict=True):
        fills = played(options, FALL).fills
        entries = fills[fills["signal"] == Signal.ENTRY]
        axes.bar(range(len(entries)), entries["quantity"] * entries["price"] * TICK * LOT, color=ENTRY)
        quiet(axes, named(shown))
    every[-1].set_xticks(range(len(entries)), ["base", *map(str, range(1, len(entries)))])
    every[-1].set_xlabel("order of the deal; its notional", fontsize=8)
    return figure


def confluence_figure() -> Figure:
    """Where deals open, by what the evidence has to be."""
    figure, (prices, rows) = panels(2, 2.4, sharex=True)
    candles = candles_along(SLIDES, 5 * MINUTE, start=BEGIN, before=WARM_BARS)
    loud = candles.ts >= BEGIN + LOUD_FROM * 5 * MINUTE
    candles = replace(candles, volume=candles.volume * np.where(loud, 30.0, 1.0))
    for row, options in enumerate(OPTIONS["confluence"]):
        run = drawing.played({"strategy": "dca", "dca": options}, candles)
        hours = (run.prepared.candles.ts[: run.bars] - BEGIN) / HOUR
        opened = run.fills[run.fills["signal"] == Signal.ENTRY]["bar"]
        rows.plot(hours[opened], np.full(len(opened), -row), "|", color=ENTRY, markersize=8)
    prices.plot(hours, run.prepared.candles.close[: run.bars], color=INK, linewidth=0.9)
    shown = hours >= 0
    prices.set_ylim(candles.low[: run.bars][shown].min(), candles.high[: run.bars][shown].max())
    quiet(prices, "The market, and the deals that open")
    quiet(rows, "", "hours")
    rows.set_yticks(-np.arange(len(EVIDENCE)), [named(one) for one in EVIDENCE])
    rows.set_xlim(0, hours[-1])
    return figure


FIGURES = {
    **{name: partial(draw_panels, shown) for name, shown in PICTURES.items()},
    "sizes": sizes_figure,
    "ladder_sizes": ladder_sizes_figure,
    "confluence": confluence_figure,
}

if __name__ == "__main__":
    write("dca", FIGURES)
