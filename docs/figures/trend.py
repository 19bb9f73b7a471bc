# ruff: noqa: INP001, T201, a script of its own
"""Print the table of figures of docs/trend.md: `uv run python docs/figures/trend.py FOLDER [FROM]`.

FOLDER holds the candles of one pair each as PAIR/1h.parquet; bars before 2025 alone are played, those from FROM on.
Each pair is a backtest of its own with 10,000 and the default costs. So that all presets trade the same time, none
begins before the slowest is warm, 61 days after a pair's first bar.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from backtesting.candles import read_candles
from backtesting.metrics import drawdown_figures
from backtesting.run import simulate
from bot.candles import parse_time
from bot.times import DAY, HOUR
from strategies.trend import TrendParameters

if TYPE_CHECKING:
    from backtesting.result import BacktestResult
    from bot.candles import Candles

UNTIL, WARM_DAYS = "2025-01-01", 61
COLUMNS = (
    "preset",
    "trades",
    "held (median)",
    "fees and slippage of risk",
    "before costs",
    "costs",
    "profit factor",
    "return",
    "median pair a year",
    "pairs that gained",
    "drawdown (median / largest)",
    "mean exposure",
)


def played(pair: str, candles: Candles, preset: str, since: int) -> BacktestResult:
    """Backtest a preset on one pair, from `since` (ms) or the end of the warm-up on."""
    config = {
        "strategy": "trend",
        "pair": pair,
        "exchange": "binance",
        "market": "linear",
        "from": max(int(candles.ts[0]) + WARM_DAYS * DAY, since),
        "to": UNTIL,
        "trend": {"preset": preset},
    }
    return simulate(config, candles)


def row(preset: str, results: list[BacktestResult]) -> str:
    """One line of the table: trades and money of all pairs together, medians over pairs where it says so."""
    figures = [one.metrics for one in results]
    trades = pl.concat(one.trades for one in results)
    closed = trades.filter(pl.col("exit_time").is_not_null())
    fees, paid = sum(one.fees + one.slippage for one in figures), -sum(one.funding for one in figures)
    risk = (trades["pnl"] / trades["r_multiple"]).sum()
    capital, profit = sum(one.initial_capital for one in figures), sum(one.total_profit for one in figures)
    hours = closed.select((pl.col("exit_time") - pl.col("entry_time")).median()).item() / HOUR
    won, lost = (closed.filter(keep)["pnl"].sum() for keep in (pl.col("pnl") > 0, pl.col("pnl") < 0))
    cells = (
        f"`{preset}`",
        f"{closed.height:,}",
        f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} d",
        f"{fees / risk * 100:.0f} %",
        f"{(profit + fees + paid) / capital * 100:+.0f} %",
        f"{(fees + paid) / capital * 100:.0f} %",
        f"{-won / lost:.2f}",
        *over_pairs(
            [one.total_return_pct for one in figures],
            [one.duration_days for one in figures],
            [one.max_drawdown_pct for one in figures],
        ),
        f"{np.mean([one.mean_exposure_pct for one in figures]):.0f} %",
    )
    return f"| {' | '.join(cells)} |"


def hold_row(results: list[BacktestResult]) -> str:
    """Give the line of buy and hold over the same bars, without costs."""
    returns = [one.metrics.benchmark_return_pct for one in results]
    deepest = []
    for one in results:
        ts, worth = (one.equity[name].to_numpy() for name in ("ts", "benchmark"))
        deepest.append(drawdown_figures(worth, ts, HOUR, one.config.capital)["max_drawdown_pct"])
    cells = over_pairs(returns, [one.metrics.duration_days for one in results], deepest)
    return f"| buy and hold | | | | | | | {' | '.join(cells)} | 100 % |"


def over_pairs(returns: list[float], days: list[float], deepest: list[float]) -> tuple[str, ...]:
    """Mean return, median return of a year, pairs that gained, median and largest drawdown; arguments by pair."""
    yearly = [((1 + one / 100) ** (365 / time) - 1) * 100 for one, time in zip(returns, days, strict=True)]
    return (
        f"{np.mean(returns):+.0f} %",
        f"{np.median(yearly):+.0f} %",
        f"{sum(one > 0 for one in returns)} of {len(returns)}",
        f"{np.median(deepest):.0f} / {max(deepest):.0f} %",
    )


def main(folder: Path, since: int) -> None:
    """Play every preset on every pair and print the table."""
    pairs = {path.parent.name: read_candles(path) for path in sorted(folder.glob("*/1h.parquet"))}
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for preset in TrendParameters.presets():
        results = [played(pair, candles, preset, since) for pair, candles in pairs.items()]
        print(row(preset, results), flush=True)
    print(hold_row(results))
    years = sum(one.metrics.duration_days for one in results) / 365
    print(f"{len(results)} pairs, {years:.0f} years of {', '.join(pairs)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), parse_time(sys.argv[2]) if len(sys.argv) > 2 else 0)
