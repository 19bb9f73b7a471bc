"""With which key a bot trades: that of the environment, else the one that the data directory's store has for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from bot.errors import Misconfigured
from services.keys.key_store import KeyName, KeyStore
from services.runtime.config import Secrets

if TYPE_CHECKING:
    from services.runtime.config import BotSettings


def secrets_of(settings: BotSettings) -> Secrets:
    """Return a bot's key; raises Misconfigured where there is none, or where it cannot be opened."""
    given = Secrets()
    if given.key.get_secret_value() or given.secret.get_secret_value():
        return given.present()
    name, store = KeyName(settings.user, settings.exchange, settings.environment.value), KeyStore(settings.data_dir)
    if not store.has(name):
        raise Misconfigured(
            f"TRADERAGENT_KEY is not set, and there is no {name.told()} in {settings.data_dir}; "
            f"`traderagent keys add --environment {settings.environment}` adds one, or export the venue's API key."
        )
    found = store.read(name)
    return Secrets(key=SecretStr(found.key), secret=SecretStr(found.secret))
