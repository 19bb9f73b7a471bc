"""The checks themselves: what is wrong on purpose is found, and only that."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bot.ledger import LEDGER, book_fill
from bot.record import new_records
from services.simulated_bybit.server import Faults
from services.trials.agreement import compare, differences_of_money
from tests.chaos.test_elsewhere import SYMBOL, with_position
from tests.runtime.house import config, exchange_for


def test_what_is_lost_doubled_or_different_is_found_and_only_that(dsn, name):
    async def play(bot, exchange, house):
        booked, loops = await bot.store.fills(), bot.runtime.loops

        def found(told):
            one = compare(exchange, told, loops)
            return one.doubled, one.lost, one.differences

        assert found(booked) == ([], [], [])
        last, first = booked[-1], booked[0]
        assert found(booked[:-1])[:2] == ([], [f"execution {last.id} is not booked"])
        assert found([*booked, replace(first, id="x", lots=0)]) == ([], ["execution x never happened"], [])
        twice = found([*booked, last])
        assert twice[:2] == ([f"execution {last.id}"], [])
        assert "lots at the exchange" in twice[2][0], "the position differs too"
        other = found([replace(first, price=first.price + 1), *booked[1:]])
        assert other == ([], [], [f"execution {first.id} is booked with other numbers"])

        ledger = loops[SYMBOL].core.machine.pairs[0].ledger
        ledger.cash -= 1.0
        (said,) = found(booked)[2]
        assert "paid and received at the exchange" in said
        ledger.cash += 1.0

        stop = next(each for each in exchange.live(SYMBOL) if each.stop_type)
        exchange.trading_stop(SYMBOL, stop.price + stop.side, None)
        (said,) = found(booked)[2]
        assert "the position's stop is at" in said
        exchange.trading_stop(SYMBOL, stop.price - stop.side, None)

        order = next(each for each in exchange.live(SYMBOL) if each.client_order_id)
        exchange.cancel(SYMBOL, order.id, "")
        (said,) = found(booked)[2]
        assert f"other orders rest than are desired: {order.client_order_id}" in said

        exchange.known["again"] = order
        assert found(booked)[0] == [f"order {order.client_order_id}"]

    asyncio.run(with_position(dsn, name, play, minutes=0))


def ledger_of(*fills):
    """A ledger that took these fills, (side, price, lots, fee), in this order."""
    ledger = new_records(LEDGER, 1)[0]
    for side, price, lots, fee in fills:
        book_fill(ledger, side, price, lots, 1.0, fee)
    return ledger


def test_money_is_compared_whatever_the_order_in_which_fills_were_heard():
    """While a position stands, what counts as earned depends on that order; what was paid never does."""
    bought, added, sold = (1, 100.0, 10, 0.1), (1, 110.0, 10, 0.1), (-1, 120.0, 10, 0.1)
    one, other = ledger_of(bought, added, sold), ledger_of(bought, sold, added)
    assert one.realised != other.realised
    assert differences_of_money("X", one, other) == []
    assert differences_of_money("X", one, ledger_of(bought, added, (-1, 120.0, 10, 0.2)))
    flat = ledger_of(bought, sold)
    assert differences_of_money("X", flat, ledger_of(bought, sold)) == []
    wrong = ledger_of(bought, sold)
    wrong.realised += 1.0
    (said,) = differences_of_money("X", flat, wrong)
    assert "earned at the exchange" in said


def test_a_watch_sees_a_position_without_a_stop_and_for_how_many_minutes_and_who_was_there(watches):
    exchange = exchange_for(config())
    watch = watches[-1]
    watch.bot = "dead"
    exchange.trade_by_hand(SYMBOL, 1, 5)
    for _ in range(3):
        while exchange.step():
            pass
    assert [(one.symbol, one.held, one.protected, one.bot) for one in watch.bare_minutes] == [
        (SYMBOL, 5, 0, "dead")
    ] * 3
    assert watch.longest()[1] == 3
    assert watch.minutes == {"dead": 3}
    exchange.trading_stop(SYMBOL, round(exchange.books[SYMBOL].here * 0.9), None)
    exchange.audit.look()
    count = len(watch.bare_moments)
    while exchange.step():
        pass
    assert len(watch.bare_moments) == count
    watch.bare_moments.clear()


def test_a_watch_weighs_entries_when_they_are_taken_and_not_what_the_price_makes_of_them(watches):
    exchange = exchange_for(config())
    watch, book = watches[-1], exchange.books[SYMBOL]
    price, lots = round(book.here) - 500, 50
    options = {"client_order_id": "a", "reduce_only": False, "post_only": True, "stop": price - 500}
    exchange.create(SYMBOL, 1, 0, price, lots, **options)
    exchange.audit.look()
    value = price * lots * float(book.pair.instrument.tick_value)
    assert watch.peak == pytest.approx(value / exchange.equity)
    before = watch.peak
    exchange.cancel(SYMBOL, "", "a")
    exchange.audit.look()
    assert watch.peak == before


def test_faults_that_strike_are_counted_by_name():
    faults = Faults(error=1.0, malformed=1.0)
    assert faults.strikes("error")
    assert not faults.strikes("late")
    assert faults.garbage("order/create")
    assert faults.struck == {"error": 1, "malformed": 1}
