"""Trades by what they have in common, and returns by month. Open trades stand beside closed ones, at the last close."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from numpy.typing import NDArray

STILL_OPEN = "still open"


class TradeGroup(BaseModel):
    """Trades that share an exit reason, a kind of entry, a pair or a strategy. Money is quote currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trades: int = Field(description="closed trades")
    closed_profit: float = Field(description="profit of closed trades after fees and funding")
    open_trades: int
    open_profit: float = Field(description="profit of open trades so far, at the last close")
    fees: float = Field(description="of all of them")
    win_rate_pct: float | None = Field(description="share of closed trades with a profit")
    average_pct: float | None = Field(description="mean profit of closed trades / entry value")
    best_pct: float | None
    worst_pct: float | None


class MonthOfTrades(BaseModel):
    """Trades that closed in a month. Money is quote currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trades: int
    profit: float = Field(description="after fees and funding")
    win_rate_pct: float
    average_pct: float = Field(description="mean profit / entry value")


TradeGroups = dict[str, dict[str, TradeGroup]]


def grouped(trades: pl.DataFrame, by: str) -> dict[str, TradeGroup]:
    """Trades in the frame of a result by the values of a column, those still open by a name of their own."""
    closed, open_ = pl.col("exit_time").is_not_null(), pl.col("exit_time").is_null()
    of_closed = pl.col("pnl_pct").filter(closed)
    rows = (
        trades.group_by(pl.col(by).fill_null(STILL_OPEN))
        .agg(
            trades=closed.sum(),
            closed_profit=pl.col("pnl").filter(closed).sum(),
            open_trades=open_.sum(),
            open_profit=pl.col("pnl").filter(open_).sum(),
            fees=pl.col("fees").sum(),
            win_rate_pct=(pl.col("pnl").filter(closed) > 0).mean() * 100.0,
            average_pct=of_closed.mean(),
            best_pct=of_closed.max(),
            worst_pct=of_closed.min(),
        )
        .sort(by)
    )
    return {row.pop(by): TradeGroup(**row) for row in rows.to_dicts()}


def by_month(trades: pl.DataFrame) -> dict[str, MonthOfTrades]:
    """Closed trades by the month of their exit, UTC, such as 2024-01."""
    rows = (
        trades.filter(pl.col("exit_time").is_not_null())
        .group_by(pl.from_epoch("exit_time", "ms").dt.strftime("%Y-%m").alias("month"))
        .agg(
            trades=pl.len(),
            profit=pl.col("pnl").sum(),
            win_rate_pct=(pl.col("pnl") > 0).mean() * 100.0,
            average_pct=pl.col("pnl_pct").mean(),
        )
        .sort("month")
    )
    return {row.pop("month"): MonthOfTrades(**row) for row in rows.to_dicts()}


def returns_by_month(ts: NDArray[np.int64], equity: NDArray[np.float64], initial: float) -> dict[str, float]:
    """Return of each month, UTC, in per cent of the equity that it began with."""
    month = ts.astype("datetime64[ms]").astype("datetime64[M]")
    last = np.flatnonzero(np.append(month[1:] != month[:-1], [True]))
    ends = equity[last]
    begun = np.concatenate(([initial], ends[:-1]))
    returns = np.where(begun > 0, ends / np.where(begun > 0, begun, 1.0) - 1.0, 0.0) * 100.0
    return {str(name): float(value) for name, value in zip(month[last], returns, strict=True)}
