"""API keys of a data directory, sealed: whose each is, of which venue and for what, is what its file is bound to.

No key and no secret is in any error.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.errors import Misconfigured, cut, shown
from services.keys.sealed import SealedFiles, damaged

if TYPE_CHECKING:
    from pathlib import Path

OWNER = "owner"  # the user where there is only one
TRADING, WATCHING = "trading", "watching"  # what a key is for: the bot, or the watchdog
PURPOSES = (TRADING, WATCHING)
WORD = re.compile(r"[a-z0-9_-]{1,32}")
TEXT = re.compile(r"[\x21-\x7e]{4,512}")  # of a key or a secret


@dataclass(frozen=True, order=True)
class KeyName:
    """Whose key it is, of which venue (exchange and environment), and for what."""

    user: str
    exchange: str
    environment: str
    purpose: str = TRADING

    def __post_init__(self) -> None:
        for field in ("user", "exchange", "environment", "purpose"):
            value = getattr(self, field)
            if not WORD.fullmatch(value):
                raise Misconfigured(
                    f"{field} is {shown(value)}; give 1 to 32 lower-case letters, digits, dashes or underscores."
                )
        if self.purpose not in PURPOSES:
            raise Misconfigured(f"purpose is {shown(self.purpose)}; choose one of {', '.join(PURPOSES)}.")

    def told(self) -> str:
        """Say it in words."""
        return f"{self.purpose} key of {self.user} for {self.exchange} {self.environment}"

    def file_name(self) -> str:
        """Name of its file."""
        return f"{self.user}.{self.exchange}.{self.environment}.{self.purpose}.json"

    def associated(self) -> bytes:
        """Return what a ciphertext is bound to."""
        return json.dumps(
            ["traderagent key 1", self.user, self.exchange, self.environment, self.purpose], separators=(",", ":")
        ).encode()


@dataclass(frozen=True)
class ApiKey:
    """A key and its secret, which its text does not show."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return "ApiKey(***)"


def checked_key(key: str, secret: str) -> ApiKey:
    """Return both; raises Misconfigured for what cannot be one, without showing it."""
    for field, value in (("key", key), ("secret", secret)):
        if not TEXT.fullmatch(value):
            raise Misconfigured(
                f"the API {field} is empty or has spaces or odd characters; copy it again from the exchange's page."
            )
    return ApiKey(key, secret)


class KeyStore:
    """The keys of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir, self.files = data_dir, SealedFiles(data_dir)

    def names(self) -> list[KeyName]:
        """Names of the keys, in order."""
        found = (path.name.split(".") for path in self.files.folder.glob("*.json") if not path.name.startswith("."))
        return sorted(KeyName(*parts[:4]) for parts in found if _are_a_name(parts))

    def added(self, name: KeyName) -> str:
        """Say when it was added or replaced, UTC."""
        kept = self.files.kept(name)
        if kept is None:
            raise self._missing(name)
        return cut(str(kept.get("added", "")), 40)

    def has(self, name: KeyName) -> bool:
        """Whether it is there."""
        return self.files.file(name).is_file()

    def add(self, name: KeyName, key: ApiKey) -> None:
        """Keep a key; raises Misconfigured where there is one."""
        if self.has(name):
            raise Misconfigured(f"the {name.told()} is there already; replace it with `traderagent keys rotate`.")
        self._write(name, key)

    def replace(self, name: KeyName, key: ApiKey) -> None:
        """Put another key in the place of one; raises Misconfigured where there is none."""
        self.read(name)  # by the same master key: two would make one of them useless
        self._write(name, key)

    def remove(self, name: KeyName) -> None:
        """Delete a key here; raises Misconfigured where there is none."""
        if not self.files.remove(name):
            raise self._missing(name)

    def read(self, name: KeyName) -> ApiKey:
        """Return a key; raises Misconfigured where it is missing, moved or damaged, or by another master key."""
        plain = self.files.opened(name)
        if plain is None:
            raise self._missing(name)
        try:
            found = json.loads(plain)
            return checked_key(found["key"], found["secret"])
        except (KeyError, TypeError, ValueError):
            raise damaged(name, self.files.file(name)) from None

    def _write(self, name: KeyName, key: ApiKey) -> None:
        plain = json.dumps({"key": key.key, "secret": key.secret}).encode()
        self.files.seal(name, plain)

    def _missing(self, name: KeyName) -> Misconfigured:
        there = ", ".join(one.told() for one in self.names()) or "none"
        return Misconfigured(f"there is no {name.told()}; `traderagent keys add` adds one. There is: {cut(there)}.")


def _are_a_name(parts: list[str]) -> bool:
    return len(parts) == 5 and all(WORD.fullmatch(one) for one in parts[:4]) and parts[3] in PURPOSES
