"""`traderagent fleet`: keep several bots running, each as a process of its own; start, stop, add and remove them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured
from services.command_line.console import console
from services.command_line.interrupt import run_loop
from services.settings import Settings

if TYPE_CHECKING:
    from services.fleet.records import FleetBot

app = typer.Typer(
    help="Keep several bots running: run, list, add, start, stop, restart, remove.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="name of the bot, as its config has it", metavar="NAME")]


@app.command("run")
def run(
    stop_bots: Annotated[
        bool, typer.Option("--stop-bots", help="at the end stop the bots too; the next `fleet run` starts them again")
    ] = False,
) -> None:
    """Supervise the bots of this data directory until Ctrl-C. They trade on without it, and it finds them again.

    Starts what is to run, and again after a crash, after pauses from a second to five minutes; after twelve failures
    one after the other a bot stays failed.
    """
    from services.logs import configure

    configure([])
    run_loop(_run(Settings().data_dir, stop_bots=stop_bots))


async def _run(data_dir: Path, *, stop_bots: bool) -> None:
    import asyncio

    from services.app.fleet import fleet_supervisor

    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    async with fleet_supervisor(data_dir) as fleet:
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, stopping.set)
        told = f"fleet of {data_dir}: {len(fleet.bots)} bots; Ctrl-C ends it, and "
        console().print(
            told + ("stops them" if stop_bots else "they trade on"), highlight=False, markup=False, soft_wrap=True
        )
        running, waiting = asyncio.create_task(fleet.run()), asyncio.create_task(stopping.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for one in (running, waiting):
            one.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        if not running.cancelled():
            running.result()
        if stop_bots:
            console().print("stopping the bots; Ctrl-C again leaves them to end by themselves", soft_wrap=True)
            stopping.clear()
            ending, waiting = asyncio.create_task(fleet.stop_all()), asyncio.create_task(stopping.wait())
            await asyncio.wait({ending, waiting}, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            waiting.cancel()


@app.command("list")
def list_bots(as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False) -> None:
    """List the bots of the fleet, and how each stands."""
    from services.control.client import ask_fleet, fleet_file, process_of
    from services.fleet.records import FleetRecords

    data_dir = Settings().data_dir
    runs = process_of(fleet_file(data_dir)) is not None
    kept = FleetRecords(data_dir).read()
    rows = ask_fleet(data_dir, "/bots").get("bots", []) if runs else [vars(kept[name]) for name in sorted(kept)]
    if as_json:
        console().print_json(data={"runs": runs, "bots": rows})
        return
    if not runs:
        line = "no fleet runs here, so this is how it stood last; start one with `traderagent fleet run`"
        console().print(line, style="yellow", soft_wrap=True)
    try:
        _show(rows)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Misconfigured(
            "the fleet that runs is of another version; look at it with --json, or restart it."
        ) from None


def _show(rows: list[dict[str, Any]]) -> None:
    """Show bots as a table."""
    from rich.markup import escape
    from rich.table import Table

    from bot.candles import iso

    table = Table(*("bot", "environment", "state", "wanted", "since"), box=None)
    table.columns[0].no_wrap = table.columns[4].no_wrap = True
    table.add_column("why")
    for one in rows:
        why = one["reason"]
        if one["next_start"]:
            why = f"{why.rstrip('.')}; starts again at {iso(one['next_start'])}"
        words = (one["state"].replace("_", " "), one["wanted"], iso(one["since"]), escape(why))
        table.add_row(one["name"], one["environment"], *words)
    console().print(table)


@app.command("add")
def add(
    config: Annotated[Path, typer.Argument(help="YAML file of the bot, which stays where it is")],
    start: Annotated[bool, typer.Option("--start", help="and start it")] = False,
    untested: Annotated[
        bool, typer.Option("--untested", help="live: accept, from now on, a strategy without a finished backtest")
    ] = False,
) -> None:
    """Take a bot into the fleet, once its config can be read. One that runs already is supervised from then on."""
    from coordinator.config_file import read_values
    from services.control.client import ask_fleet

    data_dir, config = Settings().data_dir, config.resolve()
    read_values(config)
    ask_fleet(data_dir, "/bots")  # whether there is one is told before all that trades is loaded
    from services.app.fleet_config import read_bot

    settings, chosen = read_bot(config, data_dir)
    if untested:
        from services.app.accepted import accept

        accept(settings, chosen)
    _said("add", settings.name, config=str(config), environment=settings.environment.value, start=start)


@app.command("start")
def start(name: Name) -> None:
    """Start a bot; it is started again after a crash."""
    _said("start", name)


@app.command("stop")
def stop(name: Name) -> None:
    """End a bot as `ctl stop` does: entries are cancelled, stops and targets stay. It is not started again."""
    _said("stop", name)


@app.command("restart")
def restart(name: Name) -> None:
    """End a bot, and start it again when it has ended."""
    _said("restart", name)


@app.command("remove")
def remove(
    name: Name,
    leave_positions: Annotated[
        bool, typer.Option("--leave-positions", help="also while the bot holds positions, which stay as they are")
    ] = False,
) -> None:
    """Take a stopped bot out of the fleet; its history stays in the database.

    Refuses while the bot, as it stored last, holds a position.
    """
    from coordinator.run_state import OVER
    from services.control.client import ask_fleet
    from services.fleet.records import FleetRecords

    data_dir = Settings().data_dir
    ask_fleet(data_dir, "/bots")
    kept = FleetRecords(data_dir).read().get(name)
    if kept is not None and kept.state in OVER and not leave_positions:
        run_loop(_refuse_open(data_dir, kept))
    _said("remove", name)


async def _refuse_open(data_dir: Path, kept: FleetBot) -> None:
    from services.app.backing import database
    from services.app.fleet_config import refuse_open, stored_positions
    from services.logs import quieten

    quieten()
    async with database(data_dir, kept.name, _database_of(kept)) as dsn:
        refuse_open(kept.name, await stored_positions(dsn, kept.name))


def _database_of(kept: FleetBot) -> str:
    """Where a bot stores; raises Misconfigured where its config does not say any more."""
    from coordinator.config_file import read_values
    from services.runtime.config import EMBEDDED

    try:
        section = read_values(Path(kept.config)).get("bot") or {}
    except Misconfigured as error:
        sentence = str(error).rstrip(".")
        raise Misconfigured(
            f"whether {kept.name} holds positions is not known, since its {sentence}; or give --leave-positions."
        ) from None
    return str(section.get("database", EMBEDDED)) if isinstance(section, dict) else EMBEDDED


def _said(command: str, bot: str, **more: Any) -> None:
    """Tell the supervisor, and print what it has done."""
    from services.control.client import ask_fleet

    said = {"command": command, "bot": bot, "source": "command line", **more}
    done = ask_fleet(Settings().data_dir, "/command", said).get("done")
    console().print(str(done), markup=False, highlight=False, soft_wrap=True)
