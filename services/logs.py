"""How the program logs: for people on a terminal, as JSON lines elsewhere, and never a secret."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import MutableMapping
from typing import Any

import structlog

REPEATED_SECONDS = 60.0


class Rarely:
    """Lets an event with the same name and pair through once a minute, with the number of those kept back."""

    def __init__(self) -> None:
        self.last: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Drop a repeated warning."""
        if method not in ("warning", "error"):
            return event
        key, now = (str(event.get("event")), str(event.get("pair", ""))), time.monotonic()
        seen, kept = self.last.get(key, (-REPEATED_SECONDS, 0))
        if now - seen < REPEATED_SECONDS:
            self.last[key] = (seen, kept + 1)
            raise structlog.DropEvent
        self.last[key] = (now, 0)
        if kept:
            event["repeated"] = kept
        return event


class Concealed:
    """Replaces secrets wherever they stand in an event."""

    def __init__(self, secrets: list[str]) -> None:
        self.secrets = [one for one in secrets if one]

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Go through the event's values."""
        for key, value in event.items():
            text = str(value)
            for secret in self.secrets:
                if secret in text:
                    text = text.replace(secret, "***")
                    event[key] = text
        return event


def configure(secrets: list[str], *, stream: Any = None, rarely: bool = True) -> None:
    """Set logging up for a running bot."""
    out = stream or sys.stderr
    people = out.isatty()
    last = structlog.dev.ConsoleRenderer() if people else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([Rarely()] if rarely else []),
            structlog.processors.format_exc_info,
            Concealed(secrets),
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


def quieten(level: int = logging.ERROR) -> None:
    """Let only errors through: the command shows what happens in its own way."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
