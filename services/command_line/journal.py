"""`traderagent journal`: the trades of replays and of bots, listed, exported, and sent to whoever is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut
from services.command_line.console import console
from services.command_line.interrupt import run_loop
from services.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.app.journal import Journal

app = typer.Typer(help="The journal of trades: list, export, send.", no_args_is_help=True)

MOST_ROWS = 100_000  # of an export
Search = Annotated[str, typer.Option(help="words that a record has, as they stand", metavar="TEXT")]
Source = Annotated[str, typer.Option(help="replay or live [default: both]")]
Symbol = Annotated[str, typer.Option(help="of this pair alone", metavar="SYMBOL")]
Tag = Annotated[str, typer.Option(help="with this tag alone")]
Database = Annotated[
    str, typer.Option(help="Postgres of yours [default: that of the data directory]", metavar="ADDRESS")
]


@app.command("list")
def list_records(
    search: Search = "", source: Source = "", symbol: Symbol = "", tag: Tag = "",
    limit: Annotated[int, typer.Option(help="the newest so many", min=1, max=MOST_ROWS)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False, database: Database = "",
) -> None:  # fmt: skip
    """List closed trades of replays and bots, the newest exit first."""
    asked = _filters(search, source, symbol, tag)

    async def read(journal: Journal) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return await journal.records(**asked, limit=limit), await journal.outbox()

    found, outbox = _ask(database, read)
    if as_json:
        print(json.dumps(found))  # noqa: T201, for programs
        return
    from rich.table import Table

    from bot.candles import iso

    table = Table(box=None)
    for name in ("record", "pair", "side", "exit", "reason", "profit", "R", "tags"):
        table.add_column(name, justify="right" if name in ("profit", "R") else "left")
    for one in found:
        r = "" if one["r"] is None else f"{one['r']:.2f}"
        table.add_row(
            *(one["record"], one["symbol"], one["side"], iso(one["exit"]), one["reason"], f"{one['pnl']:,.2f}", r),
            ", ".join(one["tags"]),
        )
    console().print(table if found else "no trade is in the journal")
    if outbox["failed"]:
        console().print(
            f"{outbox['failed']} could not be sent: {', '.join(outbox['faults'])}", style="red", markup=False
        )
    if outbox["waiting"]:
        console().print(f"{outbox['waiting']} wait to be sent: next: traderagent journal send", markup=False)


@app.command("export")
def export(
    out: Annotated[Path, typer.Argument(help="journal.csv, or journal.zip: Markdown with pictures", metavar="FILE")],
    search: Search = "", source: Source = "", symbol: Symbol = "", tag: Tag = "",
    replace: Annotated[bool, typer.Option("--replace", help="write over a file that is there")] = False,
    database: Database = "",
) -> None:  # fmt: skip
    """Write records as CSV, or as Markdown with their pictures in a ZIP."""
    if out.suffix not in (".csv", ".zip"):
        raise Misconfigured(f"{cut(str(out))} is neither .csv nor .zip; name a file of one of them.")
    if out.exists() and not replace:
        raise Misconfigured(f"{cut(str(out))} exists; choose another file, or give --replace.")
    asked = _filters(search, source, symbol, tag)

    async def written(journal: Journal) -> tuple[int, bytes]:
        found = await journal.records(**asked, limit=MOST_ROWS)
        return len(found), journal.csv(found).encode() if out.suffix == ".csv" else await journal.exported(found)

    count, content = _ask(database, written)
    from services.whole_file import write_whole_bytes

    write_whole_bytes(out, content)
    console().print(f"{out}: {count:,} trades", soft_wrap=True, highlight=False, markup=False)


@app.command("send")
def send(database: Database = "") -> None:
    """Send what is due to those whom `journal.yaml` names, and end; a console that runs does so by itself."""
    import time

    import aiohttp

    from services.app.journal import send_due, settings_of
    from services.journal.targets import targets_of

    settings = settings_of(Settings().data_dir)
    if not settings.targets():
        raise Misconfigured(
            f"{cut(str(Settings().data_dir / 'journal.yaml'))} names nobody; write webhooks or notion into it."
        )

    async def sent(journal: Journal) -> int:
        await journal.records(limit=1)  # with what bots have closed meanwhile
        async with aiohttp.ClientSession() as session:
            return await send_due(journal.store, targets_of(settings, session, time.time))

    console().print(f"sent {_ask(database, sent):,} records", highlight=False)


def _filters(search: str, source: str, symbol: str, tag: str) -> dict[str, Any]:
    if source not in ("", "replay", "live"):
        raise Misconfigured(f"source is {cut(source)!r}; give replay or live.")
    return {"search": search, "source": source, "symbol": symbol.upper(), "tag": tag}


def _ask(database: str, question: Callable[[Journal], Awaitable[Any]]) -> Any:
    """Ask the journal of the data directory, or of your database."""
    from services.logs import quieten

    quieten()
    return run_loop(_asked(database, question))


async def _asked(database: str, question: Callable[[Journal], Awaitable[Any]]) -> Any:
    from services.app.backing import database as opened
    from services.app.journal import journal_of
    from services.app.search import NO_BOT
    from services.runtime.config import EMBEDDED

    async with (
        opened(Settings().data_dir, NO_BOT, database or EMBEDDED) as dsn,
        journal_of(dsn, Settings().data_dir) as journal,
    ):
        return await question(journal)
