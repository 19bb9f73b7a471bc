"""What the watchdog is told: which bots, how patient it is, and whom it calls. Addresses of webhooks are secrets."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from bot.errors import Misconfigured, cut
from bot.validation import validated
from services.watchdog.conditions import WatchLimits
from services.webhooks import checked_address

LIMITS = WatchLimits()  # of the table of conditions


class WebhookKind(StrEnum):
    """How a webhook is spoken to."""

    JSON = "json"
    DISCORD = "discord"
    SLACK = "slack"
    NTFY = "ntfy"


KINDS = {
    "discord.com": WebhookKind.DISCORD,
    "discordapp.com": WebhookKind.DISCORD,
    "hooks.slack.com": WebhookKind.SLACK,
    "ntfy.sh": WebhookKind.NTFY,
}


class Webhook(BaseModel):
    """Where a notice is posted; `secret` signs those of kind json."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: SecretStr
    kind: WebhookKind | None = Field(None, description="json, discord, slack or ntfy; by the address without one")
    secret: SecretStr = SecretStr("")

    _checked = field_validator("url")(checked_address)

    def host(self) -> str:
        """Name it without its secrets."""
        return urlsplit(self.url.get_secret_value()).hostname or ""

    def spoken(self) -> WebhookKind:
        """How it is spoken to."""
        return self.kind or KINDS.get(self.host(), WebhookKind.JSON)


class Ping(BaseModel):
    """An address that is asked for while all is well: whoever owns it calls when that ends."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: SecretStr
    seconds: float = Field(60.0, ge=1, le=86_400)

    _checked = field_validator("url")(checked_address)


class ProbedService(StrEnum):
    """What a probe may ask."""

    CONSOLE = "console"
    WORKER = "worker"
    COLLECTOR = "collector"


class ServiceProbe(BaseModel):
    """A service that is asked by its address: whether it answers, and what its metrics say where it has some."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: ProbedService
    url: str = Field(description="such as http://127.0.0.1:8800/metrics")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        checked_address(SecretStr(value), "a probe")
        return value

    @property
    def name(self) -> str:
        """The service, and where it is."""
        return f"{self.service.value} {urlsplit(self.url).netloc.rpartition('@')[2]}"


class WatchdogSettings(BaseModel):
    """The file of the watchdog."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    bots: tuple[Annotated[str, Field(pattern="^[a-z0-9]{1,8}$")], ...] = Field(
        (), description="names; none: every bot that runs in the data directory"
    )
    silent_seconds: float = Field(LIMITS.silent, ge=1, le=86_400, description="that a bot may not answer")
    reconcile_seconds: float = Field(
        LIMITS.unreconciled, ge=10, le=86_400, description="that a pair may not be compared"
    )
    fills_seconds: float = Field(LIMITS.fills_unknown, ge=1, le=86_400, description="that positions may differ")
    equity_seconds: float = Field(LIMITS.equity_off, ge=1, le=86_400, description="that equity may be off")
    equity_off_pct: float = Field(LIMITS.equity_off_pct, gt=0, le=1000, description="how far equity may be off")
    held_off_seconds: float = Field(LIMITS.held_off, ge=0, le=86_400, description="that a pair may open nothing")
    repeat_minutes: float = Field(60.0, ge=1, le=10_080, description="until what still holds is said again")
    user: str = Field("owner", pattern="^[a-z0-9_-]{1,32}$", description="whose watching key of `traderagent keys`")
    telegram: bool = Field(True, description="tell the users of `traderagent telegram`, where it is set up")
    webhooks: tuple[Webhook, ...] = ()
    ping: Ping | None = None
    probes: tuple[ServiceProbe, ...] = Field((), description="services that are asked whether they answer")

    def limits(self) -> WatchLimits:
        """Return what is too long and too far."""
        times = {"silent": self.silent_seconds, "unreconciled": self.reconcile_seconds, "blind": self.equity_seconds}
        return WatchLimits(
            **times,
            fills_unknown=self.fills_seconds,
            equity_off=self.equity_seconds,
            held_off=self.held_off_seconds,
            equity_off_pct=self.equity_off_pct,
            repeat=60.0 * self.repeat_minutes,
        )

    def secrets(self) -> list[str]:
        """List what no log may show."""
        found = [one.url for one in self.webhooks] + [one.secret for one in self.webhooks]
        found += [] if self.ping is None else [self.ping.url]
        return [one.get_secret_value() for one in found if one.get_secret_value()]


def watchdog_settings(values: dict[str, Any], path: Path | None = None) -> WatchdogSettings:
    """Read them; raises Misconfigured, also where others may read a file with addresses that are secrets."""
    settings: WatchdogSettings = validated(WatchdogSettings, values, "")
    if path is not None and settings.secrets() and os.name != "nt":
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise Misconfigured(
                f"{cut(str(path))} holds addresses of webhooks and may be read by others (mode {mode:o}); "
                "`chmod 600` it."
            )
    return settings
