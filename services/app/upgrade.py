"""Brings an installation to this version: tries everything on a copy while bots trade, then stops them and migrates.

Nothing of the installation is changed before a backup is written, a copy of the database has this version's tables,
this version reads from it what every bot remembers, and decides what the bots' recorded sessions say.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from bot.errors import Misconfigured, cut
from coordinator.session import replay
from services.control.client import ask, control_file, fleet_file, process_of
from services.runtime.memories import empty_memories
from services.runtime.sessions import newest_session, read_session
from services.storage.installation import back_up_all, upgraded_copy
from services.storage.schema import bots_of, migrate, refuse_newer, running, version_of
from services.storage.store import PostgresStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from coordinator.config import PortfolioConfig
    from services.runtime.config import BotSettings

STOP_SECONDS = 120.0  # that a bot has to store everything and end
POLL_SECONDS = 0.2  # between two polls whether it has


@dataclass(frozen=True)
class UpgradedBot:
    """A bot of the installation, as this version reads its config."""

    path: Path
    settings: BotSettings
    config: PortfolioConfig

    @property
    def name(self) -> str:
        """Give its name."""
        return self.settings.name


@dataclass(frozen=True)
class BeforeUpgrade:
    """What a database holds before an upgrade."""

    version: str  # of its tables
    running: tuple[str, ...]  # bots that are to be stopped
    stored: tuple[str, ...]  # bots with rows that are among those to be upgraded
    others: tuple[str, ...]  # bots with rows that are not, and do not run


async def look(dsn: str, data_dir: Path, bots: list[UpgradedBot]) -> BeforeUpgrade:
    """Look at what is to be upgraded; raises Misconfigured where it cannot be, or not from here."""
    session = await asyncpg.connect(dsn)
    try:
        version, stored, busy = await version_of(session), await bots_of(session), await running(session)
    finally:
        await session.close()
    if version is None:
        raise Misconfigured(f"the database of {cut(str(data_dir))} is empty; start bots with this version.")
    refuse_newer(version)
    names = {one.name for one in bots}
    for name in busy:
        if name not in names:
            raise Misconfigured(f"bot {name!r} runs on this database too; give its config as well, or stop it.")
        if process_of(control_file(data_dir, name)) is None:
            raise Misconfigured(f"bot {name!r} runs on another machine, or not in this data directory; stop it there.")
    if process_of(fleet_file(data_dir)) is not None:
        raise Misconfigured(
            "a fleet supervises this data directory; end its `traderagent fleet run` without stopping "
            "the bots, which trade on, and do this again."
        )
    return BeforeUpgrade(
        version,
        tuple(busy),
        tuple(one for one in stored if one in names),
        tuple(one for one in stored if one not in names),
    )


async def try_on_copy(dsn: str, data_dir: Path, bots: list[UpgradedBot], file: Path) -> str:
    """Back everything up to `file`, and read on an upgraded copy what every bot remembers; says what was backed up.

    Raises Misconfigured for what this version cannot read.
    """
    contents = await back_up_all(dsn, data_dir, file)
    async with upgraded_copy(dsn, file) as copy:
        for one in bots:
            store = await PostgresStore.join(copy, one.name)
            try:
                for name, machine in empty_memories(one.config).items():
                    saved = await store.load(name)
                    if saved is not None:
                        machine.restore(saved)
            finally:
                await store.close()
    return contents.told()


def play_sessions(one: UpgradedBot, progress: Callable[[float], None]) -> tuple[int, list[str]]:
    """Play the newest session of each of a bot's pairs again.

    Returns how many lines were played, and in a sentence for each pair where this version does something else, or what
    cannot be played.
    """
    played, faults = 0, []
    pairs = one.config.pairs
    for number, pair in enumerate(pairs):
        told = partial(_told, progress, number, len(pairs))
        try:
            lines, fault = _play(newest_session(one.settings.data_dir, one.name, pair), told)
        except Misconfigured as error:
            faults.append(str(error))
            continue
        played += lines
        if fault:
            faults.append(f"bot {one.name!r} would decide otherwise on {pair}: {fault}")
    return played, faults


def _told(progress: Callable[[float], None], number: int, pairs: int, share: float) -> None:
    progress((number + share) / pairs)


def _play(session: Path, progress: Callable[[float], None]) -> tuple[int, str]:
    """Play a session as it is now: a bot that runs goes on writing it."""
    number = 0
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(shutil.copy(session, folder))
        for step, _ in replay(read_session(kept, progress)):
            number = step.number
            if step.expected:
                told = f"in line {number} of {session} it asks for {cut(step.said)}, where it was {cut(step.expected)}"
                return number, told
    return number, ""


async def switch(dsn: str, data_dir: Path, bots: list[UpgradedBot], stopping: tuple[str, ...], file: Path) -> None:
    """Stop bots, try once more with what they stored last, and bring the tables up to date; raises Misconfigured.

    Their entries, stops and targets rest at the exchange meanwhile.
    """
    try:
        for name in stopping:
            said = {"command": "stop-leave-entries", "source": "upgrade"}
            await asyncio.to_thread(ask, control_file(data_dir, name), "/command", said)
        await _wait_until_ended(dsn, stopping)
        if stopping:
            await try_on_copy(dsn, data_dir, bots, file)
        await migrate(dsn)
    except Misconfigured as error:
        if not stopping:
            raise
        sentence = str(error).rstrip(".")
        raise Misconfigured(
            f"{sentence}. The tables are as they were; start {', '.join(stopping)} again with the version before."
        ) from None


async def _wait_until_ended(dsn: str, names: tuple[str, ...]) -> None:
    session = await asyncpg.connect(dsn)
    try:
        deadline = time.monotonic() + STOP_SECONDS
        while left := set(names).intersection(await running(session)):
            if time.monotonic() > deadline:
                raise Misconfigured(
                    f"bot {min(left)!r} has not ended within {STOP_SECONDS:.0f} s, or something starts it again; stop "
                    "what supervises it, and do this again."
                )
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await session.close()
