"""Builds the watchdog: control interfaces and exchanges of a data directory's bots on one side, channels on the other.

It is a process of its own that changes nothing, asks bots as `traderagent ctl` does, and needs no database and no bus.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import structlog

from bot.errors import Misconfigured, TradingError, cut
from bot.ports import NotPermitted, Unreachable
from services.control.client import ask, control_file, ended_by_operator, known_bots, venue_of
from services.exchanges.registry import BYBIT, reader_of
from services.keys.key_store import WATCHING, KeyName, KeyStore
from services.logs import conceal
from services.telegram.users import read_settings, settings_file
from services.watchdog.channels import TELEGRAM, Channel, TelegramChannel, WebhookChannel
from services.watchdog.conditions import AccountSeen, BotWatch
from services.watchdog.delivery import Outgoing, ping, text_at
from services.watchdog.services import ServiceWatch
from services.webhooks import Later

if TYPE_CHECKING:
    from pathlib import Path

    from services.exchanges.registry import AccountReader
    from services.watchdog.notices import Notice
    from services.watchdog.settings import ServiceProbe, WatchdogSettings

log = structlog.get_logger()

ASK_SECONDS = 5.0  # that a bot has for one answer
EVALUATE_SECONDS = 0.5
POLL_SECONDS = 1.0  # between two checks of a bot, and of its account
PROBE_SECONDS = 10.0  # between two checks of a service
LINEAR = "linear"

Account = tuple[str, str, str | None]  # exchange, environment, address


@dataclass
class Accounts:
    """The accounts where bots trade, as far as there is a key that reads them."""

    data_dir: Path
    user: str

    def __post_init__(self) -> None:
        self._readers: dict[Account, AccountReader] = {}

    async def seen(self, bot: str) -> AccountSeen | None:
        """Look at a bot's account; None without a key, or on a market without positions. Raises TradingError."""
        venue = venue_of(control_file(self.data_dir, bot))
        if venue is None or venue["market"] != LINEAR:
            return None
        account = (venue["exchange"] or BYBIT, venue["environment"] or "", venue["address"])
        if account not in self._readers:
            opened = await self._opened(account)
            if opened is None:
                return None
            self._readers[account] = opened
        reader = self._readers[account]
        try:
            return AccountSeen(await reader.positions(), await reader.equity())
        except NotPermitted:  # the next check reads the store anew, where there may be another key by then
            await self._readers.pop(account).close()
            raise

    async def _opened(self, account: Account) -> AccountReader | None:
        """Build a reader, where there is a watching key; raises NotPermitted for one that may do more than read."""
        exchange, environment, address = account
        name, store = KeyName(self.user, exchange, environment, WATCHING), KeyStore(self.data_dir)
        if not store.has(name):
            return None
        key = store.read(name)
        conceal([key.key, key.secret])
        reader = reader_of(exchange, key=key.key, secret=key.secret, environment=environment, address=address)
        try:
            rights = await reader.key_rights()
            if rights is not None and (rights.trade or rights.withdraw or rights.transfer):
                raise NotPermitted(f"the {name.told()} may do more than read; give the watchdog a read-only key.")
        except TradingError:
            await reader.close()
            raise
        return reader

    async def close(self) -> None:
        """Hang up."""
        for one in self._readers.values():
            await one.close()


