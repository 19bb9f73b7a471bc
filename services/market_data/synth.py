"""A seeded market: correlated pairs that live through calm and wide ranges, trends, a crash and a recovery.

For trying things out, not for believing: it is stored under the venue `synth`. The same seed gives the same
candles; a pair's candles depend on the seed and its own name, and a longer period begins like a shorter one.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from backtesting.instruments import table
from bot.candles import Candles
from bot.times import MINUTE

if TYPE_CHECKING:
    from numpy.typing import NDArray

START_MS = 1_704_067_200_000  # 2024-01-01T00:00Z: fixed, so that runs repeat
HOURS_A_DAY = 24
STEPS = 4  # price steps inside a minute


class MarketFigures(NamedTuple):
    """Figures of one kind of market."""

    drift: float  # per hour
    volatility: float  # per minute
    pull: float = 0.0  # back to where the regime began, share per hour
    hours: int = 0  # mean length
    gap: float = 0.0  # jump from the close before it to its first open
    volume: float = 1.0  # times the usual


REGIMES: dict[str, MarketFigures] = {
    "calm range": MarketFigures(0.0, 0.0003, 0.10, 72),
    "wide range": MarketFigures(0.0, 0.0007, 0.05, 60),
    "trend up": MarketFigures(0.0008, 0.0005, 0.0, 48),
    "trend down": MarketFigures(-0.0008, 0.0006, 0.0, 48),
    "crash": MarketFigures(-0.012, 0.0025, 0.0, 8),
    "recovery": MarketFigures(0.003, 0.0012, 0.0, 20),
}
# What the demo plays, with the hours of each: a past to learn from, and then, in a few days, all that the algorithm
# answers. Its regimes are stronger than those above, so that they are confirmed within hours.
DEMO_PAST = (("wide range", 60), ("trend up", 48), ("wide range", 60), ("trend down", 48), ("calm range", 80))
DEMO_SCRIPT = (
    ("calm range", 3),
    ("demo wild range", 15),
    ("demo rally", 12),
    ("demo trend", 11),
    ("demo crash", 2),
    ("demo bounce", 4),
    ("demo bottom", 15),
    ("demo recovery", 24),
)
DEMO_REGIMES: dict[str, MarketFigures] = {
    "demo wild range": MarketFigures(0.0, 0.0015, 0.5),
    "demo rally": MarketFigures(0.006, 0.0005, volume=2.0),
    "demo trend": MarketFigures(0.004, 0.0006, volume=2.0),
    "demo crash": MarketFigures(-0.01, 0.003, gap=-0.13, volume=5.0),
    "demo bounce": MarketFigures(0.02, 0.002, volume=3.0),
    "demo bottom": MarketFigures(0.0, 0.0014, 0.4, volume=1.5),
    "demo recovery": MarketFigures(0.007, 0.0007),
}
FIGURES = {**REGIMES, **DEMO_REGIMES}
# The story of one cycle; its order and lengths are shuffled by the seed, a recovery follows every crash.
CYCLE = (
    "calm range",
    "trend up",
    "wide range",
    "trend down",
    "calm range",
    "crash",
    "trend up",
    "wide range",
)
COMMON_SHARE = 0.7  # the market's share of a pair's variance, and so the correlation of two pairs
FIRST_PRICES = {"BTCUSDT": 42_000.0, "ETHUSDT": 2_300.0, "SOLUSDT": 100.0, "BNBUSDT": 310.0, "XRPUSDT": 0.62}


def generate(
    pairs: list[str], days: int, seed: int, start_ms: int = START_MS, schedule: Sequence[str] | None = None
) -> dict[str, Candles]:
    """One-minute candles of each pair over `days` from `start_ms`, prices on the pair's linear tick grid.

    `schedule`: a key of FIGURES for each hour, at least `days` of them; the seed's own by default.
    """
    hours = days * HOURS_A_DAY
    schedule = list(schedule or regime_schedule(hours, seed))[:hours]
    market = _innovations(f"market {seed}", hours)
    return {pair: _pair_candles(pair, schedule, market, hours, seed, start_ms) for pair in pairs}


def demo_schedule(hours: int, seed: int) -> list[str]:
    """Regime of each hour of the demo's market: its past, its script, and then the seed's own."""
    told = [regime for regime, length in (*DEMO_PAST, *DEMO_SCRIPT) for _ in range(length)]
    return (told + regime_schedule(max(hours - len(told), 0), seed))[:hours]


def gapped_schedule(hours: int, seed: int) -> list[str]:
    """Regime of each hour of a market whose crashes open with a gap, from which the truth about zones is known."""
    return ["demo crash" if regime == "crash" else regime for regime in regime_schedule(hours, seed)]


class KnownZone(NamedTuple):
    """A zone that a generated market is known to have: prices at which nobody traded, and when it must be found."""

    pair: str
    kind: str
    side: str
    bottom: float
    top: float
    start: int  # ms
    end: int


def known_zones(pair: str, candles: Candles, schedule: Sequence[str]) -> list[KnownZone]:
    """Zones that the gaps of a schedule leave in its candles: from the hour before a gap to the hour after it.

    Each has to be found within three bars of four hours.
    """
    found = []
    for hour in range(1, len(candles.ts) // 60):
        gap = FIGURES[schedule[hour]].gap
        if not gap or schedule[hour] == schedule[hour - 1]:
            continue
        before, after = slice(60 * (hour - 1), 60 * hour), slice(60 * hour, 60 * (hour + 1))
        side = "demand" if gap > 0 else "supply"
        below, above = (before, after) if gap > 0 else (after, before)
        bottom, top = float(candles.high[below].max()), float(candles.low[above].min())
        start = int(candles.ts[60 * hour])
        if bottom < top:
            found.append(KnownZone(pair, "fair_value_gap", side, bottom, top, start, start + 12 * 60 * MINUTE))
    return found


def regime_schedule(hours: int, seed: int) -> list[str]:
    """Regime of each hour; 30 days see every regime at least once."""
    rng = _generator(f"schedule {seed}")
    schedule: list[str] = []
    while len(schedule) < hours:
        for regime in rng.permutation(CYCLE).tolist():
            length = max(4, int(REGIMES[regime].hours * rng.uniform(0.6, 1.4)))
            schedule += [regime] * length
            if regime == "crash":
                schedule += ["recovery"] * int(REGIMES["recovery"].hours * rng.uniform(0.6, 1.4))
    return schedule[:hours]


def _generator(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def _innovations(name: str, hours: int) -> NDArray[np.float64]:
    """Unit-variance steps (hours * 60, STEPS), fat-tailed as minutes are."""
    rng = _generator(name)
    return np.asarray(rng.standard_t(5, (hours * 60, STEPS)) / np.sqrt(5.0 / 3.0), np.float64)


def _pair_candles(
    pair: str, schedule: Sequence[str], market: NDArray[np.float64], hours: int, seed: int, start_ms: int
) -> Candles:
    own = _innovations(f"{pair} {seed}", hours)
    mixed = np.sqrt(COMMON_SHARE) * market + np.sqrt(1.0 - COMMON_SHARE) * own
    regimes = [FIGURES[regime] for regime in schedule]
    drift, volatility, volumes = (
        np.repeat([getattr(regime, name) for regime in regimes], 60) for name in ("drift", "volatility", "volume")
    )
    steps = mixed * (volatility / np.sqrt(STEPS))[:, None] + (drift / 60 / STEPS)[:, None]
    begins = [hour for hour in range(1, hours) if schedule[hour] != schedule[hour - 1] and regimes[hour].gap]
    jumps = 60 * np.array(begins, np.int64)  # minutes
    steps[jumps, 0] += [regimes[hour].gap for hour in begins]
    path = _pulled(np.cumsum(steps.ravel()), schedule, np.array([regime.pull for regime in regimes]))
    row = table().get(("linear", pair), {})
    tick, lot = float(row.get("tick_size", "0.01")), float(row.get("lot_size", "0.01"))
    prices = np.maximum(np.rint(FIRST_PRICES.get(pair, 100.0) * np.exp(path) / tick), 1.0)
    prices = np.concatenate(([prices[0]], prices))
    within = np.stack([prices[k : k + hours * 60 * STEPS : STEPS] for k in range(STEPS + 1)])
    within[0, jumps] = within[1, jumps]  # a gap lies between two bars
    moved = np.abs(within[-1] - within[0]) / within[0] / volatility
    rng = _generator(f"volume {pair} {seed}")
    worth = 400_000.0 * volumes * (1.0 + moved) * rng.lognormal(0.0, 0.5, hours * 60)
    volume = np.maximum(np.rint(worth / (within[0] * tick) / lot), 1.0)
    scaled = _on_grid(within, tick)
    lots = np.round(volume * lot, 10)
    ts = start_ms + MINUTE * np.arange(hours * 60, dtype=np.int64)
    return Candles(ts, scaled[0], scaled.max(axis=0), scaled.min(axis=0), scaled[-1], lots, MINUTE)


def _on_grid(ticks: NDArray[np.float64], tick: float) -> NDArray[np.float64]:
    """Prices of whole ticks without binary dust."""
    return np.asarray(np.round(ticks * tick, 10), np.float64)


def _pulled(path: NDArray[np.float64], schedule: Sequence[str], pull: NDArray[np.float64]) -> NDArray[np.float64]:
    """Let ranges stay ranges: hour by hour, take back a share of how far the path has left the regime's start."""
    per_hour = 60 * STEPS
    hourly = np.diff(np.concatenate(([0.0], path[per_hour - 1 :: per_hour])))
    corrections, level, anchor, given = np.zeros(len(schedule)), 0.0, 0.0, 0.0
    for hour, regime in enumerate(schedule):
        if hour == 0 or schedule[hour - 1] != regime:
            anchor = level
        back = -pull[hour] * (level - anchor)
        given += back
        corrections[hour] = given
        level += hourly[hour] + back
    before = np.concatenate(([0.0], corrections[:-1]))
    share = np.arange(1, per_hour + 1) / per_hour
    smooth = before[:, None] + (corrections - before)[:, None] * share
    return np.asarray(path + smooth.ravel(), np.float64)
