"""Rows of the console: passwords, sessions and tokens, links that sign in once, and the audit."""

from __future__ import annotations

import json
from typing import Any

from services.storage.read_pool import ReadPool
from services.storage.store import epoch, moment

USER = """
INSERT INTO console_users (name, password, changed) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET password = $2, changed = $3
"""
SESSION = """
INSERT INTO console_sessions (session, name, kind, label, scopes, created, expires)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
AUDIT = """
INSERT INTO console_audit (at, who, address, action, bot, pair, key, fields, outcome, refused)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (bot, key) WHERE key <> '' DO NOTHING RETURNING id
"""
FACTOR = """
WITH begun AS (
    INSERT INTO console_second_factors (name, counter, since) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO NOTHING RETURNING name
)
INSERT INTO console_recovery_codes (name, code) SELECT name, unnest($4::text[]) FROM begun RETURNING 1
"""
NO_FACTOR = """
WITH codes AS (DELETE FROM console_recovery_codes WHERE name = $1)
DELETE FROM console_second_factors WHERE name = $1 RETURNING 1
"""
AUDITED = """
SELECT * FROM console_audit WHERE ($1 = '' OR bot = $1) AND ($2::bigint = 0 OR id < $2) ORDER BY id DESC LIMIT $3
"""


class AccessRows:
    """Every question and change raises Unreachable while the database is away."""

    def __init__(self, pool: ReadPool) -> None:
        self.pool = pool

    async def password(self, name: str) -> str | None:
        """Return the hash of a user's password."""
        rows = await self.pool.fetch("SELECT password FROM console_users WHERE name = $1", name)
        return str(rows[0]["password"]) if rows else None

    async def set_password(self, name: str, password: str, at: int) -> None:
        """Keep the hash of a user's password."""
        await self.pool.fetch(USER, name, password, moment(at))

    async def add_session(
        self, session: str, name: str, kind: str, label: str, scopes: str, created: int, expires: int
    ) -> None:
        """Keep a session, by the hash of what its holder shows."""
        await self.pool.fetch(SESSION, session, name, kind, label, scopes, moment(created), moment(expires))

    async def session(self, session: str) -> dict[str, Any] | None:
        """Return a session by its hash."""
        rows = await self.pool.fetch("SELECT * FROM console_sessions WHERE session = $1", session)
        return _session(rows[0]) if rows else None

    async def sessions(self, now: int) -> list[dict[str, Any]]:
        """List the sessions that have not expired, the newest first, and drop those that have."""
        await self.pool.fetch("DELETE FROM console_sessions WHERE expires <= $1", moment(now))
        return [_session(one) for one in await self.pool.fetch("SELECT * FROM console_sessions ORDER BY created DESC")]

    async def end_session(self, session: str) -> bool:
        """Forget a session; whether there was one."""
        return bool(await self.pool.fetch("DELETE FROM console_sessions WHERE session = $1 RETURNING 1", session))

    async def add_link(self, link: str, expires: int) -> None:
        """Keep a link that signs in once, by its hash."""
        await self.pool.fetch("INSERT INTO console_links (link, expires) VALUES ($1, $2)", link, moment(expires))

    async def use_link(self, link: str, now: int) -> bool:
        """Take a link away; whether it was there and has not expired."""
        rows = await self.pool.fetch("DELETE FROM console_links WHERE link = $1 RETURNING expires", link)
        return bool(rows) and epoch(rows[0]["expires"]) > now

    async def last_code(self, name: str) -> int | None:
        """Return the step of the last code of a user's second factor that was taken; None where it is off."""
        rows = await self.pool.fetch("SELECT counter FROM console_second_factors WHERE name = $1", name)
        return int(rows[0]["counter"]) if rows else None

    async def take_code(self, name: str, counter: int) -> bool:
        """Take the code of a step; whether it is later than the last one."""
        taken = "UPDATE console_second_factors SET counter = $2 WHERE name = $1 AND counter < $2 RETURNING 1"
        return bool(await self.pool.fetch(taken, name, counter))

    async def begin_second_factor(self, name: str, counter: int, codes: list[str], at: int) -> bool:
        """Turn a second factor on, with its recovery codes as hashes; whether it was off."""
        return bool(await self.pool.fetch(FACTOR, name, counter, moment(at), codes))

    async def end_second_factor(self, name: str) -> bool:
        """Turn it off, and forget its codes; whether it was on."""
        return bool(await self.pool.fetch(NO_FACTOR, name))

    async def recovery_codes(self, name: str) -> list[str]:
        """Return the hashes of the recovery codes that are left."""
        rows = await self.pool.fetch("SELECT code FROM console_recovery_codes WHERE name = $1", name)
        return [str(one["code"]) for one in rows]

    async def take_recovery_code(self, name: str, code: str) -> bool:
        """Take a recovery code away, by its hash; whether it was there."""
        gone = "DELETE FROM console_recovery_codes WHERE name = $1 AND code = $2 RETURNING 1"
        return bool(await self.pool.fetch(gone, name, code))

    async def begin_audit(
        self, at: int, who: str, address: str, action: str, bot: str, pair: str, key: str, fields: dict[str, Any]
    ) -> int | None:
        """Record something before it is done; None where this bot has been told something under this key before."""
        rows = await self.pool.fetch(
            AUDIT, moment(at), who, address, action, bot, pair, key, json.dumps(fields), None, False
        )
        return int(rows[0]["id"]) if rows else None

    async def end_audit(self, number: int, outcome: str, *, refused: bool) -> None:
        """Record what became of it."""
        await self.pool.fetch(
            "UPDATE console_audit SET outcome = $2, refused = $3 WHERE id = $1", number, outcome, refused
        )

    async def audited(self, bot: str, key: str) -> dict[str, Any] | None:
        """Return what this bot was told under this key."""
        rows = await self.pool.fetch("SELECT * FROM console_audit WHERE bot = $1 AND key = $2", bot, key)
        return _audit(rows[0]) if rows else None

    async def audit(self, bot: str, before: int, limit: int) -> list[dict[str, Any]]:
        """List what was done, the newest first, older than the row `before` (0: from the newest)."""
        return [_audit(one) for one in await self.pool.fetch(AUDITED, bot, before, limit)]


def _session(row: Any) -> dict[str, Any]:
    return {name: row[name] for name in ("session", "name", "kind", "label", "scopes")} | {
        "created": epoch(row["created"]),
        "expires": epoch(row["expires"]),
    }


def _audit(row: Any) -> dict[str, Any]:
    named = ("id", "who", "address", "action", "key", "refused", "outcome")
    return {name: row[name] for name in named} | {
        "bot": row["bot"] or None,
        "pair": row["pair"] or None,
        "fields": json.loads(row["fields"]),
        "at": epoch(row["at"]),
    }
