"""What changes the account at Bybit: orders, the position's stop, leverage.

An answer only says that a request was accepted. One whose outcome is unknown is looked up (an order by its client order
id, a stop by the position) and never blindly sent again.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import structlog

from bot.ports import (
    Gone,
    NotPermitted,
    OpenOrder,
    Order,
    OrderState,
    PartialStop,
    Position,
    Refusal,
    Refused,
    Unanswered,
    Unreachable,
)
from services.exchanges.bybit import codec, errors
from services.exchanges.bybit.asking import Asking
from services.exchanges.bybit.connection import Taken
from services.exchanges.bybit.errors import RefusedByCode
from services.exchanges.bybit.limiter import Priority
from services.exchanges.bybit.partial_stops import partial_changes

log = structlog.get_logger()

LOOKUPS = 4
STOP_ATTEMPTS = 6  # 1.6 s in all where the venue answers at once: the loop closes a position after two without a stop
ROUNDED = 1e-3  # share of the price by which a venue may round a stop
PAUSE = 0.05  # seconds, doubled each time


class Changing(Asking):
    """Changes."""

    async def prepare(self, symbol: str, leverage: float) -> bool:
        """See that the account trades this symbol in one-way mode and with this leverage; NotPermitted if it cannot.

        True when the leverage was another.
        """
        if self.category != "linear":
            return False

        def read(answer: dict[str, Any]) -> tuple[bool, float]:
            rows = codec.rows(answer)
            is_hedge = any(codec.is_hedge(row) for row in rows)
            return is_hedge, codec.number(rows[0].get("leverage") or 0) if rows else leverage

        is_hedge, found = await self.ask("privateGetV5PositionList", {"category": "linear", "symbol": symbol}, read)
        if is_hedge:
            raise NotPermitted(codec.hedge_sentence(symbol))
        if found == leverage:
            return False
        level = format(Decimal(repr(leverage)).normalize(), "f")
        request = {"category": "linear", "symbol": symbol, "buyLeverage": level, "sellLeverage": level}
        try:
            await self._repeat("privatePostV5PositionSetLeverage", request, Priority.ASK)
        except Refused as refusal:
            raise NotPermitted(f"{symbol}: leverage {level} cannot be set; {refusal}") from None
        return True

    # Orders

    async def place(self, symbol: str, order: Order) -> None:
        """See that this order exists, its stop attached.

        Raises Refused; Gone with what the order of this name has become, when it lives no more; Unanswered when nothing
        helped.
        """
        request = codec.creation(self.category, order, self.known[symbol], self.listed.get(symbol))
        priority = Priority.PROTECT if order.reduce_only else Priority.ENTER
        sent = False
        for attempt in range(LOOKUPS):
            try:
                return await self.change("privatePostV5OrderCreate", request, priority)
            except Taken:
                found = await self._found_at_last(symbol, order.client_order_id)
                if found is None and sent:
                    break  # it is the one that was sent just now, and the lists do not show it yet
                return _living(found, order.client_order_id)
            except Unreachable:
                await _pause(attempt)
            except Unanswered:
                sent = True
                log.warning("order_unanswered", pair=symbol, order=order.client_order_id)
                found = await self.find(symbol, order.client_order_id)
                if found is not None:
                    return _living(found, order.client_order_id)
        raise Unanswered(f"{symbol}: order {order.client_order_id} could not be placed in {LOOKUPS} attempts")

    async def _found_at_last(self, symbol: str, client_order_id: str) -> OpenOrder | None:
        """Find an order that exists; the venue's lists may be later than its word."""
        for attempt in range(LOOKUPS):
            found = await self.find(symbol, client_order_id)
            if found is not None:
                return found
            await _pause(attempt)
        return None

    async def amend(self, symbol: str, order: Order) -> None:
        """Move a resting order and its stop; sent twice, it is harmless. Raises Gone, Refused or Unanswered."""
        request = codec.amendment(self.category, order, self.known[symbol], self.listed.get(symbol))
        priority = Priority.PROTECT if order.reduce_only else Priority.ENTER
        try:
            await self._amend(request, priority)
        except RefusedByCode as refusal:
            if errors.concerns_attached_stop(refusal.code, refusal.message):
                refusal.reason = Refusal.NOT_AMENDABLE
            raise

    async def _amend(self, request: dict[str, Any], priority: Priority) -> None:
        """Amend at once or, where the new price lies beyond the old stop, the stop first and then all of it."""
        try:
            return await self._repeat("privatePostV5OrderAmend", request, priority)
        except RefusedByCode as refusal:
            if "stopLoss" not in request or not errors.stands_beyond_its_stop(refusal.code, refusal.message):
                raise
        alone = {name: value for name, value in request.items() if name not in ("price", "qty", "triggerPrice")}
        await self._repeat("privatePostV5OrderAmend", alone, priority)
        return await self._repeat("privatePostV5OrderAmend", request, priority)

    async def cancel(self, symbol: str, client_order_id: str) -> None:
        """Cancel an order; one that is no longer there raises Gone."""
        request = {"category": self.category, "symbol": symbol, "orderLinkId": client_order_id}
        await self._repeat("privatePostV5OrderCancel", request, Priority.PROTECT)

    async def _repeat(self, method: str, request: dict[str, Any], priority: Priority) -> None:
        for attempt in range(LOOKUPS):
            try:
                return await self.change(method, request, priority)
            except (Unreachable, Unanswered):
                if attempt == LOOKUPS - 1:
                    raise
                await _pause(attempt)
        return None

    # The position's stop

    async def set_stop(self, symbol: str, price: int) -> int:
        """See that the whole position has its stop at this price (ticks); 0 takes it away.

        Returns the stop that the position shows: another one only where the venue has rounded it. Raises Refused
        (NOTHING_TO_REDUCE without a position, except where the stop is to go, TRIGGER_PASSED), or Unanswered when the
        position has not shown it within the attempts.
        """
        of = self.known[symbol]
        request = codec.position_stop(price, of, self.listed.get(symbol))
        wanted = codec.ticks(of, request["stopLoss"])  # the venue's steps may be coarser
        found: Position | None = None
        for attempt in range(STOP_ATTEMPTS):
            try:
                await self.change("privatePostV5PositionTradingStop", request, Priority.PROTECT)
            except (Unreachable, Unanswered) as error:
                log.warning("stop_unanswered", pair=symbol, reason=str(error))
            except Refused as refusal:
                if price == 0 and refusal.reason is Refusal.NOTHING_TO_REDUCE:
                    return 0
                raise
            before, found = found, await self._position_if_told(symbol)
            if found is not None and found.stop == wanted:
                return wanted
            if found is not None and found == before and 0 < abs(found.stop - wanted) <= ROUNDED * wanted:
                log.warning("stop_rounded", pair=symbol, asked=request["stopLoss"], shown=str(of.price(found.stop)))
                return found.stop
            if attempt < STOP_ATTEMPTS - 1:
                await _pause(attempt)
        raise Unanswered(f"{symbol}: the position has not shown its stop in {STOP_ATTEMPTS} attempts")

    async def set_partial_stops(self, symbol: str, price: int, sizes: tuple[int, ...]) -> None:
        """See that exactly these stops of a part of the position rest, by lots, all at this price (ticks).

        They have no client order id, so that a request that was sent is sent again only once the list of them has
        changed. Raises Refused, or Unanswered when the list has not shown them within the attempts.
        """
        answered: list[PartialStop] | None = None  # the list for which everything was sent
        for attempt in range(STOP_ATTEMPTS):
            try:
                found = await self.partial_stops(symbol)
                changes = partial_changes(found, price, sizes, self.known[symbol], self.listed.get(symbol))
                if not changes:
                    return
                if found != answered:
                    answered = found
                    for method, request in changes:
                        await self._change_partial_stop(method, request)
            except Unreachable as error:
                answered = None
                log.warning("partial_stops_wait", pair=symbol, reason=str(error))
            if attempt < STOP_ATTEMPTS - 1:
                await _pause(attempt)
        raise Unanswered(f"{symbol}: the partial stops are not as they should be after {STOP_ATTEMPTS} attempts")

    async def _change_partial_stop(self, method: str, request: dict[str, Any]) -> None:
        """Send one change; whether it was done is for the list to show."""
        try:
            await self.change(method, request, Priority.PROTECT)
        except (Unanswered, Gone) as error:
            log.warning("partial_stop_unanswered", pair=request["symbol"], reason=str(error))

    async def _position_if_told(self, symbol: str) -> Position | None:
        try:
            return await self.position(symbol)
        except Unreachable:
            return None


def _living(found: OpenOrder | None, client_order_id: str) -> None:
    """Return if the order lives; its name is used up otherwise."""
    if found is None:
        raise Gone(f"order {client_order_id} has ended so long ago that the venue has forgotten it")
    if found.state is OrderState.UNKNOWN:
        raise Unanswered(f"order {client_order_id} is in a state that nobody knows")
    if found.state is not OrderState.RESTING:
        raise Gone(f"order {client_order_id} has ended: {found.state.value}", found)


async def _pause(attempt: int) -> None:
    await asyncio.sleep(PAUSE * 2**attempt)
