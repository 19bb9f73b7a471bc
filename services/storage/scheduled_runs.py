"""What the schedule has done: a row for each run of a task, with how many were missed before it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.storage.store import waiting

BEGIN = "INSERT INTO scheduled_runs (name, began, missed) VALUES ($1, $2, $3) RETURNING run"
END = "UPDATE scheduled_runs SET ended = $2, said = $3, fault = $4 WHERE run = $1"
LAST = "SELECT DISTINCT ON (name) * FROM scheduled_runs ORDER BY name, began DESC"


@dataclass(frozen=True)
class ScheduledRun:
    """A run of a task."""

    run: int
    name: str
    began: datetime
    ended: datetime | None
    missed: int  # times it was due before without being run
    said: str | None
    fault: str | None


class ScheduledRuns:
    """The runs of a database."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    @waiting
    async def begin(self, name: str, missed: int) -> int:
        """Write that a task begins; returns the run's number."""
        return int(await self.pool.fetchval(BEGIN, name, datetime.now(UTC), missed))

    @waiting
    async def end(self, run: int, said: str | None, fault: str | None) -> None:
        """Write what it did, or what was wrong."""
        await self.pool.execute(END, run, datetime.now(UTC), said, fault)

    @waiting
    async def last(self) -> dict[str, ScheduledRun]:
        """Read the newest run of each task, by name."""
        return {row["name"]: ScheduledRun(**dict(row)) for row in await self.pool.fetch(LAST)}

    @waiting
    async def runs(self, name: str | None = None, most: int = 100) -> list[ScheduledRun]:
        """Read the newest runs, of one task or of all."""
        query = "SELECT * FROM scheduled_runs WHERE $1::text IS NULL OR name = $1 ORDER BY run DESC LIMIT $2"
        return [ScheduledRun(**dict(row)) for row in await self.pool.fetch(query, name, most)]
