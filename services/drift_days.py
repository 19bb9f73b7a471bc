"""Comparisons of live and simulated fills, one document a UTC day, beside a bot's sessions.

Workers write them by night; the bot and the console read them. What cannot be read is as if it were not there.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.errors import Misconfigured, shown
from bot.times import DAY
from services.whole_file import write_whole

VERSION = 1  # of a document
KEPT_DAYS = 400
A_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
LARGEST = 64 << 20  # bytes
OLDEST, LOOKED_AT = 3 * DAY, 4  # of the newest day that is still spoken of


def bots_with_sessions(data_dir: Path) -> list[str]:
    """Names of the bots whose sessions are kept here."""
    return sorted(path.parent.name for path in (data_dir / "bots").glob("*/sessions"))


def times_of(day: str) -> tuple[int, int]:
    """Begin and end of a UTC day, ms; raises Misconfigured for what is no day."""
    try:
        if A_DAY.fullmatch(day):
            begin = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)
            return begin, begin + DAY
    except ValueError:
        pass
    raise Misconfigured(f"day is {shown(day)}; write it like 2024-03-05.")


def day_of(at: int) -> str:
    """UTC day of a moment, ms."""
    return datetime.fromtimestamp(at / 1000.0, UTC).date().isoformat()


def _folder(data_dir: Path, bot: str) -> Path:
    return data_dir / "bots" / bot / "drift"


def days(data_dir: Path, bot: str) -> list[str]:
    """Days of which there is a document, the newest first."""
    return sorted(
        (one.stem for one in _folder(data_dir, bot).glob("*.json") if A_DAY.fullmatch(one.stem)), reverse=True
    )


def read_day(data_dir: Path, bot: str, day: str) -> dict[str, Any] | None:
    """Read the document of a day; None where there is none, or one of another version, or half of one."""
    times_of(day)
    path = _folder(data_dir, bot) / f"{day}.json"
    try:
        if path.stat().st_size > LARGEST:
            return None
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) and said.get("version") == VERSION else None


def newest_day(data_dir: Path, bot: str, now: int) -> dict[str, Any] | None:
    """Read the document of the newest day on which something was traded; None where that is long ago. `now`: ms."""
    for day in days(data_dir, bot)[:LOOKED_AT]:
        if now - times_of(day)[1] > OLDEST:
            return None
        said = read_day(data_dir, bot, day)
        if said is not None and said["bps"] is not None:
            return said
    return None


def keep_day(data_dir: Path, bot: str, day: str, said: dict[str, Any]) -> None:
    """Write the document of a day; those of long ago go."""
    times_of(day)
    folder = _folder(data_dir, bot)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{day}.json", json.dumps(said))
    for old in days(data_dir, bot)[KEPT_DAYS:]:
        (folder / f"{old}.json").unlink(missing_ok=True)


def told(said: dict[str, Any]) -> str:
    """Say a document in one sentence."""
    if not any(said["minutes"].values()):
        why = next((one["why"] for one in said["uncompared"]), "no session is kept")
        return f"{said['bot']}: nothing could be compared: {why}"
    cost = "nothing was traded" if said["bps"] is None else f"{said['bps']:+.2f} bps of {said['volume']:,.0f} traded"
    alone = sum(row["kind"] in ("missed", "unexpected") for row in said["rows"])
    left = sum(one["fills"] for one in said["uncompared"])
    return f"{said['bot']}: {cost}, {alone} fills without a partner" + (f", {left} not compared" if left else "")
