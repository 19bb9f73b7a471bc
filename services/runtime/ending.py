"""How a bot leaves the venue: entries cancelled, or everything, verified there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from bot.errors import TradingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bot.ports import Gateway
    from services.runtime.protocol import Runtime

log = structlog.get_logger()

CANCEL_SECONDS = 20.0
CLOSE_SECONDS = 90.0
POLL_SECONDS = 0.5


class NotClosed(TradingError):
    """Something of the bot's is still at the venue."""


async def cancel_entries(runtime: Runtime) -> None:
    """Cancel what could increase exposure; where the venue does not answer in time, say so and go."""
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            await runtime.cancel_entries()
    except (TimeoutError, TradingError):
        log.error(  # noqa: TRY400, a time-out's trace says nothing
            "entries_not_cancelled", remedy="each carries its stop; cancel them at the venue, or start again"
        )


async def close_everything(runtime: Runtime, name: str, symbols: Iterable[str], seconds: float = CLOSE_SECONDS) -> str:
    """Cancel every order, close every position reduce-only, and verify both at the venue; returns what was done.

    Raises NotClosed with what is left after so many seconds; the bot goes on trying, and opens nothing more.
    """
    left = "no answer"
    try:
        async with asyncio.timeout(seconds):
            await runtime.cancel_entries(close=True)
            while left := await _left(runtime.gateway, name, symbols):  # noqa: ASYNC110, the venue is asked
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise NotClosed(
            f"after {seconds:.0f} s the venue still has {left}; nothing more is opened and exits are tried on. Look at "
            "the venue, or say shutdown again."
        ) from None
    return "shut down: 0 orders and 0 positions at the venue"


async def _left(gateway: Gateway, name: str, symbols: Iterable[str]) -> str:
    """Say which orders and positions are still there; empty when none are."""
    found = []
    for symbol in symbols:
        own = f"{name}-{symbol}-"
        try:
            orders = sum(one.client_order_id.startswith(own) for one in await gateway.open_orders(symbol))
            lots = (await gateway.position(symbol)).lots
        except TradingError as error:
            found.append(f"something unknown of {symbol} ({error})")
            continue
        if orders:
            found.append(f"{orders} orders on {symbol}")
        if lots:
            found.append(f"a position of {gateway.known[symbol].quantity_text(lots)} {symbol}")
    return ", ".join(found)
