"""What every webhook shares: its address, which is a secret, its signature, and asking it once.

Redirects are not followed, and no error names an address.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from pydantic import SecretStr

from bot.errors import Misconfigured

SECONDS = 10.0  # for an answer
MOST_WAIT = 300.0  # seconds, of what somebody asks for


class Later(Exception):
    """It was not sent; `seconds` are to pass before it is tried again, None for the usual ones."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


def checked_address(value: SecretStr, what: str = "a webhook or a ping") -> SecretStr:
    """Refuse what is no address, without showing it."""
    try:
        at = urlsplit(value.get_secret_value())
        fine = at.scheme in ("http", "https") and bool(at.hostname) and (at.port or 1) > 0
    except ValueError:
        fine = False
    if not fine or not value.get_secret_value().isprintable() or " " in value.get_secret_value():
        raise Misconfigured(f"an address of {what} is none; give https://host/path.")
    return value


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 over timestamp, a dot and the body, hexadecimal."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def signed(secret: str, at: float, body: bytes) -> dict[str, str]:
    """Headers that sign a body at a moment (seconds since 1970); none without a secret."""
    if not secret:
        return {}
    timestamp = str(int(at))
    return {
        "X-Traderagent-Timestamp": timestamp,
        "X-Traderagent-Signature": f"sha256={signature(secret, timestamp, body)}",
    }


async def post(session: aiohttp.ClientSession, url: str, **what: Any) -> tuple[int, Any]:
    """Post; status and how long to wait, as it says. Raises Later where nobody answers."""
    try:
        async with session.post(
            url, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=SECONDS), **what
        ) as answer:
            wait: Any = answer.headers.get("Retry-After")
            if answer.status == 429 and wait is None:
                said = await answer.json(content_type=None)
                found = said.get("parameters", said) if isinstance(said, dict) else {}
                wait = found.get("retry_after") if isinstance(found, dict) else None
            return answer.status, wait
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise Later(type(error).__name__) from None


def asked_wait(asked: Any) -> float | None:
    """Read how long somebody wants to be left alone, seconds."""
    try:
        return min(max(float(asked), 0.0), MOST_WAIT)
    except (TypeError, ValueError):
        return None
