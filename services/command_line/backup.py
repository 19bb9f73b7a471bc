"""`traderagent backup` and `restore`: what a bot remembers, as one file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.config_file import read_values
from services.command_line.console import console
from services.command_line.interrupt import run_loop

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from coordinator.config import PortfolioConfig
    from services.runtime.config import BotSettings
    from services.storage.archive import Contents

FILE = Annotated[Path, typer.Argument(help="YAML file of the bot")]


def backup(
    config: FILE,
    out: Annotated[
        Path | None, typer.Option(help="file to write; else one named by bot and time", metavar="FILE")
    ] = None,
) -> None:
    """Write all that a bot remembers to one file.

    That is state, orders, fills and decisions. The bot may run meanwhile.
    """
    read_values(config)  # a file that cannot be read is told before the rest is loaded
    from services.logs import passwords, quieten
    from services.runtime.config import load_bot

    settings, _ = load_bot(config)
    quieten(secrets=passwords(settings.database))
    file = out or Path(f"{settings.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip")
    contents = run_loop(_back_up(settings, file))
    console().print(f"{file}: {_told(contents)}, {file.stat().st_size / 1e6:.1f} MB", soft_wrap=True)


async def _back_up(settings: BotSettings, file: Path) -> Contents:
    from services.storage.backup import back_up

    async with _database(settings) as dsn:
        return await back_up(dsn, settings.name, file)


def restore(
    config: FILE,
    file: Annotated[Path, typer.Argument(help="what `traderagent backup` wrote")],
    replace: Annotated[bool, typer.Option("--replace", help="give up what the database holds of this bot")] = False,
) -> None:
    """Put a backup into the bot's database.

    The bot must not run meanwhile; its next start books what it missed.
    """
    read_values(config)  # a file that cannot be read is told before the rest is loaded
    from services.logs import passwords, quieten
    from services.runtime.config import load_bot

    settings, chosen = load_bot(config)
    quieten(secrets=passwords(settings.database))
    contents = run_loop(_restore(settings, chosen, file, replace=replace))
    console().print(f"restored {_told(contents)}, as of {contents.at:%Y-%m-%dT%H:%M:%SZ}", soft_wrap=True)


async def _restore(settings: BotSettings, chosen: PortfolioConfig, file: Path, *, replace: bool) -> Contents:
    from services.runtime.memories import empty_memories
    from services.storage.archive import look_into
    from services.storage.backup import restore
    from services.storage.instance_lock import InstanceLock

    look_into(file)  # before a database is started for it
    async with _database(settings) as dsn, InstanceLock.held(dsn, settings.name):
        return await restore(dsn, settings.name, file, replace=replace, memories=empty_memories(chosen))


def _database(settings: BotSettings) -> AbstractAsyncContextManager[str]:
    from services.app.backing import database

    return database(settings.data_dir, settings.name, settings.database)


def _told(contents: Contents) -> str:
    return f"bot {contents.bot}, " + ", ".join(f"{count:,} {table}" for table, count in contents.rows.items())
