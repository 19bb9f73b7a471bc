"""`traderagent jobs`, `worker` and `staged`: work that waits, who plays it, and requests that are answered at once."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut
from services.command_line.console import console, progress
from services.command_line.interrupt import run_loop
from services.command_line.live import signed_in
from services.settings import DATABASE, Settings
from services.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.storage.jobs import Job, JobStore

app = typer.Typer(help="Work that waits for a worker: submit, list, show, cancel, retry, purge.", no_args_is_help=True)

SHOWN = 10  # rows of an answer
Number = Annotated[int, typer.Argument(help="a job's number", metavar="JOB", min=1)]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
User = Annotated[str, typer.Option(help="whose job it is [default: who is signed in]", metavar="NAME")]
Database = Annotated[
    str,
    typer.Option(help="address of your Postgres [default: the data directory's own]", metavar="DSN", envvar=DATABASE),
]


@app.command("submit")
def submit(
    kind: Annotated[
        str, typer.Argument(help="sweep, walkforward, staged, batch, download, repair or scan", metavar="KIND")
    ],
    request: Annotated[Path, typer.Argument(help="YAML file of what is asked for", metavar="FILE")],
    user: User = "",
    priority: Annotated[int, typer.Option(help="higher ones first", metavar="NUMBER", min=-1000, max=1000)] = 0,
    database: Database = "",
    as_json: AsJson = False,
) -> None:
    """Queue a search or a batch; the same request that waits or runs already is found, not queued twice."""
    from services.app.job_kinds import read_request

    document = read_request(kind, request)
    _say_queued(
        ask_jobs(database, lambda store, _dsn: store.submit(user or signed_in() or "user", kind, document, priority)),
        as_json,
    )


@app.command("list")
def list_jobs(
    user: User = "",
    active: Annotated[bool, typer.Option("--active", help="those that wait and run alone")] = False,
    database: Database = "",
    as_json: AsJson = False,
) -> None:
    """List the newest hundred jobs."""
    found: list[Job] = ask_jobs(database, lambda store, _dsn: store.jobs(user or None, active=active))
    if as_json:
        print(json.dumps([asdict(one) for one in found], default=str))  # noqa: T201, for programs
        return
    from rich.table import Table

    table = Table(box=None)
    for name in ("job", "user", "kind", "status", "progress", "attempts", "queued"):
        table.add_column(name, justify="right" if name in ("job", "progress", "attempts") else "left")
    for one in found:
        cells = (str(one.job), one.owner, one.kind, one.status, _progress(one), str(one.attempts))
        table.add_row(*cells, f"{one.queued:%Y-%m-%d %H:%M}")
    console().print(table if found else "no job")


@app.command("show")
def show(job: Number, database: Database = "", as_json: AsJson = False) -> None:
    """Show how far a job is, its best so far, and what came of it."""
    one: Job = ask_jobs(database, lambda store, _dsn: store.job(job))
    if as_json:
        print(json.dumps(asdict(one), default=str))  # noqa: T201, for programs
        return
    said = console()
    line = f"job {one.job} of {one.owner}: {one.kind}, {one.status}, {_progress(one)}"
    said.print(line, highlight=False)
    for sentence in _sentences(one):
        said.print(f"- {sentence}", highlight=False, soft_wrap=True, markup=False)


@app.command("cancel")
def cancel(job: Number, database: Database = "") -> None:
    """End a job that waits or runs; one that has ended stays as it is."""
    one: Job = ask_jobs(database, lambda store, _dsn: store.cancel(job))
    console().print(f"job {one.job} is {one.status}")


@app.command("retry")
def retry(job: Number, database: Database = "") -> None:
    """Queue a failed or cancelled job anew; a search goes on from the rows that it has."""
    one: Job = ask_jobs(database, lambda store, _dsn: store.again(job))
    console().print(f"job {one.job} is {one.status}")


@app.command("purge")
def purge(
    days: Annotated[float, typer.Option(help="forget what ended longer ago", metavar="DAYS", min=0, max=36_500)] = 30.0,
    yes: Annotated[bool, typer.Option("--yes", help="do it; without this, show what would go")] = False,
    database: Database = "",
) -> None:
    """Forget jobs that have ended, with their results; sessions and their rows stay."""
    before = datetime.now(UTC) - timedelta(days=days)
    if yes:
        count = ask_jobs(database, lambda store, _dsn: store.purge(before))
        console().print(f"forgot {count:,} jobs")
        return
    count = ask_jobs(database, lambda store, _dsn: store.ended(before))
    console().print(f"would forget {count:,} jobs that ended before {before:%Y-%m-%d %H:%M} UTC; give --yes to do it")


def worker(
    lease: Annotated[
        float, typer.Option(help="silence after which a job is another's, seconds", envvar="TRADERAGENT_LEASE", min=1)
    ] = 60.0,
    heartbeat: Annotated[
        float, typer.Option(help="between signs of life, seconds", envvar="TRADERAGENT_HEARTBEAT", min=0.1)
    ] = 5.0,
    poll: Annotated[
        float, typer.Option(help="between looks for jobs, seconds", envvar="TRADERAGENT_POLL", min=0.05)
    ] = 1.0,
    active: Annotated[
        int, typer.Option(help="jobs of one user that run at once", envvar="TRADERAGENT_ACTIVE", min=1, max=1000)
    ] = 2,
    at_once: Annotated[int, typer.Option(help="jobs of this worker at once", min=2, max=64)] = 2,
    drain: Annotated[bool, typer.Option("--drain", help="end when nothing waits")] = False,
    schedule: Annotated[
        bool, typer.Option("--schedule/--no-schedule", help="do what `traderagent schedule list` has by the clock")
    ] = True,
    metrics_port: Annotated[int, typer.Option(help="where Prometheus finds it; 0: nowhere", min=0, max=65_535)] = 0,
    database: Database = "",
) -> None:
    """Play jobs until Ctrl-C; start several, also on other machines with `--database`.

    What is played at Ctrl-C goes back to the queue, and what a worker played that died goes to another after the lease.
    """
    if heartbeat * 2 > lease:
        raise Misconfigured(f"heartbeat is {heartbeat:g}, more than half of the lease of {lease:g}; take less.")
    from services.app.worker import WorkerLimits
    from services.logs import quieten

    quieten()
    limits = WorkerLimits(lease, heartbeat, poll, active, at_once=at_once)
    run_loop(_work(limits, drain=drain, schedule=schedule, metrics_port=metrics_port, database=database))


def staged(
    request: Annotated[Path, typer.Argument(help="YAML file: a space, without method and top", metavar="FILE")],
    user: User = "",
    job: Annotated[bool, typer.Option("--job", help="do not answer now, let a worker play it")] = False,
    seconds: Annotated[
        float,
        typer.Option(help="time for an answer, after which it becomes a job", min=0.1, max=600),
    ] = 30.0,
    out: Annotated[Path | None, typer.Option(help="file for the answer", metavar="FILE")] = None,
    as_json: AsJson = False,
) -> None:
    """Rank a space in two stages, and answer with its best; what is too large for that becomes a job.

    The first stage leaves out what sizes and protects, the second multiplies the best of it by that. Ranked by total
    return unless the file says otherwise, with alpha and beta beside it.
    """
    from services.app.staged import ANSWERED, read_staged, ready_request, too_large_for_now
    from services.logs import quieten

    quieten()
    asked, data_dir = read_staged(request), Settings().data_dir
    search = ready_request(asked, data_dir)
    reason = "asked for" if job else too_large_for_now(asked, search)
    answer = None if reason else _answered(asked, search, seconds)
    if answer is None:
        owner = user or signed_in() or "user"
        queued = ask_jobs("", lambda store, _dsn: store.submit(owner, "staged", asked.document))
        _say_queued(queued, as_json, reason or f"it takes longer than {seconds:g} seconds")
        return
    answered = {**answer, "rows": answer["rows"][:ANSWERED]}
    if out is not None:
        write_whole(out, json.dumps(answered, indent=2) + "\n")
    if as_json:
        print(json.dumps(answered))  # noqa: T201, for programs
    else:
        _show_answer(answered)


def _answered(asked: Any, search: Any, seconds: float) -> dict[str, Any] | None:
    from services.app.staged import answer_at_once

    data_dir = Settings().data_dir
    with progress("playing") as show:

        def told(now: Any) -> None:
            show(now.done / max(now.total, 1), f"{now.done:,} of {now.total:,}")

        found: dict[str, Any] | None = run_loop(answer_at_once(asked, search, data_dir, told, seconds))
    return found


async def _work(limits: Any, *, drain: bool, schedule: bool, metrics_port: int, database: str) -> None:
    import asyncio

    from services.app.backing import database as opened
    from services.app.job_kinds import job_kinds
    from services.app.schedule import Schedule
    from services.app.search import NO_BOT
    from services.app.worker import Worker
    from services.runtime.config import EMBEDDED

    data_dir = Settings().data_dir
    async with opened(data_dir, NO_BOT, database or EMBEDDED) as dsn:
        one = Worker(dsn, job_kinds(data_dir, dsn), limits, Schedule(data_dir, dsn) if schedule else None)
        if metrics_port:
            from prometheus_client import start_http_server

            start_http_server(metrics_port, "127.0.0.1", one.metrics.registry)
        console().print(f"worker {one.name}: waits for jobs; Ctrl-C ends it", highlight=False)
        running = asyncio.ensure_future(one.run(drain=drain))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            one.stop()
            await running
            raise


def ask_jobs(database: str, question: Callable[[JobStore, str], Awaitable[Any]]) -> Any:
    """Ask the queue of the data directory, or of your database."""
    from services.logs import quieten

    quieten()
    return run_loop(_asked(database, question))


async def _asked(database: str, question: Callable[[JobStore, str], Awaitable[Any]]) -> Any:
    from services.app.backing import database as opened
    from services.app.search import NO_BOT
    from services.runtime.config import EMBEDDED
    from services.storage.jobs import JobStore

    async with opened(Settings().data_dir, NO_BOT, database or EMBEDDED) as dsn:
        store = await JobStore.open(dsn)
        try:
            return await question(store, dsn)
        finally:
            await store.close()


def _say_queued(job: Job, as_json: bool, reason: str = "") -> None:
    if as_json:
        print(json.dumps(asdict(job), default=str))  # noqa: T201, for programs
        return
    why = f" ({reason})" if reason else ""
    console().print(
        f"job {job.job} is {job.status}{why}: next: traderagent worker, traderagent jobs show {job.job}",
        soft_wrap=True,
        highlight=False,
    )


def _progress(job: Job) -> str:
    if not job.total:
        return ""
    return f"{job.done:,} of {job.total:,}"


def _sentences(job: Job) -> list[str]:
    """What there is to say of a job."""
    said = []
    if job.lost:
        said.append(f"{job.lost} of its workers were lost, so its progress fell back; what they had stored is used")
    if job.best is not None:
        said.append("best so far: " + ", ".join(f"{name} {cut(str(value))}" for name, value in job.best.items()))
    if job.fault:
        said.append(job.fault)
    result = job.result or {}
    if "batch_id" in result:
        said.append(f"{result['completed']:,} of {result['total_runs']:,} runs completed, {result['failed']:,} failed")
    said += result.get("verdict", result.get("sentences", []))
    if "session" in result:
        said.append(f"session {result['session']}: traderagent sessions best {result['session']}")
    return said


def _show_answer(answer: dict[str, Any]) -> None:
    from rich.table import Table

    from search.axes import short_key

    table, ranking = Table(box=None), answer["ranking"]
    figures = [*dict.fromkeys((*ranking, "total_return_pct", "alpha_pct", "beta"))]
    for name in ("variant", *(short_key(key) for key in answer["rows"][0]["parameters"])):
        table.add_column(name, justify="right")
    for part in ("in sample", "held out"):
        for name in figures:
            table.add_column(f"{name.removesuffix('_pct').replace('_', ' ')}\n{part}", justify="right")
    for row in answer["rows"][:SHOWN]:
        numbers = [row[part][name] for part in ("in_sample", "held_out") for name in figures]
        cells = [f"{one:.10g}" if isinstance(one, float) else str(one) for one in row["parameters"].values()]
        table.add_row(row["variant_key"][:8], *cells, *("" if one is None else f"{one:,.2f}" for one in numbers))
    console().print(table)
    for sentence in answer["sentences"]:
        console().print(f"- {sentence}", highlight=False)
    console().print(f"session {answer['session']}, request {answer['request_hash']}", highlight=False)
