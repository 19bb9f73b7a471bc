"""The page on which a person confirms sampled trades: one file without a network, which saves the answers as a file."""

from __future__ import annotations

import base64
import json
from functools import cache
from html import escape
from importlib.resources import files
from math import isfinite
from string import Template
from typing import TYPE_CHECKING, Any

import polars as pl

from backtesting.portfolio_result import ZoneSpan
from backtesting.reports.charts import png
from backtesting.reports.labels import label
from backtesting.reports.trade_pictures import PicturedTrade, surroundings, trade_picture
from backtesting.validation import ANSWERS
from bot.candles import iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backtesting.validation import RunTables, TradeName

NEAREST_ZONES = 12


def confirmation_page(tables: RunTables, asked: Sequence[TradeName], title: str, command: str) -> str:
    """Lay out the page of these trades of a run whose candles are at hand; the same run gives the same bytes.

    `command`: what takes the saved answers into the report.
    """
    names = pl.DataFrame(list(asked), schema={"pair": pl.String, "trade_id": pl.Int64}, orient="row")
    rows = names.join(tables.closed.unique(["pair", "trade_id"]), on=["pair", "trade_id"], maintain_order="left")
    question = {"run_id": tables.run_id, "trades": names.to_dicts()}
    return Template(_text("confirmation.html")).substitute(
        title=escape(f"{title}: do these trades look right?"),
        css=_text("chart/chart.css") + _text("page.css"),
        subtitle=escape(f"run {tables.run_id}, {rows.height} of {tables.closed.height} closed trades, by chance"),
        trades="".join(_section(tables, at, row) for at, row in enumerate(rows.iter_rows(named=True))),
        command=escape(command),
        asked=json.dumps(question).replace("<", "\\u003c"),
        script=_text("confirmation.js"),
    )


def _section(tables: RunTables, number: int, row: dict[str, Any]) -> str:
    size, entry, leave, pnl = (_written(row[name]) for name in ("qty", "entry_price", "exit_price", "pnl"))
    said = (
        f"{row['side']} {size} at {entry}, {iso(row['entry_time'])}; out at {leave}, {iso(row['exit_time'])}: "
        f"{label(row['exit_reason'] or 'no reason')}, profit {pnl}"
    )
    choices = "".join(
        f'<label><input type="radio" name="trade-{number}" value="{answer}">{answer}</label>' for answer in ANSWERS
    )
    return (
        f'<section class="trade"><h2>Trade {row["trade_id"]}: {escape(row["pair"])}</h2>'
        f'<div class="soft">{escape(said)}</div>'
        f'{_picture(tables, row, escape(said))}<div role="radiogroup">{choices}</div>'
        f'<textarea id="note-{number}" rows="1" maxlength="500" placeholder="note" aria-label="note"></textarea>'
        "</section>"
    )


def _written(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.6g}"


def _picture(tables: RunTables, row: dict[str, Any], said: str) -> str:
    """The annotated picture inside the page; words where a damaged row cannot be drawn."""
    assert tables.candles is not None
    own = tables.candles.filter(pl.col("pair") == row["pair"])
    around = surroundings(own, row["entry_time"], row["exit_time"])
    numbers = [row[name] for name in ("qty", "entry_price", "exit_price", "pnl")]
    if around.height < 2 or not all(one is not None and isfinite(one) for one in numbers):
        return "<p>It cannot be drawn: its times or numbers are not possible.</p>"
    picture = base64.b64encode(png(trade_picture(_pictured(tables, row), around, annotated=True))).decode()
    return f'<img src="data:image/png;base64,{picture}" alt="{said}">'


def _pictured(tables: RunTables, row: dict[str, Any]) -> PicturedTrade:
    """What the tables tell of a trade: its planned stop follows from the profit in R."""
    start, end, multiple = row["entry_time"], row["exit_time"], row["r_multiple"]
    stops: tuple[tuple[int, int, float], ...] = ()
    if multiple:
        direction = 1 if row["side"] == "long" else -1
        distance = row["pnl"] / multiple / row["qty"]
        stops = ((start, end, row["entry_price"] - direction * distance),)
    return PicturedTrade(
        trade_id=row["trade_id"],
        pair=row["pair"],
        side=row["side"],
        entry=(start, row["entry_price"]),
        leave=(end, row["exit_price"]),
        reason=row["exit_reason"] or "",
        pnl=row["pnl"],
        r_multiple=multiple,
        stops=stops,
        zones=tuple(_zones(tables, row)),
    )


def _zones(tables: RunTables, row: dict[str, Any]) -> list[ZoneSpan]:
    """Zones that lived during a trade, the nearest to its entry."""
    if tables.zones is None:
        return []
    died = pl.col("died").fill_null(tables.end)
    living = tables.zones.filter(
        (pl.col("pair") == row["pair"]) & (pl.col("born") <= row["exit_time"]) & (died >= row["entry_time"])
    )
    distance = pl.max_horizontal(pl.col("bottom") - row["entry_price"], row["entry_price"] - pl.col("top"), pl.lit(0.0))
    nearest = living.sort(distance, maintain_order=True).head(NEAREST_ZONES)
    kinds = nearest.select(
        pl.when(pl.col("kind") == "liquidity").then(pl.lit("liquidity")).otherwise("side").alias("kind"),
        "born",
        died.alias("died"),
        "bottom",
        "top",
    )
    return [ZoneSpan(**one) for one in kinds.iter_rows(named=True)]


@cache
def _text(name: str) -> str:
    return files("backtesting.reports").joinpath(name).read_text(encoding="utf-8")
