"""Settings that a machine has rather than a run: from environment variables TRADERAGENT_*."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


def _data_dir() -> Path:
    """What TRADERAGENT_DATA_DIR says, or the platform's folder for a user's data."""
    if named := os.environ.get("TRADERAGENT_DATA_DIR"):
        return Path(named)
    import platformdirs  # noqa: PLC0415, slow to load and seldom asked

    return platformdirs.user_data_path("traderagent")


@dataclass(frozen=True)
class Settings:
    """Where things lie on this machine; `data_dir` is the folder of candles, instruments and runs."""

    data_dir: Path = field(default_factory=_data_dir)
