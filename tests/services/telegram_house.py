"""Telegram for tests: the real service on the real database and bus, our own Bot API, and a bot that is spoken for."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

from services.app.telegram import TelegramPlaces, telegram_service
from services.messaging.bus import RedisBus
from services.messaging.embedded import EmbeddedRedis
from services.storage.embedded import shared_by_all
from services.telegram.mailbox import MailLimits
from services.telegram.users import TelegramSettings, TelegramUser, settings_file, write_settings
from tests.services.console_house import PAIR, SpokenBot, bot_status
from tests.services.fake_telegram import TOKEN, FakeTelegram

ANN, BOB, STRANGER = 7, 8, 666
ODD = "1_000*[X]USDT"
HALTED = {"halted": True, "answer": "waiting", "decide_by": "2024-01-01T09:30:00Z", "modes": ["halt"]}


def clock_from(hour):
    """A clock that goes on from this hour of today, UTC: what comes at an hour does not depend on when tests run."""
    began = time.time()
    start = began // 86_400 * 86_400 + hour * 3600
    return lambda: start + time.time() - began


def live_status(bot, **more):
    return bot_status(bot, environment="venue", **more)


class SpokenFor(SpokenBot):
    """A bot of the console's tests that has a live bot's status, does what it is told at once, and knows every pair."""

    def __init__(self, data_dir, name):
        super().__init__(data_dir, name)
        self.now, self.stop = live_status(name), 41_000.0

    async def act(self, said):
        before = self.now
        try:
            return await super().act(said)
        finally:
            self.now = before  # a test says how it stands

    async def orders(self, pair):
        found = await super().orders(PAIR)
        return {**found, "pair": pair, "stop": self.stop}


class House:
    """What a test has."""

    def __init__(self, telegram, service, bots, bus):
        self.telegram, self.service, self.bots, self.bus = telegram, service, bots, bus
        self.bot = bots[0]

    async def until(self, condition, seconds=10.0):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, [one["text"] for one in self.telegram.sent[-5:]]
            await asyncio.sleep(0.02)
        return found

    async def answer(self, user, text):
        """Write something, and wait for the next message that comes."""
        before = len(self.telegram.sent)
        self.telegram.writes(user, text)
        await self.until(lambda: len(self.telegram.sent) > before)
        return self.telegram.sent[before]

    async def pressed(self, user, data, message):
        """Press a button, and wait for what its message turns into."""
        before = len(self.telegram.edited)
        self.telegram.presses(user, data, message)
        await self.until(lambda: len(self.telegram.edited) > before)
        return self.telegram.edited[before]


@asynccontextmanager
async def house(folder, dsn, names, *, users=(ANN, BOB), clock=None, limits=None, language="en"):
    people = tuple(TelegramUser(one, "Ann", language) for one in users)
    if not settings_file(folder).exists():  # else it is started anew
        write_settings(folder, TelegramSettings(TOKEN, people))
    redis = EmbeddedRedis(shared_by_all(folder))
    url = await redis.start()
    bots, buses = [SpokenFor(folder, one) for one in names], [RedisBus(url, one) for one in names]
    for bot, bus in zip(bots, buses, strict=True):
        await bot.server.start()
        bus.start()
    async with FakeTelegram() as telegram:
        places = TelegramPlaces(folder, telegram.address, dsn, url)
        chosen = clock or clock_from(12)  # no digest is due
        async with telegram_service(places, limits or MailLimits(gather_seconds=0.1), 0.02, chosen) as service:
            running = asyncio.create_task(service.run())
            try:
                await asyncio.sleep(0)
                yield House(telegram, service, bots, buses[0])
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                for bot, bus in zip(bots, buses, strict=True):
                    await bot.server.stop()
                    await bus.stop()
                await redis.stop()
