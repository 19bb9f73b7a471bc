"""API keys of a data directory, each in a file of its own, encrypted by AES-GCM with the master key.

Whose key it is, of which venue and for what, is the associated data: a file that is moved to another name, or copied
to another user, cannot be opened. No key and no secret is in any error.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bot.errors import Misconfigured, cut, shown
from services.keys.master_key import VARIABLE, made_master_key, read_master_key
from services.whole_file import write_private

if TYPE_CHECKING:
    from pathlib import Path

OWNER = "owner"  # the user where there is only one
TRADING, WATCHING = "trading", "watching"  # what a key is for: the bot, or the watchdog
PURPOSES = (TRADING, WATCHING)
WORD = re.compile(r"[a-z0-9_-]{1,32}")
TEXT = re.compile(r"[\x21-\x7e]{4,512}")  # of a key or a secret
NONCE = 12  # bytes


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
        self.data_dir, self.folder = data_dir, data_dir / "keys"

    def names(self) -> list[KeyName]:
        """Names of the keys, in order."""
        found = (path.name.split(".") for path in self.folder.glob("*.json") if not path.name.startswith("."))
        return sorted(KeyName(*parts[:4]) for parts in found if _are_a_name(parts))

    def added(self, name: KeyName) -> str:
        """Say when it was added or replaced, UTC."""
        return cut(str(self._kept(name).get("added", "")), 40)

    def has(self, name: KeyName) -> bool:
        """Whether it is there."""
        return self._file(name).is_file()

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
        try:
            self._file(name).unlink()
        except FileNotFoundError:
            raise self._missing(name) from None

    def read(self, name: KeyName) -> ApiKey:
        """Return a key; raises Misconfigured where it is missing, moved or damaged, or by another master key."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415, slow to load, as below
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        kept, master = self._kept(name), read_master_key(self.data_dir)
        if kept.get("master") != fingerprint(master):
            raise _wrong_master(name)
        try:
            sealed = base64.b64decode(kept["sealed"], validate=True)
            found = json.loads(AESGCM(master).decrypt(sealed[:NONCE], sealed[NONCE:], name.associated()))
            return checked_key(found["key"], found["secret"])
        except (InvalidTag, KeyError, TypeError, ValueError):
            raise Misconfigured(
                f"{cut(str(self._file(name)))} is not the {name.told()}: it was moved there from another user or "
                "venue, or is damaged; remove it and add the key again with `traderagent keys add`."
            ) from None

    def _write(self, name: KeyName, key: ApiKey) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        master = (read_master_key if self.names() else made_master_key)(self.data_dir)
        for other in self.names():
            if self._kept(other).get("master") != fingerprint(master):
                raise _wrong_master(other)
        nonce = secrets.token_bytes(NONCE)
        plain = json.dumps({"key": key.key, "secret": key.secret}).encode()
        sealed = nonce + AESGCM(master).encrypt(nonce, plain, name.associated())
        kept = {
            "version": 1,
            "added": datetime.now(UTC).isoformat(timespec="seconds"),
            "master": fingerprint(master),
            "sealed": base64.b64encode(sealed).decode(),
        }
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._file(name), json.dumps(kept))

    def _file(self, name: KeyName) -> Path:
        return self.folder / name.file_name()

    def _kept(self, name: KeyName) -> dict[str, Any]:
        try:
            found = json.loads(self._file(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise self._missing(name) from None
        except (ValueError, RecursionError):
            found = None
        return found if isinstance(found, dict) else {}

    def _missing(self, name: KeyName) -> Misconfigured:
        there = ", ".join(one.told() for one in self.names()) or "none"
        return Misconfigured(f"there is no {name.told()}; `traderagent keys add` adds one. There is: {cut(there)}.")


def fingerprint(master: bytes) -> str:
    """Return what tells one master key from another without telling anything of it."""
    return hashlib.sha256(b"traderagent master key" + master).hexdigest()[:16]


def _wrong_master(name: KeyName) -> Misconfigured:
    return Misconfigured(
        f"the master key is not the one that encrypted the {name.told()}; give back the former file master.key or "
        f"{VARIABLE}, or remove the keys and add them again."
    )


def _are_a_name(parts: list[str]) -> bool:
    return len(parts) == 5 and all(WORD.fullmatch(one) for one in parts[:4]) and parts[3] in PURPOSES
