"""`traderagent classify`: which kind of pair each one of the store is, and what a search of that kind looks at."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.market import Market
from bot.times import DAY
from coordinator.config_file import names_of_pairs
from services.command_line.console import console, progress
from services.settings import Settings

if TYPE_CHECKING:
    from services.market_data.store import CandleStore, SeriesName

WIDE = 110  # columns of a terminal that shows the reason too

Pairs = Annotated[
    list[str] | None, typer.Option(help="such as BTCUSDT; several times [default: all of the store]", metavar="PAIR")
]
Exchange = Annotated[str | None, typer.Option(help="whose candles, from the store", metavar="VENUE")]


def classify(
    pair: Pairs = None,
    exchange: Exchange = None,
    market: Annotated[Market | None, typer.Option(help="spot or linear")] = None,
    days: Annotated[float, typer.Option(help="how many of the last days", min=30, max=36_500, metavar="DAYS")] = 730.0,
    ranges: Annotated[bool, typer.Option("--ranges", help="print the search ranges of the classes found")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Sort the pairs of the store into classes by ATR and gaps: stable, blue_chip, mid_cap or meme.

    Each class has search ranges for grid, trend, dca and rules: sections of a space for `sweep`.
    """
    names = names_of_pairs(",".join(pair or []))
    from search.pair_classes import SEARCH_RANGES
    from services.app.stored_pairs import stored_pairs
    from services.market_data.store import CandleStore

    store, rows = CandleStore(Settings().data_dir), []
    chosen = stored_pairs(store, names, exchange, market)
    with progress("measuring") as show:
        for done, series in enumerate(chosen, 1):
            rows.append(_row(store, series, days))
            show(done / len(chosen), f"{done:,} of {len(chosen):,}")
    found = {name: SEARCH_RANGES[name] for name in SEARCH_RANGES if name in {row["class"] for row in rows}}
    if as_json:
        whole = {str(name): sections for name, sections in SEARCH_RANGES.items()}
        print(json.dumps({"pairs": rows, "search_ranges": whole}))  # noqa: T201, for programs
        return
    _show(rows)
    if ranges:
        import yaml

        plain = json.loads(json.dumps({str(name): sections for name, sections in found.items()}))
        console().print(yaml.safe_dump(plain, sort_keys=False), highlight=False, markup=False)


def _row(store: CandleStore, series: SeriesName, days: float) -> dict[str, Any]:
    from search.pair_classes import class_of, movement_of

    movement = movement_of(store.read(series, store.end(series) - int(days * DAY)))
    kind, why = class_of(movement)
    place = {"symbol": series.symbol, "exchange": series.venue, "market": series.market, "bar": series.bar}
    return {**place, "class": None if kind is None else str(kind), **asdict(movement), "why": why}


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table, wide = Table(box=None), console().width >= WIDE
    for name in ("pair", "venue", "class"):
        table.add_column(name, no_wrap=True)
    for name in ("ATR %", "gap %", "missing %", "days"):
        table.add_column(name, justify="right")
    if wide:
        table.add_column("why")
    for row in rows:
        atr = "" if row["atr_pct"] is None else f"{row['atr_pct']:.1f}"
        numbers = (atr, f"{row['gap_pct']:.4f}", f"{row['missing_pct']:.2f}", f"{row['days']:,}")
        venue = f"{row['exchange']} {row['market']}"
        table.add_row(row["symbol"], venue, row["class"] or "", *numbers, *([row["why"]] if wide else ()))
    console().print(table)
