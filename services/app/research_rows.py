"""Jobs, sessions and saved strategies for pages, from their tables: what is away raises Unreachable at once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bot.errors import Misconfigured
from coordinator.saved_strategy import SavedStrategy
from services.app.session_scores import scores_of
from services.app.strategies import RUNNING, listed_strategy
from services.storage.jobs import JobStore
from services.storage.strategies import StrategyStore

if TYPE_CHECKING:
    from pathlib import Path

    from services.storage.read_pool import ReadPool
    from services.storage.strategies import StoredRun, StoredStrategy

SESSIONS = """
SELECT session, kind, status, created, ended, document ->> 'strategy' AS strategy,
    coalesce(document ->> 'pair', document ->> 'pairs') AS pair,
    document -> 'search' ->> 'method' AS method
FROM sessions WHERE $1::timestamptz IS NULL OR created < $1 ORDER BY created DESC, session LIMIT $2
"""
COUNTED = "SELECT session, count(*) AS trials FROM trials WHERE session = ANY($1) GROUP BY session"
VERDICTS = "SELECT session, result -> 'verdict' AS verdict FROM sessions WHERE session = ANY($1)"
SESSION = "SELECT session, kind, status, created, ended, document, result FROM sessions WHERE session = $1"
ENDED = "SELECT session, ended FROM sessions WHERE status = 'finished' ORDER BY created DESC LIMIT $1"
RESULTS = "SELECT session, kind, created, ended, document, result FROM sessions WHERE session = ANY($1)"
PACE = """
SELECT sum(extract(epoch FROM ended - began)) / nullif(sum(total), 0) FROM (
    SELECT began, ended, total FROM jobs WHERE kind = $1 AND request ->> 'strategy' = $2 AND status = 'succeeded'
    AND total > 0 AND attempts = 1 ORDER BY job DESC LIMIT 5) AS last
