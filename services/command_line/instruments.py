"""`traderagent data instruments`: tick, lot, minimum and fees of a venue's pairs, fetched, imported, shown by day."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.errors import Misconfigured
from bot.market import Market
from services.command_line.console import console, notes
from services.settings import Settings

if TYPE_CHECKING:
    from bot.instrument import Instrument


def instruments(
    path: Annotated[Path | None, typer.Argument(help="a table of instruments to import instead of asking")] = None,
    exchange: Annotated[str, typer.Option(help="bybit or binance", metavar="VENUE")] = "bybit",
    market: Annotated[Market, typer.Option("--market", help="spot or linear")] = Market.LINEAR,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="a day: show, or import for, what held then", metavar="DATE")
    ] = None,
) -> None:
    """Fetch tick, lot, minimum and fees of every pair, kept from today on.

    With a file (columns symbol, tick_size, lot_size and others, perhaps since) import what held from --as-of on.
    With --as-of alone show what is kept for that day. A backtest takes what held when its candles begin.
    """
    from bot.candles import iso, parse_time

    day = None if as_of is None else parse_time(as_of)
    from services.market_data.instruments import read_instruments, save_instruments

    data_dir = Settings().data_dir
    if path is None and day is not None:
        _show(data_dir, exchange, market, day)
        return
    if path is not None:
        found = read_instruments(path, market, day)
    else:
        from services.market_data.venue import client, fetch_instruments

        now = int(time.time() * 1000)
        with notes().status(f"asking {exchange} for its {market} instruments"):
            found = [(now, one) for one in fetch_instruments(client(exchange, market), market)]
    saved = save_instruments(data_dir, exchange, market, found)
    days = sorted({iso(ms)[:10] for ms, _ in found})
    since = f" from {days[0]} on" if len(days) == 1 else ""
    told = f"{len(found)} instruments{since}, {saved.changed} of them new or changed, in {saved.path}"
    console().print(told, soft_wrap=True, highlight=False)


def _show(data_dir: Path, exchange: str, market: Market, day: int) -> None:
    from rich.table import Table

    from bot.candles import iso
    from services.market_data.instruments import UNDATED, load_instruments

    kept = load_instruments(data_dir, exchange, market)
    if not kept:
        raise Misconfigured(
            f"no instruments of {exchange} {market} are kept; run `traderagent data instruments` first."
        )
    columns = ("symbol", "since", "tick", "lot", "min quantity", "min notional", "maker fee", "taker fee")
    table = Table(*columns, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    later = 0
    for symbol, one in kept.items():
        instrument, since = one.at(day)
        if since > day:
            later += 1
            continue
        said = iso(since)[:10]
        table.add_row(symbol, "unknown" if said == UNDATED else said, *_numbers(instrument))
    console().print(table)
    if later:
        console().print(f"{later} of {len(kept)} are known from later days only", highlight=False)


def _numbers(one: Instrument) -> tuple[str, ...]:
    numbers = (one.tick_size, one.lot_size, one.min_quantity, one.min_notional, one.maker_fee, one.taker_fee)
    return tuple(format(number.normalize(), "f") for number in numbers)
