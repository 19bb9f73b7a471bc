"""`traderagent runs`: the run directories of backtests in the data directory: list, open, delete."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bot.errors import Misconfigured, cut, shown, suggestion
from services.command_line.console import console
from services.settings import Settings

app = typer.Typer(help="Runs of backtests: list, open, delete.", no_args_is_help=True, rich_markup_mode=None)
MARKER = "result.json"
REPORT = "report.html"

Names = Annotated[list[str], typer.Argument(help="names, as `runs list` shows them")]


@app.command("list")
def list_() -> None:
    """Show the runs that are kept, the newest first."""
    from datetime import UTC, datetime

    from rich.table import Table

    table = Table("run", "strategy", "pairs", "from", "to", "return %", "drawdown %", "written", box=None)
    for folder in _runs():
        document = _document(folder)
        metrics = document.get("metrics", {})
        pairs = document.get("pairs") or [document.get("pair", "")]
        numbers = (_number(metrics.get(key)) for key in ("total_return_pct", "max_drawdown_pct"))
        period = (cut(str(document.get(key, metrics.get(other, ""))), 10) for key, other in PERIOD)
        written = datetime.fromtimestamp((folder / MARKER).stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M")
        table.add_row(folder.name, str(document.get("strategy", "")), ",".join(pairs[:3]), *period, *numbers, written)
    if not table.row_count:
        console().print("No runs are kept; `traderagent backtest` makes one.")
        return
    console().print(table)


PERIOD = (("from", "start"), ("to", "end"))


@app.command("open")
def open_(
    name: Annotated[str, typer.Argument(help="a name, as `runs list` shows it [default: the newest]")] = "",
) -> None:
    """Open a run's report in the browser, and say where it lies."""
    runs = _runs()
    if not runs:
        raise Misconfigured("no runs are kept; `traderagent backtest` makes one.")
    report = (_named(name) if name else runs[0]) / REPORT
    if not report.exists():
        raise Misconfigured(f"run {report.parent.name} has no {REPORT}; run it again.")
    console().print(str(report), soft_wrap=True, highlight=False, markup=False)
    if sys.stdout.isatty():
        typer.launch(str(report))


@app.command()
def delete(
    names: Names,
    yes: Annotated[bool, typer.Option("--yes", help="without asking")] = False,
) -> None:
    """Delete runs for good."""
    folders = [_named(name) for name in dict.fromkeys(names)]
    if not yes:
        if not sys.stdin.isatty():
            raise Misconfigured(f"deleting {len(folders)} runs asks first, and nobody is there to answer; give --yes.")
        if not typer.confirm(f"Delete {', '.join(one.name for one in folders)}?"):
            raise typer.Exit(1)
    for folder in folders:
        shutil.rmtree(folder)
        console().print(f"deleted {folder.name}", highlight=False, markup=False)


def _runs() -> list[Path]:
    """Run directories that are kept, the newest first."""
    found = [path.parent for path in (Settings().data_dir / "runs").glob(f"*/{MARKER}")]
    visible = [folder for folder in found if not folder.name.startswith(".")]
    return sorted(visible, key=lambda folder: ((folder / MARKER).stat().st_mtime, folder.name), reverse=True)


def _named(name: str) -> Path:
    """Return the run of this name, which lies in the data directory; raises Misconfigured."""
    known = {folder.name: folder for folder in _runs()}
    if name not in known:
        remedy = suggestion(name, known) if len(known) <= 1 else "`traderagent runs list` shows them"
        raise Misconfigured(f"run {shown(name)} is not kept; {remedy if known else 'there are none'}.")
    return known[name]


def _document(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> str:
    return f"{value:+.2f}" if isinstance(value, int | float) else "n/a"
