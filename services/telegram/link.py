"""The link to Telegram: hears users through aiogram, and sends what their mailboxes hold, as fast as Telegram allows.

A message that was not taken is sent again, after what Telegram asks for; one whose HTML it cannot read goes again as
plain text. Whether one was taken is uncertain where the connection ended without an answer: the mailbox knows which are
sent again then. Nobody else waits for any of it.
"""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import PRODUCTION, TelegramAPIServer
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.types import (
    BufferedInputFile,
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Update,
)
from aiogram.types import Message as Heard
from aiohttp import ClientConnectorError

from bot.errors import cut
from services.telegram.mailbox import Mailbox, Message
from services.telegram.texts import pieces

if TYPE_CHECKING:
    from services.telegram.desk import Desk
    from services.telegram.notices import Notices
    from services.telegram.users import TelegramUser

log = structlog.get_logger()

CHAT_SECONDS = 1.05  # between two messages to one chat
ALL_SECONDS = 1 / 28  # between two to anybody
AGAIN_SECONDS = (2.0, 5.0, 15.0, 30.0)  # after a failure, the first and those that follow
POLL_SECONDS = 20
HEARD = ["message", "callback_query"]
SAME = "message is not modified"
TAGS = re.compile(r"</?(?:b|i|pre|code)>")


