"""`traderagent collect`: keep closed minutes of many symbols of Binance and Bybit, for every bot of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.command_line.interrupt import run_loop


def collect(
    config: Annotated[Path, typer.Argument(help="YAML file: which symbols of which markets, and where to keep them")],
) -> None:
    """Collect market data until Ctrl-C.

    Minutes come by stream, and what is missing is asked for. One collector at a time writes a data directory. No key is
    needed.
    """
    from services.app.collector import run_collector

    run_loop(run_collector(config))
