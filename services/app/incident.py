"""Packs what is known of a bot's last hours into one archive, for whoever has to find out what happened; no secrets.

Log, decisions, orders, fills and commands, readable states, the memory as stored, sessions that `replay` plays again,
and what the exchange says where it is asked. Every text goes through one concealer. Each source ends at its own last
moment: a bot that died yesterday has its last hours packed too, and a market may have a clock of its own.
"""

from __future__ import annotations

import base64
import json
import os
import re
import zipfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from importlib import metadata
from typing import TYPE_CHECKING, Any

import asyncpg

from bot.errors import Misconfigured, TradingError, cut
from services.control.client import control_file, log_file
from services.keys.key_store import KeyStore
from services.logs import CONCEALED, passwords
from services.runtime.sessions import sessions_folder, sessions_of
from services.storage.store import AWAY
from services.telegram.users import read_settings, settings_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from bot.ports import Gateway

FORMAT = 1
LONG = timedelta(days=31)
SPAN = re.compile(r"(\d{1,5})([mhd])")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
SECRET_NAMES = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|DATABASE|REDIS")  # of our environment variables
SHORTEST = 6  # characters of a secret that is replaced wherever it stands
IN_ADDRESS = re.compile(r"(://[^/\s:@\"]*:)[^@/\s\"]+(@)")
BEARER = re.compile(r"(Bearer\s+)[\w.~+/=-]+")
TABLES = {
    "decisions": ("id", "SELECT pair, kind, fields, at FROM decisions"),
    "orders": ("at, client_order_id", "SELECT * FROM orders"),
    "fills": ("at, execution", "SELECT * FROM fills"),
    "commands": ("at, key", "SELECT * FROM commands"),
    "snapshots": ("id", "SELECT name, schema, state, at FROM snapshots"),
}


