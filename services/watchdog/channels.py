"""Whom the watchdog calls: Telegram and webhooks, each in its own words. One that fails says whether to try again.

Redirects are not followed, and no error names an address: it is a secret.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp
import structlog

from services.alert_conditions import Severity
from services.watchdog.conditions import TOLD_BY_THE_BOT
from services.watchdog.notices import Notice
from services.watchdog.settings import Webhook, WebhookKind
from services.webhooks import Later, asked_wait, post, signed

log = structlog.get_logger()

LONGEST = {WebhookKind.DISCORD: 1900, WebhookKind.SLACK: 3000, WebhookKind.NTFY: 1000, WebhookKind.JSON: 1 << 30}
PRIORITY = {Severity.CRITICAL: "urgent", Severity.WARNING: "high"}  # as ntfy names them
TELEGRAM = "https://api.telegram.org"


class Channel(Protocol):
    """Somebody who hears notices."""

    name: str

    async def send(self, notice: Notice, at: float) -> None:
        """Send a notice of a moment (seconds since 1970); raises Later where that has to be tried again."""
        ...


@dataclass(frozen=True)
class Posted:
    """What is posted to a webhook."""

    body: bytes
    headers: dict[str, str]


def posted(webhook: Webhook, notice: Notice, at: float) -> Posted:
    """Say a notice as the webhook's kind wants it."""
    kind = webhook.spoken()
    text = notice.text[: LONGEST[kind]]
    if kind is WebhookKind.NTFY:
        headers = {
            "Title": f"traderagent {notice.bot}",
            "Priority": "default" if notice.over else PRIORITY[notice.known.severity],
        }
        return Posted(text.encode(), {**headers, "Content-Type": "text/plain; charset=utf-8"})
    said: dict[str, Any]
    if kind is WebhookKind.DISCORD:
        said = {"content": text, "allowed_mentions": {"parse": []}}
    elif kind is WebhookKind.SLACK:
        said = {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}
    else:
        said = {
            "version": 1,
            "source": "traderagent watchdog",
            "bot": notice.bot,
            "condition": str(notice.condition),
            "severity": notice.known.severity.value,
            "over": notice.over,
            "sentence": notice.sentence,
            "remedy": notice.remedy,
            "at": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
        }
    body = json.dumps(said).encode()
    headers = {"Content-Type": "application/json"}
    return Posted(body, headers | signed(webhook.secret.get_secret_value(), at, body))


class WebhookChannel:
    """One webhook."""

    def __init__(self, session: aiohttp.ClientSession, webhook: Webhook, wall: Callable[[], float]) -> None:
        """`wall`: seconds since 1970, by which a request is signed when it is sent, however late that is."""
        self.session, self.webhook, self.wall = session, webhook, wall
        self.name = f"{webhook.spoken().value} {webhook.host()}"

    async def send(self, notice: Notice, at: float) -> None:
        """Post it; what the webhook refuses for good is logged and left."""
        said = posted(self.webhook, notice, at if not self.webhook.secret.get_secret_value() else self.wall())
        url = self.webhook.url.get_secret_value()
        status, answer = await post(self.session, url, data=said.body, headers=said.headers)
        if status == 429 or status >= 500:
            raise Later(f"HTTP {status}", asked_wait(answer))
        if status >= 300:
            log.error("webhook_refused", channel=self.name, status=status, remedy="check its address in the config")


class TelegramChannel:
    """The users of a Telegram bot, each in a private chat."""

    name = "telegram"

    def __init__(
        self,
        session: aiohttp.ClientSession,
        token: Callable[[], str],
        users: Callable[[], Sequence[int]],
        address: str = TELEGRAM,
        say: Callable[[Notice, int], str] = lambda notice, _user: notice.text,
    ) -> None:
        """`say`: a notice in a user's language."""
        self.session, self.token, self.users, self.address, self.say = session, token, users, address, say
        self._told: tuple[Any, set[int]] = (None, set())  # whom the notice that is being sent has reached

    async def send(self, notice: Notice, at: float) -> None:
        """Send it to everybody; whoever has it already does not get it again when it is tried again.

        What the bot's own messages tell is left to them.
        """
        if notice.condition in TOLD_BY_THE_BOT:
            return
        if self._told[0] != (notice, at):
            self._told = ((notice, at), set())
        url = f"{self.address}/bot{self.token()}/sendMessage"
        for user in self.users():
            if user in self._told[1]:
                continue
            status, answer = await post(
                self.session, url, data={"chat_id": str(user), "text": self.say(notice, user)[:4000]}
            )
            if status == 429 or status >= 500:
                raise Later(f"HTTP {status}", asked_wait(answer))
            if status >= 300:
                log.error("telegram_refused", user=user, status=status, remedy="`traderagent telegram setup`")
            self._told[1].add(user)
