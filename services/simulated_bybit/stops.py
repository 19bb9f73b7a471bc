"""The position's own stop and target: one of each, rows of the book that follow the position's size and leave with it.

Bybit calls this tpslMode Full. Beside them may stand partial stops (tpslMode Partial), each of a size of its own. The
rows change in the same step as the fill that changed the position, so nobody ever sees a position without the stop that
its order brought. docs/bybit.md names the source of each rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.order import OrderKind, Side
from services.simulated_bybit.checks import BybitRefusal, refuse_stop, refuse_target
from services.simulated_bybit.records import (
    CANCELLED,
    NEW,
    PARTIAL_STOP,
    STOP_LOSS,
    TAKE_PROFIT,
    UNTRIGGERED,
    VenueOrder,
    order_id,
)

if TYPE_CHECKING:
    from services.simulated_bybit.roles import SymbolBook

MOST_PARTIAL = 20  # stops of a part of the position
# The target rests where its trigger would fill.
OWN_KIND = {STOP_LOSS: OrderKind.STOP, TAKE_PROFIT: OrderKind.LIMIT, PARTIAL_STOP: OrderKind.STOP}


def row(book: SymbolBook, stop_type: str) -> VenueOrder | None:
    """The position's stop or target, if it has one."""
    return next((one for one in book.live if one.stop_type == stop_type), None)


def price(book: SymbolBook, stop_type: str) -> int:
    """Where it is, ticks; 0 for none."""
    one = row(book, stop_type)
    return one.price if one is not None else 0


def request(book: SymbolBook, wanted: dict[str, int | None], ts: int) -> list[VenueOrder]:
    """Answer position/trading-stop: prices (ticks) by kind of row, 0 to take away, None to leave; the changed rows.

    Nothing changes if any of it is refused.
    """
    if book.position == 0:
        raise BybitRefusal(10001, "can not set tp/sl/ts for zero position")
    side = Side.BUY if book.position > 0 else Side.SELL
    fresh = {name: ticks for name, ticks in wanted.items() if ticks is not None and ticks != price(book, name)}
    if not fresh:
        raise BybitRefusal(34040, "not modified")
    for name, ticks in fresh.items():
        if ticks:
            (refuse_stop if name == STOP_LOSS else refuse_target)(book, side, ticks, book.here)
    changed = []
    for name, ticks in fresh.items():
        changed.append(put(book, name, ticks, ts) if ticks else take(book, name, "CancelByUser", ts))
    return [one for one in changed if one is not None]


def add_partial(book: SymbolBook, ticks: int, lots: int, ts: int) -> VenueOrder:
    """Answer position/trading-stop in mode Partial: another stop, of so many lots; it keeps its size."""
    if book.position == 0:
        raise BybitRefusal(10001, "can not set tp/sl/ts for zero position")
    if sum(one.stop_type == PARTIAL_STOP for one in book.live) >= MOST_PARTIAL:
        raise BybitRefusal(110061, "The number of partial TP/SL orders exceeds the limit")
    refuse_partial(book, ticks, lots)
    return _made(book, PARTIAL_STOP, ticks, lots, ts)


def move_partial(book: SymbolBook, one: VenueOrder, ticks: int, lots: int, ts: int) -> None:
    """Answer order/amend of a partial stop."""
    refuse_partial(book, ticks, lots)
    book.moved(one, ticks, lots, ts)


def refuse_partial(book: SymbolBook, ticks: int, lots: int) -> None:
    """Refuse a partial stop on the wrong side of the price, or larger than one market order."""
    refuse_stop(book, Side.BUY if book.position > 0 else Side.SELL, ticks, book.here)
    if not 0 < lots <= book.pair.instrument.max_market_lots:
        raise BybitRefusal(10001, "The number of contracts exceeds maximum limit allowed: too large")


def is_whole(book: SymbolBook, order: VenueOrder) -> bool:
    """Whether an order is a row of the position that closes all of it."""
    return order.stop_type == TAKE_PROFIT or (order.stop_type == STOP_LOSS and book.unverified.large_stop_fires_whole)