class Link:
    """A bot of Telegram's, and its users."""

    def __init__(
        self,
        token: str,
        desk: Desk,
        notices: Notices,
        user: Callable[[int], TelegramUser | None],
        stranger: Callable[[int], Awaitable[None]],
        address: str | None = None,
        chat_seconds: float = CHAT_SECONDS,
    ) -> None:
        """`stranger` hears of whoever is none of the users; `address`: another server than Telegram's."""
        self.bot = spoken_to(token, address)
        self.desk, self.notices, self._user, self._stranger = desk, notices, user, stranger
        self._chat_seconds = chat_seconds
        self._next: dict[int, float] = {}  # when each chat may have its next message
        self._failures: dict[int, int] = {}
        self._waiting = asyncio.Event()

    async def run(self) -> None:
        """Hear and send, for ever."""
        dispatcher = Dispatcher()
        dispatcher.message.register(self._heard)
        dispatcher.callback_query.register(self._pressed)
        try:
            await asyncio.gather(self._hear_all(dispatcher), self._send_all())
        finally:
            await self.bot.session.close()

    async def _hear_all(self, dispatcher: Dispatcher) -> None:
        """Poll for what users write and press; aiogram's own polling cannot be ended before its question is."""
        offset, failures = None, 0
        while True:
            try:
                updates = await self.bot.get_updates(offset, timeout=POLL_SECONDS, allowed_updates=HEARD)
            except TelegramAPIError as error:
                failures += 1
                wait = AGAIN_SECONDS[min(failures, len(AGAIN_SECONDS)) - 1]
                log.warning("telegram_not_heard", error=type(error).__name__, again_in=wait)
                await asyncio.sleep(wait)
                continue
            failures = 0
            for update in updates:
                offset = update.update_id + 1
                await self.hear(dispatcher, update)

    async def hear(self, dispatcher: Dispatcher, update: Update) -> None:
        """Hear one update; what goes wrong with one keeps nobody from the next."""
        try:
            await dispatcher.feed_update(self.bot, update)
        except Exception:
            log.exception("telegram_update_failed", update=update.update_id)

    def wake(self) -> None:
        """Say that a mailbox has something."""
        self._waiting.set()

    # Hearing

    async def _heard(self, heard: Heard) -> None:
        user = await self._known(heard.from_user, heard.chat.id)
        if user is None:
            return
        answer = await self.desk.heard(user, heard.text or "", f"{heard.chat.id}:{heard.message_id}")
        self._put(user.id, answer)

    async def _pressed(self, pressed: CallbackQuery) -> None:
        message = pressed.message
        user = await self._known(pressed.from_user, pressed.from_user.id if message is None else message.chat.id)
        if user is None or message is None or pressed.data is None:
            return
        kind, _, rest = pressed.data.partition(":")
        done = True
        if kind == "seen":
            box = self.notices.box(user.id)
            done = box.acknowledge(next((one for one in box.alarms() if one.startswith(rest)), rest))
        else:
            answer = await self.desk.pressed(user, pressed.data, message.message_id, f"press:{pressed.id}")
            self._put(user.id, answer)
        try:
            await pressed.answer("✓" if done else None)
        except TelegramAPIError as error:  # its wheel turns a little longer
            log.warning("telegram_not_answered", error=type(error).__name__)

    async def _known(self, who: Any, chat: int) -> TelegramUser | None:
        """Find the user; in a private chat alone, and nobody else hears anything."""
        user = None if who is None else self._user(who.id)
        if user is None and who is not None:
            await self._stranger(who.id)
        return user if user is not None and chat == user.id else None

    def _put(self, user: int, answer: Message) -> None:
        box = self.notices.box(user)
        parts = pieces(answer.text)
        for at, text in enumerate(parts):
            last = at == len(parts) - 1
            box.answer(
                Message(text, answer.buttons if last else (), answer.silent, picture=answer.picture if last else None,
                        sent_as=answer.sent_as if at == 0 else None)
            )  # fmt: skip
        self.wake()

    # Sending

    async def _send_all(self) -> None:
        while True:
            self._waiting.clear()
            wait = await self.send_due(self.notices.clock())
            if wait is not None and wait <= 0:
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._waiting.wait(), wait)

    async def send_due(self, now: float) -> float | None:
        """Send one message to each user who may have one; seconds until the next may go, None while nothing waits."""
        times = []
        for user, box in list(self.notices.boxes.items()):
            if self._user(user) is None:  # who was let out hears nothing more
                continue
            free = self._next.get(user, 0.0)
            if now >= free and (message := box.take(now)) is not None:
                self._next[user] = now + self._chat_seconds
                await self._sent(user, box, message, now)
                await asyncio.sleep(ALL_SECONDS)
            due = box.next_at(now)
            if due is not None:
                times.append(max(due, self._next.get(user, 0.0)))
        return max(min(times) - self.notices.clock(), 0.0) if times else None

    async def _sent(self, user: int, box: Mailbox, message: Message, now: float) -> None:
        """Send a message, or put it back."""
        try:
            number = await self._send(user, message)
        except TelegramRetryAfter as error:
            box.put_back(message, now + error.retry_after)
        except (TelegramNetworkError, TelegramServerError) as error:
            count = self._failures[user] = self._failures.get(user, 0) + 1
            wait = AGAIN_SECONDS[min(count, len(AGAIN_SECONDS)) - 1]
            uncertain = _may_have_arrived(error)
            log.warning("telegram_away", error=type(error).__name__, uncertain=uncertain, again_in=wait)
            box.put_back(message, now + wait, uncertain=uncertain)
        except TelegramForbiddenError:
            log.warning("telegram_blocked", user=user, remedy="the user has blocked the bot")
        except TelegramAPIError as error:
            log.warning("telegram_refused", error=cut(str(error)))
        else:
            self._failures.pop(user, None)
            if message.called and number is not None:
                self.notices.halts.sent(user, message.called, number)

    async def _send(self, user: int, message: Message, *, plain: bool = False) -> int | None:
        """Send or edit a message; returns its number. As plain text where Telegram cannot read its HTML."""
        text = html.unescape(TAGS.sub("", message.text)) if plain else message.text
        how: dict[str, Any] = {"parse_mode": None if plain else "HTML", "reply_markup": _keyboard(message)}
        try:
            if message.picture is not None:
                photo = BufferedInputFile(message.picture, "picture.png")
                sent = await self.bot.send_photo(
                    user, photo, caption=text[:1024], disable_notification=message.silent, **how
                )
                return sent.message_id
            if message.sent_as is not None:
                await self.bot.edit_message_text(text, chat_id=user, message_id=message.sent_as, **how)
                return message.sent_as
            sent = await self.bot.send_message(user, text, disable_notification=message.silent, **how)
        except TelegramBadRequest as error:
            if SAME in str(error):
                return message.sent_as
            if not plain and "parse" in str(error):
                return await self._send(user, message, plain=True)
            raise
        return sent.message_id


def _may_have_arrived(error: TelegramAPIError) -> bool:
    """Whether a message may have been taken although no answer came; one that found no connection was not."""
    return isinstance(error, TelegramNetworkError) and not isinstance(error.__context__, ClientConnectorError)


def spoken_to(token: str, address: str | None = None) -> Bot:
    """Return the bot of a token, at Telegram or another server."""
    server = PRODUCTION if address is None else TelegramAPIServer.from_base(address)
    return Bot(token, session=AiohttpSession(api=server))


def _keyboard(message: Message) -> InlineKeyboardMarkup | None:
    if not message.buttons:
        return None
    rows = [[InlineKeyboardButton(text=one.text, callback_data=one.data) for one in row] for row in message.buttons]
    return InlineKeyboardMarkup(inline_keyboard=rows)
