"""`traderagent data`: import, download, generate, list and check candles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.errors import BadCandles, Misconfigured, TradingError
from bot.market import Market
from services.command_line import funding, instruments, trades
from services.command_line.console import console
from services.settings import Settings

if TYPE_CHECKING:
    from rich.progress import Progress

    from bot.candles import Candles
    from services.data.store import CandleStore

app = typer.Typer(help="Candles: import, download, generate, list, check.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(funding.app, name="funding")
app.command("trades")(trades.trades)
app.command("instruments")(instruments.instruments)
MOST_SHOWN = 20

Exchange = Annotated[str, typer.Option(help="bybit or binance")]
MarketOption = Annotated[Market, typer.Option("--market", help="spot or linear")]
Repair = Annotated[bool, typer.Option("--repair", help="mend what can be mended and say what was changed")]


def _progress() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console(),
    )


def _store() -> CandleStore:
    from services.data.store import CandleStore

    return CandleStore(Settings().data_dir)


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="a file (CSV, Parquet, Feather, JSON) or a folder of them")],
    exchange: Annotated[str | None, typer.Option(help="venue the candles come from [default: bybit]")] = None,
    market: Annotated[Market | None, typer.Option(help="spot or linear [default: linear]")] = None,
    symbol: Annotated[str | None, typer.Option(help="pair, where the file's name does not tell it")] = None,
    repair: Repair = False,
) -> None:
    """Bring candles from files into the store."""
    from services.data.importer import candle_files, import_file

    store, failed = _store(), []
    files = candle_files(path)
    for file in files:
        try:
            done = import_file(store, file, exchange, market, symbol, mend=repair)
        except TradingError as error:
            if len(files) == 1:
                raise
            failed.append(file)
            console().print(f"[red]skipped[/] {file.name}: {error}", highlight=False, soft_wrap=True)
            continue
        _print_changes(done.changes)
        s = done.series
        console().print(f"{file.name}: {done.rows} bars of {s.symbol} ({s.venue} {s.market} {s.bar}), {done.new} new")
    if failed:
        raise Misconfigured(f"{len(failed)} of {len(files)} files were skipped; mend them or name them one by one.")


@app.command("download")
def download_(
    symbol: Annotated[str, typer.Option(help="pair as the venue writes it, such as BTCUSDT")],
    start: Annotated[str, typer.Option("--from", help="first day or minute, UTC")],
    end: Annotated[str, typer.Option("--to", help="end, not included, UTC")],
    exchange: Exchange = "bybit",
    market: MarketOption = Market.LINEAR,
) -> None:
    """Download one-minute candles.

    What is stored already is not asked for again.
    """
    from bot.candles import parse_time

    first, last = parse_time(start), parse_time(end)
    if first >= last:
        raise Misconfigured(f"from ({start}) must lie before to ({end}); swap or widen them.")
    from services.data.venue import client, download

    venue = client(exchange, market)
    with _progress() as progress:
        task = progress.add_task(f"{symbol} minutes", total=None)
        new = download(
            _store(),
            *(venue, exchange, market, symbol, first, last),
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    console().print(f"{symbol}: {new} new bars ({exchange} {market})")


@app.command()
def synth(
    pairs: Annotated[str, typer.Option(help="pairs, separated by commas")] = "BTCUSDT,ETHUSDT",
    days: Annotated[int, typer.Option(min=1, max=3650, help="length, days")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="same seed, same candles")] = 7,
) -> None:
    """Generate a market with all regimes.

    It is stored under the venue `synth`.
    """
    names = [name.strip().upper() for name in pairs.split(",") if name.strip()]
    if not names:
        raise Misconfigured("pairs is empty; name at least one, such as BTCUSDT.")
    from bot.candles import iso
    from services.data.store import SYNTHETIC
    from services.data.synth import START_MS, generate

    store = _store()
    with _progress() as progress:
        for name in progress.track(names, description="generating pairs"):
            series, _ = store.write(SYNTHETIC, Market.LINEAR, name, generate([name], days, seed)[name])
    console().print(f"{', '.join(names)}: {days} days from {iso(START_MS)}, seed {seed}, stored as {series.venue}")


@app.command("list")
def list_() -> None:
    """Show what the store holds, with its gaps."""
    from rich.table import Table

    from bot.candles import iso

    store = _store()
    columns = ("venue", "market", "symbol", "bar", "first", "last", "bars", "gaps", "missing")
    table = Table(*columns, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for series in store.series():
        held = store.coverage(series)
        numbers = (held.bars, len(held.gaps), sum(gap.bars for gap in held.gaps))
        names = (
            series.venue,
            series.market,
            series.symbol,
            series.bar,
            iso(held.first)[:10][:16],
            iso(held.last)[:10][:16],
        )
        table.add_row(*names, *(f"{number:,}" for number in numbers))
    if not table.row_count:
        console().print("The store is empty; try `traderagent data synth` or `traderagent data import FILE`.")
        return
    console().print(table)


@app.command()
def check(
    what: Annotated[str, typer.Argument(help="a file, or a pair of the store")],
    exchange: Exchange = "bybit",
    market: MarketOption = Market.LINEAR,
    repair: Repair = False,
) -> None:
    """Report faults and gaps by row and reason.

    With --repair, also show what mending would change.
    """
    from backtesting.candle_checks import faults, gaps
    from bot.candles import iso

    candles = _candles(what, exchange, market)
    if repair:
        candles = _print_repaired(candles)
    found = faults(candles)
    for fault in found[:MOST_SHOWN]:
        console().print(str(fault), highlight=False)
    if len(found) > MOST_SHOWN:
        console().print(f"… and {len(found) - MOST_SHOWN} more")
    if found:
        raise BadCandles(f"{what}: {len(found)} faults in {len(candles)} rows; `data import --repair` mends them.")
    missing = gaps(candles)
    console().print(f"{what}: {len(candles)} bars, no fault, {len(missing)} gaps")
    for gap in missing[:MOST_SHOWN]:
        console().print(f"gap of {gap.bars} bars from {iso(gap.ts)}", highlight=False)
    if len(missing) > MOST_SHOWN:
        console().print(f"… and {len(missing) - MOST_SHOWN} more gaps")


def _candles(what: str, exchange: str, market: Market) -> Candles:
    from backtesting.candles import read_candles
    from services.data.store import SYNTHETIC, Series

    if Path(what).is_file():
        return read_candles(what)
    store = _store()
    series = store.finest(exchange, market, what)
    if series not in store.series() and Series(SYNTHETIC, market, what) in store.series():
        series = Series(SYNTHETIC, market, what)
    return store.read(series)


def _print_repaired(candles: Candles) -> Candles:
    from backtesting.candle_checks import repair

    mended, changes = repair(candles)
    _print_changes(changes)
    return mended


def _print_changes(changes: list[str]) -> None:
    for change in changes:
        console().print(change, highlight=False)
