# ruff: noqa: INP001, T201, a script of its own
"""Measure the defaults beside the classic ones on candles before 2025: a table for docs/findings.md, and its picture.

    uv run python docs/research/defaults.py CANDLES --out FOLDER

Nothing is chosen here. CANDLES holds VENUE/MARKET/PAIR/FILE.parquet. Each row is a run of its own with 10,000; the
intervals hold nine in ten resamples of its days.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from study import funding_of, summary

from backtesting.metrics import daily_returns
from backtesting.portfolio_run import play_portfolio, prepare_portfolio
from backtesting.reports.charts import GAIN, INK, LOSS, MUTED
from bot.candles import iso
from bot.errors import Misconfigured
from bot.times import DAY
from coordinator.config import load_portfolio
from coordinator.presets import RiskLevel
from search.window import held_equally

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOURS = ["ADAUSDT", "BCHUSDT", "BNBUSDT", "BTCUSDT", "ETHUSDT", "LINKUSDT", "LTCUSDT", "SOLUSDT", "TRXUSDT"]
OTHERS = ["AAVEUSDT", "AVAXUSDT", "ETCUSDT", "MATICUSDT", "UNIUSDT", "XLMUSDT"]
MINUTES = ["ADAUSDT", "BNBUSDT", "BTCUSDT", "ETHUSDT", "LTCUSDT", "SOLUSDT", "TRXUSDT"]
FIVES = ["BTCUSDT", "ETHUSDT", "LTCUSDT"]
SPOTS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
SETS: dict[str, tuple[str, str, list[str], str, str]] = {  # market, file, pairs, from, to
    "nine pairs, hours, 2020-11 to 2024": ("linear", "1h", HOURS, "2020-11-10", "2025-01-01"),
    "six others, hours, 2020-11 to 2024-04": ("linear", "1h", OTHERS, "2020-11-10", "2024-04-18"),
    "APT + INJ, hours, 2023 and 2024": ("linear", "1h", ["APTUSDT", "INJUSDT"], "2023-01-20", "2025-01-01"),
    "BTC + ETH + LTC, 5m, 2023 to 2024-05": ("linear", "5m-2023", FIVES, "2023-01-15", "2024-05-14"),
    "BTC + ETH + SOL, spot 5m, 2022 to 2023-09": ("spot", "5m-2022", SPOTS, "2022-01-15", "2023-09-27"),
    "seven pairs, 1m, July 2023": ("linear", "1m-2023-07", MINUTES, "2023-07-22", "2023-08-17"),
}
HOURS_SET = next(iter(SETS))
CLUSTERS = {
    "stable": ["BTCUSDT"],
    "blue_chip": ["BNBUSDT", "ETHUSDT", "SOLUSDT"],
    "mid_cap": ["ADAUSDT", "BCHUSDT", "LINKUSDT", "LTCUSDT", "TRXUSDT"],
}
MOVES = 5.0  # return of the pairs in a month, %, that makes a market rising or falling
EXPIRES = "2027-05-27"
TRIALS = "12,446"  # of all studies, by the trials.json that they leave
PLUM, BLUE, ORANGE = "#b07aa1", "#4e79a7", "#f28e2b"
DOUBLED = {"linear": ("0.0004", "0.0011"), "spot": ("0.002", "0.002")}  # maker and taker fee
RUNS: dict[str, dict[str, Any]] = {
    "auto": {"strategy": "auto"},
    "auto, risk_level low": {"strategy": "auto", "risk_level": "low"},
    "auto, risk_level high": {"strategy": "auto", "risk_level": "high"},
    "auto, costs doubled": {"strategy": "auto", "execution": {"slippage_bps": 2.0}},
    "auto, classic": {"strategy": "auto", "auto": {"preset": "classic"}},
    "trend": {"strategy": "trend"},
    "trend, classic": {"strategy": "trend", "trend": {"preset": "classic"}},
    "grid": {"strategy": "grid"},
    "grid, classic": {"strategy": "grid", "grid": {"preset": "classic"}},
    "dca": {"strategy": "dca"},
}


def played(
    run: dict[str, Any], name: str, folder: Path, only: list[str] | None = None
) -> tuple[dict[str, Any], NDArray[np.float64], Any]:
    """Figures of a run on a set, or on some of its pairs, its daily returns, and the pairs' own (d,)."""
    market, file, pairs, start, end = SETS[name]
    pairs = only or pairs
    told = {**run, "exchange": "binance", "market": market, "pairs": pairs, "from": start, "to": end, "capital": 10_000}
    if "doubled" in told.pop("name"):
        fees = dict(zip(("maker_fee", "taker_fee"), DOUBLED[market], strict=True))
        told["instruments"] = {pair: dict(fees) for pair in pairs}
    candles = {pair: folder / "binance" / market / pair / f"{file}.parquet" for pair in pairs}
    funding = funding_of(folder, "binance", pairs) if market == "linear" else {}
    made = prepare_portfolio(load_portfolio(told), candles, funding=funding)
    result = play_portfolio(made)
    held = held_equally(made)
    daily = daily_returns(result.equity, result.ts, result.config.deposits)
    held, metrics, months = held[: len(daily)], result.metrics, len(daily) / 30.4
    gross = sum(one.profit + one.fees + one.slippage for one in result.pair_figures.values())
    spent = sum(one.fees + one.slippage for one in result.pair_figures.values())
    return (
        {
            "run": run["name"],
            "set": name,
            **summary(daily, held),
            "max_drawdown_pct": metrics.max_drawdown_pct,  # between days too
            "mean_exposure_pct": metrics.mean_exposure_pct,
            "costs_pct_of_gross": 100.0 * spent / gross if gross > 0.0 else None,
            "costs": spent,
            "round_trips_a_pair_and_month": metrics.trades / months / len(pairs),
            "halts": result.figures.halts,
            "return_pct": metrics.total_return_pct,
            "years": by_year(daily, int(result.ts[0])),
            "markets": by_market(daily, held, int(result.ts[0])),
        },
        daily,
        held,
    )


