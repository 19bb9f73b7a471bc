"""Who may speak with the bots over Telegram and what each is told, in a file that only its owner may read."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bot.errors import Misconfigured
from services.telegram.mailbox import Loudness
from services.whole_file import write_private

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("fills", "trades", "decisions", "digest")  # of news; alarms are told always
TOKEN = re.compile(r"\d{3,20}:[A-Za-z0-9_-]{20,80}")


@dataclass(frozen=True)
class TelegramUser:
    """Somebody who may ask and command."""

    id: int  # of the user, and of the private chat with them
    name: str = ""
    language: str = "en"
    bot: str = ""  # the one that commands are for; empty: the only one
    rules: dict[str, Loudness] = field(default_factory=lambda: dict.fromkeys(KINDS, Loudness.ON))
    quiet_from: int = 0  # hours, UTC: news come without a sound; the same twice: never
    quiet_until: int = 0
    digest_hour: int = 7  # UTC

    def loudness(self, kind: str, hour: int) -> Loudness:
        """How news of a kind come at an hour."""
        chosen = self.rules.get(kind, Loudness.ON)
        length = (self.quiet_until - self.quiet_from) % 24
        is_quiet = (hour - self.quiet_from) % 24 < length
        return Loudness.QUIET if chosen is Loudness.ON and is_quiet else chosen


@dataclass(frozen=True)
class TelegramSettings:
    """What the file holds."""

    token: str
    users: tuple[TelegramUser, ...] = ()
    places: dict[str, str] = field(default_factory=dict)  # of each bot's events, up to which they were told
    digests: dict[str, str] = field(default_factory=dict)  # the day of each user's last
    alarms: dict[str, dict[str, str]] = field(default_factory=dict)  # unacknowledged: text by user and name

    def user(self, number: int) -> TelegramUser | None:
        """Find a user."""
        return next((one for one in self.users if one.id == number), None)

    def changed(self, user: TelegramUser) -> TelegramSettings:
        """The same with this user added or changed."""
        others = tuple(one for one in self.users if one.id != user.id)
        return replace(self, users=tuple(sorted((*others, user), key=lambda one: one.id)))


def settings_file(data_dir: Path) -> Path:
    """Where they are kept."""
    return data_dir / "telegram.json"


def read_settings(data_dir: Path) -> TelegramSettings:
    """Read them; raises Misconfigured where there are none, or the file is damaged."""
    path = settings_file(data_dir)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        users = tuple(_user(one) for one in kept["users"])
        settings = TelegramSettings(
            *(checked_token(kept["token"]), users, dict(kept.get("places", {})), dict(kept.get("digests", {}))),
            {user: {name: str(text) for name, text in one.items()} for user, one in kept.get("alarms", {}).items()},
        )
    except FileNotFoundError:
        raise Misconfigured("Telegram is not set up here; run `traderagent telegram setup`.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Misconfigured(f"{path} is damaged; run `traderagent telegram setup` again.") from None
    return settings


def write_settings(data_dir: Path, settings: TelegramSettings) -> None:
    """Keep them, whole or not at all, for the owner's eyes alone."""
    path = settings_file(data_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {**asdict(settings), "users": [asdict(one) for one in settings.users]}
    write_private(path, json.dumps(kept, indent=1))


def checked_token(token: str) -> str:
    """Return a token that looks like one; raises Misconfigured, which does not show it."""
    if not TOKEN.fullmatch(token):
        raise Misconfigured("token is none of BotFather's; copy the whole line such as 123456:ABC-DEF1234ghIkl.")
    return token


def _user(kept: dict[str, Any]) -> TelegramUser:
    rules = {kind: Loudness(kept.get("rules", {}).get(kind, Loudness.ON)) for kind in KINDS}
    return TelegramUser(**{**kept, "id": int(kept["id"]), "rules": rules})
