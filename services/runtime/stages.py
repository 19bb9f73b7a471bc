"""What starts before a bot trades, one stage after another, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from services.runtime.warm import Compilation


@dataclass
class Stage:
    """One stage; `seconds` is None while it is under way."""

    name: str
    began: float
    seconds: float | None = None


@dataclass
class Stages:
    """The stages so far; `told` hears of each when it is done."""

    told: Callable[[Stage], None] = lambda _stage: None
    clock: Callable[[], float] = time.monotonic
    done: list[Stage] = field(default_factory=list)
    compilation: Compilation | None = None
    compiled_here: str = ""  # what this process itself compiles now

    def begin(self, name: str) -> None:
        """Begin a stage, which ends the one before."""
        self.end()
        self.done.append(Stage(name, self.clock()))

    def end(self) -> None:
        """End the stage under way."""
        if self.done and self.done[-1].seconds is None:
            self.done[-1].seconds = self.clock() - self.done[-1].began
            self.told(self.done[-1])

    def compiling(self, code: str, seconds: float | None) -> None:
        """Hear that this process compiles `code`, or that it has, in so many `seconds`."""
        self.compiled_here = f"compiling {code}" if seconds is None else ""

    def table(self) -> Table:
        """Draw one row for each stage."""
        table = Table.grid(padding=(0, 2, 0, 0))
        for one in self.done:
            seconds = self.clock() - one.began if one.seconds is None else one.seconds
            doing = self.compiled_here if one.seconds is None else ""
            table.add_row(self._mark(one.seconds is None), one.name, f"{seconds:.1f} s", doing)
        if self.compilation is not None:
            table.add_row(self._mark(self.compilation.running), self.compilation.sentence())
        return table

    def line(self) -> Text:
        """Draw all of them in one line."""
        text = Text(style="dim")
        for one in self.done:
            text.append(self._mark(one.seconds is None)).append(f" {one.name} ")
        if self.compilation is not None:
            text.append(self._mark(self.compilation.running)).append(f" {self.compilation.sentence()}")
        return text

    @staticmethod
    def _mark(under_way: bool) -> Text:
        return Text("…", "yellow") if under_way else Text("✓", "green")
