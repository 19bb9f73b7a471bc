"""What Bybit says of an API key, read once for the bot and for the watchdog. Loads nothing that trades.

https://bybit-exchange.github.io/docs/v5/user/apikey-info
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bot.ports import KeyRights

ANY_ADDRESS = "*"
NO_DATE = 2000  # a year before this stands for no date


def key_rights(answer: dict[str, Any], market: str) -> KeyRights:
    """Read the answer; `market` is Bybit's name of the right to trade the market."""
    writes = not int(answer.get("readOnly", 0))
    permissions = dict(answer["permissions"])
    wallet = [str(one) for one in permissions.get("Wallet") or []]
    addresses = [str(one) for one in answer.get("ips") or [] if one]
    return KeyRights(
        trade=writes and bool(permissions.get(market)),
        withdraw=writes and "Withdraw" in wallet,
        transfer=writes and any("Transfer" in one for one in wallet),
        bound=bool(addresses) and ANY_ADDRESS not in addresses,
        expires=_expiry(answer.get("expiredAt")),
        account=str(answer.get("userID") or ""),
    )


def _expiry(text: Any) -> int | None:
    """Read a date such as 2026-03-01T00:00:00Z, ms; None where there is none."""
    if not text:
        return None
    at = datetime.fromisoformat(str(text))
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return None if at.year < NO_DATE else int(at.timestamp() * 1000)
