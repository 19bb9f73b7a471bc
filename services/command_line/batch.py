"""`traderagent batch`: strategies on many pairs, timeframes and periods in one go, and a summary of all runs."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut
from services.command_line.console import console, notes, progress
from services.command_line.whole_file import write_whole
from services.settings import Settings

if TYPE_CHECKING:
    from search.batch import BatchRun, FailedRun, FinishedRun
    from services.app.batch import BatchPlayer, PlayedRun

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
    from services.app.batch import BatchPlayer

    began, data_dir = time.monotonic(), Settings().data_dir
    asked = read_batch(source)
    places = RunFolders((out or data_dir) / "runs") if runs else None
    player = BatchPlayer(data_dir, candles or asked.candles, None if places is None else places.misses)
    outcomes, reused = _played(asked.runs, player, places, workers)
    whole = summary(outcomes, (time.monotonic() - began) / 60.0)
    folder = out or data_dir / "batches" / whole["batch_id"]
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / SUMMARY_FILE, text)
    if as_json:
        print(text, end="")  # noqa: T201, for programs
    else:
        _show(whole, reused, folder / SUMMARY_FILE)
    if whole["failed"]:
        raise typer.Exit(1)


class RunFolders:
    """Run directories of a batch, named by rule, pair and run id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, run: BatchRun, run_id: str) -> Path:
        """Where the directory of a run lies."""
        rule = re.sub(r"[^A-Za-z0-9._-]+", "-", run.rule)
        return self.folder / f"{rule}-{run.symbol}-{run_id}"

    def misses(self, run: BatchRun, run_id: str) -> bool:
        """Whether a run has no directory yet."""
        return not (self.path(run, run_id) / "result.json").exists()

    def write(self, played: PlayedRun) -> None:
        """Write the directory of a run that has just been played, whole or not at all."""
        from backtesting.reports.run_directory import write_run

        if played.result is not None:
            write_run(played.result, self.path(played.run, played.figures["run_id"]))


def _played(
    runs: tuple[BatchRun, ...], player: BatchPlayer, places: RunFolders | None, workers: int
) -> tuple[list[FinishedRun | FailedRun], int]:
    """Play every run and keep what came of it; returns outcomes in the order of the runs, and how many were reused."""
    from services.app.batch import play_all

    began, reused, failed = time.monotonic(), 0, 0
    found: dict[int, FinishedRun | FailedRun] = {}
    with progress("playing") as show:
        for done, outcome in enumerate(play_all(runs, player.play, workers), 1):
            one = _kept(outcome, player, places)
            found[id(one.run)] = one
            failed += hasattr(one, "reason")
            reused += bool(getattr(outcome, "reused", False))
            rate = done / max(time.monotonic() - began, 1e-3)
            show(done / len(runs), f"{done:,} of {len(runs):,}, {rate:,.1f}/s, {failed:,} failed")
    return [found[id(run)] for run in runs], reused


def _kept(outcome: PlayedRun | FailedRun, player: BatchPlayer, places: RunFolders | None) -> FinishedRun | FailedRun:
    """Keep the figures of a run that was played, and its directory where it is wanted."""
    from search.batch import FailedRun, FinishedRun

    if isinstance(outcome, FailedRun):
        return _told(outcome)
    if not outcome.reused:
        try:
            if places is not None:
                places.write(outcome)
        except Misconfigured as error:  # something else lies there
            return _told(FailedRun(outcome.run, str(error)))
        path = player.finished.path(outcome.figures["run_id"])
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(outcome.figures))
    return FinishedRun(outcome.run, outcome.figures)


def _told(failed: FailedRun) -> FailedRun:
    """Name a run that failed on the error stream."""
    notes().print(f"failed: {failed.run.label}: {failed.reason}", soft_wrap=True, highlight=False, markup=False)
    return failed


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
