"""What every download is asked: which pair, and from when to when."""

from __future__ import annotations

from typing import Annotated

import typer

from bot.errors import Misconfigured

Symbol = Annotated[str, typer.Option(help="such as BTCUSDT or BTC/USDT", metavar="PAIR")]
From = Annotated[str, typer.Option("--from", help="first day or minute, UTC", metavar="DATE")]
To = Annotated[str, typer.Option("--to", help="end, not included, UTC", metavar="DATE")]


def period(start: str, end: str) -> tuple[int, int]:
    """Read the first moment and the end, ms; raises Misconfigured for no times and for a period that holds nothing."""
    from bot.candles import parse_time

    first, last = parse_time(start), parse_time(end)
    if first >= last:
        raise Misconfigured(f"from ({start}) must lie before to ({end}); swap or widen them.")
    return first, last
