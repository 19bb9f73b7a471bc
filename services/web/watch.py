"""Keeps how every bot stands, and since when; tells subscribers what changes, and waits for none of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from pydantic import ValidationError

from bot.errors import Misconfigured, TradingError, cut
from bot.ports import Unreachable
from services.web.models import BotStatusModel
from services.web.ports import Sources

log = structlog.get_logger()

POLL_SECONDS = 1.0  # between two polls of every bot
NAMES_SECONDS = 5.0  # between two looks at which bots there are
ROOM = 4000  # events that a subscriber may be behind; one that is further is cut off, and resumes


@dataclass(frozen=True)
class SeenBot:
    """What is known of a bot: its last status, when it gave it (seconds of the clock), and what is wrong now."""

    bot: str
    status: dict[str, Any] | None = None
    heard: float | None = None
    trouble: str = ""  # a sentence; empty: it answers


@dataclass(eq=False)
class Subscriber:
    """Somebody who hears of everything, as lines of JSON."""

    queue: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(ROOM))
    lost: bool = False  # it was too slow: what came is not all

    def put(self, line: str) -> None:
        """Hand on a line, unless there is no room."""
        if self.queue.full():
            self.lost = True
        else:
            self.queue.put_nowait(line)


class Watcher:
    """The read model of the console."""

    def __init__(self, sources: Sources, clock: Callable[[], float] = time.monotonic) -> None:
        self.sources, self.clock = sources, clock
        self.seen: dict[str, SeenBot] = {}
        self.trouble: dict[str, str] = {}  # of database and bus, in words, while they are away
        self.places: dict[str, str] = {}  # of each bot's events, up to which they were told
        self.subscribers: set[Subscriber] = set()
        self._named: float | None = None
        self.events = 0  # told so far
        self.version = 0  # of everything that is known: counts what was told

    def age(self, bot: str) -> float | None:
        """Seconds since the bot last said how it stands."""
        heard = self.seen[bot].heard if bot in self.seen else None
        return None if heard is None else max(self.clock() - heard, 0.0)

    def bots(self) -> list[SeenBot]:
        """Every bot, those that are halted and wait first, then by name."""
        return sorted(self.seen.values(), key=lambda one: (not waits(one.status), one.bot))

    # Looking at the bots

    async def run(self) -> None:
        """Look at everything, for ever."""
        await asyncio.gather(self._keep_looking(), self._keep_listening())

    async def _keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> None:
        """Look once: which bots there are, and how each stands."""
        await self._name_bots()
        await asyncio.gather(*(self._look_at(bot) for bot in self.seen))

    async def _name_bots(self) -> None:
        now = self.clock()
        if self._named is not None and now - self._named < NAMES_SECONDS and "database" not in self.trouble:
            return
        try:
            names = await self.sources.history.bots()
        except Unreachable as error:
            self.note("database", str(error))
            return
        self.note("database", "")
        self._named = now
        self.seen = {name: self.seen.get(name, SeenBot(name)) for name in names}

    def note(self, what: str, sentence: str) -> None:
        """Remember that something is away, or back, and tell it."""
        if self.trouble.get(what, "") == sentence:
            return
        if sentence:
            self.trouble[what] = cut(sentence)
        else:
            self.trouble.pop(what)
        log.warning("console_source", what=what, trouble=sentence or "none")
        self.tell({"kind": "source", "what": what, "trouble": sentence})

    async def _look_at(self, bot: str) -> None:
        before = self.seen[bot]
        try:
            told = BotStatusModel.model_validate(await self.sources.bots.status(bot)).model_dump()
        except ValidationError:
            trouble = f"bot {bot!r} is of another version than this console: update both, then start it again."
            after = replace(before, status=None, trouble=trouble)
        except (Misconfigured, TradingError) as error:
            after = replace(before, trouble=cut(str(error), 600))
        else:
            after = SeenBot(bot, told, self.clock())
        if bot not in self.seen:
            return
        self.seen[bot] = after
        if (after.status, after.trouble) != (before.status, before.trouble):
            self.tell({"kind": "status", "bot": bot, "trouble": after.trouble})

    # Listening to what they tell

    async def _keep_listening(self) -> None:
        while True:
            if not await self.listen(POLL_SECONDS):
                await asyncio.sleep(POLL_SECONDS)

    async def listen(self, seconds: float) -> bool:
        """Wait so long for events and hand them on; False where there was nobody to listen to."""
        if self.sources.events is None or not self.seen:
            return False
        try:
            for bot in self.seen:
                if bot not in self.places:
                    self.places[bot] = await self.sources.events.newest(bot)
            places = {bot: place for bot, place in self.places.items() if bot in self.seen}
            came = await self.sources.events.wait(places, seconds)
        except Unreachable as error:
            self.note("bus", str(error))
            return False
        self.note("bus", "")
        for bot, events in came.items():
            for event in events:
                self.events += 1
                self.tell(_line(event))
                self.places[bot] = event["id"]
        return True

    def tell(self, told: dict[str, Any]) -> None:
        """Hand something to every subscriber; it becomes JSON once."""
        self.version += 1
        line = json.dumps(told, separators=(",", ":"))
        for one in self.subscribers:
            one.put(line)

    @asynccontextmanager
    async def subscribed(self) -> AsyncIterator[Subscriber]:
        """Hear of everything from now on."""
        one = Subscriber()
        self.subscribers.add(one)
        try:
            yield one
        finally:
            self.subscribers.discard(one)

    async def missed(self, after: dict[str, str]) -> list[str]:
        """Lines of the events after these places, by bot, up to what subscribers were told."""
        lines = []
        for bot, place in after.items():
            if self.sources.events is not None and bot in self.places:
                told = await self.sources.events.told(bot, place, self.places[bot])
                lines += [json.dumps(_line(one), separators=(",", ":")) for one in told]
        return lines


def _line(event: dict[str, Any]) -> dict[str, Any]:
    place = f"{event['bot']}/{event['id']}"
    return {"kind": "event", "id": place, "bot": event["bot"], "event": event["kind"], "data": event["data"]}


def waits(status: dict[str, Any] | None) -> bool:
    """Whether a halt waits for its answer."""
    return status is not None and status["decide_by"] is not None
