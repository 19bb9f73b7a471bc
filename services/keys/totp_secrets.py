"""Secrets of second factors (TOTP) of the console, sealed beside the API keys, each for one user."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.keys.key_store import WORD, KeyStore
from services.keys.sealed import SealedFiles
from services.keys.signal_secrets import SignalSecrets

if TYPE_CHECKING:
    from pathlib import Path

    from services.keys.sealed import SealedName


@dataclass(frozen=True)
class TotpName:
    """Whose second factor it is."""

    user: str

    def told(self) -> str:
        """Say it in words."""
        return f"second factor of {self.user}"

    def file_name(self) -> str:
        """Name of its file."""
        return f"{self.user}.totp.json"

    def associated(self) -> bytes:
        """Return what its ciphertext is bound to."""
        return json.dumps(["traderagent totp 1", self.user], separators=(",", ":")).encode()


class TotpSecrets:
    """The second factors of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.files = SealedFiles(data_dir)

    def names(self) -> list[TotpName]:
        """Whose there are, in order."""
        found = (path.name.split(".") for path in sorted(self.files.folder.glob("*.totp.json")))
        return [TotpName(parts[0]) for parts in found if len(parts) == 3 and WORD.fullmatch(parts[0])]

    def has(self, user: str) -> bool:
        """Whether there is one."""
        return self.files.file(TotpName(user)).is_file()

    def keep(self, user: str, secret: str) -> None:
        """Keep one, in the place of a former one; raises Misconfigured."""
        self.files.seal(TotpName(user), secret.encode())

    def read(self, user: str) -> str | None:
        """Return one; None where there is none. Raises Misconfigured where it cannot be opened."""
        plain = self.files.opened(TotpName(user))
        return None if plain is None else plain.decode()

    def remove(self, user: str) -> bool:
        """Delete one; whether it was there."""
        return self.files.remove(TotpName(user))


def reseal_all(data_dir: Path, new: bytes) -> int:
    """Encrypt everything that is sealed by another master key; returns how much. Raises Misconfigured."""
    names: list[SealedName] = [
        *KeyStore(data_dir).names(),
        *TotpSecrets(data_dir).names(),
        *SignalSecrets(data_dir).names(),
    ]
    return SealedFiles(data_dir).reseal(names, new)
