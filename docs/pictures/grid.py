# ruff: noqa: INP001, a script
"""Draw the pictures of docs/grid.md, each from a run of the simulator: `uv run python docs/pictures/grid.py`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import drawing
import numpy as np
from drawing import AVERAGE, BEGIN, ENTRY, GAIN, START, hours_of, panels, price_and_orders, quiet, write

from bot.candles import Candles
from bot.indicator_functions import outputs_of
from bot.indicator_registry import indicator_named
from bot.times import DAY, MINUTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from backtesting.simulator import Recording

BARS, SEED = 2880, 12
WHEN = {"indicator": "RSI", "timeperiod": 14, "long_below": 33}
BASE = {"preset": "exchange", "lower": 96.0, "upper": 104.0, "levels": 17, "direction": "long"}
# What is drawn, and towards which price the market goes.
PICTURES = {
    "exchange": ({}, 101.0),
    "start": ({"start": "at_signal_bar", "timeframe": "4h"}, 101.0),
    "trigger_price": ({"trigger_price": 102.0}, 103.0),
    "take_profit": ({"take_profit": 105.0}, 107.0),
    "stop_price": ({"stop_price": 95.0}, 93.0),
    "keep": ({"stop_price": 95.0, "on_stop": "keep"}, 93.0),
    "keep_with_stop": ({"stop_price": 95.0, "on_stop": "keep_with_stop", "stop_loss": 0.01}, 93.0),
    "cell": ({"trailing": "cell"}, 112.0),
    "trailing_limit": ({"trailing": "cell", "trailing_limit_upper": 107.0}, 112.0),
    "infinity": ({"infinity": True, "profit_per_grid": 0.005, "levels": 20}, 120.0),
    "reinvest": ({"reinvest": "all"}, 101.0),
    "profit_lock": ({"reinvest": "all", "profit_lock": 0.5}, 101.0),
    "activation_band": ({"activation_band": 0.01}, 101.0),
    "max_open_orders": ({"max_open_orders": 4}, 101.0),
}


def market(end: float) -> Candles:
    """Prices that wander from 100 to `end` in two days of minutes."""
    rng = np.random.default_rng(SEED)
    steps = np.cumsum(rng.standard_normal(BARS)) * 0.0012
    bridge = steps - np.linspace(0.0, steps[-1], BARS) + np.linspace(0.0, np.log(end / 100.0), BARS)
    close = np.round(100.0 * np.exp(bridge), 2)
    open_ = np.concatenate(([100.0], close[:-1]))
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    return Candles(START + MINUTE * np.arange(BARS), open_, high, low, close, np.full(BARS, 1e4), MINUTE)


def played(options: dict[str, object], end: float) -> Recording:
    """Backtest the exchange's grid with these options."""
    return drawing.played({"strategy": "grid", "capital": 10_000, "grid": {**BASE, **options}}, market(end))


def draw(options: dict[str, object], end: float) -> Figure:
    """Draw one run: price, fills, the orders that rest, and the equity."""
    run = played(options, end)
    figure, (prices, money) = panels(2, height_ratios=[3, 1], sharex=True)
    price_and_orders(prices, hours_of(run), run, 12)
    quiet(prices, ", ".join(f"{key}: {value}" for key, value in (options or {"preset": "exchange"}).items()))
    money.plot(hours_of(run), run.equity(), linewidth=0.8, color=ENTRY)
    quiet(money, "equity", "hours")
    return figure


def gated() -> Figure:
    """Draw the same grid without conditions and behind them, with what they look at."""
    moved = market(101.0)
    candles = replace(moved, ts=moved.ts - START + BEGIN - DAY)  # the first day is history
    figure, (plain, waiting, values) = panels(3, height_ratios=[2, 2, 1], sharex=True)
    for axes, when in ((plain, []), (waiting, [WHEN])):
        grid = {**BASE, "timeframe": "5m", "when": when}
        run = drawing.played({"strategy": "grid", "from": str(BEGIN), "capital": 10_000, "grid": grid}, candles)
        price_and_orders(axes, hours_of(run, BEGIN), run, 12)
        quiet(axes, "when: [{indicator: RSI, timeperiod: 14, long_below: 33}]" if when else "when: []")
    rolled = run.prepared.rollup(5 * MINUTE)
    rsi = outputs_of("RSI", indicator_named("RSI").values({"timeperiod": 14}), rolled.bars)["real"]
    values.plot(hours_of(run, BEGIN)[rolled.ends], rsi, linewidth=0.8, color=AVERAGE)
    values.axhline(WHEN["long_below"], color=GAIN, linewidth=0.8, linestyle=":")
    quiet(values, "RSI", "hours")
    values.set_xlim(0, 24)
    return figure


FIGURES = {"when": gated} | {name: partial(draw, options, end) for name, (options, end) in PICTURES.items()}

if __name__ == "__main__":
    write("grid", FIGURES)
