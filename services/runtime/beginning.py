"""What is looked at before a bot trades, and what of its config may change while it does: the same in any runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.errors import Misconfigured
from bot.ports import NotPermitted
from coordinator.machine import slots_of
from services.runtime.config import Foreign
from services.runtime.hosts import Beginning

if TYPE_CHECKING:
    from backtesting.config import PortfolioConfig
    from bot.ports import Account, Store
    from services.bybit.gateway import Bybit


async def look_around(name: str, config: PortfolioConfig, gateway: Bybit, store: Store, foreign: Foreign) -> Beginning:
    """Check clock, instruments and account. Raises Misconfigured or NotPermitted before anything is sent."""
    symbols = list(config.pairs)
    await gateway.measure_clock()
    instruments = await gateway.instruments(symbols)
    for symbol in symbols:
        await gateway.prepare(symbol, config.leverage)
    begun = await gateway.newest(symbols[0])
    account = await gateway.account()
    if foreign is not Foreign.IGNORE:
        await _refuse_foreign(name, symbols, gateway, store, account)
    return Beginning(begun, account.wallet, instruments)


async def _refuse_foreign(name: str, symbols: list[str], gateway: Bybit, store: Store, account: Account) -> None:
    """Refuse to start beside orders or positions that are not the bot's."""
    for symbol in symbols:
        own = f"{name}-{symbol}-"
        others = [one.link for one in await gateway.resting(symbol) if not one.link.startswith(own)]
        if others:
            raise NotPermitted(
                f"{symbol} has {len(others)} orders that are not this bot's; cancel them, or set bot.foreign: ignore."
            )
        if account.positions.get(symbol) and await store.load(symbol) is None:
            raise NotPermitted(
                f"{symbol} has a position that this bot did not open; close it, or set bot.foreign: ignore."
            )


def changes(old: PortfolioConfig, new: PortfolioConfig) -> list[str]:
    """List what another config of the same pairs changes; raises Misconfigured for what needs a restart."""
    more = slots_of(new.algorithm) > slots_of(old.algorithm)
    if more or new.algorithm.timeframes() != old.algorithm.timeframes():
        raise Misconfigured(
            "more levels and other timeframes need room that a running bot does not have; stop it and start it again."
        )
    return [
        f"{section}.{name}"
        for section, before in old.algorithm
        for name, value in getattr(new.algorithm, section)
        if getattr(before, name) != value
    ]
