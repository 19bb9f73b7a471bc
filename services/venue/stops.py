"""The position's own stop and target: one of each, rows of the book that follow the position's size and leave with it.

Bybit calls this tpslMode Full. The rows change in the same step as the fill that changed the position, so nobody ever
sees a position without the stop that its order brought. docs/bybit.md names the source of each rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.order import OrderKind, Side
from services.venue.checks import Answer, refuse_stop, refuse_target
from services.venue.records import CANCELLED, STOP_LOSS, TAKE_PROFIT, UNTRIGGERED, VenueOrder, order_id

if TYPE_CHECKING:
    from services.venue.book import Book

OWN_KIND = {STOP_LOSS: OrderKind.STOP, TAKE_PROFIT: OrderKind.LIMIT}  # the target rests where its trigger would fill


def row(book: Book, stop_type: str) -> VenueOrder | None:
    """The position's stop or target, if it has one."""
    return next((one for one in book.live if one.stop_type == stop_type), None)


def price(book: Book, stop_type: str) -> int:
    """Where it is, ticks; 0 for none."""
    one = row(book, stop_type)
    return one.price if one is not None else 0


def request(book: Book, wanted: dict[str, int | None], ts: int) -> list[VenueOrder]:
    """Answer position/trading-stop: prices (ticks) by kind of row, 0 to take away, None to leave; the changed rows.

    Nothing changes if any of it is refused.
    """
    if book.position == 0:
        raise Answer(10001, "can not set tp/sl/ts for zero position")
    side = Side.BUY if book.position > 0 else Side.SELL
    fresh = {name: ticks for name, ticks in wanted.items() if ticks is not None and ticks != price(book, name)}
    if not fresh:
        raise Answer(34040, "not modified")
    for name, ticks in fresh.items():
        if ticks:
            (refuse_stop if name == STOP_LOSS else refuse_target)(book, side, ticks, book.here)
    changed = []
    for name, ticks in fresh.items():
        changed.append(put(book, name, ticks, ts) if ticks else take(book, name, "CancelByUser", ts))
    return [one for one in changed if one is not None]


def put(book: Book, stop_type: str, ticks: int, ts: int, parent: str | None = None) -> VenueOrder:
    """Make the position's stop or target, or move it; `parent` is the order that brings it, None for a request."""
    one = row(book, stop_type)
    if one is None:
        one = VenueOrder(
            id=order_id(next(book.numbers)),
            link="",
            symbol=book.instrument.symbol,
            side=Side.SELL if book.position > 0 else Side.BUY,
            kind=OWN_KIND[stop_type],
            price=ticks,
            lots=abs(book.position),
            reduce_only=True,
            post_only=False,
            created=ts,
            updated=ts,
            stop_type=stop_type,
            created_by=f"CreateBy{stop_type}",
        )
        if stop_type == STOP_LOSS:
            one.status = UNTRIGGERED
        book.add(one)
    else:
        book.moved(one, ticks, one.lots, ts)
    one.parent = one.parent if parent is None else parent
    return one


def take(book: Book, stop_type: str, cancel_type: str, ts: int) -> VenueOrder | None:
    """Take the position's stop or target away."""
    one = row(book, stop_type)
    if one is not None:
        one.updated = ts
        book.remove(one, CANCELLED, cancel_type=cancel_type)
    return one


def follow(book: Book, before: int, order: VenueOrder | None, ts: int) -> list[VenueOrder]:
    """Bring the rows into line with a fill of `order` (None: no order) that found `before` lots; those that changed."""
    held, turned = book.position, before * book.position < 0
    changed: dict[str, VenueOrder] = {}
    if held == 0 or turned:
        for name in OWN_KIND:
            gone = take(book, name, "CancelByTpSlTsClear", ts)
            if gone is not None:
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
    for one in [each for each in book.live if each.stop_type]:
        if one.lots - one.filled != abs(held):
            book.moved(one, one.price, one.filled + abs(held), ts)
            changed[one.id] = one
    return list(changed.values())


def _brought(book: Book, order: VenueOrder, *, turned: bool, ts: int) -> VenueOrder | None:
    """What an order that adds to the position does to its stop: the order that fills last has the say."""
    rules = book.unverified
    if not order.stop:
        clears = not turned and not rules.plain_fill_keeps_stop
        return take(book, STOP_LOSS, "CancelByTpSlTsClear", ts) if clears else None
    if turned and not rules.turning_stops_hold:
        return None
    if order.side * (book.here - order.stop) <= 0 and not rules.gapped_stop_fires:
        return None
    return put(book, STOP_LOSS, order.stop, ts, order.link)


def _rest_of_stop(order: VenueOrder) -> bool:
    return order.stop_type == STOP_LOSS and order.status == CANCELLED
