"""Settings that a machine has rather than a run: from environment variables TRADERAGENT_*, secrets also from files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from bot.errors import Misconfigured, cut

DATABASE, REDIS, CANDLES = "TRADERAGENT_DATABASE", "TRADERAGENT_REDIS", "TRADERAGENT_CANDLES"
# Each may stand in a file that a variable of this name and _FILE names, as containers are given secrets.
IN_FILES = ("TRADERAGENT_KEY", "TRADERAGENT_SECRET", "TRADERAGENT_MASTER_KEY", DATABASE, REDIS, CANDLES)
LONGEST_SECRET = 4096  # characters


def _data_dir() -> Path:
    """What TRADERAGENT_DATA_DIR says, or the platform's folder for a user's data."""
    if named := os.environ.get("TRADERAGENT_DATA_DIR"):
        return Path(named)
    import platformdirs  # noqa: PLC0415, slow to load and seldom asked

    return platformdirs.user_data_path("traderagent")


@dataclass(frozen=True)
class Settings:
    """Where things lie on this machine; `data_dir` is the folder of candles, instruments and runs.

    `database` and `redis` are what bots, console, workers and Telegram lean on unless they are told otherwise.
    """

    data_dir: Path = field(default_factory=_data_dir)
    database: str = field(default_factory=lambda: os.environ.get(DATABASE) or "embedded")
    redis: str = field(default_factory=lambda: os.environ.get(REDIS) or "embedded")


def read_secret_files() -> None:
    """Put into the environment what stands in files; raises Misconfigured for a file that cannot be read."""
    for name in IN_FILES:
        file = os.environ.pop(f"{name}_FILE", "")
        if not file:
            continue
        if os.environ.get(name):
            raise Misconfigured(f"{name} and {name}_FILE are both set; give one of them.")
        try:
            value = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise Misconfigured(
                f"{name}_FILE names {cut(file)}, which cannot be read ({type(error).__name__}); "
                "check the path, and that the user who runs this may read it."
            ) from None
        if not value or len(value) > LONGEST_SECRET:
            raise Misconfigured(f"{name}_FILE names {cut(file)}, which is empty or too long; write the secret into it.")
        os.environ[name] = value
