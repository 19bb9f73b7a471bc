# ruff: noqa: INP001, T201, a script of its own
"""Draw the pictures of docs/dca.md, each from a run of the simulator: `uv run python docs/draw_dca.py`.

With NUMBA_DISABLE_JIT=1 nothing is compiled, which would take longer than these few hundred bars. The candles are made
here, so that a picture shows what its option does and nothing else.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from backtesting.simulator import PreparedCandles, Recording, UniversalSimulator  # noqa: E402
from bot.candles import Candles  # noqa: E402
from bot.instrument import Instrument, Market  # noqa: E402
from bot.order import OrderKind, Signal  # noqa: E402
from coordinator.config import load_config  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

START, MINUTE = 1_704_067_200_000, 60_000
TICK = 0.01
COMMON = {
    "timeframe": "5m",
    "warmup_bars": 2,
    "start": "immediately",
    "deal_cooldown_seconds": 3600,
    "max_safety_orders": 4,
    "risk_budget": 1.0,
}
SMALL = {"take_profit": "0.6%", "deal_cooldown_seconds": 600}
DIP = ((0, 100.0), (20, 100.3), (70, 97.4), (110, 98.2), (160, 95.6), (240, 99.6), (300, 98.6))
RISE = ((0, 100.0), (20, 99.8), (60, 101.7), (90, 101.2), (120, 102.2), (170, 99.6), (230, 100.2))
TURN = ((0, 100.0), (20, 99.8), (60, 101.7), (110, 99.2), (150, 100.0), (230, 102.4))
WAVES = tuple((30 * k, 100.0 + (1.7 if k % 2 else 0.0)) for k in range(21))
SLOW = ((0, 100.0), (40, 98.4), (120, 98.8), (200, 98.2), (260, 98.9), (330, 99.7), (380, 99.2))
FALLS = tuple((25 * k, (100.0, 102.2, 100.0, 102.2, 100.0, 102.2, 92.0, 100.0)[k % 8]) for k in range(25))
THREE = [{"at": "1%", "share": "50%"}, {"at": "1.5%", "share": "30%"}, {"at": "2%", "share": "20%"}]
Panel = tuple[str, dict[str, Any], tuple[tuple[int, float], ...]]

# By file: the panels, each with its title, the options that differ from COMMON, and the corners of the price.
PICTURES: dict[str, tuple[Panel, ...]] = {
    "dca_deal": (("A deal: base order, ladder, take profit over the average, stop under the base", {}, DIP),),
    "dca_start": (
        ("start: immediately", SMALL, WAVES),
        ("start: schedule, schedule_hours: 4", {**SMALL, "start": "schedule", "schedule_hours": 4}, WAVES),
        (
            "start: price_window, entry_below: 100.6: once a visit",
            {**SMALL, "start": "price_window", "entry_below": 100.6},
            WAVES,
        ),
    ),
    "dca_window": (
        (
            "start: immediately, entry_above: 99, entry_below: 100.6",
            {**SMALL, "entry_above": 99, "entry_below": 100.6},
            WAVES,
        ),
    ),
    "dca_limits": (
        ("deal_cooldown_seconds: 7200", {**SMALL, "deal_cooldown_seconds": 7200}, WAVES),
        (
            "stop_after_deals: 3 (max_deals_per_day: 3 does the same until midnight)",
            {**SMALL, "stop_after_deals": 3},
            WAVES,
        ),
    ),
    "dca_active": (("max_active_safety_orders: 1, the others wait", {"max_active_safety_orders": 1}, DIP),),
    "dca_targets": (
        ("targets: 50 % at 1 %, 30 % at 1.5 %, 20 % at 2 %", {"targets": THREE, "stop_after_deals": 1}, TURN),
        ("the same with break_even: true", {"targets": THREE, "break_even": True, "stop_after_deals": 1}, TURN),
    ),
    "dca_from": (
        ("take_profit_from: average", {"stop_after_deals": 1}, DIP),
        ("take_profit_from: base", {"take_profit_from": "base", "stop_after_deals": 1}, (*DIP, (340, 102.2))),
    ),
    "dca_trailing": (
        (
            "trailing: true, trail_activation: 1 %, trail_distance: 0.5 %",
            {"trailing": True, "trail_activation": "1%", "trail_distance": "0.5%", "stop_after_deals": 1},
            RISE,
        ),
    ),
    "dca_deadline": (
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
INK, GAIN, LOSS, ENTRY = "#333333", "#2a9d5c", "#c8443c", "#2b6cb0"


def candles_along(corners: Sequence[tuple[int, float]]) -> Candles:
    """One-minute candles whose price goes from corner to corner (minute, price), with a little noise."""
    minutes = np.arange(corners[-1][0] + 1)
    noise = np.random.default_rng(7).normal(0.0, 0.05, len(minutes))
    ends = np.round(np.interp(minutes, *np.array(corners).T) + noise, 2)
    opens = np.concatenate(([ends[0]], ends[:-1]))
    high, low = np.maximum(opens, ends) + 0.03, np.minimum(opens, ends) - 0.03
    return Candles(
        START + MINUTE * minutes, opens, np.round(high, 2), np.round(low, 2), ends, np.full(len(ends), 1e4), MINUTE
    )


def played(options: dict[str, Any], corners: Sequence[tuple[int, float]]) -> Recording:
    """Run DCA with these options over such candles."""
    traded = Instrument(symbol="BTCUSDT", market=Market.LINEAR, tick_size="0.01", lot_size="0.001")
    config = load_config({"strategy": "dca", "pair": "BTCUSDT", "dca": {**COMMON, **options}})
    prepared = PreparedCandles.of(candles_along(corners), traded)
    return UniversalSimulator(config, keep_desired_orders=True).run(prepared)


def draw(axes: Axes, title: str, run: Recording) -> None:
    """Draw price, the orders that rested, and the fills."""
    minutes = np.arange(run.bars)
    axes.plot(minutes, run.prepared.candles.close, color=INK, linewidth=0.9, zorder=2)
    for first, last, one in _rested(run):
        stop, sells = one["kind"] == OrderKind.STOP, one["side"] < 0
        colour = LOSS if stop else GAIN if sells else ENTRY
        axes.hlines(one["price"] * TICK, first, last, colour, linestyle=":" if stop else "-", linewidth=1.0, alpha=0.6)
    for one in run.fills:
        entry, gains = one["signal"] == Signal.ENTRY, one["signal"] == Signal.EXIT_TP
        colour, marker = (ENTRY, "^") if entry else (GAIN if gains else LOSS, "v")
        axes.scatter(one["bar"], one["price"] * TICK, s=34, color=colour, marker=marker, zorder=3)
    close = run.prepared.candles.close
    room = 0.25 * (close.max() - close.min())
    axes.set_ylim(close.min() - room, close.max() + room)
    _quiet(axes, title)
    axes.set_xlabel("minutes", fontsize=8)


def _rested(run: Recording) -> list[tuple[int, int, Any]]:
    """List each order that rested, at each price: first bar, last bar, what was desired."""
    found, since = [], {}
    for one in run.desired_orders:
        before = since.pop(int(one["slot"]), None)
        if before is not None:
            found.append((int(before["bar"]), int(one["bar"]), before))
        if one["price"] > 0:
            since[int(one["slot"])] = one
    return found + [(int(one["bar"]), run.bars, one) for one in since.values()]


def _quiet(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def sizes_figure() -> Figure:
    """Base orders of the same market, by what is reinvested."""
    figure = Figure(figsize=(8.5, 2.6), layout="constrained")
    for axes, (title, options) in zip(figure.subplots(1, 3, sharey=True), SIZES, strict=True):
        fills = played({**SMALL, "stop_loss": "7%", **options}, FALLS).fills
        bases = fills[(fills["signal"] == Signal.ENTRY) & (fills["entry"] == 0)]
        notional = bases["quantity"] * bases["price"] * TICK * 0.001
        axes.bar(range(1, len(bases) + 1), notional, color=ENTRY)
        axes.set_ylim(notional.min() * 0.9, notional.max() * 1.06)
        _quiet(axes, title)
        axes.set_xlabel("deal", fontsize=8)
    return figure


def write(folder: Path) -> list[Path]:
    """Write every picture as PNG into `folder`; returns their paths."""
    written = []
    figures = {"dca_sizes": sizes_figure()}
    for name, panels in PICTURES.items():
        figure = figures[name] = Figure(figsize=(8.5, 2.6 * len(panels)), layout="constrained")
        for axes, (title, options, corners) in zip(
            figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True
        ):
            draw(axes, title, played(options, corners))
    for name, figure in figures.items():
        written.append(folder / f"{name}.png")
        figure.savefig(written[-1], dpi=80, metadata={"Software": None})
    return written


if __name__ == "__main__":
    for picture in write(ROOT / "docs"):
        print(picture.relative_to(ROOT))
