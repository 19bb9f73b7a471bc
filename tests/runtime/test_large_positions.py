"""Positions larger than one market order closes (`bot.large_positions`): several stops cover them at every step.

In most of these the exchange is the strict one: a position's own stop closes no more than one market order.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

import numpy as np
import pytest

from bot.order import OrderKind
from coordinator.protection import partial_sizes
from services.runtime.ending import close_everything
from services.simulated_bybit.exchange import Exchange, exchange_settings
from services.simulated_bybit.records import PARTIAL_STOP
from services.simulated_bybit.unverified import Unverified
from services.trials.agreement import compare
from services.trials.parity import parity, sensible_start
from tests.runtime.house import DAY, HISTORY, config, entries, market, with_bot
from tests.runtime.test_safety import assert_protected, heard
from tests.services.hooked import Hooked

ORDER = 100.0  # quote currency of the largest market order: about one cell of a grid
STRICT = Unverified(large_stop_fires_whole=False)
CHANGES = ("position/trading-stop", "order/amend", "order/cancel", "order/create")


def small_orders(instruments, candles, **fields):
    """These instruments, of which one market order trades little."""
    return {
        pair: one.model_copy(
            update={
                "max_market_quantity": one.quantity(
                    max(one.lots(Decimal(ORDER) / Decimal(float(candles[pair].open[-1]))), 1)
                ),
                **fields,
            }
        )
        for pair, one in instruments.items()
    }


def large_bot(dsn, name, play, *, large=True, rules=STRICT, minutes=0, **sections):
    def make(chosen):
        candles, instruments = market(chosen.pairs, 2, 7)
        settings = exchange_settings(chosen.execution)
        traded = small_orders(instruments, candles)
        exchange = Exchange(traded, candles, chosen.capital, settings, chosen.leverage, rules)
        exchange.begin(int(exchange.clock[0]) + HISTORY * DAY)
        return exchange

    account = {"large_positions": large}
    return with_bot(dsn, name, play, minutes, make=make, server=Hooked, account=account, **sections)


def largest(book):
    return int(book.pair.instrument.max_market_lots)


def partial_rows(exchange, symbol):
    return [one for one in exchange.live(symbol) if one.stop_type == PARTIAL_STOP]


async def one_large(bot, exchange, times=1):
    """Play on until a pair holds more than so many market orders; returns it."""
    while True:
        for symbol, book in exchange.books.items():
            if abs(book.position) > times * largest(book):
                return symbol
        assert await bot.steps.minute(), "the market has to be livelier for this test to mean anything"


def assert_never_bare(exchange):
    assert_protected(exchange)
    for symbol, spell in exchange.bare.items():
        assert (spell.longest_s, spell.since) == (0.0, None), f"{symbol} was bare for a moment"


def assert_covered(exchange, symbol):
    """Every held lot has a partial stop at the price of the position's own, none larger than one market order."""
    book = exchange.books[symbol]
    rows = partial_rows(exchange, symbol)
    (whole,) = (one for one in exchange.live(symbol) if one.stop_type == "StopLoss")
    assert sorted((one.lots for one in rows), reverse=True) == list(
        partial_sizes(abs(book.position), largest(book), largest(book))
    )
    assert {one.price for one in rows} == {whole.price}


def test_f_72_a_large_position_built_by_several_entries_is_covered_at_every_step(dsn, name):
    async def play(bot, exchange):
        symbol = await one_large(bot, exchange, times=2)
        assert_covered(exchange, symbol)
        for _ in range(120):
            await bot.steps.minute()
            assert_never_bare(exchange)
        for each, book in exchange.books.items():
            opening = sum(one.lots - one.filled for one in entries(bot, exchange) if one.symbol == each)
            assert opening <= largest(book)

    large_bot(dsn, name, play)


def test_f_83_what_fills_while_the_bot_is_dead_is_covered_too_and_a_restart_sends_no_stop_again(dsn, name):
    async def play(bot, exchange):
        symbol = await one_large(bot, exchange)
        rows = {one.id: (one.price, one.lots) for one in partial_rows(exchange, symbol)}
        assert rows
        await bot.crash()
        bot.server.asked.clear()
        await bot.start()
        await bot.runtime.poll()
        await bot.runtime.settled()
        assert {one.id: (one.price, one.lots) for one in partial_rows(exchange, symbol)} == rows
        assert [path for path, _ in bot.server.asked if path in CHANGES] == []
        await bot.crash()
        for _ in range(600):
            while exchange.step():
                assert_never_bare(exchange)
            exchange.events.clear()
        await bot.start()
        await bot.steps.minute()
        assert_never_bare(exchange)

    large_bot(dsn, name, play)


