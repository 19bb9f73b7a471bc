"""How the client of the console asks: one request, one answer, and every refusal with its remedy."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from bot.errors import Misconfigured, TradingError, shown
from bot.ports import Unreachable

LARGEST_ANSWER = 64 << 20  # bytes


class ConsoleRefused(TradingError):
    """The console said no: its sentence, and `code`, `field` and `remedy` as it gave them."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("message", f"the console answered with {status}.")))
        self.status, self.code = status, str(problem.get("code", "unknown"))
        self.field, self.remedy = problem.get("field"), str(problem.get("remedy", ""))


class Transport:
    """A console's address, and the token that opens it."""

    def __init__(self, address: str, token: str = "", seconds: float = 30.0) -> None:
        """`address` such as http://127.0.0.1:8800; raises Misconfigured for one that is none."""
        parts = urllib.parse.urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise Misconfigured(f"address is {shown(address)}; give one such as http://127.0.0.1:8800.")
        self.address, self.token, self.seconds = address.rstrip("/"), token, seconds

    def ask(
        self, method: str, path: str, query: Mapping[str, Any], headers: Mapping[str, str], body: Any = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """Ask; returns body and headers. Raises ConsoleRefused, or Unreachable where nobody answers."""
        given = {name: str(value) for name, value in query.items() if value is not None}
        url = f"{self.address}{path}" + (f"?{urllib.parse.urlencode(given)}" if given else "")
        plain = isinstance(body, bytes)
        sent = {"Content-Type": "application/octet-stream" if plain else "application/json", **headers}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        data = body if body is None or plain else json.dumps(body).encode()
        request = urllib.request.Request(url, data, sent, method=method)  # noqa: S310, its scheme was looked at
        try:
            with urllib.request.urlopen(request, timeout=self.seconds) as answer:  # noqa: S310
                return answer.read(LARGEST_ANSWER), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                raise ConsoleRefused(error.code, _object(error.read(LARGEST_ANSWER))) from None
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the console at {self.address} does not answer ({type(error).__name__})") from None


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def quoted(part: str) -> str:
    """Write a value as a part of a path."""
    return urllib.parse.quote(part, safe="")
