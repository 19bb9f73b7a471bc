"""`traderagent data trades`: bars of any length from files of single trades."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bot.errors import Misconfigured, TradingError
from bot.market import Market
from services.command_line.console import console, notes
from services.settings import Settings


def trades(
    path: Annotated[Path, typer.Argument(help="a file of trades (CSV, Parquet, Feather, JSON) or a folder of them")],
    bar: Annotated[str, typer.Option(help="length of the bars, such as 1s, 5s or 1m")] = "1s",
    exchange: Annotated[str | None, typer.Option(help="venue, where the path does not tell it")] = None,
    market: Annotated[Market | None, typer.Option(help="spot or linear, where the path does not tell it")] = None,
    symbol: Annotated[str | None, typer.Option(help="pair, where the path does not tell it")] = None,
) -> None:
    """Roll files of single trades up into bars, and store these.

    Archives of Binance (trades, aggTrades) and Bybit, and tables with the columns ts, price and qty. A backtest of
    them: `--set bar=1s`.
    """
    from services.data.store import CandleStore, bar_length
    from services.data.tables import table_files
    from services.data.trades import place_of_trades, read_bars

    length = bar_length(bar)
    store, files = CandleStore(Settings().data_dir), table_files(path)
    failed = 0
    for file in files:
        try:
            place = place_of_trades(file, exchange, market, symbol)
            rolled = read_bars(file, length)
            series, new = store.write(*place, rolled.candles)
        except TradingError as error:
            if len(files) == 1:
                raise
            failed += 1
            notes().print(f"[red]skipped[/] {error}", highlight=False, soft_wrap=True)
            continue
        console().print(
            f"{file.name}: {rolled.trades:,} trades, {len(rolled.candles):,} bars of {series.symbol} "
            f"({series.venue} {series.market} {series.bar}), {new:,} new; {rolled.silent:,} without a trade, "
            f"{rolled.cut} at the ends left out",
            highlight=False,
            soft_wrap=True,
        )
    if failed:
        raise Misconfigured(f"{failed} of {len(files)} files were skipped; mend them or name them one by one.")
