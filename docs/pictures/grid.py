# ruff: noqa: INP001, a script
"""Draw the pictures of docs/grid.md, each from runs of the simulator: `uv run python docs/pictures/grid.py`.

With NUMBA_DISABLE_JIT=1 nothing is compiled. The market is made here: two days of minutes, which begin at 100.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import drawing
import numpy as np
from drawing import (
    AVERAGE,
    BEGIN,
    ENTRY,
    GAIN,
    INK,
    LOT,
    START,
    TICK,
    hours_of,
    named,
    panels,
    price_and_orders,
    quiet,
    write,
)

from bot.candles import Candles
from bot.indicator_functions import outputs_of
from bot.indicator_registry import indicator_named
from bot.order import Signal
from bot.times import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from backtesting.simulator import Recording

Options = dict[str, Any]


EVENLY = (1.0, 1.0, 1.0, 1.0)  # how much the market moves in each of its half days
WILD_FIRST = (4.0, 1.0, 1.0, 1.0)


class Shown(NamedTuple):
    """Runs that a picture shows beneath each other, and their market; with `history` its first day is not traded."""

    runs: tuple[Options, ...]
    end: float = 101.0  # price towards which the market goes
    moves: tuple[float, ...] = EVENLY
    history: bool = False
    beneath: str = ""  # what is drawn under the price of each run


BARS, SEED = 2880, 12
BASE: Options = {"preset": "exchange", "lower": 96.0, "upper": 104.0, "levels": 17, "direction": "long"}
WIDE = {"lower": 60.0, "upper": 180.0}
OPEN = {"lower": None, "upper": None, "levels": 9, "timeframe": "5m", "warmup_bars": 20}  # the range is a width of ATRs
FEW = {**OPEN, "levels": 5}
STOPPED = {"stop_price": 95.0}
WHEN = [{"indicator": "RSI", "timeperiod": 14, "long_below": 33}]
CLIMBS = 112.0

PICTURES = {
    "exchange": Shown((BASE,), beneath="equity"),
    "levels": Shown(
        ({"levels": 7}, {"levels": 13}, {"levels": 13, "spacing": "geometric"}), end=140.0, moves=(6.0,) * 4
    ),
    "range": Shown(
        (
            {"range_factor": 8, "atr_period": 14},
            {"range_factor": 16, "atr_period": 14},
            {"range_factor": 8, "atr_period": 400},
        ),
        moves=WILD_FIRST,
        history=True,
    ),
    "counter": Shown(
        (
            {"counter": "level"},
            {"counter": "profit", "profit_per_grid": "0.5%"},
            {"counter": "profit", "profit_per_grid": "2%"},
        )
    ),
    "direction": Shown(({"direction": "long"}, {"direction": "short"}, {"direction": "neutral"}), end=100.0),
    "turning_entries": Shown(({"turning_entries": "suspend"}, {"turning_entries": "rest"}), end=102.0),
    "initial_inventory": Shown(({"initial_inventory": True}, {"initial_inventory": False}), beneath="held"),
    "risk_budget": Shown(({"risk_budget": "100%"}, {"risk_budget": "5%"}), beneath="held"),
    "start": Shown(
        (
            {"start": "now"},
            {"start": "at_signal_bar", "timeframe": "4h"},
            {"start": "at_signal_bar", "timeframe": "4h", "warmup_bars": 3},
        )
    ),
    "trigger_price": Shown(({"trigger_price": 102.0},), end=103.0),
    "take_profit": Shown(({"take_profit": 105.0}, {"take_profit_share": "1%"}), end=107.0, beneath="equity"),
    "stop_price": Shown(({"stop_price": 95.0}, {"stop_share": "1%"}), end=93.0, beneath="equity"),
    "on_stop": Shown(
        (
            {**STOPPED, "on_stop": "close"},
            {**STOPPED, "on_stop": "keep"},
            {**STOPPED, "on_stop": "keep_with_stop", "stop_loss": "1%"},
        ),
        end=93.0,
        beneath="equity",
    ),
    "stop_loss": Shown(({"stop_loss": "2%"}, {"stop_loss": "5%"}), end=92.0),
    "max_drawdown": Shown(({"max_drawdown": "100%"}, {"max_drawdown": "2%"}), end=93.0, beneath="equity"),
    "cooldown_hours": Shown(
        ({"stop_loss": "0.5%", "cooldown_hours": 1}, {"stop_loss": "0.5%", "cooldown_hours": 8}),
        end=92.0,
        history=True,
    ),
    "trailing": Shown(
        ({"trailing": "off"}, {"trailing": "fixed"}, {"trailing": "atr"}, {"trailing": "cell"}),
        end=125.0,
        moves=(1.0, 1.0, 0.6, 2.0),
        history=True,
    ),
    "shift": Shown(
        (
            {"trailing": "fixed"},
            {"trailing": "fixed", "shift_threshold": "1%"},
            {"trailing": "fixed", "shift_cooldown_minutes": 600},
            {"trailing": "fixed", "max_age_days": 0.1},
        ),
        end=CLIMBS,
        history=True,
    ),
    "trailing_limit_upper": Shown(
        ({"trailing": "cell"}, {"trailing": "cell", "trailing_limit_upper": 107.0}), end=CLIMBS
    ),
    "trailing_limit_lower": Shown(({"trailing": "cell"}, {"trailing": "cell", "trailing_limit_lower": 93.0}), end=90.0),
    "min_cell_profit": Shown(
        ({"trailing": "cell", "min_cell_profit": 0.5}, {"trailing": "cell", "min_cell_profit": 10.7}), end=CLIMBS
    ),
    "infinity": Shown(({"infinity": True, "profit_per_grid": "0.5%", "levels": 20},), end=120.0, beneath="equity"),
    "activation_band": Shown(({"activation_band": "1%"},)),
    "max_open_orders": Shown(({"max_open_orders": 4},)),
}
# What each run of these pictures begins with beside BASE, and its title does not say.
BESIDE: dict[str, Options] = {
    "levels": WIDE,
    "range": OPEN,
    "counter": {"levels": 9},
    "turning_entries": {"direction": "neutral", "levels": 9},
    "trailing_limit_lower": {"direction": "short"},
    "stop_loss": {"cooldown_hours": 24},
    "cooldown_hours": FEW,
    "trailing": {**FEW, "range_factor": 5},
    "shift": {**FEW, "range_factor": 5},
}
SIZES: tuple[Options, ...] = (
    {"reinvest": "off"},
    {"reinvest": "profits"},
    {"reinvest": "all"},
    {"reinvest": "all", "profit_lock": "50%"},
)
FOR_SIZES: Options = {"lower": 88.0, "upper": 112.0, "levels": 25}
GATES: tuple[Options, ...] = ({"when": []}, {"when": WHEN})
# By picture: the options of its runs.
OPTIONS: dict[str, tuple[Options, ...]] = {
    **{name: tuple({**BASE, **BESIDE.get(name, {}), **run} for run in shown.runs) for name, shown in PICTURES.items()},
    "reinvest": tuple({**BASE, **FOR_SIZES, **run} for run in SIZES),
    "when": tuple({**BASE, "timeframe": "5m", **run} for run in GATES),
}


def market(end: float, moves: tuple[float, ...] = EVENLY) -> Candles:
    """Prices that wander from 100 to `end` in two days of minutes, in each half day so much."""
    rng = np.random.default_rng(SEED)
    steps = np.cumsum(rng.standard_normal(BARS) * np.repeat(moves, BARS // 4)) * 0.0012
    bridge = steps - np.linspace(0.0, steps[-1], BARS) + np.linspace(0.0, np.log(end / 100.0), BARS)
    close = np.round(100.0 * np.exp(bridge), 2)
    open_ = np.concatenate(([100.0], close[:-1]))
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    return Candles(START + MINUTE * np.arange(BARS), open_, high, low, close, np.full(BARS, 1e4), MINUTE)


def played(options: Options, candles: Candles, *, history: bool = False) -> Recording:
    """Backtest the exchange's grid with these options; with `history` the first day is not traded."""
    config: Options = {"strategy": "grid", "capital": 10_000, "grid": options}
    if history:
        candles = replace(candles, ts=candles.ts - START + BEGIN - DAY)
        config["from"] = str(BEGIN)
    return drawing.played(config, candles)


