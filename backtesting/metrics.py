"""The figures of a run, each with its definition. None means: too little to say.

Equity is taken at bar closes. Ratios use daily returns (closes resampled to UTC days), a risk-free rate of 0 and
365 days a year, and need at least 30 daily returns. Trade figures come from closed trades alone, except those that say
that open ones are in them, which take an open trade at the last close.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from bot.candles import iso
from bot.order import Signal
from bot.times import DAY, HOUR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtesting.simulator import Recording

YEAR_DAYS = 365.0
LEAST_DAYS = 30
LARGEST_FACTOR = 1000.0


class Metrics(BaseModel):
    """Every figure of a run. Money is quote currency; `_pct` are per cent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: str = Field(description="opening of the first bar of the period, UTC")
    end: str = Field(description="close of the last bar played, UTC")
    duration_days: float = Field(description="end - start, days")
    initial_capital: float = Field(description="deposits, quote currency")
    final_capital: float = Field(description="equity at the last close, quote currency")
    total_profit: float = Field(description="final - initial capital, quote currency")
    total_return_pct: float = Field(description="total profit / initial capital")
    annualised_return_pct: float | None = Field(description="(final/initial)^(365/days) - 1; from 30 days")
    benchmark_return_pct: float = Field(description="last close / first open - 1: buy and hold, no fees")
    position_coverage_pct: float = Field(description="share of bars that closed with a position")
    mean_exposure_pct: float = Field(description="mean of |position| x close / equity over all bars")
    max_exposure_pct: float = Field(description="largest |position| x close / equity")
    return_per_exposure_pct: float | None = Field(description="total return / mean exposure: per 100 % of equity held")
    max_drawdown_pct: float = Field(description="deepest fall of equity under its high so far, positive")
    max_drawdown_days: float = Field(description="longest time from a high to the next, or to the end")
    average_drawdown_pct: float = Field(description="mean depth of the drawdowns, one per time under water")
    average_drawdown_days: float = Field(description="mean length of the drawdowns")
    trades: int = Field(description="closed trades")
    closed_profit: float = Field(description="profit of closed trades after fees and funding, quote currency")
    open_trades: int = Field(description="trades still open at the end")
    open_profit: float = Field(description="profit of open trades so far, at the last close, quote currency")
    win_rate_pct: float | None = Field(description="share of closed trades with a profit after fees and funding")
    win_rate_with_open_pct: float | None = Field(description="the same of all trades, open ones at the last close")
    best_trade_pct: float | None = Field(description="largest profit / entry value")
    worst_trade_pct: float | None = Field(description="smallest profit / entry value")
    average_trade_pct: float | None = Field(description="mean profit / entry value")
    longest_trade_hours: float | None = Field(description="longest time from first entry to last exit")
    average_trade_hours: float | None = Field(description="mean time from first entry to last exit")
    expectancy: float | None = Field(description="mean profit of a trade, quote currency")
    average_r: float | None = Field(description="mean profit / loss at the planned stop, of closed trades that had one")
    sqn: float | None = Field(description="sqrt(trades) x mean / standard deviation of profits; from 30 trades")
    profit_factor: float | None = Field(description="profits / losses; at most 1000, which also says: no loss")
    profit_factor_with_open: float | None = Field(description="the same of all trades, open ones at the last close")
    average_win: float | None = Field(description="mean profit of winning trades, quote currency")
    average_loss: float | None = Field(description="mean loss of losing trades, quote currency, negative")
    longest_losing_run: int = Field(description="most losing trades in a row, by exit; ties as in docs/execution.md")
    sharpe: float | None = Field(description="mean / standard deviation of daily returns x sqrt(365)")
    sortino: float | None = Field(description="mean / root mean square of negative daily returns x sqrt(365)")
    calmar: float | None = Field(description="annualised return / max drawdown, signed")
    fees: float = Field(description="paid, quote currency")
    funding: float = Field(description="received, negative when paid, quote currency")
    slippage: float = Field(description="lost against the prices aimed at, quote currency; part of the prices")
    turnover: float = Field(description="sum of the notional of all fills, quote currency")
    fills: int = Field(description="executions")
    refused: int = Field(description="orders that the exchange refused: funds, or post-only that would cross")
    under_minimum: int = Field(description="entries not placed because the venue's minimum is larger")
    refused_for_costs: int = Field(description="what was not opened or left since it would not pay for its costs")
    incomplete_bars: int = Field(description="signal bars not used because a minute is missing")
    cycles: int | None = Field(None, description="grid: closed pairs of entry and counter")
    levels_filled: int | None = Field(None, description="grid: cells that filled at least once")
    deals: int | None = Field(None, description="dca: closed deals")
    mean_safety_orders: float | None = Field(None, description="dca: mean safety orders filled in a closed deal")
    entries_by_kind: dict[str, int] | None = Field(None, description="closed trades by kind of entry")


