"""Speaking to a running bot over its control interface."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from bot.errors import Misconfigured

LARGEST_ANSWER = 16 << 20  # bytes
SECONDS = 120.0  # a shutdown waits for positions to close
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d{1,5}")
# No proxy of the environment's: it would get the token.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def control_file(data_dir: Path, bot: str) -> Path:
    """Where a running bot leaves its address and token."""
    return data_dir / "bots" / f"{bot}.json"


def ask(file: Path, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the bot something, or tell it; raises Misconfigured with its refusal, or when it does not run."""
    address, token = _known(file)
    request = urllib.request.Request(  # noqa: S310, the address is our own file's
        address + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with OPENER.open(request, timeout=SECONDS) as answer:
            return _object(file, answer.read(LARGEST_ANSWER))
    except urllib.error.HTTPError as error:
        with error:
            refused = _object(file, error.read(LARGEST_ANSWER))
        sentence = refused.get("error")
        raise (Misconfigured(sentence) if isinstance(sentence, str) else _unreadable(file)) from None
    except http.client.HTTPException:
        raise _unreadable(file) from None
    except OSError:
        raise Misconfigured(f"the bot of {file} does not answer; it may have been killed. Start it again.") from None


def _known(file: Path) -> tuple[str, str]:
    """Address and token that the bot has left; raises Misconfigured."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        address, token = known["address"], known["token"]
        if ADDRESS.fullmatch(address) and token.isascii() and token.isprintable():
            return address, token
    except OSError:
        raise Misconfigured(f"no bot runs here ({file} is missing); start it with `traderagent run`.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise Misconfigured(f"{file} is damaged; stop the bot by a signal and start it again.")


def _object(file: Path, data: bytes) -> dict[str, Any]:
    """Read an answer, which is a JSON object; raises Misconfigured."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _unreadable(file)
    return found


def _unreadable(file: Path) -> Misconfigured:
    return Misconfigured(
        f"what answers at the address in {file} is not this bot, or one of another version; start the bot again."
    )
