"""`traderagent purge`: delete the databases that bots had for themselves before they shared one."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from bot.errors import Misconfigured
from services.command_line.console import console
from services.settings import Settings


def purge(yes: Annotated[bool, typer.Option("--yes", help="without asking")] = False) -> None:
    """Delete for good the former databases of bots, whose rows lie in the shared one.

    A bot's start moves its rows and keeps what it moved from. Databases that are not moved yet are left alone.
    """
    from services.storage.embedded import set_aside

    folders = set_aside(Settings().data_dir)
    if not folders:
        console().print("No former databases are kept.")
        return
    for folder in folders:
        console().print(f"{folder}  {_size(folder) / 1e6:,.0f} MB", soft_wrap=True, highlight=False, markup=False)
    if not yes:
        if not sys.stdin.isatty():
            raise Misconfigured(
                f"deleting {len(folders)} databases asks first, and nobody is there to answer; give --yes."
            )
        if not typer.confirm(f"Delete {'it' if len(folders) == 1 else 'them'}?"):
            raise typer.Exit(1)
    for folder in folders:
        shutil.rmtree(folder)
    console().print("deleted")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
