"""Asks an exchange what no page of its documentation says of stops, with the smallest orders on a demo account.

Four market orders on a flat pair, each watched in the position; at the end the pair is flat again. It is refused on a
live account, and on a pair that holds anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.order import WHOLE_POSITION, OrderKind, Side, Signal
from bot.ports import NotPermitted, Order, Position, Refused, Unreachable, client_order_id_of

if TYPE_CHECKING:
    from bot.instrument import Instrument
    from bot.ports import Gateway

NAME = "probe"
SECONDS, PAUSE = 20.0, 0.2  # that an order may take to fill, and between two looks
FAR, NEAR = 0.90, 0.93  # stops, as shares of the price


@dataclass(frozen=True)
class Observation:
    """What the exchange does; `rule` is the switch of the simulated exchange that it answers, if there is one."""

    question: str
    holds: bool
    rule: str = ""


class Probe:
    """One pair's questions."""

    def __init__(
        self, gateway: Gateway, instrument: Instrument, price: float, asleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self.gateway, self.instrument, self.asleep = gateway, instrument, asleep
        self.symbol = instrument.symbol
        least = max(float(instrument.min_notional) * 1.1 / price, float(instrument.min_quantity))
        self.lots = max(-int(-least // float(instrument.lot_size)), 1)
        self.ticks = price / float(instrument.tick_size)
        self._orders = 0

    async def ask(self) -> list[Observation]:
        """Ask everything, and leave the pair flat whatever happens."""
        try:
            return await self._questions()
        finally:
            await self._flatten()

    async def _questions(self) -> list[Observation]:
        far, near, above = (round(self.ticks * share) for share in (FAR, NEAR, 2.0 - FAR))
        first = await self._trade(Side.BUY, self.lots, far, self.lots)
        second = await self._trade(Side.BUY, self.lots, near, 2 * self.lots)
        third = await self._trade(Side.BUY, self.lots, 0, 3 * self.lots)
        beside = await self._partial_stop_beside(third, near)
        turned = await self._trade(Side.SELL, 4 * self.lots, above, -self.lots)
        return [
            Observation("an entry's stop is the position's with its fill", first.stop == far),
            Observation("the entry that fills last sets the position's stop", second.stop == near),
            Observation("an entry without a stop leaves the position's", third.stop == near, "plain_fill_keeps_stop"),
            Observation("an entry that turns the position brings its stop", turned.stop == above, "turning_stops_hold"),
            Observation("a partial stop stands beside the position's", beside),
            Observation(
                "partial stops leave with the position", not await self._partial_stops(), "partial_stops_leave"
            ),
        ]

    async def _partial_stop_beside(self, held: Position, price: int) -> bool:
        """Whether a stop of a part can be added, and leaves the one that the position has."""
        try:
            await self.gateway.set_partial_stops(self.symbol, price, (self.lots,))
        except Refused:
            return False
        return (await self.gateway.position(self.symbol)).stop == held.stop and await self._partial_stops() == 1

    async def _partial_stops(self) -> int:
        return len(await self.gateway.partial_stops(self.symbol))

    async def _trade(self, side: Side, lots: int, stop: int, held: int) -> Position:
        """Trade at the market and wait until the position is `held` lots; returns it."""
        await self.gateway.place(self.symbol, self._order(side, lots, stop, Signal.ENTRY))
        return await self._until(held)

    def _order(self, side: Side, lots: int, stop: int, signal: Signal) -> Order:
        self._orders += 1
        client_order_id = client_order_id_of(NAME, self.symbol, self._orders, int(self.ticks) % 10_000_000)
        exits = signal is not Signal.ENTRY
        return Order(
            *(
                client_order_id,
                self._orders,
                1,
                side,
                OrderKind.MARKET,
                0,
                lots,
                exits,
                False,
                signal,
                WHOLE_POSITION,
                0,
                stop,
            )
        )

    async def _until(self, held: int) -> Position:
        for _ in range(int(SECONDS / PAUSE)):
            found = await self.gateway.position(self.symbol)
            if found.lots == held:
                return found
            await self.asleep(PAUSE)
        raise Unreachable(
            f"{self.symbol}: an order of the probe was not filled within {SECONDS:.0f} s; look at the pair."
        )

    async def _flatten(self) -> None:
        found = await self.gateway.position(self.symbol)
        if found.lots:
            side = Side.SELL if found.lots > 0 else Side.BUY
            await self.gateway.place(self.symbol, self._order(side, abs(found.lots), 0, Signal.EXIT_EMERGENCY))
            await self._until(0)
        await self.gateway.set_partial_stops(self.symbol, 0, ())


async def probe(
    gateway: Gateway, symbol: str, *, live: bool, asleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> list[Observation]:
    """Ask on a flat pair of a demo account; raises NotPermitted elsewhere, Unreachable when an order does not fill."""
    if live:
        raise NotPermitted("the probe trades: it is for a demo or test account, never for a live one.")
    instrument = (await gateway.instruments([symbol]))[symbol]
    if (await gateway.position(symbol)).lots or await gateway.open_orders(symbol):
        raise NotPermitted(f"{symbol} is not flat or has orders; the probe needs a pair that nobody trades.")
    return await Probe(gateway, instrument, await gateway.price(symbol), asleep).ask()
