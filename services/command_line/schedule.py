"""`traderagent schedule`: what workers do by the clock, when each task ran last and what it missed."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut, suggestion
from services.command_line.console import console
from services.command_line.jobs import AsJson, Database, ask_jobs
from services.settings import Settings

if TYPE_CHECKING:
    from services.app.schedule import ScheduledTask
    from services.storage.jobs import JobStore
    from services.storage.scheduled_runs import ScheduledRun

app = typer.Typer(help="What workers do by the clock: list, log, run.", no_args_is_help=True)


@app.command("list")
def list_tasks(database: Database = "", as_json: AsJson = False) -> None:
    """List the tasks: when each ran last, what it said, when it is due next, and how often it was missed since."""
    from services.app.schedule import TASKS, due_times, next_due

    last: dict[str, ScheduledRun] = ask_jobs(database, _last)
    now = datetime.now(UTC)
    rows = [
        {
            "task": task.name,
            "what": task.what,
            "last": last[task.name].began if task.name in last else None,
            "said": _said(last.get(task.name)),
            "missed": len(due_times(task, last[task.name].began, now)) if task.name in last else 0,
            "next": next_due(task, now),
        }
        for task in TASKS
    ]
    if as_json:
        print(json.dumps(rows, default=str))  # noqa: T201, for programs
        return
    from rich.table import Table

    table = Table(box=None)
    for name in rows[0]:
        table.add_column(name, justify="right" if name == "missed" else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console().print(table)


@app.command("log")
def log(database: Database = "", as_json: AsJson = False) -> None:
    """List the last hundred runs: what each did, and how many times it was due before without being run."""
    found: list[ScheduledRun] = ask_jobs(database, _runs)
    if as_json:
        print(json.dumps([asdict(one) for one in found], default=str))  # noqa: T201, for programs
        return
    from rich.table import Table

    table = Table(box=None)
    for name in ("task", "began", "missed before", "said"):
        table.add_column(name, justify="right" if name == "missed before" else "left")
    for one in found:
        table.add_row(one.name, _cell(one.began), str(one.missed), _said(one))
    console().print(table if found else "no task has run yet; `traderagent worker` runs them")


@app.command("run")
def run(
    task: Annotated[str, typer.Argument(help="a task of `schedule list`", metavar="TASK")], database: Database = ""
) -> None:
    """Run a task now."""
    from services.app.schedule import TASKS

    known = {one.name: one for one in TASKS}
    if task not in known:
        raise Misconfigured(f"task {cut(task)} is unknown; {suggestion(task, known)}.")
    done: ScheduledRun = ask_jobs(database, lambda store, dsn: _ran(known[task], store, dsn))
    console().print(_said(done), soft_wrap=True, highlight=False, markup=False)
    if done.fault is not None:
        raise typer.Exit(1)


async def _ran(task: ScheduledTask, store: JobStore, dsn: str) -> ScheduledRun:
    from services.app.schedule import TaskContext, run_task

    return await run_task(task, TaskContext(Settings().data_dir, dsn, store))


async def _last(store: JobStore, _dsn: str) -> dict[str, Any]:
    from services.storage.scheduled_runs import ScheduledRuns

    return dict(await ScheduledRuns(store.pool).last())


async def _runs(store: JobStore, _dsn: str) -> list[Any]:
    from services.storage.scheduled_runs import ScheduledRuns

    return list(await ScheduledRuns(store.pool).runs())


def _said(run: ScheduledRun | None) -> str:
    if run is None:
        return ""
    if run.fault is not None:
        return f"failed: {run.fault}"
    return run.said or "runs, or its worker was lost"


def _cell(value: Any) -> str:
    if value is None:
        return "never"
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)
