"""Which strategies were tested: a small file for each finished backtest or search, by the content of the strategy.

Files and no table: a backtest needs no database, and a bot that starts is asked before it has one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BACKTEST, SESSION, ACCEPTED, CHAOS = "backtest", "session", "accepted", "chaos"


@dataclass(frozen=True)
class FinishedTest:
    """A backtest or a search that was finished on a strategy, that it survived chaos, or was accepted untested."""

    content: str  # of the strategy
    kind: str  # backtest, session, accepted or chaos
    id: str  # of the run or the session; of what was accepted, the bot; of chaos, its seed
    pairs: tuple[str, ...]
    start: str
    end: str
    figures: dict[str, Any]


def folder_of_tests(data_dir: Path, content: str) -> Path:
    """Where the tests of a strategy lie."""
    return data_dir / "strategies" / content


def file_of_test(data_dir: Path, one: FinishedTest) -> tuple[Path, str]:
    """Where a test lies, and what its file says; who writes it makes the folder."""
    path = folder_of_tests(data_dir, one.content) / f"{one.kind}-{one.id}.json"
    return path, json.dumps(asdict(one), default=str) + "\n"


def finished_tests(data_dir: Path, content: str) -> list[FinishedTest]:
    """Read the tests of a strategy, by name; one that is damaged is none."""
    found = []
    for path in sorted(folder_of_tests(data_dir, content).glob("*.json")):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            one = FinishedTest(**{**values, "pairs": tuple(values["pairs"])})
        except (OSError, ValueError, TypeError, KeyError):
            continue
        found.append(one)
    return found


def untested_pairs(data_dir: Path, content: str, pairs: Iterable[str]) -> list[str]:
    """List the pairs on which a strategy was neither tested nor accepted."""
    known = {pair for one in finished_tests(data_dir, content) if one.kind != CHAOS for pair in one.pairs}
    return [pair for pair in pairs if pair not in known]


def kills_survived(data_dir: Path, content: str) -> int:
    """How many kills the longest passed chaos run of a strategy had."""
    found = (one.figures.get("kills") for one in finished_tests(data_dir, content) if one.kind == CHAOS)
    return max((kills for kills in found if isinstance(kills, int)), default=0)
