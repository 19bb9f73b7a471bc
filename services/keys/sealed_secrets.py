"""Secrets sealed beside the API keys, each of a kind and for one owner: a user's second factor, a bot's signals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from services.keys.key_store import WORD, KeyStore
from services.keys.sealed import SealedFiles

if TYPE_CHECKING:
    from pathlib import Path

    from services.keys.sealed import SealedName


class SecretKind(StrEnum):
    """What a secret is for."""

    TOTP = "totp"  # the second factor of a user of the console
    SIGNALS = "signals"  # it signs the signals for a bot


WORDS = {SecretKind.TOTP: "second factor of {}", SecretKind.SIGNALS: "secret of the signals for bot {}"}


@dataclass(frozen=True)
class SecretName:
    """What a secret is for, and whose it is."""

    kind: SecretKind
    owner: str

    def told(self) -> str:
        """Say it in words."""
        return WORDS[self.kind].format(self.owner)

    def file_name(self) -> str:
        """Name of its file."""
        return f"{self.owner}.{self.kind}.json"

    def associated(self) -> bytes:
        """Return what its ciphertext is bound to."""
        return json.dumps([f"traderagent {self.kind} 1", self.owner], separators=(",", ":")).encode()


class SealedSecrets:
    """The secrets of one kind in a data directory, by owner."""

    def __init__(self, data_dir: Path, kind: SecretKind) -> None:
        self.files, self.kind = SealedFiles(data_dir), kind

    def names(self) -> list[SecretName]:
        """Whose there are, in order."""
        found = (path.name.split(".") for path in sorted(self.files.folder.glob(f"*.{self.kind}.json")))
        return [SecretName(self.kind, parts[0]) for parts in found if len(parts) == 3 and WORD.fullmatch(parts[0])]

    def has(self, owner: str) -> bool:
        """Whether there is one."""
        return self.files.file(SecretName(self.kind, owner)).is_file()

    def keep(self, owner: str, secret: str) -> None:
        """Keep one, in the place of a former one; raises Misconfigured."""
        self.files.seal(SecretName(self.kind, owner), secret.encode())

    def read(self, owner: str) -> str | None:
        """Return one; None where there is none. Raises Misconfigured where it cannot be opened."""
        plain = self.files.opened(SecretName(self.kind, owner))
        return None if plain is None else plain.decode()

    def remove(self, owner: str) -> bool:
        """Delete one; whether it was there."""
        return self.files.remove(SecretName(self.kind, owner))


def reseal_all(data_dir: Path, new: bytes) -> int:
    """Encrypt everything that is sealed by another master key; returns how much. Raises Misconfigured."""
    names: list[SealedName] = [*KeyStore(data_dir).names()]
    for kind in SecretKind:
        names += SealedSecrets(data_dir, kind).names()
    return SealedFiles(data_dir).reseal(names, new)
