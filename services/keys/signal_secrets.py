"""Secrets by which signals for bots are signed, sealed beside the API keys, each for one bot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.keys.key_store import WORD
from services.keys.sealed import SealedFiles

if TYPE_CHECKING:
    from pathlib import Path

ENDING = "signals.json"


@dataclass(frozen=True)
class SignalSecretName:
    """Whose signals are signed by it."""

    bot: str

    def told(self) -> str:
        """Say it in words."""
        return f"secret of the signals for bot {self.bot}"

    def file_name(self) -> str:
        """Name of its file."""
        return f"{self.bot}.{ENDING}"

    def associated(self) -> bytes:
        """Return what its ciphertext is bound to."""
        return json.dumps(["traderagent signals 1", self.bot], separators=(",", ":")).encode()


class SignalSecrets:
    """The secrets of a data directory's signals."""

    def __init__(self, data_dir: Path) -> None:
        self.files = SealedFiles(data_dir)

    def names(self) -> list[SignalSecretName]:
        """Whose there are, in order."""
        found = (path.name.removesuffix(f".{ENDING}") for path in sorted(self.files.folder.glob(f"*.{ENDING}")))
        return [SignalSecretName(bot) for bot in found if WORD.fullmatch(bot)]

    def keep(self, bot: str, secret: str) -> None:
        """Keep one, in the place of a former one; raises Misconfigured."""
        self.files.seal(SignalSecretName(bot), secret.encode())

    def read(self, bot: str) -> str | None:
        """Return one; None where there is none. Raises Misconfigured where it cannot be opened."""
        plain = self.files.opened(SignalSecretName(bot))
        return None if plain is None else plain.decode()

    def remove(self, bot: str) -> bool:
        """Delete one; whether it was there."""
        return self.files.remove(SignalSecretName(bot))