def span_of(text: str) -> timedelta:
    """Read a length of time such as 90m, 2h or 3d; raises Misconfigured."""
    found = SPAN.fullmatch(text)
    span = timedelta(**{UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not timedelta() < span <= LONG:
        raise Misconfigured(f"--since is {cut(text)!r}; give a length such as 90m, 2h or 3d, at most 31 days.")
    return span


@dataclass
class Concealer:
    """Takes secrets out of texts: those that are known, and whatever stands where secrets stand."""

    secrets: list[str]

    @classmethod
    def of(cls, data_dir: Path, bot: str, more: Iterable[str | None]) -> Concealer:
        """Know the secrets of a data directory, of the environment, and more."""
        found = {one for one in more if one}
        ours = {name: value for name, value in os.environ.items() if name.startswith("TRADERAGENT_")}
        for name, value in ours.items():
            if SECRET_NAMES.search(name):
                found |= {value, *passwords(value)} if "://" not in value else set(passwords(value))
        store = KeyStore(data_dir)
        for kept in store.names():
            with suppress(TradingError):  # of another master key: nobody here knows it either
                key = store.read(kept)
                found |= {key.key, key.secret}
        if settings_file(data_dir).exists():
            with suppress(TradingError):
                token = read_settings(data_dir).token
                found |= {token, token.partition(":")[2]}
        with suppress(OSError, ValueError, KeyError, TypeError):
            found.add(str(json.loads(control_file(data_dir, bot).read_text(encoding="utf-8"))["token"]))
        known = {one for one in found if len(one) >= SHORTEST}
        known |= {json.dumps(one)[1:-1] for one in known}  # as JSON has it
        return cls(sorted(known, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """Return the text without them."""
        for one in self.secrets:
            text = text.replace(one, CONCEALED)
        return BEARER.sub(rf"\1{CONCEALED}", IN_ADDRESS.sub(rf"\1{CONCEALED}\2", text))


@dataclass
class Incident:
    """What was packed, how many lines of each, and what was left out and why."""

    bot: str
    since: str
    format: int = FORMAT
    version: str = field(default_factory=lambda: metadata.version("traderagent"))
    packed: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


async def rows_of(dsn: str, bot: str, span: timedelta) -> dict[str, list[dict[str, Any]]]:
    """Read the rows of a bot's last hours, by its market's clock, and its memory as stored; raises Misconfigured."""
    found: dict[str, list[dict[str, Any]]] = {}
    try:
        connection = await asyncpg.connect(dsn)
    except AWAY as error:
        raise Misconfigured(f"the database does not answer ({type(error).__name__}); look whether it runs.") from None
    try:
        newest = await connection.fetchval("SELECT max(at) FROM memory WHERE bot = $1", bot)
        if newest is None:
            raise Misconfigured(f"bot {bot!r} has no rows in this database; give its config, or another name.")
        for name, (order, query) in TABLES.items():
            last = await connection.fetchval(f"SELECT max(at) FROM {name} WHERE bot = $1", bot)  # noqa: S608
            rows = []
            if last is not None:
                rows = await connection.fetch(f"{query} WHERE bot = $1 AND at >= $2 ORDER BY {order}", bot, last - span)
            found[name] = [_plain(row) for row in rows]
        memory = await connection.fetch("SELECT name, layout, data, at FROM memory WHERE bot = $1 ORDER BY name", bot)
        found["memory"] = [_plain(row) for row in memory]
    except asyncpg.UndefinedTableError:
        raise Misconfigured(f"this database has no tables of a bot; give the config of {bot!r}.") from None
    finally:
        await connection.close()
    return found


def _plain(row: Any) -> dict[str, Any]:
    """Lay a row out as JSON has it; a document that is kept as text is one again."""
    told = {name: _value(value) for name, value in dict(row).items() if name != "bot"}
    for name in ("fields", "state"):
        if isinstance(told.get(name), str):
            with suppress(ValueError):
                told[name] = json.loads(told[name])
    return told


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


async def history_of(gateway: Gateway, pairs: list[str], span: timedelta) -> list[dict[str, Any]]:
    """Ask the exchange for executions, open orders and positions of these pairs; what it refuses is a line too."""
    found: list[dict[str, Any]] = []
    try:
        await gateway.instruments(pairs)
        for pair in pairs:
            since = await gateway.newest(pair) - round(span.total_seconds() * 1000)  # by the market's own clock
            found += [{"what": "execution", **_fields(one)} for one in await gateway.executions(pair, since)]
            orders = await gateway.open_orders(pair)
            found += [{"what": "open_order", "symbol": pair, **_fields(one)} for one in orders]
            found.append({"what": "position", **_fields(await gateway.position(pair))})
    except TradingError as error:
        found.append({"what": "trouble", "sentence": str(error)})
    return found


def _fields(one: Any) -> dict[str, Any]:
    return {name: value.value if isinstance(value, Enum) else value for name, value in asdict(one).items()}


def pack(
    out: Path,
    data_dir: Path,
    bot: str,
    span: timedelta,
    rows: dict[str, list[dict[str, Any]]],
    history: list[dict[str, Any]] | None,
    conceal: Concealer,
    progress: Callable[[float, str], None] = lambda _share, _said: None,
) -> Incident:
    """Write the archive whole, or not at all, for its owner's eyes alone; raises Misconfigured where it cannot be."""
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    told = Incident(bot, str(span))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            members = list(_members(data_dir, bot, span, rows, history, told))
            for number, (name, lines) in enumerate(members):
                progress(number / len(members), name)
                told.packed[name] = _write(archive, name, lines, conceal)
            archive.writestr("incident.json", conceal(json.dumps(asdict(told), indent=1)))
        partial.replace(out)
    except OSError as error:
        raise Misconfigured(f"{out} cannot be written ({error.strerror}); give another place with --out.") from None
    finally:
        partial.unlink(missing_ok=True)
    progress(1.0, "")
    return told


def _members(
    data_dir: Path,
    bot: str,
    span: timedelta,
    rows: dict[str, list[dict[str, Any]]],
    history: list[dict[str, Any]] | None,
    told: Incident,
) -> Iterator[tuple[str, Iterable[str]]]:
    """List what goes in: a name and its lines."""
    for name, found in rows.items():
        yield f"{name}.jsonl", (json.dumps(one) for one in found)
    log = log_file(data_dir, bot)
    if log.exists():
        yield "log.jsonl", _last_of(log, span)
    else:
        told.left_out.append(f"log: {log.name} is not in this data directory")
    sessions = sessions_of(sessions_folder(data_dir, bot))
    for files in sessions.values():
        yield f"sessions/{files[-1].name}", _lines(files[-1])
    if not sessions:
        told.left_out.append("sessions: none are kept here (bot.sessions; with runtime: ray, on the nodes)")
    if history is None:
        told.left_out.append("exchange: it is asked where --config names the bot's file, whose key is used to read")
    else:
        yield "exchange.jsonl", (json.dumps(one) for one in history)


def _write(archive: zipfile.ZipFile, name: str, lines: Iterable[str], conceal: Concealer) -> int:
    count = 0
    with archive.open(name, "w", force_zip64=True) as member:
        for line in lines:
            member.write(conceal(line).encode() + b"\n")
            count += 1
    return count


def _lines(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            yield line.rstrip("\n")


def _last_of(log: Path, span: timedelta) -> Iterator[str]:
    """Lines of a log, and of the one before it, of the last hours before its last line; those without a time too."""
    files = [one for one in (log.with_name(f"{log.name}.1"), log) if one.exists()]
    times = [at for file in files for line in _lines(file) if (at := _time_of(line)) is not None]
    since = max(times) - span if times else None
    for file in files:
        for line in _lines(file):
            at = _time_of(line)
            if since is None or at is None or at >= since:
                yield line


def _time_of(line: str) -> datetime | None:
    try:
        return datetime.fromisoformat(json.loads(line)["timestamp"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
