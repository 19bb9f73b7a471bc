"""The library of presets: whole configs that say in comments where they come from and until when they stand.

Those of the program lie in `configs/presets`, a user's own in the data directory under `presets`; an own one takes the
place of the program's of the same name, which is never written to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from bot.errors import Misconfigured, cut, suggestion
from bot.sources import ROOT
from coordinator.config_file import config_values

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = ROOT / "configs" / "presets"
EXPIRES = re.compile(r"\bExpires (\d{4}-\d{2}-\d{2})\b")
EXPIRED = re.compile(r"^# Expired (\d{4}-\d{2}-\d{2})\b", re.MULTILINE)
VALIDATION = re.compile(r"\bValidation: (pass|fail|review_required) on (\d{4}-\d{2}-\d{2})\b")
TRIALS = re.compile(r"\b(?:best of (\d[\d,]*) variants|Trials: (\d[\d,]*))")


@dataclass(frozen=True)
class StoredPreset:
    """A preset as it lies in a file."""

    name: str
    path: Path
    own: bool  # the user's, not the program's
    text: str
    values: dict[str, Any]  # of its config; empty where it cannot be read
    fault: str = ""  # why it cannot be read

    @property
    def comments(self) -> list[str]:
        """The lines of comment that it begins with."""
        lines = []
        for line in self.text.splitlines():
            if not line.startswith("#"):
                break
            lines.append(line.lstrip("#").strip())
        return lines

    @property
    def origin(self) -> str:
        """Where it comes from: its first sentence that is no mark."""
        told = (line for line in self.comments if line and not line.startswith("Expired "))
        return next(told, "does not say where it comes from")

    @property
    def trials(self) -> int | None:
        """How many trials it was the best of; None where it does not say."""
        found = TRIALS.search(" ".join(self.comments))
        return None if found is None else int((found[1] or found[2]).replace(",", ""))

    @property
    def validation(self) -> str | None:
        """How its run was judged and when; None where it does not say."""
        found = VALIDATION.search(" ".join(self.comments))
        return None if found is None else f"{found[1]} on {found[2]}"

    @property
    def expires(self) -> date | None:
        """The day until which it stands; None where it does not say."""
        return _day(EXPIRES.search(" ".join(self.comments)))

    @property
    def marked(self) -> date | None:
        """The day on which it was marked as expired."""
        return _day(EXPIRED.search(self.text))

    def state(self, today: date) -> str:
        """Whether it may be used, in a few words."""
        if self.fault:
            return f"cannot be read: {self.fault}"
        if self.marked is not None:
            return f"expired: marked on {self.marked}"
        if self.expires is None:
            return "does not say until when it stands"
        return f"expired on {self.expires}" if self.expires < today else f"stands until {self.expires}"

    def expired(self, today: date) -> bool:
        """Whether its day is over, or it was marked."""
        return self.marked is not None or (self.expires is not None and self.expires < today)


def _day(found: re.Match[str] | None) -> date | None:
    try:
        return None if found is None else date.fromisoformat(found[1])
    except ValueError:  # a day that no calendar has
        return None


def today() -> date:
    """The day, UTC."""
    return datetime.now(UTC).date()


def own_folder(data_dir: Path) -> Path:
    """Where a user's presets lie."""
    return data_dir / "presets"


def presets_of(data_dir: Path, programs: Path = PROGRAMS) -> list[StoredPreset]:
    """List every preset by name."""
    found: dict[str, StoredPreset] = {}
    for folder, own in ((programs, False), (own_folder(data_dir), True)):
        for path in sorted(folder.glob("*.yaml")):
            found[path.stem] = _read(path, own=own)
    return [found[name] for name in sorted(found)]


def _read(path: Path, *, own: bool) -> StoredPreset:
    try:
        text = path.read_text(encoding="utf-8")
        return StoredPreset(path.stem, path, own, text, config_values(path))
    except (Misconfigured, OSError, ValueError) as error:
        return StoredPreset(path.stem, path, own, "", {}, cut(str(error)))


def preset_named(data_dir: Path, name: str, programs: Path = PROGRAMS) -> StoredPreset:
    """Find a preset that can be read; raises Misconfigured."""
    known = {one.name: one for one in presets_of(data_dir, programs)}
    if name not in known:
        remedy = suggestion(name, known) if known else f"put one into {cut(str(own_folder(data_dir)))}"
        raise Misconfigured(f"preset {cut(name)} is unknown; {remedy}.")
    if known[name].fault:
        raise Misconfigured(f"preset {cut(name)} cannot be read: {known[name].fault}")
    return known[name]


def marked_text(preset: StoredPreset, day: date) -> str:
    """Its text with a mark that it expired on a day, as the first line."""
    return f"# Expired {day}: marked by hand.\n{preset.text}"
