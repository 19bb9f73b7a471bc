"""Runs searches whose rows the data directory's database keeps, so that they go on where they were interrupted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from bot.errors import Misconfigured, TradingError
from search.runners import Threads
from services.app.backing import database
from services.runtime.config import EMBEDDED
from services.storage.trials import CANCELLED, FAILED, FINISHED, TrialStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from search.exploration import Progress, StoredRows
    from search.reading import AnySpace
    from search.session import Session
    from search.window import MarketHistory

ENDS_SECONDS = 0.5  # that a search which was told to end has for the batch it plays
Kind = TypeVar("Kind")
NO_BOT = ""  # whose rows a search has: no bot's


class Ended(Exception):
    """A search was told to end."""


class KeptTrials:
    """Trials of one session, for a search in another thread than the database's."""

    def __init__(self, store: TrialStore, session: Session, loop: asyncio.AbstractEventLoop) -> None:
        self.store, self.session, self._loop = store, session, loop

    def stored(self, window: int) -> StoredRows:
        """Read the rows of a window that are there."""
        return self._wait(self.store.stored(self.session.name, window))

    def add(self, window: int, rows: StoredRows) -> None:
        """Keep more rows of a window."""
        self._wait(self.store.add(self.session.name, window, rows))

    def looked(self) -> int:
        """Count the variants that other sessions have scored on the same candles."""
        return self._wait(self.store.looked(self.session.snapshot, self.session.name))

    def _wait(self, work: Coroutine[Any, Any, Kind]) -> Kind:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def runner_of(space: AnySpace, market: MarketHistory, workers: int, ray: str) -> Any:
    """Who plays: threads of this process, one for each processor unless `workers` says otherwise, or a Ray cluster."""
    if not ray:
        return Threads(workers or None)
    try:
        from search.ray_runner import RayRunner  # noqa: PLC0415, an extra
    except ImportError:
        raise Misconfigured("--ray needs Ray, which is not installed; install it with `uv sync --extra ray`.") from None
    return RayRunner(space, market, ray, threads=workers)


@asynccontextmanager
async def trial_store(data_dir: Path, address: str = EMBEDDED) -> AsyncIterator[TrialStore]:
    """Start, or join, the database of a data directory, and open its sessions."""
    async with database(data_dir, NO_BOT, address) as dsn:
        store = await TrialStore.open(dsn)
        try:
            yield store
        finally:
            await store.close()


async def run_search(
    data_dir: Path,
    session: Session,
    search: Callable[[KeptTrials, Callable[[Progress], None]], Kind],
    told: Callable[[Progress], None],
    result: Callable[[Kind], dict[str, Any]],
    address: str = EMBEDDED,
) -> Kind:
    """Run a search in a thread of its own, with its rows in the database, and keep what comes of it.

    Waits while another process runs the same one, and then has its rows. When it is cancelled, the rows that are there
    are kept, and the same search goes on from them.
    """
    async with trial_store(data_dir, address) as store:
        return await search_in(store, session, search, told, result)


async def search_in(
    store: TrialStore,
    session: Session,
    search: Callable[[KeptTrials, Callable[[Progress], None]], Kind],
    told: Callable[[Progress], None],
    result: Callable[[Kind], dict[str, Any]],
) -> Kind:
    """Run a search as `run_search` does, with its rows in a store that is open."""
    loop = asyncio.get_running_loop()

    def work(ended: threading.Event) -> Kind:
        def hear(progress: Progress) -> None:
            refuse_ended(ended)
            told(progress)

        return search(KeptTrials(store, session, loop), hear)

    async with store.held(session.name):
        await store.begin(session)
        try:
            found = await in_thread(work)
        except asyncio.CancelledError:
            await store.finish(session.name, CANCELLED, {})
            raise
        except TradingError as error:
            await store.finish(session.name, FAILED, {"verdict": [str(error)]})
            raise
        await store.finish(session.name, FINISHED, result(found))
        return found


def refuse_ended(ended: threading.Event) -> None:
    """Raise Ended where the work was told to end."""
    if ended.is_set():
        raise Ended


async def in_thread_telling(
    work: Callable[[Callable[[int, int], None]], Kind], told: Callable[[int, int], None]
) -> Kind:
    """Run work that tells how far it is (done, of) in a thread; when this is cancelled, it ends where it tells next."""

    def telling(ended: threading.Event) -> Kind:
        def tell(done: int, total: int) -> None:
            refuse_ended(ended)
            told(done, total)

        return work(tell)

    return await in_thread(telling)


async def in_thread(work: Callable[[threading.Event], Kind]) -> Kind:
    """Run work in a thread of its own; when this is cancelled, its event is set and it has a moment to end."""
    loop, ended = asyncio.get_running_loop(), threading.Event()
    done: asyncio.Future[Kind] = loop.create_future()

    def finish(found: Any, error: BaseException | None) -> None:
        if not done.cancelled():
            done.set_exception(error) if error is not None else done.set_result(found)

    def run() -> None:
        found, failed = None, None
        try:
            found = work(ended)
        except BaseException as error:  # noqa: BLE001, raised where it is awaited
            failed = error
        loop.call_soon_threadsafe(finish, found, failed)

    threading.Thread(target=run, daemon=True).start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        ended.set()
        await asyncio.wait([done], timeout=ENDS_SECONDS)
        if done.done():
            done.exception()  # heard
        raise
