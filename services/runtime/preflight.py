"""What is looked at before a bot trades, and what of its config may change while it does: the same in any runtime."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.errors import Misconfigured
from bot.ports import NotPermitted
from bot.times import DAY, WEEK
from coordinator.columns import inputs_by_variant
from coordinator.machine import NAME, remembered_money, slots_of, symbols_of
from services.runtime.config import Foreign

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.instrument import Instrument
    from bot.ports import Account, Gateway, Store
    from coordinator.config import PortfolioConfig

LISTEN_SECONDS = 10.0  # for a twin: another bot of this name that is alive
OUR_NAMES = re.compile(r"^([a-z0-9]{1,8})-([A-Z0-9]+)-\d{3,}-\d+$")


@dataclass(frozen=True)
class StartupSnapshot:
    """What a bot finds when it starts: the minute that forms (ms), the wallet (quote currency), the instruments."""

    at: int
    wallet: float
    instruments: dict[str, Instrument]
    transferred: int = 0  # ms: the last transfer that is in the wallet


async def preflight(
    name: str,
    config: PortfolioConfig,
    gateway: Gateway,
    store: Store,
    foreign: Foreign,
    *,
    adopt: bool = False,
    asleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> StartupSnapshot:
    """Check clock, instruments and account. Raises Misconfigured or NotPermitted before anything is sent.

    `adopt`: take over orders under this name that the store does not know, once no twin has moved them for ten seconds.
    """
    symbols = list(config.pairs)
    await gateway.measure_clock()
    instruments = await gateway.instruments(symbols)
    begun = await gateway.newest(symbols[0])
    account = await gateway.account()
    await _refuse_neighbours(name, symbols, gateway, foreign)
    await _refuse_left_pairs(name, symbols, gateway, store)
    unknown = await _unknown(name, symbols, gateway, store, begun - DAY)
    if unknown:
        await _refuse_unknown(name, symbols, gateway, unknown, adopt=adopt, asleep=asleep)
    if foreign is not Foreign.IGNORE and not adopt:
        await _refuse_foreign(name, symbols, gateway, store, account)
    for symbol in symbols:
        await gateway.prepare(symbol, config.leverage)
    transfers = await gateway.transfers(begun - WEEK) or []
    return StartupSnapshot(begun, account.wallet, instruments, max((one.ts for one in transfers), default=0))


async def _refuse_neighbours(name: str, symbols: list[str], gateway: Gateway, foreign: Foreign) -> None:
    """Refuse to trade beside another bot of ours on this account, except on other pairs with `foreign: ignore`."""
    for client_order_id in await gateway.open_names():
        found = OUR_NAMES.match(client_order_id)
        if found is None or found[1] == name:
            continue
        if foreign is not Foreign.IGNORE or found[2] in symbols:
            raise NotPermitted(
                f"a bot named {found[1]} has orders on {found[2]} in this account; two bots need pairs of their own "
                "and bot.foreign: ignore, or an account each."
            )


async def _refuse_left_pairs(name: str, symbols: list[str], gateway: Gateway, store: Store) -> None:
    """Refuse to leave alone what the bot holds on a pair that is not among its pairs any more.

    The exchange's present counts: what it closed meanwhile, as with a contract that it delists, holds nobody up.
    """
    saved = await store.load(NAME)
    left = sorted(set(symbols_of(saved)) - set(symbols)) if saved is not None else []
    if not left:
        return
    open_orders, open_ = await gateway.open_names(), await gateway.open_positions()
    for symbol in left:
        memory = await store.load(symbol)
        lots = 0 if memory is None else remembered_money(symbol, memory)[0]
        held = lots != 0 and (open_ is None or symbol in open_)
        if held or any(client_order_id.startswith(f"{name}-{symbol}-") for client_order_id in open_orders):
            raise Misconfigured(
                f"pairs lacks {symbol}, of which this bot holds {'a position' if held else 'orders'}; start with it "
                "among pairs, close it, and remove it then."
            )


async def _unknown(name: str, symbols: list[str], gateway: Gateway, store: Store, since: int) -> list[str]:
    """List orders under this bot's name that rest or were filled, and that its store knows nothing of."""
    found = []
    for symbol in symbols:
        known = await store.orders(symbol)
        own = f"{name}-{symbol}-"
        empty = await store.load(symbol) is None
        open_orders = [one for one in await gateway.open_orders(symbol) if one.client_order_id.startswith(own)]
        # Exits that were placed while the database was away are not known to it, and open nothing.
        open_ = [one.client_order_id for one in open_orders if empty or not one.reduce_only]
        open_ += [
            one.client_order_id
            for one in await gateway.executions(symbol, since)
            if one.client_order_id.startswith(own)
        ]
        found += [client_order_id for client_order_id in open_ if client_order_id not in known]
    return sorted(set(found))


async def _refuse_unknown(
    name: str,
    symbols: list[str],
    gateway: Gateway,
    unknown: list[str],
    *,
    adopt: bool,
    asleep: Callable[[float], Awaitable[None]],
) -> None:
    """Refuse orders of this name that another database knows; with `adopt` only where somebody still moves them."""
    shown = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
    if not adopt:
        raise NotPermitted(
            f"the account has orders named {name} that this database does not know ({shown}); a bot of this name runs "
            "elsewhere, or its database is another one: use that, choose another bot.name, or take them over with "
            "--adopt."
        )
    before = [await gateway.open_orders(symbol) for symbol in symbols]
    await asleep(LISTEN_SECONDS)
    if [await gateway.open_orders(symbol) for symbol in symbols] != before:
        raise NotPermitted(f"orders named {name} were moved in the last ten seconds: that bot is alive; stop it first.")


async def _refuse_foreign(name: str, symbols: list[str], gateway: Gateway, store: Store, account: Account) -> None:
    """Refuse to start beside orders or positions that are not the bot's."""
    for symbol in symbols:
        own = f"{name}-{symbol}-"
        others = [
            one.client_order_id for one in await gateway.open_orders(symbol) if not one.client_order_id.startswith(own)
        ]
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
    if new.algorithm.roster != old.algorithm.roster or new.strategy != old.strategy:
        raise Misconfigured("another strategy needs a restart; stop the bot and start it again.")
    if inputs_by_variant(old.algorithm.asked()) != inputs_by_variant(new.algorithm.asked()):
        raise Misconfigured("other inputs of a strategy need a restart; stop the bot and start it again.")
    before, after = old.document(), new.document()
    return [
        f"{section}.{name}"
        for section in {**before, **after}
        for name, known, value in _values(before.get(section), after.get(section))
        if section not in ("execution", "instruments") and known != value
    ]


def _values(before: Any, after: Any) -> list[tuple[str, Any, Any]]:
    """Every key of a section with its value before and after; a section that is not there has none."""
    old, new = (one if isinstance(one, dict) else {} for one in (before, after))
    return [(name, old.get(name), new.get(name)) for name in {**old, **new}]
