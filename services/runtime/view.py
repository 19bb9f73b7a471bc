"""A running bot on a terminal: what has started, equity, modes, pairs, decisions in sentences.

Draws what it is told and decides nothing. As wide as the terminal: columns of the pairs that do not fit are left out,
and pair and price are never cut.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bot.candles import iso
from bot.events import Alarm, BotEvent, Decision, Filled
from bot.ports import Cause
from coordinator.decisions import sentence
from coordinator.phase import Phase
from coordinator.regime import Regime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from bot.instrument import Instrument
    from bot.ports import Bus
    from coordinator.bot_status import BotStatus
    from coordinator.parameters import AlgorithmParameters
    from services.runtime.stages import Stages

BARS = "▁▂▃▄▅▆▇█"
TOLD = 60  # decisions kept
FRAME = 4  # columns that a panel takes beside its content
GAP = 2  # columns between two of a table
SIDE_BY_SIDE = 160  # columns from which the decisions stand beside the pairs
QUIET = {"zone", "verdict", "allocation", "candidate", "blocked"}
COLOURS = {"running": "green", "draining": "yellow", "closing": "yellow", "paused": "yellow", "halted": "red"}


@dataclass(frozen=True)
class Column:
    """A column of the pairs."""

    name: str
    least: int  # width, so that it stays where it is while its words change
    right: bool = False


def _longest(names: type[Regime | Phase]) -> int:
    return max(len(one.name) for one in names)


COLUMNS = (
    Column("pair", 8),
    Column("price", 8, right=True),
    Column("regime", _longest(Regime)),
    Column("strategy", 8),
    Column("phase", _longest(Phase)),
    Column("position", 9, right=True),
    Column("profit", 9, right=True),
    Column("orders", 6, right=True),
    Column("target", 6, right=True),
)
# In this order they are given room.
FIRST_TO_LAST = ("pair", "price", "regime", "strategy", "profit", "phase", "position", "orders", "target")


class News:
    """A bus that also keeps the last decisions, and the last fill, in sentences."""

    def __init__(self, bus: Bus, instruments: dict[str, Instrument], algorithm: AlgorithmParameters) -> None:
        self.bus, self.instruments, self.roster = bus, instruments, algorithm.roster
        self.calls = [self.roster.name_of(int(one[0])) for one in algorithm.record(list(instruments)).calls]
        self.running = dict.fromkeys(instruments, "")  # strategy of each pair, as far as was told
        self.lines: deque[tuple[str, str]] = deque(maxlen=TOLD)  # time and sentence
        self.last_fill = ""
        self.fills = 0
        self.decisions: dict[str, int] = {}

    def publish(self, event: BotEvent) -> None:
        """Pass it on, and put it into words."""
        self.bus.publish(event)
        match event:
            case Filled(cause=cause) if cause != Cause.FUNDING.value:
                self.fills += 1
                done = {"buy": "bought", "sell": "sold"}[event.side]
                self.last_fill = f"{_moment(event.at)}  {event.pair}: {done} {event.quantity} at {event.price}"
            case Decision():
                self._decision(event)
            case Alarm():
                self.lines.append(("", f"{event.pair or 'account'}: {event.sentence}"))

    def _decision(self, one: Decision) -> None:
        self.decisions[one.kind] = self.decisions.get(one.kind, 0) + 1
        if one.kind == "start":
            self.running[one.pair] = one.fields["strategy"]
        elif one.kind == "flat":
            self.running[one.pair] = ""
        if one.kind in QUIET:
            return
        called = self.calls[Regime[one.fields["regime"].upper()]] if one.kind == "regime" else ""
        said = sentence(one, self.running.get(one.pair, ""), called)
        self.lines.append((_moment(one.at), f"{one.pair or 'account'}: {said}"))


def _moment(ts: int) -> str:
    """Month, day, hour and minute of a time in ms."""
    return iso(ts)[5:16].replace("T", " ")


def line(values: Sequence[float], width: int) -> str:
    """A small chart of the last values, `width` of them at most."""
    shown = values[-width:]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(BARS[int((value - low) / span * (len(BARS) - 1))] for value in shown)


@dataclass(frozen=True)
class View:
    """The whole screen: `now` is a bot's status, `equity` its values so far, the first one first."""

    now: BotStatus
    news: News
    equity: Sequence[float]
    stages: Stages
    console: str = ""  # where the console in a browser is

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Fill the console's width, and as much of its height as there is to tell."""
        width, height = options.max_width, options.height or console.size.height
        aside = width >= SIDE_BY_SIDE
        left = min(width * 3 // 5, _needed(COLUMNS, self._cells()) + FRAME) if aside else width
        upper = [
            *([Text(self.console, "cyan", overflow="fold")] if self.console else []),
            self.stages.line(),
            self._account(left - FRAME),
            Panel(self._pairs(left - FRAME), title="pairs", title_align="left"),
        ]
        used = sum(len(console.render_lines(one, options.update(width=left, height=None))) for one in upper)
        if aside:
            row = Table.grid(expand=True)
            row.add_column(width=left)
            row.add_column()
            row.add_row(
                Group(*upper), self._decisions(console, width - left - FRAME, max(used, height - 1) - 2, filled=True)
            )
            yield row
        else:
            yield from upper
            yield self._decisions(console, width - FRAME, max(height - used - 3, 1))

    def _account(self, width: int) -> RenderableType:
        now = self.now
        gained = now["equity"] / self.equity[0] - 1.0
        head = Text.assemble(
            (f"{now['equity']:,.2f} USDT ", "bold"),
            (f"{gained:+.2%}  ", "green" if gained >= 0 else "red"),
            f"day {-now['day_loss_pct']:+.2f} %  drawdown {now['drawdown_pct']:.2f} %  ",
            f"exposure {now['exposure'] / max(now['equity'], 1e-9):.0%}  ",
            (" ".join(now["modes"]).upper() or "NORMAL", "bold red" if now["modes"] else "bold green"),
        )
        title = f"{now['bot']} · {now['at'] or 'starting'}"
        return Panel(Group(head, Text(line(self.equity, width), "cyan")), title=title, title_align="left")

    def _pairs(self, width: int) -> RenderableType:
        rows = self._cells()
        chosen: list[Column] = []
        for name in FIRST_TO_LAST:
            more = [*chosen, next(one for one in COLUMNS if one.name == name)]
            if chosen and _needed(more, rows) > width:
                break
            chosen = more
        shown = [one for one in COLUMNS if one in chosen]
        table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, GAP, 0, 0))
        for one in shown:
            room = _width(one, rows)
            table.add_column(one.name, justify="right" if one.right else "left", no_wrap=True, min_width=room)
        for row in rows:
            table.add_row(*(row[one.name] for one in shown))
        filled = Text(f"{self.news.fills} fill{'' if self.news.fills == 1 else 's'}", "dim")
        if self.news.last_fill:
            filled.append(f", the last {self.news.last_fill}")
        return Group(table, filled)

    def _cells(self) -> list[dict[str, Text]]:
        return [
            {
                "pair": Text(one["pair"]),
                "price": Text(_priced(one["price"], self.news.instruments[one["pair"]])),
                "regime": Text(one["regime"].replace("_", " ")),
                "strategy": Text(one["strategy"]),
                "phase": Text(one["phase"], COLOURS.get(one["phase"], "dim")),
                "position": Text(f"{one['position']:g}"),
                "profit": Text(f"{one['equity']:+.2f}", "green" if one["equity"] >= 0 else "red"),
                "orders": Text(f"{one['entries']}+{one['exits']}"),
                "target": Text(f"{one['target']:,.0f}"),
            }
            for one in self.now["pairs"]
        ]

    def _decisions(self, console: Console, width: int, rows: int, *, filled: bool = False) -> RenderableType:
        """The last decisions that `rows` lines hold, the newest below; `filled`: as high as the room is."""
        told = Table.grid(padding=(0, GAP, 0, 0))
        told.add_column(no_wrap=True, style="dim")
        told.add_column()
        lines = list(self.news.lines) or [("", "nothing has been decided yet")]
        room, shown = rows, 0
        beside = width - max(cell_len(at) for at, _ in lines) - GAP
        while shown < len(lines):
            room -= len(Text(lines[-1 - shown][1]).wrap(console, max(beside, 1)))
            if room < 0:
                break
            shown += 1
        for at, said in lines[len(lines) - shown :]:
            told.add_row(at, Text(said))
        return Panel(told, title="decisions", title_align="left", height=rows + 2 if filled else None)


def _priced(price: float, instrument: Instrument) -> str:
    """A price with the decimals of its tick."""
    decimals = int(instrument.tick_size.normalize().as_tuple().exponent)
    return f"{price:,.{max(-decimals, 0)}f}"


def _width(column: Column, rows: list[dict[str, Text]]) -> int:
    return max(column.least, len(column.name), *(one[column.name].cell_len for one in rows))


def _needed(columns: Sequence[Column], rows: list[dict[str, Text]]) -> int:
    """Width of a table of these columns."""
    return sum(_width(one, rows) + GAP for one in columns)
