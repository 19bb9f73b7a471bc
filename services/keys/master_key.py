"""The master key that encrypts every key of a data directory: from the environment, or a file of its owner's alone.

It is never shown, and a new one is never made while there are keys that an older one encrypted.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path

from bot.errors import Misconfigured, cut
from services.whole_file import write_private

VARIABLE = "TRADERAGENT_MASTER_KEY"
BYTES = 32
MAKE_ONE = "make one with `openssl rand -base64 32`"


def master_key_file(data_dir: Path) -> Path:
    """Where it is kept unless the environment has it."""
    return data_dir / "master.key"


def read_master_key(data_dir: Path) -> bytes:
    """Return it; raises Misconfigured where there is none, where it is none, or where others may read it."""
    given = os.environ.get(VARIABLE, "")
    if given:
        return decoded(given, VARIABLE)
    path = master_key_file(data_dir)
    try:
        with path.open(encoding="ascii", errors="replace") as kept:
            mode = os.fstat(kept.fileno()).st_mode & 0o777
            text = kept.read(1024)
    except FileNotFoundError:
        raise Misconfigured(
            f"the master key {cut(str(path))} is missing; restore that file, set {VARIABLE}, or remove the folder "
            "`keys` beside it and add the keys again."
        ) from None
    if mode & 0o077 and os.name != "nt":
        raise Misconfigured(f"the master key {cut(str(path))} may be read by others (mode {mode:o}); `chmod 600` it.")
    return decoded(text, f"the master key {cut(str(path))}")


def made_master_key(data_dir: Path) -> bytes:
    """Return it, or make it; the first of two processes makes it for both."""
    path = master_key_file(data_dir)
    if os.environ.get(VARIABLE) or path.exists():
        return read_master_key(data_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, base64.b64encode(secrets.token_bytes(BYTES)).decode() + "\n", replace=False)
    return read_master_key(data_dir)


def decoded(text: str, where: str) -> bytes:
    """Return the master key that a text is; raises Misconfigured, which does not show it."""
    try:
        found = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != BYTES:
        raise Misconfigured(f"{where} is no master key, which is {BYTES} bytes in base64; {MAKE_ONE}.")
    return found
