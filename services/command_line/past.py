"""`traderagent logs` and `stats`: what a bot has said and what its trades brought, while it runs and afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured
from coordinator.config_file import read_values
from services.command_line.console import console
from services.command_line.interrupt import run_loop
from services.settings import Settings

if TYPE_CHECKING:
    from services.storage.closed_trades import ClosedTrade

Bot = Annotated[
    str | None, typer.Option("--bot", help="name of the bot [default: the only one that runs]", metavar="NAME")
]
POLL_SECONDS = 0.5
SHOWN = 20


def logs(
    bot: Bot = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with what it says, until Ctrl-C")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", help="how many of the last lines", metavar="NUMBER", min=0)
    ] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="as they are kept: JSON lines")] = False,
) -> None:
    """Show what a bot has logged last; also of one that has ended."""
    from services.control.client import tail

    file = _log_of(bot)
    position = file.stat().st_size
    for line in tail(file, lines) if lines else ():
        print(line if as_json else _told(line), flush=True)  # noqa: T201, lines for other programs too
    for line in _new_lines(file, position) if follow else ():
        print(line if as_json else _told(line), flush=True)  # noqa: T201


def _log_of(bot: str | None) -> Path:
    """Return the log of a bot: the one named, the only one that runs, or the one that has logged last."""
    from services.control.client import file_of, log_file

    data_dir = Settings().data_dir
    kept = sorted((data_dir / "bots").glob("*.log"), key=lambda path: path.stat().st_mtime)
    if bot is None:
        try:
            bot = file_of(data_dir, None).stem
        except Misconfigured:
            bot = kept[-1].stem if kept else "main"
    file = log_file(data_dir, bot)
    if file not in kept:
        names = ", ".join(one.stem for one in kept)
        remedy = f"choose one of {names}" if names else "`traderagent run` makes one"
        raise Misconfigured(f"bot {bot!r} has no log in {data_dir / 'bots'}; {remedy}.")
    return file


def _new_lines(file: Path, position: int) -> Iterator[str]:
    """Yield lines as they are added, also when the file is begun anew."""
    rest = b""
    while True:
        if file.exists():
            if file.stat().st_size < position:
                position, rest = 0, b""
            with file.open("rb") as kept:
                kept.seek(position)
                rest += kept.read()
                position = kept.tell()
            *whole, rest = rest.split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
        time.sleep(POLL_SECONDS)


def _told(line: str) -> str:
    """Return a log line for people: time, level if it is no plain one, event, and what is said of it."""
    from services.control.client import as_event

    event = as_event(line)
    head = [str(event.pop("timestamp", ""))[:19], str(event.pop("level", "info")), str(event.pop("event", ""))]
    trace = str(event.pop("exception", ""))
    fields = " ".join(f"{key}={value}" for key, value in event.items())
    words = " ".join(one for one in (head[0], head[1].upper() if head[1] != "info" else "", head[2], fields) if one)
    return f"{words}\n{trace}" if trace else words


def stats(
    config: Annotated[Path | None, typer.Argument(help="YAML file of the bot, where its database is your own")] = None,
    bot: Bot = None,
    as_json: Annotated[bool, typer.Option("--json", help="every trade and figure as JSON")] = False,
) -> None:
    """Show a bot's closed trades and what they brought, from its database; the bot may run meanwhile."""
    if config is not None:
        read_values(config)  # a file that cannot be read is told before the rest is loaded
    from services.app.backing import database
    from services.logs import passwords, quieten
    from services.storage.closed_trades import closed_trades, figures

    quieten()
    name, data_dir, address = kept_by(bot, config)
    quieten(secrets=passwords(address))

    async def read() -> tuple[list[ClosedTrade], dict[str, float]]:
        async with database(data_dir, name, address) as dsn:
            return await closed_trades(dsn, name)

    closed, payments = run_loop(read())
    found = figures(closed, payments)
    if as_json:
        console().print_json(data={"bot": name, "figures": found, "trades": [one.as_dict() for one in closed]})
        return
    _show(name, found, closed)


def kept_by(bot: str | None, config: Path | None) -> tuple[str, Path, str]:
    """Name, data directory and database address of a bot: the config's, the one named, that runs, or the only one."""
    from services.runtime.config import EMBEDDED, load_bot

    if config is not None:
        settings, _ = load_bot(config)
        return settings.name, settings.data_dir, settings.database
    from services.app.backing import bots_kept

    data_dir = Settings().data_dir
    kept = run_loop(bots_kept(data_dir))
    if bot is None and len(kept) != 1:
        from services.control.client import file_of

        bot = file_of(data_dir, None).stem
    name = bot if bot is not None else kept[0]
    if name not in kept:
        raise Misconfigured(
            f"bot {name!r} has no rows in the database of {data_dir}; give its config, which names another"
            + (f", or choose one of {', '.join(kept)} by --bot." if kept else ".")
        )
    return name, data_dir, EMBEDDED


def _show(name: str, found: dict[str, Any], closed: list[ClosedTrade]) -> None:
    from rich.table import Table

    if not closed:
        console().print(f"bot {name} has closed no trade yet.")
        return
    table = Table("", "", title=f"bot {name}", title_justify="left", show_header=False, box=None)
    for label, value in found.items():
        if label != "pairs":
            table.add_row(label.replace("_", " "), "n/a" if value is None else f"{value:,.2f}".removesuffix(".00"))
    console().print(table)
    pairs = Table("pair", "trades", "profit", box=None)
    for pair, one in found["pairs"].items():
        pairs.add_row(pair, str(one["trades"]), f"{one['profit']:+,.2f}")
    console().print(pairs)
    last = Table("closed", "pair", "side", "profit", "fees", "fills", "opened", box=None)
    for one in closed[-SHOWN:]:
        row = one.as_dict()
        numbers = (f"{one.profit:+,.2f}", f"{one.fees:,.2f}", str(one.fills))
        last.add_row(row["closed"], one.pair, one.side, *numbers, row["opened"])
    console().print(last)
    if len(closed) > SHOWN:
        console().print(f"… and {len(closed) - SHOWN} before; --json has them all")
