"""`traderagent purge`: delete what is kept and not needed: databases from before bots shared one, old batches."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from bot.errors import Misconfigured
from services.command_line.console import console
from services.settings import Settings

SHOWN = 10  # places


def purge(
    batches: Annotated[
        float | None,
        typer.Option(help="figures and summaries of batches that are older instead", metavar="DAYS", min=0),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="without asking")] = False,
) -> None:
    """Delete for good the former databases of bots, whose rows lie in the shared one, or old batches.

    A bot's start moves its rows and keeps what it moved from. Databases that are not moved yet are left alone. A run of
    a batch whose figures are gone is played again when it is asked for.
    """
    from services.storage.embedded import set_aside

    data_dir = Settings().data_dir
    places = set_aside(data_dir) if batches is None else _old_batches(data_dir, batches)
    if not places:
        console().print("No former databases are kept." if batches is None else "No batch is that old.")
        return
    for place in places[:SHOWN]:
        console().print(f"{place}  {_size(place) / 1e6:,.1f} MB", soft_wrap=True, highlight=False, markup=False)
    if len(places) > SHOWN:
        console().print(f"and {len(places) - SHOWN:,} more, {sum(map(_size, places)) / 1e6:,.1f} MB in all")
    if not yes:
        if not sys.stdin.isatty():
            raise Misconfigured(f"deleting {len(places)} places asks first, and nobody is there to answer; give --yes.")
        if not typer.confirm(f"Delete {'it' if len(places) == 1 else 'them'}?"):
            raise typer.Exit(1)
    for place in places:
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    console().print("deleted")


def _old_batches(data_dir: Path, days: float) -> list[Path]:
    """Folders of batches, and files of finished runs, that were written longer ago."""
    before = time.time() - days * 86_400
    folder = data_dir / "batches"
    found = [*(one for one in folder.glob("*") if one.is_dir() and one.name != "runs"), *folder.glob("runs/*.json")]
    return sorted(one for one in found if one.stat().st_mtime < before)


def _size(place: Path) -> int:
    files = place.rglob("*") if place.is_dir() else (place,)
    return sum(file.stat().st_size for file in files if file.is_file())
