"""Files of sessions: a line for everything that a pair's core was told, asked for and was answered, while it lives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import structlog

from bot.errors import Misconfigured

log = structlog.get_logger()

KEPT = 3  # sessions of a pair, the newest
LARGEST = 64 << 20  # bytes of one: some two months of a pair


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


def sessions_of(folder: Path) -> dict[str, list[Path]]:
    """List the sessions in a folder by pair, the oldest first."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in folder.glob("*-*.jsonl"):
        pair, _, number = path.stem.rpartition("-")
        if number.isdecimal():
            found.setdefault(pair, []).append((int(number), path))
    return {pair: [path for _, path in sorted(found[pair])] for pair in sorted(found)}


def newest_session(data_dir: Path, bot: str, pair: str) -> Path:
    """Find the newest session of a pair, which says what the pair is made of; raises Misconfigured without one."""
    files = sessions_of(data_dir / "bots" / bot / "sessions").get(pair, [])
    if not files:
        raise Misconfigured(
            f"bot {bot!r} keeps no session of {pair}, which says what the pair is made of; it does with runtime: local "
            "and bot.sessions: true."
        )
    return files[-1]


def read_session(file: Path, progress: Callable[[float], None] = lambda _share: None) -> Iterator[dict[str, Any]]:
    """Read a session line by line; a last line that a kill has cut off is left out. Raises Misconfigured."""
    broken, done = 0, 0
    try:
        size = max(file.stat().st_size, 1)
        with file.open("rb") as lines:
            for number, text in enumerate(lines, 1):
                if broken:
                    raise Misconfigured(f"session {file} is damaged in line {broken}; take another file.")
                done += len(text)
                if number % 500 == 0:
                    progress(done / size)
                try:
                    line = json.loads(text)
                except ValueError:
                    line = None
                if isinstance(line, dict):
                    yield line
                else:
                    broken = number
    except OSError as error:
        raise Misconfigured(
            f"session {file} cannot be read ({type(error).__name__}); take a file of a bot's sessions."
        ) from None