class Watchdog:
    """Looks at bots, and has channels say what is wrong."""

    def __init__(
        self,
        data_dir: Path,
        settings: WatchdogSettings,
        accounts: Accounts,
        channels: list[Channel],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.data_dir, self.settings, self.accounts = data_dir, settings, accounts
        self.outgoing = [Outgoing(one) for one in channels]
        self.clock, self.wall = clock, wall
        self.watches: dict[str, BotWatch] = {}
        self.services = {one: ServiceWatch(one.service, one.name, settings.limits().repeat) for one in settings.probes}
        self._checking: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Watch for ever."""
        async with asyncio.TaskGroup() as tasks:
            for one in self.outgoing:
                tasks.create_task(one.run())
            if self.settings.ping is not None:
                url = self.settings.ping.url.get_secret_value()
                tasks.create_task(self._keep_pinging(session, url, self.settings.ping.seconds))
            for probe in self.services:
                tasks.create_task(self._keep_probing(session, probe))
            while True:
                self.find_bots()
                self._begin_checks(tasks)
                self.evaluate()
                await asyncio.sleep(EVALUATE_SECONDS)

    def _begin_checks(self, tasks: asyncio.TaskGroup) -> None:
        """Look at every bot and its account anew, except where the former check has not ended."""
        for bot in self.watches:
            for name, check in (("bot", self.check_bot), ("account", self.check_account)):
                former = self._checking.get((bot, name))
                if former is None or former.done():
                    self._checking[bot, name] = tasks.create_task(self._check_and_rest(check(bot), POLL_SECONDS))

    async def _check_and_rest(self, checking: Coroutine[Any, Any, None], seconds: float) -> None:
        began = self.clock()
        await checking
        await asyncio.sleep(max(seconds - (self.clock() - began), 0.0))

    async def _keep_probing(self, session: aiohttp.ClientSession, probe: ServiceProbe) -> None:
        while True:
            await self._check_and_rest(self.check_service(session, probe), PROBE_SECONDS)

    def find_bots(self) -> None:
        """Begin to watch bots that run, and end where an operator has stopped one."""
        for bot in {*self.settings.bots, *([] if self.settings.bots else known_bots(self.data_dir))}:
            if bot not in self.watches and not ended_by_operator(self.data_dir, bot):
                self.watches[bot] = BotWatch(bot, self.settings.limits(), self.clock())
                log.info("watching", bot=bot)
        for bot in list(self.watches):
            if ended_by_operator(self.data_dir, bot):
                del self.watches[bot]
                log.info("watched_no_more", bot=bot, reason="an operator has stopped it")

    async def check_bot(self, bot: str) -> None:
        """Ask a bot how it stands."""
        watch, file = self.watches[bot], control_file(self.data_dir, bot)
        try:
            status = await asyncio.to_thread(ask, file, "/status", None, ASK_SECONDS)
            _ = [(one["position"], one["reconciled_seconds"], one["held_off"]) for one in status["pairs"]]
            _ = float(status["equity"]), float(status["day_loss_pct"]), float(status["drawdown_pct"])
            _ = status["halted"], status["answer"], status["decide_by"]
        except TradingError as error:
            watch.silent(cut(str(error)).rstrip("."))
        except (KeyError, TypeError, ValueError):
            watch.silent("its answer is that of another version; stop both and start both again")
        else:
            watch.stands(status, self.clock())

    async def check_account(self, bot: str) -> None:
        """Ask the exchange for a bot's account."""
        watch = self.watches[bot]
        try:
            watch.saw(await self.accounts.seen(bot))
        except (Unreachable, NotPermitted, Misconfigured) as error:
            watch.saw(None, cut(str(error)).rstrip("."))

    async def check_service(self, session: aiohttp.ClientSession, probe: ServiceProbe) -> None:
        """Ask a service by its address whether it answers."""
        watch = self.services[probe]
        try:
            watch.answered(await text_at(session, probe.url, ASK_SECONDS))
        except Unreachable as error:
            watch.silent(str(error))

    def evaluate(self) -> None:
        """Hand what is to be said to every channel."""
        now = self.clock()
        for watch in self._watched():
            for notice in watch.evaluate(now):
                condition = str(notice.condition)
                log.warning("notice", bot=notice.bot, condition=condition, over=notice.over, said=notice.sentence)
                for one in self.outgoing:
                    one.put(notice, self.wall())

    def _watched(self) -> list[BotWatch | ServiceWatch]:
        return [*self.watches.values(), *self.services.values()]

    def all_is_well(self) -> bool:
        """Whether nothing is wrong that was said."""
        return all(one.is_well() for one in self._watched())

    async def _keep_pinging(self, session: aiohttp.ClientSession, url: str, seconds: float) -> None:
        while True:
            if self.all_is_well():
                await ping(session, url)
            await asyncio.sleep(seconds)


def channels_of(
    data_dir: Path,
    settings: WatchdogSettings,
    session: aiohttp.ClientSession,
    wall: Callable[[], float] = time.time,
    telegram: str = TELEGRAM,
) -> list[Channel]:
    """Return whom the watchdog calls; raises Misconfigured where that is nobody."""
    found: list[Channel] = [WebhookChannel(session, one, wall) for one in settings.webhooks]
    if settings.telegram and settings_file(data_dir).exists():
        token = read_settings(data_dir).token
        conceal([token, token.partition(":")[2]])

        def users() -> list[int]:
            try:
                return [one.id for one in read_settings(data_dir).users]
            except Misconfigured as error:
                raise Later(str(error)) from None

        def say(notice: Notice, user: int) -> str:
            try:
                known = read_settings(data_dir).user(user)
            except Misconfigured as error:
                raise Later(str(error)) from None
            return notice.text_in("en" if known is None else known.language)

        found.append(TelegramChannel(session, lambda: token, users, telegram, say))
    if not found and settings.ping is None:
        raise Misconfigured(
            "nobody would hear the watchdog; run `traderagent telegram setup`, or give a config with webhooks or ping."
        )
    return found


@asynccontextmanager
async def watchdog(
    data_dir: Path, settings: WatchdogSettings, telegram: str = TELEGRAM
) -> AsyncIterator[tuple[Watchdog, aiohttp.ClientSession]]:
    """Build it, with the session that its requests use; raises Misconfigured where nobody would hear it."""
    conceal(settings.secrets())
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        accounts = Accounts(data_dir, settings.user)
        stack.push_async_callback(accounts.close)
        channels = channels_of(data_dir, settings, session, telegram=telegram)
        yield Watchdog(data_dir, settings, accounts, channels), session