def draw(name: str) -> Figure:
    """Draw the runs of a picture: price, fills, the orders that rest, and what is beneath."""
    shown = PICTURES[name]
    strips = 2 if shown.beneath else 1
    ratios = ([3, 1] if shown.beneath else [1]) * len(shown.runs)
    figure, every = panels(strips * len(shown.runs), 2.0 if strips == 1 else 1.6, height_ratios=ratios, sharex=True)
    candles = market(shown.end, shown.moves)
    for prices, told, options in zip(every[::strips], shown.runs, OPTIONS[name], strict=True):
        run = played(options, candles, history=shown.history)
        hours = hours_of(run, BEGIN if shown.history else START)
        price_and_orders(prices, hours, run, 12)
        quiet(prices, named(told))
        if shown.beneath:
            strip = every[every.index(prices) + 1]
            strip.plot(hours, run.equity() if shown.beneath == "equity" else worth(run), linewidth=0.8, color=ENTRY)
            quiet(strip, shown.beneath if shown.beneath == "equity" else "worth of what is held")
    every[-1].set_xlabel("hours", fontsize=8)
    return figure


def worth(run: Recording) -> Any:
    """What is held, at each close, quote currency."""
    return run.holdings()[1] * LOT * run.prepared.candles.close[: run.bars]


