"""`traderagent data`: import, download, generate, list and check candles."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.errors import BadCandles, Misconfigured
from bot.market import Market
from coordinator.config_file import names_of_pairs
from services.command_line import funding, instruments
from services.command_line.console import console, progress
from services.command_line.downloading import From, Symbol, To, period
from services.settings import Settings
from services.whole_file import write_whole

if TYPE_CHECKING:
    from backtesting.candle_checks import Rows
    from bot.candles import Candles
    from services.market_data.importer import Imported, Skipped
    from services.market_data.store import CandleStore

app = typer.Typer(help="Candles: import, download, generate, list, check.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(funding.app, name="funding")
app.command("instruments")(instruments.instruments)
MOST_SHOWN, MOST_NAMED = 20, 3


class OffGrid(StrEnum):
    """What becomes of rows that do not begin with a bar."""

    DROP = "drop"
    ALIGN = "align"


Exchange = Annotated[str, typer.Option(help="bybit or binance", metavar="VENUE")]
MarketOption = Annotated[Market, typer.Option("--market", help="spot or linear")]
Repair = Annotated[bool, typer.Option("--repair", help="mend what can be mended and say what was changed")]


def _store() -> CandleStore:
    from services.market_data.store import CandleStore

    return CandleStore(Settings().data_dir)


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="a file (CSV, Parquet, Feather, JSON, also gz, zst or zip) or a folder")],
    exchange: Annotated[
        str | None, typer.Option(help="venue, where the name does not tell it", metavar="VENUE")
    ] = None,
    market: Annotated[Market | None, typer.Option(help="spot or linear, where the name does not tell it")] = None,
    symbol: Annotated[str | None, typer.Option(help="pair, where the name does not tell it", metavar="PAIR")] = None,
    repair: Repair = False,
    off_grid: Annotated[
        OffGrid | None, typer.Option(help="rows that do not begin with a bar: drop, or align to its opening")
    ] = None,
    volume: Annotated[
        float | None,
        typer.Option(min=0, help="volume of every bar, base units, where a file has none", metavar="AMOUNT"),
    ] = None,
    bar: Annotated[
        str | None,
        typer.Option(help="length of the bars that single trades are rolled up into, such as 1s or 1m", metavar="BAR"),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="stored bars take the file's values where they differ")
    ] = False,
    log: Annotated[Path | None, typer.Option(help="file for every faulty or changed row", metavar="FILE")] = None,
) -> None:
    """Bring candles, funding rates and trades from files into the store.

    A folder is searched whole: of freqtrade, Jesse, or downloads. What is there and differs needs --replace.
    """
    import time

    from services.market_data.importer import Faulty, Imported, Wanted, files_under, import_file, import_files
    from services.market_data.store import bar_length

    store, files = _store(), files_under(path)
    wanted = Wanted(
        now_ms=int(time.time() * 1000),
        exchange=exchange,
        market=market,
        symbol=symbol,
        mend=repair,
        strays=None if off_grid is None else off_grid.value,
        volume=volume,
        bar_ms=None if bar is None else bar_length(bar),
        replace=replace,
    )
    with _log_of_rows(log) as write:
        if path.is_file():
            try:
                done = import_file(store, path, wanted)
            except Faulty as error:
                write(path, error.found)
                raise
            _print_import(done)
            write(path, done.changes)
            return
        left = []
        with progress("importing files", console()) as show:
            for count, one in enumerate(import_files(store, files, wanted), 1):
                show(count / len(files))
                if isinstance(one, Imported):
                    _print_import(one)
                    write(one.path, one.changes)
                else:
                    left.append(one)
                    write(one.path, list(one.faults))
    _print_skipped(left, len(files))


@funding.app.command("import")
def import_rates(
    path: Annotated[Path, typer.Argument(help="a file (CSV, Parquet, Feather, JSON, also packed) or a folder")],
    exchange: Annotated[
        str | None, typer.Option(help="venue, where the name does not tell it", metavar="VENUE")
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="pair, where the name does not tell it", metavar="PAIR")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="stored rates take the file's values where they differ")
    ] = False,
) -> None:
    """Bring funding rates from files into the store.

    Files of freqtrade, Binance, Bybit and ccxt, and tables with the columns ts and rate. Of a folder those whose names,
    or whose folders' names, say that they hold funding.
    """
    from services.market_data.file_names import FileKind, name_of
    from services.market_data.importer import Imported, Wanted, files_under, import_file, import_files

    wanted = Wanted(now_ms=0, exchange=exchange, symbol=symbol, replace=replace, kind=FileKind.FUNDING)
    if path.is_file():
        _print_import(import_file(_store(), path, wanted))
        return
    files = [file for file in files_under(path) if name_of(file).kind is FileKind.FUNDING]
    if not files:
        raise Misconfigured(f"{path} holds no file whose name or folder says funding; name the files one by one.")
    left = []
    for one in import_files(_store(), files, wanted):
        if isinstance(one, Imported):
            _print_import(one)
        else:
            left.append(one)
    _print_skipped(left, len(files))


def _print_import(done: Imported) -> None:
    from bot.candles import iso
    from services.market_data.file_names import FileKind

    s, d = done.series, done.difference
    what = s.bar if done.kind is FileKind.CANDLES else str(done.kind)
    told = f"{done.path.name}: {s.venue} {s.market} {s.symbol} {what}, {iso(done.first)[:16]} to {iso(done.last)[:16]}"
    console().print(
        f"{told}: {d.new:,} new, {d.equal:,} equal, {d.changed:,} changed",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    for said in (*done.changes, *(f"note: {notice}" for notice in done.notices)):
        console().print(f"  {said}", highlight=False, soft_wrap=True, markup=False)


def _print_skipped(left: list[Skipped], files: int) -> None:
    """Print a line for each reason; raises Misconfigured when candles are among what was left out."""
    reasons: dict[str, list[str]] = {}
    for one in left:
        reasons.setdefault(one.reason, []).append(one.path.name)
    for reason, names in reasons.items():
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        console().print(
            f"skipped {', '.join(names[:MOST_NAMED])}{more}: {reason}", highlight=False, soft_wrap=True, markup=False
        )
    failed = [one for one in left if one.failed]
    if failed:
        raise Misconfigured(f"{len(failed)} of {files} files were skipped; mend them or name them one by one.")


@contextmanager
def _log_of_rows(log: Path | None) -> Iterator[Callable[[Path, list[Rows]], None]]:
    """Yield a function that writes every row of a file to the log, where there is one."""
    if log is None:
        yield lambda _path, _rows: None
        return
    try:
        opened = log.open("w", encoding="utf-8")
    except OSError as error:
        raise Misconfigured(f"log {log} cannot be written ({os.strerror(error.errno or 0)}); give another.") from None
    with opened:

        def write(path: Path, found: list[Rows]) -> None:
            for _, line in sorted(line for one in found for line in one.lines()):
                opened.write(f"{path}: {line}\n")

        yield write


@app.command("download")
def download_(
    symbol: Symbol,
    start: From,
    end: To,
    exchange: Exchange = "bybit",
    market: MarketOption = Market.LINEAR,
) -> None:
    """Download one-minute candles.

    What is stored already is not asked for again.
    """
    symbol, (first, last) = names_of_pairs([symbol])[0], period(start, end)
    from services.market_data.venue import client, download

    venue = client(exchange, market)
    with progress(f"{symbol} minutes") as show:
        place = (venue, exchange, market, symbol, first, last)
        done = download(_store(), *place, lambda done, total: show(done / max(total, 1)))
    for change in done.changes:
        console().print(f"faulty candles of {exchange}: {change}", highlight=False, soft_wrap=True)
    console().print(f"{symbol}: {done.new} new bars ({exchange} {market})")


@app.command()
def fetch(
    symbol: Symbol,
    start: From,
    end: To,
    exchange: Exchange = "bybit",
    market: MarketOption = Market.LINEAR,
) -> None:
    """Copy candles of a pair from ClickHouse into the data directory.

    TRADERAGENT_CANDLES is the address, such as clickhouse://user:password@host:8123/database. Bars that are stored
    already take the values that are canonical there.
    """
    symbol, (first, last) = names_of_pairs([symbol])[0], period(start, end)
    from services.app.fetching import fetched

    with progress(f"{symbol} bars") as show:
        series, bars, new = fetched(_store(), (exchange, str(market), symbol), first, last, show)
    console().print(f"{symbol}: {bars} {series.bar} bars of which {new} are new ({exchange} {market})")


LABELS = ("pair", "kind", "side", "bottom", "top", "from", "to")  # columns of a file of labelled zones


@app.command()
def synth(
    pairs: Annotated[str, typer.Option(help="pairs, separated by commas", metavar="PAIRS")] = "BTCUSDT,ETHUSDT",
    days: Annotated[int, typer.Option(min=1, max=3650, help="length, days", metavar="NUMBER")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="same seed, same candles", metavar="NUMBER")] = 7,
    zones: Annotated[
        Path | None, typer.Option(help="let crashes open with a gap, and write the zones of these gaps", metavar="FILE")
    ] = None,
) -> None:
    """Generate a market with all regimes.

    It is stored under the venue `synth`. With --zones the truth about its gaps is written as labels for `validate`.
    """
    names = names_of_pairs(pairs)
    if not names:
        raise Misconfigured("pairs is empty; name at least one, such as BTCUSDT.")
    from bot.candles import iso
    from services.market_data.store import SYNTHETIC
    from services.market_data.synth import START_MS, gapped_schedule, generate, known_zones

    store, known = _store(), []
    schedule = None if zones is None else gapped_schedule(24 * days, seed)
    with progress("generating pairs") as show:
        for count, name in enumerate(names, 1):
            candles = generate([name], days, seed, schedule=schedule)[name]
            series, _ = store.write(SYNTHETIC, Market.LINEAR, name, candles)
            known += [] if schedule is None else known_zones(name, candles, schedule)
            show(count / len(names))
    if zones is not None:
        rows = [(*one[:3], f"{one.bottom:.10g}", f"{one.top:.10g}", iso(one.start), iso(one.end)) for one in known]
        lines = [",".join(row) for row in (LABELS, *rows)]
        write_whole(zones, "\n".join(lines) + "\n")
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
def symbols(
    text: Annotated[str, typer.Argument(help="part of a symbol, such as BTC")] = "",
) -> None:
    """Search the symbols that can be traded, of the markets that are collected."""
    from rich.table import Table

    from services.market_data.reference import ReferenceData

    table = Table("symbol", "market", "id", "base", "quote", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for one in ReferenceData(Settings().data_dir).search(text):
        table.add_row(one.symbol, str(one.market), str(one.market_id), one.base, one.quote)
    if not table.row_count:
        console().print("Nothing is listed by that name; `traderagent collect CONFIG` learns what the venues list.")
        return
    console().print(table)


@app.command()
def holes() -> None:
    """Show which minutes the collector misses, and why."""
    from rich.table import Table

    from services.market_data.collector import read_holes

    columns = ("market", "symbol", "first", "after", "minutes", "cause", "found")
    table = Table(*columns, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for one in read_holes(Settings().data_dir):
        table.add_row(*(str(one[name]) for name in columns))
    console().print(table if table.row_count else "No minute is missing.")


@app.command()
def check(
    what: Annotated[str, typer.Argument(help="a file, or a pair of the store")],
    exchange: Annotated[str | None, typer.Option(help="whose, where the store has several", metavar="VENUE")] = None,
    market: Annotated[Market | None, typer.Option(help="spot or linear, where the store has both")] = None,
    repair: Repair = False,
) -> None:
    """Report faults by kind and row, and gaps.

    With --repair, also show what mending would change.
    """
    from backtesting.candle_checks import faults, gaps, suspicious
    from bot.candles import iso

    candles = _candles(what, exchange, market)
    if repair:
        candles = _print_repaired(candles)
    found = faults(candles)
    for fault in found:
        console().print(str(fault), highlight=False, soft_wrap=True)
    if found:
        count = sum(len(one) for one in found)
        raise BadCandles(f"{what}: {count} faults in {len(candles)} rows; `data import --repair` mends them.")
    for said in suspicious(candles):
        console().print(f"note: {said}", highlight=False, soft_wrap=True)
    missing = gaps(candles)
    console().print(f"{what}: {len(candles)} bars, no fault, {len(missing)} gaps")
    for gap in missing[:MOST_SHOWN]:
        console().print(f"gap of {gap.bars} bars from {iso(gap.ts)}", highlight=False)
    if len(missing) > MOST_SHOWN:
        console().print(f"… and {len(missing) - MOST_SHOWN} more gaps")


def _candles(what: str, exchange: str | None, market: Market | None) -> Candles:
    """Candles of a file, or the shortest bars that the store has of a pair; raises Misconfigured for several venues."""
    from backtesting.candles import read_candles

    if Path(what).is_file():
        return read_candles(what)
    store, symbol = _store(), names_of_pairs([what])[0]
    held = [one for one in store.series() if one.symbol == symbol]
    places = sorted(
        {(one.venue, one.market) for one in held if exchange in (None, one.venue) and market in (None, one.market)}
    )
    if len(places) > 1:
        raise Misconfigured(
            f"{symbol} is stored of {', '.join(' '.join(place) for place in places)}; choose with --exchange and "
            "--market."
        )
    venue, kind = places[0] if places else (exchange or "bybit", str(market or Market.LINEAR))
    return store.read(store.finest(venue, kind, symbol))


def _print_repaired(candles: Candles) -> Candles:
    from backtesting.candle_checks import repair

    mended, changes = repair(candles)
    for change in changes:
        console().print(str(change), highlight=False, soft_wrap=True)
    return mended
