"""Whom the journal tells, from `journal.yaml` in the data directory. Addresses and tokens are secrets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from bot.errors import Misconfigured, cut
from bot.validation import validated
from services.webhooks import checked_address

FILE = "journal.yaml"


class JournalWebhook(BaseModel):
    """Where each revision of a record is posted; `secret` signs it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field("webhook", pattern="^[a-z0-9_-]{1,40}$", description="by which the outbox knows it")
    url: SecretStr
    secret: SecretStr = SecretStr("")

    _checked = field_validator("url")(checked_address)


class NotionSettings(BaseModel):
    """A database of Notion that has a page for each record."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token: SecretStr = Field(min_length=1)
    database: str = Field(pattern="^[0-9a-fA-F-]{32,36}$", description="id of the database")
    address: SecretStr = Field(SecretStr("https://api.notion.com"), description="of the API")

    _checked = field_validator("address")(checked_address)


class JournalSettings(BaseModel):
    """The file of the journal."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    webhooks: tuple[JournalWebhook, ...] = ()
    notion: NotionSettings | None = None

    def targets(self) -> list[str]:
        """Names of those who are told."""
        return [*(one.name for one in self.webhooks), *([] if self.notion is None else ["notion"])]

    def secrets(self) -> list[str]:
        """List what no log may show."""
        found = [one.url for one in self.webhooks] + [one.secret for one in self.webhooks]
        found += [] if self.notion is None else [self.notion.token]
        return [one.get_secret_value() for one in found if one.get_secret_value()]


def journal_settings(values: dict[str, Any], path: Path | None = None) -> JournalSettings:
    """Read them; raises Misconfigured, also where others may read a file with secrets."""
    settings: JournalSettings = validated(JournalSettings, values, "")
    names = settings.targets()
    if len(set(names)) < len(names):
        raise Misconfigured(f"webhooks.name: {cut(', '.join(names))} are not all different; give each its own.")
    if path is not None and settings.secrets() and os.name != "nt" and path.stat().st_mode & 0o077:
        raise Misconfigured(f"{cut(str(path))} holds secrets and may be read by others; `chmod 600` it.")
    return settings


def host_of(address: SecretStr) -> str:
    """Name an address without its secrets."""
    return urlsplit(address.get_secret_value()).hostname or ""