"""
MOST_SCORED, READ_AT_ONCE = 1000, 25  # sessions


class ResearchTables:
    """What was asked for, what is played, and what came of it."""

    def __init__(self, pool: ReadPool, data_dir: Path) -> None:
        self.pool, self.data_dir = pool, data_dir
        self._jobs, self._strategies = JobStore(pool), StrategyStore(pool)
        self._prepared = False
        self._scores: dict[tuple[str, Any], list[dict[str, Any]]] = {}
        self._ended: dict[tuple[str, Any], dict[str, Any]] = {}  # trials and verdict of sessions that have ended

    # Jobs

    async def jobs(self, owner: str | None, before: int, limit: int, *, active: bool) -> list[dict[str, Any]]:
        """The newest jobs, without request and result."""
        found = await self._jobs.summaries(owner, active=active, before=before, most=limit)
        return [_told({**one, "pair": _pairs(one["pair"])}) for one in found]

    async def job(self, job: int) -> dict[str, Any] | None:
        """One job with its request and result; None for a number that none has."""
        if not await self.pool.fetch("SELECT 1 FROM jobs WHERE job = $1", job):
            return None
        one = await self._jobs.job(job)
        told = {"strategy": one.request.get("strategy"), "pair": _pairs(one.request.get("pair"))}
        return _told({**asdict(one), **told})

    async def submit(self, owner: str, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        """Queue a request that was read, or find the same one that waits or runs."""
        await self._prepare()
        return _told(asdict(await self._jobs.submit(owner, kind, request)))

    async def pace(self, kind: str, strategy: str) -> float | None:
        """Seconds that one variant took in the last jobs of a kind with a strategy; None where none has ended."""
        found = await self.pool.fetchval(PACE, kind, strategy)
        return None if found is None else float(found)

    async def cancel(self, job: int) -> None:
        """End a job that waits or runs."""
        await self._prepare()
        await self._jobs.cancel(job)

    async def retry(self, job: int) -> None:
        """Queue a failed or cancelled job anew; raises Misconfigured for any other."""
        await self._prepare()
        await self._jobs.again(job)

    async def workers(self) -> int:
        """How many workers are connected."""
        return await self._jobs.workers()

    async def _prepare(self) -> None:
        if not self._prepared:
            await self._jobs.prepare()
            self._prepared = True

    # Sessions of searches

    async def sessions(self, before: int | None, limit: int) -> list[dict[str, Any]]:
        """The newest sessions begun before a moment (ms), each with its first sentence and its trials."""
        moment = None if before is None else datetime.fromtimestamp(before / 1000.0).astimezone()
        rows = await self.pool.fetch(SESSIONS, moment, limit)
        told = await self._came_of(rows)
        return [_told({**row, "pair": _pairs(row["pair"]), **told[row["session"]]}) for row in rows]

    async def _came_of(self, rows: list[Any]) -> dict[str, dict[str, Any]]:
        """Trials and verdict of sessions; of one that has ended they are read once."""
        asked = [row["session"] for row in rows if (row["session"], row["ended"]) not in self._ended]
        counts = {one["session"]: int(one["trials"]) for one in await self.pool.fetch(COUNTED, asked)} if asked else {}
        verdicts = {one["session"]: one["verdict"] for one in await self.pool.fetch(VERDICTS, asked)} if asked else {}
        told = {}
        for row in rows:
            name, key = row["session"], (row["session"], row["ended"])
            fresh = {"trials": counts.get(name, 0), "verdict": json.loads(verdicts.get(name) or "[]")}
            told[name] = self._ended.get(key, fresh)
            if row["ended"] is not None:
                self._ended[key] = told[name]
        return told

    async def session(self, session: str) -> dict[str, Any] | None:
        """One session with its space and what came of it; None where there is none of this name."""
        row = await self.pool.fetchrow(SESSION, session)
        if row is None:
            return None
        trials = (await self._came_of([row]))[session]["trials"]
        document, result = json.loads(row["document"]), json.loads(row["result"] or "{}")
        return _told({**row, "document": document, "result": result, "trials": trials})

    async def scores(self) -> list[dict[str, Any]]:
        """What finished sessions earned out of sample, the newest first; each is read once."""
        ended = await self.pool.fetch(ENDED, MOST_SCORED)
        unknown = [row["session"] for row in ended if (row["session"], row["ended"]) not in self._scores]
        for first in range(0, len(unknown), READ_AT_ONCE):
            rows = await self.pool.fetch(RESULTS, unknown[first : first + READ_AT_ONCE])
            self._scores |= await asyncio.to_thread(_scored, rows)
        return [one for row in ended for one in self._scores.get((row["session"], row["ended"]), ())]

    # Saved strategies

    async def strategies(self) -> list[dict[str, Any]]:
        """Every saved strategy, newest first, with status, tests, runs and its document."""
        saved, runs = await self._strategies.strategies(), await self._strategies.runs()
        return await asyncio.to_thread(self._listed, saved, runs)

    def _listed(self, saved: list[StoredStrategy], runs: list[StoredRun]) -> list[dict[str, Any]]:
        rows = [{**listed_strategy(one, runs, self.data_dir), "document": one.document} for one in saved]
        return [_told({**row, "runs": [_told(run) for run in row["runs"]]}) for row in rows]

    async def save(self, taken: dict[str, Any], cloned_from: str | None) -> tuple[str, bool]:
        """Save a strategy that was taken out of a config; its name, and whether it is new."""
        stored, new = await self._strategies.save(SavedStrategy(**taken), cloned_from)
        return stored.name, new

    async def delete(self, content: str) -> None:
        """Forget a strategy that no bot runs; raises Misconfigured for one that is run."""
        for one in await self.strategies():
            if one["content"] == content and one["status"] == RUNNING:
                bots = ", ".join(run["bot"] for run in one["runs"])
                raise Misconfigured(f"strategy {one['name']} is run by {bots}; stop it first (`traderagent ctl stop`).")
        await self._strategies.delete(content)


def _scored(rows: list[Any]) -> dict[tuple[str, Any], list[dict[str, Any]]]:
    found = {}
    for row in rows:
        scores = scores_of(row["kind"], json.loads(row["document"]), json.loads(row["result"] or "{}"))
        told = {"session": str(row["session"]), "created": int(row["created"].timestamp() * 1000)}
        found[row["session"], row["ended"]] = [{**told, **one} for one in scores]
    return found


def _pairs(given: str | list[str] | None) -> str | None:
    """One pair, or several by commas, of a document or of its text."""
    found = json.loads(given) if isinstance(given, str) and given.startswith("[") else given
    return ", ".join(map(str, found)) if isinstance(found, list) else found


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its moments in ms, and its words as text."""
    return {
        name: int(one.timestamp() * 1000) if isinstance(one, datetime) else str(one) if isinstance(one, str) else one
        for name, one in row.items()
    }
