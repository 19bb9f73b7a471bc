"""`traderagent data funding`: download and list histories of funding rates; data.py imports them like candles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.config_file import names_of_pairs
from services.command_line.console import console, progress
from services.command_line.downloading import From, Symbol, To, period
from services.settings import Settings

if TYPE_CHECKING:
    from services.market_data.funding import FundingStore

app = typer.Typer(
    help="Funding rates: import, download, list. A simulation pays them where they are known.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _store() -> FundingStore:
    from services.market_data.funding import FundingStore

    return FundingStore(Settings().data_dir)


@app.command()
def download(
    symbol: Symbol,
    start: From,
    end: To,
    exchange: Annotated[str, typer.Option(help="bybit or binance", metavar="VENUE")] = "bybit",
) -> None:
    """Download the funding rates that were paid.

    What is stored already is not asked for again.
    """
    symbol, (first, last) = names_of_pairs([symbol])[0], period(start, end)
    from bot.market import Market
    from services.market_data.store import SeriesName
    from services.market_data.venue import client, download_funding

    series = SeriesName(exchange, str(Market.LINEAR), symbol)
    venue = client(exchange, Market.LINEAR)
    with progress(f"{symbol} funding") as show:
        written = download_funding(_store(), venue, series, first, last, lambda done, total: show(done / total))
    console().print(f"{symbol}: {written.new} new, {written.changed} changed ({exchange} linear)", highlight=False)


@app.command("list")
def list_() -> None:
    """Show which histories are kept."""
    from rich.table import Table

    from bot.candles import iso

    store = _store()
    table = Table("venue", "symbol", "first", "last", "settlements", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for series in store.series():
        held = store.read(series)
        if held is not None and len(held):
            first, last = iso(int(held.ts[0]))[:16], iso(int(held.ts[-1]))[:16]
            table.add_row(series.venue, series.symbol, first, last, f"{len(held):,}")
    if not table.row_count:
        console().print("No funding rates are kept; try `traderagent data funding download` or `import FILE`.")
        return
    console().print(table)
