"""`traderagent data funding`: import, download and list histories of funding rates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.errors import Misconfigured, TradingError
from services.command_line.console import console, notes, progress
from services.settings import Settings

if TYPE_CHECKING:
    from services.data.funding import FundingStore, Written
    from services.data.store import Series

app = typer.Typer(
    help="Funding rates: import, download, list. A simulation pays them where they are known.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _store() -> FundingStore:
    from services.data.funding import FundingStore

    return FundingStore(Settings().data_dir)


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="a file (CSV, Parquet, Feather, JSON) or a folder of them")],
    exchange: Annotated[str | None, typer.Option(help="venue, where the path does not tell it")] = None,
    symbol: Annotated[str | None, typer.Option(help="pair, where the name does not tell it")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="take the new rate where a stored one differs")] = False,
) -> None:
    """Bring funding rates from files into the store.

    Files of freqtrade, Binance, Bybit and ccxt, and tables with the columns ts and rate. Of a folder, those whose
    names, or whose folders' names, say that they hold funding.
    """
    from services.data.funding import funding_files, import_funding

    store, files = _store(), funding_files(path)
    failed = 0
    for file in files:
        try:
            series, written = import_funding(store, file, exchange, symbol, replace=replace)
        except TradingError as error:
            if len(files) == 1:
                raise
            failed += 1
            notes().print(f"[red]skipped[/] {error}", highlight=False, soft_wrap=True)
            continue
        _told(file.name, series, written)
    if failed:
        raise Misconfigured(f"{failed} of {len(files)} files were skipped; mend them or name them one by one.")


@app.command()
def download(
    symbol: Annotated[str, typer.Option(help="pair as the venue writes it, such as BTCUSDT")],
    start: Annotated[str, typer.Option("--from", help="first day or minute, UTC")],
    end: Annotated[str, typer.Option("--to", help="end, not included, UTC")],
    exchange: Annotated[str, typer.Option(help="bybit or binance")] = "bybit",
) -> None:
    """Download the funding rates that were paid.

    What is stored already is not asked for again.
    """
    from bot.candles import parse_time

    first, last = parse_time(start), parse_time(end)
    if first >= last:
        raise Misconfigured(f"from ({start}) must lie before to ({end}); swap or widen them.")
    from bot.market import Market
    from services.data.store import Series
    from services.data.venue import client, download_funding

    series = Series(exchange, str(Market.LINEAR), symbol)
    venue = client(exchange, Market.LINEAR)
    with progress(f"{symbol} funding") as show:
        written = download_funding(_store(), venue, series, first, last, lambda done, total: show(done / total))
    _told(symbol, series, written)


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


def _told(name: str, series: Series, written: Written) -> None:
    console().print(
        f"{name}: funding of {series.symbol} ({series.venue} {series.market}), {written.new} new, "
        f"{written.equal} equal, {written.changed} changed",
        highlight=False,
        soft_wrap=True,
    )
