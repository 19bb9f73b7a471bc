# ruff: noqa: INP001, T201, of the scripts beside it
"""What the pictures of the strategies' pages share: made candles, and how a run of the simulator is drawn.

Blue: entries, as they rest and fill. Green: exits with a profit. Red: stops (dotted) and exits with a loss. A mark
points up for a buy and down for a sale. Pictures are 5 inches wide, so that a phone shows their words.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from backtesting.simulator import PreparedCandles, Recording, UniversalSimulator
from bot.candles import Candles
from bot.inputs import SHORT_BLOCK
from bot.instrument import Instrument, Market
from bot.order import OrderKind, Signal
from bot.times import HOUR, MINUTE
from coordinator.config import load_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

    Figures = Mapping[str, Callable[[], Figure]]  # by the name of the file

ROOT = Path(__file__).resolve().parent.parent.parent
START = 1_704_067_200_000
BEGIN = (START // SHORT_BLOCK + 1) * SHORT_BLOCK  # of a block of inputs: their values need no more than the warm-up
TICK, LOT = 0.01, 0.001
INK, GAIN, LOSS, ENTRY, AVERAGE = "#333333", "#2a9d5c", "#c8443c", "#2b6cb0", "#d98e04"
WIDTH, DPI, SHADES = 5.0, 110, 20  # of a picture: inches, dots of one, and shades that are kept of a colour
LETTERS = 62  # of a line of a title
Corners = tuple[tuple[float, float], ...]
Options = dict[str, Any]


@dataclass(frozen=True)
class OptionRun:
    """One run: the options that its title names, the corners of its price, a remark, lines beside it, other options."""

    options: Options
    corners: Corners
    remark: str = ""
    lines: tuple[Any, ...] = ()
    beside: Options = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What stands over the picture."""
        return ": ".join(part for part in (named(self.options), self.remark) if part)


def candles_along(
    corners: Sequence[tuple[float, float]], bar_ms: int = MINUTE, *, start: int = START, before: int = 0
) -> Candles:
    """Candles whose price goes from corner to corner (bar, price), with a little noise; `before` bars at the first."""
    bars = np.arange(-before, corners[-1][0] + 1)
    noise = np.random.default_rng(7).normal(0.0, 0.05, len(bars))
    ends = np.round(np.interp(bars, *np.array(corners).T) + noise, 2)
    opens = np.concatenate(([ends[0]], ends[:-1]))
    high, low = np.round(np.maximum(opens, ends) + 0.03, 2), np.round(np.minimum(opens, ends) - 0.03, 2)
    return Candles(start + bar_ms * bars.astype(np.int64), opens, high, low, ends, np.full(len(ends), 1e4), bar_ms)


def played(config: dict[str, Any], candles: Candles) -> Recording:
    """Run a strategy over such candles of a linear pair."""
    read = load_config({"pair": "COINUSDT", **config})
    limits = {"tick_size": str(TICK), "lot_size": str(LOT), "min_notional": "5"}
    traded = Instrument(symbol="COINUSDT", market=Market.LINEAR, **read.instrument_fields(limits))
    return UniversalSimulator(read, keep_desired_orders=True).run(PreparedCandles.of(candles, traded))


def panels(count: int, height: float = 2.1, **options: Any) -> tuple[Figure, list[Axes]]:
    """Begin a picture of so many panels, one under the other."""
    figure = Figure(figsize=(WIDTH, height * count), dpi=DPI, layout="constrained")
    return figure, list(figure.subplots(count, squeeze=False, **options)[:, 0])


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write a picture as PNG of a few colours, the same bytes each time."""
    folder.mkdir(exist_ok=True)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture.quantize(palette=_palette(), dither=Image.Dither.NONE).save(folder / f"{name}.png", optimize=True)
    return folder / f"{name}.png"


def write(page: str, figures: Figures) -> None:
    """Draw every picture of a page into its folder, and print the paths."""
    for name, drawn in figures.items():
        print(save(drawn(), ROOT / "docs" / page, name).relative_to(ROOT))


def _palette() -> Image.Image:
    """Shades of each colour of the pictures, down to white."""
    colours = np.array([to_rgb(one) for one in ("black", INK, GAIN, LOSS, ENTRY, AVERAGE)])
    shades = 1.0 - np.linspace(0.0, 1.0, SHADES)[:, None, None] * (1.0 - colours)
    made = Image.new("P", (1, 1))
    made.putpalette(np.rint(255 * shades).astype(np.uint8).ravel().tolist())
    return made


def named(options: Mapping[str, Any]) -> str:
    """Write options as a config would, for a title."""
    return ", ".join(f"{key}: {_as_written(value)}" for key, value in options.items())


def _as_written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return f"{{{named(value)}}}"
    return f"[{', '.join(map(_as_written, value))}]" if isinstance(value, list) else str(value)


def quiet(axes: Axes, title: str, unit: str = "") -> None:
    """Give panels one look."""
    axes.set_title(textwrap.fill(title, LETTERS), loc="left", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(unit, fontsize=8)


def hours_of(run: Recording, start: int = START) -> Any:
    """Time of each close since `start`, hours."""
    candles = run.prepared.candles
    return (candles.ts[: run.bars] + candles.bar_ms - start) / HOUR


def price_and_orders(axes: Axes, times: Any, run: Recording, size: float = 34) -> None:
    """Draw price, orders that rested, and fills, against the `times` (bars,) of the closes; `size` of a mark."""
    close = run.prepared.candles.close[: run.bars]
    axes.plot(times, close, color=INK, linewidth=0.9, zorder=2)
    _, position = run.holdings()
    orders = rested(run)
    for first, last, one in orders:
        stop, leaves = one["kind"] == OrderKind.STOP, one["side"] * position[first] < 0
        colour = LOSS if stop else GAIN if leaves else ENTRY
        until = times[min(last, run.bars - 1)]
        style = {"linestyle": ":", "linewidth": 1.4} if stop else {"linewidth": 1.0, "alpha": 0.6}
        axes.hlines(one["price"] * TICK, times[first], until, colour, **style)
    for one in run.fills:
        colour = {Signal.ENTRY: ENTRY, Signal.EXIT_SL: LOSS}.get(one["signal"], GAIN)
        marker = "^" if one["side"] > 0 else "v"
        axes.scatter(times[one["bar"]], one["price"] * TICK, s=size, color=colour, marker=marker, zorder=3)
    shown = close[times >= 0]
    low, high = shown.min(), shown.max()
    room = 0.5 * (high - low)
    near = [one["price"] * TICK for _, last, one in orders if times[min(last, run.bars - 1)] >= 0]
    near = [price for price in near if low - room <= price <= high + room]
    axes.set_ylim(min([low, *near]) - 0.2 * room, max([high, *near]) + 0.2 * room)
    axes.set_xlim(0, times[-1] * 1.01)


def rested(run: Recording) -> list[tuple[int, int, Any]]:
    """List each order that rested, at each price: first bar, last bar, what was desired."""
    found, since = [], {}
    for one in run.desired_orders:
        before = since.pop(int(one["slot"]), None)
        if before is not None:
            found.append((int(before["bar"]), int(one["bar"]), before))
        if one["price"] > 0:
            since[int(one["slot"])] = one
    return found + [(int(one["bar"]), run.bars, one) for one in since.values()]
