# ruff: noqa: INP001, a script
"""Draws what each option of a grid does, from backtests of made markets: docs/grid/*.svg."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from backtesting.simulator import PreparedCandles, Recording, UniversalSimulator
from bot.candles import Candles
from bot.instrument import Instrument, Market
from coordinator.config import load_config

FOLDER = Path(__file__).parent.parent / "grid"
START, MINUTE = 1_704_067_200_000, 60_000
BARS, SEED = 2880, 12
BASE = {"preset": "exchange", "lower": 96.0, "upper": 104.0, "levels": 17, "direction": "long"}
# What is drawn, and towards which price the market goes.
PICTURES = {
    "exchange": ({}, 101.0),
    "trigger_price": ({"trigger_price": 102.0}, 103.0),
    "take_profit": ({"take_profit": 105.0}, 107.0),
    "stop_price": ({"stop_price": 95.0}, 93.0),
    "keep": ({"stop_price": 95.0, "on_stop": "keep"}, 93.0),
    "cell": ({"trailing": "cell"}, 112.0),
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
    config = load_config({"strategy": "grid", "pair": "COINUSDT", "capital": 10_000, "grid": {**BASE, **options}})
    traded = Instrument(symbol="COINUSDT", market=Market.LINEAR, tick_size="0.01", lot_size="0.001", min_notional=5)
    simulator = UniversalSimulator(config, keep_desired_orders=True)
    return simulator.run(PreparedCandles.of(market(end), traded))


def draw(name: str, options: dict[str, object], end: float) -> None:
    """Draw one run: price, fills, the orders that rest, and the equity."""
    recording = played(options, end)
    hours, fills = np.arange(BARS) / 60.0, recording.fills
    figure, (prices, money) = plt.subplots(2, figsize=(6.4, 4.4), height_ratios=[3, 1], sharex=True, layout="tight")
    shown = recording.desired_orders[recording.desired_orders["price"] > 0]
    prices.plot(shown["bar"] / 60.0, shown["price"] * 0.01, ".", color="0.85", markersize=2, label="order set")
    prices.plot(hours, recording.prepared.close * 0.01, color="0.3", linewidth=0.7)
    for side, mark, colour, word in ((1, "^", "tab:green", "buys"), (-1, "v", "tab:red", "sells")):
        own = fills[fills["side"] == side]
        prices.plot(own["bar"] / 60.0, own["price"] * 0.01, mark, color=colour, markersize=3, label=word)
    prices.set_title(", ".join(f"{key}: {value}" for key, value in (options or {"preset": "exchange"}).items()))
    prices.set_ylim(recording.prepared.low.min() * 0.0099, recording.prepared.high.max() * 0.0101)
    prices.legend(loc="upper left", fontsize=7)
    money.plot(hours[: recording.bars], recording.equity(), linewidth=0.8)
    money.set_ylabel("equity")
    money.set_xlabel("hours")
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Draw every picture."""
    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "grid"
    FOLDER.mkdir(exist_ok=True)
    for name, (options, end) in PICTURES.items():
        draw(name, options, end)


if __name__ == "__main__":
    main()
