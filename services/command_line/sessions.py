"""`traderagent sessions`: the searches that are stored, what came of them, and their best as a config."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut
from services.command_line.console import console
from services.command_line.interrupt import run_loop
from services.command_line.jobs import Database, ask_jobs
from services.settings import Settings
from services.whole_file import write_whole

if TYPE_CHECKING:
    from services.storage.jobs import Job, JobStore
    from services.storage.trials import Listed

app = typer.Typer(help="Searches that are stored: list, show, export the best, purge.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="a session's name, or how it begins", metavar="SESSION")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command("list")
def list_sessions(database: Database = "", as_json: AsJson = False) -> None:
    """List every search, newest first."""
    found = _read(database)
    if as_json:
        print(json.dumps([asdict(one) for one in found], default=str))  # noqa: T201, for programs
        return
    from rich.table import Table

    table = Table(box=None)
    for name in ("session", "kind", "strategy", "method", "status", "trials", "begun"):
        table.add_column(name, justify="right" if name == "trials" else "left")
    for one in found:
        document = one.document
        table.add_row(
            *(one.session, one.kind, str(document.get("strategy")), document["search"]["method"], one.status),
            *(f"{one.trials:,}", f"{one.created:%Y-%m-%d %H:%M}"),
        )
    console().print(table if found else "no search is stored")


@app.command("show")
def show(session: Name, database: Database = "", as_json: AsJson = False) -> None:
    """Show what was asked and what came of it."""
    one = _named(session, database)
    if as_json:
        print(json.dumps(asdict(one), default=str))  # noqa: T201, for programs
        return
    import yaml

    said = console()
    said.print(
        f"{one.session}: {one.kind}, {one.status}, {one.trials:,} trials, begun {one.created:%Y-%m-%d %H:%M} UTC"
    )
    said.print(yaml.safe_dump(one.document, sort_keys=False), highlight=False)
    for sentence in (one.result or {}).get("verdict", ["It has not come to its end; the same search again goes on."]):
        said.print(f"- {sentence}", highlight=False)


@app.command("best")
def best(
    session: Name,
    out: Annotated[Path, typer.Option(help="config to write", metavar="FILE")] = Path("best.yaml"),
    variant: Annotated[
        int | None, typer.Option(help="another variant, by its number in rows.csv or an answer", metavar="NUMBER")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="write over a file that is there")] = False,
    database: Database = "",
) -> None:
    """Write the best of a search, or another of its variants, as a config for `backtest`, `run` and `demo`."""
    one = _named(session, database)
    config = (one.result or {}).get("config") if variant is None else _config_of(one, variant)
    if config is None:
        raise Misconfigured(f"session {one.session} is a {one.kind} that is {one.status}; what is finished has a best.")
    if out.exists() and not replace:
        raise Misconfigured(f"{cut(str(out))} exists; choose another file, or give --replace.")
    write_whole(out, config)
    console().print(f"{out}: next: traderagent backtest {out}", soft_wrap=True, highlight=False)


def _config_of(one: Listed, variant: int) -> str:
    """Config of a variant as YAML; raises Misconfigured for a number that the space does not have."""
    import yaml

    from search.reading import read_space

    space = read_space(one.document)
    if not 0 <= variant < space.size:
        raise Misconfigured(f"variant is {variant}, but session {one.session} has 0 to {space.size - 1}.")
    origin = f"# Variant {variant} of {one.kind} {one.session}, which has not chosen it by itself.\n"
    return origin + yaml.safe_dump(space.config(variant).document(), sort_keys=False)


@app.command("rerun")
def rerun(
    session: Name,
    candles: Annotated[Path | None, typer.Option(help="the candle file that it was given", metavar="FILE")] = None,
    out: Annotated[Path, typer.Option(help="folder for page, rows and config", metavar="FOLDER")] = Path("rerun"),
    replace: Annotated[bool, typer.Option("--replace", help="write over a folder that is there")] = False,
    database: Database = "",
    as_json: AsJson = False,
) -> None:
    """Search again as then, by today's code on today's candles: where either has changed, that is another session."""
    if out.exists() and not replace:
        raise Misconfigured(f"{cut(str(out))} exists; choose another folder, or give --replace.")
    one = _named(session, database)
    from search.reading import read_space
    from services.command_line.sweep import sweep_into, walk_forward_into

    into = sweep_into if one.kind == "sweep" else walk_forward_into
    into(read_space(one.document), out, candles, database=database, as_json=as_json)


@app.command("cancel")
def cancel(session: Name, database: Database = "") -> None:
    """End the job that plays a session; what it has stored stays, and the same search goes on from it."""
    one = _named(session, database)
    active = ask_jobs(database, lambda store, _dsn: store.jobs(active=True, most=100_000))
    found = [job for job in active if job.session == one.session]
    if not found:
        raise Misconfigured(
            f"session {one.session} is {one.status}, and no job plays it; a command that does is ended by Ctrl-C."
        )
    for job in found:
        ended = ask_jobs(database, partial(_cancel, job.job))
        console().print(f"job {ended.job} is {ended.status}")


async def _cancel(job: int, store: JobStore, _dsn: str) -> Job:
    return await store.cancel(job)


@app.command("purge")
def purge(
    session: Annotated[
        str | None, typer.Argument(help="a session's name, or how it begins; or options instead", metavar="SESSION")
    ] = None,
    older: Annotated[
        float | None, typer.Option(help="those that were begun longer ago", metavar="DAYS", min=0, max=36_500)
    ] = None,
    keep_trials: Annotated[
        int | None, typer.Option(help="the oldest, until no more trials than this are kept", metavar="NUMBER", min=0)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="do it; without this, show what would go")] = False,
    database: Database = "",
) -> None:
    """Forget searches and their trials: they no longer count among those that looked at the same candles.

    One by name, or all that are older than some days, or more than is to be kept; a search that runs stays.
    """
    if (session is not None) == (older is not None or keep_trials is not None):
        raise Misconfigured(
            "purge names no search, or two ways to choose; give a session's name, or --older, --keep-trials."
        )
    going = [_named(session, database)] if session is not None else _superfluous(_read(database), older, keep_trials)
    for one in going:
        console().print(f"session {one.session}, a {one.kind} of {one.created:%Y-%m-%d} with {one.trials:,} trials")
    if not yes:
        console().print(f"would forget {len(going):,} of these; give --yes to do it")
        return
    run_loop(_with_store(database, lambda store: store.purge([one.session for one in going])))
    console().print(f"forgot {len(going):,}")


def _superfluous(found: list[Listed], older: float | None, keep_trials: int | None) -> list[Listed]:
    """Those that ended and are older, or beyond what is kept, oldest first."""
    from services.storage.trials import RUNNING

    now, kept, going = datetime.now(UTC), 0, []
    for one in found:  # newest first
        kept += one.trials
        old = older is not None and one.created < now - timedelta(days=older)
        if one.status != RUNNING and (old or (keep_trials is not None and kept > keep_trials)):
            going.append(one)
    return going[::-1]


def _read(database: str) -> list[Listed]:
    found: list[Listed] = run_loop(_with_store(database, lambda store: store.sessions()))
    return found


async def _with_store(database: str, ask: Any) -> Any:
    from services.app.search import trial_store
    from services.logs import passwords, quieten
    from services.runtime.config import EMBEDDED

    quieten(secrets=passwords(database))
    async with trial_store(Settings().data_dir, database or EMBEDDED) as store:
        return await ask(store)


def _named(name: str, database: str) -> Listed:
    """Find the one session whose name begins so; raises Misconfigured."""
    found = [one for one in _read(database) if one.session.startswith(name)]
    if len(found) != 1:
        said = "no session's name begins" if not found else f"the names of {len(found)} sessions begin"
        raise Misconfigured(f"{said} with {cut(name)}; `traderagent sessions list` has them.")
    return found[0]
