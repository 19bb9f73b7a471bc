"""The outbox of the journal: sends each revision to each target until it is taken, or refused for good."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aiohttp
import structlog

from bot.ports import Unreachable
from coordinator.config_file import read_values
from services.journal.settings import FILE, JournalSettings, journal_settings
from services.journal.targets import TargetRefused, targets_of
from services.logs import conceal
from services.webhooks import Later

if TYPE_CHECKING:
    from pathlib import Path

    from services.journal.targets import Target
    from services.storage.history import History
    from services.storage.journal import JournalStore

log = structlog.get_logger()

LEAST_PAUSE, MOST_PAUSE = 5.0, 3600.0  # seconds before it is tried again
MOST_TRIES = 20
LOOK_SECONDS = 5.0  # between two looks at the outbox
SYNC_SECONDS = 30.0  # between two looks for closed trades of bots


def settings_of(data_dir: Path) -> JournalSettings:
    """Whom the journal of a data directory tells: nobody without a file. Raises Misconfigured."""
    path = data_dir / FILE
    return journal_settings(read_values(path), path) if path.is_file() else JournalSettings()


async def send_due(store: JournalStore, targets: dict[str, Target]) -> int:
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
            await asyncio.sleep(LOOK_SECONDS)
