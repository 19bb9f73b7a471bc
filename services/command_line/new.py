"""`traderagent new`: files to begin with, that work as they are."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from bot.errors import Misconfigured, shown
from coordinator.config_file import AUTO, BUILT_IN, KEYS
from services.command_line.console import console

app = typer.Typer(help="Write files to begin with.", no_args_is_help=True)
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@app.callback()
def _group() -> None:
    """Write files to begin with."""


@app.command("strategy")
def strategy(
    name: Annotated[str, typer.Argument(help="of the strategy and its file, such as dip_buyer")],
    folder: Annotated[Path, typer.Option(help="where the files go", metavar="FOLDER")] = Path(),
) -> None:
    """Write a small strategy of your own, NAME.py, and its test, test_NAME.py.

    Files that are there already are not touched.
    """
    _refuse(name)
    constant = name.upper()
    model = "".join(part.capitalize() for part in name.split("_"))
    targets = {folder / f"{name}.py": "strategy.txt", folder / f"test_{name}.py": "strategy_test.txt"}
    there = next((path for path in targets if path.exists()), None)
    if there is not None:
        raise Misconfigured(f"{there} is there already; choose another name, or move it away.")
    if not folder.is_dir():
        raise Misconfigured(f"folder {shown(str(folder))} does not exist; make it first.")
    for path, template in targets.items():
        text = files("services.command_line").joinpath("templates", template).read_text(encoding="utf-8")
        for word, value in (("@NAME@", name), ("@CONSTANT@", constant), ("@MODEL@", model)):
            text = text.replace(word, value)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    reference = f"{folder / f'{name}.py'}:{constant}"
    said = (
        f"wrote {' and '.join(str(path) for path in targets)}; next:",
        f"  pytest {folder / f'test_{name}.py'}",
        f"  traderagent check {reference}",
        f"  traderagent backtest --strategy {reference} --pair BTCUSDT",
    )
    console().print("\n".join(said), markup=False, highlight=False, soft_wrap=True)


def _refuse(name: str) -> None:
    """Raise Misconfigured for a name that a strategy's file, section or constant cannot have."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise Misconfigured(f"name {shown(name)} is no word of small letters, digits and _; write it like dip_buyer.")
    if name in (*BUILT_IN, AUTO, *KEYS):
        raise Misconfigured(f"name {name} means something else in a config; choose another, such as my_{name}.")
    from bot.sources import is_provided

    if is_provided(name) or is_provided(f"test_{name}"):
        raise Misconfigured(
            f"name {name} is that of a module of Python or of a package; choose another, such as my_{name}."
        )