def preset(cluster: str, level: str, folder: Path) -> str:
    """Write the config of a kind of pair and a level of risk, with what it did on candles before 2025."""
    pairs = CLUSTERS[cluster]
    row, _, _ = played({"strategy": "auto", "risk_level": level, "name": level}, HOURS_SET, folder, pairs)
    alpha = row.get("alpha_pct", [float("nan")] * 3)
    start, end = SETS[HOURS_SET][3:]
    figures = [
        f"{row['return_pct_a_year']:.1f} % a year, largest drawdown {row['max_drawdown_pct']:.1f} %,",
        f"mean exposure {row['mean_exposure_pct']:.0f} %, beta {row['beta']:.2f}, alpha {alpha[0]:.1f} % a year",
        f"({alpha[1]:.1f} to {alpha[2]:.1f}). Out of sample: docs/findings.md.",
    ]
    lines = (
        f"# {cluster.replace('_', ' ').capitalize()} pairs under `auto`, risk level {level}.",
        f"#   traderagent backtest configs/presets/{cluster}_{level}.yaml --set from=2024-02-01",
        f"# In sample, hours of {start} to {end}, costs included: {figures[0]}",
        f"# {figures[1]} {figures[2]}",
        f"# Trials: {TRIALS}. Expires {EXPIRES}: markets change; study them again by then (docs/research).",
        "version: 1",
        "strategy: auto",
        f"risk_level: {level}",
        f"pairs: [{', '.join(pairs)}]",
        "market: linear",
        "capital: 10000            # quote currency",
    )
    return "\n".join(lines) + "\n"


def by_year(daily: NDArray[np.float64], first: int) -> dict[str, float]:
    """Return of each calendar year, %."""
    years = np.array([iso(first // DAY * DAY + day * DAY)[:4] for day in range(len(daily))])
    return {str(year): float(np.prod(1.0 + daily[years == year]) - 1.0) * 100.0 for year in np.unique(years)}


def by_market(daily: NDArray[np.float64], held: NDArray[np.float64], first: int) -> dict[str, tuple[int, float, float]]:
    """Months in which the pairs rose by more than 5 %, fell by more, and others: number, mean return and lowest, %."""
    months = np.array([iso(first // DAY * DAY + day * DAY)[:7] for day in range(len(daily))])
    found: dict[str, list[float]] = {"rising": [], "falling": [], "sideways": []}
    for month in np.unique(months):
        inside = months == month
        pairs = (float(np.prod(1.0 + held[inside])) - 1.0) * 100.0
        kind = "rising" if pairs > MOVES else "falling" if pairs < -MOVES else "sideways"
        found[kind].append((float(np.prod(1.0 + daily[inside])) - 1.0) * 100.0)
    return {kind: (len(one), float(np.mean(one)), float(np.min(one))) for kind, one in found.items() if one}


def picture(curves: dict[str, NDArray[np.float64]], held: NDArray[np.float64]) -> Figure:
    """Equity of the nine pairs' runs beside holding them, on a scale of ratios."""
    figure = Figure(figsize=(10.0, 4.6), layout="constrained")
    axes = figure.subplots()
    first = np.datetime64("2020-11-10")
    colours = {"auto": GAIN, "auto, classic": LOSS, "trend": INK, "trend, classic": PLUM, "grid": BLUE, "dca": ORANGE}
    axes.plot(first + np.arange(len(held)), np.cumprod(1.0 + held), color=MUTED, lw=1, label="the pairs held equally")
    for name, colour in colours.items():
        curve = np.cumprod(1.0 + curves[name])
        width = 1.6 if name in ("auto", "trend") else 1.0
        axes.plot(first + np.arange(len(curve)), curve, color=colour, lw=width, label=name)
    axes.set_yscale("log")
    axes.set_ylabel("what one became")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    return figure


def main() -> None:
    """Play every run on every set."""
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("candles", type=Path)
    told.add_argument("--out", type=Path, default=Path("research"))
    told.add_argument("--presets", type=Path, help="write the configs by kind of pair and level here, and nothing else")
    given = told.parse_args()
    if given.presets is not None:
        for cluster, level in product(CLUSTERS, RiskLevel):
            (given.presets / f"{cluster}_{level}.yaml").write_text(preset(cluster, level, given.candles))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    rows, curves, held = [], {}, None
    for name, (market, *_) in SETS.items():
        for run, values in RUNS.items():
            try:
                row, daily, pairs = played({**values, "name": run}, name, given.candles)
            except Misconfigured as error:  # costs of a pair's tick that a strategy's cells cannot pay
                print(market, name, run, error, flush=True)
                continue
            rows.append(row)
            if name == HOURS_SET:
                curves[run], held = daily, pairs
            (given.out / "defaults.json").write_text(json.dumps(rows, indent=1))
            print(market, name, run, round(row["return_pct_a_year"], 1), flush=True)
    picture(curves, held).savefig(given.out / "defaults.png", dpi=110)


if __name__ == "__main__":
    main()
