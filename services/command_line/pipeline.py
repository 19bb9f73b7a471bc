"""`traderagent pipeline`: from candles of many pairs to presets, and one page that says what they are worth."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut
from bot.market import Market
from coordinator.config_file import names_of_pairs
from services.command_line.console import console, notes, progress
from services.command_line.interrupt import run_loop
from services.command_line.jobs import Database
from services.settings import Settings
from services.whole_file import write_whole

if TYPE_CHECKING:
    from search.pipeline import PipelineQuestion
    from services.app.pipeline import PipelinePair, PipelineSource

SUMMARY_FILE, REPORT_FILE = "summary.json", "report.html"


def pipeline(
    folder: Annotated[
        Path | None, typer.Argument(help="candle files, named by their pair [default: the store]", metavar="FOLDER")
    ] = None,
    symbols: Annotated[
        list[str] | None, typer.Option(help="such as BTCUSDT,ETHUSDT [default: all]", metavar="PAIRS")
    ] = None,
    strategy: Annotated[str, typer.Option(help="grid, trend, dca or rules", metavar="NAME")] = "trend",
    objective: Annotated[
        str, typer.Option(help="figure or formula that ranks", metavar="FIGURE")
    ] = "information_ratio",
    last_candles: Annotated[
        int | None, typer.Option(help="only so many of the last ones", metavar="NUMBER", min=2)
    ] = None,
    exchange: Annotated[str | None, typer.Option(help="whose candles", metavar="VENUE")] = None,
    market: Annotated[Market | None, typer.Option(help="spot or linear")] = None,
    bar: Annotated[str | None, typer.Option(help="which files of a folder, such as 1h", metavar="LENGTH")] = None,
    capital: Annotated[float, typer.Option(help="of each pair, quote currency", metavar="AMOUNT")] = 10_000.0,
    max_drawdown: Annotated[
        float, typer.Option(help="abandon a pair without a variant that falls less, %", metavar="PCT", min=0, max=100)
    ] = 40.0,
    least_trades: Annotated[
        int, typer.Option(help="abandon a pair without a variant that trades so often", metavar="NUMBER", min=0)
    ] = 20,
    max_loss: Annotated[
        float, typer.Option(help="abandon a pair whose best loses more within the loss window, %", metavar="PCT", min=0)
    ] = 30.0,
    loss_days: Annotated[int, typer.Option(help="the loss window, days", metavar="DAYS", min=1, max=3650)] = 90,
    out: Annotated[Path, typer.Option(help="folder for presets, summary and report", metavar="FOLDER")] = Path(
        "pipeline"
    ),
    workers: Annotated[int, typer.Option(help="threads [default: processors]", metavar="NUMBER", min=0, max=256)] = 0,
    database: Database = "",
    replace: Annotated[bool, typer.Option("--replace", help="write over a finished one in the folder")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print summary.json")] = False,
) -> None:
    """Classify each pair, search the ranges of its class coarsely, then finely around the best, and stress the best.

    Writes a preset for each pair, summary.json and report.html. Pairs are taken one by one; one that is abandoned or
    cannot be played is named with its reason and stops no other. The same again goes on where it was interrupted. Exit
    code 0 when every pair could be played, 1 when some could not, 2 for bad input.
    """
    names = names_of_pairs(",".join(symbols or []))
    if (out / SUMMARY_FILE).exists() and not replace:
        raise Misconfigured(f"out: {cut(str(out / SUMMARY_FILE))} exists; choose another folder, or give --replace.")
    if out.exists() and not out.is_dir():
        raise Misconfigured(f"out is {cut(str(out))}, which is a file; name a folder.")
    if bar is not None and folder is None:
        raise Misconfigured(f"bar is {cut(bar)}, which chooses files of a folder; name a folder, or leave it out.")
    from search.pipeline import PipelineQuestion, pipeline_summary, strategy_with_ranges
    from search.report import pipeline_page
    from services.app.pipeline import refuse_question, sources_in_folder, sources_in_store

    limits = (max_drawdown, least_trades, loss_days, max_loss)
    question = PipelineQuestion(strategy_with_ranges(strategy), objective, capital, last_candles, *limits)
    data_dir, kind = Settings().data_dir, None if market is None else str(market)
    if folder is None:
        sources = sources_in_store(data_dir, names, exchange, kind)
    else:
        sources = sources_in_folder(folder, names, bar, exchange, kind)
    refuse_question(question, sources)
    began = time.monotonic()
    rows = _rows(question, sources, data_dir, database, workers, out)
    whole = pipeline_summary(question, rows, (time.monotonic() - began) / 60.0)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / REPORT_FILE, pipeline_page(whole))
    text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    write_whole(out / SUMMARY_FILE, text)
    if as_json:
        print(text, end="")  # noqa: T201, for programs
    else:
        _show(whole, out)
    if whole["failed"]:
        raise typer.Exit(1)


def _rows(
    question: PipelineQuestion,
    sources: list[PipelineSource],
    data_dir: Path,
    database: str,
    workers: int,
    out: Path,
) -> list[dict[str, Any]]:
    """Take every pair through the chain, and keep its preset as soon as it is there."""
    from services.app.pipeline import run_pipeline
    from services.logs import passwords, quieten
    from services.runtime.config import EMBEDDED

    quieten(secrets=passwords(database))
    began, rows = time.monotonic(), []
    with progress("pairs", notes()) as show:

        def told(number: int, share: float, said: str) -> None:
            show((number + share) / len(sources), f"{number + 1:,} of {len(sources):,}, {said}")

        async def run() -> None:
            async for one in run_pipeline(data_dir, question, sources, workers, told, database or EMBEDDED):
                _keep(one, out)
                rows.append(one.row)
                left = (time.monotonic() - began) / len(rows) * (len(sources) - len(rows))
                _note(one.row, f"{len(rows):,} of {len(sources):,}", left)

        run_loop(run())
    return rows


def _keep(one: PipelinePair, out: Path) -> None:
    """Write the preset of a pair; of one that came to none, take away what an earlier chain left there."""
    from coordinator.config import load_config

    path = out / "presets" / f"{one.name}.yaml"
    if one.preset is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, one.preset)
    _keep_test(one.row, load_config(path))


def _keep_test(row: dict[str, Any], config: Any) -> None:
    """Keep that the strategy of a preset was tested on the days held out."""
    from services.app.tested import FIGURES
    from services.command_line.tested import keep_test
    from services.storage.tested_runs import SESSION

    held = row["held_out"]
    if held["total_return_pct"] is not None:
        figures = {name: held[name] for name in FIGURES}
        keep_test(Settings().data_dir, config, (SESSION, row["sessions"]["fine"]), (held["from"], held["to"]), figures)


def _note(row: dict[str, Any], place: str, left: float) -> None:
    """Say on the error stream what came of a pair, and how long the others will take."""
    told = row["words"] if row["status"] == "finished" else row["reason"]
    kind = f" ({row['class']})" if row["class"] else ""
    rest = f"; about {left:,.0f} s left" if left >= 1.0 else ""
    line = f"{place} {row['symbol']}{kind}: {row['status']}: {told}{rest}"
    notes().print(line, soft_wrap=True, highlight=False, markup=False)


def _show(whole: dict[str, Any], out: Path) -> None:
    from rich.table import Table

    table = Table(box=None)
    for name in ("pair", "class"):
        table.add_column(name, no_wrap=True)
    for name in ("return %", "alpha %"):
        for part in ("in sample", "held out"):
            table.add_column(f"{name}\n{part}", justify="right")
    table.add_column("alpha % held out\n5 to 95 %", justify="right", no_wrap=True)
    for row in whole["pairs"]:
        if row["status"] == "finished":
            both = (row["in_sample"], row["held_out"])
            numbers = [part[name] for name in ("total_return_pct", "alpha_pct") for part in both]
            alpha = row["alpha_held_out"]
            interval = row["words"] if alpha is None else f"{alpha['low']:,.1f} to {alpha['high']:,.1f}"
            table.add_row(row["symbol"], row["class"], *map(_number, numbers), interval)
    said = console()
    if whole["finished"]:
        said.print(table)
    for sentence in whole["verdict"]:
        said.print(f"- {sentence}", highlight=False)
    said.print(f"{out / REPORT_FILE}: all pairs on a page", soft_wrap=True, highlight=False)
    if whole["finished"]:
        said.print(f"{out / 'presets'}: configs for backtest, run and demo", soft_wrap=True, highlight=False)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"
