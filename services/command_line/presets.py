"""`traderagent presets`: whole configs that say where they come from and until when they stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut
from services.command_line.console import console, notes
from services.settings import Settings
from services.whole_file import write_whole

if TYPE_CHECKING:
    from services.app.preset_library import StoredPreset

app = typer.Typer(help="Presets, the program's and your own: list, show, export, expire.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="a preset's name, as `presets list` has it", metavar="NAME")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command("list")
def list_presets(as_json: AsJson = False) -> None:
    """List presets: what they trade, where they come from, and whether they still stand."""
    from services.app.preset_library import own_folder, presets_of

    found = presets_of(Settings().data_dir)
    if as_json:
        print(json.dumps([_row(one) for one in found]))  # noqa: T201, for programs
        return
    from rich.table import Table

    table = Table(box=None)
    for name in ("preset", "whose", "strategy", "pairs", "trials", "validation", "state"):
        table.add_column(name, no_wrap=name == "preset", justify="right" if name == "trials" else "left")
    for one in found:
        row = _row(one)
        trials = "" if one.trials is None else f"{one.trials:,}"
        style = "dim" if row["expired"] or one.fault else None
        of = (row["whose"], row["strategy"] or "", " ".join(row["pairs"]))
        cells = (*of, trials, one.validation or "", row["state"])
        table.add_row(one.name, *cells, style=style)
    console().print(table if found else f"no preset; put one into {own_folder(Settings().data_dir)}")


@app.command("show")
def show(name: Name, as_json: AsJson = False) -> None:
    """Print a preset, and say when it has expired."""
    one = _named(name)
    if as_json:
        print(json.dumps({**_row(one), "comments": one.comments, "text": one.text}))  # noqa: T201, for programs
        return
    print(one.text, end="" if one.text.endswith("\n") else "\n")  # noqa: T201, as it is in the file
    _warn(one)


@app.command("export")
def export(
    name: Name,
    file: Annotated[Path, typer.Argument(help="file to write", metavar="FILE")],
    replace: Annotated[bool, typer.Option("--replace", help="write over a file that is there")] = False,
) -> None:
    """Write a preset into a file for `backtest`, `run` and `demo`, its comments included."""
    one = _named(name)
    if file.is_dir():
        raise Misconfigured(f"{cut(str(file))} is a folder; name a file in it.")
    if file.exists() and not replace:
        raise Misconfigured(f"{cut(str(file))} exists; choose another file, or give --replace.")
    write_whole(file, one.text)
    _warn(one)
    console().print(f"{file}: next: traderagent backtest {file}", soft_wrap=True, highlight=False)


@app.command("expire")
def expire(name: Name) -> None:
    """Mark a preset as expired; of one of the program's, a marked copy among your own."""
    from services.app.preset_library import marked_text, own_folder, today

    one = _named(name)
    if one.marked is not None:
        console().print(f"{name} was marked as expired on {one.marked}", highlight=False)
        return
    folder = own_folder(Settings().data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{one.name}.yaml", marked_text(one, today()))
    console().print(f"{name} is marked as expired: {folder / f'{one.name}.yaml'}", soft_wrap=True, highlight=False)


def _named(name: str) -> StoredPreset:
    from services.app.preset_library import preset_named

    return preset_named(Settings().data_dir, name)


def _row(one: StoredPreset) -> dict[str, Any]:
    from services.app.preset_library import today

    pairs = one.values.get("pairs") or one.values.get("pair") or []
    return {
        "name": one.name,
        "path": str(one.path),
        "whose": "own" if one.own else "program",
        "strategy": one.values.get("strategy"),
        "pairs": [pairs] if isinstance(pairs, str) else [str(pair) for pair in pairs],
        "origin": one.origin,
        "trials": one.trials,
        "validation": one.validation,
        "expires": None if one.expires is None else str(one.expires),
        "expired": one.expired(today()),
        "state": one.state(today()),
    }


def _warn(one: StoredPreset) -> None:
    from services.app.preset_library import today

    if one.expired(today()):
        said = f"note: {one.name} {one.state(today())}; markets change: search or scan again"
        notes().print(said, highlight=False, soft_wrap=True, markup=False)
