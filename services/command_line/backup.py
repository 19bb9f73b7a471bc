"""`traderagent backup` and `restore`: what a bot remembers, or a whole installation, as one file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.config_file import read_values
from services.command_line.console import console
from services.command_line.interrupt import run_loop
from services.settings import Settings

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from coordinator.config import PortfolioConfig
    from services.runtime.config import BotSettings
    from services.storage.archive import Contents
    from services.storage.installation import Installation


def backup(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file of a bot [default: the whole installation]", metavar="[CONFIG]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="file to write; else one named by bot and time", metavar="FILE")
    ] = None,
) -> None:
    """Write all that a bot remembers, or a whole installation, to one file. Bots may run meanwhile.

    Of a bot: state, orders, fills and decisions. Without a config: the whole database, keys (as they are encrypted),
    presets, saved strategies, instruments, funding and the users of Telegram. Candles, reports and the master key are
    left out.
    """
    if config is None:
        from services.logs import passwords, quieten

        quieten(secrets=passwords(Settings().database))
        run_loop(_back_up_all(out))
        return
    read_values(config)  # a file that cannot be read is told before the rest is loaded
    from services.logs import passwords, quieten
    from services.runtime.config import load_bot

    settings, _ = load_bot(config)
    quieten(secrets=passwords(settings.database))
    file = out or Path(f"{settings.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip")
    contents = run_loop(_back_up(settings, file))
    _say(f"{file}: {_told(contents)}, {file.stat().st_size / 1e6:.1f} MB")


async def _back_up(settings: BotSettings, file: Path) -> Contents:
    from services.storage.backup import back_up

    async with _database(settings) as dsn:
        return await back_up(dsn, settings.name, file)


async def _back_up_all(out: Path | None) -> None:
    from services.storage.installation import back_up_all, file_name

    file = out or Path(file_name(datetime.now(UTC)))
    async with _shared() as dsn:
        contents: Installation = await back_up_all(dsn, Settings().data_dir, file)
    _say(f"{file}: {contents.told()}, {file.stat().st_size / 1e6:.1f} MB")


def restore(
    config: Annotated[Path, typer.Argument(help="YAML file of a bot, or alone: a whole installation's backup")],
    file: Annotated[
        Path | None, typer.Argument(help="what `traderagent backup CONFIG` wrote", metavar="[FILE]")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="give up what is there")] = False,
) -> None:
    """Put a backup back: `restore CONFIG FILE` of a bot, `restore FILE` of a whole installation.

    No bot of it may run meanwhile, here or elsewhere; its next start books what it missed. What the database holds is
    refused, or backed up beside the file and given up with --replace. The master key is yours to put back.
    """
    if file is None:
        from services.logs import passwords, quieten

        quieten(secrets=passwords(Settings().database))
        run_loop(_restore_all(config, replace=replace))
        return
    read_values(config)  # a file that cannot be read is told before the rest is loaded
    from services.logs import passwords, quieten
    from services.runtime.config import load_bot

    settings, chosen = load_bot(config)
    quieten(secrets=passwords(settings.database))
    contents = run_loop(_restore(settings, chosen, file, replace=replace))
    _say(f"restored {_told(contents)}, as of {contents.at:%Y-%m-%dT%H:%M:%SZ}")


async def _restore_all(file: Path, *, replace: bool) -> None:
    from services.storage.installation import look_into_all, restore_all

    look_into_all(file)  # before a database is started for it
    async with _shared() as dsn:
        contents: Installation = await restore_all(dsn, Settings().data_dir, file, replace=replace)
    _say(f"restored {contents.told()}, as of {contents.at:%Y-%m-%dT%H:%M:%SZ}")
    _say("next: put master.key back, make sure that its bots run nowhere else, and start them")


def _shared() -> AbstractAsyncContextManager[str]:
    """Start, or join, the database of the data directory, or the one that TRADERAGENT_DATABASE names."""
    from services.app.backing import database

    return database(Settings().data_dir, "", Settings().database)


def _say(line: str) -> None:
    console().print(line, soft_wrap=True, highlight=False, markup=False)


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
