"""`traderagent watchdog`: a process of its own that raises alarms when a bot cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.command_line.console import console
from services.command_line.interrupt import run_loop
from services.settings import Settings


def watchdog(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file: bots, patience, webhooks, ping [default: Telegram alone]")
    ] = None,
    telegram: Annotated[str, typer.Option(help="another server than Telegram's", metavar="URL", hidden=True)] = "",
) -> None:
    """Watch the bots of this data directory, and raise an alarm when one is silent or wrong, until Ctrl-C.

    It notices a bot that does not answer, a pair that is not reconciled with the exchange, and, with a read-only key
    (`traderagent keys add --purpose watching`), positions and an equity other than the bot believes.
    """
    from coordinator.config_file import read_values
    from services.app.watchdog import watchdog as watchdog_of
    from services.logs import configure
    from services.watchdog.channels import TELEGRAM
    from services.watchdog.settings import watchdog_settings

    settings = watchdog_settings({} if config is None else read_values(config), config)
    configure(settings.secrets())

    async def serve() -> None:
        async with watchdog_of(Settings().data_dir, settings, telegram or TELEGRAM) as (running, session):
            names = ", ".join(one.channel.name for one in running.outgoing) or "a ping alone"
            said = f"watching; alarms go to {names}; Ctrl-C ends it"
            console().print(said, highlight=False, markup=False, soft_wrap=True)
            await running.run(session)

    run_loop(serve())
