"""Sessions of the manual backtester in Postgres: a row for what each is about, and a row for each action."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bot.errors import Misconfigured, shown

if TYPE_CHECKING:
    from services.storage.read_pool import ReadPool

APPEND = """
INSERT INTO replay_actions (replay, number, action)
SELECT $1, $2::int, $3 WHERE $2::int = 1 + (SELECT count(*) FROM replay_actions WHERE replay = $1)
    AND (SELECT ended IS NULL FROM replays WHERE replay = $1)
ON CONFLICT DO NOTHING
"""
UNDO = """
WITH gone AS (DELETE FROM replay_actions WHERE replay = $1 AND number = $2::int
    AND $2::int = (SELECT max(number) FROM replay_actions WHERE replay = $1)
    AND (SELECT ended IS NULL FROM replays WHERE replay = $1) RETURNING action)
UPDATE replays SET undone = undone + (SELECT count(*) FROM gone WHERE action ->> 'do' NOT IN ('step', 'note'))
WHERE replay = $1 AND EXISTS (SELECT 1 FROM gone)
"""
LIST = """
SELECT r.*, (SELECT count(*) FROM replay_actions a WHERE a.replay = r.replay) AS actions
FROM replays r ORDER BY created DESC, replay LIMIT $1
"""


@dataclass(frozen=True)
class StoredReplay:
    """A session as it is stored."""

    replay: str
    owner: str
    setup: dict[str, Any]
    undone: int  # orders that were taken back
    created: datetime
    ended: datetime | None


class ReplayStore:
    """Sessions and their actions. Every question raises Unreachable while the database is away."""

    def __init__(self, pool: ReadPool) -> None:
        self.pool = pool

    async def begin(self, replay: str, owner: str, setup: dict[str, Any]) -> None:
        """Keep a new session."""
        query = "INSERT INTO replays (replay, owner, setup, undone, created) VALUES ($1, $2, $3, 0, $4)"
        await self.pool.execute(query, replay, owner, json.dumps(setup), datetime.now(UTC))

    async def replays(self, limit: int) -> list[tuple[StoredReplay, int]]:
        """The newest sessions, each with the number of its actions."""
        return [(_replay(row), int(row["actions"])) for row in await self.pool.fetch(LIST, limit)]

    async def replay(self, replay: str) -> StoredReplay | None:
        """One session; None where there is none of this name."""
        row = await self.pool.fetchrow("SELECT * FROM replays WHERE replay = $1", replay)
        return None if row is None else _replay(row)

    async def actions(self, replay: str) -> list[dict[str, Any]]:
        """Actions of a session, in their order."""
        query = "SELECT action FROM replay_actions WHERE replay = $1 ORDER BY number"
        return [json.loads(row["action"]) for row in await self.pool.fetch(query, replay)]

    async def append(self, replay: str, number: int, action: dict[str, Any]) -> None:
        """Keep the next action; raises Misconfigured where another page has said something meanwhile."""
        done = await self.pool.execute(APPEND, replay, number, json.dumps(action))
        if not done.endswith(" 1"):
            raise Misconfigured(f"replay {shown(replay)} went on elsewhere, or has ended; load the page again.")

    async def undo(self, replay: str, number: int) -> None:
        """Forget the last action, which has this number; raises Misconfigured where it is another."""
        done = await self.pool.execute(UNDO, replay, number)
        if not done.endswith(" 1"):
            raise Misconfigured(f"replay {shown(replay)} went on elsewhere, or has ended; load the page again.")

    async def end(self, replay: str) -> None:
        """End a session; it stays as it is."""
        query = "UPDATE replays SET ended = $2 WHERE replay = $1 AND ended IS NULL"
        await self.pool.execute(query, replay, datetime.now(UTC))

    async def delete(self, replay: str) -> None:
        """Forget a session with its actions; its journal stays."""
        await self.pool.execute("DELETE FROM replay_actions WHERE replay = $1", replay)
        await self.pool.execute("DELETE FROM replays WHERE replay = $1", replay)


def _replay(row: Any) -> StoredReplay:
    names = ("replay", "owner", "undone", "created", "ended")
    return StoredReplay(setup=json.loads(row["setup"]), **{name: row[name] for name in names})
