"""What a bot has decided up to a moment, and what it held then, from its database; the bot may run meanwhile."""

from __future__ import annotations

from typing import Any

from bot.candles import iso
from bot.errors import Misconfigured
from bot.order import Side
from coordinator.decisions import as_row
from coordinator.machine import remembered_units
from services.storage.schema import migrate
from services.storage.store import PostgresStore


async def past_decisions(dsn: str, bot: str, pair: str, moment: int | None) -> tuple[int, str, list[dict[str, Any]]]:
    """Read the moment (ms; the last that was decided at, without one), what was held, and the decisions as rows.

    Raises Misconfigured for a pair that the bot has never traded.
    """
    await migrate(dsn)
    store = await PostgresStore.join(dsn, bot)
    try:
        saved = await store.load(pair)
        if saved is None:
            raise Misconfigured(f"bot {bot!r} has never traded pair {pair}; choose one of its own.")
        told = await store.decisions(0, moment)
        fills = [one for one in await store.fills() if one.symbol == pair and not one.funding]
    finally:
        await store.close()
    last = max((one.at for one in told), default=0) if moment is None else moment
    tick_size, lot_size = remembered_units(pair, saved)
    before = [one for one in fills if one.ts <= last]
    position = sum(one.side * one.lots for one in before) * lot_size
    done = ""
    if before:
        one = before[-1]
        done = f"{Side(one.side).name.lower()} of {one.lots * lot_size:g} at {one.price * tick_size:g} at {iso(one.ts)}"
    return last, held(position, done), [as_row(one) for one in told]


def held(position: float, done: str) -> str:
    """Say what was held (base currency, signed), and since which fill, in words; empty: there was none."""
    if not done:
        return "It held nothing and had not traded yet."
    if position == 0:
        return f"It held nothing since the {done}."
    return f"It was {'long' if position > 0 else 'short'} {abs(position):g} since the {done}."
