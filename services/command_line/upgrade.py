"""`traderagent upgrade`: brings an installation to this version, or says why not and changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.errors import Misconfigured
from coordinator.config_file import read_values
from services.command_line.console import console, notes, progress
from services.command_line.interrupt import run_loop

if TYPE_CHECKING:
    from services.app.upgrade import BeforeUpgrade, UpgradedBot


def upgrade(
    configs: Annotated[list[Path], typer.Argument(help="YAML files of all bots of the database", metavar="CONFIG...")],
    check: Annotated[bool, typer.Option("--check", help="stop no bot and change no table")] = False,
    accept_differences: Annotated[
        bool,
        typer.Option(
            "--accept-differences", help="also where this version decides otherwise, or a pair has no session to play"
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="backup to write; else one in backups/ of the data directory", metavar="FILE")
    ] = None,
) -> None:
    """Bring an installation to this version; run it with the new one, beside the old one that still trades.

    While bots trade: writes a backup, tries the new tables on a copy of the database, reads there what each bot
    remembers, and plays the last session of each pair again, where this version has to decide the same. Then it stops
    the bots, whose orders and stops stay at the exchange, tries once more, and brings the tables up to date.
    """
    for path in configs:
        read_values(path)  # a file that cannot be read is told before the rest is loaded
    bots = _read(configs)
    settings = bots[0].settings
    from services.storage.installation import file_name

    file = out or settings.data_dir / "backups" / f"before-{file_name(datetime.now(UTC))}"
    found = run_loop(_try(bots, file))
    stored = [one for one in bots if one.name in found.stored]
    _compare(stored, accept=accept_differences)
    if check:
        _say("nothing was changed; without --check this goes on: bots are stopped, and the tables brought up to date")
        return
    run_loop(_switch(bots, stored, found, file))
    _say(f"back again: stop, and with the version before `traderagent restore {file} --replace`")
    for one in bots:
        _say(f"next, with this version: traderagent run {one.path}, or its service")


def _read(configs: list[Path]) -> list[UpgradedBot]:
    """Read every config; raises Misconfigured for bots of several databases, or two of one name."""
    from services.app.upgrade import UpgradedBot
    from services.logs import passwords, quieten
    from services.runtime.config import load_bot

    bots = [UpgradedBot(path, *load_bot(path)) for path in configs]
    quieten(secrets=passwords(*(one.settings.database for one in bots)))
    for one in bots[1:]:
        for key in ("database", "data_dir"):
            if getattr(one.settings, key) != getattr(bots[0].settings, key):
                raise Misconfigured(f"{one.path} and {bots[0].path} have another bot.{key}; upgrade them one by one.")
    names = [one.name for one in bots]
    if len(set(names)) < len(names):
        raise Misconfigured(f"bot.name is {max(names, key=names.count)!r} in several configs; give each bot once.")
    return bots


async def _try(bots: list[UpgradedBot], file: Path) -> BeforeUpgrade:
    from services.app.backing import database
    from services.app.upgrade import look, try_on_copy
    from services.storage.schema import VERSION

    settings = bots[0].settings
    async with database(settings.data_dir, "", settings.database) as dsn:
        found = await look(dsn, settings.data_dir, bots)
        with notes().status("trying the upgrade on a copy of the database"):
            told = await try_on_copy(dsn, settings.data_dir, bots, file)
    _say(f"{file}: {told}")
    _say(f"tables {found.version}, tried as {VERSION} on a copy; state that this version reads: {_names(found.stored)}")
    if found.others:
        _say(f"not looked at, since no config was given: {_names(found.others)}")
    return found


def _compare(bots: list[UpgradedBot], *, accept: bool) -> None:
    """Play the sessions of bots again; raises Misconfigured where one is decided otherwise and that is not accepted."""
    from services.app.upgrade import play_sessions

    for one in bots:
        with progress(f"playing sessions of {one.name}") as show:
            played, faults = play_sessions(one, show)
        for fault in faults:
            if not accept:
                raise Misconfigured(f"{fault.rstrip('.')}; if that is meant, give --accept-differences.")
            _say(f"accepted: {fault}")
        _say(f"bot {one.name}: {played:,} lines of its sessions{'' if faults else ', decided the very same'}")


async def _switch(bots: list[UpgradedBot], stored: list[UpgradedBot], found: BeforeUpgrade, file: Path) -> None:
    from services.app.backing import database
    from services.app.upgrade import switch
    from services.storage.schema import VERSION

    settings = bots[0].settings
    async with database(settings.data_dir, "", settings.database) as dsn:
        with notes().status(f"stopping {_names(found.running)}, and bringing tables up to date"):
            await switch(dsn, settings.data_dir, stored, found.running, file)
    _say(f"stopped: {_names(found.running)}; tables are of version {VERSION}")


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _say(line: str) -> None:
    console().print(line, soft_wrap=True, highlight=False, markup=False)
