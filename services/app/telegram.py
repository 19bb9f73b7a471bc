"""Builds Telegram's service: bots, rows, events and candles of a data directory, and the users that its file names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog

from bot.errors import Misconfigured
from bot.ports import Unreachable
from services.app.backing import database
from services.app.search import NO_BOT
from services.app.twins import Twins
from services.app.watched import Bots, VenueCandles
from services.messaging.embedded import EmbeddedRedis
from services.messaging.event_reader import EventReader
from services.runtime.config import EMBEDDED, NONE
from services.storage.access_rows import AccessRows
from services.storage.embedded import shared_by_all
from services.storage.history import History
from services.storage.read_pool import ReadPool
from services.storage.schema import migrate
from services.telegram.desk import Desk
from services.telegram.link import CHAT_SECONDS, Link
from services.telegram.mailbox import MailLimits
from services.telegram.notices import Notices
from services.telegram.pictures import Draw
from services.telegram.ports import TelegramWorld
from services.telegram.users import TelegramSettings, TelegramUser, read_settings, settings_file, write_settings

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger()

POLL_SECONDS = 2.0  # between two polls of every bot
LISTEN_SECONDS = 1.0
STRANGER_SECONDS = 3600.0  # between two rows of the audit for the same stranger
MOST_STRANGERS = 1000


class UserFile:
    """The users, as the file of a data directory has them, and where each bot's events were read to."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.settings: TelegramSettings = read_settings(data_dir)
        self._read = self._changed()

    def user(self, number: int) -> TelegramUser | None:
        """Find a user."""
        return self._newest().user(number)

    def users(self) -> tuple[TelegramUser, ...]:
        """Everybody."""
        return self._newest().users

    def _changed(self) -> int:
        """When the file was written last; 0 where it is gone."""
        try:
            return settings_file(self.data_dir).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _newest(self) -> TelegramSettings:
        """The settings, read again where a command has changed them: who was let out hears and says nothing more."""
        changed = self._changed()
        if changed != self._read:
            try:
                self.settings = read_settings(self.data_dir)
            except Misconfigured as error:
                log.warning("telegram_settings", error=str(error), remedy="nobody is let in until then")
                self.settings = replace(self.settings, users=())
            self._read = changed
        return self.settings

    def save(self, user: TelegramUser) -> None:
        """Keep a user's wishes."""
        self._keep(self._newest().changed(user))

    def save_told(self, places: dict[str, str], alarms: dict[str, dict[str, str]]) -> None:
        """Keep where each bot's events were read to, and the alarms that nobody has acknowledged: both or neither."""
        if places != self.settings.places or alarms != self.settings.alarms:
            self._keep(replace(self._newest(), places=dict(places), alarms=alarms))

    def save_digests(self, digests: dict[str, str]) -> None:
        """Keep of which day each user was told last."""
        self._keep(replace(self._newest(), digests=dict(digests)))

    def _keep(self, settings: TelegramSettings) -> None:
        self.settings = settings
        write_settings(self.data_dir, settings)
        self._read = self._changed()


class TelegramService:
    """Hears what bots tell, looks how they stand, and speaks with the users."""

    def __init__(self, world: TelegramWorld, users: UserFile, rows: AccessRows, link: Link, notices: Notices) -> None:
        self.world, self.users, self.rows, self.link, self.notices = world, users, rows, link, notices
        self.places = dict(users.settings.places)

    async def run(self) -> None:
        """Do all of it, for ever."""
        await asyncio.gather(self.link.run(), self._keep_listening(), self._keep_looking())

    async def _keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> None:
        """Look once at every bot that was ever heard of, and at the hour."""
        names = sorted({*self.world.bots.names(), *self.places})
        for name in names:
            await self.notices.begin(name)
            await self.notices.look(name)
        await self.notices.digest(self.world.bots.names())
        self.users.save_told(self.users.settings.places, self.notices.unseen())
        self.link.wake()

    async def _keep_listening(self) -> None:
        while True:
            if not await self.listen(LISTEN_SECONDS):
                await asyncio.sleep(LISTEN_SECONDS)

    async def listen(self, seconds: float) -> bool:
        """Wait so long for events, and tell of them; False where there was nobody to listen to."""
        names = self.world.bots.names()
        if self.world.told is None or not names:
            return False
        try:
            for name in names:
                if name not in self.places:
                    self.places[name] = await self.world.told.newest(name)
            came = await self.world.told.wait({name: self.places[name] for name in names}, seconds)
        except Unreachable:
            return False
        for name, events in came.items():
            await self.notices.happened(name, events)
            self.places[name] = events[-1]["id"]
        if not self.notices.owes:  # else whoever is started anew has to hear of it again
            self.users.save_told(self.places, self.notices.unseen())
        if came:
            self.link.wake()
        return True


