"""Making the venue match, where the venue answers in ways that cost money: no order is doubled and no exit waits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.order import OrderKind, Side, Signal, set_order
from bot.ports import Execution, Gone, OpenOrder, OrderState, Refusal, Refused, Unanswered, Unreachable
from coordinator.breaker import Breaker
from coordinator.executor import Executor
from coordinator.reconcile import as_open_order
from tests.coordinator.test_books import books, sent
from tests.coordinator.world import World

__all__ = ["books"]  # a fixture


def hand(books):
    return World(), Executor(books, Breaker(60), lambda: 0.0, lambda _: None)


def entry(books, slot=0, lots=4):
    """An entry that is desired and has not been sent."""
    order = sent(books, slot, lots)
    books.open_orders.clear()
    return order


def filled(order, lots):
    return OpenOrder(order.client_order_id, order.side, order.kind, order.price, order.lots, lots, OrderState.FILLED)


def test_f_82_a_filled_order_whose_executions_are_late_is_not_bought_again(books):
    order = entry(books)
    venue, executor = hand(books)
    venue.refused["place", order.client_order_id] = Gone("filled", filled(order, 4))
    venue.held = 4  # the position shows it already
    with pytest.raises(Unanswered):
        venue.run(executor.carry_out([order]))
    assert [one for one in venue.asked if one[0] != "wait"] == [("place", order.client_order_id)]
    assert books.machine.desires(order), "its name is kept until its fill is told"


def test_row_8_a_name_that_was_used_long_ago_gives_way_to_the_next(books):
    order = entry(books)
    venue, executor = hand(books)
    venue.refused["place", order.client_order_id] = Gone("filled", filled(order, 4))
    outcome = venue.run(executor.carry_out([order]))
    assert outcome.renamed
    assert not books.machine.desires(order)


def test_a_fill_that_is_learnt_of_on_the_way_ends_the_round(books):
    """What was planned before it may be one order too many."""
    old = sent(books, 0, 4)
    other = replace(old, client_order_id="b-BTCUSDT-001-1", slot=1)
    venue, executor = hand(books)
    venue.refused["cancel", old.client_order_id] = Gone("it has ended")
    venue.executions[old.client_order_id] = [
        Execution("e1", "BTCUSDT", old.client_order_id, 1, old.price, 4, 0.0, maker=True, ts=1)
    ]
    outcome = venue.run(executor.carry_out([other]))
    assert outcome.booked
    assert venue.asked == [("cancel", old.client_order_id)]


@pytest.mark.parametrize("trouble", [Refused(Refusal.OTHER, "no"), Unanswered("no answer")])
def test_a_cancellation_that_fails_holds_up_what_opens_and_no_exit(books, trouble):
    left = sent(books, 0, 4)
    books.open_orders[left.client_order_id] = as_open_order(left)
    slots = books.machine.slots
    set_order(slots, 1, Side.SELL, OrderKind.MARKET, 0, 2, Signal.EXIT_SL, -1)
    leaving = replace(
        left, client_order_id="b-BTCUSDT-001-1", slot=1, side=-1, kind=OrderKind.MARKET, price=0, reduce_only=True
    )
    opening = replace(left, client_order_id="b-BTCUSDT-002-1", slot=2)
    venue, executor = hand(books)
    venue.refused["cancel", left.client_order_id] = trouble
    with pytest.raises((Unreachable, Unanswered)):
        venue.run(executor.carry_out([leaving, opening]))
    assert venue.asked == [("cancel", left.client_order_id), ("place", leaving.client_order_id)]


def test_f_73_only_words_that_say_so_mean_that_the_trigger_has_passed(books):
    """Any other refusal is tried again for two seconds of the clock, and then the position is to close."""
    venue, executor = hand(books)
    books.book(Execution("e1", "BTCUSDT", sent(books, 0, 4).client_order_id, 1, 500_000, 4, 0.0, maker=True, ts=1))
    books.stop, seconds = 0, iter(range(100))
    executor._clock = lambda: next(seconds) * 0.5
    venue.refused["set_stop", 480_000] = Refused(Refusal.OTHER, "never heard of it")
    assert venue.run(executor.protect(480_000, 4)) is False
    assert len(venue.asked) >= 2
    executor._clock = lambda: 0.0
    venue.refused.clear()
    assert venue.run(executor.protect(480_000, 4)) is True
    assert books.stop == 480_000
