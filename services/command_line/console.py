"""Where commands print: results on standard output, notes and progress on the error stream.

Rich is loaded when something is printed with it, so `--help` and an error do without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@cache
def console() -> Console:
    """Return the console of results."""
    from rich.console import Console

    return Console()


@cache
def notes() -> Console:
    """Return the console of what is no result."""
    from rich.console import Console

    return Console(stderr=True)


@contextmanager
def progress(what: str, place: Console | None = None) -> Iterator[Callable[..., None]]:
    """Show a bar with the time left; yield a function that takes the share done, 0 to 1, and what is said behind it.

    `place`: the console that prints something meanwhile, if one does.
    """
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    place = place or notes()
    with Progress(*columns, console=place, transient=True, disable=not place.is_terminal) as bar:
        task = bar.add_task("", total=1.0, said="")
        yield lambda share, said="": bar.update(task, completed=share, said=said)
