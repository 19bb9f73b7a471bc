"""Writes a file whole, or not at all."""

from __future__ import annotations

import atexit
import os
import secrets
from functools import partial
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write `text` beside the file and put it in its place: nobody finds half of it, an interruption leaves nothing."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    remove = partial(beside.unlink, missing_ok=True)
    atexit.register(remove)  # before it is made: an interruption at any moment finds what to remove
    try:
        beside.write_text(text, encoding="utf-8")
        put_in_place(beside, path)
    finally:
        remove()
        atexit.unregister(remove)


def put_in_place(partial: Path, path: Path) -> None:
    """Let a file that is written take the place of another, both on the disk: also a power loss leaves one of them."""
    _to_disk(partial)
    partial.replace(path)
    _to_disk(path.parent)


def made_folder(path: Path) -> Path:
    """Make a folder with those above it, each known to the disk."""
    if not path.exists():
        made_folder(path.parent)
        path.mkdir(exist_ok=True)
        _to_disk(path.parent)
    return path


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str, *, replace: bool = True) -> None:
    """Write a file whole or not at all, for its owner's eyes alone; one that is there stays unless it is replaced."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
        if replace:
            put_in_place(partial, path)
        else:
            _to_disk(partial)
            _link(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _link(partial: Path, path: Path) -> None:
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        return


def write_whole_bytes(path: Path, content: bytes) -> None:
    """Write a file of bytes whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        beside.write_bytes(content)
        put_in_place(beside, path)
    finally:
        beside.unlink(missing_ok=True)
