"""The kinds of jobs: how a worker plays what was asked for, and what is kept of it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from bot.errors import Misconfigured, shown
from bot.sources import read_sources
from search.batch import read_batch, summary
from search.reading import read_space
from services.app.batch import WORKERS, BatchPlayer, play_batch
from services.app.criteria import judged_by_of
from services.app.download_jobs import DOWNLOAD, REPAIR, play_download, read_download
from services.app.research import ReadySearch, SearchKind, ready_search
from services.app.scan import SCAN, play_scan, read_scan
from services.app.search import in_thread_telling
from services.app.staged import StagedRequest, answer_of, read_staged, ready_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from search.exploration import Progress
    from services.app.worker import Play, Told

STAGED, BATCH = "staged", "batch"
KINDS = (*SearchKind, STAGED, BATCH, DOWNLOAD, REPAIR, SCAN)
READING = threading.Lock()  # formulas and strategy files: Python 3.11 may fail to parse in two threads at once


def read_request(kind: str, source: dict[str, Any] | Path) -> dict[str, Any]:
    """Read what a job is to play, as it is stored; raises Misconfigured for what could not be played."""
    if kind not in KINDS:
        raise Misconfigured(f"kind is {shown(kind)}; choose one of {', '.join(KINDS)}.")
    if kind == STAGED:
        return read_staged(source).document
    if kind == BATCH:
        return read_batch(source).document
    if kind in (DOWNLOAD, REPAIR):
        return read_download(kind, source)
    if kind == SCAN:
        return json_of(read_scan(source))
    return json_of(read_space(source).source())


def json_of(document: Any) -> dict[str, Any]:
    """Write a document as JSON has it."""
    found: dict[str, Any] = json.loads(json.dumps(document, default=str))
    return found


def job_kinds(data_dir: Path, address: str) -> dict[str, Play]:
    """Every kind by its name, for candles of a data directory and the database at `address`."""
    read_sources()
    plays: dict[str, Play] = {kind.value: partial(_play_search, data_dir, address, kind) for kind in SearchKind}
    plays[STAGED] = partial(_play_staged, data_dir, address)
    plays[BATCH] = partial(_play_batch, data_dir)
    plays |= {kind: partial(play_download, data_dir, kind) for kind in (DOWNLOAD, REPAIR)}
    plays[SCAN] = partial(_play_scan, data_dir)
    return plays


async def _play_scan(data_dir: Path, request: dict[str, Any], told: Told) -> dict[str, Any]:
    return json_of(await play_scan(data_dir, request, told))


async def _play_search(
    data_dir: Path, address: str, kind: SearchKind, request: dict[str, Any], told: Told
) -> dict[str, Any]:
    search = await asyncio.to_thread(_ready, kind, request, data_dir)
    found = await search.run(data_dir, _teller(search, told), address=address)
    return {"session": search.session.name, **search.kept(found)}


def _ready(kind: SearchKind, request: dict[str, Any], data_dir: Path) -> ReadySearch:
    with READING:
        return ready_search(kind, read_space(request), None, data_dir)


def _ready_staged(request: dict[str, Any], data_dir: Path) -> tuple[StagedRequest, ReadySearch]:
    with READING:
        staged = read_staged(request)
        return staged, ready_request(staged, data_dir)


async def _play_staged(data_dir: Path, address: str, request: dict[str, Any], told: Told) -> dict[str, Any]:
    staged, search = await asyncio.to_thread(_ready_staged, request, data_dir)
    found = await search.run(data_dir, _teller(search, told), address=address)
    return await asyncio.to_thread(answer_of, staged, search, found)


async def _play_batch(data_dir: Path, request: dict[str, Any], told: Told) -> dict[str, Any]:
    """Play a batch in a thread; one that is cancelled ends after the runs that are being played."""

    def play(tell: Callable[[int, int], None]) -> dict[str, Any]:
        with READING:
            asked = read_batch(request)
        began = time.monotonic()
        player = BatchPlayer(data_dir, asked.candles, judged_by=judged_by_of(asked.validation))
        played = play_batch(asked.runs, player, WORKERS, lambda done, total, _failed: tell(done, total))
        return summary(played.outcomes, (time.monotonic() - began) / 60.0)

    return await in_thread_telling(play, told)


def _teller(search: ReadySearch, told: Told) -> Callable[[Progress], None]:
    """Say how far a search is, and which variant is best so far, where that has changed."""
    told.session = search.session.name
    metric, last = search.space.objective.metrics[0].text, None

    def tell(now: Progress) -> None:
        nonlocal last
        best = None
        if now.variant is not None and now.variant != last:
            last = now.variant
            best = {"variant": last, "parameters": search.space.values(last), metric: now.best, "of": "in sample"}
        told(now.done, now.total, best)

    return tell
