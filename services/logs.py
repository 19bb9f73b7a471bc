"""How the program logs: for people on a terminal, as JSON lines elsewhere, and never a secret.

What libraries log, what Python warns of and what nobody caught goes the same way, so that whoever collects the lines
can read every one of them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import structlog

from bot import kernel_cache

REPEATED_SECONDS = 60.0
LEVELS = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO)
CONCEALED = "***"
LARGEST_LOG = 20 << 20  # bytes

log = structlog.get_logger()


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
    """Replaces secrets wherever they stand in an event, and makes plain data of it, so that nothing is added later."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: one secret may be a part of another.
        self.secrets = sorted({one for one in secrets if one}, key=len, reverse=True)

    def add(self, secrets: Iterable[str]) -> None:
        """Replace these too."""
        self.secrets = sorted({*self.secrets, *(one for one in secrets if one)}, key=len, reverse=True)

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Go through the event's keys and values, however deep."""
        plain = {self._text(str(key)): self._plain(value) for key, value in event.items()}
        event.clear()
        event.update(plain)
        return event

    def _text(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, CONCEALED)
        return text

    def _plain(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._text(str(key)): self._plain(one) for key, one in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._plain(one) for one in value]
        text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
        number = value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value))
        return value if number and self._text(text) == text else self._text(text)


class Kept:
    """Appends events to a file as JSON lines, and begins it anew when it is large; the one before stays beside it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Append the event."""
        self.append(json.dumps(event))
        return event

    def append(self, line: str) -> None:
        """Append a line; a disk that does not take it costs the line, not the bot."""
        with suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as out:
                out.write(line + "\n")
                size = out.tell()
            if size > LARGEST_LOG:
                self.file.replace(self.file.with_name(self.file.name + ".1"))


_kept: list[Kept] = []  # at most one: what actors print goes there too


def passwords(*addresses: str | None) -> list[str]:
    """Passwords that these addresses of databases hold, as they are written there and as they are meant."""
    found: list[str] = []
    for address in addresses:
        if address is None or "://" not in address:
            continue
        at = urlsplit(address)
        asked = [value for name, value in parse_qsl(at.query) if name == "password"]
        found += [one for given in (at.password, *asked) if given for one in (given, unquote(given))]
    return found


def configure(
    secrets: list[str],
    *,
    stream: Any = None,
    rarely: bool = True,
    level: int = logging.INFO,
    libraries: bool = True,
    keep: Path | None = None,
) -> None:
    """Set logging up: the program's, and that of `libraries` too; `keep` names a file that has every line as well."""
    out = stream or sys.stderr
    _kept[:] = [] if keep is None else [Kept(keep)]
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
            *_kept,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    if libraries:
        root = logging.getLogger()
        root.handlers = [one for one in root.handlers if not isinstance(one, Libraries)] + [Libraries()]
        warnings.showwarning = _warned
        # A command that shows in its own way what happens shows this too.
        kernel_cache.tell = _compiling if level <= logging.INFO else kernel_cache.on_stderr


def quieten(level: int = logging.ERROR, secrets: Iterable[str] = ()) -> None:
    """Let only errors through: the command shows what happens in its own way."""
    configure(list(secrets), rarely=False, level=level)


def conceal(secrets: Iterable[str]) -> None:
    """Let no log show these from now on."""
    for one in structlog.get_config()["processors"]:
        if isinstance(one, Concealed):
            one.add(secrets)


class Libraries(logging.Handler):
    """Hands what libraries log to the program's own log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it again, named by its text."""
        try:
            said = record.getMessage()
        except (TypeError, ValueError):  # a library's mistake in its own message
            said = str(record.msg)
        level = next((one for one in LEVELS if record.levelno >= one), logging.DEBUG)
        log.log(level, said, library=record.name, **({"exc_info": record.exc_info} if record.exc_info else {}))


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,  # noqa: ARG001, as the two others: Python's signature
    line: str | None = None,  # noqa: ARG001
) -> None:
    log.warning(str(message), category=category.__name__, place=f"{filename}:{lineno}")


def _compiling(code: str, seconds: float | None) -> None:
    if seconds is None:
        log.info("compiling", code=code)
    else:
        log.info("compiled", code=code, seconds=round(seconds, 1))


def catch_the_rest(loop: asyncio.AbstractEventLoop) -> None:
    """Log what nobody caught as one line with its trace: in the program, its threads and the tasks of `loop`."""
    sys.excepthook = _uncaught
    sys.unraisablehook = lambda one: log.error("exception_unraisable", exc_info=one.exc_value, where=str(one.object))
    threading.excepthook = lambda one: log.error(
        "thread_died", thread=one.thread.name if one.thread else None, exc_info=one.exc_value
    )
    loop.set_exception_handler(_task_failed)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("died", exc_info=(kind, error, trace), remedy="report this line; what rests at the venue stays there")


def _task_failed(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    fields = {key: str(value) for key, value in context.items() if key in ("future", "task", "handle", "transport")}
    log.error("task_failed", said=context.get("message"), exc_info=context.get("exception"), **fields)


def relay(said: dict[str, Any]) -> None:
    """Pass on what another process of the bot has printed: its own log lines as they are, other text in one of ours."""
    if said.get("pid") == "autoscaler":  # Ray's own, a page of figures every few seconds
        return
    for line in said["lines"]:
        if _is_event(line):
            structlog.PrintLogger(sys.stderr).msg(line)  # its secrets are concealed already
            for one in _kept:
                one.append(line)
        elif line.strip():
            log.warning(line, actor=said.get("actor_name"), process=said.get("pid"))


def _is_event(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
