"""What is wrong with an API key before money depends on it, and when it expires: for doctor and for a running bot."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bot.ports import NotPermitted
from bot.times import DAY
from services.alert_conditions import by_id
from services.runtime.config import BotSettings, Environment, KeyRisk

if TYPE_CHECKING:
    from bot.ports import KeyRights

WARNED_DAYS = 14
NEW_KEY = by_id("key_expiry").remedy
WORDS = {
    KeyRisk.WITHDRAW: ("may withdraw", "take the right Withdraw from it"),
    KeyRisk.TRANSFER: ("may transfer to other accounts", "take the rights to transfer from it"),
    KeyRisk.UNBOUND: ("is bound to no address, so it works from anywhere", "bind it to this machine's address"),
}


def risks(rights: KeyRights, settings: BotSettings) -> list[KeyRisk]:
    """Return why a live bot does not trade with this key, without what the config accepts."""
    if settings.environment is not Environment.LIVE:
        return []
    found = {KeyRisk.WITHDRAW: rights.withdraw, KeyRisk.TRANSFER: rights.transfer, KeyRisk.UNBOUND: not rights.bound}
    return [risk for risk, there in found.items() if there and risk not in settings.accept_key]


def remedy_of(found: list[KeyRisk]) -> str:
    """Say what to do about the risks of a key; empty where there are none."""
    if not found:
        return ""
    steps = " and ".join(WORDS[one][1] for one in found)
    return f"{steps} on the exchange's page, or say bot.accept_key: [{', '.join(found)}]"


def refuse_risks(rights: KeyRights | None, settings: BotSettings) -> None:
    """Raise NotPermitted for a live key that endangers more than the trade; None: the venue does not say."""
    found = [] if rights is None else risks(rights, settings)
    if found:
        what = ", ".join(WORDS[one][0] for one in found)
        raise NotPermitted(f"the API key {what}; {remedy_of(found)}.")


def expiry(rights: KeyRights, now: int) -> str:
    """Say until when a key works that expires within two weeks of `now` (ms); empty for another."""
    if rights.expires is None or rights.expires - now > WARNED_DAYS * DAY:
        return ""
    at = f"{datetime.fromtimestamp(rights.expires / 1000.0, UTC):%Y-%m-%d %H:%M} UTC"
    if rights.expires <= now:
        return f"the API key has expired at {at}"
    return f"the API key expires at {at}, in {(rights.expires - now) / DAY:.1f} days"