def _size(book: SymbolBook, stop_type: str) -> int:
    """Lots of a row that follows the position."""
    held = abs(book.position)
    if stop_type == STOP_LOSS and not book.unverified.large_stop_fires_whole:
        return min(held, int(book.pair.instrument.max_market_lots))
    return held


def put(book: SymbolBook, stop_type: str, ticks: int, ts: int, parent: str | None = None) -> VenueOrder:
    """Make the position's stop or target, or move it; `parent` is the order that brings it, None for a request."""
    one = row(book, stop_type)
    if one is None:
        one = _made(book, stop_type, ticks, _size(book, stop_type), ts)
    else:
        book.moved(one, ticks, one.lots, ts)
    one.parent = one.parent if parent is None else parent
    return one


def _made(book: SymbolBook, stop_type: str, ticks: int, lots: int, ts: int) -> VenueOrder:
    """Make a row of the position."""
    kind = OWN_KIND[stop_type]
    one = VenueOrder(
        *(order_id(next(book.numbers)), "", book.instrument.symbol),
        side=Side.SELL if book.position > 0 else Side.BUY,
        kind=kind,
        price=ticks,
        lots=lots,
        reduce_only=True,
        post_only=False,
        created=ts,
        updated=ts,
        status=UNTRIGGERED if kind == OrderKind.STOP else NEW,
        stop_type=stop_type,
        created_by=f"CreateBy{stop_type}",
    )
    book.add(one)
    return one


def take(book: SymbolBook, stop_type: str, cancel_type: str, ts: int) -> VenueOrder | None:
    """Take the position's stop or target away."""
    one = row(book, stop_type)
    if one is not None:
        _end(book, one, cancel_type, ts)
    return one


def _end(book: SymbolBook, one: VenueOrder, cancel_type: str, ts: int) -> None:
    one.updated = ts
    book.remove(one, CANCELLED, cancel_type=cancel_type)


def follow(book: SymbolBook, before: int, order: VenueOrder | None, ts: int) -> list[VenueOrder]:
    """Bring the rows into line with a fill of `order` (None: no order) that found `before` lots; those that changed."""
    held, turned = book.position, before * book.position < 0
    changed: dict[str, VenueOrder] = {}
    if held == 0 or turned:
        for gone in [each for each in book.live if each.stop_type]:
            if gone.stop_type != PARTIAL_STOP or book.unverified.partial_stops_leave:
                _end(book, gone, "CancelByTpSlTsClear", ts)
                changed[gone.id] = gone
    if held == 0:
        return list(changed.values())
    adds = turned or abs(held) > abs(before)
    if order is not None and adds:
        one = _brought(book, order, turned=turned, ts=ts)
        if one is not None:
            changed[one.id] = one
    if order is not None and _rest_of_stop(order) and book.unverified.rest_rearms:
        again = put(book, STOP_LOSS, order.price, ts, order.parent)
        changed[again.id] = again
    for one in [each for each in book.live if each.stop_type in (STOP_LOSS, TAKE_PROFIT)]:
        size = _size(book, one.stop_type)
        if one.lots - one.filled != size:
            book.moved(one, one.price, one.filled + size, ts)
            changed[one.id] = one
    return list(changed.values())


def _brought(book: SymbolBook, order: VenueOrder, *, turned: bool, ts: int) -> VenueOrder | None:
    """What an order that adds to the position does to its stop: the order that fills last has the say."""
    rules = book.unverified
    if not order.stop:
        clears = not turned and not rules.plain_fill_keeps_stop
        return take(book, STOP_LOSS, "CancelByTpSlTsClear", ts) if clears else None
    if turned and not rules.turning_stops_hold:
        return None
    if order.side * (book.here - order.stop) <= 0 and not rules.gapped_stop_fires:
        return None
    return put(book, STOP_LOSS, order.stop, ts, order.client_order_id)


def _rest_of_stop(order: VenueOrder) -> bool:
    return order.stop_type == STOP_LOSS and order.status == CANCELLED
