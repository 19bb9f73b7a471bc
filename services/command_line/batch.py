"""`traderagent batch`: strategies on many pairs, timeframes and periods in one go, and a summary of all runs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut
from services.command_line.console import console, notes, progress
from services.settings import Settings
from services.whole_file import write_whole

if TYPE_CHECKING:
    from search.batch import Batch, FailedRun
    from services.app.batch import BatchPlayer, PlayedBatch, RunFolders

SUMMARY_FILE = "summary.json"
SHOWN = 10  # runs in the table
WIDE = 110  # columns of a terminal that shows all figures
COLUMNS = {
    "return %": "total_return_pct",
    "beta": "beta",
    "alpha %": "alpha_pct",
    "drawdown %": "max_drawdown_pct",
    "win rate %": "winrate",
    "trades": "trades",
}
NARROW = ("return %", "alpha %", "drawdown %")


def batch(
    source: Annotated[Path, typer.Argument(help="YAML file: pairs, timeframes, periods, strategies", metavar="BATCH")],
    candles: Annotated[
        Path | None, typer.Option(help="a folder of candle files instead of the store", metavar="FOLDER")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for summary.json [default: in the data directory]", metavar="FOLDER")
    ] = None,
    workers: Annotated[int, typer.Option(help="threads that play", metavar="NUMBER", min=1, max=256)] = 4,
    runs: Annotated[bool, typer.Option("--runs", help="write a run directory for each run")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print summary.json")] = False,
) -> None:
    """Play every strategy on every pair, timeframe and period of a file, each run by itself.

    A run that fails is named with its reason and stops no other. Runs that were finished before on the same inputs, by
    the same code, are not played again. Exit code 0 when all completed, 1 when some failed, 2 for bad input.
    """
    from coordinator.config_file import read_values

    read_values(source)  # a file that cannot be read is told before the rest is loaded
    if out is not None and out.exists() and not out.is_dir():
        raise Misconfigured(f"out is {cut(str(out))}, which is a file; name a folder.")
    from search.batch import read_batch, summary
    from services.app.batch import BatchPlayer, RunFolders
    from services.app.criteria import judged_by_of

    began, data_dir = time.monotonic(), Settings().data_dir
    asked = read_batch(source)
    places = RunFolders((out or data_dir) / "runs") if runs else None
    judged_by = judged_by_of(asked.validation)
    player = BatchPlayer(data_dir, candles or asked.candles, None if places is None else places.misses, judged_by)
    played = _played(asked, player, places, workers)
    whole = summary(played.outcomes, (time.monotonic() - began) / 60.0)
    folder = out or data_dir / "batches" / whole["batch_id"]
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / SUMMARY_FILE, text)
    if as_json:
        print(text, end="")  # noqa: T201, for programs
    else:
        _show(whole, played.reused, folder / SUMMARY_FILE)
    if whole["failed"]:
        raise typer.Exit(1)


def _told(failed: FailedRun) -> None:
    """Name a run that failed on the error stream."""
    notes().print(f"failed: {failed.run.label}: {failed.reason}", soft_wrap=True, highlight=False, markup=False)


def _played(asked: Batch, player: BatchPlayer, places: RunFolders | None, workers: int) -> PlayedBatch:
    """Play every run, and show how far it is."""
    from services.app.batch import play_batch

    began = time.monotonic()
    with progress("playing") as show:

        def told(done: int, total: int, failed: int) -> None:
            rate = done / max(time.monotonic() - began, 1e-3)
            show(done / total, f"{done:,} of {total:,}, {rate:,.1f}/s, {failed:,} failed")

        return play_batch(asked.runs, player, workers, told, places, _told)


def _show(whole: dict[str, Any], reused: int, path: Path) -> None:
    from rich.table import Table

    said, rows = console(), whole["individual_results"]
    if rows:
        table, columns = Table(box=None), list(COLUMNS if said.width >= WIDE else NARROW)
        for name in ("rule", "pair", "timeframe", "period"):
            table.add_column(name, no_wrap=True)
        for name in columns:
            table.add_column(name, justify="right")
        for row in sorted(rows, key=lambda row: (-row["total_return_pct"], row["run_id"]))[:SHOWN]:
            names = (row["rule"], row["symbol"], row["timeframe"] or "own", row["period"])
            table.add_row(*names, *(_number(row[COLUMNS[name]]) for name in columns))
        said.print(table)
    line = f"{whole['completed']:,} of {whole['total_runs']:,} runs completed, {reused:,} of them before"
    said.print(f"{line}; {whole['failed']:,} failed, batch {whole['batch_id']}", soft_wrap=True, highlight=False)
    said.print(f"summary: {path}", soft_wrap=True, highlight=False)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
