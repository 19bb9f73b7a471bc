"""Writes a file whole, or not at all."""

from __future__ import annotations

import atexit
import os
from functools import partial
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write `text` beside the file and put it in its place: nobody finds half of it, an interruption leaves nothing."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    remove = partial(beside.unlink, missing_ok=True)
    atexit.register(remove)  # before it is made: an interruption at any moment finds what to remove
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        remove()
        atexit.unregister(remove)