def sizes() -> Figure:
    """Draw what entries are worth as the grid goes on, by what they grow by."""
    figure, (prices, notionals) = panels(2, 2.6, sharex=True)
    candles = market(101.0, (2.5,) * 4)
    for shown, options, colour in zip(SIZES, OPTIONS["reinvest"], (INK, GAIN, ENTRY, AVERAGE), strict=True):
        run = played(options, candles)
        entries = run.fills[(run.fills["signal"] == Signal.ENTRY) & (run.fills["bar"] > HOUR // MINUTE)]
        worths = entries["quantity"] * LOT * entries["price"] * TICK
        notionals.plot(hours_of(run)[entries["bar"]], worths, ".-", color=colour, linewidth=0.8, label=named(shown))
    price_and_orders(prices, hours_of(run), run, 12)
    quiet(prices, "The market; under it the notional of each entry")
    quiet(notionals, "", "hours")
    low, high = notionals.get_ylim()
    notionals.set_ylim(low, high + 0.3 * (high - low))
    notionals.legend(fontsize=8, frameon=False, loc="upper left", ncols=2)
    return figure


def gated() -> Figure:
    """Draw the same grid without conditions and behind them, with what they look at."""
    candles = market(101.0)
    figure, (plain, waiting, values) = panels(3, height_ratios=[2, 2, 1], sharex=True)
    for axes, shown, options in zip((plain, waiting), GATES, OPTIONS["when"], strict=True):
        run = played(options, candles, history=True)
        price_and_orders(axes, hours_of(run, BEGIN), run, 12)
        quiet(axes, named(shown))
    rolled = run.prepared.rollup(5 * MINUTE)
    rsi = outputs_of("RSI", indicator_named("RSI").values({"timeperiod": 14}), rolled.bars)["real"]
    values.plot(hours_of(run, BEGIN)[rolled.ends], rsi, linewidth=0.8, color=AVERAGE)
    values.axhline(WHEN[0]["long_below"], color=GAIN, linewidth=0.8, linestyle=":")
    quiet(values, "RSI", "hours")
    values.set_xlim(0, 24)
    return figure


FIGURES = {"when": gated, "reinvest": sizes} | {name: partial(draw, name) for name in PICTURES}

if __name__ == "__main__":
    write("grid", FIGURES)
