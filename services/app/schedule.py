"""What workers do by the clock: refresh what markets say, search presets anew, compare fills, forget what is old.

pgqueuer sees to it that one worker runs a task when it is due, and at once where it was due while none ran.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from bot.errors import Misconfigured, TradingError, cut
from bot.market import Market
from services.app.preset_library import presets_of, today
from services.app.research_process import ResearchProcess
from services.drift_days import bots_with_sessions, told
from services.market_data.funding import FundingStore
from services.market_data.instruments import save_instruments
from services.market_data.store import CandleStore
from services.storage.installation import back_up_all, file_name, remove_older
from services.storage.jobs import JobStore
from services.storage.scheduled_runs import ScheduledRun, ScheduledRuns
from services.storage.trials import TrialStore

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger()

OWNER = "schedule"  # of the jobs that a task queues
KEPT_DAYS = 30.0  # jobs that have ended
KEPT_BACKUPS = 14
DRIFT_SECONDS = 3600.0  # that the comparison of one bot may take
BEFORE_EXPIRY = timedelta(days=7)
VENUES = ("bybit", "binance")
SESSION_NAMES = re.compile(r"\b[0-9a-f]{16}\b")

Do = Callable[["TaskContext"], Awaitable[str]]


@dataclass(frozen=True)
class TaskContext:
    """What tasks work with."""

    data_dir: Path
    dsn: str
    jobs: JobStore


@dataclass(frozen=True)
class ScheduledTask:
    """A task and when it is due, as cron says it, UTC."""

    name: str
    cron: str
    what: str
    do: Do


async def _instruments(around: TaskContext) -> str:
    """Fetch instruments of every market that has candles: ticks and lots by day, listings and delistings."""
    from services.market_data.venue import client, fetch_instruments  # noqa: PLC0415, loads ccxt

    markets = {(one.venue, one.market) for one in CandleStore(around.data_dir).series() if one.venue in VENUES}
    said = []
    for venue, market in sorted(markets):
        kind = Market(market)
        found = await asyncio.to_thread(fetch_instruments, client(venue, kind), kind)
        now = int(time.time() * 1000)
        saved = save_instruments(around.data_dir, venue, kind, [(now, one) for one in found])
        said.append(f"{venue} {market}: {len(found)} instruments, {saved.changed} new or changed")
    return "; ".join(said) or "no candles of bybit or binance are stored, so there was nothing to fetch"


async def _funding(around: TaskContext) -> str:
    """Fetch the funding that was paid since the last that is stored, of every pair that has a history."""
    from services.market_data.venue import client, download_funding  # noqa: PLC0415, loads ccxt

    store, count = FundingStore(around.data_dir), 0
    series = [one for one in store.series() if one.venue in VENUES]
    for one in series:
        held, now = store.read(one), int(time.time() * 1000)
        first = now if held is None or not len(held.ts) else int(held.ts[-1]) + 1
        venue = client(one.venue, Market.LINEAR)
        written = await asyncio.to_thread(download_funding, store, venue, one, first, now, lambda _done, _total: None)
        count += written.new
    return f"{len(series)} pairs, {count} settlements new"


async def _presets(around: TaskContext) -> str:
    """Queue the search of every own preset that expires within a week, by today's code on today's candles."""
    due = [
        one
        for one in presets_of(around.data_dir)
        if one.own and one.expires is not None and one.marked is None and one.expires <= today() + BEFORE_EXPIRY
    ]
    if not due:
        return "no preset expires within a week"
    store = await TrialStore.open(around.dsn)
    try:
        sessions = {one.session: one for one in await store.sessions()}
    finally:
        await store.close()
    said = []
    for preset in due:
        named = [one for one in SESSION_NAMES.findall(" ".join(preset.comments)) if one in sessions]
        if not named:
            said.append(f"{preset.name} expires on {preset.expires} and names no stored session: search it by hand")
            continue
        session = sessions[named[-1]]
        job = await around.jobs.submit(OWNER, session.kind, session.document)
        said.append(f"{preset.name} expires on {preset.expires}: job {job.job}")
    return "; ".join(said)


async def _retention(around: TaskContext) -> str:
    """Forget jobs that ended long ago; sessions stay until somebody purges them: they say how often one looked."""
    count = await around.jobs.purge(datetime.now(UTC) - timedelta(days=KEPT_DAYS))
    return f"forgot {count} jobs that ended more than {KEPT_DAYS:.0f} days ago"


async def _backup(around: TaskContext) -> str:
    """Back up the whole installation, and remove what is older than the last of them."""
    folder = around.data_dir / "backups"
    file = folder / file_name(datetime.now(UTC))
    contents = await back_up_all(around.dsn, around.data_dir, file)
    removed = remove_older(folder, KEPT_BACKUPS)
    return f"{file.name}: {contents.told()}, {file.stat().st_size / 1e6:.1f} MB; {removed} older ones removed"


async def _drift(around: TaskContext) -> str:
    """Compare yesterday's fills of every bot whose sessions lie here with their simulation, in a process of its own."""
    yesterday = str((datetime.now(UTC) - timedelta(days=1)).date())
    process, said = ResearchProcess(around.data_dir, DRIFT_SECONDS), []
    try:
        for bot in bots_with_sessions(around.data_dir):
            asked = {"bot": bot, "database": around.dsn, "day": yesterday}
            try:
                said.append(told(await process.ask("drift", asked)))
            except Misconfigured as error:  # of this bot: the others are compared all the same
                said.append(f"{bot}: {error}")
    finally:
        await process.close()
    return "; ".join(said) or "no bot's sessions lie in this data directory"


