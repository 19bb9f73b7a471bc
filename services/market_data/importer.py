"""Files into the stores, one or a whole folder: recognised, checked, repaired on request, merged.

A file that is not imported changes nothing, and the others go on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from backtesting.candle_checks import Rows, check, faults, off_grid, put_on_grid, repair, suspicious, too_many
from backtesting.candles import Reading, candles_of
from backtesting.layouts import symbol_column
from backtesting.tables import ENDINGS, NotCandles, Table, read_table
from bot.candles import Candles, bar_name, iso
from bot.errors import BadCandles, Misconfigured, TradingError
from bot.market import Market
from services.market_data.file_names import FileKind, Named, name_of, pair_of
from services.market_data.funding import FundingStore, has_rates, read_funding
from services.market_data.store import Difference, SeriesName
from services.market_data.trades import is_trades, read_bars

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backtesting.candle_checks import OffGrid
    from services.market_data.store import CandleStore


@dataclass(frozen=True)
class Wanted:
    """What the user said of the files, where their names do not tell it, and what may be done to rows and store.

    `volume` is that of every bar (base units) of a file without one, `bar_ms` the length of bars that single trades are
    rolled up into, `now_ms` the time of the import, `kind` what they hold whatever their names say.
    """

    now_ms: int
    exchange: str | None = None
    market: Market | None = None
    symbol: str | None = None
    mend: bool = False
    strays: OffGrid | None = None
    volume: float | None = None
    bar_ms: int | None = None
    replace: bool = False
    kind: FileKind | None = None


@dataclass(frozen=True)
class Imported:
    """What one file brought: its series, its bars from first to last (ms), and what was changed and noticed."""

    path: Path
    series: SeriesName
    first: int
    last: int
    difference: Difference
    changes: list[Rows]
    notices: list[str]
    kind: FileKind = FileKind.CANDLES


@dataclass(frozen=True)
class Skipped:
    """A file that was not imported, and why. Only what was meant as candles is `failed`."""

    path: Path
    reason: str
    failed: bool
    faults: tuple[Rows, ...] = ()


class Faulty(BadCandles):
    """Candles with faulty rows, which are told with it."""

    def __init__(self, sentence: str, found: list[Rows]) -> None:
        super().__init__(sentence)
        self.found = found


def files_under(path: Path) -> list[Path]:
    """The file itself, or every file under the folder; raises Misconfigured when there is no table among them."""
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    if not any(ENDINGS.search(file.name) for file in found):
        raise Misconfigured(f"{path} holds no candle files; give a CSV, Parquet, Feather or JSON file, or a folder.")
    return found


def import_files(store: CandleStore, files: list[Path], wanted: Wanted) -> Iterator[Imported | Skipped]:
    """Import each file, or say why not; raises nothing for a single one of them."""
    for file in files:
        if not ENDINGS.search(file.name):
            yield Skipped(file, f"{file.suffix or 'such'} files hold no candles", failed=False)
            continue
        try:
            yield import_file(store, file, wanted, alone=False)
        except NotCandles as error:
            yield Skipped(file, _without_name(error, file), failed="--volume" in str(error))
        except Faulty as error:
            yield Skipped(file, _without_name(error, file), failed=True, faults=tuple(error.found))
        except TradingError as error:
            yield Skipped(file, _without_name(error, file), failed=True)


def import_file(store: CandleStore, path: Path, wanted: Wanted, *, alone: bool = True) -> Imported:
    """Read, check and store one file; what the user said overrules its name where it is imported alone.

    Rates of funding go into their own store, single trades are rolled up into bars. Raises Misconfigured, NotCandles
    or Faulty, and then stores nothing of it.
    """
    named = name_of(path)
    named = replace(named, kind=wanted.kind or named.kind)
    if named.kind not in (FileKind.CANDLES, FileKind.FUNDING, FileKind.TRADES):
        raise NotCandles(f"{path.name} holds {named.kind}.")
    try:
        table = read_table(path) if named.kind is FileKind.CANDLES else None
        if table is not None:
            named = _told_inside(named, table)
        named = _completed(named, wanted, alone=alone)
        if named.kind is FileKind.FUNDING:
            return _import_funding(store, path, named, wanted)
        if named.kind is FileKind.TRADES or table is None:
            return _import_trades(store, path, named, wanted)
        reading = candles_of(table, named.bar_ms, wanted.volume, wanted.now_ms)
        place = _place(path, named)
        candles, changes = _sound(reading, wanted)
        return _stored(store, path, place, candles, wanted, changes, [*reading.notices, *suspicious(candles)])
    except Faulty as error:
        raise Faulty(f"{path}: {error}", error.found) from None
    except Misconfigured as error:
        text = str(error)
        raise type(error)(text if str(path) in text or path.name in text else f"{path}: {text}") from None


def _stored(
    store: CandleStore,
    path: Path,
    place: tuple[str, str, str],
    candles: Candles,
    wanted: Wanted,
    changes: list[Rows],
    notices: list[str],
) -> Imported:
    """Write sound candles; raises Misconfigured where stored bars would change without `replace`.

    The last bar is left out where it had not closed at the time of the import: what it holds will change.
    """
    if len(candles) > 1 and candles.ts[-1] + candles.bar_ms > wanted.now_ms:
        candles = candles.rows(slice(0, -1))
        notices = [*notices, "the last bar has not closed yet and is left out"]
    difference = store.difference(*place, candles)
    if difference.changed and not wanted.replace:
        raise Misconfigured(
            f"{difference.changed} of its {len(candles)} bars differ from those stored, first at "
            f"{iso(difference.first_changed or 0)}, and {difference.new} are new; nothing was stored, give --replace "
            "to take the file's."
        )
    series, _ = store.write(*place, candles)
    return Imported(path, series, int(candles.ts[0]), int(candles.ts[-1]), difference, changes, notices)


def _import_funding(store: CandleStore, path: Path, named: Named, wanted: Wanted) -> Imported:
    """Rates of a perpetual contract, which spot never has."""
    series = SeriesName(*_place(path, replace(named, market=Market.LINEAR)))
    history = read_funding(path)
    if not len(history):
        raise NotCandles("it holds no rate.")
    written = FundingStore(store.data_dir).write(series, history, replace=wanted.replace)
    difference = Difference(written.new, written.equal, written.changed)
    return Imported(path, series, int(history.ts[0]), int(history.ts[-1]), difference, [], [], FileKind.FUNDING)


def _import_trades(store: CandleStore, path: Path, named: Named, wanted: Wanted) -> Imported:
    """Bars of the wanted length from single trades."""
    if wanted.bar_ms is None:
        raise Misconfigured(
            f"{path.name} holds single trades; give --bar, such as 1s or 1m, to roll them up into bars."
        )
    place = _place(path, named)
    rolled = read_bars(path, wanted.bar_ms)
    said = f"{rolled.trades:,} trades; {rolled.silent:,} bars had none, {rolled.cut} at the ends are left out"
    return _stored(store, path, place, rolled.candles, wanted, [], [said])


def _told_inside(named: Named, table: Table) -> Named:
    """Add what the file itself says of its symbol and market, where its name does not."""
    inside = pair_of(table.facts.get("symbol") or symbol_column(table.frame) or "")
    kind = named.kind
    if table.named and is_trades(table.frame.columns):
        kind = FileKind.TRADES
    elif table.named and has_rates(table.frame.columns):
        kind = FileKind.FUNDING
    category = table.facts.get("category")
    if category == "inverse":
        raise NotCandles(f"it holds {FileKind.INVERSE}.")
    market = Market(category) if category in tuple(Market) else None
    return replace(
        named,
        kind=kind,
        symbol=named.symbol or (inside.symbol if inside else None),
        market=named.market or market or (inside.market if inside else None),
    )


def _completed(named: Named, wanted: Wanted, *, alone: bool) -> Named:
    """Add what the user said; in a folder it fills only what a file leaves open."""
    pair = pair_of(wanted.symbol) if wanted.symbol else None
    venue, symbol = wanted.exchange, pair.symbol if pair else wanted.symbol
    market = wanted.market or (pair.market if pair else None)
    if alone:
        return replace(named, venue=venue or named.venue, market=market or named.market, symbol=symbol or named.symbol)
    return replace(named, venue=named.venue or venue, market=named.market or market, symbol=named.symbol or symbol)


def _place(path: Path, named: Named) -> tuple[str, str, str]:
    """Venue, market and symbol; raises Misconfigured naming the options of what is not known."""
    options = {"exchange": named.venue, "market": named.market, "symbol": named.symbol}
    missing = [name for name, value in options.items() if value is None]
    if named.venue is None or named.market is None or named.symbol is None:
        given = " and ".join(f"--{one}" for one in missing)
        raise Misconfigured(f"{path.name} does not tell its {' and '.join(missing)}; give {given}.")
    return named.venue, str(named.market), named.symbol


def _sound(reading: Reading, wanted: Wanted) -> tuple[Candles, list[Rows]]:
    """Candles without a fault, and what was changed for it; raises Faulty."""
    candles = reading.candles
    changes: list[Rows] = []
    strays = int(off_grid(candles).sum())
    if strays and wanted.strays is None and (not wanted.mend or too_many(strays, len(candles))):
        raise Faulty(_off_grid_choice(candles, strays), faults(candles, wanted.now_ms))
    if wanted.strays == "align" or (wanted.strays and not wanted.mend):
        candles, changes = put_on_grid(candles, wanted.strays)
    if wanted.mend:
        candles, more = repair(candles, wanted.now_ms)
        changes += more
    try:
        check(candles, wanted.now_ms)
    except BadCandles as error:
        raise Faulty(str(error), faults(candles, wanted.now_ms)) from None
    if not len(candles):
        raise Faulty("no row is left after the repair; check the file.", faults(reading.candles))
    return candles, changes


def _off_grid_choice(candles: Candles, strays: int) -> str:
    bar, off = bar_name(candles.bar_ms), candles.ts[off_grid(candles)]
    first, last = iso(max(int(off[0]), 0)), iso(max(int(off[-1]), 0))
    return (
        f"{strays} of {len(candles)} rows, from {first} to {last}, do not begin with a bar of {bar}; give --off-grid "
        f"drop to leave them out, or --off-grid align to move each back to the opening of the {bar} it lies in."
    )


def _without_name(error: TradingError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ").removeprefix(f"candles {path} ").removeprefix(f"{path.name} ")
