"""`traderagent export`: what moved the money of a bot's account, for taxes and books, and whether it adds up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.errors import Misconfigured
from coordinator.config_file import read_values
from services.account_statement import StatementFormat
from services.command_line.console import console
from services.command_line.interrupt import run_loop
from services.command_line.past import Bot, kept_by
from services.whole_file import write_whole

if TYPE_CHECKING:
    from services.account_statement import AccountStatement, Period


def export(
    config: Annotated[Path | None, typer.Argument(help="YAML file of the bot, where its database is your own")] = None,
    bot: Bot = None,
    form: Annotated[StatementFormat, typer.Option("--format", help="which program reads it")] = StatementFormat.CSV,
    start: Annotated[str | None, typer.Option("--from", help="first day or minute, UTC", metavar="DATE")] = None,
    end: Annotated[str | None, typer.Option("--to", help="end, not included, UTC", metavar="DATE")] = None,
    out: Annotated[
        Path | None, typer.Option(help="file to write; else one named by bot and format", metavar="FILE")
    ] = None,
) -> None:
    """Write trades, fees, funding and transfers of a bot; the sum of the rows is what its wallet changed by.

    Where it is not, or rows are missing, it says where, and the exit code is 1. The bot may run meanwhile.
    """
    if config is not None:
        read_values(config)  # a file that cannot be read is told before the rest is loaded
    from bot.candles import parse_time

    first, last = (None if text is None else parse_time(text) for text in (start, end))
    if first is not None and last is not None and first >= last:
        raise Misconfigured(f"from ({start}) must lie before to ({end}); swap or widen them.")
    statement = _read(bot, config)
    period = statement.between(first, last)
    file = out or Path(f"{statement.bot}-{form}.csv")
    write_whole(file, period.written(form))
    _show(file, period)
    for sentence in statement.differences:
        print(f"does not add up: {sentence}", file=sys.stderr)  # noqa: T201
    if statement.differences:
        raise typer.Exit(1)


def _read(bot: str | None, config: Path | None) -> AccountStatement:
    import asyncpg

    from services.app.backing import database
    from services.logs import passwords, quieten
    from services.storage.account_entries import account_statement
    from services.storage.schema import migrate

    quieten()
    name, data_dir, address = kept_by(bot, config)
    quieten(secrets=passwords(address))

    async def read() -> AccountStatement:
        async with database(data_dir, name, address) as dsn:
            await migrate(dsn)
            connection = await asyncpg.connect(dsn)
            try:
                return await account_statement(connection, name)
            finally:
                await connection.close()

    found: AccountStatement = run_loop(read())
    return found


def _show(file: Path, period: Period) -> None:
    from rich.table import Table

    table = Table(
        "", period.statement.coin, title=f"{file}: {len(period.entries):,} rows", title_justify="left", box=None
    )
    table.columns[1].justify = "right"
    for label, value in period.sums().items():
        table.add_row(label, f"{value:+,.2f}")
    table.add_row("change of the wallet", f"{period.change:+,.2f}")
    table.add_row("wallet before, by the rows", f"{period.before:,.2f}")
    table.add_row("wallet after, by the rows", f"{period.before + period.change:,.2f}")
    console().print(table)
