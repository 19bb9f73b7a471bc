"""Speaking to a running bot over its control interface."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from bot.errors import Misconfigured

PATIENCE_SECONDS = 120.0  # a shutdown waits for positions to close


def control_file(data_dir: Path, bot: str) -> Path:
    """Where a running bot leaves its address and token."""
    return data_dir / "bots" / f"{bot}.json"


def ask(file: Path, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the bot something, or tell it; raises Misconfigured with its refusal, or when it does not run."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise Misconfigured(f"no bot runs here ({file} is missing); start it with `traderagent run`.") from None
    request = urllib.request.Request(  # noqa: S310, the address is our own file's
        known["address"] + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {known['token']}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        raise Misconfigured(str(json.load(error).get("error", error))) from None
    except OSError:
        raise Misconfigured(f"the bot of {file} does not answer; it may have been killed. Start it again.") from None