def measure(recording: Recording, trades: NDArray[Any], equity: NDArray[np.float64], first: int) -> Metrics:
    """Figures of a run whose period begins at bar `first`; `equity` (bars,) at closes, `trades` of TRADE."""
    prepared, ledger = recording.prepared, recording.pair.ledger
    ts, bar_ms, bars = prepared.candles.ts, prepared.candles.bar_ms, recording.bars
    start, end = int(ts[first]), int(ts[bars - 1]) + bar_ms
    days = (end - start) / DAY
    initial, final = float(ledger.deposits), float(equity[-1])
    annual = None
    if days >= LEAST_DAYS:
        annual = ((max(final, 0.0) / initial) ** (YEAR_DAYS / days) - 1.0) * 100.0
    drawdowns = drawdown_figures(equity[first:], ts[first:bars], bar_ms, initial)
    daily = daily_returns(equity[first:], ts[first:bars], initial)
    deepest = drawdowns["max_drawdown_pct"]
    exposure = exposure_figures(recording, equity, first)
    return Metrics(
        start=iso(start),
        end=iso(end),
        duration_days=days,
        initial_capital=initial,
        final_capital=final,
        total_profit=final - initial,
        total_return_pct=(final / initial - 1.0) * 100.0,
        annualised_return_pct=annual,
        benchmark_return_pct=float(prepared.close[bars - 1] / prepared.open[first] - 1.0) * 100.0,
        calmar=annual / deepest if annual is not None and deepest > 0 else None,
        fees=float(ledger.fees),
        funding=float(ledger.funding),
        slippage=float(ledger.slippage),
        turnover=float(ledger.turnover),
        fills=len(recording.fills),
        refused=recording.refused,
        under_minimum=int(recording.pair.under_minimum),
        refused_for_costs=int(recording.pair.costs.refused),
        **exposure,
        return_per_exposure_pct=per_exposure((final / initial - 1.0) * 100.0, exposure["mean_exposure_pct"]),
        **drawdowns,
        **ratio_figures(daily),
        **trade_figures(trades, profits(trades, last_worth(recording))),
    )


def exposure_figures(recording: Recording, equity: NDArray[np.float64], first: int) -> dict[str, Any]:
    """Coverage and exposure over the bars from `first` on."""
    worth = np.abs(recording.worth()[first:])
    share = worth / np.where(equity[first:] > 0, equity[first:], np.inf)
    return {
        "position_coverage_pct": float(np.mean(worth > 0)) * 100.0,
        "mean_exposure_pct": float(np.mean(share)) * 100.0,
        "max_exposure_pct": float(np.max(share)) * 100.0,
        "incomplete_bars": recording.incomplete,
    }


def per_exposure(return_pct: float, exposure_pct: float) -> float | None:
    """Return for every 100 % of equity that was held on average, %; None for a run that held nothing."""
    return return_pct / exposure_pct * 100.0 if exposure_pct > 0.0 else None


def drawdown_figures(equity: NDArray[np.float64], ts: NDArray[np.int64], bar_ms: int, initial: float) -> dict[str, Any]:
    """Depth and length of the drawdowns of equity (n,), the initial capital being its first high."""
    high = np.maximum.accumulate(np.maximum(equity, initial))
    under = equity < high
    if not under.any():
        names = ("max_drawdown_pct", "max_drawdown_days", "average_drawdown_pct", "average_drawdown_days")
        return dict.fromkeys(names, 0.0)
    depth = 1.0 - equity / high
    edges = np.flatnonzero(np.diff(np.concatenate(([0], under.view(np.int8), [0]))))
    starts, ends = edges[::2], edges[1::2]
    depths = np.maximum.reduceat(depth, starts)
    until = ts[np.minimum(ends, len(ts) - 1)] + bar_ms
    lengths = (until - ts[starts]) / DAY
    return {
        "max_drawdown_pct": min(float(depths.max()), 1.0) * 100.0,
        "max_drawdown_days": float(lengths.max()),
        "average_drawdown_pct": float(depths.mean()) * 100.0,
        "average_drawdown_days": float(lengths.mean()),
    }


def daily_returns(equity: NDArray[np.float64], ts: NDArray[np.int64], initial: float) -> NDArray[np.float64]:
    """Returns of equity from UTC midnight to midnight; days without a bar have none of their own."""
    day = ts // DAY
    last = np.flatnonzero(np.diff(day, append=day[-1] + 1))
    closes = np.concatenate(([initial], equity[last]))
    before = np.where(closes[:-1] > 0, closes[:-1], np.inf)
    return np.asarray(closes[1:] / before - np.where(np.isinf(before), 0.0, 1.0), np.float64)


