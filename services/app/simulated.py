"""Builds a bot on the simulated exchange: for the demo, for parity, and to compare at the end of a chaos run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.exchanges.registry import BYBIT, factory_of
from services.runtime.config import MOST_ACTIONS, Foreign
from services.runtime.local import LocalRuntime

if TYPE_CHECKING:
    from bot.ports import Bus, Store
    from coordinator.config import PortfolioConfig
    from services.simulated_bybit.records import Key

UNLIMITED = 100_000.0  # requests a second


def build_simulated(
    name: str,
    config: PortfolioConfig,
    address: str,
    key: Key,
    store: Store,
    bus: Bus,
    *,
    foreign: Foreign = Foreign.REFUSE,
    most_actions: int = MOST_ACTIONS,
    large_positions: bool = False,
) -> LocalRuntime:
    """Build the loops of a bot whose market waits for it, at the exchange's `address`."""
    gateway = factory_of(BYBIT)(
        key=key.key,
        secret=key.secret,
        market=config.market,
        address=address,
        rate=UNLIMITED,
        large_positions=large_positions,
    )
    return LocalRuntime(name, config, gateway, store, bus, foreign=foreign, most_actions=most_actions, patience=None)
