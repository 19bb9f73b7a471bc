"""Files of sessions: a line for everything that a pair's core was told, asked for and was answered, while it lives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger()

KEPT = 3  # sessions of a pair, the newest
LARGEST = 16 << 20  # bytes of one


def session_file(folder: Path, symbol: str) -> Callable[[dict[str, Any]], None]:
    """Begin a session of a pair in `folder`, of which the newest stay; returns what takes its lines.

    A disk that is full, or a file that has grown too large, ends the record and nothing else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = sorted(int(one.stem.rsplit("-", 1)[1]) for one in folder.glob(f"{symbol}-*.jsonl"))
    for number in numbers[: max(len(numbers) - KEPT + 1, 0)]:
        (folder / f"{symbol}-{number}.jsonl").unlink(missing_ok=True)
    path = folder / f"{symbol}-{numbers[-1] + 1 if numbers else 1}.jsonl"
    path.touch(0o600)
    size = 0

    def write(line: dict[str, Any]) -> None:
        nonlocal size
        if size > LARGEST:
            return
        text = json.dumps(line) + "\n"
        size += len(text)
        try:
            with path.open("a", encoding="utf-8") as out:  # what is written survives a kill, and nothing stays open
                out.write(text)
        except OSError as error:
            log.warning("session_ends", pair=symbol, error=type(error).__name__, remedy="make room, and start again")
            size = LARGEST + 1
            return
        if size > LARGEST:
            log.info("session_ends", pair=symbol, size=size)

    return write
