"""Secrets of a data directory, each in a file of the folder `keys`, encrypted by AES-GCM with the master key.

What a file is and whose is the associated data: one that is moved to another name cannot be opened. No secret is in any
error. Another master key is written down whole, with all that it encrypts, before the first file is touched: whoever
comes after an interruption finds either nothing of it, or brings it to its end.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from bot.errors import Misconfigured, cut
from services.keys.master_key import VARIABLE, made_master_key, master_key_file, read_master_key
from services.whole_file import write_private

if TYPE_CHECKING:
    from pathlib import Path

NONCE = 12  # bytes


class SealedName(Protocol):
    """What a sealed file is, and whose."""

    def told(self) -> str:
        """Say it in words."""
        ...

    def file_name(self) -> str:
        """Name of its file."""
        ...

    def associated(self) -> bytes:
        """Return what its ciphertext is bound to."""
        ...


@dataclass(frozen=True)
class SealedFiles:
    """The sealed files of a data directory."""

    data_dir: Path

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self.data_dir / "keys"

    @property
    def _journal(self) -> Path:
        """A change of the master key that was decided and is not carried out yet."""
        return self.folder / ".rekey"

    @property
    def _next_master(self) -> Path:
        """The master key that such a change ends with, where it stands in a file."""
        return self.data_dir / ".master.key.next"

    def file(self, name: SealedName) -> Path:
        """Where one is."""
        return self.folder / name.file_name()

    def kept(self, name: SealedName) -> dict[str, Any] | None:
        """Return what a file says without its seal; None where there is none."""
        self.finish()
        return _content(self.file(name))

    def opened(self, name: SealedName) -> bytes | None:
        """Return what a file holds; None where there is none.

        Raises Misconfigured for one that was moved, is damaged, or was sealed by another master key.
        """
        kept, master = self._kept_and_master(name)
        if kept is None or master is None:
            return None
        return opened(kept, name, master, self.file(name))

    def _kept_and_master(self, name: SealedName) -> tuple[dict[str, Any] | None, bytes | None]:
        """A file and the master key beside it: both of the same moment, also while the master key is changed."""
        kept = self.kept(name)
        if kept is None:
            return None, None
        master = read_master_key(self.data_dir)
        if kept.get("master") == fingerprint(master):
            return kept, master
        return self.kept(name), read_master_key(self.data_dir)

    def seal(self, name: SealedName, plain: bytes) -> None:
        """Keep a secret; raises Misconfigured where another file has another master key: two would make one useless."""
        with self._locked():
            there = sorted(self.folder.glob("*.json"))
            master = (read_master_key if there else made_master_key)(self.data_dir)
            for file in there:
                if (_content(file) or {}).get("master") != fingerprint(master):
                    raise wrong_master(file.stem)
            write_private(self.file(name), json.dumps(sealed(name, plain, master)))

    def remove(self, name: SealedName) -> bool:
        """Delete one; whether it was there."""
        with self._locked():
            try:
                self.file(name).unlink()
            except FileNotFoundError:
                return False
        return True

    def reseal(self, names: Iterable[SealedName], new: bytes) -> int:
        """Seal every file by another master key; returns how many. Raises Misconfigured, with all as it was.

        `names` has to be all of them: a file that is none of theirs would be lost.
        """
        with self._locked():
            files = {self.file(one).name: one for one in names}
            strange = sorted(one.name for one in self.folder.glob("*.json") if one.name not in files)
            if strange:
                raise Misconfigured(
                    f"{cut(str(self.folder / strange[0]))} is no file of this program's, and would not be opened by "
                    "the new master key; move it away."
                )
            old, written = read_master_key(self.data_dir), {}
            for name, one in files.items():
                kept = self.kept(one)
                plain = opened(kept or {}, one, old, self.file(one))
                written[name] = sealed(one, plain, new) | {"added": (kept or {}).get("added", "")}
            if not written:
                raise Misconfigured("there is no key to encrypt anew; `traderagent keys add` adds one.")
            if new == old:
                raise Misconfigured("the new master key is the present one; give another.")
            in_file = not os.environ.get(VARIABLE)
            if in_file:
                write_private(self._next_master, base64.b64encode(new).decode() + "\n")
            write_private(self._journal, json.dumps({"in_file": in_file, "files": written}))  # from here on it is done
            self._carry_out()
        return len(written)

    def finish(self) -> None:
        """Bring a change of the master key to its end that was interrupted."""
        if self._journal.exists():
            with self._locked():
                pass

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Be the only one who writes, with no change of the master key under way."""
        from services.processes import locked  # noqa: PLC0415, slow to load for who only reads

        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self.folder / ".lock"):
            if self._journal.exists():
                self._carry_out()
            yield

    def _carry_out(self) -> None:
        """Do what the journal says; as often as it is done, it ends the same."""
        decided = json.loads(self._journal.read_text(encoding="utf-8"))
        for name, one in decided["files"].items():
            write_private(self.folder / name, json.dumps(one))
        if decided["in_file"] and self._next_master.exists():
            self._next_master.replace(master_key_file(self.data_dir))
        self._journal.unlink()


def _content(file: Path) -> dict[str, Any] | None:
    """What a file holds; None where there is none, nothing where it cannot be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def sealed(name: SealedName, plain: bytes, master: bytes) -> dict[str, Any]:
    """What a file holds: its ciphertext, and which master key opens it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415, slow to load, as below

    nonce = secrets.token_bytes(NONCE)
    return {
        "version": 1,
        "added": datetime.now(UTC).isoformat(timespec="seconds"),
        "master": fingerprint(master),
        "sealed": base64.b64encode(nonce + AESGCM(master).encrypt(nonce, plain, name.associated())).decode(),
    }


def opened(kept: dict[str, Any], name: SealedName, master: bytes, file: Path) -> bytes:
    """Open what a file holds; raises Misconfigured."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    if kept.get("master") != fingerprint(master):
        raise wrong_master(name.told())
    try:
        found = base64.b64decode(kept["sealed"], validate=True)
        return AESGCM(master).decrypt(found[:NONCE], found[NONCE:], name.associated())
    except (InvalidTag, KeyError, TypeError, ValueError):
        raise damaged(name, file) from None


def fingerprint(master: bytes) -> str:
    """Return what tells one master key from another without telling anything of it."""
    return hashlib.sha256(b"traderagent master key" + master).hexdigest()[:16]


def damaged(name: SealedName, file: Path) -> Misconfigured:
    """Say that a file does not hold what its name says."""
    return Misconfigured(
        f"{cut(str(file))} is not the {name.told()}: it was moved there from another user or venue, or is damaged; "
        "remove it and add the key again with `traderagent keys add`."
    )


def wrong_master(what: str) -> Misconfigured:
    """Say that another master key would open a file."""
    return Misconfigured(
        f"the master key is not the one that encrypted the {what}; give back the former file master.key or "
        f"{VARIABLE}, or remove the keys and add them again."
    )
