"""`traderagent validate`: whether a run may be believed, by automatic checks, criteria, labels and a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.errors import Misconfigured, cut
from services.command_line.console import console
from services.settings import Settings
from services.whole_file import write_whole

if TYPE_CHECKING:
    from backtesting.validation import QualityReport

COLOURS = {"pass": "green", "review_required": "yellow", "fail": "red", "skipped": "yellow"}


def validate(
    run: Annotated[str, typer.Argument(help="a run directory, or a name as `runs list` shows it", metavar="RUN")],
    criteria: Annotated[
        Path | None,
        typer.Option(help="YAML file of what a run must reach; docs/validation.md has the defaults", metavar="FILE"),
    ] = None,
    confirm: Annotated[
        Path | None, typer.Option(help="answers that the page of sampled trades has saved", metavar="FILE")
    ] = None,
    preset: Annotated[
        Path | None, typer.Option(help="write the run's config as a preset that says how it was judged", metavar="FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Check a run: faults in its trades, criteria, labelled zones, and trades that a person confirms.

    The report, validation.json, and the page of trades to confirm, validation.html, are kept in the run directory.
    Exit code 1 when the run fails.
    """
    if preset is not None and preset.exists():
        raise Misconfigured(f"preset is {cut(str(preset))}, which exists; choose another file.")
    from services.app.criteria import read_criteria
    from services.app.validation import run_folder, validate_run

    data_dir = Settings().data_dir
    folder = run_folder(data_dir, run)
    report = validate_run(folder, data_dir, read_criteria(criteria), confirm)
    if preset is not None:
        write_whole(preset, _preset_text(folder, report))
    if as_json:
        print(json.dumps(report.document(), indent=2, ensure_ascii=False))  # noqa: T201, for other programs
    else:
        _show(report, folder)
    raise typer.Exit(1 if report.status == "fail" else 0)


def _preset_text(folder: Path, report: QualityReport) -> str:
    from services.app.preset_library import today

    origin = f"# The config of run {report.run_id}.\n# Validation: {report.status.value} on {today()}.\n"
    said = "".join(f"#   {one}.\n" for one in report.issues)
    return origin + said + (folder / "config.yaml").read_text(encoding="utf-8")


def _show(report: QualityReport, folder: Path) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("check", "", "what was found", box=None)
    for one in report.outcomes:
        figure = "" if one.figure is None else f"{one.figure:.4g}"
        said = escape("; ".join(one.sentences) or figure)
        table.add_row(one.name, f"[{COLOURS[one.status]}]{one.status.value}[/]", said)
    console().print(table)
    console().print(f"run {report.run_id}: {report.status.value}", highlight=False)
    if report.visual_check_url is not None:
        console().print(f"trades to confirm: {folder / 'validation.html'}", soft_wrap=True, highlight=False)
