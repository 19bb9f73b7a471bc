"""Replays for pages: their rows, and the processes that say where each stands. Nothing here sees a candle.

Steps have a process of their own, so that a bot which is compiled or played first does not hold them up.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from bot.errors import Misconfigured, shown
from services.app.research_process import ResearchProcess
from services.storage.replays import ReplayStore
from services.whole_file import write_whole_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from services.storage.journal import JournalStore
    from services.storage.read_pool import ReadPool
    from services.storage.replays import StoredReplay

BOT_SECONDS = 300.0  # that a bot may take, which may have to be compiled first
LISTED = 200
PNG = b"\x89PNG\r\n\x1a\n"


class ManualReplays:
    """Sessions of the manual backtester."""

    def __init__(self, pool: ReadPool, journal: JournalStore, data_dir: Path) -> None:
        self.store, self.journal = ReplayStore(pool), journal
        self.steps = ResearchProcess(data_dir, BOT_SECONDS)
        self.bots = ResearchProcess(data_dir, BOT_SECONDS)
        self.folder = data_dir / "journal"

    async def close(self) -> None:
        """End the processes."""
        await self.steps.close()
        await self.bots.close()

    async def choices(self) -> dict[str, Any]:
        """What a session may be about."""
        found: dict[str, Any] = await self.steps.ask("replay_choices")
        return found

    async def span(self, pair: str, exchange: str, market: str) -> dict[str, Any]:
        """From when to when there are candles of a pair, ms."""
        asked = {"pair": pair, "exchange": exchange, "market": market}
        found: dict[str, Any] = await self.steps.ask("replay_span", asked)
        return found

    async def begin(self, owner: str, asked: dict[str, Any]) -> str:
        """Begin a session; returns its name. Raises Misconfigured."""
        setup = await self.steps.ask("replay_begin", asked)
        name = secrets.token_hex(8)
        await self.store.begin(name, owner, setup)
        return name

    async def replays(self) -> list[dict[str, Any]]:
        """The newest sessions; of one whose dates are hidden, nothing is told of them until it has ended."""
        return [{**_told(one), "actions": count} for one, count in await self.store.replays(LISTED)]

    async def show(self, replay: str, since: int) -> dict[str, Any]:
        """A session as it stands, with its bars from number `since` on; raises Misconfigured for none."""
        one = await self._known(replay)
        return {**_told(one), "state": await self.steps.ask("replay_state", await self._said(one, since=since))}

    async def act(self, replay: str, number: int, action: dict[str, Any], since: int) -> dict[str, Any]:
        """Take up an action that follows `number` others; where the session stands then."""
        one = await self._known(replay)
        said = await self._said(one, since=since, action=action)
        _same(replay, number, len(said["actions"]))
        told = await self.steps.ask("replay_act", said)
        await self.store.append(replay, number + 1, told["action"])
        return {**_told(one), "state": told["state"]}

    async def undo(self, replay: str, number: int, since: int) -> dict[str, Any]:
        """Take back the last of `number` actions; where the session stands then."""
        await self._known(replay)
        await self.store.undo(replay, number)
        return await self.show(replay, since)

    async def picture(self, replay: str, number: int, image: bytes) -> dict[str, Any]:
        """Keep a picture of the chart as an action; raises Misconfigured for what is no PNG."""
        if not image.startswith(PNG):
            raise Misconfigured("the picture is no PNG; press S on the chart.")
        action = {"do": "picture", "number": number + 1}
        one = await self._known(replay)
        said = await self._said(one, since=1 << 40, action=action)
        _same(replay, number, len(said["actions"]))
        told = await self.steps.ask("replay_act", said)
        name = told["action"]["name"]
        await asyncio.to_thread(self._keep, replay, name, image)
        await self.store.append(replay, number + 1, told["action"])
        return {"name": name, "place": f"{replay}/{name}", "number": number + 1}

    def _keep(self, replay: str, name: str, image: bytes) -> None:
        place = self.folder / replay
        place.mkdir(parents=True, exist_ok=True)
        write_whole_bytes(place / name, image)

    async def bot(self, replay: str, bot: str) -> dict[str, Any]:
        """What a bot would have done up to here."""
        said = await self._said(await self._known(replay), bot=bot)
        found: dict[str, Any] = await self.bots.ask("replay_bot", said)
        return found

    async def statistics(self, replay: str, bot: str) -> dict[str, Any]:
        """What the person came to, and a bot beside it."""
        one = await self._known(replay)
        found: dict[str, Any] = await self.bots.ask("replay_statistics", await self._said(one, bot=bot))
        return {**found, "undone": one.undone}

    async def end(self, replay: str) -> dict[str, Any]:
        """End a session, and write its closed trades into the journal; the dates are no longer hidden."""
        one = await self._known(replay)
        records = await self.steps.ask("replay_records", await self._said(one))
        for row in records:
            pictures = [f"{replay}/{name}" for name in row.pop("pictures")]
            notes = "\n".join(row.pop("notes"))
            await self.journal.add(f"replay-{replay}-{row['trade']}", "replay", replay, row, pictures, notes)
        await self.store.end(replay)
        return _told(await self._known(replay))

    async def delete(self, replay: str) -> None:
        """Forget a session; its journal and pictures stay."""
        await self.store.delete((await self._known(replay)).replay)

    async def _known(self, replay: str) -> StoredReplay:
        found = await self.store.replay(replay)
        if found is None:
            raise Misconfigured(f"replay {shown(replay)} is not known here; choose one that is listed.")
        return found

    async def _said(self, one: StoredReplay, **more: Any) -> dict[str, Any]:
        return {"setup": one.setup, "actions": await self.store.actions(one.replay), **more}


def _same(replay: str, number: int, held: int) -> None:
    if number != held:
        raise Misconfigured(f"replay {shown(replay)} has {held} actions, not {number}; load the page again.")


def _told(one: StoredReplay) -> dict[str, Any]:
    """A session for a list; its true dates only where they are not hidden, or not any more."""
    setup, hidden = one.setup, bool(one.setup["blind"]) and one.ended is None
    return {
        "replay": one.replay,
        **{name: setup[name] for name in ("pair", "exchange", "market", "timeframe", "capital", "leverage")},
        "blind": bool(setup["blind"]),
        "start": None if hidden else setup["start"],
        "end": None if hidden else setup["end"],
        "moved": 0 if hidden else setup["blind"],
        "undone": one.undone,
        "created": int(one.created.timestamp() * 1000),
        "ended": one.ended is not None,
    }
