"""Automatic checks of a run: pure functions over its tables, and the list of them.

Each returns a sentence for everything that is wrong, none for a sound run. What a check may not judge (no candles at
hand) it is not asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from backtesting.validation import CheckOutcome, QualityReport, QualityStatus, RunTables, criteria_outcomes
from bot.candles import iso
from bot.order import Signal

if TYPE_CHECKING:
    from backtesting.validation import ValidationCriteria

ONE_BAR_SHARE = 0.2  # of the closed trades, that begin and end in the same bar
FEWEST_STOPS = 5  # trades from which "all left by their stop" says something
CARRIED_SHARE = 0.5  # of the profit, that one trade may bring
EQUITY_JUMP = 0.25  # of the equity, within a bar
LIQUIDATION = -2  # slot of a forced close, which needs no volume and no order
LISTED = 5  # places that a sentence names
POSITIVE = ("entry_price", "qty")
SAME_TRADE = ("pair", "side", "entry_time", "entry_price", "exit_time", "exit_price", "qty")


def duplicate_trades(run: RunTables) -> list[str]:
    """Find trades that stand there more often than the fills allow, and fills that stand there twice."""
    said = []
    repeated = run.trades.group_by(SAME_TRADE, maintain_order=True).agg(pl.col("trade_id"), times=pl.len())
    for row in repeated.filter(pl.col("times") > 1).iter_rows(named=True):
        side = "buy" if row["side"] == "long" else "sell"
        same = (pl.col("pair") == row["pair"]) & (pl.col("ts") == row["entry_time"]) & (pl.col("side") == side)
        entries = run.fills.filter(same).height
        if row["times"] > max(entries, 1):
            said.append(
                f"trades {_listed(row['trade_id'])} of {row['pair']} are the same trade: {entries} fills opened it"
            )
    twice = run.fills.filter(run.fills.is_duplicated()) if run.fills.height else run.fills
    if twice.height:
        said.append(f"{twice.height} fills stand there more than once, the first at {iso(twice['ts'][0])}")
    return said


def impossible_timestamps(run: RunTables) -> list[str]:
    """Find trades and fills that end before they begin, lie outside the run or off its bars, or go back in time."""
    entry, leave = pl.col("entry_time"), pl.col("exit_time")
    outside = (entry < run.start) | (entry >= run.end) | (leave < run.start) | (leave >= run.end)
    off_grid = ((entry - run.start) % run.bar_ms != 0) | ((leave - run.start) % run.bar_ms != 0)
    faults = (
        (leave < entry, "end before they begin"),
        (outside, "lie outside the period of the run"),
        (off_grid, "lie between two bars"),
    )
    said = [
        f"trades {_named(found)} {words}"
        for condition, words in faults
        if (found := run.trades.filter(condition.fill_null(value=False))).height
    ]
    times, bars = run.fills["ts"], run.equity["ts"]
    if times.len() and not (times.is_sorted() and run.start <= int(times[0]) and int(times[-1]) < run.end):
        said.append("fills go back in time, or lie outside the period of the run")
    if bars.len() > 1 and int(bars.diff().drop_nulls().min()) <= 0:  # type: ignore[arg-type]
        said.append("equity goes back in time")
    return said


def trades_of_one_bar(run: RunTables) -> list[str]:
    """Find whether many trades begin and end in the same bar, whose path nobody knows."""
    closed = run.closed
    same = closed.filter(pl.col("entry_time") == pl.col("exit_time")).height
    if same <= ONE_BAR_SHARE * closed.height:
        return []
    return [f"{same} of {closed.height} trades begin and end in one bar: play shorter bars"]


def all_exits_by_stop(run: RunTables) -> list[str]:
    """Find whether every trade left by its stop."""
    reasons = run.closed["exit_reason"]
    if reasons.len() < FEWEST_STOPS or not (reasons == Signal.EXIT_SL.name).all():
        return []
    return [f"all {reasons.len()} trades left by their stop"]


def one_trade_carries(run: RunTables) -> list[str]:
    """Find whether one trade brings most of the profit."""
    if run.trades.height < 2 or run.profit <= 0.0:
        return []
    best = run.trades.sort(pl.col("pnl").fill_nan(None), descending=True, nulls_last=True).row(0, named=True)
    share = best["pnl"] / run.profit
    if share < CARRIED_SHARE:
        return []
    name = f"{best['pair']} {best['trade_id']}"
    return [f"trade {name} brings {share * 100:.0f} % of the profit of {run.trades.height} trades"]


def vanishes_with_doubled_fees(run: RunTables) -> list[str]:
    """Find whether the profit is gone when fees are twice as high."""
    fees = float(run.trades["fees"].sum())
    if run.profit <= 0.0 or run.profit - fees > 0.0:
        return []
    return [f"the profit of {run.profit:,.2f} is gone with doubled fees: {fees:,.2f} were paid"]


def fills_without_volume(run: RunTables) -> list[str]:
    """Find fills in bars in which nothing was traded, or which are not there."""
    silent = _in_their_bars(run).filter(pl.col("volume").fill_null(0.0) <= 0.0)
    if not silent.height:
        return []
    places = [iso(int(ts)) for ts in silent["ts"].to_list()]
    return [f"{silent.height} fills lie in bars without volume: {_listed(places)}"]


def prices_outside_bars(run: RunTables) -> list[str]:
    """Find fills at prices that their bar did not have, slippage allowed for."""
    found = _in_their_bars(run).with_columns(pl.col("pair").replace_strict(run.ticks, default=0.0).alias("tick"))
    room = (1.0 + run.slippage_ticks) * pl.col("tick")
    low = pl.col("low") * (1.0 - run.slippage) - room * 1.001
    high = pl.col("high") * (1.0 + run.slippage) + room * 1.001
    odd = found.filter((pl.col("price") < low) | (pl.col("price") > high))
    if not odd.height:
        return []
    places = [f"{price:g} at {iso(int(ts))}" for ts, price in odd.select("ts", "price").iter_rows()]
    return [f"{odd.height} fills have prices outside their bars: {_listed(places)}"]


def anomalies(run: RunTables) -> list[str]:
    """Find numbers that are none, quantities and prices that are not positive, and jumps of the equity."""
    said = []
    for name in ("entry_price", "qty", "pnl", "fees"):
        number = pl.col(name).is_finite() & (pl.col(name) > (0.0 if name in POSITIVE else -float("inf")))
        odd = run.trades.filter(~number.fill_null(value=False))
        if odd.height:
            said.append(f"{name} of trades {_named(odd)} is no possible number")
    equity = run.equity["equity"]
    moved = (equity / equity.shift(1) - 1.0).abs().fill_null(0.0)
    odd_bars = run.equity.filter(~equity.is_finite() | ~(moved <= EQUITY_JUMP))
    if odd_bars.height:
        places = [iso(int(ts)) for ts in odd_bars["ts"].to_list()]
        said.append(f"the equity jumps by more than {EQUITY_JUMP * 100:.0f} % within a bar: {_listed(places)}")
    return said


def _in_their_bars(run: RunTables) -> pl.DataFrame:
    """Fills that an order made, each with the bar that it lies in."""
    assert run.candles is not None
    return run.fills.filter(pl.col("slot") != LIQUIDATION).join(run.candles, on=["pair", "ts"], how="left")


def _named(trades: pl.DataFrame) -> str:
    return _listed([f"{pair} {trade}" for pair, trade in trades.select("pair", "trade_id").iter_rows()])


def _listed(values: list[int] | list[str]) -> str:
    shown = ", ".join(str(one) for one in values[:LISTED])
    return shown if len(values) <= LISTED else f"{shown} and {len(values) - LISTED} more"


@dataclass(frozen=True)
class AutomaticCheck:
    """A check, and what the run is when it finds something."""

    find: Callable[[RunTables], list[str]]
    found: QualityStatus
    needs_candles: bool = False

    @property
    def name(self) -> str:
        """Its name in the report."""
        return self.find.__name__

    def outcome(self, run: RunTables) -> CheckOutcome:
        """Check a run."""
        if self.needs_candles and run.candles is None:
            said = f"{self.name} was not checked: the candles of the run are not at hand"
            return CheckOutcome(self.name, QualityStatus.SKIPPED, (said,))
        sentences = tuple(self.find(run))
        return CheckOutcome(self.name, self.found if sentences else QualityStatus.PASS, sentences)


CHECKS = (
    AutomaticCheck(duplicate_trades, QualityStatus.FAIL),
    AutomaticCheck(impossible_timestamps, QualityStatus.FAIL),
    AutomaticCheck(fills_without_volume, QualityStatus.FAIL, needs_candles=True),
    AutomaticCheck(prices_outside_bars, QualityStatus.FAIL, needs_candles=True),
    AutomaticCheck(vanishes_with_doubled_fees, QualityStatus.FAIL),
    AutomaticCheck(all_exits_by_stop, QualityStatus.REVIEW_REQUIRED),
    AutomaticCheck(trades_of_one_bar, QualityStatus.REVIEW_REQUIRED),
    AutomaticCheck(one_trade_carries, QualityStatus.REVIEW_REQUIRED),
    AutomaticCheck(anomalies, QualityStatus.REVIEW_REQUIRED),
)


def examined(run: RunTables, criteria: ValidationCriteria) -> QualityReport:
    """Check a run and hold it against the criteria; zones and samples are added by who has them."""
    automatic = [check.outcome(run) for check in CHECKS]
    return QualityReport(run.run_id, (*automatic, *criteria_outcomes(run, criteria)))
