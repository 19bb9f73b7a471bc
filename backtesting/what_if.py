"""What a pair would do if its price went somewhere: a copy of its stored state, moved there by the same kernels.

The price goes there within one minute and in a straight line, on a market that fills whatever it passes. Signals of
longer bars, funding and what the portfolio decides next are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backtesting.twin import Twin
from bot.errors import Misconfigured
from bot.order import Liquidity, OrderKind, Side, Signal
from bot.record import new_records
from bot.rollup import BAR
from bot.times import MINUTE
from coordinator.reconcile import desired_orders, position_stop

if TYPE_CHECKING:
    from bot.instrument import Instrument
    from bot.ports import Saved
    from coordinator.config import PortfolioConfig

FARTHEST = 100.0  # times the present price


@dataclass(frozen=True)
class SupposedFill:
    """A fill on the way."""

    side: str
    price: float
    quantity: float
    fee: float
    maker: bool
    reason: str
    rested: bool  # it rests now; else the strategy set it in answer to another


@dataclass(frozen=True)
class SupposedOrder:
    """An order that the strategy would then want."""

    side: str
    kind: str
    price: float  # 0 at the market
    quantity: float
    reason: str
    new: bool  # it does not rest now as it would then


@dataclass(frozen=True)
class WhatIf:
    """How a pair would stand at a price; money is quote currency, quantities base currency, signed where held."""

    pair: str
    at: int  # ms: of the state that was copied
    price_now: float
    price: float
    position_now: float
    position: float
    average: float  # entry price of what is held then; 0 when flat
    profit: float  # from now to then: what is realised and unrealised, less fees
    fills: tuple[SupposedFill, ...]
    desired: tuple[SupposedOrder, ...]  # from the highest price to the lowest
    stop: float  # of what is held then; 0 where there is none
    stopped: bool  # the stop that rests now is met on the way
    loss_at_stop: float | None  # lost from there to the stop, with what fills on the way and fees; None without one


def what_if(
    config: PortfolioConfig,
    instrument: Instrument,
    saved: Saved,
    price: float,
    price_now: float | None = None,
    params: Any = None,
) -> WhatIf:
    """Move a copy of a pair's stored state to a price, from `price_now` or else from the price that is stored.

    `params`: the parameters that the pair was given since. Raises Misconfigured for a price that is none.
    """
    twin, now = copied(config, instrument, saved, price_now, params)
    if not now / FARTHEST <= price <= now * FARTHEST:
        raise Misconfigured(f"price is {price:g}, but {instrument.symbol} stands at {now:g}; give one near it.")
    return _moved(twin, price, now)


def copied(
    config: PortfolioConfig, instrument: Instrument, saved: Saved, price_now: float | None, params: Any
) -> tuple[Twin, float]:
    """Copy a pair's stored state, every order at rest, and move it to its present price, which is returned too."""
    twin = Twin(config, instrument, MINUTE)
    machine = twin.machine
    machine.restore(saved)
    tick, lot = machine.remembered_units()
    machine.instrument = instrument.model_copy(update={"tick_size": tick, "lot_size": lot})
    if params is not None:
        machine.params[...] = params
    now = price_now or float(machine.pairs[0].price)
    if not now > 0.0:
        raise Misconfigured(f"pair {instrument.symbol} has no price yet; ask when it has heard a candle.")
    twin.rest()
    machine.pairs[0].price = now
    twin.market = now / float(machine.instrument.tick_size)
    return twin, now


def _moved(twin: Twin, price: float, now: float) -> WhatIf:
    machine = twin.machine
    at, held_now = machine.time, machine.position
    before, rests = _worth(twin, now), {_named(one): (one.price, one.lots) for one in orders_of(twin)}
    stop_now = position_stop(machine.slots, held_now)
    fills = tuple(_fill(twin, one, rests) for one in twin.go(price).copy())
    bar = new_records(BAR, 1)
    bar[0] = (at, now, max(now, price), min(now, price), price, 1.0)
    machine.rollups[...] = 0  # no longer bar closes by this move
    machine.paid[0] = 1  # the strategy looks at the price, wherever it waits for one
    twin.take(bar)
    twin.arrive()
    desired = tuple(
        SupposedOrder(
            *(Side(one.side).name.lower(), OrderKind(one.kind).name.lower(), _price(twin, one.price)),
            *(_quantity(twin, one.lots), Signal(one.signal).name.lower()),
            new=rests.get(_named(one)) != (one.price, one.lots),
        )
        for one in sorted(orders_of(twin), key=lambda one: -one.price)
    )
    stop = position_stop(machine.slots, machine.position)
    stop_price = 0.0 if stop is None else _price(twin, stop.price)
    return WhatIf(
        *(machine.instrument.symbol, at, now, price, _quantity(twin, held_now), _quantity(twin, machine.position)),
        *(machine.average, _worth(twin, price) - before, fills, desired, stop_price),
        stopped=stop_now is not None and min(now, price) <= _price(twin, stop_now.price) <= max(now, price),
        loss_at_stop=None if stop is None else _loss_on_the_way(twin, price, stop_price),  # last: the copy moves on
    )


def orders_of(twin: Twin) -> list[Any]:
    """List what should rest of a twin, as at the exchange."""
    machine = twin.machine
    return desired_orders(
        *(machine.slots, machine.position), linear=bool(machine.pairs[0].instrument.linear), bot="",
        symbol=machine.instrument.symbol, filled={}, largest=int(machine.pairs[0].instrument.max_market_lots),
    )  # fmt: skip


def _named(order: Any) -> tuple[int, int]:
    return order.slot, order.generation


def _worth(twin: Twin, price: float) -> float:
    """What the pair has added to the account, at a price."""
    ledger, lot = twin.machine.pairs[0].ledger, float(twin.machine.instrument.lot_size)
    return float(ledger.cash + ledger.position * price * lot)


def loss_at(twin: Twin, price: float, stop: float) -> float:
    """What is lost from a price to the stop, with the fee of leaving there; negative: it is no loss."""
    held = _quantity(twin, twin.machine.position)
    return held * (price - stop) + abs(held) * stop * float(twin.machine.instrument.taker_fee)


def _loss_on_the_way(twin: Twin, price: float, stop: float) -> float:
    """What is lost while the price goes on to the stop: of what is held, and of entries that fill before it."""
    before = _worth(twin, price)
    twin.go(stop)
    return before - _worth(twin, stop) + loss_at(twin, stop, stop)


def _price(twin: Twin, ticks: int) -> float:
    return float(twin.machine.instrument.price(ticks))


def _quantity(twin: Twin, lots: int) -> float:
    return float(twin.machine.instrument.quantity(lots))


def _fill(twin: Twin, fill: Any, rests: dict[tuple[int, int], Any]) -> SupposedFill:
    number = int(twin.machine.slots[int(fill["slot"])]["number"])
    return SupposedFill(
        *(Side(int(fill["side"])).name.lower(), _price(twin, int(fill["price"]))),
        *(_quantity(twin, int(fill["quantity"])), float(fill["fee"])),
        maker=int(fill["liquidity"]) == Liquidity.MAKER,
        reason=Signal(int(fill["signal"])).name.lower(),
        rested=(number, int(fill["generation"])) in rests,
    )
