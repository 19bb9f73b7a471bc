"""Files of sessions: a line for everything that a pair's core was told, asked for and was answered, while it lives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import structlog

from bot.errors import Misconfigured

log = structlog.get_logger()

LARGEST = 64 << 20  # bytes of a session: some two months of a pair, after which its loop begins another
KEPT_BYTES, KEPT = 3 * LARGEST, 50  # of all of a pair, and how many: the oldest go


def sessions_folder(data_dir: Path, bot: str) -> Path:
    """Return where the sessions of a bot lie in a data directory."""
    return data_dir / "bots" / bot / "sessions"


class SessionFile:
    """Takes the lines of a session. A disk that is full ends the record and nothing else."""

    def __init__(self, path: Path) -> None:
        self.path, self.size, self.ended = path, 0, False
        path.touch(0o600)

    @property
    def full(self) -> bool:
        """Whether another session should begin."""
        return not self.ended and self.size > LARGEST

    def __call__(self, line: dict[str, Any]) -> None:
        """Write a line."""
        if self.ended:
            return
        text = json.dumps(line) + "\n"
        self.size += len(text)
        try:
            with self.path.open(
                "a", encoding="utf-8"
            ) as out:  # what is written survives a kill, and nothing stays open
                out.write(text)
        except OSError as error:
            reason, pair = type(error).__name__, self.path.stem.rsplit("-", 1)[0]
            log.warning("session_ends", pair=pair, error=reason, remedy="make room, and start again")
            self.ended = True


def session_file(folder: Path, symbol: str) -> SessionFile:
    """Begin a session of a pair in `folder`, where the newest stay."""
    folder.mkdir(parents=True, exist_ok=True)
    known = sessions_of(folder).get(symbol, [])
    number = int(known[-1].stem.rpartition("-")[2]) + 1 if known else 1
    room = KEPT_BYTES
    for count, path in enumerate(reversed(known), 1):
        room -= path.stat().st_size
        if room < 0 or count >= KEPT:
            path.unlink(missing_ok=True)
    return SessionFile(folder / f"{symbol}-{number}.jsonl")


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
    files = sessions_of(sessions_folder(data_dir, bot)).get(pair, [])
    if not files:
        raise Misconfigured(
            f"bot {bot!r} keeps no session of {pair} here, which says what the pair is made of; it does with "
            "bot.sessions: true, in its data directory on the machine that trades the pair."
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
