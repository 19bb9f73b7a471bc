"""What goes wrong on purpose, repeatably, between a bar that closes at a simulated exchange and who listens for it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

LATEST = 4  # minutes by which a late bar may be told after its own


@dataclass
class BarFaults:
    """Shares of the bars that a stream tells wrongly, and symbols that it does not tell at all."""

    drop: float = 0.0
    duplicate: float = 0.0  # told twice
    late: float = 0.0  # told after newer ones
    unfinished: float = 0.0  # told as closed before its last trade, then told again as it is
    silent: tuple[str, ...] = ()
    seed: int = 0


@dataclass
class BarTeller:
    """Decides, of every bar that closes, what is told of it and when."""

    faults: BarFaults = field(default_factory=BarFaults)
    struck: Counter[str] = field(init=False, default_factory=Counter)  # faults that happened, by name

    def __post_init__(self) -> None:
        self._chance = random.Random(self.faults.seed)  # noqa: S311, faults are to be repeatable
        self._held: list[tuple[int, str, Any]] = []  # until which minute, and the bar of which symbol
        self._minute = 0

    def next_minute(self) -> list[tuple[str, Any]]:
        """Begin a minute; returns the late bars whose time has come, by symbol, in an order of their own."""
        self._minute += 1
        due = [one for one in self._held if one[0] <= self._minute]
        self._held = [one for one in self._held if one[0] > self._minute]
        self._chance.shuffle(due)
        return [(symbol, bar) for _, symbol, bar in due]

    def tell(self, symbol: str, bar: Any, unfinished: Any) -> list[Any]:
        """What is told now of a bar that has closed; `unfinished` is the same bar before its last trade."""
        if symbol in self.faults.silent or self._strikes("drop"):
            return []
        if self._strikes("late"):
            self._held.append((self._minute + self._chance.randint(1, LATEST), symbol, bar))
            return []
        told = [unfinished, bar] if self._strikes("unfinished") else [bar]
        return [*told, bar] if self._strikes("duplicate") else told

    def _strikes(self, name: str) -> bool:
        share: float = getattr(self.faults, name)
        struck = share > 0.0 and self._chance.random() < share
        self.struck[name] += struck
        return struck
