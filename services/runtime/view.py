"""A running bot on a terminal: equity, modes, pairs, last events. Draws what it is told and decides nothing."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bot.candles import iso
from bot.order import Side
from coordinator.events import fields
from coordinator.vocabulary import Note

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bot.instrument import Instrument
    from bot.ports import Bus
    from coordinator.roster import Roster

BARS = "▁▂▃▄▅▆▇█"
TOLD = 12  # events shown
DRAWN = 72  # points of the equity line
QUIET = {Note.ZONE, Note.VERDICT, Note.ALLOCATION, Note.CANDIDATE}
COLOURS = {"running": "green", "draining": "yellow", "closing": "yellow", "paused": "yellow", "halted": "red"}


class News:
    """A bus that also keeps the last events in words."""

    def __init__(self, bus: Bus, instruments: dict[str, Instrument], roster: Roster) -> None:
        self.bus, self.instruments, self.roster = bus, instruments, roster
        self.lines: deque[str] = deque(maxlen=TOLD)
        self.fills = 0
        self.notes: dict[str, int] = {}

    def publish(self, kind: str, fields: dict[str, Any]) -> None:
        """Pass it on, and put it into words."""
        self.bus.publish(kind, fields)
        if kind == "fill":
            self._fill(fields["execution"])
        elif kind == "note":
            self._note(fields["pair"], fields["note"])

    def _fill(self, one: Any) -> None:
        if one.funding:
            return
        self.fills += 1
        of = self.instruments[one.symbol]
        word = "bought" if one.side == Side.BUY else "sold"
        quantity, price = (format(number.normalize(), "f") for number in (of.quantity(one.lots), of.price(one.price)))
        self.lines.append(f"{iso(one.ts)[:16]}  {one.symbol}  {word} {quantity} at {price}")

    def _note(self, pair: str, note: Any) -> None:
        kind = Note(int(note["kind"]))
        name = kind.name.lower()
        self.notes[name] = self.notes.get(name, 0) + 1
        if kind in QUIET:
            return
        said = ", ".join(self._field(pair, label, value) for label, value in fields(note, self.roster))
        self.lines.append(f"{iso(int(note['ts']))[:16]}  {pair or 'account'}  {name} {said}")

    def _field(self, pair: str, label: str, value: Any) -> str:
        """One field of a note in words; lots mean nothing to a person, a quantity does."""
        if label == "lots":
            return f"quantity {self.instruments[pair].quantity(round(value)).normalize():f}"
        return f"{label} {_short(value)}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ",".join(value) or "normal" if isinstance(value, list) else str(value)


def line(values: list[float]) -> str:
    """A small chart of the last values."""
    shown = values[-DRAWN:]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(BARS[int((value - low) / span * (len(BARS) - 1))] for value in shown)


def draw(now: dict[str, Any], news: News, equity: list[float], first: float) -> RenderableType:
    """The whole screen."""
    gained = now["equity"] / first - 1.0
    head = Text.assemble(
        (f"{now['equity']:,.2f} USDT ", "bold"),
        (f"{gained:+.2%}  ", "green" if gained >= 0 else "red"),
        f"exposure {now['exposure'] / max(now['equity'], 1e-9):.0%}  drawdown {now['drawdown_pct']:.2f} %  ",
        (" ".join(now["modes"]).upper() or "NORMAL", "bold red" if now["modes"] else "bold green"),
        f"  {news.fills} fills",
    )
    table = Table(expand=True, box=None, header_style="dim")
    for name in ("pair", "price", "regime", "strategy", "phase", "position", "profit", "entries", "exits", "target"):
        right = name in ("price", "position", "profit", "entries", "exits", "target")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for one in now["pairs"]:
        table.add_row(
            one["pair"],
            f"{one['price']:.6g}",
            one["regime"].replace("_", " "),
            one["strategy"],
            Text(one["phase"], COLOURS.get(one["phase"], "dim")),
            f"{one['position']:g}",
            Text(f"{one['equity']:+.2f}", "green" if one["equity"] >= 0 else "red"),
            str(one["entries"]),
            str(one["exits"]),
            f"{one['target']:,.0f}",
        )
    told = Text("\n".join(news.lines) or "nothing has happened yet", no_wrap=True, overflow="ellipsis")
    return Group(
        Panel(
            Group(head, Text(line(equity), "cyan")),
            title=f"{now['bot']} · {now['at'] or 'starting'}",
            title_align="left",
        ),
        Panel(table, title="pairs", title_align="left"),
        Panel(told, title="last events", title_align="left"),
    )
