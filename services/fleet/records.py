"""What is kept of each bot of a fleet: its config, whether it is to run, and how it stands. A file each.

The wanted state is written before anything is done about it: a supervisor that is killed in between goes on from there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from bot.errors import Misconfigured, cut
from bot.times import MINUTE, SECOND
from coordinator.run_state import RunState
from services.whole_file import write_private

FIRST_PAUSE, LONGEST_PAUSE = SECOND, 5 * MINUTE  # ms from a failure to the next start; it doubles
MOST_FAILURES = 12  # one after the other, some 20 minutes, after which nobody starts the bot again by itself
STEADY = 10 * MINUTE  # ms that a bot runs, after which former failures do not count


class WantedState(StrEnum):
    """What a bot is to do."""

    RUNNING = "running"
    STOPPED = "stopped"


@dataclass(frozen=True)
class FleetBot:
    """A bot of the fleet; moments are ms."""

    name: str
    config: str  # path of its file
    environment: str
    wanted: WantedState = WantedState.STOPPED
    again: bool = False  # it is stopped to be started anew
    state: RunState = RunState.STOPPED
    since: int = 0  # of the state
    process: int | None = None
    failures: int = 0  # one after the other
    next_start: int | None = None  # after a failure
    reason: str = ""  # why it has ended, or does not start

    def failed(self, reason: str, now: int) -> FleetBot:
        """Return it after a failure: to be started again after a pause that grows, unless there were too many."""
        failures = self.failures + 1
        pause = min(FIRST_PAUSE << (failures - 1), LONGEST_PAUSE)
        return replace(
            self.at(RunState.FAILED, now), failures=failures, reason=reason,
            next_start=None if failures >= MOST_FAILURES else now + pause,
        )  # fmt: skip

    def refused(self, reason: str, now: int) -> FleetBot:
        """Return it after what no second try can mend."""
        return replace(self.at(RunState.FAILED, now), reason=reason, next_start=None)

    def stopped(self, reason: str, now: int) -> FleetBot:
        """Return it after its orderly end."""
        ended = replace(self.at(RunState.STOPPED, now), wanted=WantedState.STOPPED, reason=reason)
        return replace(ended, failures=0, next_start=None)

    def at(self, state: RunState, now: int) -> FleetBot:
        """Return it in a state, with a new moment where that is another one."""
        return self if state is self.state else replace(self, state=state, since=now)

    def is_due(self, now: int) -> bool:
        """Whether it does not run and is to be started now."""
        if self.wanted is WantedState.STOPPED:
            return False
        if self.state is RunState.FAILED:
            return self.next_start is not None and now >= self.next_start
        return True


class FleetRecords:
    """The records of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "fleet"

    def read(self) -> dict[str, FleetBot]:
        """Read every record, by name; raises Misconfigured for one that is damaged."""
        return {path.stem: self._read(path) for path in sorted(self.folder.glob("*.json"))}

    def _read(self, path: Path) -> FleetBot:
        try:
            return _record(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            raise Misconfigured(
                f"{cut(str(path))} is damaged; remove the file and add the bot again with `traderagent fleet add`."
            ) from None

    def made_folder(self) -> Path:
        """Return the folder, for this user alone; it is made where there is none."""
        self.folder.mkdir(0o700, parents=True, exist_ok=True)
        return self.folder

    def write(self, one: FleetBot) -> None:
        """Keep a record."""
        self.made_folder()
        write_private(self.folder / f"{one.name}.json", json.dumps(asdict(one)))

    def remove(self, name: str) -> None:
        """Forget a bot, with what it printed and a config that was written for it here."""
        for ending in (".json", ".lock", ".out", ".yaml"):
            (self.folder / f"{name}{ending}").unlink(missing_ok=True)

    def lock(self, name: str) -> Path:
        """Where the process of a bot holds a lock as long as it lives."""
        return self.folder / f"{name}.lock"

    def out(self, name: str) -> Path:
        """Where a bot prints what it says since its last start."""
        return self.folder / f"{name}.out"

    def config(self, name: str) -> Path:
        """Where the config lies that was written for a bot here."""
        return self.folder / f"{name}.yaml"


def _record(values: dict[str, Any]) -> FleetBot:
    states = {"wanted": WantedState(values["wanted"]), "state": RunState(values["state"])}
    return FleetBot(**{**values, **states})