TASKS = (
    ScheduledTask("instruments", "10 0 * * *", "ticks, lots, fees and listings of markets with candles", _instruments),
    ScheduledTask("funding", "20 */8 * * *", "funding that was paid since the last", _funding),
    ScheduledTask("presets", "0 1 * * *", "search again what expires within a week", _presets),
    ScheduledTask("drift", "40 0 * * *", "compare yesterday's fills with their simulation", _drift),
    ScheduledTask("retention", "30 2 * * *", f"forget jobs that ended {KEPT_DAYS:.0f} days ago", _retention),
    ScheduledTask("backup", "40 3 * * *", f"back up the installation; the last {KEPT_BACKUPS} are kept", _backup),
)


class Schedule:
    """The tasks of a worker."""

    def __init__(self, data_dir: Path, dsn: str, tasks: tuple[ScheduledTask, ...] = TASKS) -> None:
        self.data_dir, self.dsn, self.tasks = data_dir, dsn, tasks

    def enter(self, queue: Any, jobs: JobStore) -> None:
        """Enter every task at pgqueuer."""
        around = TaskContext(self.data_dir, self.dsn, jobs)
        for task in self.tasks:

            async def run(_due: Any, task: ScheduledTask = task) -> None:
                await run_task(task, around)

            queue.schedule(task.name, task.cron, accepts_context=False)(run)


async def run_task(task: ScheduledTask, around: TaskContext) -> ScheduledRun:
    """Run a task now, and write what it did or what was wrong; what it could not do is due again the next time."""
    runs = ScheduledRuns(around.jobs.pool)
    before = (await runs.last()).get(task.name)
    number = await runs.begin(task.name, missed(task, before, datetime.now(UTC)))
    said, fault = None, None
    try:
        said = await task.do(around)
    except (TradingError, OSError) as error:
        fault = cut(str(error))
        log.warning("scheduled_task_failed", task=task.name, error=fault)
    except Exception as error:
        fault = f"fault of the program: {type(error).__name__}: {cut(str(error))}"
        log.exception("scheduled_task_failed", task=task.name)
    await runs.end(number, said, fault)
    return next(one for one in await runs.runs(task.name) if one.run == number)


def missed(task: ScheduledTask, before: ScheduledRun | None, now: datetime) -> int:
    """How often a task was due between its last run and the time that is due now; 0 for one that has never run."""
    if before is None:
        return 0
    return max(len(due_times(task, before.began, now)) - 1, 0)


def due_times(task: ScheduledTask, after: datetime, until: datetime, most: int = 1000) -> list[datetime]:
    """Times at which a task is due, after one time and until another."""
    from croniter import croniter  # noqa: PLC0415, an extra

    found: list[datetime] = []
    times = croniter(task.cron, after)
    while len(found) < most and (due := times.get_next(datetime)) <= until:
        found.append(due)
    return found


def next_due(task: ScheduledTask, after: datetime) -> datetime:
    """When it is due next."""
    from croniter import croniter  # noqa: PLC0415, an extra

    due: datetime = croniter(task.cron, after).get_next(datetime)
    return due
