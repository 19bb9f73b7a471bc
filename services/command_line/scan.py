"""`traderagent scan`: the pairs of the store, ranked by what a config would have earned beyond its beta of late."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.errors import Misconfigured, cut
from bot.market import Market
from coordinator.config_file import config_values, names_of_pairs
from services.command_line.classify import Exchange, Pairs
from services.command_line.console import console, notes, progress
from services.settings import Settings
from services.whole_file import write_whole

if TYPE_CHECKING:
    from search.batch import BatchRun, FailedRun
    from search.pair_scan import ScannedPair

WIDE = 130  # columns of a terminal that shows all figures
FIGURES = {"return %": "total_return_pct", "holding %": "benchmark_return_pct", "drawdown %": "max_drawdown_pct"}


def scan(
    config: Annotated[
        Path | None, typer.Argument(help="a config; its pairs and period are left aside [default: trend]")
    ] = None,
    pair: Pairs = None,
    exchange: Exchange = None,
    market: Annotated[Market | None, typer.Option(help="spot or linear")] = None,
    days: Annotated[float, typer.Option(help="how many of the last days", min=2, max=3650, metavar="DAYS")] = 90.0,
    write: Annotated[
        Path | None, typer.Option(help="folder to write a config for each pair into", metavar="FOLDER")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="write over configs that are there")] = False,
    workers: Annotated[int, typer.Option(help="threads that play", metavar="NUMBER", min=1, max=256)] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Play a config on the last days of each pair, by the pessimistic fill rules, and rank pairs by alpha.

    Says of each alpha where nine in ten resamples of its days lie, and whether that is distinguishable from nothing.
    Exit code 1 when a pair could not be played.
    """
    names = names_of_pairs(",".join(pair or []))
    values = config_values(config or {"strategy": "trend"})  # a mistake is told before the rest is loaded
    from search.pair_scan import said_of_all
    from services.app.scan import proposal_of, runs_of
    from services.app.stored_pairs import stored_pairs
    from services.market_data.store import CandleStore

    data_dir = Settings().data_dir
    series = stored_pairs(CandleStore(data_dir), names, exchange, market)
    runs = runs_of(values, series, days)
    files = {} if write is None else _files(write, runs, replace=replace)
    found, refused = _scanned(runs, data_dir, workers)
    for one in found:
        if write is not None:
            write.mkdir(parents=True, exist_ok=True)
            path = files[one.symbol, one.exchange, one.market]
            write_whole(path, proposal_of(one, runs, days, f"traderagent backtest {path.name}"))
    failed = [{"run": one.run.label, "symbol": one.run.symbol, "reason": one.reason} for one in refused]
    if as_json:
        rows = [one.row() for one in found]
        print(json.dumps({"pairs": rows, "failed": failed, "verdict": said_of_all(found)}))  # noqa: T201, for programs
    else:
        _show(found)
        console().print(f"- {said_of_all(found)}", highlight=False, soft_wrap=True)
        if write is not None:
            console().print(f"{write}: {len(found):,} configs", highlight=False, soft_wrap=True)
    if refused:
        raise typer.Exit(1)


def _scanned(runs: list[BatchRun], data_dir: Path, workers: int) -> tuple[list[ScannedPair], list[FailedRun]]:
    from services.app.scan import scan_of

    def failed(outcome: FailedRun) -> None:
        said = f"failed: {outcome.run.symbol} {outcome.run.rule}: {outcome.reason}"
        notes().print(said, soft_wrap=True, highlight=False, markup=False)

    with progress("playing") as show:
        return scan_of(runs, data_dir, workers, lambda done, all_: show(done / all_, f"{done:,} of {all_:,}"), failed)


def _files(folder: Path, runs: list[BatchRun], *, replace: bool) -> dict[tuple[str, str, str], Path]:
    """Where the config of each pair goes; raises Misconfigured for one that is there."""
    symbols = [run.symbol for run in runs]
    files = {}
    for run in runs:
        venue, market = run.values["exchange"], run.values["market"]
        name = run.symbol if symbols.count(run.symbol) == 1 else f"{run.symbol}-{venue}-{market}"
        files[run.symbol, venue, market] = folder / f"{name}.yaml"
    there = next((path for path in files.values() if path.exists()), None)
    if there is not None and not replace:
        raise Misconfigured(f"{cut(str(there))} exists; choose another folder, or give --replace.")
    return files


def _show(found: list[ScannedPair]) -> None:
    from rich.table import Table

    table, wide = Table(box=None), console().width >= WIDE
    for name in ("pair", "venue"):
        table.add_column(name, no_wrap=True)
    for name in ("alpha % a year", "5 to 95 %", "beta", *(FIGURES if wide else ())):
        table.add_column(name, justify="right")
    table.add_column("")
    for one in found:
        alpha = one.alpha
        known = ("", "") if alpha is None else (f"{alpha.value:+,.1f}", f"{alpha.low:+,.1f} to {alpha.high:+,.1f}")
        beta = "" if one.beta is None else f"{one.beta:.2f}"
        numbers = (f"{one.figures[name]:,.2f}" for name in (FIGURES.values() if wide else ()))
        table.add_row(one.symbol, f"{one.exchange} {one.market}", *known, beta, *numbers, one.words)
    console().print(table)
