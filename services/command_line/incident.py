"""`traderagent incident`: what is known of a bot's last hours in one archive, without secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.command_line.console import console, progress
from services.command_line.interrupt import run_loop
from services.command_line.past import Bot, kept_by

if TYPE_CHECKING:
    from datetime import timedelta


def incident(
    bot: Bot = None,
    since: Annotated[str, typer.Option(help="how much of its end: 90m, 2h, 3d", metavar="LENGTH")] = "2h",
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file of the bot: the exchange is asked too, by its key")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="file to write; else one named by bot and time", metavar="FILE")
    ] = None,
) -> None:
    """Pack a bot's log, decisions, states, sessions and the exchange's history into one archive, without secrets.

    For whoever has to find out what happened. The bot may run meanwhile, or have died.
    """
    from services.app.backing import database
    from services.app.incident import Concealer, pack, rows_of, span_of
    from services.logs import passwords, quieten

    span = span_of(since)
    quieten()
    name, data_dir, address = kept_by(bot, config)
    hidden = passwords(address)
    quieten(secrets=hidden)

    async def read() -> tuple[dict[str, list[dict[str, Any]]], list[dict[str, Any]] | None, list[str]]:
        async with database(data_dir, name, address) as dsn:
            rows = await rows_of(dsn, name, span)
            history, secrets = await _asked(config, span)
            return rows, history, [*secrets, *passwords(dsn)]

    rows, history, secrets = run_loop(read())
    conceal = Concealer.of(data_dir, name, [*hidden, *secrets])
    file = out or Path(f"incident-{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip")
    with progress("packing") as show:
        told = pack(file, data_dir, name, span, rows, history, conceal, show)
    packed = ", ".join(f"{count:,} lines of {member}" for member, count in told.packed.items())
    console().print(f"{file}: {packed}; {file.stat().st_size / 1e6:.1f} MB", soft_wrap=True, highlight=False)
    for one in told.left_out:
        console().print(f"left out: {one}", soft_wrap=True, highlight=False)


async def _asked(config: Path | None, span: timedelta) -> tuple[list[dict[str, Any]] | None, list[str]]:
    """Ask the exchange of a bot's config, and return the secrets that this took; nothing without a config."""
    if config is None:
        return None, []
    from services.app.bot import account_of
    from services.app.incident import history_of
    from services.app.key_access import secrets_of
    from services.logs import conceal
    from services.runtime.config import load_bot

    settings, chosen = load_bot(config)
    account = account_of(settings, chosen, secrets_of(settings))
    secrets = list(account.secrets())
    conceal(secrets)
    gateway = account.gateway()
    try:
        return await history_of(gateway, list(chosen.pairs), span), secrets
    finally:
        await gateway.close()
