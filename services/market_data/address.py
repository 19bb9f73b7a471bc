"""Where the collector of a data directory answers, for whoever asks it: a file that is there as long as it runs."""

from __future__ import annotations

import json
from pathlib import Path


def address_file(data_dir: Path) -> Path:
    """Where the address is."""
    return data_dir / "collector.json"


def collector_address(data_dir: Path) -> str | None:
    """Address of the collector of a data directory; None where none runs."""
    try:
        return str(json.loads(address_file(data_dir).read_text(encoding="utf-8"))["address"])
    except (FileNotFoundError, ValueError, KeyError):
        return None
