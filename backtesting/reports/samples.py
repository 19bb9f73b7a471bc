"""Sample pictures of a run: every n-th trade, as it was and annotated, in the folder `samples` of its directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from backtesting.reports.charts import png
from backtesting.reports.trade_pictures import PicturedTrade, PriceSpan, surroundings, trade_picture
from backtesting.result import SamplePicture
from bot.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from backtesting.portfolio_result import PortfolioResult, ZoneSpan
    from backtesting.reports.run_view import RunView
    from backtesting.result import BacktestResult

FOLDER = "samples"
MOST_PICTURED = 500  # trades
MOST_ZONES, SHOWN_ZONES = 2_000, 12


def sampled_ids(trades: pl.DataFrame, every: int) -> list[int]:
    """Numbers of every n-th trade by entry, the first among them; raises Misconfigured where they are too many."""
    ids = trades.sort("entry_time", maintain_order=True)["trade_id"].gather_every(every).to_list()
    if len(ids) > MOST_PICTURED:
        least = -(-trades.height // MOST_PICTURED)
        raise Misconfigured(
            f"samples is {every}, which pictures {len(ids):,} of {trades.height:,} trades, more than {MOST_PICTURED}; "
            f"give at least {least}."
        )
    return ids


def sample_rows(view: RunView, every: int) -> pl.DataFrame:
    """Every n-th trade of a run with the paths of its pictures: trade_id, pair, original, annotated."""
    chosen = view.trades.sort("entry_time", maintain_order=True).gather_every(every)
    sampled_ids(view.trades, every)
    name = pl.format(f"{FOLDER}/{{}}-{{}}", pl.col("pair"), pl.col("trade_id").cast(pl.String).str.zfill(5))
    return chosen.select("trade_id", "pair", original=name + "-original.png", annotated=name + "-annotated.png")


def sample_pictures(rows: pl.DataFrame) -> list[SamplePicture]:
    """What result.json says of them."""
    return [SamplePicture(**row) for row in rows.iter_rows(named=True)]


def write_samples(view: RunView, rows: pl.DataFrame, folder: Path) -> None:
    """Draw the pictures of these trades into a run directory."""
    (folder / FOLDER).mkdir()
    for pair, single in view.singles.items():
        own = rows.filter(pl.col("pair") == pair)
        if own.height:
            _write_of_pair(view.portfolio, pair, single, own, folder)


def _write_of_pair(
    portfolio: PortfolioResult | None, pair: str, single: BacktestResult, rows: pl.DataFrame, folder: Path
) -> None:
    candles, levels = single.candles, single.levels
    index = portfolio.recording.pairs.index(pair) if portfolio else 0
    zones = portfolio.zones(index, MOST_ZONES) if portfolio else []
    regimes = portfolio.regime_spans(index) if portfolio else []
    for trade in single.trades.join(rows, on="trade_id").iter_rows(named=True):
        end = trade["exit_time"]
        around = surroundings(candles, trade["entry_time"], end)
        pictured = pictured_trade(trade, levels, zones, regimes, last=int(candles["ts"][-1]))
        for name, annotated in (("original", False), ("annotated", True)):
            content = png(trade_picture(pictured, around, annotated=annotated))
            (folder / trade[name]).write_bytes(content)


def pictured_trade(
    trade: dict[str, object],
    levels: pl.DataFrame,
    zones: Iterable[ZoneSpan],
    regimes: Iterable[tuple[int, int, str]],
    last: int,
) -> PicturedTrade:
    """Gather what a picture shows of a row of trades; `last`: the run's last bar, for a trade that is open."""
    entry_time, exit_time = int(str(trade["entry_time"])), trade["exit_time"]
    end = last if exit_time is None else int(str(exit_time))
    entry, side = float(str(trade["entry_price"])), str(trade["side"])
    leave = None if exit_time is None else (end, float(str(trade["exit_price"])))
    direction = 1 if side == "long" else -1
    stood = levels.filter(
        (pl.col("side") == ("sell" if direction > 0 else "buy"))
        & (pl.col("ts_from") <= end)
        & (pl.col("ts_to") >= entry_time)
    )
    multiple = trade["r_multiple"]
    near = sorted(
        (zone for zone in zones if zone.born <= end and zone.died >= entry_time),
        key=lambda zone: max(zone.bottom - entry, entry - zone.top, 0.0),
    )
    return PicturedTrade(
        trade_id=int(str(trade["trade_id"])),
        pair=str(trade["pair"]),
        side=side,
        entry=(entry_time, entry),
        leave=leave,
        reason=str(trade["exit_reason"] or ""),
        pnl=float(str(trade["pnl"])),
        r_multiple=None if multiple is None else float(str(multiple)),
        stops=_spans(stood.filter(pl.col("kind") == "stop"), entry_time, end),
        targets=_targets(stood, entry, None if leave is None else leave[1], direction, entry_time, end),
        zones=tuple(near[:SHOWN_ZONES]),
        regime=next((name for start, until, name in regimes if start <= entry_time < until), ""),
    )


def _targets(
    stood: pl.DataFrame, entry: float, leave: float | None, direction: int, start: int, end: int
) -> tuple[PriceSpan, ...]:
    """Where the limit that was to leave with a profit stood: that of the exit, else the nearest to the entry."""
    beyond = stood.filter((pl.col("kind") == "limit") & ((pl.col("price") - entry) * direction > 0))
    if not beyond.height:
        return ()
    wanted = leave if leave is not None and (leave - entry) * direction > 0 else entry
    nearest = beyond.sort((pl.col("price") - wanted).abs(), maintain_order=True).row(0, named=True)
    return _spans(beyond.filter(pl.col("slot") == nearest["slot"]), start, end)


def _spans(levels: pl.DataFrame, start: int, end: int) -> tuple[PriceSpan, ...]:
    """Spans of levels, cut to the time of a trade."""
    rows = levels.sort("ts_from").select("ts_from", "ts_to", "price").iter_rows()
    return tuple((max(a, start), max(min(b, end), start), price) for a, b, price in rows)
