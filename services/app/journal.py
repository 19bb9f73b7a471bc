"""The outbox of the journal: sends each revision to each target until it is taken, or refused for good."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import structlog

from bot.ports import Unreachable
from coordinator.config_file import read_values
from services.app.journal_export import csv_of, image_of, zipped
from services.journal.settings import FILE, JournalSettings, journal_settings
from services.journal.targets import TargetRefused, targets_of
from services.logs import conceal
from services.storage.history import History
from services.storage.journal import JournalStore
from services.storage.read_pool import ReadPool
from services.storage.schema import migrate
from services.webhooks import Later

if TYPE_CHECKING:
    from pathlib import Path

    from services.journal.targets import JournalTarget

log = structlog.get_logger()

PICTURES = "journal"  # folder of the pictures, in the data directory
LEAST_PAUSE, MOST_PAUSE = 5.0, 3600.0  # seconds before it is tried again
MOST_TRIES = 20
POLL_SECONDS = 5.0  # between two polls of the outbox
SYNC_SECONDS = 30.0  # between two looks for closed trades of bots


def settings_of(data_dir: Path) -> JournalSettings:
    """Whom the journal of a data directory tells: nobody without a file. Raises Misconfigured."""
    path = data_dir / FILE
    return journal_settings(read_values(path), path) if path.is_file() else JournalSettings()


class Journal:
    """The journal for pages and commands: its rows, the closed trades of bots, and the files of its pictures."""

    def __init__(self, store: JournalStore, history: History, data_dir: Path) -> None:
        self.store, self.history, self.folder = store, history, data_dir / PICTURES

    async def records(
        self, search: str = "", source: str = "", symbol: str = "", tag: str = "", start: int = 0, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Records by exit, the newest first, with what bots have closed meanwhile."""
        await self.store.sync_live(self.history, await self.history.bots())
        return await self.store.records(search, source, symbol, tag, start, limit)

    async def record(self, record: str) -> dict[str, Any] | None:
        """One record; None where there is none of this name."""
        return await self.store.record(record)

    async def edit(self, record: str, revision: int, notes: str, tags: list[str]) -> dict[str, Any]:
        """Give a record other notes and tags."""
        return await self.store.edit(record, revision, notes, tags)

    async def outbox(self) -> dict[str, Any]:
        """How many revisions wait, were sent and failed."""
        return await self.store.outbox()

    async def image(self, place: str) -> bytes | None:
        """A picture of a record; None where there is none."""
        return await asyncio.to_thread(image_of, self.folder, place)

    def csv(self, records: list[dict[str, Any]]) -> str:
        """Records as CSV."""
        return csv_of(records)

    async def exported(self, records: list[dict[str, Any]]) -> bytes:
        """Records as Markdown with their pictures, a ZIP."""
        return await asyncio.to_thread(zipped, records, self.folder)


@asynccontextmanager
async def journal_of(dsn: str, data_dir: Path) -> AsyncIterator[Journal]:
    """Open the journal of a database, whose tables are brought up to date."""
    await migrate(dsn)
    pool = ReadPool(dsn)
    try:
        yield Journal(JournalStore(pool, settings_of(data_dir).targets()), History(pool), data_dir)
    finally:
        await pool.close()


async def send_due(store: JournalStore, targets: dict[str, JournalTarget]) -> int:
    """Send what is due; how many were sent."""
    count = 0
    while (taken := await store.take()) is not None:
        record = await store.record(taken["record"])
        if record is None or record["revision"] != taken["revision"]:
            await store.settle(taken, "replaced")
            continue
        try:
            await targets[taken["target"]].send(record)
        except TargetRefused as refused:
            log.warning("journal_refused", target=taken["target"], record=taken["record"], reason=str(refused))
            await store.settle(taken, "failed", fault=str(refused))
        except Later as later:
            pause = min(LEAST_PAUSE * 2.0 ** (taken["tries"] - 1), MOST_PAUSE)
            over = taken["tries"] >= MOST_TRIES
            log.warning("journal_not_sent", target=taken["target"], record=taken["record"], reason=str(later))
            wait = pause if later.seconds is None else max(later.seconds, 1.0)
            await store.settle(taken, "failed" if over else "waiting", wait, str(later))
        else:
            await store.settle(taken, "sent")
            count += 1
    return count


async def send_for_ever(store: JournalStore, history: History, settings: JournalSettings) -> None:
    """Write closed trades of bots into the journal, and send what waits, while somebody is to be told."""
    if not settings.targets():
        return
    conceal(settings.secrets())
    synced = -SYNC_SECONDS
    async with aiohttp.ClientSession() as session:
        targets = targets_of(settings, session, time.time)
        while True:
            try:
                if time.monotonic() - synced >= SYNC_SECONDS:
                    await store.sync_live(history, await history.bots())
                    synced = time.monotonic()
                await send_due(store, targets)
            except Unreachable as error:
                log.warning("journal_away", reason=str(error))
            await asyncio.sleep(POLL_SECONDS)


def told_of_end(sending: asyncio.Task[None]) -> None:
    """Log why sending has ended, where nobody has ended it."""
    if not sending.cancelled() and sending.exception() is not None:
        log.error("journal_ended", exc_info=sending.exception())