class TelegramAudit:
    """Who commanded what over Telegram, and who tried to; what the database does not take goes to the log alone."""

    def __init__(self, rows: AccessRows) -> None:
        self.rows = rows
        self._strangers: dict[int, float] = {}

    async def command(self, user: int, bot: str, command: str, key: str, outcome: str) -> None:
        """Keep a command with its outcome."""
        log.info("telegram_command", user=user, bot=bot, command=command, outcome=outcome)
        await self._keep(user, "command", bot, key, {"command": command}, outcome)

    async def stranger(self, user: int) -> None:
        """Keep that somebody unknown has written, once an hour."""
        now = time.time()
        if now - self._strangers.get(user, 0.0) < STRANGER_SECONDS:
            return
        while len(self._strangers) >= MOST_STRANGERS:
            self._strangers.pop(next(iter(self._strangers)))
        self._strangers[user] = now
        log.warning("telegram_stranger", user=user)
        await self._keep(user, "stranger", "", "", {}, "silence")

    async def _keep(self, user: int, action: str, bot: str, key: str, fields: dict[str, Any], outcome: str) -> None:
        with suppress(Unreachable):
            who = f"telegram:{user}"
            number = await self.rows.begin_audit(
                int(time.time() * 1000), who, "telegram", action, bot, "", f"telegram:{key}" if key else "", fields
            )
            if number is not None:
                await self.rows.end_audit(number, outcome, refused=outcome.startswith("refused"))


@dataclass(frozen=True)
class TelegramPlaces:
    """Where everything is: Telegram's server (None: its own), database and bus as a bot's config has them."""

    data_dir: Path
    server: str | None = None
    database: str = EMBEDDED
    redis: str = EMBEDDED


@asynccontextmanager
async def telegram_service(
    places: TelegramPlaces,
    limits: MailLimits | None = None,
    chat_seconds: float = CHAT_SECONDS,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[TelegramService]:
    """Build it; raises Misconfigured where it is not set up."""
    data_dir, redis = places.data_dir, places.redis
    users = UserFile(data_dir)
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database(data_dir, NO_BOT, places.database))
        await migrate(dsn)
        pool = ReadPool(dsn)
        stack.push_async_callback(pool.close)
        told = None
        if redis != NONE:
            url = redis
            if redis == EMBEDDED:
                server = EmbeddedRedis(shared_by_all(data_dir))
                url = await server.start()
                stack.push_async_callback(server.stop)
            told = EventReader(url)
            stack.push_async_callback(told.close)
        bots, candles = Bots(data_dir), VenueCandles(data_dir)
        stack.callback(bots.close)
        stack.push_async_callback(candles.close)
        twins = Twins(data_dir, dsn)
        stack.push_async_callback(twins.close)
        world = TelegramWorld(bots, History(pool), told, candles, twins)
        rows = AccessRows(pool)
        audit = TelegramAudit(rows)
        notices = Notices(
            *(world, users.users, limits or MailLimits(), clock),
            digests=dict(users.settings.digests), keep_digests=users.save_digests,
            alarms={user: dict(kept) for user, kept in users.settings.alarms.items()},
        )  # fmt: skip
        stack.push_async_callback(notices.outcomes.close)
        desk = Desk(world, Draw(), users.save, audit.command, notices.outcomes, clock)
        link = Link(
            users.settings.token, desk, notices, users.user, audit.stranger, places.server, chat_seconds=chat_seconds
        )
        yield TelegramService(world, users, rows, link, notices)