def ratio_figures(daily: NDArray[np.float64]) -> dict[str, Any]:
    """Sharpe and Sortino of daily returns (d,); None under 30 of them, or where nothing varies."""
    figures: dict[str, Any] = {"sharpe": None, "sortino": None}
    if len(daily) < LEAST_DAYS:
        return figures
    mean, spread = float(daily.mean()), float(daily.std(ddof=1))
    downside = float(np.sqrt(np.mean(np.minimum(daily, 0.0) ** 2)))
    if spread > 0:
        figures["sharpe"] = mean / spread * YEAR_DAYS**0.5
    if downside > 0:
        figures["sortino"] = mean / downside * YEAR_DAYS**0.5
    return figures


def last_worth(recording: Recording) -> float:
    """Worth of one lot at the last close played, quote currency."""
    prepared = recording.prepared
    return float(prepared.close[recording.bars - 1]) * prepared.instrument.tick_value


def profits(trades: NDArray[Any], worth: float) -> NDArray[np.float64]:
    """Profit of each trade (k,), after fees and funding, quote currency; what is open at `worth` a lot."""
    gross = trades["side"] * (trades["exit_value"] + trades["held"] * worth - trades["entry_value"])
    return np.asarray(gross - trades["fees"] + trades["funding"], np.float64)


def trade_figures(trades: NDArray[Any], profit: NDArray[np.float64]) -> dict[str, Any]:
    """Figures of trades (k,) with their profits so far (k,); None where there are too few."""
    is_closed = trades["held"] == 0
    closed = trades[is_closed]
    names = ("win_rate_pct", "best_trade_pct", "worst_trade_pct", "average_trade_pct", "longest_trade_hours")
    more = ("average_trade_hours", "expectancy", "sqn", "profit_factor", "average_win", "average_loss", "average_r")
    figures: dict[str, Any] = dict.fromkeys(names + more)
    figures.update(
        trades=len(closed),
        closed_profit=float(profit[is_closed].sum()),
        open_trades=len(trades) - len(closed),
        open_profit=float(profit[~is_closed].sum()),
        win_rate_with_open_pct=float(np.mean(profit > 0)) * 100.0 if len(trades) else None,
        profit_factor_with_open=profit_factor(profit),
        longest_losing_run=0,
    )
    if len(closed) == 0:
        return figures
    profit = profit[is_closed]
    share = profit / closed["entry_value"] * 100.0
    hours = (closed["exit_ts"] - closed["entry_ts"]) / HOUR
    wins, losses = profit[profit > 0], profit[profit < 0]
    figures.update(
        win_rate_pct=len(wins) / len(closed) * 100.0,
        best_trade_pct=float(share.max()),
        worst_trade_pct=float(share.min()),
        average_trade_pct=float(share.mean()),
        longest_trade_hours=float(hours.max()),
        average_trade_hours=float(hours.mean()),
        expectancy=float(profit.mean()),
        longest_losing_run=longest_run(profit < 0),
    )
    figures["profit_factor"] = profit_factor(profit)
    planned = closed["risk"] > 0
    if planned.any():
        figures["average_r"] = float((profit[planned] / closed["risk"][planned]).mean())
    if len(wins):
        figures["average_win"] = float(wins.mean())
    if len(losses):
        figures["average_loss"] = float(losses.mean())
    if len(profit) >= LEAST_DAYS and profit.std(ddof=1) > 0:
        figures["sqn"] = float(len(profit) ** 0.5 * profit.mean() / profit.std(ddof=1))
    return figures


def profit_factor(profit: NDArray[np.float64]) -> float | None:
    """Profits / losses (k,), at most 1000, which also says: no loss; None where nothing was won or lost."""
    won, lost = float(profit[profit > 0].sum()), float(-profit[profit < 0].sum())
    if lost > 0:
        return min(won / lost, LARGEST_FACTOR)
    return LARGEST_FACTOR if won > 0 else None


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Length of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def strategy_figures(
    strategy: str, entries: tuple[str, ...], trades: NDArray[Any], fills: NDArray[Any]
) -> dict[str, Any]:
    """Figures that only one kind of strategy has."""
    closed = trades[trades["held"] == 0]
    if strategy == "grid":
        cells = fills["part"][fills["signal"] == Signal.ENTRY]
        cycles = int(np.count_nonzero(closed["exit_signal"] == Signal.GRID_COUNTER))
        return {"cycles": cycles, "levels_filled": len(np.unique(cells))}
    if strategy == "dca":
        mean = float(closed["safety"].mean()) if len(closed) else None
        return {"deals": len(closed), "mean_safety_orders": mean}
    counts = {name: int(np.count_nonzero(closed["entry"] == index)) for index, name in enumerate(entries)}
    return {"entries_by_kind": counts}