@pytest.mark.parametrize("leave", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_after_the_position_has_closed_no_partial_stop_is_left(dsn, name, leave):
    async def play(bot, exchange):
        symbol = await one_large(bot, exchange)
        assert partial_rows(exchange, symbol)
        exchange.close_by_hand(symbol)
        assert bool(partial_rows(exchange, symbol)) is not leave
        await heard(bot)
        assert exchange.books[symbol].position == 0
        assert partial_rows(exchange, symbol) == []

    large_bot(dsn, name, play, rules=Unverified(large_stop_fires_whole=False, partial_stops_leave=leave))


def test_shutdown_closes_a_large_position_in_several_orders(dsn, name):
    async def play(bot, exchange):
        symbol = await one_large(bot, exchange)
        before = len(exchange.trades)
        closing = asyncio.create_task(close_everything(bot.runtime, bot.name, bot.chosen.pairs))
        while not closing.done():
            if any(one.kind == OrderKind.MARKET for one in exchange.live(None)):
                exchange.step()
                await bot.server._flush()
            await asyncio.sleep(0)
        await bot.runtime.settled()
        assert "0 orders and 0 positions" in await closing
        assert exchange.live(None) == []
        left = [one for one in list(exchange.trades)[before:] if one.symbol == symbol]
        assert len(left) > 1
        assert max(one.lots for one in left) <= largest(exchange.books[symbol])
        assert_never_bare(exchange)

    large_bot(dsn, name, play)


def crash(exchange):
    """Let every price fall by a fifth within half an hour."""
    for book in exchange.books.values():
        tick = float(book.instrument.tick_size)
        names = ("open", "high", "low", "close")
        for name, ticks in zip(names, book.ticks, strict=True):
            left = ticks[exchange.at + 1 :]
            left[:] = np.rint(left * np.maximum(1.0 - np.arange(len(left)) / 150.0, 0.8))
            getattr(book.candles, name)[exchange.at + 1 :] = np.round(left * tick, 10)


def test_a_partial_stop_that_executes_is_a_fill_of_its_stop_s_slot(dsn, name):
    async def play(bot, exchange):
        symbol = await one_large(bot, exchange)
        client_order_id = bot.runtime.loops[symbol].core.machine.stop_order(bot.name, 1).client_order_id
        await bot.crash()  # alive, it sells the rest at the market as soon as the first stop has fired
        crash(exchange)
        for _ in range(35):
            while exchange.step():
                assert_never_bare(exchange)
            exchange.events.clear()
        await bot.start()
        await bot.steps.minute()
        fired = [one.id for one in exchange.trades if one.stop_type == PARTIAL_STOP and one.symbol == symbol]
        fills = await bot.store.fills()
        booked = {one.id: one.client_order_id for one in fills}
        assert fired
        assert {booked[one].rpartition("-")[0] for one in fired} == {client_order_id.rpartition("-")[0]}
        found = compare(exchange, fills, bot.runtime.loops)
        assert (found.doubled, found.lost, found.differences) == ([], [], [])
        assert partial_rows(exchange, symbol) == []

    large_bot(dsn, name, play)


def test_without_the_option_position_and_entries_stay_within_one_market_order(dsn, name):
    async def play(bot, exchange):
        held = 0
        for _ in range(400):
            await bot.steps.minute()
            for symbol, book in exchange.books.items():
                opening = sum(one.lots - one.filled for one in entries(bot, exchange) if one.symbol == symbol)
                assert abs(book.position) + opening <= largest(book)
                held += abs(book.position)
        assert held
        assert not any(one.stop_type == PARTIAL_STOP for one in exchange.ended)
        assert_protected(exchange)

    large_bot(dsn, name, play, large=False)


@pytest.mark.slow
def test_the_same_candles_give_the_same_large_positions():
    chosen = config()
    candles, instruments = market(chosen.pairs, 1, 7)
    chosen = chosen.changed(start=sensible_start(candles, 1))
    traded = small_orders(instruments, candles, large_positions=True)
    found = asyncio.run(parity(chosen, candles, traded))
    assert found.fills.total() > 0
    assert found.differences == []
