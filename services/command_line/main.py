"""The command `traderagent`: its sub-commands, and what a person sees when something is wrong.

Importing this loads every command, and no library that only some of them need (numba, polars, ccxt): a command
imports what it works with when it runs. Bad input is one sentence on the error stream and exit code 2, and so is a file
that the machine does not give or take. Anything unforeseen is a fault of the program and shows its trace.
"""

from __future__ import annotations

import sys
from copy import copy
from importlib import metadata
from typing import Annotated

import typer

from bot.errors import TradingError, cut
from services.command_line import (
    backtest,
    backup,
    batch,
    chaos,
    check,
    classify,
    collect,
    compare,
    data,
    drift,
    explain,
    export,
    fleet,
    import_bot,
    incident,
    indicators,
    jobs,
    journal,
    keys,
    live,
    new,
    parameters,
    parity,
    past,
    pipeline,
    presets,
    purge,
    replay,
    robustness,
    runs,
    scan,
    schedule,
    second_factor,
    sessions,
    set_up,
    strategies,
    suggest,
    sweep,
    telegram,
    upgrade,
    validate,
    watchdog,
    web,
    whatif,
)
from services.settings import read_secret_files

app = typer.Typer(
    name="traderagent",
    help="Trade with grid, DCA and trend bots, and backtest them with the very decisions the live bot takes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # frames around the help would take longer to load than the help to print
    context_settings={"max_content_width": 120},
    epilog="Exit codes: 0 done, 1 a check found a difference or a fault, 2 bad input or refused, as one sentence says, "
    "75 the bot's exchange did not answer, 130 interrupted by Ctrl-C.",
)
app.command("init")(set_up.init)
app.add_typer(data.app, name="data")
app.command("backtest")(backtest.backtest)
app.command("batch")(batch.batch)
app.command("collect")(collect.collect)
app.command("check")(check.check)
app.add_typer(new.app, name="new")
app.command("validate")(validate.validate)
app.command("compare")(compare.compare)
app.add_typer(suggest.app, name="suggest")
app.command("import-bot")(import_bot.import_bot)
app.command("sweep")(sweep.sweep)
app.command("walkforward")(sweep.walkforward)
app.command("montecarlo")(robustness.montecarlo)
app.command("stress")(robustness.stress)
app.add_typer(sessions.app, name="sessions")
app.command("staged")(jobs.staged)
app.add_typer(jobs.app, name="jobs")
app.command("worker")(jobs.worker)
app.add_typer(schedule.app, name="schedule")
app.add_typer(presets.app, name="presets")
app.add_typer(strategies.app, name="strategies")
app.command("classify")(classify.classify)
app.command("scan")(scan.scan)
app.command("pipeline")(pipeline.pipeline)
app.command("export")(export.export)
app.command("explain")(explain.explain)
app.add_typer(indicators.app, name="indicators")
app.add_typer(runs.app, name="runs")
app.command("demo")(live.demo)
app.command("run")(live.run)
app.command("doctor")(live.doctor)
app.command("ctl")(live.ctl)
app.command("logs")(past.logs)
app.command("stats")(past.stats)
app.add_typer(fleet.app, name="fleet")
app.add_typer(keys.app, name="keys")
app.add_typer(telegram.app, name="telegram")
app.command("watchdog")(watchdog.watchdog)
app.command("install-service")(set_up.install_service)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("upgrade")(upgrade.upgrade)
app.command("purge")(purge.purge)
app.command("replay")(replay.replay)
app.command("incident")(incident.incident)
app.add_typer(journal.app, name="journal")
app.command("venue")(live.venue)
app.command("web")(web.web)
app.add_typer(second_factor.app, name="second-factor")
app.command("chaos")(chaos.chaos)
app.command("drift")(drift.drift)
app.command("whatif")(whatif.whatif)
app.command("parity")(parity.parity)
app.command("parameters")(parameters.parameters)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"traderagent {metadata.version('traderagent')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def _only(name: str) -> typer.Typer:
    """The program with the command of this name alone, or whole where there is none such.

    Typer builds everything that it is given before it looks at a word, which takes a tenth of a second.
    """
    alone = copy(app)
    alone.registered_commands = [one for one in app.registered_commands if one.name == name]
    alone.registered_groups = [one for one in app.registered_groups if one.name == name]
    return alone if alone.registered_commands or alone.registered_groups else app


def main() -> None:
    """Run the command line."""
    try:
        read_secret_files()
        _only(sys.argv[1] if len(sys.argv) > 1 else "")()
    except TradingError as error:
        _refuse(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        _refuse(f"{cut(str(error.filename))}: {error.strerror}; check the path, its rights and the room on its disk.")


def _refuse(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)  # noqa: T201, the command line's own voice
    sys.exit(2)
